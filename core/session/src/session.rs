//! One session: what both kinds and both roles share. The flows are in the files beside this one, each an
//! `impl Session` to be read from top to bottom: invite, remove, rejoin, close, participant, presence, data.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use slim_proto::message::metadata::RESERVED;
use slim_proto::{Command as Payload, FullName, Message, MessageKind, Now, Participant, SessionKind};

use crate::api::{
    CloseReason, Direction, Event, MembershipChange, MissReason, Outcome, Reliability, SessionId,
    SessionInfo, SessionSnapshot, Ticket,
};
use crate::delivered::Delivered;
use crate::epochs::Epochs;
use crate::error::OperationError;
use crate::exchange::{Answered, Awaiting, Exchange, Purpose};
use crate::invite::Invite;
use crate::receive::Stream;
use crate::rejoin::Rejoin;
use crate::rejoin_ack::RejoinAck;
use crate::remove::Remove;
use crate::replay::Replay;
use crate::roster::Roster;
use crate::send::{Draft, SendWindow};
use crate::shared::{Shared, SubscriptionOwner};
use crate::timers::TimerKey;

/// Who this endpoint is in the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It opened the session and decides about members.
    Moderator,
    /// It was invited.
    Participant,
}

/// Life of the session at this endpoint.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Participant: waits for the welcome, then for the channel subscriptions.
    Joining {
        /// Ids of the welcomes to acknowledge when the channel is subscribed; empty before the first.
        welcomes: Vec<u32>,
    },
    /// Member.
    Active,
    /// On its way out.
    Closing(CloseReason),
    /// Over; the endpoint removes it.
    Ended,
}

/// Own presence in a group (wire-session §4.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Online,
    GoingOffline(Ticket),
    Offline,
    GoingOnline(Ticket),
}

/// Subscriptions of a group's data and control channel.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    pub(crate) ids: Option<(u64, u64)>,
    pub(crate) pending: BTreeSet<u64>,
}

/// A membership change; a moderator runs one at a time (Invariant 12).
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a short queue; boxing would only hide the flow"
)]
pub(crate) enum Change {
    Invite(Invite),
    Remove(Remove),
    Rejoin(Rejoin),
}

/// One session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) kind: SessionKind,
    pub(crate) role: Role,
    pub(crate) state: State,
    /// Own name in this session.
    pub(crate) local: FullName,
    /// Where data goes: the channel, or the peer.
    pub(crate) data: FullName,
    /// Where control broadcasts go: the channel, or the peer.
    pub(crate) control: FullName,
    pub(crate) reliability: Option<Reliability>,
    pub(crate) direction: Direction,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) roster: Roster,
    pub(crate) moderator_subject: String,
    pub(crate) epochs: Option<Epochs>,
    pub(crate) exchanges: BTreeMap<u64, Exchange>,
    pub(crate) replay: Replay,
    pub(crate) channel: Channel,
    pub(crate) current: Option<Change>,
    pub(crate) queue: VecDeque<Change>,
    pub(crate) presence: Presence,
    /// Published to the group since the last heartbeat tick.
    pub(crate) active_since_tick: bool,
    pub(crate) heartbeat_forced: bool,
    /// Highest epoch that a member has shown, if above the own.
    pub(crate) seen_epoch: u64,
    pub(crate) rejoins_since: (slim_proto::Instant, u32),
    /// Participant: the acknowledgement of its last rejoin, while it is repeated.
    pub(crate) rejoin_ack: Option<RejoinAck>,
    /// Moderator: the key package of each member's last rejoin.
    pub(crate) used_key_packages: BTreeMap<FullName, Bytes>,
    /// Moderator: members that were offline since they were last told the roster.
    pub(crate) untold: BTreeSet<FullName>,
    pub(crate) window: SendWindow,
    /// Published while the first member is still being invited.
    pub(crate) held: VecDeque<Draft>,
    pub(crate) streams: BTreeMap<FullName, Stream>,
    pub(crate) direct_seen: BTreeMap<FullName, VecDeque<u32>>,
    pub(crate) retransmissions: BTreeMap<FullName, (slim_proto::Instant, u32)>,
    /// Data of a future epoch, or from before the join was complete.
    pub(crate) parked: VecDeque<Message>,
    pub(crate) parked_bytes: usize,
    pub(crate) delivered: Delivered,
    pub(crate) inbox_messages: usize,
    pub(crate) inbox_bytes: usize,
    pub(crate) close_ticket: Option<Ticket>,
    /// When the current welcome was issued; a later invitation replaces this session.
    pub(crate) welcomed_at: slim_proto::UnixTime,
}

/// The facts with which a session starts.
pub(crate) struct Start {
    pub(crate) id: SessionId,
    pub(crate) kind: SessionKind,
    pub(crate) role: Role,
    pub(crate) local: FullName,
    pub(crate) moderator: FullName,
    pub(crate) moderator_subject: String,
    pub(crate) data: FullName,
    pub(crate) control: FullName,
    pub(crate) reliability: Option<Reliability>,
    pub(crate) direction: Direction,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) epochs: Option<Epochs>,
}

impl Session {
    pub(crate) fn new(now: Now, start: Start) -> Self {
        let Start {
            id,
            kind,
            role,
            local,
            moderator,
            moderator_subject,
            data,
            control,
            ..
        } = start;
        Self {
            id,
            kind,
            role,
            state: match role {
                Role::Moderator => State::Active,
                Role::Participant => State::Joining { welcomes: Vec::new() },
            },
            roster: Roster::new(local.clone(), moderator),
            local,
            data,
            control,
            reliability: start.reliability,
            direction: start.direction,
            metadata: without_reserved(start.metadata),
            moderator_subject,
            epochs: start.epochs,
            exchanges: BTreeMap::new(),
            replay: Replay::default(),
            channel: Channel::default(),
            current: None,
            queue: VecDeque::new(),
            presence: Presence::Online,
            active_since_tick: false,
            heartbeat_forced: false,
            seen_epoch: 0,
            rejoins_since: (now.mono, 0),
            rejoin_ack: None,
            used_key_packages: BTreeMap::new(),
            untold: BTreeSet::new(),
            window: SendWindow::new(),
            held: VecDeque::new(),
            streams: BTreeMap::new(),
            direct_seen: BTreeMap::new(),
            retransmissions: BTreeMap::new(),
            parked: VecDeque::new(),
            parked_bytes: 0,
            delivered: Delivered::default(),
            inbox_messages: 0,
            inbox_bytes: 0,
            close_ticket: None,
            welcomed_at: slim_proto::UnixTime(0),
        }
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    pub(crate) fn is_group(&self) -> bool {
        self.kind == SessionKind::Group
    }

    pub(crate) fn is_moderator(&self) -> bool {
        self.role == Role::Moderator
    }

    /// Timing of control requests (wire-session §4.1).
    pub(crate) fn timing(&self) -> Reliability {
        self.reliability.unwrap_or_default()
    }

    pub(crate) fn info(&self) -> SessionInfo {
        SessionInfo {
            id: self.id,
            kind: self.kind,
            source: self.local.clone(),
            destination: self.data.clone(),
            is_initiator: self.is_moderator(),
            reliability: self.reliability,
            mls: self.epochs.is_some(),
            metadata: self.metadata.clone(),
            anycast: false,
        }
    }

    pub(crate) fn snapshot(&self) -> SessionSnapshot {
        SessionSnapshot {
            info: self.info(),
            members: self.roster.view(),
            epoch: self.epochs.as_ref().and_then(Epochs::epoch),
            epoch_authenticator: self.epochs.as_ref().and_then(Epochs::authenticator),
            mls_members: self.epochs.as_ref().map(Epochs::subjects).unwrap_or_default(),
        }
    }

    /// Own roster entry.
    pub(crate) fn own_participant(&self) -> Participant {
        crate::roster::participant(self.local.clone(), self.direction)
    }

    // ----- control messages going out -----

    pub(crate) fn control_message(&self, destination: &FullName, id: u32, payload: Payload) -> Message {
        let mut message = Message::new(
            self.local.clone(),
            destination.clone(),
            self.kind,
            self.id.0,
            id,
            payload,
        );
        if self.is_group() && *destination == self.control {
            message.fanout = FANOUT_ALL;
        }
        message
    }

    /// Starts a request that is repeated until it is answered. With nobody to wait for it ends at the next
    /// timeout, which is at once.
    pub(crate) fn request(
        &mut self,
        shared: &mut Shared,
        now: Now,
        purpose: Purpose,
        destination: &FullName,
        payload: Payload,
        awaiting: Awaiting,
    ) -> u64 {
        let id = shared.message_id();
        let message = self.control_message(destination, id, payload);
        self.request_with(shared, now, purpose, message, awaiting)
    }

    /// The same for a message that is built already.
    pub(crate) fn request_with(
        &mut self,
        shared: &mut Shared,
        now: Now,
        purpose: Purpose,
        message: Message,
        awaiting: Awaiting,
    ) -> u64 {
        let nobody = awaiting == Awaiting::All(BTreeSet::new());
        let mut timing = self.timing();
        if purpose == Purpose::Rejoin {
            timing = timing.lasting_at_least(REJOIN_PATIENCE);
        }
        shared.send_command(now, &message);
        if message.destination == self.control {
            self.active_since_tick = true;
        }
        let exchange = shared.exchange_id();
        let due = if nobody {
            now.mono
        } else {
            now.mono + timing.interval
        };
        shared.timers.set(self.id.0, TimerKey::Exchange(exchange), due);
        let ids = vec![message.message_id];
        self.exchanges.insert(
            exchange,
            Exchange {
                purpose,
                message,
                ids,
                awaiting,
                timing,
                repeats: 0,
            },
        );
        exchange
    }

    /// Sends a message that nobody answers.
    pub(crate) fn tell(&self, shared: &mut Shared, now: Now, destination: &FullName, payload: Payload) {
        let id = shared.message_id();
        let message = self.control_message(destination, id, payload);
        shared.send_command(now, &message);
    }

    /// Answers a message under its own id, and keeps the answer in case it is lost (R1).
    pub(crate) fn answer(&mut self, shared: &mut Shared, now: Now, to: &Message, payload: Payload) {
        let mut answer = self.control_message(&to.source, to.message_id, payload);
        answer.fanout = 1;
        shared.send_command(now, &answer);
        self.replay.record(&to.source, to.message_id, Some(answer));
    }

    // ----- answers coming in -----

    /// Gives an answer to the request it belongs to. Answers that fit nothing are late or stray, and ignored (R4).
    pub(crate) fn on_answer(&mut self, shared: &mut Shared, now: Now, message: &Message, subject: &str) {
        let (source, id, kind) = (&message.source, message.message_id, message.kind);
        let mut found = None;
        for (key, exchange) in &mut self.exchanges {
            match exchange.answer(source, id, kind) {
                Answered::NotMine => {}
                Answered::Waiting => {
                    found = Some((*key, false));
                    break;
                }
                Answered::Complete => {
                    found = Some((*key, true));
                    break;
                }
            }
        }
        let Some((key, complete)) = found else {
            if kind != MessageKind::RejoinReply || !self.answer_repeated_reply(shared, now, message) {
                shared.counters.unexpected += 1;
            }
            return;
        };
        if self
            .exchanges
            .get(&key)
            .is_some_and(|exchange| exchange.purpose == Purpose::Online)
        {
            self.on_online_answer(shared, now, message, key);
            return;
        }
        if complete && let Some(exchange) = self.take_exchange(shared, key) {
            self.on_exchange_end(shared, now, exchange, Some((message, subject)));
        }
    }

    pub(crate) fn take_exchange(&mut self, shared: &mut Shared, key: u64) -> Option<Exchange> {
        shared.timers.cancel(self.id.0, &TimerKey::Exchange(key));
        self.exchanges.remove(&key)
    }

    /// The first outstanding request with this purpose.
    pub(crate) fn exchange_with(&self, purpose: Purpose) -> Option<u64> {
        self.exchanges
            .iter()
            .find(|(_, exchange)| exchange.purpose == purpose)
            .map(|(key, _)| *key)
    }

    /// Repeats a request or gives it up.
    fn on_exchange_timeout(&mut self, shared: &mut Shared, now: Now, key: u64) {
        let Some(exchange) = self.exchanges.get_mut(&key) else {
            return;
        };
        let nobody = exchange.awaiting == Awaiting::All(BTreeSet::new());
        if nobody || exchange.repeats >= exchange.timing.max_retries {
            if let Some(exchange) = self.exchanges.remove(&key) {
                self.on_exchange_end(shared, now, exchange, None);
            }
            return;
        }
        exchange.repeats += 1;
        if let slim_proto::Content::Command(Payload::GroupUpdate(update)) = &mut exchange.message.content
            && exchange.purpose == Purpose::Repair
            && update.mls.as_ref().is_none_or(|mls| mls.content.is_empty())
        {
            // Without a commit that fixes its place in the order, it says what is true when it is sent.
            update.participants = self.roster.participants();
        }
        if exchange.purpose.repeats_with_fresh_ids() {
            exchange.message.message_id = shared.message_id();
            exchange.ids.push(exchange.message.message_id);
        }
        shared.counters.retransmitted += 1;
        shared.send_command(now, &exchange.message);
        shared.timers.set(
            self.id.0,
            TimerKey::Exchange(key),
            now.mono + exchange.timing.interval,
        );
    }

    /// A request ended: answered (with the last answer), or with some members silent.
    fn on_exchange_end(
        &mut self,
        shared: &mut Shared,
        now: Now,
        exchange: Exchange,
        answer: Option<(&Message, &str)>,
    ) {
        let silent = exchange.silent();
        match exchange.purpose {
            Purpose::Discovery => self.on_discovered(shared, now, answer),
            Purpose::Join => self.on_join_reply(shared, now, answer),
            Purpose::Welcome => self.on_welcome_end(shared, now, silent.is_empty()),
            Purpose::Update => self.on_update_end(shared, now, silent),
            Purpose::Evict => self.on_evict_end(shared, now, answer.is_some()),
            Purpose::RejoinReply => self.on_rejoin_reply_end(shared, now),
            Purpose::Leave => self.end(shared, now, CloseReason::Local),
            Purpose::Close => self.end(shared, now, CloseReason::Local),
            Purpose::Offline => self.on_offline_end(shared, now),
            Purpose::Online => self.on_online_end(shared, now),
            Purpose::Rejoin => self.on_rejoin_end(shared, now, answer),
            Purpose::Repair => {
                for name in silent {
                    self.mark_offline(shared, now, &name);
                }
            }
        }
    }

    // ----- membership, as every flow needs it -----

    /// A member is out: everything that waited for it goes on without it.
    pub(crate) fn forget_member(&mut self, shared: &mut Shared, now: Now, name: &FullName) {
        if self.roster.remove(name).is_none() {
            return;
        }
        if let Some(stream) = self.streams.remove(name) {
            // What was acknowledged is delivered, though what was before it will not come.
            self.carry_out(shared, now, name, stream.finish());
        }
        self.direct_seen.remove(name);
        self.retransmissions.remove(name);
        self.used_key_packages.remove(name);
        self.untold.remove(name);
        self.cancel_gap_timers(shared, name);
        self.stop_waiting_for(shared, now, name, MissReason::Left);
        self.membership_event(shared, name, MembershipChange::Left);
    }

    /// A member is silent or said that it goes; it stays a member.
    pub(crate) fn mark_offline(&mut self, shared: &mut Shared, now: Now, name: &FullName) {
        if !self.roster.set_online(name, false) {
            return;
        }
        if self.is_moderator() && self.is_group() {
            self.untold.insert(name.clone());
        }
        self.stop_waiting_for(shared, now, name, MissReason::Offline);
        self.membership_event(shared, name, MembershipChange::Offline);
    }

    pub(crate) fn mark_online(&mut self, shared: &mut Shared, now: Now, name: &FullName) {
        if self.roster.contains(name) && self.roster.set_online(name, true) {
            self.heartbeat_forced = true;
            self.membership_event(shared, name, MembershipChange::Online);
            if self.epochs.is_none() {
                self.retell_roster(shared, now, name);
            }
        }
    }

    pub(crate) fn stop_waiting_for(
        &mut self,
        shared: &mut Shared,
        now: Now,
        name: &FullName,
        reason: MissReason,
    ) {
        for finished in self.window.forget(name, reason) {
            self.on_published(shared, finished);
        }
        let done: Vec<u64> = self
            .exchanges
            .iter_mut()
            .filter_map(|(key, exchange)| exchange.forget(name).then_some(*key))
            .collect();
        for key in done {
            if let Some(exchange) = self.take_exchange(shared, key) {
                self.on_exchange_end(shared, now, exchange, None);
            }
        }
    }

    pub(crate) fn membership_event(&self, shared: &mut Shared, member: &FullName, change: MembershipChange) {
        shared.event(Event::Membership {
            session: self.id,
            member: member.clone(),
            change,
        });
    }

    pub(crate) fn epoch_event(&self, shared: &mut Shared) {
        if let Some(epoch) = self.epochs.as_ref().and_then(Epochs::epoch) {
            shared.event(Event::EpochChanged {
                session: self.id,
                epoch,
            });
        }
    }

    // ----- the moderator's queue -----

    /// Starts the next change when none is running; when all are done, what was held goes out.
    pub(crate) fn next_change(&mut self, shared: &mut Shared, now: Now) {
        while self.current.is_none() && self.state == State::Active {
            match self.queue.pop_front() {
                Some(Change::Invite(invite)) => self.start_invite(shared, now, invite),
                Some(Change::Remove(remove)) => self.start_remove(shared, now, remove),
                Some(Change::Rejoin(rejoin)) => self.start_rejoin(shared, now, rejoin),
                None => return self.release_held(shared, now),
            }
        }
    }

    // ----- channel subscriptions -----

    /// Subscribes data and control channel; `on_channel_subscribed` follows when both are confirmed.
    pub(crate) fn subscribe_channel(&mut self, shared: &mut Shared, now: Now) {
        let owner = SubscriptionOwner::Session(self.id.0);
        let (data, control) = (self.data.clone(), self.control.clone());
        let ids = (
            shared.subscribe(now, &data, owner),
            shared.subscribe(now, &control, owner),
        );
        self.channel = Channel {
            ids: Some(ids),
            pending: [ids.0, ids.1].into(),
        };
    }

    pub(crate) fn unsubscribe_channel(&mut self, shared: &mut Shared, now: Now) {
        if let Some((data, control)) = self.channel.ids.take() {
            shared.unsubscribe(now, &self.data, data, None);
            shared.unsubscribe(now, &self.control, control, None);
        }
        self.channel.pending.clear();
    }

    /// The node answered for a channel subscription.
    pub(crate) fn on_subscription(
        &mut self,
        shared: &mut Shared,
        now: Now,
        id: u64,
        result: Result<(), String>,
    ) {
        if !self.channel.pending.remove(&id) {
            return;
        }
        if let Err(reason) = result {
            self.unsubscribe_channel(shared, now);
            match self.role {
                Role::Moderator => self.on_channel_refused(shared, now, &reason),
                Role::Participant => self.end(shared, now, CloseReason::JoinFailed),
            }
        } else if self.channel.pending.is_empty() {
            match self.role {
                Role::Moderator => self.on_channel_subscribed(shared, now),
                Role::Participant => self.finish_join(shared, now),
            }
        }
    }

    // ----- time -----

    pub(crate) fn handle_timeout(&mut self, shared: &mut Shared, now: Now, key: TimerKey) {
        match key {
            TimerKey::Exchange(exchange) => self.on_exchange_timeout(shared, now, exchange),
            TimerKey::Data(id) => self.on_data_timeout(shared, now, id),
            TimerKey::Gap { sender, position } => self.on_gap_timeout(shared, now, &sender, position),
            TimerKey::Heartbeat => self.on_heartbeat_tick(shared, now),
            TimerKey::HalfJoined => self.end(shared, now, CloseReason::JoinFailed),
            TimerKey::Close => self.on_close_timeout(shared, now),
            TimerKey::Refresh => self.on_refresh_due(shared, now),
            TimerKey::Repair => self.on_repair_due(shared, now),
            TimerKey::RejoinAck => self.on_rejoin_ack_due(shared, now),
            TimerKey::Evicted => self.end(shared, now, CloseReason::Removed),
            TimerKey::Unverified => debug_assert!(false, "this timer is the endpoint's"),
            TimerKey::Subscription(_)
            | TimerKey::Invitation(_)
            | TimerKey::Tombstone(_)
            | TimerKey::Ask(_) => {
                debug_assert!(false, "endpoint timers do not reach sessions");
            }
        }
        self.next_change(shared, now);
    }

    /// The end: every open ticket fails, nothing of the session stays behind (Invariant 19).
    pub(crate) fn end(&mut self, shared: &mut Shared, now: Now, reason: CloseReason) {
        // The application never heard of a session whose join or opening did not complete.
        let joining = matches!(self.state, State::Joining { .. });
        let opening = self.kind == SessionKind::PointToPoint && self.is_inviting();
        if !self.is_ended() {
            self.end_unannounced(shared, now, reason);
            if !joining && !opening {
                shared.event(Event::Closed {
                    session: self.id,
                    reason,
                });
            }
        }
    }

    /// The same for a session that the application does not know.
    pub(crate) fn end_unannounced(&mut self, shared: &mut Shared, now: Now, reason: CloseReason) {
        self.state = State::Ended;
        self.unsubscribe_channel(shared, now);
        shared.timers.cancel_all(self.id.0);
        let error = OperationError::SessionClosed(reason);
        let mut tickets = self.window.abandon();
        tickets.extend(self.held.drain(..).map(|draft| draft.ticket));
        for change in self.current.take().into_iter().chain(self.queue.drain(..)) {
            match change {
                Change::Invite(invite) => tickets.extend(invite.ticket),
                Change::Remove(remove) => tickets.extend(remove.ticket),
                Change::Rejoin(_) => {}
            }
        }
        if let Presence::GoingOffline(ticket) | Presence::GoingOnline(ticket) = self.presence {
            tickets.push(ticket);
        }
        for ticket in tickets {
            shared.complete(ticket, Err(error.clone()));
        }
        if let Some(ticket) = self.close_ticket.take() {
            shared.complete(ticket, Ok(Outcome::Done));
        }
        self.exchanges.clear();
        self.streams.clear();
        self.parked.clear();
        self.epochs = None;
    }
}

/// A rejoin waits at least so long: the moderator may be busy with an invitation that nobody answers.
const REJOIN_PATIENCE: Duration = Duration::from_secs(30);
/// Fan-out of messages to all members (wire-session §0.4).
pub(crate) const FANOUT_ALL: u32 = 256;

/// Metadata as applications see it (R17).
pub(crate) fn without_reserved(mut metadata: BTreeMap<String, String>) -> BTreeMap<String, String> {
    metadata.retain(|key, _| !RESERVED.contains(&key.as_str()));
    metadata
}
