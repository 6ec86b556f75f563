//! The acknowledgement of a rejoin, at the member that came back (wire-session §4.12 item 3, R19).
//!
//! A moderator of ours repeats its reply until it is acknowledged, so each copy gets the answer again. One of upstream
//! replies once, waits without a deadline, and changes no member while it waits; so the answer is repeated unasked.

use slim_proto::{Command as Payload, Message, Now};

use crate::session::Session;
use crate::shared::Shared;
use crate::timers::TimerKey;

/// How often the acknowledgement is repeated for a moderator of upstream, one interval apart: with one message in ten
/// lost, one rejoin in ten thousand is not acknowledged.
const REPETITIONS: u32 = 3;

/// An acknowledgement that is repeated.
#[derive(Debug)]
pub(crate) struct RejoinAck {
    reply: Message,
    left: u32,
}

impl Session {
    /// The reply came, whether its welcome opens or not.
    pub(crate) fn acknowledge_rejoin(&mut self, shared: &mut Shared, now: Now, reply: &Message) {
        self.answer(shared, now, reply, Payload::GroupAck);
        if reply.is_from_own_kind() {
            return;
        }
        self.acknowledge_under_another_name(shared, now, reply);
        self.rejoin_ack = Some(RejoinAck {
            reply: reply.clone(),
            left: REPETITIONS,
        });
        self.await_repetition(shared, now);
    }

    /// A copy of a reply that was acted upon: its acknowledgement was lost. False if it is none.
    pub(crate) fn answer_repeated_reply(&self, shared: &mut Shared, now: Now, message: &Message) -> bool {
        let Some(Some(answer)) = self.replay.seen(&message.source, message.message_id) else {
            return false;
        };
        let answer = answer.clone();
        shared.counters.replayed += 1;
        shared.send_command(now, &answer);
        true
    }

    pub(crate) fn on_rejoin_ack_due(&mut self, shared: &mut Shared, now: Now) {
        let Some(mut ack) = self.rejoin_ack.take() else {
            return;
        };
        let mut plain = self.control_message(&ack.reply.source, ack.reply.message_id, Payload::GroupAck);
        plain.fanout = 1;
        shared.send_command(now, &plain);
        self.acknowledge_under_another_name(shared, now, &ack.reply);
        ack.left -= 1;
        if ack.left > 0 {
            self.rejoin_ack = Some(ack);
            self.await_repetition(shared, now);
        }
    }

    /// Upstream takes the acknowledgement of a rejoin for a repetition of the request, since both have the same
    /// sender and number (wire-session §2.4), drops it, and from then on never changes the group's members again,
    /// even among its own kind. What it keeps are pairs of full name and number, and it looks for nothing but the
    /// number in an acknowledgement: so this one comes from the channel's name with the own id, which passes its
    /// identity check. Seen in `interop/`.
    fn acknowledge_under_another_name(&self, shared: &mut Shared, now: Now, reply: &Message) {
        let mut answer = self.control_message(&reply.source, reply.message_id, Payload::GroupAck);
        answer.source = self.data.with_id(self.local.id());
        answer.fanout = 1;
        shared.send_command(now, &answer);
    }

    fn await_repetition(&self, shared: &mut Shared, now: Now) {
        let at = now.mono + self.timing().interval;
        shared.timers.set(self.id.0, TimerKey::RejoinAck, at);
    }
}
