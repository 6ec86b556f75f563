//! Log lines about calls that were turned away: anybody can cause them, so they are few.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use slim_proto::Instant;

use super::authenticator::Reason;
use crate::clock::Clock;

/// One line per listener in so much time; the others are counted in the next.
const INTERVAL: Duration = Duration::from_secs(10);

/// Counts and logs the refusals of one listener.
pub(super) struct Refusals {
    listener: String,
    clock: Clock,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    uncollected: u64,
    unsaid: u64,
    said: Option<Instant>,
}

impl Refusals {
    pub(super) fn new(listener: String, clock: Clock) -> Self {
        Self {
            listener,
            clock,
            counts: Mutex::default(),
        }
    }

    /// Counts a refusal, and says so unless one was said a moment ago. The reason never has text of a credential.
    pub(super) fn log(&self, peer: SocketAddr, reason: &Reason) {
        let now = self.clock.monotonic();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.uncollected += 1;
        let is_due = counts
            .said
            .is_none_or(|said| now.saturating_since(said) >= INTERVAL);
        if !is_due {
            counts.unsaid += 1;
            return;
        }
        counts.said = Some(now);
        let since_last = std::mem::take(&mut counts.unsaid);
        drop(counts);
        tracing::warn!(
            %peer,
            listener = %self.listener,
            %reason,
            not_logged = since_last,
            "a link was refused"
        );
    }

    /// Refusals since the last call.
    pub(super) fn take_count(&self) -> u64 {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut counts.uncollected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn refusals_are_said_every_ten_seconds_at_most_and_all_counted() {
        let refusals = Refusals::new("0.0.0.0:1".to_owned(), Clock::start());
        let peer = SocketAddr::from(([10, 0, 0, 1], 9));
        let unsaid = || refusals.counts.lock().unwrap().unsaid;
        refusals.log(peer, &Reason::Missing);
        refusals.log(peer, &Reason::Password);
        refusals.log(peer, &Reason::Password);
        assert_eq!((refusals.take_count(), unsaid()), (3, 2));
        tokio::time::advance(INTERVAL).await;
        refusals.log(peer, &Reason::Password);
        assert_eq!((refusals.take_count(), unsaid()), (1, 0));
    }
}
