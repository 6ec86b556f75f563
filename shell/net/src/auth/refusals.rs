//! Log lines about calls that were turned away: anybody can cause them, so they are few.

use std::sync::{Mutex, PoisonError};

use super::authenticator::Reason;
use crate::clock::Clock;
use crate::socket::PeerAddress;
use crate::sparse_log::SparseLog;

/// Counts and logs the refusals of one listener.
pub(super) struct Refusals {
    listener: String,
    clock: Clock,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    uncollected: u64,
    lines: SparseLog,
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
    pub(super) fn log(&self, peer: PeerAddress, reason: &Reason) {
        let now = self.clock.monotonic();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.uncollected += 1;
        let Some(not_logged) = counts.lines.is_due(now) else {
            return;
        };
        drop(counts);
        tracing::warn!(
            %peer,
            listener = %self.listener,
            %reason,
            not_logged,
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

    #[tokio::test]
    async fn every_refusal_is_counted_whether_it_is_said_or_not() {
        let refusals = Refusals::new("0.0.0.0:1".to_owned(), Clock::start());
        let peer = PeerAddress::from(std::net::SocketAddr::from(([10, 0, 0, 1], 9)));
        refusals.log(peer, &Reason::Missing);
        refusals.log(peer, &Reason::Password);
        refusals.log(peer, &Reason::Password);
        assert_eq!(refusals.take_count(), 3);
        assert_eq!(refusals.take_count(), 0);
    }
}
