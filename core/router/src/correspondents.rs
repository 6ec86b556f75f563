//! Who wrote to a link lately, so that the link may answer.
//!
//! Rules say whom a link may write to; without this, each of them would also have to name everybody whose messages
//! it acknowledges. It works like a packet filter that lets through what belongs to a conversation: the other side
//! began it, and was allowed to.
//!
//! A table of fixed size, written by the threads that send to the link and read by the one that receives from it,
//! without locks: each slot is one atomic number. What it forgets (the oldest of a full row, everything with the
//! link) comes back with the next message or heartbeat.

use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::quality::FixedState;
use slim_proto::Name;
use slim_proto::limits::CORRESPONDENTS_MAX;

/// Slots that a name may be in.
const ROW: usize = 4;
const ROWS: usize = CORRESPONDENTS_MAX / ROW;

/// The names, as seeded hashes of 64 bits; 0 is an empty slot. A stranger who does not know the seed hits one by
/// chance with 2^-60.
#[derive(Debug)]
pub(crate) struct Correspondents {
    slots: Box<[AtomicU64]>,
    hasher: FixedState,
}

impl Correspondents {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            slots: (0..ROWS * ROW).map(|_| AtomicU64::new(0)).collect(),
            hasher: FixedState::with_seed(seed),
        }
    }

    /// Remembers a name; forgets the oldest one of its row if that is full.
    pub(crate) fn note(&self, name: &Name) {
        let (row, mark) = self.row(name);
        if row.iter().any(|slot| slot.load(Ordering::Relaxed) == mark) {
            return;
        }
        // Each moves on by one. Two writers at once may lose one of their names; it comes back with its next frame.
        let mut incoming = mark;
        for slot in row {
            incoming = slot.swap(incoming, Ordering::Relaxed);
            if incoming == 0 {
                break;
            }
        }
    }

    /// True if the name is remembered.
    pub(crate) fn contains(&self, name: &Name) -> bool {
        let (row, mark) = self.row(name);
        row.iter().any(|slot| slot.load(Ordering::Relaxed) == mark)
    }

    fn row(&self, name: &Name) -> (&[AtomicU64], u64) {
        let mark = self.hasher.hash_one(name).max(1);
        let start = (mark >> 32) as usize % ROWS * ROW;
        (self.slots.get(start..start + ROW).unwrap_or(&[]), mark)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use slim_proto::{NameId, Prefix};

    use super::*;

    fn name(id: u128) -> Name {
        Name {
            prefix: Prefix([1, 2, 3]),
            id: NameId(id),
        }
    }

    #[test]
    fn who_wrote_is_remembered_and_nobody_else() {
        let table = Correspondents::new(7);
        table.note(&name(1));
        table.note(&name(1));
        assert!(table.contains(&name(1)));
        assert!((2..1000).all(|id| !table.contains(&name(id))));
        let elsewhere = Name {
            prefix: Prefix([1, 2, 4]),
            id: NameId(1),
        };
        assert!(!table.contains(&elsewhere), "the id alone is not the name");
    }

    #[test]
    fn at_the_limit_old_names_give_way_to_new_ones() {
        let table = Correspondents::new(7);
        let many = CORRESPONDENTS_MAX as u128 * 8;
        for id in 0..many {
            table.note(&name(id));
            assert!(table.contains(&name(id)), "the newest is there");
        }
        let remembered = (0..many).filter(|id| table.contains(&name(*id))).count();
        assert_eq!(remembered, CORRESPONDENTS_MAX, "every row is full");
    }

    proptest! {
        #[test]
        fn the_last_few_are_remembered_wherever_they_fall(
            seed: u64,
            ids in proptest::collection::btree_set(any::<u128>(), ROW..64),
        ) {
            let table = Correspondents::new(seed);
            ids.iter().for_each(|id| table.note(&name(*id)));
            // Even if all fell into one row, each of these was followed by fewer than a row.
            for id in ids.iter().rev().take(ROW) {
                prop_assert!(table.contains(&name(*id)));
            }
        }
    }
}
