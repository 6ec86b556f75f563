//! Applications of 0.4 and 1.x that a node does not serve, and what it says of those that it serves.

mod common;
mod older_peer;

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use common::{RawPeer, frame, full_name, message, open_server, start, strict_server, within};
use older_peer::messages::{BOTH, link_request, publish, subscription, subscription_0_6};
use older_peer::{Ending, OlderPeer, listening, stays_silent, until};
use slim_config::{NodeConfig, ServerConfig};
use slim_node::Node;
use slim_older::Dialect;
use tokio::time::Instant;

const NAME: &str = "org/ns/app";
const LINK_ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

#[tokio::test]
async fn what_is_of_no_generation_that_is_served_is_refused_by_its_rule() {
    log();
    let server = ServerConfig {
        negotiation_timeout: Duration::from_secs(1),
        ..strict_server()
    };
    let (node, address) = start(server).await;
    // Today's wire without negotiation, and a link that says nothing, end as a refused negotiation does.
    let mut early = OlderPeer::connect(address, Dialect::V1).await;
    early
        .send(frame(&message(&full_name(NAME), 1, 1, "too early")).into_bytes())
        .await;
    assert_eq!(early.end().await, Ending::Status("0".into()));
    for dialect in BOTH {
        let before = Instant::now();
        let mut silent = OlderPeer::connect(address, dialect).await;
        assert_eq!(silent.end().await, Ending::Status("0".into()));
        assert!(before.elapsed() >= Duration::from_secs(1));
    }
    assert_eq!(node.counters()[0].negotiations_failed, 3);
    // 0.6 would come back at once; it is held still.
    let mut v0_6 = OlderPeer::connect(address, Dialect::V1).await;
    v0_6.send(subscription_0_6(NAME)).await;
    until(&node, |counters| counters.older.links_held == 1).await;
    stays_silent(&mut v0_6).await;
}

#[tokio::test]
async fn a_listener_without_legacy_refuses_gently() {
    let log = log();
    let server = ServerConfig {
        legacy: false,
        ..open_server()
    };
    let (node, address) = start(server).await;
    // 0.4 tries some times with pauses, and gives up.
    let Err(refusal) = OlderPeer::try_connect(address, Dialect::V0_4).await else {
        panic!("served")
    };
    assert_eq!(refusal["grpc-status"], "12");
    assert!(
        refusal["grpc-message"]
            .to_str()
            .unwrap()
            .contains("legacy: false")
    );
    // 1.x comes back at once, for ever, when it is sent away.
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut peer = OlderPeer::connect(address, Dialect::V1).await;
        peer.send(link_request(LINK_ID)).await;
        peer.send(subscription(Dialect::V1, NAME, 7, 1)).await;
        // More than is kept of somebody who is not served; nobody is sent away for it.
        peer.send(publish(Dialect::V1, NAME, 7, 1, &[0; 20_000])).await;
        held.push(peer);
    }
    until(&node, |counters| counters.older.links_held == 3).await;
    for peer in &mut held {
        stays_silent(peer).await;
    }
    assert_eq!(node.counters()[0].older.v1_links, 0);
    assert!(
        log.contains("a link is not served: its application is of 1.x, and the listener has legacy: false")
    );
    // Today's applications notice nothing.
    let mut today = RawPeer::connect(address, NAME).await;
    today.subscribe(&full_name(NAME)).await;
    within(node.drain(Duration::from_secs(10))).await.unwrap();
    for peer in &mut held {
        assert_eq!(peer.end().await, Ending::Status("0".into()));
    }
}

#[tokio::test]
async fn rules_that_do_not_allow_everything_hold_older_links_still() {
    log();
    let config = |authorization: &str| {
        let text = format!(
            "services: {{slim/0: {{dataplane: {{servers: [{{endpoint: '127.0.0.1:0', tls: {{insecure: true}}}}]}}, \
             authorization: {authorization}}}}}"
        );
        NodeConfig::from_yaml_text(&text).unwrap().config
    };
    let open = config("{default: allow}");
    let narrow = config("{rules: [{match: any, subscribe: 'org/ns/*', publish: 'org/ns/*'}]}");
    let mut node = Node::start(&open, Vec::new()).await.unwrap();
    let address = node.local_addresses()[0];
    let mut served = Vec::new();
    for dialect in BOTH {
        served.push(listening(address, dialect, NAME, 7).await);
    }
    let before = node.counters()[0].older;
    // Under new rules they are sent away once, and held still when they come back.
    within(node.change(&open, &narrow)).await.unwrap();
    for peer in &mut served {
        assert!(matches!(peer.end().await, Ending::Reset(_)), "{:?}", peer.dialect);
    }
    let mut held = Vec::new();
    for dialect in BOTH {
        let mut peer = OlderPeer::connect(address, dialect).await;
        peer.send(subscription(dialect, NAME, 7, 1)).await;
        held.push(peer);
    }
    let counters = until(&node, |counters| counters.older.links_held == 2)
        .await
        .older;
    assert_eq!(
        (counters.v0_4_links, counters.v1_links),
        (before.v0_4_links, before.v1_links)
    );
    for peer in &mut held {
        stays_silent(peer).await;
    }
}

#[tokio::test]
async fn the_first_link_of_a_generation_is_warned_about_once_in_a_process() {
    let log = log();
    for _ in 0..2 {
        let (node, address) = start(strict_server()).await;
        let mut peers = Vec::new();
        for dialect in BOTH {
            peers.push(listening(address, dialect, NAME, 7).await);
        }
        drop(node);
    }
    assert_eq!(log.count("WARN slim_node::older::notice: first link of 0.4"), 1);
    assert_eq!(log.count("WARN slim_node::older::notice: first link of 1.x"), 1);
    for weakness in [
        "shared secret of their group in clear text",
        "signed from end to end",
        "legacy: false",
    ] {
        assert!(log.contains(weakness), "{weakness}");
    }
}

#[tokio::test]
async fn a_changed_listener_refuses_new_links_and_keeps_those_it_has() {
    log();
    let config = |legacy: bool| {
        let server = format!("{{endpoint: '127.0.0.1:0', tls: {{insecure: true}}, legacy: {legacy}}}");
        let text = format!("services: {{slim/0: {{dataplane: {{servers: [{server}]}}}}}}");
        NodeConfig::from_yaml_text(&text).unwrap().config
    };
    let (serving, refusing) = (config(true), config(false));
    let mut node = Node::start(&serving, Vec::new()).await.unwrap();
    let address = node.local_addresses()[0];
    let mut receiver = listening(address, Dialect::V1, NAME, 7).await;
    let mut sender = OlderPeer::named(address, Dialect::V1, "org/ns/sender", 1).await;
    within(node.change(&serving, &refusing)).await.unwrap();
    assert!(OlderPeer::try_connect(address, Dialect::V0_4).await.is_err());
    let mut held = OlderPeer::connect(address, Dialect::V1).await;
    held.send(link_request(LINK_ID)).await;
    until(&node, |counters| counters.older.links_held == 1).await;
    sender.send(publish(Dialect::V1, NAME, 7, 1, b"as before")).await;
    receiver.next().await;
    within(node.change(&refusing, &serving)).await.unwrap();
    listening(address, Dialect::V0_4, NAME, 7).await;
}

/// What this process logs at `warn` and above.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn count(&self, text: &str) -> usize {
        let written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&written).matches(text).count()
    }

    fn contains(&self, text: &str) -> bool {
        self.count(text) > 0
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Each test asks for it first, so that nothing is said before somebody listens.
fn log() -> Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    let start = || {
        let log = Log::default();
        let writer = log.clone();
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::WARN)
            .with_writer(move || writer.clone())
            .init();
        log
    };
    LOG.get_or_init(start).clone()
}
