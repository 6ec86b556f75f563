//! One service of a node: a router with its listeners and outgoing links.

use std::sync::Arc;

use slim_config::{ClientConfig, ServerConfig, ServiceConfig, ServiceId};
use slim_crypto::{Rng, os_seed};
use slim_net::listen::ConnectionLimits;
use slim_net::{Clock, Listener, TlsConnector};
use slim_policy::Rules;
use slim_router::{LocalNode, Router, RouterConfig};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info};

use crate::access::{self, listener_without_rules};
use crate::counters::Totals;
use crate::fib_cell::FibCell;
use crate::links::LinkTable;
use crate::listening::{Serving, ServingError};
use crate::node::StartError;
use crate::older::Older;
use crate::parts::{Running, RunningListener, RunningUplink};
use crate::router_task::{RouterHandle, RouterTask};

/// What every task of a service shares, and the end of the part that it belongs to.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) local: LocalNode,
    pub(crate) router: RouterHandle,
    pub(crate) fib: Arc<FibCell>,
    pub(crate) links: Arc<LinkTable>,
    pub(crate) older: Arc<Older>,
    pub(crate) totals: Arc<Totals>,
    drain: watch::Receiver<bool>,
}

impl Shared {
    /// The same for one part of the service, which has its own end.
    pub(crate) fn with_drain(&self, drain: watch::Receiver<bool>) -> Self {
        Self {
            clock: self.clock,
            local: self.local.clone(),
            router: self.router.clone(),
            fib: Arc::clone(&self.fib),
            links: Arc::clone(&self.links),
            older: Arc::clone(&self.older),
            totals: Arc::clone(&self.totals),
            drain,
        }
    }

    /// Resolves when this part of the service is to stop.
    pub(crate) fn draining(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut drain = self.drain.clone();
        async move {
            // The sender lives as long as the part; its loss means the same.
            let _ = drain.wait_for(|draining| *draining).await;
        }
    }
}

/// A started service.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) id: ServiceId,
    pub(crate) shared: Arc<Shared>,
    pub(crate) listeners: Vec<RunningListener>,
    pub(crate) uplinks: Vec<RunningUplink>,
    /// Parts that were told to end while the service goes on.
    pub(crate) ending: Vec<Running>,
    /// Of all listeners together.
    pub(crate) limits: ConnectionLimits,
    /// What is logged by a thread of the runtime, which then has its name.
    first_words: JoinSet<()>,
    rng: Rng,
    /// Those that own the routers.
    router_tasks: [AbortHandle; 2],
}

impl Service {
    /// Reads every certificate and binds every listener, then starts everything. `notes` are said by the service's
    /// own task.
    pub(crate) async fn start(config: &ServiceConfig, notes: Vec<String>) -> Result<Self, StartError> {
        info!(target: "slim_service", "starting service");
        check_clients(config).await?;
        let limits = ConnectionLimits::default();
        let mut listeners = Vec::with_capacity(config.servers.len());
        for server in &config.servers {
            listeners.push(bind(config, server, &limits).await?);
        }
        let rules = compile_rules(config)?;
        let mut rng = Rng::from_seed(os_seed());
        let (shared, router_tasks) = wire_up(config, rules, &mut rng);
        let mut first_words = JoinSet::new();
        first_words.spawn(async move {
            info!(target: "slim_service", "running service");
            for note in notes {
                tracing::warn!(target: "slim_service", "{note}");
            }
        });
        let mut service = Self {
            id: config.id.clone(),
            shared: Arc::new(shared),
            listeners: Vec::with_capacity(listeners.len()),
            uplinks: Vec::with_capacity(config.clients.len()),
            ending: Vec::new(),
            limits,
            first_words,
            rng,
            router_tasks,
        };
        for (server, (listener, serving)) in config.servers.iter().zip(listeners) {
            service.start_listener(server.clone(), listener, serving);
        }
        for client in &config.clients {
            service.start_uplink(client.clone());
        }
        Ok(service)
    }

    pub(crate) fn start_listener(&mut self, config: ServerConfig, listener: Listener, serving: Serving) {
        let running = RunningListener::start(&self.shared, config, listener, serving);
        self.listeners.push(running);
    }

    pub(crate) fn start_uplink(&mut self, config: ClientConfig) {
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        self.uplinks
            .push(RunningUplink::start(&self.shared, config, seed));
    }

    /// Whether the service has the rules that it needs.
    pub(crate) fn check(config: &ServiceConfig) -> Result<(), StartError> {
        compile_rules(config).map(|_| ())
    }

    /// From now on these rules hold, for the links that are up as well: what they subscribed to and may not have
    /// any more is withdrawn.
    pub(crate) async fn replace_rules(&self, config: &ServiceConfig) -> Result<(), StartError> {
        let rules = compile_rules(config)?;
        self.shared.older.replace_rules(rules.clone()).await;
        // A service that is stopping has no links whose rules matter.
        let _ = self.shared.router.replace_rules(rules).await;
        Ok(())
    }

    /// Stops accepting and ends every link; returns when the last task is done. Drop it to cut the rest.
    pub(crate) async fn drain(&mut self) {
        let listeners = self.listeners.iter_mut().map(|part| &mut part.running);
        let uplinks = self.uplinks.iter_mut().map(|part| &mut part.running);
        let mut parts: Vec<&mut Running> = listeners.chain(uplinks).chain(&mut self.ending).collect();
        for part in &parts {
            part.stop();
        }
        for part in &mut parts {
            part.ended().await;
        }
        while self.first_words.join_next().await.is_some() {}
    }
}

/// Reads the certificates of the clients. They are read again at each dial; here only so that a wrong path stops the
/// start and not the link.
pub(crate) async fn check_clients(config: &ServiceConfig) -> Result<(), StartError> {
    for client in &config.clients {
        let loaded = TlsConnector::load(client).await;
        loaded.map_err(|error| StartError::Tls {
            service: config.id.to_string(),
            endpoint: client.endpoint.to_string(),
            error: Box::new(error),
        })?;
    }
    Ok(())
}

/// How a listener shall serve: its certificates and keys.
pub(crate) async fn load_serving(
    config: &ServiceConfig,
    server: &ServerConfig,
) -> Result<Serving, StartError> {
    let service = config.id.to_string();
    let endpoint = server.endpoint.to_string();
    Serving::load(server).await.map_err(|error| match error {
        ServingError::Tls(error) => StartError::Tls {
            service,
            endpoint,
            error: Box::new(error),
        },
        ServingError::Auth(error) => StartError::Auth {
            service,
            endpoint,
            error: Box::new(error),
        },
    })
}

/// Reads what a listener needs and takes its port.
pub(crate) async fn bind(
    config: &ServiceConfig,
    server: &ServerConfig,
    limits: &ConnectionLimits,
) -> Result<(Listener, Serving), StartError> {
    info!(target: "slim_service", "starting server {}", server.endpoint);
    info!(target: "slim_service", config = %server, "server configured: setting it up");
    let serving = load_serving(config, server).await?;
    let bound = Listener::bind(&server.endpoint, limits.clone()).await;
    let listener = bound.map_err(|error| StartError::Listen {
        service: config.id.to_string(),
        error,
    })?;
    debug!(target: "slim_service", endpoint = %listener.local_endpoint(), "listening");
    Ok((listener, serving))
}

impl Drop for Service {
    fn drop(&mut self) {
        self.router_tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Makes the routers, their tasks and what the others share with them.
fn wire_up(config: &ServiceConfig, rules: Option<Arc<Rules>>, rng: &mut Rng) -> (Shared, [AbortHandle; 2]) {
    let clock = Clock::start();
    let mut seed = [0; 32];
    rng.fill(&mut seed);
    let router = Router::new(RouterConfig::default(), seed);
    let fib = FibCell::new(router.fib());
    let links = Arc::new(LinkTable::default());
    let totals = Arc::default();
    let (older, older_task) = Older::start(rules.clone(), Arc::clone(&totals));
    let (task, handle) = RouterTask::new(router, rules, clock, Arc::clone(&fib), Arc::clone(&links));
    let router_task = tokio::spawn(task.run()).abort_handle();
    let node_id = config
        .node_id
        .clone()
        .unwrap_or_else(|| format!("node-{}", rng.uuid()));
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
        older,
        totals,
        drain: watch::channel(false).1,
    };
    (shared, [router_task, older_task])
}

/// The rules of a service; none if it takes everybody. A service that checks who dials needs rules.
fn compile_rules(config: &ServiceConfig) -> Result<Option<Arc<Rules>>, StartError> {
    if let Some(server) = listener_without_rules(config) {
        return Err(StartError::NoRules {
            service: config.id.to_string(),
            endpoint: server.endpoint.to_string(),
        });
    }
    let rules = config.authorization.as_ref().map(access::rules).transpose();
    let rules = rules.map_err(|error| StartError::Rules {
        service: config.id.to_string(),
        error: Box::new(error),
    })?;
    Ok(rules.map(Arc::new))
}

/// What is worth a warning of a service that starts: listeners that anybody in the network can read along.
pub(crate) fn plain_text_note(servers: &[ServerConfig]) -> Option<String> {
    let is_open = |server: &&ServerConfig| server.tls.is_none() && !server.endpoint.is_loopback();
    let open: Vec<String> = servers
        .iter()
        .filter(is_open)
        .map(|server| server.endpoint.to_string())
        .collect();
    if open.is_empty() {
        return None;
    }
    let more = match servers.iter().filter(is_open).any(|server| server.auth.is_some()) {
        true => "and can use the passwords and tokens that are asked for",
        false => "and there is no authentication",
    };
    Some(format!(
        "{} accepts plain text from other machines: everybody on the path can read names, identities and all that \
         is not end-to-end encrypted, {more}",
        open.join(", ")
    ))
}
