//! What the sources have in common: a task that keeps a value fresh, and everybody who looks at it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use slim_crypto::os_seed;
use slim_proto::UnixTime;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::error::SpiffeError;
use crate::schedule::Schedule;

/// The newest value, and the task that renews it. The task ends with its keeper.
pub(crate) struct Keeper<T> {
    values: watch::Receiver<T>,
    task: AbortHandle,
}

impl<T: Clone + Send + Sync + 'static> Keeper<T> {
    /// Starts the task on the current runtime with a first value.
    pub(crate) fn start<F>(first: T, renew: impl FnOnce(watch::Sender<T>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (sender, values) = watch::channel(first);
        Self {
            values,
            task: tokio::spawn(renew(sender)).abort_handle(),
        }
    }

    pub(crate) fn newest(&self) -> T {
        self.values.borrow().clone()
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<T> {
        self.values.clone()
    }
}

impl<T> Drop for Keeper<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Failures of one kind of call: logged once per outage, each followed by a longer pause.
pub(crate) struct Outage {
    what: &'static str,
    schedule: Schedule,
}

impl Outage {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            schedule: Schedule::new(os_seed()),
        }
    }

    pub(crate) fn over(&mut self) {
        if self.schedule.succeeded() {
            tracing::info!("the SPIFFE agent gives {} again", self.what);
        }
    }

    pub(crate) async fn wait(&mut self, error: &SpiffeError) {
        let pause: Duration = self.schedule.failed();
        if self.schedule.is_first_failure() {
            tracing::warn!(%error, "no new {}; what is there is used while it lives", self.what);
        } else {
            tracing::debug!(%error, ?pause, "still no new {}", self.what);
        }
        tokio::time::sleep(pause).await;
    }
}

/// The wall clock.
pub(crate) fn unix_time() -> UnixTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixTime(since.unwrap_or_default().as_secs())
}
