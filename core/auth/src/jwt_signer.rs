//! Making JSON Web Tokens (wire-session §1.4).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use slim_crypto::Rng;
use slim_crypto::jwa::TokenSigningKey;
use slim_proto::UnixTime;
use slim_proto::limits::{TOKEN_BYTES_MAX, TOKEN_LIFE_SECS};

use crate::claims::JwtRules;
use crate::error::IdentityError;
use crate::jwt::{self, Object};
use crate::key_set::KeySet;
use crate::token::NONCE_BYTES;
use crate::verifier::Verifier;

/// Claims that a token sets itself.
const RESERVED: [&str; 10] = [
    "aud",
    "custom_claims",
    "exp",
    "iat",
    "id",
    "iss",
    "jti",
    "nbf",
    "pubkey",
    "sub",
];

/// How an application signs its own tokens.
#[derive(Debug)]
pub struct JwtSigner {
    /// The key and its algorithm; see [`TokenSigningKey::from_text`].
    pub key: TokenSigningKey,
    /// The name of the key in the key set of the others. If there is none the subject is written, which is what
    /// upstream does.
    pub key_id: Option<String>,
    /// The claim `iss`.
    pub issuer: Option<String>,
    /// The claim `aud`, left out if empty. An upstream verifier without audience refuses a token that has one
    /// (wire-session §9.4 item 26).
    pub audiences: Vec<String>,
    /// The claim `sub`: who this application is. Two applications with one subject are one to their peers.
    pub subject: String,
    /// More claims, as the text of a JSON object; empty for none.
    pub custom_claims: String,
    /// Time from a token's making to its `exp`, in whole seconds: at most an hour.
    pub lifetime: Duration,
}

/// A signer that is bound to a signature key: what is left to add to a token is the time.
pub(crate) struct Minter {
    key: TokenSigningKey,
    header: String,
    claims: Object,
    lifetime_secs: u64,
}

impl Minter {
    /// Binds the tokens to a public key by the claim `pubkey` (threat T-N3).
    pub(crate) fn new(signer: JwtSigner, public_key: &[u8]) -> Result<Self, IdentityError> {
        if signer.subject.is_empty() {
            return Err(IdentityError::EmptySubject);
        }
        let key = ("pubkey".to_owned(), STANDARD.encode(public_key).into());
        Self::with_claim(signer, Some(key))
    }

    /// Tokens that are bound to no key: whoever has one has it all. For links (wire-routing A12), where a token
    /// leaves only towards the node.
    pub(crate) fn unbound(signer: JwtSigner) -> Result<Self, IdentityError> {
        Self::with_claim(signer, None)
    }

    fn with_claim(signer: JwtSigner, claim: Option<(String, Value)>) -> Result<Self, IdentityError> {
        let lifetime_secs = signer.lifetime.as_secs();
        if lifetime_secs == 0 || lifetime_secs > TOKEN_LIFE_SECS {
            return Err(IdentityError::Lifetime { secs: lifetime_secs });
        }
        let mut claims = custom_claims(&signer.custom_claims)?;
        claims.extend(claim);
        if let Some(issuer) = signer.issuer {
            claims.insert("iss".to_owned(), issuer.into());
        }
        if !signer.audiences.is_empty() {
            claims.insert("aud".to_owned(), signer.audiences.into());
        }
        let key_id = signer.key_id.as_ref().unwrap_or(&signer.subject);
        let header = jwt::header(signer.key.algorithm(), key_id);
        if !signer.subject.is_empty() {
            claims.insert("sub".to_owned(), signer.subject.into());
        }
        let minter = Self {
            key: signer.key,
            header,
            claims,
            lifetime_secs,
        };
        // The longest token that it will ever make: with the largest numbers.
        let length = minter.mint_with(UnixTime(u64::MAX), [0; NONCE_BYTES]).len();
        if length > TOKEN_BYTES_MAX {
            return Err(IdentityError::TooLong(length));
        }
        Ok(minter)
    }

    /// A token of now. Its `jti` is random: no two tokens are equal, whatever the signature algorithm.
    pub(crate) fn mint(&self, now: UnixTime, rng: &mut Rng) -> String {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill(&mut nonce);
        self.mint_with(now, nonce)
    }

    fn mint_with(&self, now: UnixTime, nonce: [u8; NONCE_BYTES]) -> String {
        let mut claims = self.claims.clone();
        claims.insert("iat".to_owned(), now.0.into());
        claims.insert("nbf".to_owned(), now.0.into());
        claims.insert("exp".to_owned(), now.0.saturating_add(self.lifetime_secs).into());
        claims.insert("jti".to_owned(), URL_SAFE_NO_PAD.encode(nonce).into());
        jwt::write(&self.header, claims, &self.key)
    }

    pub(crate) fn lifetime_secs(&self) -> u64 {
        self.lifetime_secs
    }

    pub(crate) fn secret_bytes(&self) -> Option<usize> {
        self.key.secret_bytes()
    }

    /// A verifier for tokens that are signed with the same key, for the same audiences, by the same issuer.
    pub(crate) fn verifier(&self) -> Verifier {
        let texts = |name: &str| match self.claims.get(name) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => several
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            _ => Vec::new(),
        };
        Verifier::jwt(
            KeySet::of_signer(&self.key),
            JwtRules {
                issuers: texts("iss"),
                audiences: texts("aud"),
                ..JwtRules::default()
            },
        )
    }
}

fn custom_claims(text: &str) -> Result<Object, IdentityError> {
    if text.trim().is_empty() {
        return Ok(Object::new());
    }
    if text.len() > TOKEN_BYTES_MAX {
        return Err(IdentityError::TooLong(text.len()));
    }
    let claims: Object = serde_json::from_str(text).map_err(|_| IdentityError::CustomClaims)?;
    match RESERVED.into_iter().find(|name| claims.contains_key(*name)) {
        Some(name) => Err(IdentityError::ReservedClaim { name }),
        None => Ok(claims),
    }
}
