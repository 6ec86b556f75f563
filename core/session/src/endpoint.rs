//! One application: its sessions, its names, and the dispatch of everything that arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slim_auth::{Identity, Verified, Verifier};
use slim_proto::control::{SubscriptionAck, SubscriptionAction};
use slim_proto::frame::{Frame, FrameKind};
use slim_proto::limits::SESSIONS_MAX;
use slim_proto::name::channel_names;
use slim_proto::{
    Command as Payload, FullName, Instant, JoinRequest, Message, MessageKind, Now, SessionKind,
};

use crate::anycast::Anycasts;
use crate::api::{
    Command, Counters, EndpointConfig, Event, Outcome, Reliability, SessionConfig, SessionId,
    SessionSnapshot, Ticket,
};
use crate::delivered::Delivered;
use crate::epochs::Epochs;
use crate::error::{CommandError, OperationError};
use crate::invitations::Invitations;
use crate::invite::Invite;
use crate::replay::Replay;
use crate::send::{Draft, SendWindow};
use crate::session::{Change, Role, Session, Start, State};
use crate::settings::Defaults;
use crate::shared::{Shared, SubscriptionOwner};
use crate::timers::{ENDPOINT, TimerKey};

/// Session numbers are below this (wire-session §0.5).
const SESSION_ID_COUNT: u64 = (1 << 32) - 1001;
/// A repeated discovery request is answered again only after this: an upstream moderator does not survive two
/// quick answers (R3, R4), and repeats after a second at the earliest.
const DISCOVERY_ANSWER_INTERVAL: Duration = Duration::from_millis(900);
/// Discovery requests remembered for that.
const DISCOVERIES_MAX: usize = 256;
/// An ended session still answers repeated requests so long.
const TOMBSTONE_LIFE: Duration = Duration::from_secs(60);
/// Ended sessions remembered.
const TOMBSTONES_MAX: usize = 256;
/// Left groups of which the last sequence number is remembered; one forgotten costs what upstream always pays.
const POSITIONS_MAX: usize = 1024;

/// One application endpoint.
///
/// After any input (`handle_*`, `consumed`), drain `poll_transmit` and `poll_event` before the next.
pub struct Endpoint {
    pub(crate) shared: Shared,
    pub(crate) sessions: BTreeMap<u32, Session>,
    /// Sessions with any instance of a name; each has some of the sessions above behind it.
    pub(crate) anycasts: Anycasts,
    pub(crate) invitations: Invitations,
    defaults: Defaults,
    /// Names served, without id, the own among them once it is subscribed, and the id of their subscription.
    names: BTreeMap<FullName, u64>,
    tombstones: BTreeMap<u32, Tombstone>,
    /// Where the next stay in a group goes on counting. A member that was away in between and did not notice takes
    /// a message 1 for an old one.
    positions: BTreeMap<u32, u64>,
    answered_discoveries: BTreeMap<(FullName, u32), Instant>,
}

/// What is left of an ended session for a while.
#[derive(Debug)]
struct Tombstone {
    /// What it answered last.
    replay: Replay,
    /// What it delivered, should the next stay hear it again.
    delivered: Delivered,
}

impl Endpoint {
    /// An endpoint with this identity; its name gets the id that follows from the identity's subject. It sends
    /// nothing until its first command, which normally subscribes the own name.
    pub fn new(config: EndpointConfig, identity: Identity, verifier: Verifier, seed: [u8; 32]) -> Self {
        Self {
            shared: Shared::new(config, identity, verifier, seed),
            sessions: BTreeMap::new(),
            anycasts: Anycasts::default(),
            invitations: Invitations::default(),
            defaults: Defaults::default(),
            names: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            positions: BTreeMap::new(),
            answered_discoveries: BTreeMap::new(),
        }
    }

    /// Own name with id.
    pub fn name(&self) -> &FullName {
        &self.shared.name
    }

    /// Judges peers with this verifier from now on: an issuer's keys were fetched or replaced
    /// ([`Verifier::with_keys`]). Members of MLS groups stay members whatever became of the keys that signed their
    /// tokens; in sessions without MLS every later message is judged anew.
    ///
    /// What waited for these keys goes on: messages, and commits in their order.
    pub fn use_verifier(&mut self, now: Now, verifier: Verifier) {
        for session in self.sessions.values_mut() {
            if let Some(epochs) = &mut session.epochs {
                epochs.use_verifier(&verifier);
            }
        }
        self.shared.use_verifier(verifier);
        for session in self.sessions.values_mut() {
            session.apply_early_updates(&mut self.shared, now);
            session.release_parked(&mut self.shared, now);
        }
        self.judge_again(now);
        self.sweep(now);
    }

    // ----- inputs -----

    /// A frame from the node (or the router of the own process): session messages and subscription answers.
    pub fn handle_frame(&mut self, now: Now, frame: Frame) {
        match frame.kind() {
            Ok(FrameKind::Publish) => match Message::decode(frame.into_bytes()) {
                Ok(Some(message)) => self.on_message(now, message),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "message refused");
                    self.shared.counters.undecodable += 1;
                }
            },
            Ok(FrameKind::SubscriptionAck) => match SubscriptionAck::decode(&frame) {
                Ok(Some(ack)) => self.on_subscription_answer(now, ack.subscription_id, ack.outcome),
                Ok(None) | Err(_) => self.shared.counters.undecodable += 1,
            },
            Ok(FrameKind::Subscribe | FrameKind::Unsubscribe | FrameKind::Link) => {
                self.shared.counters.unexpected += 1;
            }
            Err(_) => self.shared.counters.undecodable += 1,
        }
        self.sweep(now);
    }

    /// The application wants something. The ticket's result is one later [`Event::Completed`].
    pub fn handle_command(&mut self, now: Now, command: Command) -> Result<Ticket, CommandError> {
        let ticket = self.shared.ticket();
        let result = self.command(now, ticket, command);
        self.sweep(now);
        result.map(|()| ticket)
    }

    /// Time has come; see `poll_timeout`.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some((owner, key)) = self.shared.timers.pop_due(now.mono) {
            if owner != ENDPOINT {
                if let Some(session) = self.sessions.get_mut(&owner) {
                    session.handle_timeout(&mut self.shared, now, key);
                }
            } else if let TimerKey::Subscription(id) = key {
                self.on_subscription_answer(now, id, Err("no answer from the node".to_owned()));
            } else if let TimerKey::Tombstone(id) = key {
                self.tombstones.remove(&id);
            } else if let TimerKey::Ask(request) = key {
                self.on_ask_timeout(now, request);
            } else if let TimerKey::Invitation(id) = key {
                self.expire_invitation(id);
            } else if key == TimerKey::Unverified {
                self.on_unverified_due(now);
            }
        }
        self.sweep(now);
    }

    /// The application took delivered messages (and their payload bytes) out of a session's inbox.
    pub fn consumed(&mut self, session: SessionId, messages: usize, bytes: usize) {
        if self.anycasts.contains(session.0) {
            self.consumed_anycast(session, messages, bytes);
        } else if let Some(session) = self.sessions.get_mut(&session.0) {
            session.consumed(messages, bytes);
        }
    }

    // ----- outputs -----

    /// The next frame for the node.
    pub fn poll_transmit(&mut self) -> Option<Frame> {
        self.shared.poll_transmit()
    }

    /// The next event for the application.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.shared.poll_event()
    }

    /// When `handle_timeout` wants to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        debug_assert!(
            self.shared.is_drained(),
            "drain outputs before asking for the next timeout"
        );
        self.shared.timers.next()
    }

    /// Numbers of the live sessions.
    pub fn session_ids(&self) -> Vec<SessionId> {
        let own = |id: &u32| self.anycasts.owner(*id).is_none();
        let sessions = self.sessions.keys().copied().filter(own).map(SessionId);
        sessions.chain(self.anycasts.ids()).collect()
    }

    /// A session as it is now.
    pub fn snapshot(&self, session: SessionId) -> Option<SessionSnapshot> {
        if self.anycasts.contains(session.0) {
            return self.anycast_snapshot(session.0);
        }
        self.sessions.get(&session.0).map(Session::snapshot)
    }

    /// Counts of what was refused, dropped, parked and repeated.
    pub fn counters(&self) -> Counters {
        self.shared.counters
    }

    /// Number of deadlines that a session (or, for `None`, the endpoint itself) has set; for leak checks.
    pub fn timer_count(&self, session: Option<SessionId>) -> usize {
        self.shared
            .timers
            .count(session.map_or(ENDPOINT, |session| session.0))
    }

    // ----- commands -----

    fn command(&mut self, now: Now, ticket: Ticket, command: Command) -> Result<(), CommandError> {
        match command {
            Command::Subscribe { name } => {
                let full = name.with_id(self.shared.name.id());
                let id = self
                    .shared
                    .subscribe(now, &full, SubscriptionOwner::Application(ticket));
                // Said again, for instance to a further node, it replaces the earlier one when it is confirmed.
                let earlier = self.names.insert(name.without_id(), id);
                if let Some(pending) = self.shared.subscriptions.get_mut(&id) {
                    pending.replaces = earlier;
                }
                Ok(())
            }
            Command::Unsubscribe { name } => {
                let Some(id) = self.names.remove(&name.without_id()) else {
                    return Err(CommandError::NotServed(name));
                };
                let full = name.with_id(self.shared.name.id());
                self.shared
                    .unsubscribe(now, &full, id, Some(SubscriptionOwner::Application(ticket)));
                Ok(())
            }
            Command::Open { config, id } => self.open(now, ticket, config, id),
            Command::OpenAnycast { config, id } => self.open_anycast(ticket, config, id),
            Command::Reconfigure { session, reliability } => {
                self.reconfigure(session, reliability)?;
                self.shared.complete(ticket, Ok(Outcome::Done));
                Ok(())
            }
            Command::SetDefaults { kind, defaults } => {
                self.defaults.set(kind, defaults);
                self.shared.complete(ticket, Ok(Outcome::Done));
                Ok(())
            }
            Command::AnswerInvitation { invitation, accept } => {
                self.answer_invitation(now, invitation, accept)?;
                self.shared.complete(ticket, Ok(Outcome::Done));
                Ok(())
            }
            Command::Invite { session, name } => self.on_session(session, |session, shared| {
                session.invite(shared, now, ticket, name)
            }),
            Command::Remove { session, name } => self.on_session(session, |session, shared| {
                session.remove(shared, now, ticket, name)
            }),
            Command::Publish {
                session,
                payload,
                payload_type,
                metadata,
                to,
            } => {
                let payload_type = payload_type.unwrap_or_else(|| "msg".to_owned());
                let draft = Draft {
                    payload,
                    payload_type,
                    metadata,
                    to,
                    ticket,
                };
                if self.anycasts.contains(session.0) {
                    return self.publish_anycast(now, session, draft);
                }
                self.on_session(session, |session, shared| session.publish(shared, now, draft))
            }
            Command::GoOffline { session } => {
                self.on_session(session, |session, shared| session.go_offline(shared, now, ticket))
            }
            Command::GoOnline { session } => {
                self.on_session(session, |session, shared| session.go_online(shared, now, ticket))
            }
            Command::Close { session } if self.anycasts.contains(session.0) => {
                self.close_anycast(now, session, ticket)
            }
            Command::Close { session } => {
                self.on_session(session, |session, shared| session.close(shared, now, ticket))
            }
        }
    }

    fn on_session(
        &mut self,
        id: SessionId,
        act: impl FnOnce(&mut Session, &mut Shared) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        if self.anycasts.contains(id.0) {
            return Err(CommandError::NotGroup(id));
        }
        let session = self
            .sessions
            .get_mut(&id.0)
            .ok_or(CommandError::SessionUnknown(id))?;
        act(session, &mut self.shared)
    }

    /// A number for a session: the wanted one, if it is free.
    pub(crate) fn new_session_id(&mut self, wanted: Option<SessionId>) -> Result<SessionId, CommandError> {
        if self.sessions.len() + self.anycasts.len() >= SESSIONS_MAX {
            return Err(CommandError::TooManySessions);
        }
        match wanted {
            Some(id) if u64::from(id.0) >= SESSION_ID_COUNT => Err(CommandError::ReservedSessionId(id)),
            Some(id) if self.sessions.contains_key(&id.0) => Err(CommandError::SessionExists(id)),
            Some(id) => Ok(id),
            None => Ok(self.free_session_id()),
        }
    }

    pub(crate) fn open(
        &mut self,
        now: Now,
        ticket: Ticket,
        config: SessionConfig,
        id: Option<SessionId>,
    ) -> Result<(), CommandError> {
        let id = self.new_session_id(id)?;
        let shared = &mut self.shared;
        let epochs = if config.mls {
            let epochs = Epochs::new(&shared.identity, &shared.verifier, &mut shared.rng, now);
            Some(epochs.map_err(|error| CommandError::Mls(error.to_string()))?)
        } else {
            None
        };
        let subject = shared.identity.subject().to_owned();
        let (data, control) = match config.kind {
            SessionKind::Group => channel_names(&config.destination, &subject),
            SessionKind::PointToPoint => (config.destination.clone(), config.destination.clone()),
        };
        let start = Start {
            id,
            kind: config.kind,
            role: Role::Moderator,
            local: shared.name.clone(),
            moderator: shared.name.clone(),
            moderator_subject: subject,
            data,
            control,
            reliability: config.reliability,
            direction: config.direction,
            metadata: config.metadata,
            epochs,
        };
        let mut session = Session::new(now, start);
        match config.kind {
            SessionKind::Group => shared.complete(ticket, Ok(Outcome::Opened(session.info()))),
            SessionKind::PointToPoint => {
                session
                    .queue
                    .push_back(Change::Invite(Invite::new(Some(ticket), config.destination, now)));
                session.next_change(shared, now);
            }
        }
        self.sessions.insert(id.0, session);
        Ok(())
    }

    /// True if a session of this number ended here a moment ago.
    pub(crate) fn was_session(&self, id: u32) -> bool {
        self.tombstones.contains_key(&id)
    }

    pub(crate) fn free_session_id(&mut self) -> SessionId {
        loop {
            let id = u32::try_from(self.shared.rng.below(SESSION_ID_COUNT)).unwrap_or(0);
            let used = self.sessions.contains_key(&id) || self.anycasts.contains(id);
            if !used && !self.tombstones.contains_key(&id) {
                return SessionId(id);
            }
        }
    }

    // ----- messages -----

    pub(crate) fn on_message(&mut self, now: Now, message: Message) {
        // The node does not return what we sent, but a hostile one might (wire-session §9.4 item 27).
        if message.source.id() == self.shared.name.id() {
            self.shared.counters.unexpected += 1;
            return;
        }
        if message.kind == MessageKind::DiscoveryRequest {
            self.on_discovery(now, &message);
        } else if message.kind.is_command() {
            self.on_command_message(now, &message);
        } else if let Some(session) = self.sessions.get_mut(&message.session_id) {
            session.on_data(&mut self.shared, now, message);
        } else {
            self.shared.counters.unknown_session += 1;
        }
    }

    fn on_command_message(&mut self, now: Now, message: &Message) {
        if message.kind == MessageKind::DiscoveryReply && self.anycasts.is_asking(message) {
            return self.on_instance_answer(now, message);
        }
        let known = self.sessions.contains_key(&message.session_id);
        if !known && self.anycasts.contains(message.session_id) {
            // The number of a session that this application opened is not for others to open one.
            self.shared.counters.unexpected += 1;
            return;
        }
        let buried = self.tombstones.contains_key(&message.session_id);
        let asks_for_us = message.kind == MessageKind::Heartbeat
            && message.session_kind == SessionKind::Group
            && message.destination == self.shared.name;
        if !known && !buried && message.kind != MessageKind::JoinRequest && !asks_for_us {
            self.shared.counters.unknown_session += 1;
            return;
        }
        let Some(verified) = self.shared.authenticate(now, message) else {
            return;
        };
        if !self.knows_key_package(now, message) {
            return;
        }
        if let Payload::JoinRequest(join) = message.command().unwrap_or(&Payload::GroupNack)
            && (!known || self.is_new_invitation(message, &verified))
        {
            return self.on_join_request(now, message, join, &verified);
        }
        if let Some(session) = self.sessions.get_mut(&message.session_id) {
            session.on_control(&mut self.shared, now, message, &verified);
            if let Some(issuer) = session.epochs.as_mut().and_then(Epochs::take_wanted_keys) {
                if message.kind == MessageKind::GroupWelcome {
                    self.shared.wait_for_keys(now, message, issuer);
                } else {
                    self.shared.want_keys(issuer);
                }
            }
        } else if asks_for_us {
            self.tell_the_end(now, message);
        } else if let Some(Some(answer)) = self
            .tombstones
            .get(&message.session_id)
            .and_then(|ended| ended.replay.seen(&message.source, message.message_id))
        {
            // Our last answer was lost: a moderator still waits for it.
            let answer = answer.clone();
            self.shared.counters.replayed += 1;
            self.shared.send_command(now, &answer);
        } else if self.tombstones.contains_key(&message.session_id) {
            self.answer_for_the_dead(now, message);
        } else {
            self.shared.counters.unknown_session += 1;
        }
    }

    /// A moderator repeats its last request under a new id after the session ended here.
    fn answer_for_the_dead(&mut self, now: Now, message: &Message) {
        let payload = if message.kind == MessageKind::LeaveRequest {
            Payload::LeaveReply
        } else if message.kind == MessageKind::GroupClose {
            Payload::GroupAck
        } else {
            self.shared.counters.unknown_session += 1;
            return;
        };
        let answer = Message::new(
            self.shared.name.clone(),
            message.source.clone(),
            message.session_kind,
            message.session_id,
            message.message_id,
            payload,
        );
        self.shared.send_command(now, &answer);
    }

    /// A member asks its silent moderator, by name, about a group that is none of ours any more: it did not hear the
    /// end, or this process started anew. Who is no member of the group does not believe this message.
    fn tell_the_end(&mut self, now: Now, message: &Message) {
        self.shared.counters.unknown_session += 1;
        let participants = vec![self.shared.name.clone(), message.source.clone()];
        let close = Message::new(
            self.shared.name.clone(),
            message.source.clone(),
            message.session_kind,
            message.session_id,
            self.shared.message_id(),
            Payload::GroupClose { participants },
        );
        self.shared.send_command(now, &close);
    }

    /// Discovery is answered for every name served, without keeping a session (wire-session §4.5 i).
    fn on_discovery(&mut self, now: Now, message: &Message) {
        if !self.serves(&message.destination) {
            self.shared.counters.unexpected += 1;
            return;
        }
        let key = (message.source.clone(), message.message_id);
        if let Some(answered) = self.answered_discoveries.get(&key)
            && now.mono.saturating_since(*answered) < DISCOVERY_ANSWER_INTERVAL
        {
            self.shared.counters.replayed += 1;
            return;
        }
        let Some(verified) = self.shared.authenticate(now, message) else {
            return;
        };
        if !self.invitations.policy.may_knock(&verified.subject) {
            self.shared.counters.invitations_refused += 1;
            return;
        }
        if self.answered_discoveries.len() >= DISCOVERIES_MAX {
            self.answered_discoveries
                .retain(|_, answered| now.mono.saturating_since(*answered) < DISCOVERY_ANSWER_INTERVAL);
            if self.answered_discoveries.len() >= DISCOVERIES_MAX {
                self.answered_discoveries.pop_first();
            }
        }
        self.answered_discoveries.insert(key, now.mono);
        let reply = Message::new(
            message.destination.with_id(self.shared.name.id()),
            message.source.clone(),
            message.session_kind,
            message.session_id,
            message.message_id,
            Payload::DiscoveryReply,
        );
        self.shared.send_command(now, &reply);
    }

    fn serves(&self, name: &FullName) -> bool {
        let for_us = !name.id().is_concrete() || name.id() == self.shared.name.id();
        for_us && (name.same_components(&self.shared.name) || self.names.contains_key(&name.without_id()))
    }

    // ----- invitations -----

    /// The moderator of a session that this endpoint is in invites again: it has removed us and we were not
    /// told. Younger than the welcome, so it is not a repetition of the first invitation.
    fn is_new_invitation(&self, message: &Message, verified: &Verified) -> bool {
        self.sessions.get(&message.session_id).is_some_and(|session| {
            session.role == Role::Participant
                && session.state == State::Active
                && session.roster.moderator() == &message.source
                && session.moderator_subject == verified.subject
                && verified.issued_at > session.welcomed_at
                && session.replay.seen(&message.source, message.message_id).is_none()
        })
    }

    /// An invitation from a verified peer, which `invitations.rs` admits or not. Nothing is kept for one that is refused (W8).
    pub(crate) fn on_join_request(
        &mut self,
        now: Now,
        message: &Message,
        join: &JoinRequest,
        verified: &Verified,
    ) {
        if message.message_id == 0 || !self.serves(&message.destination) {
            self.shared.counters.unexpected += 1;
            return;
        }
        let group = message.session_kind == SessionKind::Group;
        let (data, control) = match (&join.channel, &join.control) {
            (Some(data), Some(control)) if group => {
                if channel_names(data, &verified.subject) != (data.clone(), control.clone()) {
                    self.shared.counters.binding_refused += 1;
                    return;
                }
                (data.clone(), control.clone())
            }
            (None, None) if !group => (message.source.clone(), message.source.clone()),
            _ => {
                self.shared.counters.unexpected += 1;
                return;
            }
        };
        if !self.admits(now, message, join, verified) {
            return;
        }
        let tombstone = self.tombstones.remove(&message.session_id);
        let mut delivered = tombstone.map(|ended| ended.delivered).unwrap_or_default();
        if let Some(mut old) = self.sessions.remove(&message.session_id) {
            old.end(&mut self.shared, now, crate::api::CloseReason::Removed);
            self.remember_position(&old);
            delivered = old.delivered;
        }
        let shared = &mut self.shared;
        let epochs = match join.mls_header_check_percent {
            Some(_) => match Epochs::new(&shared.identity, &shared.verifier, &mut shared.rng, now) {
                Ok(epochs) => Some(epochs),
                Err(error) => return tracing::error!(%error, "cannot join an encrypted session"),
            },
            None => None,
        };
        let start = Start {
            id: SessionId(message.session_id),
            kind: message.session_kind,
            role: Role::Participant,
            local: message.destination.with_id(shared.name.id()),
            moderator: message.source.clone(),
            moderator_subject: verified.subject.clone(),
            data,
            control,
            reliability: self.defaults.timing(
                message.session_kind,
                join.timer_settings.map(Reliability::from_wire),
            ),
            direction: self
                .defaults
                .direction(message.session_kind, shared.config.direction),
            metadata: message.metadata.clone(),
            epochs,
        };
        let mut session = Session::new(now, start);
        if let Some(position) = self.positions.get(&message.session_id).filter(|_| group) {
            session.window = SendWindow::starting_at(*position);
        }
        session.delivered = delivered.next_stay();
        session.reply_to_join(shared, now, message);
        self.sessions.insert(message.session_id, session);
    }

    // ----- subscriptions -----

    fn on_subscription_answer(&mut self, now: Now, id: u64, outcome: Result<(), String>) {
        let Some(pending) = self.shared.subscriptions.remove(&id) else {
            return;
        };
        self.shared.timers.cancel(ENDPOINT, &TimerKey::Subscription(id));
        match pending.owner {
            SubscriptionOwner::Application(ticket) => {
                if pending.action == SubscriptionAction::Subscribe {
                    self.settle_name(now, &pending.name, id, pending.replaces, outcome.is_ok());
                }
                let name = pending.name;
                let result = outcome
                    .map(|()| Outcome::Done)
                    .map_err(|reason| OperationError::Subscription { name, reason });
                self.shared.complete(ticket, result);
            }
            SubscriptionOwner::Session(session) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.on_subscription(&mut self.shared, now, id, outcome);
                }
            }
        }
    }

    /// A subscription was confirmed or refused: the name keeps one, the new one or the one before.
    fn settle_name(&mut self, now: Now, name: &FullName, id: u64, earlier: Option<u64>, confirmed: bool) {
        let key = name.without_id();
        if confirmed {
            if let Some(earlier) = earlier {
                self.shared.unsubscribe(now, name, earlier, None);
            }
        } else if self.names.get(&key) == Some(&id) {
            match earlier {
                Some(earlier) => self.names.insert(key, earlier),
                None => self.names.remove(&key),
            };
        }
    }

    // ----- ends -----

    fn remember_position(&mut self, session: &Session) {
        if session.is_group() && session.window.next_position() > 1 {
            if self.positions.len() >= POSITIONS_MAX {
                self.positions.pop_first();
            }
            self.positions
                .insert(session.id.0, session.window.next_position());
        }
    }

    /// Buries sessions that ended; they answer repeated requests for a while.
    fn sweep(&mut self, now: Now) {
        self.translate_events();
        let ended: BTreeSet<u32> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.is_ended())
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            let Some(session) = self.sessions.remove(&id) else {
                continue;
            };
            self.shared.timers.cancel_all(id);
            self.remember_position(&session);
            if self.tombstones.len() >= TOMBSTONES_MAX
                && let Some((oldest, _)) = self.tombstones.pop_first()
            {
                self.shared.timers.cancel(ENDPOINT, &TimerKey::Tombstone(oldest));
            }
            let tombstone = Tombstone {
                replay: session.replay,
                delivered: session.delivered,
            };
            self.tombstones.insert(id, tombstone);
            self.shared
                .timers
                .set(ENDPOINT, TimerKey::Tombstone(id), now.mono + TOMBSTONE_LIFE);
        }
        self.finish_anycasts();
    }
}
