//! A service: the background thread, its applications and its connections.

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use slim_auth::{Identity, PayloadSignatures, Verifier};
use slim_config::{AuthorizationConfig, ClientConfig, Endpoint, ServerConfig};
use slim_crypto::SignatureKind;
use slim_proto::FullName;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

use crate::app::App;
use crate::driver::Driver;
use crate::driver::connection::{ConnectionId, Connections};
use crate::error::Error;
use crate::identity::{
    Followed, FromAgent, IdentityProvider, IdentitySetupError, IdentityVerifier, KeyFetcher,
};
use crate::invitation::AppOptions;
use crate::request::{self, Request, Requests};
use crate::servers::Servers;
use crate::warnings;

/// What an abandoned service may still take to finish its operations and to write its queues out.
const ABANDONED_FLUSH: Duration = Duration::from_secs(1);

/// Applications and connections of a process, driven by one background thread. Clones are the same service; it
/// stops with [`shutdown`](Self::shutdown), or in the background when the last handle, its applications'
/// included, is dropped.
#[derive(Clone)]
pub struct Service {
    handle: Arc<ServiceHandle>,
}

/// The one owner of a service on the user's side.
pub(crate) struct ServiceHandle {
    requests: Requests,
    connections: Arc<Connections>,
    servers: Arc<Servers>,
    runtime: Handle,
    /// Closed by the background thread when it is done.
    stopped: watch::Receiver<()>,
}

impl ServiceHandle {
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for ServiceHandle {
    fn drop(&mut self) {
        self.requests
            .wake
            .leave(|left| left.abandoned_service = Some(ABANDONED_FLUSH));
    }
}

impl Service {
    /// Starts the background thread. Needs no runtime of the caller.
    pub fn new() -> Result<Self, Error> {
        let start_error = |error| Error::Start(Error::cause(error));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(start_error)?;
        let (requests, queues) = request::channel();
        let connections = Arc::new(Connections::default());
        let servers = Arc::new(Servers::default());
        let (running, stopped) = watch::channel(());
        let handle = runtime.handle().clone();
        let driver = Driver::new(queues, Arc::clone(&connections), Arc::clone(&servers));
        thread::Builder::new()
            .name("slim-service".to_owned())
            .spawn(move || {
                // The thread sits in `block_on` for its whole life: no other thread has to poll the reactor.
                runtime.block_on(driver.run());
                // A name lookup under way must not keep the process.
                runtime.shutdown_background();
                drop(running);
            })
            .map_err(start_error)?;
        let handle = ServiceHandle {
            requests,
            connections,
            servers,
            runtime: handle,
            stopped,
        };
        Ok(Self {
            handle: Arc::new(handle),
        })
    }

    /// Creates an application with this name (without id; the id follows from the identity). Resolves when the
    /// connected nodes know the name; `options` is a `Direction` or [`AppOptions`]. Without connection it is known to the applications of this service only.
    pub async fn create_app(
        &self,
        name: FullName,
        identity: Identity,
        verifier: Verifier,
        options: impl Into<AppOptions>,
    ) -> Result<App, Error> {
        if identity.secret_is_weak() {
            warnings::weak_secret();
        }
        let (options, requests) = (options.into(), &self.handle.requests);
        if options.pqc && identity.signing_key().kind() != SignatureKind::Ed25519 {
            return Err(IdentitySetupError::NotPostQuantum.into());
        }
        if options.payload_signatures == PayloadSignatures::MayBeAbsent {
            warnings::unsigned_payloads();
        }
        let issuers = options.issuers.clone();
        let fetcher = KeyFetcher::start(&self.handle.runtime, verifier, issuers.clone()).await?;
        let KeyFetcher {
            verifier,
            questions: keys,
            binding,
        } = fetcher;
        let create = |reply| Request::CreateApp {
            name,
            identity,
            verifier,
            keys,
            options,
            reply,
        };
        let app = requests.ask(create).await?;
        binding.to(app.shared.key, requests.clone());
        Ok(App::new(app, requests.clone(), issuers, Arc::clone(&self.handle)))
    }

    /// Creates an application with an identity and a verifier as they are configured. Files among their settings are
    /// read again when they change, while the application runs; a SPIRE agent is asked first, and listened to then.
    pub async fn create_app_from(
        &self,
        name: FullName,
        provider: IdentityProvider,
        verifier: IdentityVerifier,
        options: impl Into<AppOptions>,
    ) -> Result<App, Error> {
        let runtime = &self.handle.runtime;
        let options = options.into();
        let kind = match options.pqc {
            true => SignatureKind::Ed25519,
            false => SignatureKind::P256,
        };
        let agent = FromAgent::fetch(runtime, &provider, &verifier, kind).await?;
        let made = runtime.spawn_blocking(move || {
            let made = Followed::new(provider, verifier, &agent, kind);
            (made, agent)
        });
        let (made, agent) = made.await.map_err(|_| Error::Closed)?;
        let (followed, verifier) = made?;
        let identity = followed.identity().clone();
        let app = self.create_app(name, identity, verifier, options).await?;
        followed.follow(runtime, app.weak());
        agent.follow(runtime, &app.weak());
        Ok(app)
    }

    /// Connects to a node: ten dials one second apart unless the configuration says otherwise, then an error; at
    /// once if the two sides do not trust each other, with a [`DialError`](crate::DialError) as its cause.
    /// Resolves when the node confirmed the names of every application. A lost link is dialled again for ever and
    /// the names are restored. One endpoint has one link; each call needs its own [`disconnect`](Self::disconnect).
    pub async fn connect(&self, config: ClientConfig) -> Result<ConnectionId, Error> {
        match &config.tls {
            None if !config.endpoint.is_loopback() => warnings::plain_text(&config.endpoint),
            Some(tls) if tls.skip_verify => warnings::unverified(&config.endpoint),
            None | Some(_) => {}
        }
        let config = Box::new(config);
        self.handle
            .requests
            .ask(|reply| Request::Connect { config, reply })
            .await
    }

    /// Takes one `connect` back; the last one ends the link after writing its queue out.
    pub async fn disconnect(&self, connection: ConnectionId) -> Result<(), Error> {
        self.handle
            .requests
            .ask(|reply| Request::Disconnect { connection, reply })
            .await
    }

    /// The connection to this endpoint, in any spelling of it.
    pub fn connection(&self, endpoint: &str) -> Option<ConnectionId> {
        self.handle.connections.find(endpoint)
    }

    /// Runs a node on the background thread and returns where it listens. Applications of this process reach it
    /// as everybody does, with [`connect`](Self::connect).
    pub async fn run_server(&self, config: ServerConfig) -> Result<Endpoint, Error> {
        self.run_server_with_rules(config, None).await
    }

    /// Like [`run_server`](Self::run_server), with rules for who may use which name. A server that checks who dials
    /// (`auth`, or `tls.client_ca`) does not start without.
    pub async fn run_server_with_rules(
        &self,
        config: ServerConfig,
        authorization: Option<AuthorizationConfig>,
    ) -> Result<Endpoint, Error> {
        let servers = Arc::clone(&self.handle.servers);
        let task = self
            .handle
            .runtime
            .spawn(async move { servers.start(config, authorization).await });
        // The task ends early only when the runtime does.
        task.await.unwrap_or(Err(Error::Closed))
    }

    /// Stops the node that listens at this endpoint, as it was given to `run_server` or as it was returned.
    pub async fn stop_server(&self, endpoint: &str) -> Result<(), Error> {
        let (servers, endpoint) = (Arc::clone(&self.handle.servers), endpoint.to_owned());
        let task = self
            .handle
            .runtime
            .spawn(async move { servers.stop(&endpoint).await });
        task.await.unwrap_or(Err(Error::Closed))
    }

    /// Stops the service. Operations under way and the queues of the links get at most `flush`; then every open
    /// call of every handle ends with [`Error::Closed`]. Sessions are not left: close applications first for that.
    pub async fn shutdown(&self, flush: Duration) {
        // An error means that it stopped or stops already.
        let _ = self
            .handle
            .requests
            .control
            .send(Request::Shutdown { flush })
            .await;
        let mut stopped = self.handle.stopped.clone();
        while stopped.changed().await.is_ok() {}
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").finish_non_exhaustive()
    }
}

impl fmt::Debug for ServiceHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceHandle").finish_non_exhaustive()
    }
}
