//! Nodes that listen and dial over WebSocket and socket files.
#![cfg(unix)]

#[path = "../../net/tests/common/mod.rs"]
mod certificates;
mod common;

use std::time::Duration;

use certificates::Directory;
use common::{RawPeer, full_name, is_ok_end, message, within};
use slim_config::{ClientConfig, Endpoint, NodeConfig, ServerConfig};
use slim_net::dial;
use slim_node::{Node, NodeCounters};

async fn start(dataplane: &str) -> Node {
    let text = format!("services: {{slim/0: {{dataplane: {{{dataplane}}}}}}}");
    let config = NodeConfig::from_yaml_text(&text).expect("a configuration").config;
    Node::start(&config, Vec::new()).await.expect("free ports")
}

/// Waits for a condition on the node's counters.
async fn until(node: &Node, condition: impl Fn(&NodeCounters) -> bool) {
    within(async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        while !condition(&node.counters()[0]) {
            look.tick().await;
        }
    })
    .await;
}

fn open_server(endpoint: &str) -> ServerConfig {
    ServerConfig {
        require_header_mac: false,
        ..ServerConfig::insecure(endpoint.parse().expect("an endpoint"))
    }
}

#[tokio::test]
async fn messages_pass_between_links_of_every_transport() {
    let directory = Directory::new("node-transports");
    let file = format!("unix://{}", directory.path("s").display());
    for endpoint in ["ws://127.0.0.1:0/slim", &*file] {
        let node = Node::serve(open_server(endpoint)).await.expect("a free port");
        let config = ClientConfig::insecure(node.local_endpoints()[0].clone());
        let mut receiver = RawPeer::connect_as(&config, "org/ns/receiver").await;
        let name = full_name("org/ns/receiver");
        receiver.subscribe(&name).await;
        let mut sender = RawPeer::connect_as(&config, "org/ns/sender").await;
        for number in 1..=200 {
            let blob = vec![7; 10_000];
            sender.send(common::frame(&message(&name, 1, number, blob))).await;
        }
        for _ in 1..=200 {
            let frame = within(receiver.reader.next()).await.expect("a message");
            assert!(frame.bytes().len() > 10_000);
        }
        node.drain(common::DEADLINE).await.expect("in time");
    }
}

#[tokio::test]
async fn a_node_dials_over_each_transport_and_dials_again() {
    let directory = Directory::new("node-uplinks");
    let file = format!("unix://{}", directory.path("s").display());
    for endpoint in ["ws://127.0.0.1:0/a/b", &*file] {
        let plain = "tls: {insecure: true}";
        let serve = |endpoint: &str| format!("servers: [{{endpoint: '{endpoint}', {plain}}}]");
        let far = start(&serve(endpoint)).await;
        let reached: Endpoint = far.local_endpoints()[0].clone();
        let backoff = "backoff: {type: fixed_interval, interval: 10ms}";
        let near = start(&format!(
            "clients: [{{endpoint: '{reached}', {plain}, {backoff}}}]"
        ))
        .await;
        until(&far, |counters| counters.links_opened == 1).await;
        until(&near, |counters| counters.links_opened == 1).await;
        far.drain(common::DEADLINE).await.expect("in time");
        let again = start(&serve(&reached.to_string())).await;
        until(&again, |counters| counters.links_opened == 1).await;
        near.drain(common::DEADLINE).await.expect("in time");
        until(&again, |counters| counters.links_closed == 1).await;
        again.drain(common::DEADLINE).await.expect("in time");
    }
}

#[tokio::test]
async fn draining_ends_a_websocket_link_in_order_and_refuses_openings() {
    let node = Node::serve(open_server("ws://127.0.0.1:0"))
        .await
        .expect("a free port");
    let address = node.local_addresses()[0];
    let config = ClientConfig::insecure(node.local_endpoints()[0].clone());
    let mut dialed = within(dial(&config)).await.expect("a node");
    let _silent = tokio::net::TcpStream::connect(address).await.expect("a node");
    let before = std::time::Instant::now();
    let (drained, end) = tokio::join!(node.drain(Duration::from_secs(10)), within(dialed.reader.next()));
    drained.expect("in time");
    let end = end.expect_err("an end");
    assert!(is_ok_end(&end), "{end}");
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{:?}",
        before.elapsed()
    );
}
