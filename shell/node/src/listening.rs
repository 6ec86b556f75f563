//! One listener: accepts sockets and serves their connections until the service drains.

use std::sync::Arc;

use slim_net::grpc::server::Peer;
use slim_net::listen::AcceptedSocket;
use slim_net::{ConnectionSettings, Listener, TlsAcceptor, serve_connection};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tracing::debug;

use crate::link_driver::{AcceptPolicy, accept};
use crate::service::Shared;

/// Accepts until the service drains; returns when the last connection is gone.
pub(crate) async fn listen(
    shared: Arc<Shared>,
    listener: Listener,
    tls: Option<TlsAcceptor>,
    settings: ConnectionSettings,
    policy: AcceptPolicy,
) {
    let settings = Arc::new(settings);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.draining() => break,
            // Finished connections leave the set; an empty set never gets here.
            Some(_) = connections.join_next() => continue,
        };
        let (shared, settings) = (Arc::clone(&shared), Arc::clone(&settings));
        // Two kinds of task, so that a plain-text connection carries no TLS state.
        if let Some(tls) = tls.clone() {
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
}
