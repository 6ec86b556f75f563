//! A listener, with TLS or without, that hands its calls and its refusals to the test.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, of which each program uses a part"
)]

use std::net::SocketAddr;
use std::sync::Arc;

use slim_config::{Endpoint, ServerConfig, ServerTls};
use slim_net::grpc::server::Peer;
use slim_net::listen::ConnectionLimits;
use slim_net::tls::AcceptTlsError;
use slim_net::{Accepted, Authenticator, ConnectionSettings, Listener, TlsAcceptor, serve_connection};
use tokio::sync::mpsc;

use crate::common::within;

/// A listener that hands out calls and refusals; calls stay open.
pub struct Server {
    /// Where it listens on the network; nowhere, under a socket file.
    pub address: SocketAddr,
    pub endpoint: Endpoint,
    pub acceptor: Option<TlsAcceptor>,
    pub calls: mpsc::UnboundedReceiver<Accepted>,
    refusals: mpsc::UnboundedReceiver<AcceptTlsError>,
}

impl Server {
    pub async fn start(tls: Option<ServerTls>) -> Self {
        Self::start_with(ServerConfig {
            tls,
            ..ServerConfig::insecure("127.0.0.1:0".parse().unwrap())
        })
        .await
    }

    pub async fn start_with(config: ServerConfig) -> Self {
        let acceptor = TlsAcceptor::load(&config).await.unwrap();
        let kept = acceptor.clone();
        let settings = ConnectionSettings {
            authenticator: Authenticator::load(&config).await.unwrap().map(Arc::new),
            ..ConnectionSettings::from(&config)
        };
        let listener = Listener::bind(&config.endpoint, ConnectionLimits::default())
            .await
            .unwrap();
        let address = listener.local_address().unwrap_or_else(|| ([0; 4], 0).into());
        let endpoint = listener.local_endpoint().clone();
        let (call, calls) = mpsc::unbounded_channel();
        let (refused, refusals) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let accepted = listener.accept().await;
                let (acceptor, settings) = (acceptor.clone(), settings.clone());
                let (call, refused) = (call.clone(), refused.clone());
                tokio::spawn(async move {
                    let open = |accepted| {
                        let _ = call.send(accepted);
                        std::future::pending()
                    };
                    let forever = std::future::pending();
                    let Some(acceptor) = acceptor else {
                        serve_connection(accepted.socket, accepted.peer, &settings, forever, open).await;
                        return;
                    };
                    match acceptor.accept(accepted.socket, settings.opening_timeout).await {
                        Ok(secured) => {
                            let peer = Peer {
                                address: accepted.peer,
                                certificate: secured.certificate,
                            };
                            serve_connection(secured.io, peer, &settings, forever, open).await;
                        }
                        Err(error) => drop(refused.send(error)),
                    }
                });
            }
        });
        Self {
            address,
            endpoint,
            acceptor: kept,
            calls,
            refusals,
        }
    }

    pub async fn next_call(&mut self) -> Accepted {
        within(self.calls.recv()).await.unwrap()
    }

    pub async fn next_refusal(&mut self) -> AcceptTlsError {
        within(self.refusals.recv()).await.unwrap()
    }
}
