//! The streams of a forwarder: who gets what one of them says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All open streams, by the sending half of their queues.
#[derive(Debug)]
pub(super) struct Hub<Queue> {
    /// Grows when a stream comes or goes.
    generation: AtomicU64,
    members: Mutex<Members<Queue>>,
}

#[derive(Debug)]
struct Members<Queue> {
    next: u64,
    queues: BTreeMap<u64, Queue>,
}

/// One stream's place; dropping it leaves the hub.
#[derive(Debug)]
pub(super) struct Member<Queue> {
    hub: Arc<Hub<Queue>>,
    number: u64,
    generation: u64,
    others: Vec<Queue>,
}

impl<Queue: Clone> Hub<Queue> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            generation: AtomicU64::new(0),
            members: Mutex::new(Members {
                next: 0,
                queues: BTreeMap::new(),
            }),
        })
    }

    /// Adds a stream. Before its response headers are sent, or its dialer may speak to others too early.
    pub(super) fn join(self: &Arc<Self>, queue: Queue) -> Member<Queue> {
        let mut members = self.lock();
        let number = members.next;
        members.next += 1;
        members.queues.insert(number, queue);
        self.generation.fetch_add(1, Ordering::Release);
        drop(members);
        Member {
            hub: Arc::clone(self),
            number,
            generation: 0,
            others: Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Members<Queue>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<Queue: Clone> Member<Queue> {
    /// The queues of all other streams. Takes no lock while none came or went.
    pub(super) fn others(&mut self) -> &[Queue] {
        let generation = self.hub.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.generation = generation;
            let members = self.hub.lock();
            let others = members
                .queues
                .iter()
                .filter(|(number, _)| **number != self.number);
            self.others = others.map(|(_, queue)| queue.clone()).collect();
        }
        &self.others
    }
}

impl<Queue> Drop for Member<Queue> {
    fn drop(&mut self) {
        let mut members = self.hub.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.queues.remove(&self.number);
        self.hub.generation.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_sees_all_others_and_never_itself() {
        let hub = Hub::new();
        let mut a = hub.join('a');
        assert!(a.others().is_empty());
        let mut b = hub.join('b');
        let c = hub.join('c');
        assert_eq!(a.others(), ['b', 'c']);
        assert_eq!(b.others(), ['a', 'c']);
        drop(c);
        assert_eq!(a.others(), ['b']);
        drop(a);
        assert!(b.others().is_empty());
    }
}
