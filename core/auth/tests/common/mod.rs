//! An issuer whose tokens say whatever a test wants, and keys as others publish them.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "each test file uses its part, and stops at the first surprise"
)]

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use slim_auth::{Identity, IdentityError, JwtSigner, KeySet};
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use slim_crypto::{Rng, SigningKey};
use slim_proto::UnixTime;

/// The time of the recorded tokens.
pub const NOW: UnixTime = UnixTime(1_795_356_032);
/// The issuer of the tests.
pub const ISSUER: &str = "https://issuer.example";

pub fn rng() -> Rng {
    Rng::from_seed([5; 32])
}

pub fn after(seconds: i64) -> UnixTime {
    UnixTime(NOW.0.checked_add_signed(seconds).unwrap())
}

/// Somebody who signs tokens with a key of a certain name.
pub struct Issuer {
    pub key: TokenSigningKey,
    pub key_id: Option<&'static str>,
}

impl Issuer {
    pub fn new(algorithm: Algorithm, key_id: Option<&'static str>) -> Self {
        let key = TokenSigningKey::generate(algorithm).unwrap();
        Self { key, key_id }
    }

    /// The public key as JWK; for elliptic curves and Ed25519.
    pub fn jwk(&self) -> Value {
        let public = self.key.verification_key();
        let bytes = public.public_bytes().unwrap();
        let half = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let mut jwk = match self.key.algorithm() {
            Algorithm::Es256 => {
                json!({"kty": "EC", "crv": "P-256", "x": half(&bytes[1..33]), "y": half(&bytes[33..])})
            }
            Algorithm::Es384 => {
                json!({"kty": "EC", "crv": "P-384", "x": half(&bytes[1..49]), "y": half(&bytes[49..])})
            }
            Algorithm::EdDsa => json!({"kty": "OKP", "crv": "Ed25519", "x": half(bytes)}),
            other => panic!("no JWK for {other} here"),
        };
        jwk["alg"] = self.key.algorithm().name().into();
        if let Some(id) = self.key_id {
            jwk["kid"] = id.into();
        }
        jwk
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        let mut header = json!({ "alg": self.key.algorithm().name(), "typ": "JWT" });
        if let Some(id) = self.key_id {
            header["kid"] = id.into();
        }
        self.token_with_header(&header, claims)
    }

    /// A correctly signed token with this header.
    pub fn token_with_header(&self, header: &Value, claims: &Value) -> String {
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// The keys of some issuers as a key set.
pub fn jwks(issuers: &[&Issuer]) -> String {
    let keys: Vec<Value> = issuers.iter().map(|issuer| issuer.jwk()).collect();
    json!({ "keys": keys }).to_string()
}

pub fn key_set(issuers: &[&Issuer]) -> KeySet {
    KeySet::from_published_jwks(&jwks(issuers)).unwrap()
}

/// Claims of a good token, for an hour from now on, of the holder of `key`.
pub fn claims(subject: &str, key: &SigningKey) -> Value {
    json!({
        "iss": ISSUER,
        "aud": ["slim"],
        "sub": subject,
        "iat": NOW.0,
        "nbf": NOW.0,
        "exp": NOW.0 + 3600,
        "pubkey": STANDARD.encode(key.public_key()),
    })
}

/// The same claims with one changed.
pub fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

/// The same claims without one.
pub fn without(mut claims: Value, name: &str) -> Value {
    claims.as_object_mut().unwrap().remove(name).unwrap();
    claims
}

/// Tokens that no verifier takes at [`NOW`], whatever they are for. `change` makes a good one with one claim changed.
pub fn refused_everywhere(
    change: impl Fn(&str, Value) -> String,
) -> [(&'static str, String, IdentityError); 3] {
    [
        (
            "expired",
            change("exp", json!(NOW.0 - 61)),
            IdentityError::Expired {
                issued_at: NOW,
                now: NOW,
            },
        ),
        (
            "not yet valid",
            change("nbf", json!(NOW.0 + 61)),
            IdentityError::NotYetValid {
                issued_at: after(61),
                now: NOW,
            },
        ),
        (
            "wrong issuer",
            change("iss", json!("https://evil.example")),
            IdentityError::WrongIssuer,
        ),
    ]
}

/// A signer with usual settings.
pub fn signer(key: TokenSigningKey, subject: &str) -> JwtSigner {
    JwtSigner {
        key,
        key_id: None,
        issuer: Some(ISSUER.to_owned()),
        audiences: vec!["slim".to_owned()],
        subject: subject.to_owned(),
        custom_claims: String::new(),
        lifetime: std::time::Duration::from_secs(3600),
    }
}

pub fn identity(algorithm: Algorithm, subject: &str) -> Identity {
    Identity::jwt(signer(TokenSigningKey::generate(algorithm).unwrap(), subject)).unwrap()
}
