//! Links between members of SPIFFE trust domains: certificates and tokens of agents, without a file or a key in the
//! configuration.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use common::{Ca, Directory, Life, within};
use serde_json::{Value, json};
use server::Server;
use slim_config::{ClientConfig, ServerConfig};
use slim_net::{
    Accepted, AuthSetupError, Authenticator, CredentialError, DialError, SpiffePeerError, TlsAcceptor,
    TlsFailure, TlsSetupError, dial,
};
use slim_policy::{AuthMethod, LinkIdentity};
use slim_spiffe_agent::Agent;

const NODE: &str = "spiffe://example.org/node";
const ALICE: &str = "spiffe://example.org/alice";
const CAROL: &str = "spiffe://partner.net/carol";

#[tokio::test]
async fn both_ends_prove_themselves_with_certificates_of_their_agents() {
    let world = World::new("sp-both");
    let mut server = world.server(json!({"client_ca": spire(&world.node)})).await;
    let _link = within(dial(&server.client(&world.alice, json!({}))))
        .await
        .unwrap();
    let identity = server.identity().await;
    assert_eq!(
        (identity.method, identity.subject.as_deref()),
        (AuthMethod::Certificate, Some(ALICE))
    );
}

#[tokio::test]
async fn renewed_certificates_and_new_cas_are_used_by_the_next_handshake() {
    let world = World::new("sp-renew");
    let mut server = world.server(json!({"client_ca": spire(&world.node)})).await;
    let _before = within(dial(&server.client(&world.alice, json!({}))))
        .await
        .unwrap();
    server.identity().await;
    // The whole trust domain moves to another CA. Both ends have one agent, as on one machine.
    world.node.replace_ca();
    let same_agent = json!({"source": spire(&world.node), "ca_source": spire(&world.node)});
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        // The listener learns of it in its own time.
        if let Ok(_after) = within(dial(&server.client_with(same_agent.clone(), Value::Null))).await {
            break;
        }
        assert!(tokio::time::Instant::now() < deadline, "the new CA is never used");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.identity().await.subject.as_deref(), Some(NODE));
}

#[tokio::test]
async fn a_peer_of_another_trust_domain_needs_federation_and_a_name_in_the_configuration() {
    let world = World::new("sp-other");
    let open = world.server(json!({"client_ca": spire(&world.node)})).await;
    // Carol's agent knows the node's domain, but her own is not among those that the node believes.
    let carol = open.client(&world.carol, json!({"trust_domains": ["example.org"]}));
    let error = refusal(within(dial(&carol)).await);
    assert!(
        matches!(error, TlsFailure::ClientCertificateRefused { .. }),
        "{error}"
    );
    // And she does not believe the node, unless she says so.
    let error = refusal(within(dial(&open.client(&world.carol, json!({})))).await);
    assert!(
        matches!(&error, TlsFailure::Spiffe { reason: SpiffePeerError::TrustDomain { id } } if id.as_str() == NODE),
        "{error}"
    );
    let mut both = json!({"client_ca": spire(&world.node)});
    both["client_ca"]["trust_domains"] = json!(["example.org", "partner.net"]);
    let mut server = world.server(both).await;
    let carol = server.client(&world.carol, json!({"trust_domains": ["example.org"]}));
    let _link = within(dial(&carol)).await.unwrap();
    assert_eq!(server.identity().await.subject.as_deref(), Some(CAROL));
}

#[tokio::test]
async fn a_dialer_that_names_its_node_believes_nobody_else_of_the_trust_domain() {
    let world = World::new("sp-target");
    let mut server = world.server(json!({})).await;
    let right = server.client(&world.alice, json!({"target_spiffe_id": NODE}));
    let _link = within(dial(&right)).await.unwrap();
    server.next_call().await;
    let wrong = server.client(
        &world.alice,
        json!({"target_spiffe_id": "spiffe://example.org/other"}),
    );
    let error = refusal(within(dial(&wrong)).await);
    assert_eq!(
        error.to_string(),
        "it is spiffe://example.org/node, not spiffe://example.org/other as target_spiffe_id demands"
    );
}

#[tokio::test]
async fn certificates_of_elsewhere_are_refused_even_if_they_hold_a_spiffe_id() {
    let world = World::new("sp-elsewhere");
    let ca = Ca::new("somebody");
    let tls = |pair: &common::Pair| {
        json!({
            "source": {"type": "pem", "cert": pair.cert, "key": pair.key},
            "ca_source": spire(&world.alice)
        })
    };
    let server = world.server(json!({"client_ca": spire(&world.node)})).await;
    // Names of a host only, and an id of `example`, which no agent vouches for.
    for pair in [
        ca.server(&["localhost"], Life::Valid),
        ca.client("alice", Life::Valid),
    ] {
        let error = refusal(within(dial(&server.client_with(tls(&pair), Value::Null))).await);
        assert!(
            matches!(error, TlsFailure::ClientCertificateRefused { .. }),
            "{error}"
        );
    }
    // The same at the dialer: a listener with an ordinary certificate.
    let pair = ca.server(&["localhost"], Life::Valid);
    let source = json!({"type": "pem", "cert": pair.cert, "key": pair.key});
    let ordinary = Node::start(json!({"insecure": false, "source": source}), Value::Null).await;
    let error = refusal(within(dial(&ordinary.client(&world.alice, json!({})))).await);
    assert!(
        matches!(
            error,
            TlsFailure::Spiffe {
                reason: SpiffePeerError::NoId
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_token_of_the_agent_opens_a_link_while_its_audience_fits() {
    let world = World::new("sp-token");
    let auth = |agent: &Agent, audience: &str| json!({"type": "spire", "socket_path": agent.socket(), "jwt_audiences": [audience]});
    let mut server = Node::start(json!({"insecure": true}), auth(&world.node, "slim")).await;
    let plain = json!({"insecure": true});
    let alice = server.client_with(plain.clone(), auth(&world.alice, "slim"));
    let _link = within(dial(&alice)).await.unwrap();
    let identity = server.identity().await;
    assert_eq!(
        (identity.method, identity.subject.as_deref()),
        (AuthMethod::Spire, Some(ALICE))
    );
    for wrong in [
        auth(&world.alice, "else"),
        auth(&world.carol, "slim"),
        Value::Null,
    ] {
        let error = within(dial(&server.client_with(plain.clone(), wrong)))
            .await
            .unwrap_err();
        assert!(matches!(error, DialError::Unauthenticated { .. }), "{error}");
    }
}

#[tokio::test]
async fn without_an_agent_neither_side_starts_and_both_say_which_socket() {
    let directory = Directory::new("sp-nobody");
    let spire = json!({"type": "spire", "socket_path": directory.path("missing.sock")});
    let text = json!({"endpoint": "127.0.0.1:0", "tls": {"source": spire}});
    let config = ServerConfig::from_json_text(&text.to_string()).unwrap().config;
    let error = TlsAcceptor::load(&config).await.unwrap_err();
    assert!(
        matches!(
            error,
            TlsSetupError::Spiffe {
                key: "tls.source",
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("missing.sock"), "{error}");
    let text = json!({"endpoint": "127.0.0.1:0", "tls": {"insecure": true}, "auth": spire});
    let config = ServerConfig::from_json_text(&text.to_string()).unwrap().config;
    let error = Authenticator::load(&config).await.unwrap_err();
    assert!(matches!(error, AuthSetupError::Spiffe(_)), "{error}");

    let server = Node::start(json!({"insecure": true}), Value::Null).await;
    let config = server.client_with(json!({"insecure": true}), spire);
    let error = within(dial(&config)).await.unwrap_err();
    assert!(
        matches!(
            error,
            DialError::Credentials {
                error: CredentialError::Spiffe(_),
                ..
            }
        ),
        "{error}"
    );
    assert!(error.is_transient(), "the agent may start later");
}

/// Three machines: a node and alice of one trust domain, which share its keys, and carol of another.
struct World {
    /// Also issues for alice: one server stands behind all agents of a domain.
    node: Agent,
    alice: Agent,
    carol: Agent,
    _directory: Directory,
}

impl World {
    fn new(name: &str) -> Self {
        let directory = Directory::new(name);
        let node = Agent::start(&directory.path("n.sock"), "example.org", &[NODE]).unwrap();
        let alice = node.beside(&directory.path("a.sock"), &[ALICE]).unwrap();
        let carol = Agent::start(&directory.path("c.sock"), "partner.net", &[CAROL]).unwrap();
        node.federate(&carol);
        carol.federate(&node);
        Self {
            node,
            alice,
            carol,
            _directory: directory,
        }
    }

    async fn server(&self, mut tls: Value) -> Node {
        tls["source"] = spire(&self.node);
        Node::start(tls, Value::Null).await
    }
}

fn spire(agent: &Agent) -> Value {
    json!({"type": "spire", "socket_path": agent.socket()})
}

fn refusal<T>(dialed: Result<T, DialError>) -> TlsFailure {
    let error = dialed.err().expect("refused");
    let DialError::Tls { failure, .. } = error else {
        panic!("{error}");
    };
    failure
}

/// A node of the test: its listener, and configurations of those who dial it.
struct Node(Server);

impl Node {
    async fn start(tls: Value, auth: Value) -> Self {
        let mut text = json!({"endpoint": "127.0.0.1:0", "tls": tls});
        if !auth.is_null() {
            text["auth"] = auth;
        }
        let config = ServerConfig::from_json_text(&text.to_string()).unwrap().config;
        Self(Server::start_with(config).await)
    }

    /// An application beside an agent; `ca` has further keys of its `ca_source`.
    fn client(&self, agent: &Agent, ca: Value) -> ClientConfig {
        let mut ca_source = spire(agent);
        for (key, value) in ca.as_object().unwrap() {
            ca_source[key] = value.clone();
        }
        self.client_with(
            json!({"source": spire(agent), "ca_source": ca_source}),
            Value::Null,
        )
    }

    fn client_with(&self, tls: Value, auth: Value) -> ClientConfig {
        let mut text = json!({"endpoint": self.0.address.to_string(), "tls": tls});
        if !auth.is_null() {
            text["auth"] = auth;
        }
        ClientConfig::from_json_text(&text.to_string()).unwrap().config
    }

    async fn next_call(&mut self) -> Accepted {
        self.0.next_call().await
    }

    async fn identity(&mut self) -> Arc<LinkIdentity> {
        let call = self.next_call().await;
        match call.admission {
            Some(admission) => admission.identity,
            None => Arc::new(slim_net::identity_below(call.certificate.as_deref())),
        }
    }
}
