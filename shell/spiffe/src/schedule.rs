//! When the agent is asked again: plain arithmetic, for a task to sleep by.

use std::time::Duration;

use slim_crypto::Rng;
use slim_proto::UnixTime;
use slim_proto::limits::{SPIFFE_BACKOFF_MAX, SPIFFE_BACKOFF_MIN};

/// Failures in a row, and what they cost.
pub(crate) struct Schedule {
    failures: u32,
    rng: Rng,
}

impl Schedule {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            failures: 0,
            rng: Rng::from_seed(seed),
        }
    }

    /// It went well. Returns true if it had failed before.
    pub(crate) fn succeeded(&mut self) -> bool {
        std::mem::take(&mut self.failures) > 0
    }

    /// It failed: how long to wait, between half and the whole of a pause that doubles each time. Many processes ask
    /// one agent, and they all fail at once.
    pub(crate) fn failed(&mut self) -> Duration {
        let doubled = SPIFFE_BACKOFF_MIN.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(SPIFFE_BACKOFF_MAX);
        let half = u64::try_from(pause.as_millis() / 2).unwrap_or(u64::MAX);
        Duration::from_millis(half + self.rng.below(half + 1))
    }

    /// True if the latest failure is the first in a row: worth a line in the log.
    pub(crate) fn is_first_failure(&self) -> bool {
        self.failures == 1
    }
}

/// How long a token that was just fetched is used: until two thirds of its life are over (wire-session §1.6), and no
/// less than a second, or an agent that hands out old tokens would be asked without end.
pub(crate) fn use_time(now: UnixTime, issued_at: UnixTime, expires_at: UnixTime) -> Duration {
    let life = expires_at.saturating_since(issued_at);
    let due = UnixTime(issued_at.0.saturating_add(life / 3 * 2 + life % 3 * 2 / 3));
    Duration::from_secs(due.saturating_since(now).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_used_for_two_thirds_of_their_life() {
        let at = |now| use_time(UnixTime(now), UnixTime(1000), UnixTime(1300)).as_secs();
        assert_eq!(at(1000), 200);
        assert_eq!(at(1150), 50);
        assert_eq!(at(1200), 1);
        assert_eq!(at(5000), 1);
        // A clock behind the agent's does not make it ask too early.
        assert_eq!(at(990), 210);
        assert_eq!(
            use_time(UnixTime(0), UnixTime(0), UnixTime(u64::MAX)).as_secs(),
            u64::MAX / 3 * 2
        );
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_differ() {
        let mut schedule = Schedule::new([1; 32]);
        let pauses: Vec<Duration> = (0..8).map(|_| schedule.failed()).collect();
        for (number, pause) in pauses.iter().enumerate() {
            let whole = SPIFFE_BACKOFF_MIN * (1 << number);
            let whole = whole.min(SPIFFE_BACKOFF_MAX);
            assert!(*pause >= whole / 2 && *pause <= whole, "{number}: {pause:?}");
        }
        assert!(schedule.succeeded());
        assert!(schedule.failed() <= SPIFFE_BACKOFF_MIN);
        assert!(schedule.is_first_failure());
        let other: Vec<Duration> = {
            let mut schedule = Schedule::new([2; 32]);
            (0..8).map(|_| schedule.failed()).collect()
        };
        assert_ne!(pauses, other);
    }
}
