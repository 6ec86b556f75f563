//! The parts of a service that come and go while it runs: listeners and outgoing links, each with its own end.

use std::net::SocketAddr;
use std::sync::Arc;

use slim_config::{ClientConfig, Endpoint, ServerConfig};
use slim_net::Listener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::listening::{Serving, listen};
use crate::service::Shared;
use crate::uplink::keep_up;

/// The task of a part and its switch. Dropping it cuts the part; `stop` lets it say goodbye.
#[derive(Debug)]
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    /// One task; the set ends it when it is dropped.
    task: JoinSet<()>,
}

impl Running {
    fn start<F>(shared: &Shared, part: impl FnOnce(Arc<Shared>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopping) = watch::channel(false);
        let mut task = JoinSet::new();
        task.spawn(part(Arc::new(shared.with_drain(stopping))));
        Self { stop, task }
    }

    /// Asks the part to end.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// True if there is nothing left of it.
    pub(crate) fn has_ended(&mut self) -> bool {
        while self.task.try_join_next().is_some() {}
        self.task.is_empty()
    }

    /// Returns when the part has ended.
    pub(crate) async fn ended(&mut self) {
        while self.task.join_next().await.is_some() {}
    }
}

/// A listener that accepts.
#[derive(Debug)]
pub(crate) struct RunningListener {
    pub(crate) config: ServerConfig,
    /// Where it listens, with the port that the system chose.
    pub(crate) endpoint: Endpoint,
    /// The same as an address, if it is one of the network.
    pub(crate) address: Option<SocketAddr>,
    serving: watch::Sender<Arc<Serving>>,
    pub(crate) running: Running,
}

impl RunningListener {
    pub(crate) fn start(shared: &Shared, config: ServerConfig, listener: Listener, serving: Serving) -> Self {
        let (endpoint, address) = (listener.local_endpoint().clone(), listener.local_address());
        let (sender, receiver) = watch::channel(Arc::new(serving));
        Self {
            config,
            endpoint,
            address,
            serving: sender,
            running: Running::start(shared, |shared| listen(shared, listener, receiver)),
        }
    }

    /// Serves connections that are accepted from now on like this.
    pub(crate) fn replace(&mut self, config: ServerConfig, serving: Serving) {
        self.config = config;
        self.serving.send_replace(Arc::new(serving));
    }
}

/// An outgoing link that is kept up.
#[derive(Debug)]
pub(crate) struct RunningUplink {
    pub(crate) config: ClientConfig,
    pub(crate) running: Running,
}

impl RunningUplink {
    pub(crate) fn start(shared: &Shared, config: ClientConfig, seed: [u8; 32]) -> Self {
        let own = config.clone();
        Self {
            config,
            running: Running::start(shared, |shared| keep_up(shared, own, seed)),
        }
    }
}
