//! What is sent: form fields (RFC 6749, appendix B) and the `Authorization` header of a client.

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Fields of a form in `application/x-www-form-urlencoded`. They may be secrets and are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Form(String);

impl Form {
    /// No field yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more field.
    #[must_use]
    pub fn field(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        encode_into(&mut self.0, name);
        self.0.push('=');
        encode_into(&mut self.0, value);
        self
    }

    pub(crate) fn into_body(self) -> String {
        self.0
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form([redacted])")
    }
}

/// The value of an `Authorization` header for a client id and its secret (RFC 6749 §2.3.1: both are encoded as
/// form fields first).
pub fn basic_authorization(client_id: &str, secret: &str) -> String {
    let mut pair = String::new();
    encode_into(&mut pair, client_id);
    pair.push(':');
    encode_into(&mut pair, secret);
    format!("Basic {}", STANDARD.encode(pair))
}

fn encode_into(text: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
                text.push(char::from(byte))
            }
            b' ' => text.push('+'),
            // Writing to a text cannot fail.
            _ => _ = write!(text, "%{byte:02X}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_so_that_none_can_make_another() {
        let form = Form::new()
            .field("grant_type", "client_credentials")
            .field("client_secret", "a&b=c d%+é");
        assert_eq!(format!("{form:?}"), "Form([redacted])");
        assert_eq!(
            form.into_body(),
            "grant_type=client_credentials&client_secret=a%26b%3Dc+d%25%2B%C3%A9"
        );
    }

    #[test]
    fn a_client_authenticates_with_encoded_id_and_secret() {
        // "a%3Ab:s+t"
        assert_eq!(basic_authorization("a:b", "s t"), "Basic YSUzQWI6cyt0");
    }
}
