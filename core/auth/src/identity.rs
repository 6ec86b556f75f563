//! Who we are: a subject, a signature key, and tokens that prove both.

use std::fmt;
use std::sync::Arc;

use slim_crypto::{HmacKey, Rng, SigningKey};
use slim_proto::limits::{CREDENTIAL_REFRESH_SECS, JWT_LEEWAY_SECS};
use slim_proto::{NameId, UnixTime};

use crate::claims::{self, JwtRules, Lifetime};
use crate::error::IdentityError;
use crate::jwt;
use crate::jwt_signer::{JwtSigner, Minter};
use crate::key_set::KeySet;
use crate::svid::{self, read_svid};
use crate::token::{self, NONCE_BYTES, public_key_claim};
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
    key: Arc<SigningKey>,
    verifier: Verifier,
    proof: Proof,
}

/// Where tokens come from.
enum Proof {
    SharedSecret {
        mac: Box<HmacKey>,
        claims: String,
        secret_bytes: usize,
    },
    Jwt(Box<Minter>),
    /// Made by somebody else, who binds it to our signature key.
    Given(GivenToken),
}

struct GivenToken {
    text: String,
    /// From `iat` to `exp`, with the leeway.
    life_secs: u64,
    is_svid: bool,
}

impl Identity {
    /// An identity that proves itself with a shared secret (wire-session §1.3).
    ///
    /// The subject is `base`, an underscore and 8 random letters or digits; the signature key is fresh. A base
    /// with `:` or white space, or an empty base or secret, is refused.
    pub fn shared_secret(base: &str, secret: &str, rng: &mut Rng) -> Result<Self, IdentityError> {
        Self::shared_secret_with_key(base, secret, SigningKey::generate_p256(), rng)
    }

    /// Like [`shared_secret`](Self::shared_secret) with the key for messages and MLS leaves. Its kind decides the
    /// MLS suite of the identity's groups: Ed25519 means post-quantum encryption (wire-session §3.1).
    pub fn shared_secret_with_key(
        base: &str,
        secret: &str,
        key: SigningKey,
        rng: &mut Rng,
    ) -> Result<Self, IdentityError> {
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
        Ok(Self(Arc::new(Inner {
            subject: format!("{base}_{}", rng.alphanumeric(SUFFIX_CHARS)),
            proof: Proof::SharedSecret {
                mac: Box::new(HmacKey::new(secret.as_bytes())),
                claims: token::encode_claims(key.public_key()),
                secret_bytes: secret.len(),
            },
            key: Arc::new(key),
            verifier: Verifier::shared_secret(secret),
        })))
    }

    /// An identity that signs JSON Web Tokens itself (wire-session §1.4); the signature key for messages is fresh.
    ///
    /// Unlike with a shared secret the subject is exactly the given one, and so is the name id.
    pub fn jwt(signer: JwtSigner) -> Result<Self, IdentityError> {
        Self::jwt_with_key(signer, SigningKey::generate_p256())
    }

    /// Like [`jwt`](Self::jwt) with the key for messages and MLS leaves; see
    /// [`shared_secret_with_key`](Self::shared_secret_with_key).
    pub fn jwt_with_key(signer: JwtSigner, key: SigningKey) -> Result<Self, IdentityError> {
        let subject = signer.subject.clone();
        let minter = Minter::new(signer, key.public_key())?;
        Ok(Self(Arc::new(Inner {
            subject,
            key: Arc::new(key),
            verifier: minter.verifier(),
            proof: Proof::Jwt(Box::new(minter)),
        })))
    }

    /// An identity with a token that somebody else has signed (wire-session §1.6).
    ///
    /// Every command message and MLS leaf must be signed with the private key of the token's `pubkey` claim, so
    /// such an identity exists only with that key. A token without the claim gives [`IdentityError::NoKey`], one
    /// without its key [`IdentityError::NoPrivateKey`]: it may still be presented to nodes, but opens no session.
    /// The token is read, not verified; when it has expired, peers refuse it and a new identity is needed.
    pub fn static_jwt(token: &str, key: Option<SigningKey>) -> Result<Self, IdentityError> {
        Self::given(token, key.map(Arc::new), false)
    }

    /// An identity with a JWT-SVID, which was asked for with [`claims_audience`](crate::claims_audience) of the public
    /// key of `key` (wire-session §1.6). The subject is the SPIFFE id.
    ///
    /// The token is read, not verified: it comes from the local agent. Give the next one in time with
    /// [`with_token`](Self::with_token).
    pub fn spiffe(token: &str, key: SigningKey) -> Result<Self, IdentityError> {
        Self::given(token, Some(Arc::new(key)), true)
    }

    fn given(token: &str, key: Option<Arc<SigningKey>>, is_svid: bool) -> Result<Self, IdentityError> {
        let text = token.trim().to_owned();
        let mut claims = jwt::read_claims(&text)?;
        if is_svid {
            read_svid(&text)?;
            svid::normalise(&mut claims)?;
        }
        let subject = claims::subject(&claims)?.to_owned();
        let public_key = public_key_claim(claims.get("pubkey"), claims.get("custom_claims"))?;
        let key = key.ok_or(IdentityError::NoPrivateKey)?;
        if key.public_key() != public_key {
            return Err(IdentityError::OtherPrivateKey);
        }
        // Without `exp` nobody accepts the token; that is found where it is verified.
        let life_secs =
            Lifetime::read(&claims).map_or(0, |life| life.expires_at.saturating_since(life.issued_at));
        Ok(Self(Arc::new(Inner {
            subject,
            key,
            verifier: Verifier::jwt(KeySet::default(), JwtRules::default()),
            proof: Proof::Given(GivenToken {
                text,
                life_secs,
                is_svid,
            }),
        })))
    }

    /// The same identity with a newer token of the same maker: same subject, same signature key.
    pub fn with_token(&self, token: &str) -> Result<Self, IdentityError> {
        let Proof::Given(given) = &self.0.proof else {
            return Err(IdentityError::OwnTokens);
        };
        let newer = match Self::given(token, Some(Arc::clone(&self.0.key)), given.is_svid) {
            Err(IdentityError::OtherPrivateKey) => return Err(IdentityError::OtherIdentity),
            newer => newer?,
        };
        if newer.subject() != self.subject() {
            return Err(IdentityError::OtherIdentity);
        }
        Ok(newer)
    }

    /// The same identity with tokens of another signer: its key was rotated, or its settings changed. Subject and
    /// signature key stay. Peers must know the new key before they see a token of it.
    pub fn with_signer(&self, signer: JwtSigner) -> Result<Self, IdentityError> {
        if !matches!(self.0.proof, Proof::Jwt(_)) || signer.subject != self.0.subject {
            return Err(IdentityError::OtherIdentity);
        }
        let minter = Minter::new(signer, self.0.key.public_key())?;
        Ok(Self(Arc::new(Inner {
            subject: self.0.subject.clone(),
            key: self.0.key.clone(),
            verifier: minter.verifier(),
            proof: Proof::Jwt(Box::new(minter)),
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

    /// A fresh token with its own nonce, valid from `now` for an hour or for the configured lifetime; of a static
    /// identity the one token.
    pub fn token(&self, now: UnixTime, rng: &mut Rng) -> String {
        match &self.0.proof {
            Proof::SharedSecret { mac, claims, .. } => {
                let mut nonce = [0; NONCE_BYTES];
                rng.fill(&mut nonce);
                token::mint(mac, &self.0.subject, now, nonce, claims)
            }
            Proof::Jwt(minter) => minter.mint(now, rng),
            Proof::Given(given) => given.text.clone(),
        }
    }

    /// A verifier for tokens of everybody who holds the same secret or signing key, this identity included.
    ///
    /// Who made a static token is not known here: its verifier has no keys and refuses everything. Give the
    /// endpoint a [`Verifier::jwt`] with the issuer's keys instead.
    pub fn verifier(&self) -> Verifier {
        self.0.verifier.clone()
    }

    /// Age in seconds at which a token in an MLS leaf is to be replaced: 5/6 of its life, which is 50 minutes for
    /// tokens of an hour (wire-session §9.3 item 1). Not below a minute: so long any token is accepted, thanks to
    /// the leeway, and each refresh is a commit that the whole group applies.
    pub fn credential_refresh_secs(&self) -> u64 {
        match &self.0.proof {
            Proof::SharedSecret { .. } => CREDENTIAL_REFRESH_SECS,
            Proof::Jwt(minter) => refresh_age(minter.lifetime_secs()),
            Proof::Given(given) => refresh_age(given.life_secs.saturating_sub(JWT_LEEWAY_SECS)),
        }
    }

    /// True if the secret is shorter than 32 bytes: it can be guessed, and upstream peers refuse it. False for
    /// identities without secret.
    pub fn secret_is_weak(&self) -> bool {
        let secret_bytes = match &self.0.proof {
            Proof::SharedSecret { secret_bytes, .. } => Some(*secret_bytes),
            Proof::Jwt(minter) => minter.secret_bytes(),
            Proof::Given(_) => None,
        };
        secret_bytes.is_some_and(|bytes| bytes < STRONG_SECRET_BYTES)
    }
}

fn refresh_age(life_secs: u64) -> u64 {
    (life_secs.saturating_mul(5) / 6).clamp(JWT_LEEWAY_SECS, CREDENTIAL_REFRESH_SECS)
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
