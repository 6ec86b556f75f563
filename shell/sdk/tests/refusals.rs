//! Everything that proves nothing is refused, each with its own class on the side that refuses; nothing is half joined,
//! and the group that was there goes on.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../net/tests/common/mod.rs"]
mod certificates;
mod common;

use std::net::SocketAddr;

use certificates::{Ca, Life, Pair};
use common::{app, group, message, within};
use slim::{App, ClientConfig, DialError, Error, PublishOptions, ServerConfig, Service, Session, TlsFailure};
use slim_config::{AuthorizationConfig, DefaultAccess};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The members of a group that must not notice anything, and its node.
struct Group {
    ca: Ca,
    pair: Pair,
    address: SocketAddr,
    ours: Session,
    theirs: Session,
    _services: [Service; 3],
    _apps: [App; 2],
}

impl Group {
    async fn start() -> Self {
        let ca = Ca::new("ca");
        let pair = ca.server(&["127.0.0.1"], Life::Valid);
        let (node, address) = serve(&tls_server(&pair, "tls1.3")).await;
        let [alice_service, bob_service] = [Service::new().unwrap(), Service::new().unwrap()];
        let alice = app(&alice_service, "org/ns/alice").await;
        let bob = app(&bob_service, "org/ns/bob").await;
        for service in [&alice_service, &bob_service] {
            within(service.connect(client(address, &tls_client(&ca))))
                .await
                .unwrap();
        }
        let ours = within(alice.open(group())).await.unwrap();
        within(ours.invite(bob.name().without_id())).await.unwrap();
        let theirs = within(bob.accept()).await.unwrap();
        Self {
            ca,
            pair,
            address,
            ours,
            theirs,
            _services: [node, alice_service, bob_service],
            _apps: [alice, bob],
        }
    }

    /// A message each way, and nobody else is there.
    async fn goes_on(&self, case: &str) {
        for (from, to) in [(&self.ours, &self.theirs), (&self.theirs, &self.ours)] {
            within(from.publish(case.to_owned().into(), PublishOptions::default()))
                .await
                .unwrap();
            assert_eq!(message(to).await.payload, case, "{case}");
        }
        let snapshot = within(self.ours.snapshot()).await.unwrap();
        assert_eq!(snapshot.members.len(), 2, "{case}: {snapshot:?}");
    }
}

type IsExpected = fn(&TlsFailure) -> bool;

#[tokio::test]
async fn s_16_a_node_that_proves_nothing_is_refused_with_its_own_class_and_the_group_goes_on() {
    let group = Group::start().await;
    let other = Ca::new("other");
    let names = &["127.0.0.1"];
    let (ca, good) = (&group.ca, &group.pair);
    let cases: [(&str, serde_json::Value, IsExpected); 7] = [
        (
            "expired certificate",
            tls_server(&ca.server(names, Life::Expired), "tls1.3"),
            |failure| matches!(failure, TlsFailure::Expired { .. }),
        ),
        (
            "certificate not yet valid",
            tls_server(&ca.server(names, Life::NotYet), "tls1.3"),
            |failure| matches!(failure, TlsFailure::NotYetValid { .. }),
        ),
        (
            "unknown CA",
            tls_server(&other.server(names, Life::Valid), "tls1.3"),
            |failure| matches!(failure, TlsFailure::UnknownCa),
        ),
        (
            "another CA of the same name",
            tls_server(&Ca::new("ca").server(names, Life::Valid), "tls1.3"),
            |failure| matches!(failure, TlsFailure::UnknownCa),
        ),
        (
            "wrong host",
            tls_server(&ca.server(&["node.example"], Life::Valid), "tls1.3"),
            |failure| matches!(failure, TlsFailure::WrongName { .. }),
        ),
        (
            "TLS 1.2 where 1.3 is required",
            tls_server(good, "tls1.2"),
            |failure| matches!(failure, TlsFailure::Version { .. }),
        ),
        (
            "a CA's own certificate",
            tls_server(&ca.own(), "tls1.3"),
            |failure| matches!(failure, TlsFailure::CaCertificate),
        ),
    ];
    for (case, tls, is_expected) in cases {
        let (_node, address) = serve(&tls).await;
        refused(case, address, &tls_client(ca), is_expected).await;
        group.goes_on(case).await;
    }
}

#[tokio::test]
async fn s_16_an_application_that_proves_nothing_is_refused_and_knows_why() {
    let group = Group::start().await;
    let (ca, other) = (&group.ca, Ca::new("other"));
    let mut tls = tls_server(&group.pair, "tls1.3");
    tls["client_ca"] = trust(ca);
    let everybody = AuthorizationConfig {
        default: DefaultAccess::Allow,
        rules: Vec::new(),
    };
    let node = Service::new().unwrap();
    let serving = node.run_server_with_rules(server(&tls), Some(everybody));
    let address = within(serving).await.unwrap().socket_address().unwrap();
    let showing = |pair: &Pair| {
        let mut tls = tls_client(ca);
        tls["source"] = source(pair);
        tls
    };
    let cases: [(&str, serde_json::Value, IsExpected); 3] = [
        ("no certificate", tls_client(ca), |failure| {
            matches!(failure, TlsFailure::ClientCertificateMissing)
        }),
        (
            "certificate of another CA",
            showing(&other.client("mallory", Life::Valid)),
            |failure| matches!(failure, TlsFailure::ClientCertificateRefused { .. }),
        ),
        (
            "expired certificate",
            showing(&ca.client("alice", Life::Expired)),
            |failure| matches!(failure, TlsFailure::ClientCertificateRefused { .. }),
        ),
    ];
    for (case, tls, is_expected) in cases {
        refused(case, address, &tls, is_expected).await;
        group.goes_on(case).await;
    }
    // The same node takes whom the CA signed.
    let service = Service::new().unwrap();
    let tls = showing(&ca.client("alice", Life::Valid));
    within(service.connect(client(address, &tls))).await.unwrap();
}

#[tokio::test]
async fn s_16_a_proxy_that_strips_tls_learns_nothing_and_is_refused() {
    let group = Group::start().await;
    let proxy = StrippingProxy::start(group.address).await;
    refused("stripped", proxy.address, &tls_client(&group.ca), |failure| {
        matches!(failure, TlsFailure::PlainText)
    })
    .await;
    let seen = proxy.seen().await;
    // A ClientHello came (a TLS record of type 22), and nothing that a node would be told.
    assert_eq!(seen.first(), Some(&22));
    for secret in [&b"PRI * HTTP/2.0"[..], b"stranger"] {
        assert!(!seen.windows(secret.len()).any(|window| window == secret));
    }
    group.goes_on("stripped").await;
}

/// Dials as a stranger, who finds out why there is no TLS; nothing is left of the attempt.
async fn refused(case: &str, address: SocketAddr, tls: &serde_json::Value, is_expected: IsExpected) {
    let service = Service::new().unwrap();
    let _stranger = app(&service, "org/ns/stranger").await;
    let error = within(service.connect(client(address, tls))).await.unwrap_err();
    assert_eq!(service.connection(&address.to_string()), None, "{case}");
    let Error::Connect {
        cause, attempts: 1, ..
    } = error
    else {
        panic!("{case}: {error:?}")
    };
    match cause.downcast_ref() {
        Some(DialError::Tls { failure, .. }) => assert!(is_expected(failure), "{case}: {failure:?}"),
        _ => panic!("{case}: {cause:?}"),
    }
}

async fn serve(tls: &serde_json::Value) -> (Service, SocketAddr) {
    let service = Service::new().unwrap();
    let endpoint = within(service.run_server(server(tls))).await.unwrap();
    let address = endpoint.socket_address().unwrap();
    (service, address)
}

fn server(tls: &serde_json::Value) -> ServerConfig {
    let text = serde_json::json!({"endpoint": "https://127.0.0.1:0", "tls": tls}).to_string();
    ServerConfig::from_json_text(&text).unwrap().config
}

fn client(address: SocketAddr, tls: &serde_json::Value) -> ClientConfig {
    let text = serde_json::json!({"endpoint": format!("https://{address}"), "tls": tls}).to_string();
    ClientConfig::from_json_text(&text).unwrap().config
}

fn tls_server(pair: &Pair, version: &str) -> serde_json::Value {
    serde_json::json!({"source": source(pair), "tls_version": version})
}

fn tls_client(ca: &Ca) -> serde_json::Value {
    serde_json::json!({"ca_source": trust(ca), "include_system_ca_certs_pool": false, "tls_version": "tls1.3"})
}

fn source(pair: &Pair) -> serde_json::Value {
    serde_json::json!({"type": "pem", "cert": pair.cert, "key": pair.key})
}

fn trust(ca: &Ca) -> serde_json::Value {
    serde_json::json!({"type": "pem", "data": ca.pem})
}

/// Speaks plain HTTP/2 to the one that dials, as if TLS had never been asked for.
struct StrippingProxy {
    address: SocketAddr,
    connection: JoinHandle<Vec<u8>>,
}

impl StrippingProxy {
    async fn start(node: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connection = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            // The proxy could reach the node, so only the client's refusal protects it.
            let _node = TcpStream::connect(node).await.unwrap();
            let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(length @ 1..) = client.read(&mut buffer).await {
                if seen.is_empty() {
                    // An empty SETTINGS frame: how an HTTP/2 server begins without TLS.
                    client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                }
                seen.extend_from_slice(&buffer[..length]);
            }
            seen
        });
        Self { address, connection }
    }

    /// Everything that the client sent before it went.
    async fn seen(self) -> Vec<u8> {
        within(self.connection).await.unwrap()
    }
}
