//! One listener: accepts sockets and serves their connections until it is to stop.

use std::sync::Arc;

use slim_config::ServerConfig;
use slim_net::grpc::server::Peer;
use slim_net::listen::AcceptedSocket;
use slim_net::{
    AuthSetupError, Authenticator, ConnectionSettings, Listener, TlsAcceptor, TlsSetupError, serve_connection,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::debug;

use crate::accepting::{AcceptPolicy, accept};
use crate::service::Shared;

/// How a listener treats a connection. Replaced as a whole; a connection keeps what it was accepted with.
#[derive(Debug)]
pub(crate) struct Serving {
    tls: Option<TlsAcceptor>,
    settings: Arc<ConnectionSettings>,
    policy: AcceptPolicy,
}

/// Why a listener cannot serve as it is configured.
#[derive(Debug)]
pub(crate) enum ServingError {
    Tls(TlsSetupError),
    Auth(AuthSetupError),
}

impl Serving {
    /// Reads the certificates and keys that are configured.
    pub(crate) async fn load(config: &ServerConfig) -> Result<Self, ServingError> {
        let tls = TlsAcceptor::load(config).await.map_err(ServingError::Tls)?;
        let authenticator = Authenticator::load(config).await.map_err(ServingError::Auth)?;
        Ok(Self {
            tls,
            settings: Arc::new(ConnectionSettings {
                authenticator: authenticator.map(Arc::new),
                ..ConnectionSettings::from(config)
            }),
            policy: AcceptPolicy {
                require_header_mac: config.require_header_mac,
                enforce_pqc: config.enforce_pqc,
                negotiation_timeout: config.negotiation_timeout,
                serves_older_wires: config.serves_older_wires(),
            },
        })
    }
}

/// Accepts until the listener is to stop; returns when the last connection is gone.
pub(crate) async fn listen(shared: Arc<Shared>, listener: Listener, serving: watch::Receiver<Arc<Serving>>) {
    let mut connections = JoinSet::new();
    let mut freshness = std::pin::pin!(keep_certificates_fresh(serving.clone()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.draining() => break,
            () = &mut freshness => continue,
            // Finished connections leave the set; an empty set never gets here.
            Some(_) = connections.join_next() => continue,
        };
        let shared = Arc::clone(&shared);
        let (tls, settings, policy) = {
            let serving = serving.borrow();
            (serving.tls.clone(), Arc::clone(&serving.settings), serving.policy)
        };
        // Two kinds of task, so that a plain-text connection carries no TLS state.
        if let Some(tls) = tls {
            connections.spawn(secure(shared, tls, settings, policy, accepted));
        } else {
            connections.spawn(async move {
                serve(&shared, &settings, policy, accepted.socket, accepted.peer.into()).await;
                drop(accepted.permit);
            });
        }
    }
    // The port is closed before the links end: who dials again is refused at once and tries elsewhere
    // (wire-routing C31).
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Has the certificates in use read again when their files change. Never returns by itself.
async fn keep_certificates_fresh(mut serving: watch::Receiver<Arc<Serving>>) {
    loop {
        let tls = serving.borrow_and_update().tls.clone();
        let keep_fresh = async {
            if let Some(tls) = tls {
                tls.keep_fresh().await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = keep_fresh => {}
            // Whoever could replace them is gone when the listener is about to stop.
            changed = serving.changed() => if changed.is_err() {
                std::future::pending::<()>().await;
            },
        }
    }
}

/// Handshake, then the connection. The limits on connections hold from the first byte on; the time to open a call
/// runs when the handshake is done (AT-27).
async fn secure(
    shared: Arc<Shared>,
    tls: TlsAcceptor,
    settings: Arc<ConnectionSettings>,
    policy: AcceptPolicy,
    accepted: AcceptedSocket,
) {
    let address = accepted.peer;
    let handshake = tokio::select! {
        handshake = tls.accept(accepted.socket, settings.opening_timeout) => handshake,
        // Nothing was promised to this peer yet.
        () = shared.draining() => return,
    };
    match handshake {
        Ok(secured) => {
            let peer = Peer {
                address,
                certificate: secured.certificate,
            };
            serve(&shared, &settings, policy, secured.io, peer).await;
        }
        Err(reason) => {
            shared.totals.update(|totals| totals.tls_refused += 1);
            debug!(peer = %address, %reason, "no TLS");
        }
    }
    drop(accepted.permit);
}

async fn serve<Io>(
    shared: &Arc<Shared>,
    settings: &ConnectionSettings,
    policy: AcceptPolicy,
    io: Io,
    peer: Peer,
) where
    Io: AsyncRead + AsyncWrite + Unpin + Send,
{
    let address = peer.address;
    let end = serve_connection(io, peer, settings, shared.draining(), |call| {
        accept(Arc::clone(shared), policy, call)
    })
    .await;
    debug!(peer = %address, reason = %end, "connection closed");
    let refused = settings.authenticator.as_ref();
    let refused = refused.map_or(0, |authenticator| authenticator.take_refused());
    if refused > 0 {
        shared.totals.update(|totals| totals.auth_refused += refused);
    }
}
