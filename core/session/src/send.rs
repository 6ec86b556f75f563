//! Published messages: who has acknowledged, and what is kept for retransmission (wire-session §4.9, sender).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use slim_proto::FullName;
use slim_proto::limits::{REORDER_MAX, SEND_HISTORY_BYTES_MAX, SEND_WINDOW_BYTES_MAX, SEND_WINDOW_MAX};

use crate::api::{MissReason, PublishOutcome, Ticket};
use crate::seq;

/// What the application handed over.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) payload: Bytes,
    pub(crate) payload_type: String,
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) to: Option<FullName>,
    pub(crate) ticket: Ticket,
}

/// A message under way, or kept after its last acknowledgement.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) draft: Draft,
    /// To whom it was addressed when it was published; nobody else gets a retransmission.
    pub(crate) recipients: BTreeSet<FullName>,
    pub(crate) awaiting: BTreeSet<FullName>,
    /// Who has it by its own word; a request to repeat it says the opposite.
    pub(crate) confirmed: BTreeSet<FullName>,
    pub(crate) repeats: u32,
    outcome: PublishOutcome,
}

/// A message whose fate is known.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) id: u32,
    pub(crate) ticket: Ticket,
    pub(crate) outcome: PublishOutcome,
}

/// Messages by id, those of the channel and direct ones alike.
#[derive(Debug)]
pub(crate) struct SendWindow {
    next_position: u64,
    messages: BTreeMap<u32, Outgoing>,
    order: VecDeque<u32>,
    /// Positions of the channel messages that somebody has not acknowledged.
    unfinished: BTreeSet<u64>,
    waiting: usize,
    waiting_bytes: usize,
    kept_bytes: usize,
}

impl SendWindow {
    pub(crate) fn new() -> Self {
        Self::starting_at(1)
    }

    /// A window whose first message has this position.
    pub(crate) fn starting_at(next_position: u64) -> Self {
        Self {
            next_position,
            messages: BTreeMap::new(),
            order: VecDeque::new(),
            unfinished: BTreeSet::new(),
            waiting: 0,
            waiting_bytes: 0,
            kept_bytes: 0,
        }
    }

    /// True if one more message of this size has room.
    pub(crate) fn has_room(&self, size: usize) -> bool {
        self.waiting < SEND_WINDOW_MAX && self.waiting_bytes + size <= SEND_WINDOW_BYTES_MAX
    }

    /// False while the oldest unacknowledged message is so far behind that the next one would make receivers give
    /// it up: they hold [`REORDER_MAX`] messages (R9). Counting what waits is not enough, since later messages are
    /// acknowledged while an early one is repeated.
    pub(crate) fn is_in_reach(&self) -> bool {
        let oldest = self.unfinished.first().copied().unwrap_or(self.next_position);
        self.next_position - oldest < REORDER_MAX as u64
    }

    /// True if everything is acknowledged or given up.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0
    }

    /// The position of the next message.
    pub(crate) fn next_position(&self) -> u64 {
        self.next_position
    }

    /// The next sequence number, consumed.
    pub(crate) fn next_id(&mut self) -> u32 {
        let id = seq::wire_id(self.next_position);
        self.next_position += 1;
        id
    }

    /// Keeps a message until its recipients have acknowledged it; they must not be empty.
    pub(crate) fn insert(&mut self, id: u32, draft: Draft, recipients: BTreeSet<FullName>) {
        debug_assert!(
            !recipients.is_empty(),
            "a message without recipients never finishes"
        );
        self.waiting += 1;
        self.waiting_bytes += draft.payload.len();
        self.unfinished
            .extend(seq::position_near(id, self.next_position.saturating_sub(1)));
        self.messages.insert(
            id,
            Outgoing {
                draft,
                awaiting: recipients.clone(),
                recipients,
                confirmed: BTreeSet::new(),
                repeats: 0,
                outcome: PublishOutcome::default(),
            },
        );
        self.order.push_back(id);
        self.trim();
    }

    pub(crate) fn get(&self, id: u32) -> Option<&Outgoing> {
        self.messages.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Outgoing> {
        self.messages.get_mut(&id)
    }

    /// A member said that it has the message.
    pub(crate) fn confirm(&mut self, id: u32, member: &FullName) {
        if let Some(message) = self.messages.get_mut(&id)
            && message.recipients.contains(member)
        {
            message.confirmed.insert(member.clone());
        }
    }

    /// A member has it, or asks for it: it need not be repeated unasked.
    pub(crate) fn acknowledge(&mut self, id: u32, member: &FullName) -> Option<Finished> {
        let message = self.messages.get_mut(&id)?;
        if !message.awaiting.remove(member) {
            return None;
        }
        message.outcome.delivered.push(member.clone());
        self.finish_if_complete(id)
    }

    /// The last retransmission of a message went unanswered.
    pub(crate) fn give_up(&mut self, id: u32) -> Option<Finished> {
        let message = self.messages.get_mut(&id)?;
        let silent = std::mem::take(&mut message.awaiting);
        if silent.is_empty() {
            return None;
        }
        message
            .outcome
            .missed
            .extend(silent.into_iter().map(|name| (name, MissReason::TimedOut)));
        self.finish_if_complete(id)
    }

    /// A member is gone: nothing waits for it any longer.
    pub(crate) fn forget(&mut self, member: &FullName, reason: MissReason) -> Vec<Finished> {
        let mut finished = Vec::new();
        let ids: Vec<u32> = self.order.iter().copied().collect();
        for id in ids {
            let Some(message) = self.messages.get_mut(&id) else {
                continue;
            };
            if reason == MissReason::Left {
                // When it comes back it is a new member, to whom nothing from before is repeated.
                message.recipients.remove(member);
                message.confirmed.remove(member);
            }
            if message.awaiting.remove(member) {
                message.outcome.missed.push((member.clone(), reason));
                finished.extend(self.finish_if_complete(id));
            }
        }
        finished
    }

    /// Everything unfinished, when the session ends.
    pub(crate) fn abandon(&mut self) -> Vec<Ticket> {
        let tickets = self
            .messages
            .values()
            .filter(|message| !message.awaiting.is_empty())
            .map(|message| message.draft.ticket)
            .collect();
        *self = Self {
            next_position: self.next_position,
            ..Self::new()
        };
        tickets
    }

    fn finish_if_complete(&mut self, id: u32) -> Option<Finished> {
        let message = self.messages.get_mut(&id)?;
        if !message.awaiting.is_empty() {
            return None;
        }
        let size = message.draft.payload.len();
        let finished = Finished {
            id,
            ticket: message.draft.ticket,
            outcome: std::mem::take(&mut message.outcome),
        };
        self.waiting -= 1;
        self.waiting_bytes -= size;
        // An unfinished position is at most REORDER_MAX behind, so its number on the wire is unambiguous.
        if let Some(position) = seq::position_near(id, self.next_position.saturating_sub(REORDER_MAX as u64))
        {
            self.unfinished.remove(&position);
        }
        self.kept_bytes += size;
        self.trim();
        Some(finished)
    }

    /// Forgets the oldest finished messages beyond the limits.
    fn trim(&mut self) {
        let mut index = 0;
        while self.order.len() > SEND_WINDOW_MAX || self.kept_bytes > SEND_HISTORY_BYTES_MAX {
            let Some(id) = self.order.get(index).copied() else {
                return;
            };
            let finished = self
                .messages
                .get(&id)
                .is_none_or(|message| message.awaiting.is_empty());
            if finished {
                self.order.remove(index);
                if let Some(message) = self.messages.remove(&id) {
                    self.kept_bytes -= message.draft.payload.len();
                }
            } else {
                index += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use slim_proto::NameId;

    use super::*;

    fn member(id: u128) -> FullName {
        "org/ns/app".parse::<FullName>().unwrap().with_id(NameId(id))
    }

    fn draft(ticket: u64) -> Draft {
        Draft {
            payload: Bytes::from_static(b"x"),
            payload_type: "msg".into(),
            metadata: BTreeMap::new(),
            to: None,
            ticket: Ticket(ticket),
        }
    }

    #[test]
    fn a_message_finishes_with_its_last_acknowledgement_and_only_once() {
        let mut window = SendWindow::new();
        window.insert(1, draft(7), [member(1), member(2)].into());
        assert!(window.acknowledge(1, &member(1)).is_none());
        assert!(window.acknowledge(1, &member(1)).is_none());
        assert!(window.acknowledge(1, &member(9)).is_none());
        let finished = window.acknowledge(1, &member(2)).unwrap();
        assert_eq!(
            (finished.ticket, finished.outcome.delivered.len()),
            (Ticket(7), 2)
        );
        assert!(window.acknowledge(1, &member(2)).is_none() && window.is_idle());
        assert!(window.get(1).is_some(), "kept for retransmission");
    }

    #[test]
    fn a_message_that_is_behind_stops_the_window_before_receivers_give_it_up() {
        let mut window = SendWindow::new();
        for _ in 0..REORDER_MAX {
            assert!(window.is_in_reach());
            let id = window.next_id();
            window.insert(id, draft(0), [member(1)].into());
            if id > 1 {
                assert!(window.acknowledge(id, &member(1)).is_some());
            }
        }
        assert!(window.has_room(1) && !window.is_in_reach());
        assert!(window.acknowledge(1, &member(1)).is_some() && window.is_in_reach());
        assert!(window.unfinished.is_empty());
    }

    #[test]
    fn r6_a_member_that_goes_away_resolves_what_waits_for_it() {
        let mut window = SendWindow::new();
        window.insert(1, draft(1), [member(1)].into());
        window.insert(2, draft(2), [member(1), member(2)].into());
        let finished = window.forget(&member(1), MissReason::Offline);
        assert_eq!(finished.len(), 1);
        assert_eq!(finished[0].outcome.missed, [(member(1), MissReason::Offline)]);
        assert_eq!(window.acknowledge(2, &member(2)).unwrap().outcome.missed.len(), 1);
    }

    #[test]
    fn the_window_is_full_at_its_limit_and_history_is_bounded() {
        let mut window = SendWindow::new();
        for _ in 0..SEND_WINDOW_MAX {
            assert!(window.has_room(1));
            let id = window.next_id();
            window.insert(id, draft(0), [member(1)].into());
        }
        assert!(!window.has_room(1));
        assert_eq!(window.forget(&member(1), MissReason::Left).len(), SEND_WINDOW_MAX);
        for _ in 0..100 {
            let id = window.next_id();
            window.insert(id, draft(0), [member(2)].into());
        }
        assert_eq!(window.messages.len(), SEND_WINDOW_MAX);
        assert!(window.get(1).is_none() && window.get(200).is_some());
    }
}
