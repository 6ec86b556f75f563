//! A name and a password (RFC 7617), compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde_json::Value;
use slim_config::BasicAuth;
use slim_crypto::{HmacKey, os_seed};
use slim_policy::{AuthMethod, LinkIdentity};
use slim_proto::UnixTime;
use zeroize::Zeroizing;

use super::authenticator::Reason;

/// Both sides of the comparison go through a keyed hash first, so its time tells nothing, not even a length.
pub(super) struct BasicCheck {
    username: String,
    key: HmacKey,
    expected: [u8; 32],
}

impl BasicCheck {
    pub(super) fn new(config: &BasicAuth) -> Self {
        let key = HmacKey::new(&os_seed());
        Self {
            username: config.username.clone(),
            expected: key.sign(pair(config).as_bytes()),
            key,
        }
    }

    pub(super) fn judge(
        &self,
        authorization: Option<&HeaderValue>,
    ) -> Result<(LinkIdentity, Option<UnixTime>), Reason> {
        let shown = credential(authorization, "Basic")?;
        let pair = STANDARD
            .decode(shown)
            .map(Zeroizing::new)
            .map_err(|_| Reason::Password)?;
        if !self.key.verify(&pair, &self.expected) {
            return Err(Reason::Password);
        }
        let identity = LinkIdentity {
            subject: Some(self.username.clone()),
            issuer: None,
            method: AuthMethod::Basic,
            claims: Value::Null,
        };
        Ok((identity, None))
    }
}

/// What a header says to prove this name and password.
pub(crate) fn basic_credential(config: &BasicAuth) -> Zeroizing<String> {
    let mut credential = Zeroizing::new("Basic ".to_owned());
    STANDARD.encode_string(pair(config).as_bytes(), &mut credential);
    credential
}

fn pair(config: &BasicAuth) -> Zeroizing<String> {
    Zeroizing::new(format!("{}:{}", config.username, config.password.expose()))
}

/// What stands in the header after this scheme, whose letters may be of either case (RFC 9110 §11.1).
pub(super) fn credential<'a>(
    authorization: Option<&'a HeaderValue>,
    scheme: &str,
) -> Result<&'a str, Reason> {
    let text = authorization.ok_or(Reason::Missing)?;
    let text = text.to_str().map_err(|_| Reason::Scheme)?;
    let (named, credential) = text.split_once(' ').ok_or(Reason::Scheme)?;
    match named.eq_ignore_ascii_case(scheme) {
        true => Ok(credential.trim()),
        false => Err(Reason::Scheme),
    }
}

#[cfg(test)]
mod tests {
    use slim_config::SecretText;

    use super::*;

    fn judge(header: Option<&str>) -> Result<Option<String>, String> {
        let check = BasicCheck::new(&BasicAuth {
            username: "Aladdin".to_owned(),
            password: SecretText::new("open:sesame"),
        });
        let header = header.map(|text| HeaderValue::from_str(text).unwrap());
        let judged = check.judge(header.as_ref());
        judged
            .map(|(identity, _)| identity.subject)
            .map_err(|reason| reason.to_string())
    }

    #[test]
    fn the_right_name_and_password_are_let_in_whatever_the_case_of_the_scheme() {
        let pair = STANDARD.encode("Aladdin:open:sesame");
        let expected = Ok(Some("Aladdin".to_owned()));
        assert_eq!(judge(Some(&format!("Basic {pair}"))), expected);
        assert_eq!(judge(Some(&format!("basic {pair}"))), expected);
    }

    #[test]
    fn anything_else_is_refused_for_what_it_is() {
        let password = Err(Reason::Password.to_string());
        for pair in [
            "Aladdin:open",
            "Aladdin:open:sesame2",
            "aladdin:open:sesame",
            ":",
            "",
        ] {
            assert_eq!(
                judge(Some(&format!("Basic {}", STANDARD.encode(pair)))),
                password,
                "{pair}"
            );
        }
        assert_eq!(judge(Some("Basic ***")), password);
        assert_eq!(judge(Some("Bearer abc")), Err(Reason::Scheme.to_string()));
        assert_eq!(judge(Some("Basic")), Err(Reason::Scheme.to_string()));
        assert_eq!(judge(None), Err(Reason::Missing.to_string()));
    }
}
