//! The JSON Web Token on the wire: three parts in base64url, joined by dots (RFC 7515 §3.1).
//!
//! Reading believes nothing: what comes out is checked by [`crate::key_set`] (signature) and [`crate::claims`].

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use slim_proto::limits::TOKEN_BYTES_MAX;

use crate::error::{IdentityError, TokenPart};

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// A token that has the form of one; nothing in it is verified.
pub(crate) struct Unverified<'a> {
    /// What the header says. It chooses among the keys, never the algorithm of a key.
    pub(crate) algorithm: Algorithm,
    /// The name of the key, if the header has one.
    pub(crate) key_id: Option<String>,
    /// The claims.
    pub(crate) claims: Object,
    /// The text that is signed: header and claims as they are encoded.
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
}

/// Splits and decodes a token.
pub(crate) fn read(token: &str) -> Result<Unverified<'_>, IdentityError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(IdentityError::TooLong(token.len()));
    }
    let shape = || IdentityError::Malformed(TokenPart::Shape);
    let (signed, signature) = token.rsplit_once('.').ok_or_else(shape)?;
    let (header, claims) = signed.split_once('.').ok_or_else(shape)?;
    // More dots are an encrypted token (five parts) or nonsense.
    if claims.contains('.') {
        return Err(shape());
    }
    let header = object(header, TokenPart::Header)?;
    // An extension that must be understood, and none is (RFC 7515 §4.1.11).
    if header.contains_key("crit") {
        return Err(IdentityError::Malformed(TokenPart::Header));
    }
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err(IdentityError::Malformed(TokenPart::Header)),
    };
    let algorithm = header
        .get("alg")
        .and_then(Value::as_str)
        .ok_or(IdentityError::Malformed(TokenPart::Header))?;
    Ok(Unverified {
        algorithm: Algorithm::from_name(algorithm).ok_or(IdentityError::AlgorithmNotAllowed)?,
        key_id,
        claims: object(claims, TokenPart::Claims)?,
        signed,
        signature: URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| IdentityError::Malformed(TokenPart::Signature))?,
    })
}

/// The claims alone, whatever the header says.
pub(crate) fn read_claims(token: &str) -> Result<Object, IdentityError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(IdentityError::TooLong(token.len()));
    }
    let mut parts = token.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(IdentityError::Malformed(TokenPart::Shape));
    };
    object(claims, TokenPart::Claims)
}

fn object(text: &str, part: TokenPart) -> Result<Object, IdentityError> {
    let malformed = || IdentityError::Malformed(part);
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed())?;
    serde_json::from_slice(&json).map_err(|_| malformed())
}

/// The header of every token of a key, encoded. An empty name of the key is left out.
pub(crate) fn header(algorithm: Algorithm, key_id: &str) -> String {
    let mut header = serde_json::json!({ "alg": algorithm.name(), "typ": "JWT" });
    if !key_id.is_empty() {
        header["kid"] = key_id.into();
    }
    URL_SAFE_NO_PAD.encode(header.to_string())
}

/// Signs claims under an encoded header.
pub(crate) fn write(header: &str, claims: Object, key: &TokenSigningKey) -> String {
    let mut token = header.to_owned();
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(Value::Object(claims).to_string(), &mut token);
    let signature = key.sign(token.as_bytes());
    token.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut token);
    token
}
