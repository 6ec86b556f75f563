//! What can go wrong: mistakes of the caller, and operations that the far end did not complete.

use std::fmt;
use std::time::Duration;

use slim_proto::FullName;
use slim_proto::limits::{
    METADATA_BYTES_MAX, METADATA_ENTRIES_MAX, PAYLOAD_BYTES_MAX, PENDING_CHANGES_MAX, SEND_WINDOW_MAX,
    SESSIONS_MAX,
};

use crate::api::{CloseReason, PublishOutcome, SessionId};
use crate::invitations::InvitationId;

/// The caller asked for something that cannot be done; nothing was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// No such session here.
    #[error("session not found: {0}")]
    SessionUnknown(SessionId),
    /// A session with this number exists already.
    #[error("session {0} exists already")]
    SessionExists(SessionId),
    /// The session is closing.
    #[error("session {0} is closing")]
    Closing(SessionId),
    /// This member is offline in the group.
    #[error("this application is offline in session {0}; go online first")]
    Offline(SessionId),
    /// The application was not asked, has answered already, or took longer than a minute.
    #[error("invitation {0} does not wait for an answer: it was answered, or took longer than a minute")]
    InvitationUnknown(InvitationId),
    /// The session has no peer of its own, so a message must say whom it is for.
    #[error("session {0} has no fixed receiver; name the receiver of the message")]
    NoReceiver(SessionId),
    /// An unreliable session has no timers.
    #[error("session {0} is unreliable, which its members were told when they joined; open another session")]
    NotReliable(SessionId),
    /// Only the moderator of a group may do this.
    #[error("only the moderator of session {0} can change its members")]
    NotModerator(SessionId),
    /// One-to-one sessions have no members to change and no presence.
    #[error("session {0} is one to one; this needs a group")]
    NotGroup(SessionId),
    /// The instance is in the group already.
    #[error("participant already in group: {0}")]
    AlreadyMember(FullName),
    /// Not in the roster.
    #[error("{0} is not a member of this session")]
    NotMember(FullName),
    /// The application does not serve this name.
    #[error("{0} is not a name that this application subscribed")]
    NotServed(FullName),
    /// The roster holds nobody else and no invitation is under way.
    #[error("session {0} has no other member online; invite somebody first")]
    NoMembers(SessionId),
    /// The application's direction excludes sending.
    #[error("this application only receives in session {0}")]
    ReceiveOnly(SessionId),
    /// Payload too large.
    #[error("payload of {size} bytes; the limit is {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Bytes asked for.
        size: usize,
    },
    /// The key has a meaning of its own in the protocol.
    #[error("metadata key {0:?} is reserved")]
    ReservedMetadata(String),
    /// Too many entries or bytes.
    #[error("metadata exceeds {METADATA_ENTRIES_MAX} entries or {METADATA_BYTES_MAX} bytes")]
    MetadataTooLarge,
    /// Too many unacknowledged messages.
    #[error("session {0} has {SEND_WINDOW_MAX} unacknowledged messages; wait for acknowledgements")]
    WindowFull(SessionId),
    /// Too many sessions.
    #[error("this application has {SESSIONS_MAX} sessions, the limit")]
    TooManySessions,
    /// Too many queued membership changes.
    #[error("session {0} has {PENDING_CHANGES_MAX} membership changes waiting, the limit")]
    TooManyChanges(SessionId),
    /// The session number is reserved.
    #[error("session number {0} is outside 0..=4294966294")]
    ReservedSessionId(SessionId),
    /// Another change of presence is under way.
    #[error("another status change is already in progress in session {0}")]
    StatusChangeInProgress(SessionId),
    /// MLS refused to create the group.
    #[error("cannot create the encrypted group: {0}")]
    Mls(String),
}

/// How far an invitation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteStep {
    /// Nobody answered for the name.
    Discovery,
    /// The own node did not confirm the channel subscriptions.
    ChannelSubscription,
    /// The invitee answered discovery but did not send its join reply.
    Join,
    /// The invitee's key package was refused.
    KeyPackage,
    /// The invitee did not confirm the welcome.
    Welcome,
}

impl fmt::Display for InviteStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Discovery => "discovery",
            Self::ChannelSubscription => "channel subscription",
            Self::Join => "join",
            Self::KeyPackage => "key package",
            Self::Welcome => "welcome",
        })
    }
}

impl InviteStep {
    /// What usually causes a failure at this step, for the error text.
    pub fn likely_causes(self) -> &'static str {
        match self {
            Self::Discovery => {
                "no application serves this name at the node, or it holds other credentials and refuses in silence"
            }
            Self::ChannelSubscription => "the connection to the node is down",
            Self::Join => "the application stopped, or it holds other credentials and refuses in silence",
            Self::KeyPackage => "the invitee's identity does not verify here, or the clocks differ",
            Self::Welcome => "the application stopped while it joined, or it refuses the group's credentials",
        }
    }
}

/// A command that was started and did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OperationError {
    /// The invitee is not in the group; the group goes on without it.
    #[error(
        "failed to add participant {invitee} to session {session}: no success at step {step} after {} ms: {}",
        after.as_millis(), cause(*step, detail)
    )]
    InviteFailed {
        /// Where.
        session: SessionId,
        /// Whom.
        invitee: FullName,
        /// How far it came.
        step: InviteStep,
        /// Time spent.
        after: Duration,
        /// A known cause, or empty when only silence is known.
        detail: String,
    },
    /// The invitee was in the group already.
    #[error("participant already in group: {0}")]
    AlreadyMember(FullName),
    /// Not in the roster when its turn came.
    #[error("{0} is not a member of this session")]
    NotMember(FullName),
    /// Some members did not acknowledge the message.
    #[error(
        "message {message_id} of session {session} was not acknowledged by {}",
        list(outcome)
    )]
    PublishIncomplete {
        /// Where.
        session: SessionId,
        /// Which message.
        message_id: u32,
        /// Who did and who did not.
        outcome: PublishOutcome,
    },
    /// Nobody was there to receive the message.
    #[error("session {0} has no other member online; invite somebody first")]
    NoMembers(SessionId),
    /// The node refused or did not confirm a subscription.
    #[error("subscription to {name} failed: {reason}")]
    Subscription {
        /// The name.
        name: FullName,
        /// The node's words.
        reason: String,
    },
    /// The session ended first.
    #[error("session closed: {0}")]
    SessionClosed(CloseReason),
    /// Coming back online failed.
    #[error("rejoin failed: {0}")]
    RejoinFailed(&'static str),
    /// MLS refused an operation.
    #[error("encrypted group operation failed: {0}")]
    Mls(String),
}

fn cause(step: InviteStep, detail: &str) -> &str {
    if detail.is_empty() {
        step.likely_causes()
    } else {
        detail
    }
}

fn list(outcome: &PublishOutcome) -> String {
    outcome
        .missed
        .iter()
        .map(|(name, reason)| format!("{name} ({reason:?})"))
        .collect::<Vec<_>>()
        .join(", ")
}
