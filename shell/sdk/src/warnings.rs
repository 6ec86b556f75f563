//! What an operator should know once, not each time.

use std::sync::Once;
use std::time::Duration;

use slim_config::Endpoint;
use slim_proto::{FullName, Instant};

/// Warns once per process that a shared secret is too short.
pub(crate) fn weak_secret() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            "the shared secret has fewer than 32 bytes: it can be guessed, and other implementations refuse it; \
             use a longer one"
        );
    });
}

/// Warns once per process that a link leaves the machine unencrypted.
pub(crate) fn plain_text(endpoint: &Endpoint) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            %endpoint,
            "plain-text link beyond this machine: names and tokens travel in clear, and data does without MLS"
        );
    });
}

/// Warns at each `connect` that does not check who answers: it must not be overlooked.
pub(crate) fn unverified(endpoint: &Endpoint) {
    tracing::warn!(
        %endpoint,
        "tls.insecure_skip_verify is on: whoever answers is believed to be the node, and can read and change what \
         passes; for tests only"
    );
}

/// Identities may be refused as often as an attacker likes; the log hears of it this often per application.
const REFUSALS_INTERVAL: Duration = Duration::from_secs(10);

/// Rate limit of the log lines about refused identities.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    last: Option<Instant>,
    suppressed: u64,
}

impl Refusals {
    /// Logs the refusal, or counts it for the next line.
    pub(crate) fn log(
        &mut self,
        now: Instant,
        app: &FullName,
        peer: &FullName,
        reason: &dyn std::fmt::Display,
    ) {
        if !self.is_due(now) {
            self.suppressed += 1;
            return;
        }
        let suppressed = std::mem::take(&mut self.suppressed);
        tracing::warn!(%app, %peer, %reason, suppressed, "refused the identity of a peer; it sees a time-out only");
        self.last = Some(now);
    }

    fn is_due(&self, now: Instant) -> bool {
        self.last
            .is_none_or(|last| now.saturating_since(last) >= REFUSALS_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_logged_at_most_every_ten_seconds_and_counted_between() {
        let name: FullName = "org/ns/app".parse().unwrap();
        let mut refusals = Refusals::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        refusals.log(at(0), &name, &name, &"other secret");
        refusals.log(at(1), &name, &name, &"other secret");
        refusals.log(at(9), &name, &name, &"other secret");
        assert_eq!((refusals.last, refusals.suppressed), (Some(at(0)), 2));
        refusals.log(at(10), &name, &name, &"other secret");
        assert_eq!((refusals.last, refusals.suppressed), (Some(at(10)), 0));
    }
}
