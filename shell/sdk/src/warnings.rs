//! What an operator should know once, not each time.

use std::sync::Once;

use slim_config::Endpoint;
use slim_net::SparseLog;
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

/// Warns once per process that commands of peers may be unsigned.
pub(crate) fn unsigned_payloads() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            "payload_signatures is MayBeAbsent: every node on the path can change invitations and membership changes; \
             update members with the package 2.2.0 and require signatures again"
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

/// The log lines about refused identities; they may be refused as often as an attacker likes.
#[derive(Debug, Default)]
pub(crate) struct Refusals(SparseLog);

impl Refusals {
    /// Logs the refusal, or counts it for the next line.
    pub(crate) fn log(
        &mut self,
        now: Instant,
        app: &FullName,
        peer: &FullName,
        reason: &dyn std::fmt::Display,
    ) {
        if let Some(suppressed) = self.0.is_due(now) {
            tracing::warn!(%app, %peer, %reason, suppressed, "refused the identity of a peer; it sees a time-out only");
        }
    }
}
