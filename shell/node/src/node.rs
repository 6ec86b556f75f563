//! A node inside a tokio runtime: started from a configuration, drained on request.

use std::net::SocketAddr;
use std::time::Duration;

use slim_config::{AuthorizationConfig, Endpoint, NodeConfig, ServerConfig, ServiceConfig};
use slim_net::{AuthSetupError, ListenError, TlsSetupError};
use slim_policy::RulesError;
use tokio::time::timeout;
use tracing::{debug, info};

use crate::counters::NodeCounters;
use crate::service::{Service, plain_text_note};

/// The services of one configuration, running. Dropping a node cuts every link; [`drain`](Self::drain) says goodbye
/// first.
#[derive(Debug)]
pub struct Node {
    pub(crate) services: Vec<Service>,
}

/// Why a node did not start. What had started is stopped again.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An endpoint cannot be listened on.
    #[error("service {service}: {error}")]
    Listen {
        /// The service's id.
        service: String,
        /// Which endpoint, and why.
        error: ListenError,
    },
    /// A listener cannot check who dials.
    #[error("service {service}, {endpoint}: {error}")]
    Auth {
        /// The service's id.
        service: String,
        /// Which listener.
        endpoint: String,
        /// What is wrong with its `auth`.
        error: Box<AuthSetupError>,
    },
    /// Rules that are none.
    #[error("service {service}, authorization: {error}")]
    Rules {
        /// The service's id.
        service: String,
        /// Which rule, and why.
        error: Box<RulesError>,
    },
    /// A listener checks who dials, and nothing says what they may do.
    #[error(
        "service {service}: {endpoint} checks who dials, and nothing says who may use which name; add rules such as \
         `authorization: {{rules: [{{match: any, subscribe: \"agntcy/demo/{{subject}}\", publish: \
         \"agntcy/demo/*\"}}]}}`, or `authorization: {{default: allow}}` for every name to everybody who is let in"
    )]
    NoRules {
        /// The service's id.
        service: String,
        /// Which listener.
        endpoint: String,
    },
    /// Certificates of a listener or of an outgoing link cannot be used.
    #[error("service {service}, {endpoint}: {error}")]
    Tls {
        /// The service's id.
        service: String,
        /// Whose certificates.
        endpoint: String,
        /// Which certificate, and why.
        error: Box<TlsSetupError>,
    },
}

/// What is worth a warning when a service starts.
pub(crate) fn service_notes(config: &ServiceConfig) -> Vec<String> {
    plain_text_note(&config.servers).into_iter().collect()
}

/// The node was not done in time; the rest was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not drained within {limit:?}; the remaining links were cut")]
pub struct DrainError {
    /// The time it had.
    pub limit: Duration,
}

impl Node {
    /// Starts every service. Needs a tokio runtime; its worker threads do the work. `notes` are logged as
    /// warnings by the first service, after it runs.
    pub async fn start(config: &NodeConfig, notes: Vec<String>) -> Result<Self, StartError> {
        Self::start_services(&config.services, notes).await
    }

    /// Refuses what can be refused without starting: services whose rules are missing or wrong. Neither sockets nor
    /// certificates are looked at.
    pub fn check(config: &NodeConfig) -> Result<(), StartError> {
        config.services.iter().try_for_each(Service::check)
    }

    /// Starts one listener and nothing else, for programs that bring their own node.
    pub async fn serve(server: ServerConfig) -> Result<Self, StartError> {
        Self::start_services(&[ServiceConfig::embedded(server)], Vec::new()).await
    }

    /// Like [`serve`](Self::serve), with rules, which a listener that checks who dials needs.
    pub async fn serve_with_rules(
        server: ServerConfig,
        authorization: Option<AuthorizationConfig>,
    ) -> Result<Self, StartError> {
        let service = ServiceConfig {
            authorization,
            ..ServiceConfig::embedded(server)
        };
        Self::start_services(&[service], Vec::new()).await
    }

    async fn start_services(configs: &[ServiceConfig], mut notes: Vec<String>) -> Result<Self, StartError> {
        let mut services = Vec::with_capacity(configs.len());
        for config in configs {
            info!(target: "slim", "Starting service: {}", config.id);
            notes.extend(service_notes(config));
            services.push(Service::start(config, std::mem::take(&mut notes)).await?);
        }
        Ok(Self { services })
    }

    /// The bound addresses of all listeners on the network, in the order of the configuration.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        let listeners = self.services.iter().flat_map(|service| &service.listeners);
        listeners.filter_map(|listener| listener.address).collect()
    }

    /// Where all listeners listen, with the ports that the system chose, in the order of the configuration.
    pub fn local_endpoints(&self) -> Vec<Endpoint> {
        let listeners = self.services.iter().flat_map(|service| &service.listeners);
        listeners.map(|listener| listener.endpoint.clone()).collect()
    }

    /// Counts per service, in the order of the configuration. Frames of open links are not in yet.
    pub fn counters(&self) -> Vec<NodeCounters> {
        self.services
            .iter()
            .map(|service| service.shared.totals.snapshot())
            .collect()
    }

    /// Stops accepting, ends every link with status OK, and returns when all is done, at the latest after `limit`.
    pub async fn drain(mut self, limit: Duration) -> Result<(), DrainError> {
        let drain_all = async {
            // One after the other would give the last service no time; starting them together does.
            let mut drains = tokio::task::JoinSet::new();
            for mut service in self.services.drain(..) {
                drains.spawn(async move {
                    service.drain().await;
                    debug!(counters = ?service.shared.totals.snapshot(), "service drained");
                });
            }
            while drains.join_next().await.is_some() {}
        };
        timeout(limit, drain_all).await.map_err(|_| DrainError { limit })
    }
}
