//! Texts that no log, no error and no normalised form shows.

use std::fmt;

use zeroize::Zeroizing;

/// What is printed in the place of a secret.
pub(crate) const REDACTED: &str = "[redacted]";

/// A password, token or private key: wiped when it is dropped, and printed as `[redacted]`.
///
/// Equality is for comparing two configurations. Whoever checks what a peer sent compares in constant time.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text; only for whoever proves something with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_shown_to_whoever_asks_for_it_and_to_nobody_else() {
        let secret = SecretText::new("hunter2");
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(format!("{secret:?}"), "[redacted]");
    }
}
