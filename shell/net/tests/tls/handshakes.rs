//! Handshakes with bare TLS stacks: what is offered, selected and demanded.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use slim_config::{ClientConfig, ClientTls, ServerConfig, TlsVersion};
use slim_net::{DialError, TlsFailure, TlsSetupError, dial};
use tokio::net::{TcpListener, TcpStream};

use crate::common::{Ca, Life, Pair, within};
use crate::server::Server;
use crate::{NAMES, client, client_tls, server_tls};

#[tokio::test]
async fn a_listener_selects_h2_and_prefers_the_post_quantum_exchange() {
    let ca = Ca::new("ca");
    let server = Server::start(Some(server_tls(&ca.server(NAMES, Life::Valid)))).await;
    for (offered, selected) in [(vec![b"h2".to_vec()], Some(&b"h2"[..])), (Vec::new(), None)] {
        let mut settings = bare_client(&ca, default_provider());
        settings.alpn_protocols = offered;
        let stream = bare_connect(server.address, settings).await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.alpn_protocol(), selected);
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    }
    let mut settings = bare_client(&ca, default_provider());
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    let error = bare_connect(server.address, settings).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn who_enforces_post_quantum_exchange_meets_only_peers_that_have_it() {
    let ca = Ca::new("ca");
    let tls = server_tls(&ca.server(NAMES, Life::Valid));
    let enforcing = |address| ClientConfig {
        enforce_pqc: true,
        ..client(address, client_tls(&ca))
    };
    for enforce_pqc in [false, true] {
        let mut server = Server::start_with(ServerConfig {
            tls: Some(tls.clone()),
            enforce_pqc,
            ..ServerConfig::insecure("127.0.0.1:0".parse().unwrap())
        })
        .await;
        for config in [enforcing(server.address), client(server.address, client_tls(&ca))] {
            within(dial(&config)).await.unwrap();
            server.next_call().await;
        }
        let stream = bare_connect(server.address, bare_client(&ca, classical_provider())).await;
        assert_eq!(stream.is_err(), enforce_pqc, "{stream:?}");
    }
    // And a node without it, seen by a dialer that enforces it.
    let pair = ca.server(NAMES, Life::Valid);
    let settings = bare_listener(&pair, classical_provider());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(settings));
        let (socket, _) = listener.accept().await.unwrap();
        drop(acceptor.accept(socket).await);
    });
    let error = within(dial(&enforcing(address))).await.unwrap_err();
    assert!(
        matches!(
            error,
            DialError::Tls {
                failure: TlsFailure::Classical,
                ..
            }
        ),
        "{error}"
    );
    // Version 1.2 has no such exchange at all.
    let old = ClientConfig {
        enforce_pqc: true,
        ..client(
            address,
            ClientTls {
                version: TlsVersion::Tls12,
                ..client_tls(&ca)
            },
        )
    };
    let error = within(dial(&old)).await.unwrap_err();
    assert!(
        matches!(error, DialError::TlsSetup(TlsSetupError::PqcNeedsTls13)),
        "{error}"
    );
}

#[tokio::test]
async fn a_dialer_accepts_a_listener_that_negotiates_no_protocol() {
    let ca = Ca::new("ca");
    let pair = ca.server(NAMES, Life::Valid);
    let settings = bare_listener(&pair, default_provider());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(settings));
        let stream = acceptor.accept(socket).await.unwrap();
        let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, _respond): (_, h2::server::SendResponse<bytes::Bytes>) =
            connection.accept().await.unwrap().unwrap();
        (protocol, request.into_parts().0.uri)
    });
    let _ = within(dial(&client(address, client_tls(&ca)))).await;
    let (protocol, uri) = within(serving).await.unwrap();
    assert_eq!(protocol, None);
    assert_eq!(uri.scheme_str(), Some("https"));
}

/// Without key exchanges that resist quantum computers.
fn classical_provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![kx_group::X25519],
        ..default_provider()
    }
}

fn bare_listener(pair: &Pair, provider: CryptoProvider) -> rustls::ServerConfig {
    rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
        )
        .unwrap()
}

fn bare_client(ca: &Ca, provider: CryptoProvider) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap())
        .unwrap();
    rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn bare_connect(
    address: SocketAddr,
    settings: rustls::ClientConfig,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(settings));
    within(connector.connect(ServerName::try_from("localhost").unwrap(), socket)).await
}
