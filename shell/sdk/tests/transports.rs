//! Applications whose links go over WebSocket, plain and under TLS, and over socket files.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../net/tests/common/mod.rs"]
mod certificates;
mod common;

use std::time::Duration;

use certificates::{Ca, Directory, Life, Pair};
use common::{app, group, message, text, within};
use serde_json::{Value, json};
use slim::{
    App, AuthorizationConfig, ClientConfig, DefaultAccess, Endpoint, PublishOptions, ServerConfig, Service,
    Session,
};

fn source(pair: &Pair) -> Value {
    json!({"type": "pem", "cert": pair.cert, "key": pair.key})
}

async fn node(config: &Value) -> (Service, Endpoint) {
    let service = Service::new().unwrap();
    let everybody = AuthorizationConfig {
        default: DefaultAccess::Allow,
        rules: Vec::new(),
    };
    let config = ServerConfig::from_json_text(&config.to_string()).unwrap().config;
    let endpoint = within(service.run_server_with_rules(config, Some(everybody)))
        .await
        .unwrap();
    (service, endpoint)
}

async fn connected(endpoint: &Endpoint, tls: &Value, name: &str) -> (Service, App) {
    let service = Service::new().unwrap();
    let app = app(&service, name).await;
    let config = json!({"endpoint": endpoint.to_string(), "tls": tls}).to_string();
    let config = ClientConfig::from_json_text(&config).unwrap().config;
    within(service.connect(config)).await.unwrap();
    (service, app)
}

async fn join(moderator: &Session, app: &App) -> Session {
    within(moderator.invite(app.name().without_id())).await.unwrap();
    within(app.accept()).await.unwrap()
}

#[tokio::test]
async fn an_encrypted_group_meets_over_every_transport() {
    let ca = Ca::new("ca");
    let trust = json!({"type": "pem", "data": ca.pem});
    let directory = Directory::new("sdk-transports");
    let plain = json!({"insecure": true});
    let secured = json!({"source": source(&ca.server(&["127.0.0.1"], Life::Valid)), "client_ca": trust});
    let showing = json!({
        "ca_source": trust,
        "include_system_ca_certs_pool": false,
        "source": source(&ca.client("member", Life::Valid)),
    });
    let file = format!("unix://{}", directory.path("s").display());
    for (endpoint, serving, dialing) in [
        ("ws://127.0.0.1:0/slim", &plain, &plain),
        ("wss://127.0.0.1:0", &secured, &showing),
        (&*file, &plain, &plain),
    ] {
        let (node, endpoint) = node(&json!({"endpoint": endpoint, "tls": serving})).await;
        let (_alices, alice) = connected(&endpoint, dialing, "org/ns/alice").await;
        let (_bobs, bob) = connected(&endpoint, dialing, "org/ns/bob").await;
        let (_carols, carol) = connected(&endpoint, dialing, "org/ns/carol").await;
        let ours = within(alice.open(group())).await.unwrap();
        let sessions = [ours.clone(), join(&ours, &bob).await, join(&ours, &carol).await];
        for (speaker, session) in sessions.iter().enumerate() {
            let payload = vec![u8::try_from(speaker).unwrap(); 200_000];
            within(session.publish(payload.clone().into(), PublishOptions::default()))
                .await
                .unwrap();
            for (listener, session) in sessions.iter().enumerate() {
                if listener != speaker {
                    assert_eq!(message(session).await.payload, payload);
                }
            }
        }
        within(node.stop_server(&endpoint.to_string())).await.unwrap();
    }
    assert!(!directory.path("s").exists(), "the file goes with its listener");
}

/// As in `replaced_links.rs`, which has the same over gRPC: nothing is repeated within the test, so every loss fails it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websocket_links_that_reach_their_age_are_replaced_and_lose_nothing() {
    const MESSAGES: u32 = 300;
    let serving = json!({
        "endpoint": "ws://127.0.0.1:0", "tls": {"insecure": true},
        "keepalive": {"max_connection_age": "1s", "max_connection_age_grace": "1s"},
    });
    let (_node, endpoint) = node(&serving).await;
    let plain = json!({"insecure": true});
    let (_alices, alice) = connected(&endpoint, &plain, "org/ns/alice").await;
    let (_bobs, bob) = connected(&endpoint, &plain, "org/ns/bob").await;
    let mut settings = group();
    settings.reliability = Some(slim::Reliability {
        interval: Duration::from_secs(90),
        max_retries: 1,
    });
    let ours = within(alice.open(settings)).await.unwrap();
    let theirs = join(&ours, &bob).await;
    let listener = tokio::spawn(async move {
        for number in 0..MESSAGES {
            assert_eq!(text(&theirs).await, number.to_string());
        }
    });
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let mut publishes = Vec::new();
    for number in 0..MESSAGES {
        tick.tick().await;
        let session = ours.clone();
        publishes.push(tokio::spawn(async move {
            let published = session.publish(number.to_string().into(), PublishOptions::default());
            published.await.unwrap();
        }));
    }
    for publish in publishes {
        within(publish).await.unwrap();
    }
    within(listener).await.unwrap();
}

#[tokio::test]
async fn a_websocket_link_comes_back_when_its_node_does() {
    let serving = json!({"endpoint": "ws://127.0.0.1:0/x", "tls": {"insecure": true}});
    let (service, endpoint) = node(&serving).await;
    let plain = json!({"insecure": true});
    let (_alices, alice) = connected(&endpoint, &plain, "org/ns/alice").await;
    let (_bobs, bob) = connected(&endpoint, &plain, "org/ns/bob").await;
    let ours = within(alice.open(group())).await.unwrap();
    let theirs = join(&ours, &bob).await;
    within(service.stop_server(&endpoint.to_string())).await.unwrap();
    let again = json!({"endpoint": endpoint.to_string(), "tls": {"insecure": true}});
    let (_node, _) = node(&again).await;
    let publish = ours.publish("still here".into(), PublishOptions::default());
    let (published, heard) = tokio::join!(within(publish), text(&theirs));
    published.unwrap();
    assert_eq!(heard, "still here");
}
