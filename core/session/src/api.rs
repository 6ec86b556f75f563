//! What goes into an [`Endpoint`](crate::Endpoint) and what comes out.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use slim_auth::AuthenticationError;
use slim_proto::limits::{CONTROL_INTERVAL_DEFAULT, CONTROL_RETRIES_DEFAULT};
use slim_proto::{FullName, SessionKind, TimerSettings};

use crate::anycast::AnycastConfig;
use crate::error::OperationError;
use crate::invitations::{Invitation, InvitationId, InvitationRefusal};
use crate::settings::SessionDefaults;

/// Number of a session, chosen by its initiator and equal at all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u32);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Identifies a command whose result comes later, as exactly one [`Event::Completed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Which way data flows at this application (wire-session §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Publishes only; others do not wait for its acknowledgements.
    Send,
    /// Receives only; publishing is refused.
    Receive,
    /// Both.
    #[default]
    Bidirectional,
}

impl Direction {
    /// True if the application publishes.
    pub fn sends(self) -> bool {
        matches!(self, Self::Send | Self::Bidirectional)
    }

    /// True if the application receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::Receive | Self::Bidirectional)
    }
}

/// Settings of an application.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// The name without id; the id follows from the identity.
    pub name: FullName,
    /// Applies to sessions that others open; own sessions have their own setting.
    pub direction: Direction,
}

/// Retransmission of a reliable session: first send at 0, repeats at k × interval, failure at
/// (retries + 1) × interval (wire-session §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reliability {
    /// Period.
    pub interval: Duration,
    /// Number of repetitions.
    pub max_retries: u32,
}

impl Default for Reliability {
    fn default() -> Self {
        Self {
            interval: CONTROL_INTERVAL_DEFAULT,
            max_retries: CONTROL_RETRIES_DEFAULT,
        }
    }
}

impl Reliability {
    /// Time after which an unanswered request fails.
    pub fn total(self) -> Duration {
        self.interval.saturating_mul(self.max_retries.saturating_add(1))
    }

    /// The same period with enough repetitions to last this long.
    pub(crate) fn lasting_at_least(self, duration: Duration) -> Self {
        let periods = duration.as_millis() / self.interval.as_millis().max(1);
        Self {
            max_retries: self.max_retries.max(u32::try_from(periods).unwrap_or(u32::MAX)),
            ..self
        }
    }

    pub(crate) fn to_wire(self) -> TimerSettings {
        TimerSettings {
            timeout_ms: u32::try_from(self.interval.as_millis()).unwrap_or(u32::MAX),
            max_retries: self.max_retries,
        }
    }

    pub(crate) fn from_wire(settings: TimerSettings) -> Self {
        // A peer's zero interval would make us spin.
        let interval = Duration::from_millis(u64::from(settings.timeout_ms.max(10)));
        Self {
            interval,
            max_retries: settings.max_retries.min(1000),
        }
    }
}

/// What the initiator decides about a session.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// One to one, or a group.
    pub kind: SessionKind,
    /// Group: the channel name. One to one: the peer's name, usually without id.
    pub destination: FullName,
    /// `None`: data is neither acknowledged nor ordered nor repeated.
    pub reliability: Option<Reliability>,
    /// End-to-end encryption.
    pub mls: bool,
    /// Direction of the initiator.
    pub direction: Direction,
    /// Told to every invitee in clear.
    pub metadata: BTreeMap<String, String>,
}

/// What the application wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// Serve a further name, with the own id.
    Subscribe {
        /// The name.
        name: FullName,
    },
    /// Stop serving a further name.
    Unsubscribe {
        /// The name.
        name: FullName,
    },
    /// Create a session as its initiator. Groups complete at once; one to one completes when the peer joined.
    Open {
        /// Its settings.
        config: SessionConfig,
        /// A number of the caller's choice, for tests and restored sessions; `None` draws one.
        id: Option<SessionId>,
    },
    /// Create a session whose messages each name their receiver, any instance of a name as a rule. Completes at once.
    OpenAnycast {
        /// Its settings.
        config: AnycastConfig,
        /// As in [`Command::Open`].
        id: Option<SessionId>,
    },
    /// Change the timers of what this application sends in a reliable session.
    Reconfigure {
        /// Which.
        session: SessionId,
        /// Period and repetitions from now on.
        reliability: Reliability,
    },
    /// What applies at this application in sessions of a kind that others open from now on.
    SetDefaults {
        /// Groups, or one to one.
        kind: SessionKind,
        /// What.
        defaults: SessionDefaults,
    },
    /// Add a member (moderator of a group). Completes when it joined and every online member has the new epoch.
    Invite {
        /// The group.
        session: SessionId,
        /// The invitee, usually without id: any instance.
        name: FullName,
    },
    /// Remove a member (moderator of a group).
    Remove {
        /// The group.
        session: SessionId,
        /// The member; without id: every instance of the name.
        name: FullName,
    },
    /// Answer an invitation that [`Event::Invited`] told of. Done at once; the session follows as
    /// [`Event::SessionOpened`].
    AnswerInvitation {
        /// Which.
        invitation: InvitationId,
        /// Whether to join.
        accept: bool,
    },
    /// Send data.
    Publish {
        /// Where.
        session: SessionId,
        /// What; at most [`slim_proto::limits::PAYLOAD_BYTES_MAX`] bytes.
        payload: Bytes,
        /// `msg` when absent.
        payload_type: Option<String>,
        /// In clear; reserved keys are refused.
        metadata: BTreeMap<String, String>,
        /// Only to this member (a name without id: any one instance in the roster). In a session of
        /// [`Command::OpenAnycast`] the receiver, of any name.
        to: Option<FullName>,
    },
    /// Go offline in a group and stay a member.
    GoOffline {
        /// The group.
        session: SessionId,
    },
    /// Come back online.
    GoOnline {
        /// The group.
        session: SessionId,
    },
    /// End (initiator) or leave (everybody else) a session.
    Close {
        /// Which.
        session: SessionId,
    },
}

/// What a session looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Number.
    pub id: SessionId,
    /// One to one, or group.
    pub kind: SessionKind,
    /// Own name in this session.
    pub source: FullName,
    /// Group: the data channel; one to one: the peer.
    pub destination: FullName,
    /// True at the initiator.
    pub is_initiator: bool,
    /// Data timers, if reliable.
    pub reliability: Option<Reliability>,
    /// End-to-end encryption.
    pub mls: bool,
    /// The initiator's metadata, reserved keys removed.
    pub metadata: BTreeMap<String, String>,
    /// Opened with [`Command::OpenAnycast`]: each message names its receiver, and `destination` is the own name.
    pub anycast: bool,
}

/// A member of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Full name with id.
    pub name: FullName,
    /// Verified identity subject, where it is known (always, with MLS).
    pub subject: Option<String>,
    /// Presence.
    pub online: bool,
    /// True for the moderator.
    pub is_moderator: bool,
}

/// State of a session for display and for tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionSnapshot {
    /// Fixed facts.
    pub info: SessionInfo,
    /// Members, oneself included, ordered by name.
    pub members: Vec<Member>,
    /// MLS epoch.
    pub epoch: Option<u64>,
    /// MLS epoch authenticator: equal at all members of an epoch.
    pub epoch_authenticator: Option<Vec<u8>>,
    /// Subjects in the MLS tree, ordered.
    pub mls_members: Vec<String>,
}

/// A delivered message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Sender.
    pub source: FullName,
    /// As addressed: the channel, or oneself.
    pub destination: FullName,
    /// Verified identity subject of the sender.
    pub subject: String,
    /// Who vouches for it, if it is a JWT that tells.
    pub issuer: Option<String>,
    /// Application's type text.
    pub payload_type: String,
    /// Open metadata, reserved keys removed.
    pub metadata: BTreeMap<String, String>,
    /// Sequence number at the sender.
    pub message_id: u32,
    /// Sent to this member only.
    pub direct: bool,
    /// Data.
    pub payload: Bytes,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The endpoint is a member of a session that another application opened.
    SessionOpened(SessionInfo),
    /// Data arrived. Each counts against the session's inbox until `Endpoint::consumed` is called.
    Received {
        /// Where.
        session: SessionId,
        /// What.
        message: Received,
    },
    /// Messages of a sender are lost for good; the stream goes on behind them.
    Lost {
        /// Where.
        session: SessionId,
        /// Whose.
        sender: FullName,
        /// First lost number.
        first: u32,
        /// Last lost number.
        last: u32,
    },
    /// A command ended.
    Completed {
        /// Which.
        ticket: Ticket,
        /// How.
        result: Result<Outcome, OperationError>,
    },
    /// The roster changed.
    Membership {
        /// Where.
        session: SessionId,
        /// Whom.
        member: FullName,
        /// How.
        change: MembershipChange,
    },
    /// The group reached a new MLS epoch.
    EpochChanged {
        /// Where.
        session: SessionId,
        /// The epoch.
        epoch: u64,
    },
    /// A peer's identity was refused; it sees a time-out only, so this is where the reason is.
    IdentityRefused {
        /// Claimed name.
        peer: FullName,
        /// Why.
        error: AuthenticationError,
    },
    /// Somebody invites, and the policy says that the application is asked (`Inviters::Asked`). No answer within a
    /// minute is a no.
    Invited(Invitation),
    /// An invitation was not accepted; its inviter sees a time-out only.
    InvitationRefused {
        /// For which session.
        session: SessionId,
        /// Whose.
        inviter: FullName,
        /// Its verified identity subject.
        subject: String,
        /// Why.
        reason: InvitationRefusal,
    },
    /// The session is over; nothing follows for it.
    Closed {
        /// Which.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
}

/// Result of a successful command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Subscribe, unsubscribe, settings, offline, online, close.
    Done,
    /// The session exists (and, one to one, the peer joined).
    Opened(SessionInfo),
    /// The member joined.
    Invited {
        /// The instance that joined.
        member: FullName,
        /// Members that did not confirm the new epoch in time and count as offline.
        unreachable: Vec<FullName>,
    },
    /// The member is out.
    Removed {
        /// Who left.
        members: Vec<FullName>,
        /// Members (possibly the removed one) that did not confirm.
        unreachable: Vec<FullName>,
    },
    /// The message was sent (unreliable) or acknowledged by everybody expected (reliable).
    Published(PublishOutcome),
}

/// Who got a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishOutcome {
    /// Acknowledged.
    pub delivered: Vec<FullName>,
    /// Expected and silent.
    pub missed: Vec<(FullName, MissReason)>,
}

/// Why a member did not acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissReason {
    /// All retransmissions went unanswered.
    TimedOut,
    /// It went offline.
    Offline,
    /// It left or was removed.
    Left,
}

/// How the roster changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// New member.
    Joined,
    /// Left by itself or was removed.
    Left,
    /// Silent or announced its absence.
    Offline,
    /// Back.
    Online,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The own application closed or left it.
    Local,
    /// The moderator (or the peer) closed it.
    ByModerator,
    /// The moderator removed this member.
    Removed,
    /// One to one: the peer left.
    PeerLeft,
    /// The join did not complete.
    JoinFailed,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "closed by this application",
            Self::ByModerator => "closed by its moderator",
            Self::Removed => "this member was removed by the moderator",
            Self::PeerLeft => "the peer left",
            Self::JoinFailed => "the join did not complete",
        })
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Why messages were not acted upon, and other counts of an endpoint.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $($(#[$doc])* pub $name: u64),* }

        impl Counters {
            /// Name and value of each counter.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counters! {
    /// Frames that do not decode.
    undecodable,
    /// Messages for no session of ours.
    unknown_session,
    /// Tokens that do not verify.
    identity_refused,
    /// Names that do not belong to the verified subject.
    binding_refused,
    /// Header or payload signatures that do not verify.
    signature_refused,
    /// Messages that wait for keys of their sender's issuer.
    awaiting_keys,
    /// Of these, dropped because too many waited.
    awaiting_keys_dropped,
    /// Sender without the role that the message needs, or not a member.
    not_authorised,
    /// Control messages seen before.
    replayed,
    /// Messages that do not fit the state.
    unexpected,
    /// Sealed data that does not open.
    undecryptable,
    /// Sealed data whose header was altered.
    header_altered,
    /// Data parked for a future epoch.
    parked,
    /// Data for which the parking space was full.
    park_overflow,
    /// Data dropped before opening because the application does not read.
    inbox_full,
    /// Data received twice.
    duplicate,
    /// Invitations refused: too many are open, or the policy or the application said no.
    invitations_refused,
    /// Retransmissions sent.
    retransmitted,
    /// Rejoins started because of a missed commit.
    rejoins,
}
