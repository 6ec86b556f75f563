//! Data on its way out: published, sealed, repeated until it is acknowledged or given up (wire-session §3.5, §3.6,
//! §4.9). Data on its way in is in `data.rs`.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use slim_proto::aad::header_aad;
use slim_proto::limits::{METADATA_BYTES_MAX, METADATA_ENTRIES_MAX, PAYLOAD_BYTES_MAX, SEND_WINDOW_MAX};
use slim_proto::message::metadata::{PUBLISH_TO, RESERVED, TRUE};
use slim_proto::{Content, FullName, Message, MessageKind, Now};

use crate::api::{MissReason, Outcome, PublishOutcome};
use crate::data::DIRECT_ID_FIRST;
use crate::error::{CommandError, OperationError};
use crate::send::{Draft, Finished};
use crate::session::{FANOUT_ALL, Session};
use crate::shared::Shared;
use crate::timers::TimerKey;

/// Retransmissions that one member may request in one second (threat T-M6).
const RETRANSMISSIONS_PER_SECOND_MAX: u32 = 512;
/// How many ids direct messages have: [2^31, 2^32 − 2] (wire-session §0.5).
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

    /// A member asks for a message again.
    pub(crate) fn retransmit(&mut self, shared: &mut Shared, now: Now, request: &Message) {
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
