//! The shared-secret token on the wire (wire-session §1.3).
//!
//! ```text
//! token  = id ":" ts ":" nonce ":" claims ":" mac
//! nonce  = base64url-nopad(12 random bytes)
//! claims = base64url-nopad(JSON {"pubkey":"<std-base64 of the public key>"})
//! mac    = base64url-nopad(HMAC-SHA256(secret, everything before the last ":"))
//! ```

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use slim_crypto::HmacKey;
use slim_proto::UnixTime;
use slim_proto::limits::TOKEN_BYTES_MAX;

use crate::error::{IdentityError, TokenPart};

/// Random bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 12;
/// Characters of a MAC: 32 bytes in base64 without padding.
const MAC_CHARS: usize = 43;

/// The claims field for a public key; constant for the life of an identity.
pub(crate) fn encode_claims(public_key: &[u8]) -> String {
    // Base64 needs no JSON escaping.
    let json = format!(r#"{{"pubkey":"{}"}}"#, STANDARD.encode(public_key));
    URL_SAFE_NO_PAD.encode(json)
}

/// Writes a complete token.
pub(crate) fn mint(
    mac: &HmacKey,
    subject: &str,
    issued_at: UnixTime,
    nonce: [u8; NONCE_BYTES],
    claims: &str,
) -> String {
    let mut token = format!(
        "{subject}:{}:{}:{claims}",
        issued_at.0,
        URL_SAFE_NO_PAD.encode(nonce)
    );
    let tag = mac.sign(token.as_bytes());
    token.push(':');
    URL_SAFE_NO_PAD.encode_string(tag, &mut token);
    token
}

/// The subject that a token claims, unchecked; `None` if there is none.
pub(crate) fn claimed_subject(token: &str) -> Option<&str> {
    let (subject, _) = token.split_once(':')?;
    (!subject.is_empty()).then_some(subject)
}

/// The fields of a token whose MAC is right; its time is not judged yet.
pub(crate) struct Authentic<'a> {
    pub(crate) subject: &'a str,
    pub(crate) issued_at: UnixTime,
    claims: &'a str,
}

/// Splits a token and checks its MAC before anything else in it is believed.
pub(crate) fn parse<'a>(mac: &HmacKey, token: &'a str) -> Result<Authentic<'a>, IdentityError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(IdentityError::TooLong(token.len()));
    }
    const SHAPE: IdentityError = IdentityError::Malformed(TokenPart::Shape);
    const TIME: IdentityError = IdentityError::Malformed(TokenPart::Time);
    let (signed, tag) = token.rsplit_once(':').ok_or(SHAPE)?;
    if tag.len() != MAC_CHARS {
        return Err(IdentityError::Malformed(TokenPart::Mac));
    }
    let tag = URL_SAFE_NO_PAD
        .decode(tag)
        .map_err(|_| IdentityError::Malformed(TokenPart::Mac))?;
    let mut fields = signed.split(':');
    let (Some(subject), Some(time), Some(nonce), Some(claims), None) = (
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
    ) else {
        return Err(SHAPE);
    };
    if !mac.verify(signed.as_bytes(), &tag) {
        return Err(IdentityError::WrongMac);
    }
    if subject.is_empty() {
        return Err(IdentityError::Malformed(TokenPart::Subject));
    }
    if nonce.is_empty() {
        return Err(IdentityError::Malformed(TokenPart::Nonce));
    }
    // Rust's parser also takes a leading plus sign, which no issuer writes.
    let issued_at = Some(time)
        .filter(|time| time.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|time| time.parse().ok())
        .map(UnixTime)
        .ok_or(TIME)?;
    Ok(Authentic {
        subject,
        issued_at,
        claims,
    })
}

impl Authentic<'_> {
    /// The public key in the claims: `pubkey`, else `custom_claims.pubkey` (wire-session §1.1).
    pub(crate) fn public_key(&self) -> Result<Vec<u8>, IdentityError> {
        if self.claims.is_empty() {
            return Err(IdentityError::NoKey);
        }
        let json = URL_SAFE_NO_PAD
            .decode(self.claims)
            .map_err(|_| IdentityError::Malformed(TokenPart::Claims))?;
        let json: Value =
            serde_json::from_slice(&json).map_err(|_| IdentityError::Malformed(TokenPart::Claims))?;
        public_key_claim(json.get("pubkey"), json.get("custom_claims"))
    }
}

/// The key in the claim `pubkey`, else in `custom_claims.pubkey` (wire-session §1.1).
pub(crate) fn public_key_claim(
    pubkey: Option<&Value>,
    custom_claims: Option<&Value>,
) -> Result<Vec<u8>, IdentityError> {
    let text = pubkey
        .or_else(|| custom_claims?.get("pubkey"))
        .ok_or(IdentityError::NoKey)?
        .as_str()
        .ok_or(IdentityError::Malformed(TokenPart::PublicKey))?;
    let key = STANDARD
        .decode(text)
        .map_err(|_| IdentityError::Malformed(TokenPart::PublicKey))?;
    match key.len() {
        32 | 33 | 65 => Ok(key),
        length => Err(IdentityError::UnknownKey(length)),
    }
}
