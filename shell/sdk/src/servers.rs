//! Nodes that run inside the service, on its background thread.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slim_config::{AuthorizationConfig, Endpoint, ServerConfig};
use slim_node::Node;
use tokio::task::JoinSet;

use crate::error::Error;

/// Longest goodbye of a stopped node to its links (wire-routing A14, "drain timeout").
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Every node that was started and not stopped.
#[derive(Debug, Default)]
pub(crate) struct Servers {
    running: Mutex<Vec<Server>>,
}

#[derive(Debug)]
struct Server {
    configured: Endpoint,
    bound: Endpoint,
    node: Node,
}

impl Servers {
    /// Starts a node with one listener. A taken port is the operating system's to refuse.
    pub(crate) async fn start(
        &self,
        config: ServerConfig,
        authorization: Option<AuthorizationConfig>,
    ) -> Result<Endpoint, Error> {
        let configured = config.endpoint.clone();
        let error = |cause| Error::Server {
            endpoint: configured.to_string(),
            cause,
        };
        let node = Node::serve_with_rules(config, authorization)
            .await
            .map_err(|cause| error(Error::cause(cause)))?;
        let Some(bound) = node.local_endpoints().into_iter().next() else {
            return Err(error(Error::cause(NoAddress)));
        };
        self.lock().push(Server {
            configured,
            bound: bound.clone(),
            node,
        });
        Ok(bound)
    }

    /// Stops the node that was started for this endpoint, or that listens there.
    pub(crate) async fn stop(&self, endpoint: &str) -> Result<(), Error> {
        let unknown = || Error::ServerUnknown {
            endpoint: endpoint.to_owned(),
        };
        let wanted: Endpoint = endpoint.parse().map_err(|_| unknown())?;
        let server = {
            let mut running = self.lock();
            let matches = |server: &Server| {
                [&server.configured, &server.bound]
                    .iter()
                    .any(|own| own.is_same_socket(&wanted))
            };
            let position = running.iter().position(matches).ok_or_else(unknown)?;
            running.remove(position)
        };
        drain(server, DRAIN_MAX).await;
        Ok(())
    }

    /// Stops every node together.
    pub(crate) async fn stop_all(&self, limit: Duration) {
        let servers = std::mem::take(&mut *self.lock());
        let mut drains = JoinSet::new();
        for server in servers {
            drains.spawn(drain(server, limit));
        }
        while drains.join_next().await.is_some() {}
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Server>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn drain(server: Server, limit: Duration) {
    if let Err(error) = server.node.drain(limit).await {
        tracing::warn!(endpoint = %server.configured, %error, "the node is stopped");
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the node listens nowhere")]
struct NoAddress;
