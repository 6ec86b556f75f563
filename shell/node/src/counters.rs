//! What a node counts beside the router's own counters.

use std::sync::{Mutex, PoisonError};

use slim_router::Counters;

use crate::older::OlderCounters;

/// Counts of a service since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct NodeCounters {
    /// Links that finished their negotiation.
    pub links_opened: u64,
    /// Of these, links that are closed.
    pub links_closed: u64,
    /// Connections that failed the TLS handshake.
    pub tls_refused: u64,
    /// Calls without the credentials that their listener demands, of connections that are closed.
    pub auth_refused: u64,
    /// Calls whose negotiation failed or came too late.
    pub negotiations_failed: u64,
    /// Links closed because their peer took nothing for too long.
    pub slow_consumers: u64,
    /// Copies dropped because the receiving link's queue was full.
    pub queue_full: u64,
    /// Copies dropped because the receiving link was closing.
    pub target_gone: u64,
    /// Frames of closed links: forwarded, copied, dropped by reason.
    pub publishes: Counters,
    /// Links of 0.4 and 1.x, which are in none of the counts of links and publishes above.
    pub older: OlderCounters,
}

/// What one link counts; its driver is the only writer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LinkCounters {
    pub(crate) received: u64,
    pub(crate) queue_full: u64,
    pub(crate) target_gone: u64,
}

/// The shared counts of a service. Links add theirs when they close, so the lock is not on the hot path.
#[derive(Debug, Default)]
pub(crate) struct Totals(Mutex<NodeCounters>);

impl Totals {
    pub(crate) fn update(&self, change: impl FnOnce(&mut NodeCounters)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    pub(crate) fn snapshot(&self) -> NodeCounters {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
