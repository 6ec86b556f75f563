//! Connections that reach their age are replaced before they end, and nobody notices.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::proxy::Proxy;
use common::{app, config, group, name, text, within};
use slim::{
    App, ClientConfig, Item, PublishOptions, Reliability, ServerConfig, Service, Session, SessionConfig,
    SessionKind,
};

const MESSAGES: u32 = 500;
/// 500 messages take five seconds, in which a connection of two seconds is replaced twice.
const PACE: Duration = Duration::from_millis(10);

/// A node that asks every connection to leave after two seconds and cuts it half a second later.
async fn short_lived_node() -> (Service, SocketAddr) {
    let service = Service::new().unwrap();
    let config = r#"{"endpoint": "127.0.0.1:0", "tls": {"insecure": true},
        "keepalive": {"max_connection_age": "2s", "max_connection_age_grace": "500ms"}}"#;
    let config = ServerConfig::from_json_text(config).unwrap().config;
    let endpoint = within(service.run_server(config)).await.unwrap();
    let address = endpoint.socket_address().unwrap();
    (service, address)
}

/// An application behind a proxy that counts its connections.
async fn distant(address: SocketAddr, text: &str) -> (Service, App, Proxy) {
    let proxy = Proxy::start(address).await;
    let service = Service::new().unwrap();
    let app = app(&service, text).await;
    let connected = service.connect(ClientConfig::insecure(proxy.address.into()));
    within(connected).await.unwrap();
    (service, app, proxy)
}

/// Messages at a steady rate, each published without waiting for the one before.
async fn publish_all(session: &Session) {
    let mut publishes = Vec::new();
    let mut tick = tokio::time::interval(PACE);
    for number in 0..MESSAGES {
        tick.tick().await;
        let session = session.clone();
        publishes.push(tokio::spawn(async move {
            session
                .publish(number.to_string().into(), PublishOptions::default())
                .await
                .unwrap();
        }));
    }
    for publish in publishes {
        within(publish).await.unwrap();
    }
}

/// Reads all messages and says how many others came between.
async fn hear_all_in_order(session: Session) {
    for number in 0..MESSAGES {
        assert_eq!(text(&session).await, number.to_string());
    }
}

async fn join(moderator: &Session, app: &App) -> Session {
    within(moderator.invite(app.name().without_id())).await.unwrap();
    within(app.accept()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reliable_group_hears_every_message_once_and_in_order() {
    let (_node, address) = short_lived_node().await;
    let (_alices, alice, to_alice) = distant(address, "org/ns/alice").await;
    let (_bobs, bob, to_bob) = distant(address, "org/ns/bob").await;
    let (_carols, carol, to_carol) = distant(address, "org/ns/carol").await;
    let settings = SessionConfig {
        // What is lost on the way is not repeated within the test: every loss fails it.
        reliability: Some(Reliability {
            interval: Duration::from_secs(90),
            max_retries: 1,
        }),
        ..group()
    };
    let ours = within(alice.open(settings)).await.unwrap();
    let (bobs, carols) = (join(&ours, &bob).await, join(&ours, &carol).await);
    let listeners = [
        tokio::spawn(hear_all_in_order(bobs)),
        tokio::spawn(hear_all_in_order(carols)),
    ];
    publish_all(&ours).await;
    for listener in listeners {
        within(listener).await.unwrap();
    }
    for proxy in [to_alice, to_bob, to_carol] {
        assert!(proxy.connections() >= 3, "{} connections", proxy.connections());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreliable_session_loses_nothing_and_hears_nothing_twice() {
    let (_node, address) = short_lived_node().await;
    let (_alices, alice, to_alice) = distant(address, "org/ns/alice").await;
    let (_bobs, bob, to_bob) = distant(address, "org/ns/bob").await;
    for kind in [SessionKind::PointToPoint, SessionKind::Group] {
        let settings = SessionConfig {
            reliability: None,
            mls: false,
            destination: match kind {
                SessionKind::PointToPoint => name("org/ns/bob"),
                SessionKind::Group => name("org/ns/room"),
            },
            ..config(kind, "org/ns/bob")
        };
        let ours = within(alice.open(settings)).await.unwrap();
        let theirs = match kind {
            SessionKind::PointToPoint => within(bob.accept()).await.unwrap(),
            SessionKind::Group => join(&ours, &bob).await,
        };
        let listener = tokio::spawn(async move {
            let mut heard = Vec::new();
            while heard.len() < MESSAGES as usize {
                if let Item::Message(message) = within(theirs.receive()).await.unwrap() {
                    heard.push(String::from_utf8(message.payload.to_vec()).unwrap());
                }
            }
            // A copy that comes twice comes at about the same time.
            tokio::time::sleep(Duration::from_millis(500)).await;
            while let Some(item) = theirs.try_receive() {
                if let Item::Message(message) = item.unwrap() {
                    heard.push(String::from_utf8(message.payload.to_vec()).unwrap());
                }
            }
            heard
        });
        publish_all(&ours).await;
        let mut heard: Vec<u32> = within(listener)
            .await
            .unwrap()
            .iter()
            .map(|text| text.parse().unwrap())
            .collect();
        // Two paths for a moment: order is what reliable sessions are for.
        heard.sort_unstable();
        let expected: Vec<u32> = (0..MESSAGES).collect();
        assert_eq!(heard, expected, "{kind:?}");
    }
    assert!(to_alice.connections() >= 5 && to_bob.connections() >= 5);
}
