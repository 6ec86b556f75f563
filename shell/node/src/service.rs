//! One service of a node: a router with its listeners and outgoing links.

use std::net::SocketAddr;
use std::sync::Arc;

use slim_config::{Endpoint, ServerConfig, ServiceConfig, ServiceId};
use slim_crypto::{Rng, os_seed};
use slim_net::listen::ConnectionLimits;
use slim_net::{
    Authenticator, Clock, ConnectionSettings, Listener, TlsAcceptor, TlsConnector, TlsSetupError,
};
use slim_policy::Rules;
use slim_router::{LocalNode, Router, RouterConfig};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info};

use crate::access::{self, listener_without_rules};
use crate::counters::Totals;
use crate::fib_cell::FibCell;
use crate::link_driver::AcceptPolicy;
use crate::links::LinkTable;
use crate::listening::listen;
use crate::node::StartError;
use crate::router_task::{RouterHandle, RouterTask};
use crate::uplink::keep_up;

/// What every task of a service shares.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) local: LocalNode,
    pub(crate) router: RouterHandle,
    pub(crate) fib: Arc<FibCell>,
    pub(crate) links: Arc<LinkTable>,
    pub(crate) totals: Totals,
    drain: watch::Receiver<bool>,
}

impl Shared {
    /// Resolves when the service is to stop.
    pub(crate) fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut drain = self.drain.clone();
        async move {
            // The sender lives as long as the service; its loss means the same.
            let _ = drain.wait_for(|draining| *draining).await;
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }
}

/// A started service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) id: ServiceId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) local_addresses: Vec<SocketAddr>,
    drain: watch::Sender<bool>,
    tasks: JoinSet<()>,
    router_task: AbortHandle,
}

impl Service {
    /// Reads every certificate and binds every listener, then starts everything. `notes` are said by the service's
    /// own task.
    pub(crate) async fn start(config: &ServiceConfig, notes: Vec<String>) -> Result<Self, StartError> {
        info!(target: "slim_service", "starting service");
        let tls_error = |endpoint: &Endpoint, error: TlsSetupError| StartError::Tls {
            service: config.id.to_string(),
            endpoint: endpoint.to_string(),
            error: Box::new(error),
        };
        for client in &config.clients {
            // Read again at each dial; here only so that a wrong path stops the start and not the link.
            let loaded = TlsConnector::load(client).await;
            loaded.map_err(|error| tls_error(&client.endpoint, error))?;
        }
        let mut listeners = Vec::with_capacity(config.servers.len());
        let limits = ConnectionLimits::default();
        for server in &config.servers {
            info!(target: "slim_service", "starting server {}", server.endpoint);
            info!(target: "slim_service", config = %server, "server configured: setting it up");
            let tls = TlsAcceptor::load(server).await;
            let tls = tls.map_err(|error| tls_error(&server.endpoint, error))?;
            let authenticator = Authenticator::load(server).await;
            let authenticator = authenticator.map_err(|error| StartError::Auth {
                service: config.id.to_string(),
                endpoint: server.endpoint.to_string(),
                error: Box::new(error),
            })?;
            let bound = Listener::bind(&server.endpoint, limits.clone()).await;
            let listener = bound.map_err(|error| StartError::Listen {
                service: config.id.to_string(),
                error,
            })?;
            debug!(target: "slim_service", address = %listener.local_address(), "listening");
            listeners.push((listener, tls, authenticator, server.clone()));
        }
        let rules = compile_rules(config)?;
        let mut rng = Rng::from_seed(os_seed());
        let (drain, drain_receiver) = watch::channel(false);
        let (shared, router_task) = wire_up(config, rules, &mut rng, drain_receiver);

        let mut tasks = JoinSet::new();
        let mut local_addresses = Vec::with_capacity(listeners.len());
        tasks.spawn(async move {
            info!(target: "slim_service", "running service");
            for note in notes {
                tracing::warn!(target: "slim_service", "{note}");
            }
        });
        for (listener, tls, authenticator, server) in listeners {
            local_addresses.push(listener.local_address());
            let policy = AcceptPolicy {
                require_header_mac: server.require_header_mac,
                negotiation_timeout: server.negotiation_timeout,
            };
            let settings = ConnectionSettings {
                authenticator: authenticator.map(Arc::new),
                ..ConnectionSettings::from(&server)
            };
            tasks.spawn(listen(Arc::clone(&shared), listener, tls, settings, policy));
        }
        for client in &config.clients {
            let mut seed = [0; 32];
            rng.fill(&mut seed);
            tasks.spawn(keep_up(Arc::clone(&shared), client.clone(), seed));
        }
        Ok(Self {
            id: config.id.clone(),
            shared,
            local_addresses,
            drain,
            tasks,
            router_task,
        })
    }

    /// Whether the service has the rules that it needs.
    pub(crate) fn check(config: &ServiceConfig) -> Result<(), StartError> {
        compile_rules(config).map(|_| ())
    }

    /// From now on these rules hold, for the links that are up as well: what they subscribed to and may not have
    /// any more is withdrawn.
    pub(crate) async fn replace_rules(&self, config: &ServiceConfig) -> Result<(), StartError> {
        let rules = compile_rules(config)?;
        // A service that is stopping has no links whose rules matter.
        let _ = self.shared.router.replace_rules(rules).await;
        Ok(())
    }

    /// Stops accepting and ends every link; returns when the last task is done. Drop it to cut the rest.
    pub(crate) async fn drain(&mut self) {
        self.drain.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.router_task.abort();
    }
}

/// Makes the router, its task and what the others share with it.
fn wire_up(
    config: &ServiceConfig,
    rules: Option<Rules>,
    rng: &mut Rng,
    drain: watch::Receiver<bool>,
) -> (Arc<Shared>, AbortHandle) {
    let clock = Clock::start();
    let mut seed = [0; 32];
    rng.fill(&mut seed);
    let router = Router::new(RouterConfig::default(), seed);
    let fib = FibCell::new(router.fib());
    let links = Arc::new(LinkTable::default());
    let (task, handle) = RouterTask::new(router, rules, clock, Arc::clone(&fib), Arc::clone(&links));
    let router_task = tokio::spawn(task.run()).abort_handle();
    let node_id = config
        .node_id
        .clone()
        .unwrap_or_else(|| format!("node-{}", random_uuid(rng)));
    let shared = Shared {
        clock,
        local: LocalNode {
            node_id,
            deployment_name: String::new(),
            require_header_mac: true,
            enforce_pqc: false,
        },
        router: handle,
        fib,
        links,
        totals: Totals::default(),
        drain,
    };
    (Arc::new(shared), router_task)
}

/// The rules of a service; none if it takes everybody. A service that checks who dials needs rules.
fn compile_rules(config: &ServiceConfig) -> Result<Option<Rules>, StartError> {
    if let Some(server) = listener_without_rules(config) {
        return Err(StartError::NoRules {
            service: config.id.to_string(),
            endpoint: server.endpoint.to_string(),
        });
    }
    let rules = config.authorization.as_ref().map(access::rules).transpose();
    rules.map_err(|error| StartError::Rules {
        service: config.id.to_string(),
        error: Box::new(error),
    })
}

/// What is worth a warning of a service that starts: listeners that anybody in the network can read along.
pub(crate) fn plain_text_note(servers: &[ServerConfig]) -> Option<String> {
    let open: Vec<String> = servers
        .iter()
        .filter(|server| server.tls.is_none() && !server.endpoint.is_loopback())
        .map(|server| server.endpoint.to_string())
        .collect();
    if open.is_empty() {
        return None;
    }
    Some(format!(
        "{} accepts plain text from other machines: everybody on the path can read names, identities and all that \
         is not end-to-end encrypted, and there is no authentication",
        open.join(", ")
    ))
}

/// A random UUID, version 4.
pub(crate) fn random_uuid(rng: &mut Rng) -> String {
    let mut bytes = [0u8; 16];
    rng.fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0F) | 0x40;
    bytes[8] = (bytes[8] & 0x3F) | 0x80;
    let number = u128::from_be_bytes(bytes);
    slim_proto::NameId(number).to_string()
}
