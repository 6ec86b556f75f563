//! One application: its sessions, and the dispatch of everything that arrives.

mod commands;
mod ended;
mod joining;
mod names;

use std::collections::BTreeMap;

use ended::Tombstone;
use slim_auth::{Identity, PayloadSignatures, Verifier};
use slim_proto::control::SubscriptionAck;
use slim_proto::frame::{Frame, FrameKind};
use slim_proto::{Command as Payload, FullName, Instant, Message, MessageKind, Now, SessionKind};

use crate::anycast::Anycasts;
use crate::api::{Command, Counters, EndpointConfig, Event, SessionId, SessionSnapshot, Ticket};
use crate::epochs::Epochs;
use crate::error::CommandError;
use crate::invitations::Invitations;
use crate::session::Session;
use crate::settings::Defaults;
use crate::shared::Shared;
use crate::timers::{ENDPOINT, TimerKey};

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

    /// Demands so much of the payloads of later command messages.
    pub fn use_payload_signatures(&mut self, demanded: PayloadSignatures) {
        self.shared.payload_signatures = demanded;
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
}
