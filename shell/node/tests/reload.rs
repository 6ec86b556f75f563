//! A running node under a changed configuration.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../net/tests/common/mod.rs"]
mod certificates;
mod common;

use std::net::SocketAddr;
use std::time::Duration;

use certificates::{Ca, Directory, Life};
use common::{DEADLINE, KeyedPeer, RawPeer, frame, full_name, is_ok_end, message, within};
use slim_config::{ClientConfig, ClientTls, NodeConfig};
use slim_net::dial;
use slim_node::Node;

fn config(text: &str) -> NodeConfig {
    NodeConfig::from_yaml_text(text).unwrap().config
}

/// One service with these listeners and clients.
fn service(dataplane: &str) -> NodeConfig {
    config(&format!("services: {{slim/0: {{dataplane: {{{dataplane}}}}}}}"))
}

fn plain(port: u16) -> String {
    format!("{{endpoint: '127.0.0.1:{port}', tls: {{insecure: true}}, require_header_mac: false}}")
}

async fn start(config: &NodeConfig) -> Node {
    Node::start(config, Vec::new()).await.unwrap()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[tokio::test]
async fn listeners_come_and_go_and_links_of_those_that_stay_do_not_notice() {
    let (kept, gone, new) = (free_port(), free_port(), free_port());
    let old = service(&format!("servers: [{}, {}]", plain(kept), plain(gone)));
    let mut node = start(&old).await;
    let mut staying = RawPeer::connect(at(kept), "agntcy/demo/staying").await;
    let mut leaving = RawPeer::connect(at(gone), "agntcy/demo/leaving").await;
    staying.subscribe(&full_name("agntcy/demo/staying")).await;

    let other = service(&format!("servers: [{}, {}]", plain(new), plain(kept)));
    let changes = within(node.change(&old, &other)).await.unwrap();
    assert_eq!(
        changes.done,
        [
            format!("service slim/0: 127.0.0.1:{new}: listening"),
            format!("service slim/0: 127.0.0.1:{gone}: not listening any more"),
        ]
    );
    assert!(changes.needs_restart.is_empty());
    let end = leaving.end().await;
    assert!(is_ok_end(&end), "{end}");

    let mut sender = RawPeer::connect(at(new), "agntcy/demo/sender").await;
    let text = message(&full_name("agntcy/demo/staying"), 1, 7, "still there");
    sender.send(frame(&text)).await;
    assert_eq!(staying.message().await.blob(), text.blob());
    // The port is free again as soon as the listener's task has dropped it.
    within(async {
        while tokio::net::TcpStream::connect(at(gone)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    node.drain(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_certificate_that_was_replaced_is_shown_from_then_on_and_a_broken_one_is_not() {
    let (old_ca, new_ca) = (Ca::new("old"), Ca::new("new"));
    let directory = Directory::new("reload");
    let write = |ca: &Ca| {
        let pair = ca.server(&["127.0.0.1"], Life::Valid);
        directory.write("node.pem", &pair.cert);
        directory.write("node.key", &pair.key);
    };
    write(&old_ca);
    let text = "servers: [{endpoint: '127.0.0.1:0', tls: {reload_interval: 1h, source: {type: file, cert: DIRnode.pem, key: DIRnode.key}}}]";
    let config = service(&text.replace("DIR", &directory.path("").display().to_string()));
    let mut node = start(&config).await;
    let address = node.local_addresses()[0];
    let client = |ca: &Ca| ClientConfig {
        tls: Some(ClientTls {
            ca: Some(ca.source()),
            system_roots: false,
            ..ClientTls::default()
        }),
        ..common::client(address)
    };
    let first = within(dial(&client(&old_ca))).await.unwrap();

    directory.write("node.pem", "nonsense");
    let error = within(node.change(&config, &config))
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("node.pem"), "{error}");
    within(dial(&client(&old_ca))).await.unwrap();

    write(&new_ca);
    let changes = within(node.change(&config, &config)).await.unwrap();
    assert!(changes.done.is_empty(), "{:?}", changes.done);
    within(dial(&client(&new_ca))).await.unwrap();
    within(dial(&client(&old_ca))).await.unwrap_err();
    drop(first);
    node.drain(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn new_rules_hold_for_links_that_are_open() {
    let rules = |rules: &str| {
        config(&format!(
            "services: {{slim/0: {{authorization: {{{rules}}}, dataplane: {{servers: [{}]}}}}}}",
            plain(0)
        ))
    };
    let (open, closed) = (rules("default: allow"), rules("default: deny"));
    let mut node = start(&open).await;
    let address = node.local_addresses()[0];
    let mut receiver = RawPeer::connect(address, "agntcy/demo/receiver").await;
    receiver.subscribe(&full_name("agntcy/demo/receiver")).await;
    let mut sender = RawPeer::connect(address, "agntcy/demo/sender").await;
    let text = message(&full_name("agntcy/demo/receiver"), 1, 1, "allowed");
    sender.send(frame(&text)).await;
    assert_eq!(receiver.message().await.blob(), text.blob());

    let changes = within(node.change(&open, &closed)).await.unwrap();
    assert_eq!(changes.done, ["service slim/0: rules changed"]);
    sender
        .send(frame(&message(
            &full_name("agntcy/demo/receiver"),
            1,
            2,
            "refused",
        )))
        .await;
    let nothing = tokio::time::timeout(Duration::from_millis(200), receiver.message()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    node.drain(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn clients_and_whole_services_come_and_go() {
    let far_config = service(&format!("servers: [{}]", plain(0)));
    let far = start(&far_config).await;
    let far_address = far.local_addresses()[0];
    let far_has = async |open: u64| {
        within(async {
            loop {
                let counters = &far.counters()[0];
                if counters.links_opened - counters.links_closed == open {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    };
    let link = format!(
        "clients: [{{endpoint: '{far_address}', tls: {{insecure: true}}, require_header_mac: false}}]"
    );
    let without = service(&format!("servers: [{}]", plain(0)));
    let with = service(&format!("servers: [{}], {link}", plain(0)));
    let mut node = start(&without).await;
    let changes = within(node.change(&without, &with)).await.unwrap();
    assert_eq!(
        changes.done,
        [format!("service slim/0: link to {far_address}: dialled")]
    );
    far_has(1).await;

    let two = config(&format!(
        "services: {{slim/0: {{dataplane: {{servers: [{}]}}}}, slim/1: {{dataplane: {{servers: [{}]}}}}}}",
        plain(0),
        plain(0)
    ));
    let changes = within(node.change(&with, &two)).await.unwrap();
    assert_eq!(
        changes.done,
        [
            format!("service slim/0: link to {far_address}: ended"),
            "service slim/1 started".to_owned()
        ]
    );
    far_has(0).await;
    assert_eq!(node.local_addresses().len(), 2);
    let changes = within(node.change(&two, &without)).await.unwrap();
    assert_eq!(changes.done, ["service slim/1 stopped"]);
    assert_eq!(node.local_addresses().len(), 1);
    node.drain(DEADLINE).await.unwrap();
    far.drain(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_a_port_that_is_taken_changes_nothing() {
    let old = service(&format!("servers: [{}]", plain(0)));
    let mut node = start(&old).await;
    let address = node.local_addresses()[0];
    let other = config(&format!(
        "{{runtime: {{n_cores: 1, drain_timeout: 1s}}, tracing: {{display_thread_ids: true}}, services: {{slim/0: \
         {{node_id: other, dataplane: {{servers: [{}]}}}}}}}}",
        plain(0)
    ));
    let changes = within(node.change(&old, &other)).await.unwrap();
    assert_eq!(changes.done, ["runtime.drain_timeout changed"]);
    assert_eq!(
        changes.needs_restart,
        [
            "runtime.n_cores",
            "tracing.display_thread_ids",
            "services.slim/0.node_id"
        ]
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let clash = service(&format!(
        "servers: [{}]",
        plain(taken.local_addr().unwrap().port())
    ));
    let error = within(node.change(&other, &clash)).await.unwrap_err().to_string();
    assert!(error.contains("in use"), "{error}");
    assert_eq!(node.local_addresses(), [address]);
    KeyedPeer::connect(address, "agntcy/demo/late").await;
    node.drain(DEADLINE).await.unwrap();
}
