//! What the application got from a group, remembered across a stay in it.
//!
//! A member that leaves and comes back is, for a sender that was away meanwhile, the same member all along: a message
//! whose acknowledgement was lost in the first stay is sent again in the second, and nothing in the protocol tells
//! the one from the other. Numbers alone cannot: an upstream sender that comes back itself counts from 1 anew. So the
//! receiver compares number and content.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use slim_proto::limits::SEND_WINDOW_MAX;

use crate::api::Received;

/// Messages remembered: a sender repeats no more than its window, and few senders are away at the same time.
const REMEMBERED_MAX: usize = 2 * SEND_WINDOW_MAX;
/// Bytes of the content that are compared, beside its length. More would cost as much as opening the message did.
const COMPARED_BYTES: usize = 256;

/// Fingerprints of delivered messages, of this stay and of the one before.
#[derive(Debug, Default)]
pub(crate) struct Delivered {
    recent: VecDeque<u64>,
    before: BTreeSet<u64>,
}

impl Delivered {
    /// For the next stay: what this one delivered counts as had, once.
    pub(crate) fn next_stay(self) -> Self {
        Self {
            before: self.recent.into_iter().collect(),
            recent: VecDeque::new(),
        }
    }

    /// False if the application had the message in an earlier stay.
    pub(crate) fn is_new(&mut self, message: &Received) -> bool {
        let fingerprint = fingerprint(message);
        if self.before.remove(&fingerprint) {
            return false;
        }
        if self.recent.len() >= REMEMBERED_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(fingerprint);
        true
    }
}

fn fingerprint(message: &Received) -> u64 {
    let payload = &message.payload;
    let mut hasher = DefaultHasher::new();
    (message.source.id(), message.message_id, payload.len()).hash(&mut hasher);
    payload[..payload.len().min(COMPARED_BYTES)].hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(id: u32, payload: &'static str) -> Received {
        let name: slim_proto::FullName = "org/ns/bob".parse().unwrap();
        Received {
            source: name.clone(),
            destination: name,
            subject: "bob".into(),
            issuer: None,
            payload_type: "msg".into(),
            metadata: Default::default(),
            message_id: id,
            direct: false,
            payload: Bytes::from_static(payload.as_bytes()),
        }
    }

    #[test]
    fn a_message_of_the_stay_before_is_not_new_and_one_with_its_number_is() {
        let mut first = Delivered::default();
        assert!(first.is_new(&message(1, "one")));
        let mut second = first.next_stay();
        assert!(second.is_new(&message(1, "another sender's life")));
        assert!(!second.is_new(&message(1, "one")));
        assert!(
            second.is_new(&message(1, "one")),
            "it is forgotten with its one repetition"
        );
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut delivered = Delivered::default();
        for id in 0..10_000 {
            delivered.is_new(&message(id, "text"));
        }
        assert_eq!(delivered.recent.len(), REMEMBERED_MAX);
        assert!(!delivered.next_stay().is_new(&message(9999, "text")));
    }
}
