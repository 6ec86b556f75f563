//! Links of the older wires, 0.4 and 1.x: served, or held still.
//!
//! What their messages mean is decided by `slim-older`; here are the task that owns its router, the drivers of its
//! links, and what becomes of links that are not served. Nothing of it touches the tables or the path of today's
//! links: the two have in common the egress queue and the end of a link.

mod driver;
mod held;
mod notice;
mod task;

use std::sync::{Arc, Mutex};

use slim_net::SparseLog;
use slim_older::Counters;
use slim_policy::Rules;
use slim_proto::limits::OLDER_HELD_MAX;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

use crate::counters::Totals;

pub(crate) use driver::{Arrival, serve};
pub(crate) use held::{Unserved, hold};
use task::{OlderHandle, OlderTask};

/// What the drivers of a service's older links share.
#[derive(Debug)]
pub(crate) struct Older {
    handle: OlderHandle,
    /// How many more links may be held.
    places: Semaphore,
    /// What is said about links that are not served.
    log: Mutex<SparseLog>,
}

/// What a service counts of its older links.
#[derive(Clone, Copy, Debug, Default)]
pub struct OlderCounters {
    /// Links of 0.4 that were served.
    pub v0_4_links: u64,
    /// Links of 1.x that were served.
    pub v1_links: u64,
    /// Of both, links that are closed.
    pub links_closed: u64,
    /// Links that were held still instead.
    pub links_held: u64,
    /// Links that were closed at once, because too many were held already.
    pub links_turned_away: u64,
    /// Messages of served links: forwarded, dropped by reason.
    pub messages: Counters,
}

impl Older {
    /// Starts the task; it runs until every clone of the result is dropped or it is aborted.
    pub(crate) fn start(rules: Option<Arc<Rules>>, totals: Arc<Totals>) -> (Arc<Self>, AbortHandle) {
        let (task, handle) = OlderTask::new(rules, totals);
        let task = tokio::spawn(task.run()).abort_handle();
        let older = Self {
            handle,
            places: Semaphore::new(OLDER_HELD_MAX),
            log: Mutex::default(),
        };
        (Arc::new(older), task)
    }

    /// From now on these rules hold: links that may not do everything any more are closed, and held still when they
    /// come back.
    pub(crate) async fn replace_rules(&self, rules: Option<Arc<Rules>>) {
        // A service that is stopping has no links whose rules matter.
        let _ = self.handle.replace_rules(rules).await;
    }
}
