//! What can be wrong with identities, tokens and signatures.

use std::sync::Arc;

use slim_crypto::jwa::{Algorithm, TokenKeyError};
use slim_proto::limits::{
    ISSUERS_MAX, KEY_SET_BYTES_MAX, KEY_SET_KEYS_MAX, SPIFFE_TRUST_DOMAINS_MAX, TOKEN_BYTES_MAX,
    TOKEN_LIFE_SECS,
};
use slim_proto::{NameId, UnixTime};

use crate::key_resolution::KeyFetchFailure;
use crate::spiffe_id::SpiffeIdError;

/// Why an identity or a verifier cannot be made, or why a token is refused.
///
/// Those up to [`UnknownIssuer`](Self::UnknownIssuer) are the caller's fault; the others say what a peer's token
/// lacks. None carries text of a token or secret (but for the issuer whose keys are needed, which is one that the
/// configuration names), so errors can be logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The base name is empty.
    #[error("an identity needs a non-empty base name")]
    EmptyBase,
    /// The base name holds a character that would break the token format.
    #[error("the base name of an identity must not contain {character:?} (at byte {at})")]
    BaseCharacter {
        /// The offending character: `:` or white space.
        character: char,
        /// Its byte offset in the base name.
        at: usize,
    },
    /// The shared secret is empty.
    #[error("the shared secret is empty")]
    EmptySecret,
    /// A JWT identity without subject: the application would have no id (wire-session §1.2).
    #[error("a JWT identity needs a subject")]
    EmptySubject,
    /// The custom claims are not the text of a JSON object.
    #[error("the custom claims must be the text of a JSON object")]
    CustomClaims,
    /// A custom claim with a name that the token uses itself.
    #[error("the custom claim {name:?} would replace a claim of the token")]
    ReservedClaim {
        /// The name.
        name: &'static str,
    },
    /// The lifetime of own tokens is zero or too long (threat T-N3).
    #[error("tokens must live for 1 to {TOKEN_LIFE_SECS} s, not {secs} s")]
    Lifetime {
        /// What was asked for, in whole seconds.
        secs: u64,
    },
    /// A static token without the private key of its `pubkey`: command messages and MLS leaves cannot be signed,
    /// so it opens and joins no session (wire-session §1.6).
    #[error("a static token opens no sessions without the private key of its pubkey claim")]
    NoPrivateKey,
    /// The private key given with a static token is not the one of its `pubkey`.
    #[error("the private key is not the one of the token's pubkey claim")]
    OtherPrivateKey,
    /// A verifier that learns keys from issuers must be told which; anybody could be one.
    #[error("a verifier that learns keys from issuers needs the issuers that are trusted")]
    NoIssuer,
    /// More issuers than a verifier takes.
    #[error("{0} issuers; the limit is {ISSUERS_MAX}")]
    TooManyIssuers(usize),
    /// Keys for an issuer that the verifier does not trust, or for a verifier with fixed keys.
    #[error("the verifier takes no keys of this issuer")]
    UnknownIssuer,
    /// Longer than any honest token.
    #[error("a token of {0} bytes; the limit is {TOKEN_BYTES_MAX}")]
    TooLong(usize),
    /// Not in the format of wire-session §1.3, or no JWT.
    #[error("the token's {0} is malformed")]
    Malformed(TokenPart),
    /// Made with another secret, or changed on the way.
    #[error("the token was not made with the shared secret of this verifier")]
    WrongMac,
    /// Older than a token may be, or past its `exp`.
    #[error("the token of time {} is expired at {}", issued_at.0, now.0)]
    Expired {
        /// When it was made.
        issued_at: UnixTime,
        /// When it was judged.
        now: UnixTime,
    },
    /// From the future, beyond the accepted clock skew.
    #[error("the token of time {} comes from the future at {}; check the clocks", issued_at.0, now.0)]
    NotYetValid {
        /// When it claims to be made, or to become valid.
        issued_at: UnixTime,
        /// When it was judged.
        now: UnixTime,
    },
    /// The claims hold no `pubkey`, so the holder can sign nothing.
    #[error("the token carries no public key")]
    NoKey,
    /// The public key's length belongs to no algorithm of the protocol.
    #[error("the token's public key has {0} bytes; expected 32, 33 or 65")]
    UnknownKey(usize),
    /// The JWT's header names an algorithm that none of the verifier's keys is for: `none` is one of these, and
    /// HS256 where the verifier holds public keys.
    #[error("the token's algorithm is not the one of a trusted key")]
    AlgorithmNotAllowed,
    /// The JWT names a key that the verifier does not have, and none of the others has made it.
    #[error("the token names an unknown key, and none of the {tried} keys of its algorithm made it")]
    NoMatchingKey {
        /// Keys that were tried.
        tried: usize,
    },
    /// Signed by somebody else, or changed on the way.
    #[error("the token's signature does not verify under a trusted key")]
    WrongSignature,
    /// A claim is missing that the verifier demands; `exp` always is one.
    #[error("the token has no {0}, which is required")]
    MissingClaim(TokenPart),
    /// No audience of the token is one of the verifier's. A verifier without audiences takes no token that has
    /// one: it is meant for somebody else.
    #[error("the token is meant for another audience")]
    WrongAudience,
    /// Not an issuer of the verifier.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// Not a subject of the verifier.
    #[error("the token's subject is not accepted here")]
    WrongSubject,
    /// The subject is not that of the key that signed the token; see [`JwtRules::bind_subject`](crate::JwtRules).
    #[error("the token's subject is not the one of the key that signed it")]
    SubjectNotBound,
    /// A SPIFFE token whose subject is no SPIFFE id.
    #[error("the token's subject is no SPIFFE id: {0}")]
    SpiffeId(SpiffeIdError),
    /// A SPIFFE token of a trust domain whose bundle the verifier does not have or may not believe.
    #[error(
        "the token's trust domain is not trusted here; see trust_domains, and the federation of the SPIRE server"
    )]
    WrongTrustDomain,
    /// A SPIFFE token that may be an application's identity, shown as the proof of a link: it proves nothing, since an
    /// application shows it to every peer.
    #[error(
        "the token has a signature key and the audience slim, so it may be an application's identity, which its peers \
         have too; give links another audience in jwt_audiences, on both sides"
    )]
    IdentityAsProof,
    /// More bundles than a verifier takes.
    #[error("bundles of {0} trust domains; the limit is {SPIFFE_TRUST_DOMAINS_MAX}")]
    TooManyTrustDomains(usize),
    /// A newer token of another subject or for another signature key.
    #[error("a newer token must be of the same subject and for the same signature key")]
    OtherIdentity,
    /// A newer token for an identity that makes its tokens itself.
    #[error("this identity makes its own tokens")]
    OwnTokens,
    /// The issuer is trusted, its keys are not known (yet). The token may be good: fetch the keys, then judge it
    /// again with [`Verifier::with_keys`](crate::Verifier::with_keys).
    #[error("the keys of issuer {issuer:?} are not known yet")]
    KeysUnavailable {
        /// Whose keys are missing; one of the configured issuers.
        issuer: Arc<str>,
    },
    /// The issuer is trusted, and its keys cannot be had. The token may be good.
    #[error("the token cannot be checked without the keys of its issuer {issuer:?}: {failure}")]
    IssuerUnavailable {
        /// Whose keys are missing; one of the configured issuers.
        issuer: Arc<str>,
        /// Why.
        failure: KeyFetchFailure,
    },
    /// An issuer whose keys are to be fetched must say where it is.
    #[error(
        "the issuer {issuer:?} cannot be asked for keys: it must be an https:// address, or http:// on this machine"
    )]
    IssuerAddress {
        /// Which.
        issuer: Arc<str>,
    },
}

impl IdentityError {
    /// True if keys of an issuer are missing that are being fetched: the same token may be accepted a moment later.
    pub fn is_about_missing_keys(&self) -> bool {
        matches!(
            self,
            Self::KeysUnavailable { .. } | Self::IssuerUnavailable { .. }
        )
    }
}

/// Why a text is no usable key set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// A key in PEM, or a secret, is no good.
    #[error(transparent)]
    Key(#[from] TokenKeyError),
    /// Longer than any honest key set.
    #[error("a key set of {0} bytes; the limit is {KEY_SET_BYTES_MAX}")]
    TooLong(usize),
    /// More keys than a set may have.
    #[error("a key set of {0} keys; the limit is {KEY_SET_KEYS_MAX}")]
    TooManyKeys(usize),
    /// Not the JSON of a key, or of a set: an object with a list `keys`.
    #[error("expected the JSON text of a key (JWK) or a key set (JWKS)")]
    NotKeySet,
    /// The key is declared for another algorithm than the configured one.
    #[error("the key is not for {configured}, the configured algorithm")]
    OtherAlgorithm {
        /// The configured algorithm.
        configured: Algorithm,
    },
    /// None of the keys can check a token: each is of an unknown kind, for encryption, damaged, or an RSA key or
    /// a secret that does not say its algorithm.
    #[error("none of the {0} keys can check tokens; RSA keys and secrets must name their algorithm")]
    NoUsableKey(usize),
}

/// A field of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenPart {
    /// The number of fields.
    Shape,
    /// The subject.
    Subject,
    /// The time of creation.
    Time,
    /// The nonce.
    Nonce,
    /// The claims, base64url of JSON.
    Claims,
    /// The public key inside the claims.
    PublicKey,
    /// The authentication code.
    Mac,
    /// The header of a JWT.
    Header,
    /// The signature of a JWT.
    Signature,
    /// The claim `iss`.
    Issuer,
    /// The claim `aud`.
    Audience,
    /// The claim `exp`.
    Expiry,
    /// The claim `nbf`.
    NotBefore,
}

impl std::fmt::Display for TokenPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Shape => "shape",
            Self::Subject => "subject",
            Self::Time => "time",
            Self::Nonce => "nonce",
            Self::Claims => "claims",
            Self::PublicKey => "public key",
            Self::Mac => "authentication code",
            Self::Header => "header",
            Self::Signature => "signature",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Expiry => "expiry time",
            Self::NotBefore => "start of validity",
        })
    }
}

/// Why a command message is not its claimed sender's (wire-session §2.3, mode `enforce`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFailure {
    /// No header signature.
    #[error("the header is not signed")]
    HeaderUnsigned,
    /// The header signature does not verify under the token's key.
    #[error("the header signature does not verify")]
    HeaderInvalid,
    /// No payload signature.
    #[error("the payload is not signed")]
    PayloadUnsigned,
    /// The payload signature is no base64.
    #[error("the payload signature is malformed")]
    PayloadMalformed,
    /// The payload signature does not verify under the token's key.
    #[error("the payload signature does not verify")]
    PayloadInvalid,
    /// The source name does not belong to the subject of the token.
    #[error("source id {source_id} is not the id {subject_id} of the token's subject")]
    SourceNotBound {
        /// The id in the source name.
        source_id: NameId,
        /// The id that the subject gives.
        subject_id: NameId,
    },
}

/// Why [`authenticate`](crate::authenticate) refuses a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// The token is no good.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The token is good, the message is not its holder's.
    #[error(transparent)]
    Signature(#[from] SignatureFailure),
}
