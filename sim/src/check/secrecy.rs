//! What nodes can see: no secret, no sealed plaintext (I7), and no ciphertext twice (I6).

use std::collections::BTreeSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};

use crate::world::SECRET;

/// Begins each payload of an encrypted session.
pub(super) const CANARY: &str = "canary-";
/// Begins each other payload.
pub(super) const OPEN: &str = "open-";

/// Remembers what was sealed.
#[derive(Debug, Default)]
pub(super) struct Secrecy {
    sealed: BTreeSet<u64>,
}

impl Secrecy {
    /// Looks at a frame as a curious node would.
    pub(super) fn look(&self, bytes: &[u8]) -> Result<(), String> {
        for needle in [CANARY, SECRET] {
            if contains(bytes, needle.as_bytes()) {
                return Err(format!("{needle:?} is readable"));
            }
        }
        Ok(())
    }

    /// Each transmission is sealed anew: equal ciphertexts would mean that a key and nonce were used twice.
    pub(super) fn sealed(&mut self, ciphertext: &[u8]) -> Result<(), String> {
        let mut hasher = DefaultHasher::new();
        ciphertext.hash(&mut hasher);
        if self.sealed.insert(hasher.finish()) {
            Ok(())
        } else {
            Err("a ciphertext was sent twice".to_owned())
        }
    }
}

/// Compares at places where the first byte fits only: this runs for every frame.
fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let Some((first, rest)) = needle.split_first() else {
        return true;
    };
    bytes
        .iter()
        .enumerate()
        .any(|(at, byte)| byte == first && bytes.get(at + 1..at + needle.len()) == Some(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readable_canary_or_secret_is_found_anywhere_in_a_frame() {
        let secrecy = Secrecy::default();
        assert!(secrecy.look(b"nothing to see: canar, anary-").is_ok());
        assert!(secrecy.look(b"canary-1").is_err());
        assert!(secrecy.look(format!("xx{SECRET}").as_bytes()).is_err());
    }

    #[test]
    fn a_repeated_ciphertext_is_found() {
        let mut secrecy = Secrecy::default();
        assert!(secrecy.sealed(b"one").is_ok() && secrecy.sealed(b"two").is_ok());
        assert!(secrecy.sealed(b"one").is_err());
    }
}
