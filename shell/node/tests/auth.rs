//! Nodes that know who dials: what a link may do follows from who it is, from its first frame on and anew whenever
//! the rules change.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{RawPeer, frame, message, named, within};
use serde_json::json;
use slim_config::{ClientConfig, NodeConfig};
use slim_node::{Node, NodeCounters};
use slim_router::DropReason;

const SECRET: &str = "the secret of all who may dial here";

/// Two listeners, one for a password and one for tokens, and these rules.
fn configured(rules: &str) -> NodeConfig {
    let text = format!(
        "services:
  slim/0:
    authorization: {rules}
    dataplane:
      servers:
        - endpoint: 127.0.0.1:0
          tls: {{insecure: true}}
          require_header_mac: false
          auth: {{type: basic, username: alice, password: open sesame}}
        - endpoint: 127.0.0.1:0
          tls: {{insecure: true}}
          require_header_mac: false
          auth: {{type: jwt, key: {{type: decoding, algorithm: HS256, format: pem, key: {{data: {SECRET}}}}}}}
"
    );
    NodeConfig::from_yaml_text(&text).unwrap().config
}

async fn start(rules: &str) -> Node {
    Node::start(&configured(rules), Vec::new()).await.unwrap()
}

fn with_password(address: SocketAddr) -> ClientConfig {
    dialing(
        address,
        &json!({"type": "basic", "username": "alice", "password": "open sesame"}),
    )
}

fn with_token(address: SocketAddr, subject: &str) -> ClientConfig {
    let key = json!({"type": "encoding", "algorithm": "HS256", "format": "pem", "key": {"data": SECRET}});
    dialing(
        address,
        &json!({"type": "jwt", "key": key, "claims": {"subject": subject}}),
    )
}

fn dialing(address: SocketAddr, auth: &serde_json::Value) -> ClientConfig {
    let text = json!({
        "endpoint": address.to_string(), "tls": {"insecure": true}, "auth": auth, "require_header_mac": false,
    });
    ClientConfig::from_json_text(&text.to_string()).unwrap().config
}

const OWN_NAMES: &str = "{rules: [
    {match: any, subscribe: 'org/ns/{subject}', publish: 'org/ns/*'},
    {match: {method: basic}, subscribe: 'org/ns/of-passwords'}]}";

#[tokio::test]
async fn s_16_each_listener_asks_for_its_own_and_the_rules_know_by_what_a_link_was_proven() {
    let node = start(OWN_NAMES).await;
    let (password, token) = (node.local_addresses()[0], node.local_addresses()[1]);
    let mut alice = RawPeer::connect_as(&with_password(password), "org/ns/alice").await;
    let mut bob = RawPeer::connect_as(&with_token(token, "bob"), "org/ns/bob").await;
    let shared = named("org/ns/of-passwords", 0);
    assert_eq!(alice.try_subscribe(&shared).await, Ok(()));
    let refused = "\"bob\" may not subscribe to \"org/ns/of-passwords\"";
    assert_eq!(bob.try_subscribe(&shared).await, Err(refused.to_owned()));
    for (address, wrong) in [
        (token, with_password(token)),
        (password, with_token(password, "bob")),
    ] {
        let error = within(slim_net::dial(&wrong)).await.unwrap_err();
        assert!(error.to_string().contains("401"), "{address}: {error}");
    }
}

#[tokio::test]
async fn s_16_nobody_gets_what_is_for_another_and_what_is_refused_is_counted() {
    let node = start(OWN_NAMES).await;
    let token = node.local_addresses()[1];
    let mut alice = RawPeer::connect_as(&with_token(token, "alice"), "org/ns/alice").await;
    let mut mallory = RawPeer::connect_as(&with_token(token, "mallory"), "org/ns/mallory").await;
    let (for_alice, for_mallory) = (named("org/ns/alice", 0xA), named("org/ns/mallory", 0xB));
    assert_eq!(alice.try_subscribe(&for_alice).await, Ok(()));
    assert_eq!(mallory.try_subscribe(&for_mallory).await, Ok(()));
    let refused = "\"mallory\" may not subscribe to \"org/ns/alice\"";
    assert_eq!(mallory.try_subscribe(&for_alice).await, Err(refused.to_owned()));

    let mut bob = RawPeer::connect_as(&with_token(token, "bob"), "org/ns/bob").await;
    let from_bob = |number: u32| {
        let mut message = message(&for_alice, 1, number, "for alice");
        message.source = named("org/ns/bob", 0xC);
        message
    };
    for number in 0..20 {
        bob.send(frame(&from_bob(number))).await;
        assert_eq!(alice.message().await.message_id, from_bob(number).message_id);
    }
    // Under bob's name, and out of the namespace: nothing arrives.
    let mut forged = from_bob(100);
    forged.source = named("org/ns/alice", 0xA);
    bob.send(frame(&forged)).await;
    let mut elsewhere = from_bob(101);
    elsewhere.destination = named("org/other/alice", 0xA);
    bob.send(frame(&elsewhere)).await;
    bob.send(frame(&from_bob(102))).await;
    assert_eq!(alice.message().await.message_id, from_bob(102).message_id);
    // The first frame that mallory gets is its own.
    let mut own = from_bob(200);
    own.destination = for_mallory.clone();
    bob.send(frame(&own)).await;
    assert_eq!(mallory.message().await.destination, for_mallory);
    drop(bob);
    until(&node, |counters| {
        let dropped = |reason| counters.publishes.drops(reason);
        dropped(DropReason::SourceDenied) == 1 && dropped(DropReason::PublishDenied) == 1
    })
    .await;
}

#[tokio::test]
async fn new_rules_hold_for_links_that_are_up() {
    let mut node = start(OWN_NAMES).await;
    let token = node.local_addresses()[1];
    let mut bob = RawPeer::connect_as(&with_token(token, "bob"), "org/ns/bob").await;
    let mut alice = RawPeer::connect_as(&with_token(token, "alice"), "org/ns/alice").await;
    let (for_bob, channel) = (named("org/ns/bob", 0xB), named("org/ns/channel", 0xC));
    assert_eq!(bob.try_subscribe(&for_bob).await, Ok(()));
    assert!(bob.try_subscribe(&channel).await.is_err());

    let other = "{rules: [{match: any, subscribe: [org/ns/channel, org/ns/alice], publish: '**'}]}";
    let (before, after) = (configured(OWN_NAMES), configured(other));
    node.change(&before, &after).await.unwrap();
    assert_eq!(bob.try_subscribe(&channel).await, Ok(()));
    assert!(bob.try_subscribe(&for_bob).await.is_err(), "withdrawn");
    let mut to_bob = message(&for_bob, 1, 1, "for nobody");
    to_bob.source = named("org/ns/alice", 0xA);
    alice.send(frame(&to_bob)).await;
    let mut to_channel = message(&channel, 1, 2, "for all");
    to_channel.source = named("org/ns/alice", 0xA);
    alice.send(frame(&to_channel)).await;
    assert_eq!(bob.message().await.destination, channel, "the other went nowhere");

    node.change(&after, &configured("{default: allow}"))
        .await
        .unwrap();
    assert_eq!(bob.try_subscribe(&named("any/name/whatever", 1)).await, Ok(()));
}

#[tokio::test]
async fn a_service_that_checks_who_dials_and_has_no_rules_does_not_start() {
    let text = "services: {slim/0: {dataplane: {servers: [{endpoint: '127.0.0.1:0', tls: {insecure: true},
        auth: {type: basic, username: alice, password: open sesame}}]}}}";
    let config = NodeConfig::from_yaml_text(text).unwrap().config;
    let error = Node::start(&config, Vec::new()).await.unwrap_err().to_string();
    assert_eq!(
        error,
        "service slim/0: 127.0.0.1:0 checks who dials, and nothing says who may use which name; add rules such as \
         `authorization: {rules: [{match: any, subscribe: \"agntcy/demo/{subject}\", publish: \"agntcy/demo/*\"}]}`, \
         or `authorization: {default: allow}` for every name to everybody who is let in"
    );
    // The example is one.
    let example = "{rules: [{match: any, subscribe: \"agntcy/demo/{subject}\", publish: \"agntcy/demo/*\"}]}";
    start(example).await.drain(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_node_dials_another_with_credentials_and_tries_on_when_it_is_refused() {
    let far = start("{default: allow}").await;
    let near = |password: &str| {
        let text = format!(
            "services: {{slim/0: {{dataplane: {{clients: [{{endpoint: '{}', tls: {{insecure: true}},
                auth: {{type: basic, username: alice, password: {password}}}}}]}}}}}}",
            far.local_addresses()[0]
        );
        NodeConfig::from_yaml_text(&text).unwrap().config
    };
    let node = Node::start(&near("open sesame"), Vec::new()).await.unwrap();
    until(&far, |counters| counters.links_opened == 1).await;
    node.drain(Duration::from_secs(5)).await.unwrap();
    let stranger = Node::start(&near("guess"), Vec::new()).await.unwrap();
    until(&far, |counters| counters.auth_refused == 1).await;
    // It stops at once although it waits for another attempt.
    assert_eq!(far.counters()[0].links_opened, 1);
    within(stranger.drain(Duration::from_secs(5))).await.unwrap();
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
