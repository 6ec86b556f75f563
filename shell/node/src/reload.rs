//! A running node under a changed configuration: what can change does, what cannot is named.
//!
//! A change has two steps. First everything new is read, checked and bound, and nothing running is touched: a broken
//! file, certificate or port leaves the node as it was. Then the changes are carried out, which cannot fail.

use slim_config::{ClientConfig, NodeConfig, ServerConfig, ServiceConfig};
use slim_net::Listener;
use tracing::info;

use crate::listening::Serving;
use crate::node::{Node, StartError, service_notes};
use crate::parts::{RunningListener, RunningUplink};
use crate::service::{Service, bind, check_clients, load_serving};

/// What a change did, each a line for the log.
#[derive(Debug, Default)]
pub struct Changes {
    /// What is different from now on.
    pub done: Vec<String>,
    /// What the file says and a restart alone can do: the paths of keys.
    pub needs_restart: Vec<String>,
    /// What an operator should know of what is different.
    pub notes: Vec<String>,
}

/// What is ready to replace the parts of a running service.
struct Prepared {
    listeners: Vec<PreparedListener>,
}

struct PreparedListener {
    config: ServerConfig,
    serving: Serving,
    /// Which of the running listeners goes on like this, or the new one.
    socket: Socket,
}

enum Socket {
    Running(usize),
    New(Listener),
}

impl Node {
    /// Changes from one configuration, which is running, to another one.
    ///
    /// Services, listeners and outgoing links come and go; settings of a listener hold for connections from now on;
    /// certificates and keys are read again; rules hold at once. Links that are open stay, unless their listener or
    /// client is gone or a client's own settings changed.
    pub async fn change(&mut self, old: &NodeConfig, new: &NodeConfig) -> Result<Changes, StartError> {
        Self::check(new)?;
        let mut prepared = Vec::with_capacity(new.services.len());
        for config in &new.services {
            let running = self.services.iter().find(|service| service.id == config.id);
            prepared.push(match running {
                Some(service) => Some(service.prepare(config).await?),
                None => None,
            });
        }
        // The one step that can fail and has to be last: a new service takes its ports when it starts.
        let mut started = Vec::new();
        for (config, prepared) in new.services.iter().zip(&prepared) {
            if prepared.is_none() {
                info!(target: "slim", "Starting service: {}", config.id);
                started.push(Service::start(config, service_notes(config)).await?);
            }
        }

        let mut changes = Changes::default();
        changes.compare_process(old, new);
        for (config, prepared) in new.services.iter().zip(prepared) {
            let service = self.services.iter_mut().find(|service| service.id == config.id);
            if let (Some(service), Some(prepared)) = (service, prepared) {
                let before = old.services.iter().find(|before| before.id == config.id);
                changes.compare_service(before, config);
                service.carry_out(config, prepared, &mut changes).await;
            }
        }
        for service in started {
            changes.done.push(format!("service {} started", service.id));
            self.services.push(service);
        }
        let is_gone = |service: &mut Service| !new.services.iter().any(|config| config.id == service.id);
        for mut service in self.services.extract_if(.., is_gone) {
            changes.done.push(format!("service {} stopped", service.id));
            tokio::spawn(async move { service.drain().await });
        }
        Ok(changes)
    }
}

impl Changes {
    /// The blocks around the services. `tracing.log_level` and `tracing.filters` are the log's business.
    fn compare_process(&mut self, old: &NodeConfig, new: &NodeConfig) {
        for (is_other, key) in [
            (old.runtime.n_cores != new.runtime.n_cores, "runtime.n_cores"),
            (
                old.runtime.thread_name != new.runtime.thread_name,
                "runtime.thread_name",
            ),
            (
                old.tracing.display_thread_names != new.tracing.display_thread_names,
                "tracing.display_thread_names",
            ),
            (
                old.tracing.display_thread_ids != new.tracing.display_thread_ids,
                "tracing.display_thread_ids",
            ),
        ] {
            if is_other {
                self.needs_restart.push(key.to_owned());
            }
        }
        if old.runtime.drain_timeout != new.runtime.drain_timeout {
            self.done.push("runtime.drain_timeout changed".to_owned());
        }
    }

    fn compare_service(&mut self, old: Option<&ServiceConfig>, new: &ServiceConfig) {
        let Some(old) = old else {
            return;
        };
        if old.node_id != new.node_id {
            self.needs_restart.push(format!("services.{}.node_id", new.id));
        }
        if old.servers != new.servers {
            self.notes.extend(service_notes(new));
        }
        if old.authorization != new.authorization {
            self.done.push(format!("service {}: rules changed", new.id));
        }
    }
}

impl Service {
    /// Reads what this service would need, and takes the ports that it does not have yet.
    async fn prepare(&self, config: &ServiceConfig) -> Result<Prepared, StartError> {
        check_clients(config).await?;
        let mut is_taken = vec![false; self.listeners.len()];
        let mut listeners = Vec::with_capacity(config.servers.len());
        for server in &config.servers {
            let running = self
                .listeners
                .iter()
                .zip(&is_taken)
                .position(|(listener, taken)| {
                    !taken && listener.config.endpoint.is_same_socket(&server.endpoint)
                });
            let (socket, serving) = match running {
                Some(index) => {
                    is_taken[index] = true;
                    (Socket::Running(index), load_serving(config, server).await?)
                }
                None => {
                    let (listener, serving) = bind(config, server, &self.limits).await?;
                    (Socket::New(listener), serving)
                }
            };
            listeners.push(PreparedListener {
                config: server.clone(),
                serving,
                socket,
            });
        }
        Ok(Prepared { listeners })
    }

    async fn carry_out(&mut self, config: &ServiceConfig, prepared: Prepared, changes: &mut Changes) {
        // Rules first: what a new listener lets in must meet them.
        if self.replace_rules(config).await.is_err() {
            debug_assert!(false, "they were checked before");
        }
        self.replace_listeners(prepared.listeners, changes);
        self.replace_uplinks(&config.clients, changes);
        // What ended meanwhile needs no place any more.
        self.ending.retain_mut(|part| !part.has_ended());
    }

    fn replace_listeners(&mut self, prepared: Vec<PreparedListener>, changes: &mut Changes) {
        let id = self.id.clone();
        let mut running: Vec<Option<RunningListener>> = self.listeners.drain(..).map(Some).collect();
        for part in prepared {
            let endpoint = part.config.endpoint.clone();
            match part.socket {
                Socket::Running(index) => {
                    let Some(mut listener) = running.get_mut(index).and_then(Option::take) else {
                        debug_assert!(false, "each is taken once");
                        continue;
                    };
                    if listener.config != part.config {
                        let how = "settings hold for new connections";
                        changes.done.push(format!("service {id}: {endpoint}: {how}"));
                    }
                    listener.replace(part.config, part.serving);
                    self.listeners.push(listener);
                }
                Socket::New(listener) => {
                    changes.done.push(format!("service {id}: {endpoint}: listening"));
                    self.start_listener(part.config, listener, part.serving);
                }
            }
        }
        for listener in running.into_iter().flatten() {
            let endpoint = &listener.config.endpoint;
            changes
                .done
                .push(format!("service {id}: {endpoint}: not listening any more"));
            listener.running.stop();
            self.ending.push(listener.running);
        }
    }

    /// A client whose settings are other ones is another client: its link ends and the new one is dialled.
    fn replace_uplinks(&mut self, clients: &[ClientConfig], changes: &mut Changes) {
        let id = self.id.clone();
        let mut running: Vec<RunningUplink> = self.uplinks.drain(..).collect();
        let mut new = Vec::new();
        for client in clients {
            match running.iter().position(|uplink| uplink.config == *client) {
                Some(index) => self.uplinks.push(running.swap_remove(index)),
                None => new.push(client),
            }
        }
        for uplink in running {
            let endpoint = &uplink.config.endpoint;
            changes
                .done
                .push(format!("service {id}: link to {endpoint}: ended"));
            uplink.running.stop();
            self.ending.push(uplink.running);
        }
        for client in new {
            changes
                .done
                .push(format!("service {id}: link to {}: dialled", client.endpoint));
            self.start_uplink(client.clone());
        }
    }
}
