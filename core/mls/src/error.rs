//! What can go wrong, by who is at fault.

use std::fmt;
use std::sync::Arc;

use mls_rs::error::{AnyError, IntoAnyError, MlsError as LibraryError};
use slim_auth::IdentityError;
use slim_proto::limits::MEMBERS_MAX;

/// Why a credential is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// Not a basic credential with text in it.
    #[error("the credential is not an identity token")]
    NotToken,
    /// The token is no good.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The token is not made with a key of its issuer that is known; a newer key may have made it.
    #[error("{error}")]
    OtherKeys {
        /// Whose newer keys may help.
        issuer: Arc<str>,
        /// What the known keys say.
        error: IdentityError,
    },
    /// The token names another key than the leaf it is in.
    #[error("the token's public key is not the signature key of its leaf")]
    KeyMismatch,
    /// External senders have no place in these groups (wire-session §3.1).
    #[error("external senders are refused")]
    ExternalSender,
}

impl IntoAnyError for CredentialError {
    fn into_dyn_error(self) -> Result<Box<dyn std::error::Error + Send + Sync>, Self> {
        Ok(self.into())
    }
}

/// Why a group operation other than opening a message fails.
#[derive(Debug, thiserror::Error)]
pub enum MlsError {
    /// The session has no group yet.
    #[error("there is no group yet")]
    NoGroup,
    /// This member was removed; its state only opens what was sent before.
    #[error("this member was removed from the group")]
    Removed,
    /// No MLS message, or bytes behind one.
    #[error("undecodable MLS message")]
    Malformed,
    /// An MLS message of another kind.
    #[error("expected {0}, got another kind of MLS message")]
    Unexpected(MessageName),
    /// A message of another group.
    #[error("the message belongs to another group")]
    WrongGroup,
    /// A commit that does not fit the current epoch.
    #[error("a commit for epoch {got} in epoch {expected}")]
    WrongEpoch {
        /// The epoch of this member.
        expected: u64,
        /// The epoch that the commit starts from.
        got: u64,
    },
    /// A commit by somebody who is not the moderator (threat T-M1).
    #[error("a commit by {committer}, who is not the moderator")]
    NotModerator {
        /// The subject of the committer; empty if it is no member.
        committer: String,
    },
    /// A commit with something else than adds and removes by value.
    #[error("a commit with a proposal that the protocol does not use")]
    ForbiddenProposal,
    /// The subject is not in the group.
    #[error("{subject} is not a member")]
    NotMember {
        /// Who.
        subject: String,
    },
    /// The subject is in the group already; rejoin replaces a member.
    #[error("{subject} is a member already")]
    AlreadyMember {
        /// Who.
        subject: String,
    },
    /// A key package or token that belongs to somebody else than expected.
    #[error("expected a credential of {expected}, got one of {got}")]
    WrongSubject {
        /// Whose it should be.
        expected: String,
        /// Whose it is.
        got: String,
    },
    /// A key package for another cipher suite than the group's.
    #[error(
        "the key package is of MLS suite {got} and the group of suite {expected}: one side has post-quantum \
         encryption (pqc) on and the other has not; set it alike on all members"
    )]
    OtherSuite {
        /// The group's.
        expected: u16,
        /// The key package's.
        got: u16,
    },
    /// The group is full.
    #[error("the group has {MEMBERS_MAX} members, which is the limit")]
    TooManyMembers,
    /// A welcome for none of our key packages, or for one that was used or forgotten.
    #[error("the welcome fits none of our unused key packages")]
    NoKeyPackage,
    /// A credential is not accepted.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The library found a violation of RFC 9420.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
}

/// Why a message cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Sealed in an epoch whose commit is not applied yet; keep the message and try again after it.
    #[error("sealed in the future epoch {epoch}")]
    FutureEpoch {
        /// The epoch of the message.
        epoch: u64,
    },
    /// Sealed in an epoch that is forgotten, or that was over before this member joined.
    #[error("sealed in epoch {epoch}, which is not known any more")]
    TooOld {
        /// The epoch of the message.
        epoch: u64,
    },
    /// Opened before: its key is used up.
    #[error("opened before (generation {generation})")]
    Replay {
        /// The sender's message counter in its epoch.
        generation: u32,
    },
    /// More than 1024 messages of this sender are missing before this one (wire-session §3.7).
    #[error("generation {generation} is too far ahead")]
    TooFarAhead {
        /// The sender's message counter in its epoch.
        generation: u32,
    },
    /// Our own message, which came back.
    #[error("sealed by this member itself")]
    Own,
    /// Not an MLS application message, or bytes behind one.
    #[error("undecodable MLS application message")]
    Malformed,
    /// A message of another group.
    #[error("the message belongs to another group")]
    WrongGroup,
    /// Sealed by somebody who is not a member any more, and whose place may be another's now (threat T-M9).
    #[error("sealed in epoch {epoch} by somebody who left since")]
    SenderLeft {
        /// The epoch of the message.
        epoch: u64,
    },
    /// Changed on the way, or not sealed by a member.
    #[error(transparent)]
    Refused(ProtocolError),
}

/// The kind of MLS message that a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageName {
    /// A KeyPackage.
    KeyPackage,
    /// A Welcome.
    Welcome,
    /// A Commit in a PublicMessage.
    Commit,
}

impl fmt::Display for MessageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeyPackage => "a key package",
            Self::Welcome => "a welcome",
            Self::Commit => "a public commit",
        })
    }
}

/// The library's verdict on a message that violates RFC 9420, or its failure; text only.
#[derive(thiserror::Error)]
#[error("{0}")]
pub struct ProtocolError(LibraryError);

impl fmt::Debug for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProtocolError({})", self.0)
    }
}

impl MlsError {
    /// The issuer whose keys, once they are fetched or fetched anew, may make the same operation succeed.
    pub fn wanted_keys(&self) -> Option<&Arc<str>> {
        let Self::Credential(credential) = self else {
            return None;
        };
        match credential {
            CredentialError::OtherKeys { issuer, .. }
            | CredentialError::Identity(
                IdentityError::KeysUnavailable { issuer } | IdentityError::IssuerUnavailable { issuer, .. },
            ) => Some(issuer),
            CredentialError::Identity(_)
            | CredentialError::NotToken
            | CredentialError::KeyMismatch
            | CredentialError::ExternalSender => None,
        }
    }
}

impl From<LibraryError> for MlsError {
    fn from(error: LibraryError) -> Self {
        if let LibraryError::IdentityProviderError(inner) = &error
            && let Some(credential) = credential_error(inner)
        {
            return Self::Credential(credential);
        }
        if matches!(error, LibraryError::WelcomeKeyPackageNotFound) {
            return Self::NoKeyPackage;
        }
        Self::Protocol(ProtocolError(error))
    }
}

impl OpenError {
    pub(crate) fn from_library(error: LibraryError, epoch: u64) -> Self {
        if let LibraryError::KeyMissing(generation) = error {
            return Self::Replay { generation };
        }
        if let LibraryError::InvalidFutureGeneration(generation) = error {
            return Self::TooFarAhead { generation };
        }
        if matches!(error, LibraryError::EpochNotFound) {
            return Self::TooOld { epoch };
        }
        if matches!(error, LibraryError::MemberNotFound) {
            return Self::SenderLeft { epoch };
        }
        if matches!(error, LibraryError::CantProcessMessageFromSelf) {
            return Self::Own;
        }
        Self::Refused(ProtocolError(error))
    }
}

fn credential_error(error: &AnyError) -> Option<CredentialError> {
    error.inner_dyn_error().downcast_ref().cloned()
}
