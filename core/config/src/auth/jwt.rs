//! Tokens and keys of the `auth` block (wire-routing A12; the algorithms of wire-session §1.4).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::SecretText;

/// What a token must be for a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtServerAuth {
    /// With which keys its signature is checked.
    pub verification: JwtVerification,
    /// What it must say; `custom` is empty.
    pub claims: JwtClaims,
    /// A CEL expression over the claims; false is a refusal.
    pub policy: Option<String>,
    /// What to do about a subject that names a key.
    pub subject_binding: SubjectBinding,
}

/// With which keys a signature is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtVerification {
    /// Configured ones; a file is read again when it changes.
    Keys(JwtKey),
    /// Those that the issuer publishes. `claims.issuers` is then not empty: anybody can publish keys.
    Autoresolve,
}

/// A subject of the form `did:key:…` names a key (wire-session §1.5); does it have to be the one of the token?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectBinding {
    /// Not looked at.
    #[default]
    Off,
    /// A mismatch is logged.
    Warn,
    /// A mismatch is refused.
    Enforce,
}

impl SubjectBinding {
    pub(crate) const NAMES: &[&str] = &["off", "warn", "enforce"];
    pub(crate) const ALL: &[Self] = &[Self::Off, Self::Warn, Self::Enforce];

    /// Its word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}

/// A token that is signed for each dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientJwtAuth {
    /// The signing key.
    pub key: JwtKey,
    /// What the token says. Each list has at most one entry but `audiences`.
    pub claims: JwtClaims,
    /// How long a token is good for.
    pub duration: Duration,
}

/// A token that somebody else writes into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticJwtAuth {
    /// Where a token comes from: a file is read at each dial.
    pub token: JwtSource,
    /// How long a token that was read is used before the file is looked at again.
    pub duration: Duration,
}

/// What tokens say (RFC 7519 §4). For a listener each non-empty list is a demand: one of its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwtClaims {
    /// `iss`.
    pub issuers: Vec<String>,
    /// `aud`.
    pub audiences: Vec<String>,
    /// `sub`.
    pub subjects: Vec<String>,
    /// Further claims of a token that is signed here.
    pub custom: BTreeMap<String, serde_json::Value>,
}

/// A key, or a set of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtKey {
    /// What the key is for. Absent only with JWK and JWKS, which may say it themselves.
    pub algorithm: Option<JwtAlgorithm>,
    /// How it is written.
    pub format: JwtKeyFormat,
    /// The key, or where it is.
    pub source: JwtSource,
}

/// Where a key or a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtSource {
    /// Here.
    Data(SecretText),
    /// In a file.
    File(PathBuf),
}

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtKeyFormat {
    /// PEM; for HS256, HS384 and HS512 the secret itself.
    Pem,
    /// One key as JSON (RFC 7517 §4).
    Jwk,
    /// A set of keys as JSON (RFC 7517 §5); not for signing.
    Jwks,
}

impl JwtKeyFormat {
    pub(crate) const NAMES: &[&str] = &["pem", "jwk", "jwks"];
    pub(crate) const ALL: &[Self] = &[Self::Pem, Self::Jwk, Self::Jwks];

    /// Its word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pem => "pem",
            Self::Jwk => "jwk",
            Self::Jwks => "jwks",
        }
    }
}

/// A signature algorithm, by the name that RFC 7518 §3.1 and RFC 8037 give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JwtAlgorithm(&'static str);

impl JwtAlgorithm {
    pub(crate) const NAMES: &[&str] = &[
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
        "EdDSA",
    ];
    pub(crate) const ALL: &[Self] = &[
        Self("HS256"),
        Self("HS384"),
        Self("HS512"),
        Self("RS256"),
        Self("RS384"),
        Self("RS512"),
        Self("PS256"),
        Self("PS384"),
        Self("PS512"),
        Self("ES256"),
        Self("ES384"),
        Self("EdDSA"),
    ];

    /// `ES256`, `EdDSA` and so on.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// True for the algorithms whose one secret both signs and verifies.
    pub fn is_secret(self) -> bool {
        self.0.starts_with("HS")
    }
}
