//! Why there is no TLS: each reason as the dialer and as the listener sees it.

use std::time::Duration;

use slim_config::{ClientConfig, ClientTls, ServerTls, TlsVersion};
use slim_net::tls::AcceptTlsError;
use slim_net::{DialError, TlsFailure, dial};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::common::{Ca, Life, Pair, within};
use crate::server::Server;
use crate::{NAMES, client, client_tls, server_tls};

#[tokio::test]
async fn s_16_every_refusal_of_a_node_has_its_own_class_and_sentence() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let good = ca.server(NAMES, Life::Valid);
    let with_client_ca = ServerTls {
        client_ca: Some(ca.source()),
        ..server_tls(&good)
    };
    let trusting = || client_tls(&ca);
    let showing = |pair: Pair| ClientTls {
        source: Some(pair.source()),
        ..client_tls(&ca)
    };
    let cases: [Case; 12] = [
        (
            "expired",
            Some(server_tls(&ca.server(NAMES, Life::Expired))),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::Expired { .. }),
            "its certificate expired ",
        ),
        (
            "not yet valid",
            Some(server_tls(&ca.server(NAMES, Life::NotYet))),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::NotYetValid { .. }),
            "its certificate will be valid in ",
        ),
        (
            "unknown CA",
            Some(server_tls(&other.server(NAMES, Life::Valid))),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::UnknownCa),
            "its certificate is signed by no CA that is trusted here; set tls.ca_source to the CA that signed it",
        ),
        (
            "wrong host",
            Some(server_tls(&ca.server(&["node.example"], Life::Valid))),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::WrongName { .. }),
            "its certificate is for node.example, not for 127.0.0.1; use a name it has, or set server_name",
        ),
        (
            "wrong server_name",
            Some(server_tls(&good)),
            Some(ClientTls {
                server_name: Some("node.example".into()),
                ..trusting()
            }),
            |failure| matches!(failure, TlsFailure::WrongName { .. }),
            "its certificate is for localhost, ",
        ),
        (
            "a CA instead of a node",
            Some(server_tls(&ca.own())),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::CaCertificate),
            "its certificate is that of a CA; the node needs one of its own, signed by the CA",
        ),
        (
            "TLS 1.2 only",
            Some(ServerTls {
                version: TlsVersion::Tls12,
                ..server_tls(&good)
            }),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::Version { .. }),
            "it does not speak tls1.3, the one version that is allowed here; change tls.tls_version here or there",
        ),
        (
            "no client certificate",
            Some(with_client_ca.clone()),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::ClientCertificateMissing),
            "it demands a client certificate and none was shown; set tls.source",
        ),
        (
            "client certificate of another CA",
            Some(with_client_ca.clone()),
            Some(showing(other.client("alice", Life::Valid))),
            |failure| matches!(failure, TlsFailure::ClientCertificateRefused { .. }),
            "it refused the client certificate of tls.source (unknown CA); show one of a CA that it trusts",
        ),
        (
            "expired client certificate",
            Some(with_client_ca),
            Some(showing(ca.client("alice", Life::Expired))),
            |failure| matches!(failure, TlsFailure::ClientCertificateRefused { .. }),
            "it refused the client certificate of tls.source (expired); show one of a CA that it trusts",
        ),
        (
            "plain client at a TLS port",
            Some(server_tls(&good)),
            None,
            |failure| matches!(failure, TlsFailure::TlsExpected),
            "the other side speaks TLS and this one plain text; remove tls.insecure and write https://",
        ),
        (
            "TLS client at a plain port",
            None,
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::PlainText),
            "the other side speaks plain text; use its TLS port, or set tls.insecure: true if plain text is meant",
        ),
    ];
    for (case, server, tls, is_expected, text) in cases {
        let mut server = Server::start(server).await;
        let config = ClientConfig {
            tls,
            ..ClientConfig::insecure(server.address.into())
        };
        let error = within(dial(&config)).await.unwrap_err();
        let said = error.to_string();
        assert!(error.is_about_trust() && error.is_transient(), "{case}: {said}");
        let prefix = format!("no TLS with {}: {text}", server.address);
        assert!(said.starts_with(&prefix), "{case}: {said}");
        let DialError::Tls { failure, .. } = error else {
            panic!("{case}: {error:?}")
        };
        assert!(is_expected(&failure), "{case}: {failure:?}");
        assert!(server.calls.try_recv().is_err(), "{case}: no call got through");
    }
}

#[tokio::test]
async fn a_listener_knows_why_it_refused() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let tls = ServerTls {
        client_ca: Some(ca.source()),
        ..server_tls(&ca.server(NAMES, Life::Valid))
    };
    let mut server = Server::start(Some(tls)).await;
    let plain = ClientConfig::insecure(server.address.into());
    within(dial(&plain)).await.unwrap_err();
    assert!(matches!(server.next_refusal().await, AcceptTlsError::PlainText));
    within(dial(&client(server.address, client_tls(&ca))))
        .await
        .unwrap_err();
    let refusal = server.next_refusal().await;
    assert!(
        matches!(
            refusal,
            AcceptTlsError::Tls(rustls::Error::NoCertificatesPresented)
        ),
        "{refusal:?}"
    );
    within(dial(&client(server.address, client_tls(&other))))
        .await
        .unwrap_err();
    assert!(matches!(server.next_refusal().await, AcceptTlsError::Tls(_)));
    drop(TcpStream::connect(server.address).await.unwrap());
    assert!(matches!(server.next_refusal().await, AcceptTlsError::Broken(_)));
}

#[tokio::test]
async fn a_handshake_that_stands_still_ends_in_time_on_both_sides() {
    let ca = Ca::new("ca");
    let mut server = Server::start(Some(server_tls(&ca.server(NAMES, Life::Valid)))).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let before = Instant::now();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    // The beginning of a handshake that never goes on.
    idle.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01])
        .await
        .unwrap();
    let dialing = client(silent.local_addr().unwrap(), client_tls(&ca));
    let (dialed, refusal) = tokio::join!(within(dial(&dialing)), server.next_refusal());
    let error = dialed.unwrap_err();
    let stalled = TlsFailure::Timeout {
        limit: Duration::from_secs(5),
    };
    assert!(error.to_string().ends_with(&stalled.to_string()), "{error:?}");
    assert!(!error.is_about_trust() && error.is_transient());
    assert!(matches!(refusal, AcceptTlsError::Timeout(_)), "{refusal}");
    assert!(before.elapsed() >= Duration::from_secs(5));
    let mut rest = Vec::new();
    // Closed, in whatever way: nothing more comes.
    let _ = within(idle.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

/// Name, listener, client, class and text of a refusal.
type Case = (
    &'static str,
    Option<ServerTls>,
    Option<ClientTls>,
    fn(&TlsFailure) -> bool,
    &'static str,
);
