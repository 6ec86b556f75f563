//! One listener: accepts sockets and serves their connections until the service drains.

use std::sync::Arc;

use slim_net::{ConnectionSettings, Listener, serve_connection};
use tokio::task::JoinSet;
use tracing::debug;

use crate::link_driver::{AcceptPolicy, accept};
use crate::service::Shared;

/// Accepts until the service drains; returns when the last connection is gone.
pub(crate) async fn listen(
    shared: Arc<Shared>,
    listener: Listener,
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
        connections.spawn(async move {
            let peer = accepted.peer;
            let drain = shared.draining();
            let end = serve_connection(accepted.socket, peer, &settings, drain, |call| {
                accept(Arc::clone(&shared), policy, call)
            })
            .await;
            debug!(%peer, reason = %end, "connection closed");
            drop(accepted.permit);
        });
    }
    // The port is closed before the links end: who dials again is refused at once and tries elsewhere
    // (wire-routing C31).
    drop(listener);
    while connections.join_next().await.is_some() {}
}
