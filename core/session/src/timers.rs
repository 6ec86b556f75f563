//! One table of deadlines per endpoint.

use std::collections::{BTreeMap, BTreeSet};

use slim_proto::{FullName, Instant};

/// What a deadline is for. The owner is a session number, or [`ENDPOINT`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TimerKey {
    /// Repeat or give up a control request.
    Exchange(u64),
    /// Repeat or give up a published message.
    Data(u32),
    /// Ask again for, or give up, a missing message of a sender.
    Gap { sender: FullName, position: u64 },
    /// Count silence, and say that we are alive.
    Heartbeat,
    /// The invitation was not completed by a welcome.
    HalfJoined,
    /// Closing does not wait longer.
    Close,
    /// The credential in the MLS tree gets old.
    Refresh,
    /// We are behind the group's epoch.
    Repair,
    /// Acknowledge the own rejoin once more.
    RejoinAck,
    /// We were told of our removal but not asked to leave.
    Evicted,
    /// The node did not confirm a subscription.
    Subscription(u64),
    /// The application did not answer an invitation.
    Invitation(u64),
    /// Messages waited long enough for keys of their sender's issuer.
    Unverified,
    /// An ended session is forgotten.
    Tombstone(u32),
    /// Nobody answered a discovery for a message to any instance.
    Ask(u32),
}

impl TimerKey {
    /// For `poll_timeout`: why the endpoint wants to be woken.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Exchange(_) => "control request",
            Self::Data(_) => "data acknowledgement",
            Self::Gap { .. } => "missing message",
            Self::Heartbeat => "heartbeat",
            Self::HalfJoined => "half-joined session",
            Self::Close => "close",
            Self::Refresh => "credential refresh",
            Self::Repair => "epoch repair",
            Self::RejoinAck => "acknowledgement of a rejoin",
            Self::Evicted => "eviction",
            Self::Subscription(_) => "subscription",
            Self::Invitation(_) => "unanswered invitation",
            Self::Unverified => "keys of an issuer",
            Self::Tombstone(_) => "ended session",
            Self::Ask(_) => "discovery of an instance",
        }
    }
}

/// Owner of timers that belong to no session; session numbers never reach it.
pub(crate) const ENDPOINT: u32 = u32::MAX;

/// Deadlines by time and by key.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Instant, u32, TimerKey)>,
    by_key: BTreeMap<(u32, TimerKey), Instant>,
}

impl Timers {
    /// Sets or moves a deadline.
    pub(crate) fn set(&mut self, owner: u32, key: TimerKey, at: Instant) {
        self.cancel(owner, &key);
        self.by_key.insert((owner, key.clone()), at);
        self.due.insert((at, owner, key));
    }

    /// Removes a deadline if it is set.
    pub(crate) fn cancel(&mut self, owner: u32, key: &TimerKey) {
        let entry = (owner, key.clone());
        if let Some(at) = self.by_key.remove(&entry) {
            self.due.remove(&(at, entry.0, entry.1));
        }
    }

    /// True if the deadline is set.
    pub(crate) fn is_set(&self, owner: u32, key: &TimerKey) -> bool {
        self.by_key.contains_key(&(owner, key.clone()))
    }

    /// When a deadline is, if it is set.
    pub(crate) fn deadline(&self, owner: u32, key: &TimerKey) -> Option<Instant> {
        self.by_key.get(&(owner, key.clone())).copied()
    }

    /// Removes everything of one owner.
    pub(crate) fn cancel_all(&mut self, owner: u32) {
        let first = (owner, TimerKey::Exchange(0));
        let keys: Vec<_> = self
            .by_key
            .range(first..)
            .take_while(|((of, _), _)| *of == owner)
            .map(|(key, _)| key.clone())
            .collect();
        for (owner, key) in keys {
            self.cancel(owner, &key);
        }
    }

    /// Removes the deadlines for missing messages of one sender.
    pub(crate) fn cancel_gaps(&mut self, owner: u32, sender: &FullName) {
        let gap = |position| {
            (
                owner,
                TimerKey::Gap {
                    sender: sender.clone(),
                    position,
                },
            )
        };
        let keys: Vec<_> = self
            .by_key
            .range(gap(0)..=gap(u64::MAX))
            .map(|((_, key), _)| key.clone())
            .collect();
        for key in keys {
            self.cancel(owner, &key);
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<(Instant, &'static str)> {
        self.due.first().map(|(at, _, key)| (*at, key.reason()))
    }

    /// Takes one deadline that has passed.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(u32, TimerKey)> {
        let (at, _, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, owner, key) = self.due.pop_first()?;
        self.by_key.remove(&(owner, key.clone()));
        Some((owner, key))
    }

    /// Number of deadlines of one owner, for leak checks.
    pub(crate) fn count(&self, owner: u32) -> usize {
        self.by_key
            .range((owner, TimerKey::Exchange(0))..)
            .take_while(|((of, _), _)| *of == owner)
            .count()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_moved_deadline_fires_once_at_its_new_time() {
        let (mut timers, second) = (Timers::default(), Duration::from_secs(1));
        timers.set(1, TimerKey::Heartbeat, Instant::ZERO + second);
        timers.set(1, TimerKey::Heartbeat, Instant::ZERO + second * 2);
        assert_eq!(timers.pop_due(Instant::ZERO + second), None);
        assert_eq!(
            timers.pop_due(Instant::ZERO + second * 2),
            Some((1, TimerKey::Heartbeat))
        );
        assert_eq!(timers.pop_due(Instant::ZERO + second * 9), None);
    }

    #[test]
    fn cancel_all_leaves_other_owners_alone() {
        let mut timers = Timers::default();
        for owner in [1, 2, ENDPOINT] {
            timers.set(owner, TimerKey::Heartbeat, Instant::ZERO);
            timers.set(owner, TimerKey::Exchange(3), Instant::ZERO);
        }
        timers.cancel_all(2);
        assert_eq!(
            (timers.count(1), timers.count(2), timers.count(ENDPOINT)),
            (2, 0, 2)
        );
    }
}
