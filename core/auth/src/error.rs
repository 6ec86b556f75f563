//! What can be wrong with identities, tokens and signatures.

use slim_proto::limits::{TOKEN_BYTES_MAX, TOKEN_LIFE_SECS};
use slim_proto::{NameId, UnixTime};

/// Why an identity cannot be made, or why a token is refused.
///
/// The first three are the caller's fault; the others say what a peer's token lacks. None carries text of the
/// token or the secret, so errors can be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// Longer than any honest token.
    #[error("a token of {0} bytes; the limit is {TOKEN_BYTES_MAX}")]
    TooLong(usize),
    /// Not in the format of wire-session §1.3.
    #[error("the token's {0} is malformed")]
    Malformed(TokenPart),
    /// Made with another secret, or changed on the way.
    #[error("the token was not made with the shared secret of this verifier")]
    WrongMac,
    /// Older than a token may be.
    #[error("the token of time {} is more than {TOKEN_LIFE_SECS} s old at {}", issued_at.0, now.0)]
    Expired {
        /// When it was made.
        issued_at: UnixTime,
        /// When it was judged.
        now: UnixTime,
    },
    /// From the future, beyond the accepted clock skew.
    #[error("the token of time {} comes from the future at {}; check the clocks", issued_at.0, now.0)]
    NotYetValid {
        /// When it claims to be made.
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
}

/// A field of a shared-secret token.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthenticationError {
    /// The token is no good.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The token is good, the message is not its holder's.
    #[error(transparent)]
    Signature(#[from] SignatureFailure),
}
