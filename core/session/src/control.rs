//! Control messages that arrive for a session: who may send what, repeated ones, and where each goes.

use slim_auth::Verified;
use slim_proto::message::metadata::LEAVING_SESSION;
use slim_proto::{Command as Payload, Message, MessageKind, Now, SessionKind};

use crate::api::{CloseReason, MissReason};
use crate::remove::Remove;
use crate::session::{Change, Presence, Session, State};
use crate::shared::Shared;

impl Session {
    /// Takes a command message whose sender is verified.
    pub(crate) fn on_control(
        &mut self,
        shared: &mut Shared,
        now: Now,
        message: &Message,
        verified: &Verified,
    ) {
        let key_fits = self
            .epochs
            .as_ref()
            .is_none_or(|epochs| epochs.key_fits(verified));
        if key_fits && self.has_left(message) {
            shared.counters.replayed += 1;
            return self.answer(shared, now, message, Payload::LeaveReply);
        }
        if !key_fits || !self.may_send(message, verified) {
            shared.counters.not_authorised += 1;
            if key_fits && self.was_not_told(message) {
                let stranger = message.source.clone();
                self.tell(shared, now, &stranger, Payload::LeaveRequest);
            }
            return;
        }
        if is_answer(message.kind) {
            if !self.ignores_while_offline(message.kind) {
                self.on_answer(shared, now, message, &verified.subject);
            }
            self.next_change(shared, now);
            return;
        }
        if self.ignores_while_offline(message.kind) {
            return;
        }
        match self.replay.seen(&message.source, message.message_id) {
            Some(answer) => {
                shared.counters.replayed += 1;
                if let Some(answer) = answer.cloned() {
                    shared.send_command(now, &answer);
                }
                return;
            }
            None if message.message_id == 0 => {
                shared.counters.replayed += 1;
                return;
            }
            None => {}
        }
        // Only now: a repeated message is no sign of life, it may come from a recording.
        self.roster.heard(&message.source);
        if self.dispatch(shared, now, message, verified)
            && self.replay.seen(&message.source, message.message_id).is_none()
        {
            self.replay.record(&message.source, message.message_id, None);
        }
        self.next_change(shared, now);
    }

    /// True at the moderator for a departure that was acted upon, asked for again: the reply was lost, and the one who
    /// left is no member any more (R1).
    fn has_left(&self, message: &Message) -> bool {
        self.is_moderator()
            && message.kind == MessageKind::LeaveRequest
            && message.session_kind == self.kind
            && message.metadata.contains_key(LEAVING_SESSION)
            && !self.roster.contains(&message.source)
            && self.replay.knows(&message.source)
    }

    /// True at the moderator for what only a member says, by somebody who is none: it was removed, and the request
    /// to leave was lost (R11). Told again, it does not believe for ever to be in the group.
    fn was_not_told(&self, message: &Message) -> bool {
        self.is_moderator()
            && self.is_group()
            && self.state == State::Active
            && !self.roster.contains(&message.source)
            && self.is_waiting_for_nothing_from(&message.source)
            && matches!(
                message.kind,
                MessageKind::Heartbeat | MessageKind::RejoinRequest | MessageKind::UpdateParticipantState
            )
    }

    /// True if the moderator has no business with this name: it neither invites it nor has just told it to go.
    fn is_waiting_for_nothing_from(&self, name: &slim_proto::FullName) -> bool {
        !self
            .exchanges
            .values()
            .any(|exchange| exchange.message.destination == *name)
    }

    /// True if the message was acted upon, so that a repetition must not be.
    fn dispatch(&mut self, shared: &mut Shared, now: Now, message: &Message, verified: &Verified) -> bool {
        let Some(command) = message.command() else {
            return false;
        };
        match command {
            Payload::JoinRequest(_) => self.reply_to_join(shared, now, message),
            Payload::GroupWelcome { participants, mls } => {
                return self.on_welcome(
                    shared,
                    now,
                    message,
                    participants,
                    mls.as_ref(),
                    verified.issued_at,
                );
            }
            Payload::GroupUpdate(update) => {
                let done = self.on_group_update(shared, now, message, update);
                self.apply_early_updates(shared, now);
                self.release_parked(shared, now);
                return done;
            }
            Payload::LeaveRequest if self.is_moderator() => self.on_leave(shared, now, message),
            Payload::LeaveRequest => self.on_evicted(shared, now, message),
            Payload::GroupClose { .. } => self.on_closed(shared, now, message),
            Payload::Heartbeat { epoch } => self.on_heartbeat(shared, now, &message.source, *epoch),
            Payload::UpdateParticipantState { online, epoch, .. } => {
                return self.on_state_update(shared, now, message, *online, *epoch);
            }
            Payload::RejoinRequest { .. } => {
                if self.epochs.is_none() {
                    return false;
                }
                self.on_rejoin_request(shared, now, message.clone());
            }
            // Discovery belongs to the endpoint; nobody sends proposals; answers went another way.
            Payload::DiscoveryRequest
            | Payload::GroupProposal { .. }
            | Payload::DiscoveryReply
            | Payload::JoinReply(_)
            | Payload::LeaveReply
            | Payload::GroupAck
            | Payload::GroupNack
            | Payload::RejoinReply { .. } => {
                shared.counters.unexpected += 1;
                return false;
            }
        }
        true
    }

    /// Direction and role of each message kind (wire-session §2.3; threats T-M1, T-M4; W2, W9).
    fn may_send(&self, message: &Message, verified: &Verified) -> bool {
        let source = &message.source;
        let from_moderator = *source == *self.roster.moderator()
            && verified.subject == self.moderator_subject
            && !self.is_moderator();
        let from_member = self.roster.contains(source);
        let about_itself = |name: &slim_proto::FullName| from_member && name == source;
        if message.session_kind != self.kind {
            return false;
        }
        match &message.content {
            slim_proto::Content::Command(command) => match command {
                Payload::JoinRequest(_)
                | Payload::GroupWelcome { .. }
                | Payload::GroupUpdate(_)
                | Payload::GroupClose { .. }
                | Payload::RejoinReply { .. } => from_moderator,
                Payload::LeaveRequest if self.is_moderator() => {
                    from_member && message.metadata.contains_key(LEAVING_SESSION)
                }
                Payload::LeaveRequest => from_moderator && !message.metadata.contains_key(LEAVING_SESSION),
                Payload::LeaveReply => from_moderator || self.is_moderator(),
                // Whom these were asked from is checked by the request that they answer.
                Payload::DiscoveryReply | Payload::JoinReply(_) => self.is_moderator(),
                Payload::GroupAck | Payload::GroupNack | Payload::Heartbeat { .. } => from_member,
                Payload::UpdateParticipantState { participant, .. } => about_itself(participant),
                Payload::RejoinRequest { participant, .. } => {
                    self.is_moderator() && about_itself(participant)
                }
                Payload::DiscoveryRequest | Payload::GroupProposal { .. } => false,
            },
            slim_proto::Content::Application { .. } => false,
        }
    }

    /// While offline only what ends the absence is heard (wire-session §4.11).
    fn ignores_while_offline(&self, kind: MessageKind) -> bool {
        match self.presence {
            // On its way back it listens: the others count on it from its announcement on, and two that come back
            // at once would wait for each other in vain, as upstream's do.
            Presence::Online | Presence::GoingOffline(_) | Presence::GoingOnline(_) => false,
            // Upstream ignores the end of the session too, and comes back to one that is gone.
            Presence::Offline => !matches!(kind, MessageKind::GroupClose | MessageKind::LeaveRequest),
        }
    }

    /// A participant leaves by itself: answered at once, even when busy (wire-session §4.7).
    fn on_leave(&mut self, shared: &mut Shared, now: Now, message: &Message) {
        let name = message.source.clone();
        self.answer(shared, now, message, Payload::LeaveReply);
        if self.kind == SessionKind::PointToPoint {
            return self.end(shared, now, CloseReason::PeerLeft);
        }
        if self.state != State::Active {
            return self.stop_waiting_for(shared, now, &name, MissReason::Left);
        }
        self.roster.set_joined(&name, false);
        self.roster.set_online(&name, false);
        self.stop_waiting_for(shared, now, &name, MissReason::Left);
        let pending = self
            .queue
            .iter()
            .any(|change| matches!(change, Change::Remove(remove) if remove.is_of(&name)));
        if !pending {
            self.queue.push_back(Change::Remove(Remove::departure(name)));
        }
    }
}

/// Kinds that answer a request; they are matched to it, not checked for repetition.
fn is_answer(kind: MessageKind) -> bool {
    matches!(
        kind,
        MessageKind::DiscoveryReply
            | MessageKind::JoinReply
            | MessageKind::LeaveReply
            | MessageKind::GroupAck
            | MessageKind::GroupNack
            | MessageKind::RejoinReply
    )
}
