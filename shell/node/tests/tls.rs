//! Nodes whose links are protected by TLS.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../net/tests/common/mod.rs"]
mod certificates;
mod common;

use std::time::Duration;

use certificates::{Ca, Directory, Life};
use common::{is_ok_end, strict_server, within};
use slim_config::{ClientConfig, ClientTls, NodeConfig, ServerConfig, ServerTls};
use slim_net::dial;
use slim_node::{Node, NodeCounters};

/// A CA, a node's and a client's certificate, and a stranger's CA, as files.
fn files(name: &str) -> Directory {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let directory = Directory::new(name);
    let node = ca.server(&["localhost", "127.0.0.1"], Life::Valid);
    let client = ca.client("near", Life::Valid);
    for (file, text) in [
        ("ca.pem", &ca.pem),
        ("other.pem", &other.pem),
        ("node.pem", &node.cert),
        ("node.key", &node.key),
        ("client.pem", &client.cert),
        ("client.key", &client.key),
    ] {
        directory.write(file, text);
    }
    directory
}

async fn start(entry: &str, directory: &Directory) -> Result<Node, String> {
    let text = format!("services: {{slim/0: {{authorization: {{default: allow}}, dataplane: {{{entry}}}}}}}")
        .replace("DIR", &directory.path("").display().to_string());
    let config = NodeConfig::from_yaml_text(&text).unwrap().config;
    Node::start(&config, Vec::new())
        .await
        .map_err(|error| error.to_string())
}

const SERVER: &str = "servers: [{endpoint: 'https://127.0.0.1:0', tls: {
    source: {type: file, cert: DIRnode.pem, key: DIRnode.key}, client_ca: {type: file, path: DIRca.pem}}}]";

#[tokio::test]
async fn a_node_dials_another_with_certificates_on_both_sides_and_leaves_in_order() {
    let directory = files("node-mtls");
    let far = start(SERVER, &directory).await.unwrap();
    let address = far.local_addresses()[0];
    let client = |ca: &str, source: &str| {
        format!(
            "clients: [{{endpoint: 'https://{address}', tls: {{ca_source: {{type: file, path: DIR{ca}}}{source}}},
             backoff: {{type: fixed_interval, interval: 10ms}}}}]"
        )
    };
    let source = ", source: {type: file, cert: DIRclient.pem, key: DIRclient.key}";
    let near = start(&client("ca.pem", source), &directory).await.unwrap();
    until(&far, |counters| counters.links_opened == 1).await;
    until(&near, |counters| counters.links_opened == 1).await;

    // Who shows nothing, or believes another CA, is refused each time and tries on.
    for (ca, source) in [("ca.pem", ""), ("other.pem", source)] {
        let before = far.counters()[0].tls_refused;
        let stranger = start(&client(ca, source), &directory).await.unwrap();
        until(&far, |counters| counters.tls_refused >= before + 2).await;
        assert_eq!(stranger.counters()[0].links_opened, 0);
        stranger.drain(Duration::from_secs(10)).await.unwrap();
    }
    assert_eq!(far.counters()[0].links_opened, 1);
    near.drain(Duration::from_secs(10)).await.unwrap();
    until(&far, |counters| counters.links_closed == 1).await;
    far.drain(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn draining_ends_a_protected_call_with_status_ok_and_abandons_handshakes() {
    let ca = Ca::new("ca");
    let server = ServerConfig {
        tls: Some(ServerTls::new(ca.server(&["127.0.0.1"], Life::Valid).source())),
        ..strict_server()
    };
    let (node, address) = common::start(server).await;
    let config = ClientConfig {
        tls: Some(ClientTls {
            ca: Some(ca.source()),
            system_roots: false,
            ..ClientTls::default()
        }),
        ..common::client(address)
    };
    let mut dialed = within(dial(&config)).await.unwrap();
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let before = std::time::Instant::now();
    let (drained, end) = tokio::join!(node.drain(Duration::from_secs(10)), within(dialed.reader.next()));
    drained.unwrap();
    let end = end.unwrap_err();
    assert!(is_ok_end(&end), "{end}");
    assert!(
        before.elapsed() < Duration::from_secs(4),
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test]
async fn a_node_with_a_wrong_file_does_not_start_and_names_it() {
    let directory = files("node-wrong");
    let client =
        "clients: [{endpoint: 'https://localhost:9', tls: {ca_source: {type: file, path: DIRgone.pem}}}]";
    for (entry, text) in [
        (
            SERVER.replace("DIRnode.key", "DIRclient.key"),
            "service slim/0, 127.0.0.1:0: the private key of tls.source.key (DIRclient.key) does not belong to the \
             first certificate of tls.source.cert (DIRnode.pem); configure a pair that was made together",
        ),
        (
            SERVER.replace("DIRca.pem", "DIRgone.pem"),
            "service slim/0, 127.0.0.1:0: tls.client_ca (DIRgone.pem) cannot be read: No such file or directory",
        ),
        (
            client.to_owned(),
            "service slim/0, localhost:9: tls.ca_source (DIRgone.pem) cannot be read: No such file or directory",
        ),
    ] {
        let error = start(&entry, &directory).await.unwrap_err();
        let error = error.replace(&directory.path("").display().to_string(), "DIR");
        assert!(error.starts_with(text), "{error}");
    }
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
