//! Keys that tokens may be signed with, each for one algorithm: from PEM, JWK or JWKS text (RFC 7517).
//!
//! A key's algorithm is the one that it declares, else the only one of its curve, else the configured one. An RSA
//! key or a secret has no algorithm of its own, so without any of these it is unusable (wire-session §1.5). The
//! header of a token chooses among keys and never changes what a key is for.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use slim_crypto::jwa::{Algorithm, KeyKind, TokenKeyError, TokenSigningKey, TokenVerificationKey};
use slim_proto::limits::{KEY_SET_BYTES_MAX, KEY_SET_KEYS_MAX};

use crate::did_key;
use crate::error::{IdentityError, KeySetError};
use crate::jwt::{Object, Unverified};

/// What JWT-SVIDs are signed with (JWT-SVID §2.1), of what we can check.
const JWT_SVID_ALGORITHMS: [Algorithm; 8] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
];

/// A set of keys; a value that is cheap to clone and never changes.
#[derive(Clone, Default)]
pub struct KeySet(Arc<[Key]>);

pub(crate) struct Key {
    id: Option<String>,
    key: TokenVerificationKey,
}

impl Key {
    /// True if a subject names this key: by its `kid`, or by the key itself.
    pub(crate) fn is_of(&self, subject: &str) -> bool {
        if self.id.as_deref() == Some(subject) {
            return true;
        }
        let is_ed25519 = self.key.algorithm() == Algorithm::EdDsa;
        let bytes = self.key.public_bytes().filter(|_| is_ed25519);
        bytes.is_some_and(|bytes| did_key::of_ed25519(bytes) == subject)
    }
}

impl KeySet {
    /// One key for one algorithm: a public key in PEM, or for HS256, HS384 and HS512 the secret itself.
    pub fn from_pem(algorithm: Algorithm, text: &str) -> Result<Self, KeySetError> {
        let key = TokenVerificationKey::from_text(algorithm, text)?;
        Ok(Self([Key { id: None, key }].into()))
    }

    /// One key as JWK. The algorithm is needed if the key is RSA or a secret and declares none; a key that is for
    /// another one is refused.
    pub fn from_jwk(text: &str, algorithm: Option<Algorithm>) -> Result<Self, KeySetError> {
        let Value::Object(jwk) = parse(text)? else {
            return Err(KeySetError::NotKeySet);
        };
        let key = read(&jwk, algorithm).ok_or(KeySetError::NoUsableKey(1))?;
        if let Some(configured) = algorithm
            && configured != key.key.algorithm()
        {
            return Err(KeySetError::OtherAlgorithm { configured });
        }
        Ok(Self([key].into()))
    }

    /// A set as JWKS; keys that are of no use here are left out, but one must remain.
    ///
    /// With an algorithm, only its keys are taken, and those that declare none are taken for it.
    pub fn from_jwks(text: &str, algorithm: Option<Algorithm>) -> Result<Self, KeySetError> {
        Self::usable(text, |jwk| {
            read(jwk, algorithm).filter(|key| algorithm.is_none_or(|only| key.key.algorithm() == only))
        })
    }

    /// A set that its issuer publishes. Like [`from_jwks`](Self::from_jwks), without the secrets: what everybody
    /// can read proves nothing.
    pub fn from_published_jwks(text: &str) -> Result<Self, KeySetError> {
        Self::usable(text, |jwk| {
            read(jwk, None).filter(|key| key.key.algorithm().key_kind() != KeyKind::Secret)
        })
    }

    /// The keys of a SPIFFE trust domain that sign JWT-SVIDs: those for nothing else (SPIFFE trust domain and bundle
    /// §4.2). Secrets and Ed25519 sign none (JWT-SVID §2.1), and an RSA key signs with any of its algorithms unless it
    /// declares one. A trust domain without such keys is no error: it issues certificates only.
    pub fn from_jwt_bundle(text: &str) -> Result<Self, KeySetError> {
        let json = parse(text)?;
        let mut usable = Vec::new();
        for jwk in keys(&json)?.iter().filter_map(Value::as_object) {
            let usage = jwk.get("use").map(Value::as_str);
            if !matches!(usage, None | Some(Some("jwt-svid" | "sig"))) {
                continue;
            }
            let mut jwk = jwk.clone();
            jwk.remove("use");
            let for_algorithm =
                |algorithm| read(&jwk, Some(algorithm)).filter(|key: &Key| key.key.algorithm() == algorithm);
            usable.extend(JWT_SVID_ALGORITHMS.into_iter().filter_map(for_algorithm));
        }
        Ok(Self(usable.into()))
    }

    fn usable(text: &str, read: impl Fn(&Object) -> Option<Key>) -> Result<Self, KeySetError> {
        let json = parse(text)?;
        let keys = keys(&json)?;
        let usable: Arc<[Key]> = keys
            .iter()
            .filter_map(Value::as_object)
            .filter_map(read)
            .collect();
        if usable.is_empty() {
            return Err(KeySetError::NoUsableKey(keys.len()));
        }
        Ok(Self(usable))
    }

    /// The keys of tokens that are signed with `key`.
    pub(crate) fn of_signer(key: &TokenSigningKey) -> Self {
        let key = key.verification_key();
        Self([Key { id: None, key }].into())
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is no key, so that no token verifies.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks the signature: with the keys of the token's `kid` if there are any, else with all keys of its
    /// algorithm one after the other (wire-session §1.5).
    ///
    /// The name is a hint only: upstream signers put their subject into it (§1.4).
    /// Gives the key that made it.
    pub(crate) fn check(&self, token: &Unverified<'_>) -> Result<&Key, IdentityError> {
        let of_algorithm = || self.0.iter().filter(|key| key.key.algorithm() == token.algorithm);
        let is_named = |key: &&Key| token.key_id.is_some() && key.id == token.key_id;
        let verifies = |key: &&Key| key.key.verify(token.signed.as_bytes(), &token.signature);

        if self.0.iter().any(|key| is_named(&key)) {
            let mut named = of_algorithm().filter(is_named).peekable();
            if named.peek().is_none() {
                return Err(IdentityError::AlgorithmNotAllowed);
            }
            return named.find(verifies).ok_or(IdentityError::WrongSignature);
        }
        let tried = of_algorithm().count();
        if tried == 0 {
            return Err(IdentityError::AlgorithmNotAllowed);
        }
        if let Some(key) = of_algorithm().find(verifies) {
            return Ok(key);
        }
        // Only where keys have names does an unknown name say anything.
        let names_mean_something = token.key_id.is_some() && self.0.iter().all(|key| key.id.is_some());
        Err(if names_mean_something {
            IdentityError::NoMatchingKey { tried }
        } else {
            IdentityError::WrongSignature
        })
    }
}

impl KeySet {
    /// True if a newer set of the same issuer may accept the token: no key here is the one that it names, and none
    /// has made it.
    pub(crate) fn may_be_outdated_for(&self, token: &Unverified<'_>) -> bool {
        let named = token.key_id.is_some() && self.0.iter().any(|key| key.id == token.key_id);
        !named && self.check(token).is_err()
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.iter().map(|key| (&key.id, key.key.algorithm()));
        f.debug_list().entries(keys).finish()
    }
}

fn parse(text: &str) -> Result<Value, KeySetError> {
    if text.len() > KEY_SET_BYTES_MAX {
        return Err(KeySetError::TooLong(text.len()));
    }
    serde_json::from_str(text).map_err(|_| KeySetError::NotKeySet)
}

/// The keys of a set, not too many.
fn keys(json: &Value) -> Result<&[Value], KeySetError> {
    let keys = json.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or(KeySetError::NotKeySet)?;
    if keys.len() > KEY_SET_KEYS_MAX {
        return Err(KeySetError::TooManyKeys(keys.len()));
    }
    Ok(keys)
}

/// One JWK, if it is of use for checking tokens.
fn read(jwk: &Object, configured: Option<Algorithm>) -> Option<Key> {
    if !is_for_signatures(jwk) {
        return None;
    }
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    // Some issuers pad base64url, against RFC 7517.
    let bytes = |name: &str| {
        let text = text(name)?.trim_end_matches('=');
        URL_SAFE_NO_PAD.decode(text).ok()
    };
    let algorithm = match jwk.get("alg") {
        Some(declared) => Algorithm::from_name(declared.as_str()?)?,
        None => match text("crv") {
            Some("P-256") => Algorithm::Es256,
            Some("P-384") => Algorithm::Es384,
            Some("Ed25519") => Algorithm::EdDsa,
            Some(_) => return None,
            None => configured?,
        },
    };
    let rejected = TokenKeyError::Rejected { algorithm };
    let key = match (algorithm.key_kind(), text("kty")?, text("crv")) {
        (KeyKind::Secret, "oct", None) => TokenVerificationKey::from_secret(algorithm, &bytes("k")?),
        (KeyKind::Rsa, "RSA", None) => TokenVerificationKey::from_rsa(algorithm, &bytes("n")?, &bytes("e")?),
        (KeyKind::P256, "EC", Some("P-256")) | (KeyKind::P384, "EC", Some("P-384")) => {
            TokenVerificationKey::from_point(algorithm, &bytes("x")?, &bytes("y")?)
        }
        (KeyKind::Ed25519, "OKP", Some("Ed25519")) => match bytes("x")? {
            x if x.len() == 32 => TokenVerificationKey::from_der(algorithm, &x),
            _ => Err(rejected),
        },
        _ => Err(rejected),
    };
    Some(Key {
        id: text("kid").map(str::to_owned),
        key: key.ok()?,
    })
}

/// The declared use, if there is one, must be the checking of signatures (RFC 7517 §4.2, §4.3).
fn is_for_signatures(jwk: &Object) -> bool {
    let usage = jwk.get("use").is_none_or(|usage| usage == "sig");
    let operations = jwk.get("key_ops").is_none_or(|operations| {
        let operations = operations.as_array();
        operations.is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
    });
    usage && operations
}

#[cfg(test)]
mod tests;
