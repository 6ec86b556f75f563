//! Whose invitations an application accepts, and the ones that it is asked about (threats T-O6, T-N8).
//!
//! The wire has no word for "no": who is not accepted hears nothing and its inviter sees a time-out (wire-session
//! §4.5). A refusal is counted and told to the own application only.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use slim_auth::Verified;
use slim_proto::limits::{HALF_JOINED_MAX, HALF_JOINED_TIMEOUT};
use slim_proto::{FullName, Instant, JoinRequest, Message, Now, SessionKind};

use crate::api::{Event, SessionId};
use crate::endpoint::Endpoint;
use crate::error::CommandError;
use crate::session::{Role, State};
use crate::shared::Shared;
use crate::timers::{ENDPOINT, TimerKey};

/// Open invitations of one peer (threat T-O6).
const OPEN_PER_PEER_MAX: usize = 10;
/// An inviter repeats its request each period, a second by default. When the last copy is older than this it may
/// have given up, and a late answer would end an upstream moderator's session (R4): the next copy is answered.
const STILL_THERE: Duration = Duration::from_secs(3);

/// What an application demands of those who want it in their sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationPolicy {
    /// Who may invite.
    pub from: Inviters,
    /// Sessions without end-to-end encryption are refused.
    pub require_mls: bool,
    /// Sessions that one inviter, by its verified subject, may have this application in at the same time.
    pub sessions_per_inviter: usize,
}

impl Default for InvitationPolicy {
    fn default() -> Self {
        Self {
            from: Inviters::Everybody,
            require_mls: false,
            sessions_per_inviter: 1000,
        }
    }
}

/// Who may invite. All of them have proved an identity that the verifier accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Inviters {
    /// Whoever the verifier accepts.
    #[default]
    Everybody,
    /// Nobody: the application only opens sessions itself.
    Nobody,
    /// Subjects that match one of these. Others get no answer to a discovery either.
    Listed(Vec<SubjectPattern>),
    /// The application decides about each, by [`Event::Invited`] and
    /// [`Command::AnswerInvitation`](crate::Command::AnswerInvitation).
    Asked,
}

/// A verified subject, or the beginning of some: `https://issuer/alice`, `agntcy/demo/alice_*`.
///
/// With a shared secret a subject is the application's name, `_` and eight random characters, so its pattern ends in
/// `_*`; and whoever holds the secret can claim any (wire-session §1.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectPattern(String);

impl SubjectPattern {
    /// A pattern: `*` at the end stands for anything, elsewhere for itself.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self(pattern.into())
    }

    /// True if the subject is meant.
    pub fn matches(&self, subject: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => subject.starts_with(beginning),
            None => self.0 == subject,
        }
    }
}

/// Number of an invitation that the application was asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvitationId(pub u64);

impl fmt::Display for InvitationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// An invitation, as far as it is known before the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invitation {
    /// For the answer.
    pub id: InvitationId,
    /// The session.
    pub session: SessionId,
    /// One to one, or a group.
    pub kind: SessionKind,
    /// Who invites.
    pub inviter: FullName,
    /// Its verified identity subject.
    pub subject: String,
    /// Who vouches for it, if it is a JWT that tells.
    pub issuer: Option<String>,
    /// Group: the channel, with the id that follows from the inviter's subject.
    pub channel: Option<FullName>,
    /// End-to-end encryption.
    pub mls: bool,
    /// The inviter's metadata, reserved keys removed.
    pub metadata: BTreeMap<String, String>,
}

/// Why an invitation was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvitationRefusal {
    /// The policy does not name its subject.
    NotListed,
    /// It would be a session without end-to-end encryption.
    NotEncrypted,
    /// The inviter has this application in too many sessions.
    TooManySessions,
    /// The application said no.
    Declined,
    /// The application did not answer in time.
    Unanswered,
}

impl fmt::Display for InvitationRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotListed => "its subject is not among those that may invite this application",
            Self::NotEncrypted => "it is for a session without end-to-end encryption",
            Self::TooManySessions => "this inviter has the application in too many sessions already",
            Self::Declined => "the application declined it",
            Self::Unanswered => "the application did not answer it in time",
        })
    }
}

/// The invitations of an endpoint that wait for its application, and the policy.
#[derive(Debug, Default)]
pub(crate) struct Invitations {
    pub(crate) policy: InvitationPolicy,
    /// By inviter and session: repetitions of a request are the same invitation.
    asked: BTreeMap<(FullName, u32), Asked>,
    next_id: u64,
}

#[derive(Debug)]
struct Asked {
    id: InvitationId,
    message: Message,
    verified: Verified,
    /// When the last copy came.
    heard: Instant,
    answer: Option<bool>,
}

/// What becomes of an invitation.
enum Admission {
    Join,
    /// Until the application has answered.
    Wait,
    Refuse(InvitationRefusal),
}

impl InvitationPolicy {
    /// False if nothing that this subject asks for would be accepted; then it need not even be discovered.
    pub(crate) fn may_knock(&self, subject: &str) -> bool {
        match &self.from {
            Inviters::Everybody | Inviters::Asked => true,
            Inviters::Nobody => false,
            Inviters::Listed(patterns) => patterns.iter().any(|pattern| pattern.matches(subject)),
        }
    }
}

impl Invitations {
    fn of(&mut self, id: InvitationId) -> Option<&mut Asked> {
        self.asked.values_mut().find(|asked| asked.id == id)
    }

    fn remove(&mut self, id: InvitationId) -> Option<Asked> {
        let key = self.asked.iter().find(|(_, asked)| asked.id == id)?.0.clone();
        self.asked.remove(&key)
    }

    fn open_of(&self, inviter: &FullName) -> usize {
        self.asked.keys().filter(|(peer, _)| peer == inviter).count()
    }

    /// Asks the application, once for all copies of a request.
    fn ask(
        &mut self,
        shared: &mut Shared,
        now: Now,
        message: &Message,
        join: &JoinRequest,
        by: &Verified,
    ) -> Admission {
        let key = (message.source.clone(), message.session_id);
        if let Some(asked) = self.asked.get_mut(&key) {
            asked.heard = now.mono;
            asked.message = message.clone();
            return match asked.answer {
                Some(true) => Admission::Join,
                Some(false) | None => Admission::Wait,
            };
        }
        self.next_id += 1;
        let id = InvitationId(self.next_id);
        shared.timers.set(
            ENDPOINT,
            TimerKey::Invitation(id.0),
            now.mono + HALF_JOINED_TIMEOUT,
        );
        shared.event(Event::Invited(Invitation {
            id,
            session: SessionId(message.session_id),
            kind: message.session_kind,
            inviter: message.source.clone(),
            subject: by.subject.clone(),
            issuer: by.issuer.clone(),
            channel: join.channel.clone(),
            mls: join.mls_header_check_percent.is_some(),
            metadata: crate::session::without_reserved(message.metadata.clone()),
        }));
        let asked = Asked {
            id,
            message: message.clone(),
            verified: by.clone(),
            heard: now.mono,
            answer: None,
        };
        self.asked.insert(key, asked);
        Admission::Wait
    }
}

impl Endpoint {
    /// Decides about later invitations with this policy. Sessions and open questions stay.
    pub fn use_invitation_policy(&mut self, policy: InvitationPolicy) {
        self.invitations.policy = policy;
    }

    /// True if the invitation is to be followed now.
    pub(crate) fn admits(
        &mut self,
        now: Now,
        message: &Message,
        join: &JoinRequest,
        verified: &Verified,
    ) -> bool {
        let key = (message.source.clone(), message.session_id);
        let is_known = self.invitations.asked.contains_key(&key);
        if !is_known && !self.has_room_for_invitation(&message.source) {
            self.shared.counters.invitations_refused += 1;
            return false;
        }
        match self.judge(now, message, join, verified) {
            Admission::Join => {
                if let Some(asked) = self.invitations.asked.remove(&key) {
                    self.shared
                        .timers
                        .cancel(ENDPOINT, &TimerKey::Invitation(asked.id.0));
                }
                true
            }
            Admission::Wait => false,
            Admission::Refuse(reason) => {
                self.refuse_invitation(message, verified, reason);
                false
            }
        }
    }

    fn judge(&mut self, now: Now, message: &Message, join: &JoinRequest, verified: &Verified) -> Admission {
        let policy = &self.invitations.policy;
        if !policy.may_knock(&verified.subject) {
            return Admission::Refuse(InvitationRefusal::NotListed);
        }
        if policy.require_mls && join.mls_header_check_percent.is_none() {
            return Admission::Refuse(InvitationRefusal::NotEncrypted);
        }
        // The session that a new invitation replaces does not count.
        let of_inviter = |(id, session): &(&u32, &crate::session::Session)| {
            **id != message.session_id
                && session.role == Role::Participant
                && session.moderator_subject == verified.subject
        };
        if self.sessions.iter().filter(of_inviter).count() >= policy.sessions_per_inviter {
            return Admission::Refuse(InvitationRefusal::TooManySessions);
        }
        match policy.from {
            Inviters::Asked => self
                .invitations
                .ask(&mut self.shared, now, message, join, verified),
            Inviters::Everybody | Inviters::Nobody | Inviters::Listed(_) => Admission::Join,
        }
    }

    fn refuse_invitation(&mut self, message: &Message, verified: &Verified, reason: InvitationRefusal) {
        self.shared.counters.invitations_refused += 1;
        self.shared.event(Event::InvitationRefused {
            session: SessionId(message.session_id),
            inviter: message.source.clone(),
            subject: verified.subject.clone(),
            reason,
        });
    }

    /// The application's answer. A yes is followed at once if the inviter still waits, else with its next copy.
    pub(crate) fn answer_invitation(
        &mut self,
        now: Now,
        id: InvitationId,
        accept: bool,
    ) -> Result<(), CommandError> {
        let asked = self
            .invitations
            .of(id)
            .filter(|asked| asked.answer.is_none())
            .ok_or(CommandError::InvitationUnknown(id))?;
        asked.answer = Some(accept);
        let (message, verified) = (asked.message.clone(), asked.verified.clone());
        if !accept {
            // It stays in the table, so that the copies that follow ask nobody again.
            self.refuse_invitation(&message, &verified, InvitationRefusal::Declined);
        } else if now.mono.saturating_since(asked.heard) <= STILL_THERE
            && let Some(slim_proto::Command::JoinRequest(join)) = message.command()
        {
            self.on_join_request(now, &message, join, &verified);
        }
        Ok(())
    }

    /// An invitation is as old as the inviter's patience can be.
    pub(crate) fn expire_invitation(&mut self, id: u64) {
        if let Some(asked) = self.invitations.remove(InvitationId(id))
            && asked.answer.is_none()
        {
            self.refuse_invitation(&asked.message, &asked.verified, InvitationRefusal::Unanswered);
        }
    }

    fn has_room_for_invitation(&self, peer: &FullName) -> bool {
        let joining = || {
            self.sessions
                .values()
                .filter(|session| matches!(session.state, State::Joining { .. }))
        };
        let of_peer = joining()
            .filter(|session| session.roster.moderator() == peer)
            .count();
        self.sessions.len() < slim_proto::limits::SESSIONS_MAX
            && joining().count() + self.invitations.asked.len() < HALF_JOINED_MAX
            && of_peer + self.invitations.open_of(peer) < OPEN_PER_PEER_MAX
    }
}
