//! Links that stall, break and come back while applications talk.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::proxy::Proxy;
use common::{app, config, group, message, text, within};
use slim::{ClientConfig, PublishOptions, Reliability, ServerConfig, Service, SessionKind};

async fn node() -> (Service, std::net::SocketAddr) {
    let service = Service::new().unwrap();
    let config = r#"{"endpoint": "127.0.0.1:0", "tls": {"insecure": true}}"#;
    let config = ServerConfig::from_json_text(config).unwrap().config;
    let endpoint = within(service.run_server(config)).await.unwrap();
    let address = endpoint.socket_address().unwrap();
    (service, address)
}

#[tokio::test]
async fn publishes_wait_while_the_link_is_stalled_and_nothing_is_dropped_or_blocked() {
    const MESSAGES: usize = 64;
    let (_node, address) = node().await;
    let proxy = Proxy::start(address).await;
    let alice_service = Service::new().unwrap();
    let alice = app(&alice_service, "org/ns/alice").await;
    within(alice_service.connect(ClientConfig::insecure(proxy.address.into())))
        .await
        .unwrap();
    let bob_service = Service::new().unwrap();
    let bob = app(&bob_service, "org/ns/bob").await;
    within(bob_service.connect(ClientConfig::insecure(address.into())))
        .await
        .unwrap();
    let mut settings = config(SessionKind::PointToPoint, "org/ns/bob");
    settings.reliability = None;
    settings.mls = false;
    let ours = within(alice.open(settings)).await.unwrap();
    let theirs = within(bob.accept()).await.unwrap();

    // 64 MiB: four times what the link's queue holds, and more than all windows and socket buffers together.
    proxy.stall(true);
    let payload = Bytes::from(vec![3; 1024 * 1024]);
    let publishes: Vec<_> = (0..MESSAGES)
        .map(|_| {
            let (session, payload) = (ours.clone(), payload.clone());
            tokio::spawn(async move { session.publish(payload, PublishOptions::default()).await })
        })
        .collect();
    // Those that fit are done; calls that need no link are served all the while.
    within(async {
        while publishes.iter().filter(|publish| publish.is_finished()).count() < 8 {
            alice.counters().await.unwrap();
        }
    })
    .await;
    for _ in 0..1000 {
        within(alice.counters()).await.unwrap();
    }
    assert!(
        publishes.iter().any(|publish| !publish.is_finished()),
        "unreliable publishes wait for room"
    );

    proxy.stall(false);
    for _ in 0..MESSAGES {
        assert_eq!(message(&theirs).await.payload.len(), payload.len());
    }
    for publish in publishes {
        within(publish).await.unwrap().unwrap();
    }
    assert_eq!(proxy.connections(), 1, "the link survived");
}

#[tokio::test]
async fn reliable_messages_survive_a_link_that_breaks_again_and_again() {
    const ROUNDS: u32 = 12;
    let (_node, address) = node().await;
    let (to_alice, to_bob) = (Proxy::start(address).await, Proxy::start(address).await);
    let alice_service = Service::new().unwrap();
    let alice = app(&alice_service, "org/ns/alice").await;
    within(alice_service.connect(ClientConfig::insecure(to_alice.address.into())))
        .await
        .unwrap();
    let bob_service = Service::new().unwrap();
    let bob = app(&bob_service, "org/ns/bob").await;
    within(bob_service.connect(ClientConfig::insecure(to_bob.address.into())))
        .await
        .unwrap();
    let mut settings = group();
    settings.reliability = Some(Reliability {
        interval: Duration::from_millis(100),
        max_retries: 300,
    });
    let ours = within(alice.open(settings)).await.unwrap();
    within(ours.invite(bob.name().without_id())).await.unwrap();
    let theirs = within(bob.accept()).await.unwrap();
    for round in 0..ROUNDS {
        let proxy = if round % 2 == 0 { &to_alice } else { &to_bob };
        let publish = |number: u32| {
            let session = ours.clone();
            tokio::spawn(async move {
                session
                    .publish(number.to_string().into(), PublishOptions::default())
                    .await
                    .unwrap()
            })
        };
        let first = publish(round * 2);
        proxy.cut();
        let second = publish(round * 2 + 1);
        // In order, each once.
        assert_eq!(text(&theirs).await, (round * 2).to_string());
        assert_eq!(text(&theirs).await, (round * 2 + 1).to_string());
        assert_eq!(within(first).await.unwrap().delivered, [bob.name()]);
        assert_eq!(within(second).await.unwrap().delivered, [bob.name()]);
    }
    // Anybody can still find both, which takes the names that the node was told again.
    let carol = app(&bob_service, "org/ns/carol").await;
    within(ours.invite(carol.name().without_id())).await.unwrap();
    let carols = within(carol.accept()).await.unwrap();
    within(ours.publish("all".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(text(&carols).await, "all");
}
