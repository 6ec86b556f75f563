//! Data on its way in: opened, acknowledged, put in order, delivered; and receipts for what went out (wire-session
//! §3.5, §3.6, §4.9). Data on its way out is in `publish.rs`.

use bytes::Bytes;
use slim_mls::OpenError;
use slim_proto::aad::header_aad;
use slim_proto::limits::{
    FUTURE_EPOCH_BYTES_MAX, FUTURE_EPOCH_MESSAGES_MAX, INBOX_BYTES_MAX, INBOX_MESSAGES_MAX,
};
use slim_proto::message::metadata::{PUBLISH_TO, TRUE};
use slim_proto::{Content, FullName, Message, MessageKind, Now, SessionKind};

use crate::api::{Event, Received};
use crate::invite::is_bound;
use crate::receive::{Start, Step, Stream};
use crate::roster::Seniority;
use crate::seq;
use crate::session::{Presence, Session, State, without_reserved};
use crate::shared::Shared;
use crate::timers::TimerKey;

/// Direct messages remembered per sender, to drop repeated ones.
const DIRECT_SEEN_MAX: usize = 512;
/// The lowest id of direct messages; they go up to 2^32 − 2 (wire-session §0.5).
pub(crate) const DIRECT_ID_FIRST: u32 = 1 << 31;

/// Data that is open, and who is proven to have sent it.
struct Plain {
    subject: String,
    issuer: Option<String>,
    payload: Bytes,
}

impl Session {
    /// A data message for this session.
    pub(crate) fn on_data(&mut self, shared: &mut Shared, now: Now, message: Message) {
        if message.session_kind != self.kind || self.presence == Presence::Offline {
            shared.counters.unexpected += 1;
            return;
        }
        if matches!(message.kind, MessageKind::Msg | MessageKind::RtxReply) {
            self.on_payload(shared, now, message);
        } else {
            self.on_receipt(shared, now, &message);
        }
        self.next_change(shared, now);
    }

    /// An acknowledgement, or a request to repeat (which acknowledges too). Only members count (W4).
    fn on_receipt(&mut self, shared: &mut Shared, now: Now, message: &Message) {
        let Some(_) = shared.authenticate(now, message) else {
            return;
        };
        let (member, id) = (&message.source, message.message_id);
        if !self.roster.contains(member) {
            shared.counters.not_authorised += 1;
            return;
        }
        let has_it = message.kind == MessageKind::MsgAck;
        if has_it {
            self.window.confirm(id, member);
        }
        // Upstream's request is its last word about a message (wire-session §4.9). Ours acknowledge what they get for
        // it, so that nothing counts as delivered whose repetition was lost.
        if (has_it || !message.is_from_own_kind())
            && let Some(finished) = self.window.acknowledge(id, member)
        {
            self.roster.heard(member);
            self.on_published(shared, finished);
        }
        if message.kind == MessageKind::RtxRequest {
            self.retransmit(shared, now, message);
        }
        self.continue_close(shared, now);
    }

    /// A sealed or plain payload: open it, know its sender, acknowledge, put it in order, deliver.
    fn on_payload(&mut self, shared: &mut Shared, now: Now, message: Message) {
        if !self.direction.receives() || matches!(self.state, State::Closing(_) | State::Ended) {
            shared.counters.unexpected += 1;
            return;
        }
        if matches!(self.state, State::Joining { .. }) {
            return self.park(shared, message);
        }
        // Checked before it is opened, since opening consumes its key: the sender repeats it (architecture,
        // "Inbox full").
        if self.inbox_messages >= INBOX_MESSAGES_MAX || self.inbox_bytes >= INBOX_BYTES_MAX {
            shared.counters.inbox_full += 1;
            return;
        }
        let Some(Plain {
            subject,
            issuer,
            payload,
        }) = self.open(shared, now, &message)
        else {
            return;
        };
        let source = message.source.clone();
        if !self.roster.contains(&source) {
            shared.counters.not_authorised += 1;
            return;
        }
        self.roster.heard(&source);
        if self
            .roster
            .get(&source)
            .is_some_and(|entry| !entry.participant.online && entry.joined)
        {
            self.mark_online(shared, now, &source);
        }
        // The id says it (wire-session §0.5); the key in the metadata is nothing that a seal protects (W5).
        let direct = self.is_group() && message.message_id >= DIRECT_ID_FIRST;
        let own_kind = message.is_from_own_kind();
        let failed = message.error.is_some();
        let received = Received {
            source: source.clone(),
            destination: message.destination.clone(),
            subject,
            issuer,
            payload_type: payload_type(&message),
            metadata: without_reserved(message.metadata.clone()),
            message_id: message.message_id,
            direct,
            payload,
        };
        let reliable = self.reliability.is_some();
        if message.kind == MessageKind::Msg {
            if reliable {
                self.acknowledge(shared, now, &message, direct);
            }
            if direct {
                self.deliver_direct(shared, received, reliable);
            } else if reliable {
                self.deliver_in_order(shared, now, received, own_kind);
            } else {
                self.deliver(shared, received);
            }
            return;
        }
        // A reply counts only for what was asked for: another one is a replay or a mistake.
        let asked = self.streams.get_mut(&source).and_then(|stream| {
            stream
                .asked_position(message.message_id)
                .map(|position| (stream, position))
        });
        match asked {
            Some((stream, position)) if failed => {
                let mut steps = Vec::new();
                stream.declare_lost(position, &mut steps);
                self.carry_out(shared, now, &source, steps);
            }
            Some(_) => {
                if own_kind {
                    self.acknowledge(shared, now, &message, false);
                }
                self.deliver_in_order(shared, now, received, own_kind);
            }
            None => shared.counters.duplicate += 1,
        }
    }

    /// Opened and verified, or nothing (counted). Data of a later epoch waits for its commit.
    fn open(&mut self, shared: &mut Shared, now: Now, message: &Message) -> Option<Plain> {
        let Some(epochs) = &mut self.epochs else {
            let verified = shared.authenticate(now, message)?;
            return Some(Plain {
                subject: verified.subject,
                issuer: verified.issuer,
                payload: message.blob(),
            });
        };
        let opened = match epochs.open(&message.blob()) {
            Ok(opened) => opened,
            Err(OpenError::FutureEpoch { epoch }) => {
                self.notice_epoch(shared, now, epoch);
                self.park(shared, message.clone());
                return None;
            }
            Err(error) => {
                tracing::debug!(source = %message.source, %error, "sealed data does not open");
                shared.counters.undecryptable += 1;
                return None;
            }
        };
        // Always the whole header, whatever share the moderator asked for (threat T-N2).
        if opened.aad != header_aad(message) {
            shared.counters.header_altered += 1;
            return None;
        }
        if !is_bound(&message.source, &opened.sender) {
            shared.counters.binding_refused += 1;
            return None;
        }
        Some(Plain {
            subject: opened.sender,
            issuer: opened.issuer,
            payload: opened.plaintext,
        })
    }

    fn acknowledge(&self, shared: &mut Shared, now: Now, message: &Message, direct: bool) {
        let content = Content::Application {
            payload_type: String::new(),
            blob: Bytes::new(),
        };
        let mut ack = Message::new(
            self.local.clone(),
            message.source.clone(),
            self.kind,
            self.id.0,
            message.message_id,
            content,
        );
        ack.kind = MessageKind::MsgAck;
        if direct {
            ack.metadata.insert(PUBLISH_TO.to_owned(), TRUE.to_owned());
        }
        ack.identity = shared.data_token(now);
        shared.send(&ack);
    }

    fn deliver_direct(&mut self, shared: &mut Shared, received: Received, reliable: bool) {
        if reliable {
            let seen = self.direct_seen.entry(received.source.clone()).or_default();
            if seen.contains(&received.message_id) {
                shared.counters.duplicate += 1;
                return;
            }
            seen.push_back(received.message_id);
            if seen.len() > DIRECT_SEEN_MAX {
                seen.pop_front();
            }
        }
        self.deliver(shared, received);
    }

    fn deliver_in_order(&mut self, shared: &mut Shared, now: Now, received: Received, own_kind: bool) {
        let source = received.source.clone();
        let start = match self.roster.get(&source).map(|entry| entry.seniority) {
            _ if self.kind == SessionKind::PointToPoint => Start::AtOne,
            // Not at one if it was a member before: it goes on counting where it had stopped.
            Some(_) if own_kind => Start::AskBack,
            Some(Seniority::Newer) => Start::AtOne,
            Some(Seniority::Older) | None => Start::FirstArrival,
        };
        let first = received.message_id;
        let stream = self
            .streams
            .entry(source.clone())
            .or_insert_with(|| Stream::new(start, first));
        let mut steps = Vec::new();
        if !stream.accept(received, &mut steps) {
            shared.counters.duplicate += 1;
        }
        self.carry_out(shared, now, &source, steps);
    }

    pub(crate) fn carry_out(&mut self, shared: &mut Shared, now: Now, sender: &FullName, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Deliver(received) => self.deliver(shared, *received),
                Step::Lost(first, last) => {
                    shared.event(Event::Lost {
                        session: self.id,
                        sender: sender.clone(),
                        first,
                        last,
                    });
                }
                Step::Ask(position) => self.ask_for(shared, now, sender, position),
                Step::StopAsking(position) => {
                    shared.timers.cancel(
                        self.id.0,
                        &TimerKey::Gap {
                            sender: sender.clone(),
                            position,
                        },
                    );
                }
            }
        }
    }

    fn deliver(&mut self, shared: &mut Shared, received: Received) {
        if self.is_group() && self.reliability.is_some() && !self.delivered.is_new(&received) {
            shared.counters.duplicate += 1;
            return;
        }
        self.inbox_messages += 1;
        self.inbox_bytes += received.payload.len();
        shared.event(Event::Received {
            session: self.id,
            message: received,
        });
    }

    /// The application took messages out of its inbox.
    pub(crate) fn consumed(&mut self, messages: usize, bytes: usize) {
        self.inbox_messages = self.inbox_messages.saturating_sub(messages);
        self.inbox_bytes = self.inbox_bytes.saturating_sub(bytes);
    }

    // ----- gaps -----

    fn ask_for(&self, shared: &mut Shared, now: Now, sender: &FullName, position: u64) {
        let content = Content::Application {
            payload_type: String::new(),
            blob: Bytes::new(),
        };
        let mut request = Message::new(
            self.local.clone(),
            sender.clone(),
            self.kind,
            self.id.0,
            seq::wire_id(position),
            content,
        );
        request.kind = MessageKind::RtxRequest;
        request.identity = shared.data_token(now);
        shared.send(&request);
        let at = now.mono + self.timing().interval;
        shared.timers.set(
            self.id.0,
            TimerKey::Gap {
                sender: sender.clone(),
                position,
            },
            at,
        );
    }

    pub(crate) fn on_gap_timeout(&mut self, shared: &mut Shared, now: Now, sender: &FullName, position: u64) {
        let retries = self.timing().max_retries;
        let Some(stream) = self.streams.get_mut(sender) else {
            return;
        };
        if stream.may_ask_again(position, retries) {
            return self.ask_for(shared, now, sender, position);
        }
        let mut steps = Vec::new();
        stream.declare_lost(position, &mut steps);
        self.carry_out(shared, now, sender, steps);
    }

    pub(crate) fn cancel_gap_timers(&self, shared: &mut Shared, sender: &FullName) {
        shared.timers.cancel_gaps(self.id.0, sender);
    }

    // ----- parked data -----

    fn park(&mut self, shared: &mut Shared, message: Message) {
        let size = message.blob().len();
        if self.parked.len() >= FUTURE_EPOCH_MESSAGES_MAX || self.parked_bytes + size > FUTURE_EPOCH_BYTES_MAX
        {
            shared.counters.park_overflow += 1;
            return;
        }
        shared.counters.parked += 1;
        self.parked_bytes += size;
        self.parked.push_back(message);
    }

    /// Tries parked data again; what is still early is parked again.
    pub(crate) fn release_parked(&mut self, shared: &mut Shared, now: Now) {
        self.parked_bytes = 0;
        for message in std::mem::take(&mut self.parked) {
            self.on_payload(shared, now, message);
        }
    }
}

fn payload_type(message: &Message) -> String {
    match &message.content {
        Content::Application { payload_type, .. } if payload_type.is_empty() => "msg".to_owned(),
        Content::Application { payload_type, .. } => payload_type.clone(),
        Content::Command(_) => String::new(),
    }
}
