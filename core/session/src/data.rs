//! Application data: publish, seal, acknowledge, retransmit; open, order, deliver (wire-session §3.5, §3.6, §4.9).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use slim_mls::OpenError;
use slim_proto::aad::header_aad;
use slim_proto::limits::{
    FUTURE_EPOCH_BYTES_MAX, FUTURE_EPOCH_MESSAGES_MAX, INBOX_BYTES_MAX, INBOX_MESSAGES_MAX,
    METADATA_BYTES_MAX, METADATA_ENTRIES_MAX, PAYLOAD_BYTES_MAX, SEND_WINDOW_MAX,
};
use slim_proto::message::metadata::{PUBLISH_TO, RESERVED, TRUE};
use slim_proto::{Content, FullName, Message, MessageKind, Now, SessionKind};

use crate::api::{Event, MissReason, Outcome, PublishOutcome, Received};
use crate::error::{CommandError, OperationError};
use crate::invite::is_bound;
use crate::receive::{Start, Step, Stream};
use crate::roster::Seniority;
use crate::send::{Draft, Finished};
use crate::seq;
use crate::session::{FANOUT_ALL, Presence, Session, State, without_reserved};
use crate::shared::Shared;
use crate::timers::TimerKey;

/// Retransmissions that one member may request in one second (threat T-M6).
const RETRANSMISSIONS_PER_SECOND_MAX: u32 = 512;
/// Direct messages remembered per sender, to drop repeated ones.
const DIRECT_SEEN_MAX: usize = 512;
/// Lowest and number of ids of direct messages: [2^31, 2^32 − 2] (wire-session §0.5).
const DIRECT_ID_FIRST: u32 = 1 << 31;
const DIRECT_ID_COUNT: u64 = (1 << 31) - 1;

/// What goes into the application payload of one transmission.
struct Body<'a> {
    kind: MessageKind,
    id: u32,
    payload_type: &'a str,
    payload: &'a Bytes,
    metadata: &'a BTreeMap<String, String>,
    direct: bool,
}

impl Session {
    // ----- publishing -----

    /// The application's command.
    pub(crate) fn publish(
        &mut self,
        shared: &mut Shared,
        now: Now,
        draft: Draft,
    ) -> Result<(), CommandError> {
        self.check_active()?;
        if !self.direction.sends() {
            return Err(CommandError::ReceiveOnly(self.id));
        }
        check_draft(&draft)?;
        if !self.window.has_room(draft.payload.len()) {
            return Err(CommandError::WindowFull(self.id));
        }
        if let Some(to) = &draft.to
            && self.is_group()
            && self.addressee(to).is_none()
        {
            return Err(CommandError::NotMember(to.clone()));
        }
        if let Some(to) = &draft.to
            && !self.is_group()
            && !self.is_peer(to)
        {
            return Err(CommandError::NotMember(to.clone()));
        }
        if !self.held.is_empty() || !self.window.is_in_reach() {
            // Behind what waits already, or it would overtake it.
            return self.hold(draft);
        }
        if self.roster.data_recipients().is_empty() {
            let nobody = self.roster.len() <= 1 || self.reliability.is_some();
            if self.is_inviting() && nobody {
                return self.hold(draft);
            }
            if nobody {
                return Err(CommandError::NoMembers(self.id));
            }
        }
        self.send_draft(shared, now, draft);
        Ok(())
    }

    /// True for the name of the other side of a one-to-one session.
    fn is_peer(&self, name: &FullName) -> bool {
        let (asked, known) = (name.id(), self.data.id());
        name.same_components(&self.data) && (asked == known || !asked.is_concrete() || !known.is_concrete())
    }

    fn hold(&mut self, draft: Draft) -> Result<(), CommandError> {
        if self.held.len() >= SEND_WINDOW_MAX {
            return Err(CommandError::WindowFull(self.id));
        }
        self.held.push_back(draft);
        Ok(())
    }

    /// What waited for the first invitation, or for an early message's acknowledgement, goes out; it fails if nobody
    /// is there any more.
    pub(crate) fn release_held(&mut self, shared: &mut Shared, now: Now) {
        while self.window.is_in_reach()
            && let Some(draft) = self.held.pop_front()
        {
            if self.roster.data_recipients().is_empty() {
                shared.complete(draft.ticket, Err(OperationError::NoMembers(self.id)));
            } else {
                self.send_draft(shared, now, draft);
            }
        }
    }

    /// The member that a direct message goes to: online if there is a choice.
    fn addressee(&self, to: &FullName) -> Option<FullName> {
        let mut candidates: Vec<FullName> = self
            .roster
            .matching(to)
            .into_iter()
            .filter(|name| *name != self.local)
            .collect();
        candidates.sort_by_key(|name| {
            !self
                .roster
                .get(name)
                .is_some_and(|entry| entry.participant.online)
        });
        candidates.into_iter().next()
    }

    fn send_draft(&mut self, shared: &mut Shared, now: Now, mut draft: Draft) {
        let direct = match draft.to.take().filter(|_| self.is_group()) {
            Some(to) => match self.addressee(&to) {
                Some(member) => Some(member),
                // It left while the message waited. What was meant for one is never sent to all.
                None => return shared.complete(draft.ticket, Err(OperationError::NotMember(to))),
            },
            None => None,
        };
        let id = match &direct {
            Some(_) => DIRECT_ID_FIRST + u32::try_from(shared.rng.below(DIRECT_ID_COUNT)).unwrap_or(0),
            None => self.window.next_id(),
        };
        let destination = direct.clone().unwrap_or_else(|| self.data.clone());
        let body = Body {
            kind: MessageKind::Msg,
            id,
            payload_type: &draft.payload_type,
            payload: &draft.payload,
            metadata: &draft.metadata,
            direct: direct.is_some(),
        };
        if let Err(error) = self.transmit(shared, now, &destination, &body) {
            shared.complete(draft.ticket, Err(OperationError::Mls(error)));
            return;
        }
        if direct.is_none() {
            self.active_since_tick = true;
        }
        let Some(reliability) = self.reliability else {
            shared.complete(draft.ticket, Ok(Outcome::Published(PublishOutcome::default())));
            return;
        };
        let recipients = match &direct {
            Some(member) => [member.clone()].into(),
            None => self.roster.data_recipients(),
        };
        if recipients.is_empty() {
            shared.complete(draft.ticket, Err(OperationError::NoMembers(self.id)));
            return;
        }
        draft.to = direct;
        self.window.insert(id, draft, recipients);
        shared
            .timers
            .set(self.id.0, TimerKey::Data(id), now.mono + reliability.interval);
    }

    /// Builds, seals and sends one data message. Sealed anew at every transmission: a ciphertext is never
    /// repeated, and a retransmission uses the current epoch (wire-session §3.5).
    fn transmit(
        &mut self,
        shared: &mut Shared,
        now: Now,
        destination: &FullName,
        body: &Body<'_>,
    ) -> Result<(), String> {
        let content = Content::Application {
            payload_type: body.payload_type.to_owned(),
            blob: body.payload.clone(),
        };
        let mut message = Message::new(
            self.local.clone(),
            destination.clone(),
            self.kind,
            self.id.0,
            body.id,
            content,
        );
        message.kind = body.kind;
        message.metadata = body.metadata.clone();
        if body.direct {
            message.metadata.insert(PUBLISH_TO.to_owned(), TRUE.to_owned());
        } else if self.is_group() && matches!(body.kind, MessageKind::Msg | MessageKind::RtxReply) {
            message.fanout = FANOUT_ALL;
        }
        message.identity = shared.data_token(now);
        if matches!(body.kind, MessageKind::Msg | MessageKind::RtxReply)
            && let Some(epochs) = &mut self.epochs
        {
            let sealed = epochs
                .seal(body.payload, header_aad(&message))
                .map_err(|error| error.to_string())?;
            message.content = Content::Application {
                payload_type: body.payload_type.to_owned(),
                blob: sealed,
            };
        }
        shared.send(&message);
        Ok(())
    }

    /// Repeats a message to everybody who has not acknowledged it, one by one, or gives up on them.
    pub(crate) fn on_data_timeout(&mut self, shared: &mut Shared, now: Now, id: u32) {
        let Some(reliability) = self.reliability else {
            return;
        };
        let Some(outgoing) = self.window.get_mut(id) else {
            return;
        };
        if outgoing.repeats >= reliability.max_retries {
            let silent = outgoing.awaiting.clone();
            if let Some(finished) = self.window.give_up(id) {
                self.on_published(shared, finished);
            }
            // They come back with their next sign of life (wire-session §4.9).
            for name in silent {
                self.mark_offline(shared, now, &name);
            }
            return self.continue_close(shared, now);
        }
        outgoing.repeats += 1;
        let (draft, awaiting) = (outgoing.draft.clone(), outgoing.awaiting.clone());
        for member in awaiting {
            let body = Body {
                kind: MessageKind::Msg,
                id,
                payload_type: &draft.payload_type,
                payload: &draft.payload,
                metadata: &draft.metadata,
                direct: draft.to.is_some(),
            };
            shared.counters.retransmitted += 1;
            if let Err(error) = self.transmit(shared, now, &member, &body) {
                tracing::error!(%error, "cannot seal a retransmission");
            }
        }
        shared
            .timers
            .set(self.id.0, TimerKey::Data(id), now.mono + reliability.interval);
    }

    /// A message's fate is known.
    pub(crate) fn on_published(&self, shared: &mut Shared, finished: Finished) {
        let Finished { id, ticket, outcome } = finished;
        shared.timers.cancel(self.id.0, &TimerKey::Data(id));
        let silent = outcome
            .missed
            .iter()
            .any(|(_, reason)| *reason != MissReason::Left);
        let result = if silent {
            Err(OperationError::PublishIncomplete {
                session: self.id,
                message_id: id,
                outcome,
            })
        } else {
            Ok(Outcome::Published(outcome))
        };
        shared.complete(ticket, result);
    }

    // ----- receiving -----

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

    fn retransmit(&mut self, shared: &mut Shared, now: Now, request: &Message) {
        let member = &request.source;
        let (since, count) = self
            .retransmissions
            .entry(member.clone())
            .or_insert((now.mono, 0));
        if now.mono.saturating_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now.mono, 0);
        }
        *count += 1;
        if *count > RETRANSMISSIONS_PER_SECOND_MAX {
            shared.counters.not_authorised += 1;
            return;
        }
        let id = request.message_id;
        let kept = self
            .window
            .get(id)
            .filter(|outgoing| outgoing.recipients.contains(member))
            // It left and came back while we were away, so it asks for messages of its former stay. Upstream asks
            // again after every outage and would report them as lost (R7).
            .filter(|outgoing| !outgoing.confirmed.contains(member) || !request.is_from_own_kind());
        if let Some(draft) = kept.map(|outgoing| outgoing.draft.clone()) {
            shared.counters.retransmitted += 1;
            let body = Body {
                kind: MessageKind::RtxReply,
                id,
                payload_type: &draft.payload_type,
                payload: &draft.payload,
                metadata: &draft.metadata,
                direct: false,
            };
            if let Err(error) = self.transmit(shared, now, member, &body) {
                tracing::error!(%error, "cannot seal a retransmission");
            }
            return;
        }
        // Not kept any longer, or never meant for this member: say so (wire-session §4.9).
        let content = Content::Application {
            payload_type: String::new(),
            blob: Bytes::new(),
        };
        let mut reply = Message::new(
            self.local.clone(),
            member.clone(),
            self.kind,
            self.id.0,
            id,
            content,
        );
        reply.kind = MessageKind::RtxReply;
        reply.error = Some(true);
        reply.identity = shared.data_token(now);
        if let Some(epochs) = &mut self.epochs {
            match epochs.seal(&[], header_aad(&reply)) {
                Ok(blob) => {
                    reply.content = Content::Application {
                        payload_type: String::new(),
                        blob,
                    }
                }
                Err(error) => return tracing::error!(%error, "cannot seal an answer"),
            }
        }
        shared.send(&reply);
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
        let Some((subject, payload)) = self.open(shared, now, &message) else {
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

    /// Plaintext and verified sender, or nothing (counted). Data of a later epoch waits for its commit.
    fn open(&mut self, shared: &mut Shared, now: Now, message: &Message) -> Option<(String, Bytes)> {
        let Some(epochs) = &mut self.epochs else {
            let verified = shared.authenticate(now, message)?;
            return Some((verified.subject, message.blob()));
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
        Some((opened.sender, opened.plaintext))
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

pub(crate) fn check_draft(draft: &Draft) -> Result<(), CommandError> {
    if draft.payload.len() > PAYLOAD_BYTES_MAX {
        return Err(CommandError::TooLarge {
            size: draft.payload.len(),
        });
    }
    if let Some(key) = draft.metadata.keys().find(|key| RESERVED.contains(&key.as_str())) {
        return Err(CommandError::ReservedMetadata(key.clone()));
    }
    let bytes: usize = draft
        .metadata
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if draft.metadata.len() >= METADATA_ENTRIES_MAX || bytes > METADATA_BYTES_MAX - 64 {
        return Err(CommandError::MetadataTooLarge);
    }
    if draft.payload_type.len() > 256 {
        return Err(CommandError::MetadataTooLarge);
    }
    Ok(())
}
