//! Who we are: a subject, a signature key, and tokens that prove both.

use std::fmt;
use std::sync::Arc;

use slim_crypto::{HmacKey, Rng, SigningKey};
use slim_proto::{NameId, UnixTime};

use crate::error::IdentityError;
use crate::token::{self, NONCE_BYTES};
use crate::verifier::Verifier;

/// Random characters that make the subjects of equal base names different.
const SUFFIX_CHARS: usize = 8;
/// Upstream refuses shorter secrets (wire-session §1.3); we accept them with a warning at the application.
const STRONG_SECRET_BYTES: usize = 32;

/// One application's identity. Clones share the same subject and key.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    subject: String,
    key: SigningKey,
    mac: HmacKey,
    verifier: Verifier,
    claims: String,
    secret_bytes: usize,
}

impl Identity {
    /// An identity that proves itself with a shared secret (wire-session §1.3).
    ///
    /// The subject is `base`, an underscore and 8 random letters or digits; the signature key is fresh. A base
    /// with `:` or white space, or an empty base or secret, is refused.
    pub fn shared_secret(base: &str, secret: &str, rng: &mut Rng) -> Result<Self, IdentityError> {
        if base.is_empty() {
            return Err(IdentityError::EmptyBase);
        }
        let breaks_token = |character: char| character == ':' || character.is_whitespace();
        if let Some((at, character)) = base
            .char_indices()
            .find(|(_, character)| breaks_token(*character))
        {
            return Err(IdentityError::BaseCharacter { character, at });
        }
        if secret.is_empty() {
            return Err(IdentityError::EmptySecret);
        }
        let key = SigningKey::generate_p256();
        Ok(Self(Arc::new(Inner {
            subject: format!("{base}_{}", rng.alphanumeric(SUFFIX_CHARS)),
            claims: token::encode_claims(key.public_key()),
            key,
            mac: HmacKey::new(secret.as_bytes()),
            verifier: Verifier::shared_secret(secret),
            secret_bytes: secret.len(),
        })))
    }

    /// The subject of every token of this identity.
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// The name id that belongs to the subject (wire-session §1.2).
    pub fn name_id(&self) -> NameId {
        NameId::of_subject(&self.0.subject)
    }

    /// The key that signs command messages and MLS leaves.
    pub fn signing_key(&self) -> &SigningKey {
        &self.0.key
    }

    /// A fresh token with its own nonce; valid for an hour from `now`.
    pub fn token(&self, now: UnixTime, rng: &mut Rng) -> String {
        let mut nonce = [0; NONCE_BYTES];
        rng.fill(&mut nonce);
        token::mint(&self.0.mac, &self.0.subject, now, nonce, &self.0.claims)
    }

    /// A verifier for tokens of everybody who holds the same secret, this identity included.
    pub fn verifier(&self) -> Verifier {
        self.0.verifier.clone()
    }

    /// True if the secret is shorter than 32 bytes: it can be guessed, and upstream peers refuse it.
    pub fn secret_is_weak(&self) -> bool {
        self.0.secret_bytes < STRONG_SECRET_BYTES
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("subject", &self.0.subject)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "secret-0123456789-0123456789-abcdef";

    fn rng() -> Rng {
        Rng::from_seed([9; 32])
    }

    #[test]
    fn subjects_are_the_base_with_a_random_suffix() {
        let mut rng = rng();
        let one = Identity::shared_secret("org/ns/app", SECRET, &mut rng).unwrap();
        let other = Identity::shared_secret("org/ns/app", SECRET, &mut rng).unwrap();
        let suffix = one.subject().strip_prefix("org/ns/app_").unwrap();
        assert_eq!(suffix.len(), 8);
        assert!(suffix.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(one.subject(), other.subject());
        assert_eq!(one.name_id(), NameId::of_subject(one.subject()));
        assert_eq!(one.clone().subject(), one.subject());
    }

    #[test]
    fn own_tokens_verify_and_never_repeat() {
        let mut rng = rng();
        let identity = Identity::shared_secret("org/ns/app", SECRET, &mut rng).unwrap();
        let now = UnixTime(1_000_000);
        let (one, other) = (identity.token(now, &mut rng), identity.token(now, &mut rng));
        assert_ne!(one, other);
        let verified = identity.verifier().verify(&one, now).unwrap();
        assert_eq!(verified.subject, identity.subject());
        assert_eq!(verified.public_key, identity.signing_key().public_key());
        assert_eq!(verified.issued_at, now);
        assert_eq!(verified.name_id(), identity.name_id());
    }

    #[test]
    fn tokens_have_the_shape_of_the_wire_document() {
        let mut rng = rng();
        let identity = Identity::shared_secret("org/ns/app", SECRET, &mut rng).unwrap();
        let token = identity.token(UnixTime(1_795_356_032), &mut rng);
        let fields: Vec<&str> = token.split(':').collect();
        assert_eq!(fields.len(), 5);
        assert_eq!(fields[1], "1795356032");
        let lengths: Vec<usize> = fields[2..].iter().map(|field| field.len()).collect();
        // The claims of the recorded tokens have this length too: 101 bytes of JSON.
        assert_eq!(lengths, [16, 135, 43]);
    }

    #[test]
    fn bases_that_would_break_the_token_are_refused_by_character() {
        let refuse = |base: &str| Identity::shared_secret(base, SECRET, &mut rng()).unwrap_err();
        assert_eq!(refuse(""), IdentityError::EmptyBase);
        for (base, character, at) in [
            ("org:ns", ':', 3),
            ("my app", ' ', 2),
            ("tab\t", '\t', 3),
            ("é\u{a0}x", '\u{a0}', 2),
        ] {
            assert_eq!(refuse(base), IdentityError::BaseCharacter { character, at });
        }
        assert_eq!(
            Identity::shared_secret("a", "", &mut rng()).unwrap_err(),
            IdentityError::EmptySecret
        );
    }

    #[test]
    fn short_secrets_work_and_are_called_weak() {
        let mut rng = rng();
        let weak = Identity::shared_secret("a/b/c", "shared_secret", &mut rng).unwrap();
        assert!(weak.secret_is_weak());
        let token = weak.token(UnixTime(5), &mut rng);
        assert!(
            Verifier::shared_secret("shared_secret")
                .verify(&token, UnixTime(5))
                .is_ok()
        );
        let edge = Identity::shared_secret("a/b/c", &"x".repeat(32), &mut rng).unwrap();
        assert!(!edge.secret_is_weak());
    }

    #[test]
    fn debug_shows_neither_secret_nor_key() {
        let identity = Identity::shared_secret("a/b/c", "canary-canary", &mut rng()).unwrap();
        let text = format!("{identity:?} {:?}", identity.verifier());
        assert!(!text.contains("canary"), "{text}");
    }
}
