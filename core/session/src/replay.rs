//! Control messages that were acted upon, and the answers they got.
//!
//! A repeated message is never acted upon twice, but its answer is sent again: the first answer may be what
//! was lost (wire-session R1). A message enters here only after its handler accepted it, so one that came too
//! early still counts when it is repeated (R2).

use std::collections::{BTreeMap, VecDeque};

use slim_proto::limits::{REPLAY_IDS_PER_SENDER_MAX, REPLAY_SENDERS_MAX};
use slim_proto::{FullName, Message};

/// Answers are kept for this many recent messages of a sender; older ones are only known as seen.
const ANSWERS_PER_SENDER_MAX: usize = 32;

#[derive(Debug, Default)]
struct Sender {
    seen: BTreeMap<u32, Option<Message>>,
    order: VecDeque<u32>,
}

/// Seen message ids by sender.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    senders: BTreeMap<FullName, Sender>,
}

impl Replay {
    /// `None`: not seen. `Some(answer)`: seen, with the answer to repeat if there was one.
    pub(crate) fn seen(&self, source: &FullName, id: u32) -> Option<Option<&Message>> {
        self.senders.get(source)?.seen.get(&id).map(Option::as_ref)
    }

    /// True if any message of this sender was acted upon.
    pub(crate) fn knows(&self, source: &FullName) -> bool {
        self.senders.contains_key(source)
    }

    /// Remembers a message and its answer.
    pub(crate) fn record(&mut self, source: &FullName, id: u32, answer: Option<Message>) {
        if !self.senders.contains_key(source) && self.senders.len() >= REPLAY_SENDERS_MAX {
            self.senders.pop_first();
        }
        let sender = self.senders.entry(source.clone()).or_default();
        if sender.seen.insert(id, answer).is_none() {
            sender.order.push_back(id);
        }
        if sender.order.len() > REPLAY_IDS_PER_SENDER_MAX
            && let Some(oldest) = sender.order.pop_front()
        {
            sender.seen.remove(&oldest);
        }
        if let Some(old) = sender.order.len().checked_sub(ANSWERS_PER_SENDER_MAX + 1)
            && let Some(id) = sender.order.get(old)
        {
            sender.seen.insert(*id, None);
        }
    }

    /// Number of remembered ids, for leak checks.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.senders.values().map(|sender| sender.order.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded_per_sender_and_in_senders() {
        let name: FullName = "org/ns/app".parse().unwrap();
        let mut replay = Replay::default();
        for id in 1..=3000 {
            replay.record(&name, id, None);
        }
        assert_eq!(replay.len(), REPLAY_IDS_PER_SENDER_MAX);
        assert!(replay.seen(&name, 3000).is_some() && replay.seen(&name, 1).is_none());
        for id in 0..2000 {
            replay.record(&name.with_id(slim_proto::NameId(id)), 1, None);
        }
        assert!(replay.senders.len() <= REPLAY_SENDERS_MAX);
    }
}
