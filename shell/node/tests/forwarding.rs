//! What a node does with frames, seen from bare links.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{
    KeyedPeer, RawPeer, decode, frame, full_name, message, named, open_server, start, strict_server,
    subscription, within,
};
use slim_config::{NodeConfig, ServerConfig};
use slim_node::Node;
use slim_proto::control::SubscriptionAction;
use slim_proto::limits::TTL_DEFAULT;
use slim_proto::{Egress, Frame, HeaderView};

#[tokio::test]
async fn a_subscribed_name_gets_its_messages_with_one_hop_less() {
    let (_node, address) = start(open_server()).await;
    let name = named("org/ns/app", 7);
    let mut receiver = RawPeer::connect(address, "org/ns/app").await;
    receiver.subscribe(&name).await;
    let mut sender = RawPeer::connect(address, "org/ns/sender").await;
    let sent = message(&name, 1, 3, vec![9; 100_000]);
    sender.send(frame(&sent)).await;
    let mut received = receiver.message().await;
    assert_eq!(received.ttl, TTL_DEFAULT - 1);
    received.ttl = TTL_DEFAULT;
    assert_eq!(received, sent, "nothing else changes");
}

#[tokio::test]
async fn s_67_a_message_for_one_goes_to_one_and_takes_turns() {
    let (_node, address) = start(open_server()).await;
    let name = full_name("org/ns/app");
    let mut first = RawPeer::connect(address, "org/ns/app").await;
    first.subscribe(&name.with_id(slim_proto::NameId(1))).await;
    let mut second = RawPeer::connect(address, "org/ns/app").await;
    second.subscribe(&name.with_id(slim_proto::NameId(2))).await;
    let mut sender = RawPeer::connect(address, "org/ns/sender").await;
    for number in 0..10 {
        sender.send(frame(&message(&name, 1, number, "x"))).await;
    }
    let mut numbers = Vec::new();
    for _ in 0..5 {
        numbers.push(first.message().await.message_id);
        numbers.push(second.message().await.message_id);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_for_all_reaches_all_but_its_sender() {
    let (_node, address) = start(open_server()).await;
    let channel = named("org/ns/channel", 5);
    let mut members = Vec::new();
    for _ in 0..4 {
        let mut member = RawPeer::connect(address, "org/ns/member").await;
        member.subscribe(&channel).await;
        members.push(member);
    }
    members[0].send(frame(&message(&channel, 256, 1, "to all"))).await;
    for member in &mut members[1..] {
        assert_eq!(member.message().await.message_id, 1);
    }
    // What the first one gets next is what another member says, so its own message did not come back.
    members[1].send(frame(&message(&channel, 256, 2, "answer"))).await;
    assert_eq!(members[0].message().await.message_id, 2);
}

#[tokio::test]
async fn messages_at_the_end_of_their_hops_go_no_further() {
    let (_node, address) = start(open_server()).await;
    let name = named("org/ns/app", 7);
    let mut receiver = RawPeer::connect(address, "org/ns/app").await;
    receiver.subscribe(&name).await;
    let mut sender = RawPeer::connect(address, "org/ns/sender").await;
    for ttl in [0, 1, 2] {
        let mut message = message(&name, 1, ttl, "x");
        message.ttl = ttl;
        sender.send(frame(&message)).await;
    }
    let received = receiver.message().await;
    assert_eq!((received.message_id, received.ttl), (2, 1));
}

#[tokio::test]
async fn an_ended_subscription_and_a_closed_link_get_nothing_more() {
    let (node, address) = start(open_server()).await;
    let (kept, ended) = (named("org/ns/app", 1), named("org/ns/app", 2));
    let mut receiver = RawPeer::connect(address, "org/ns/app").await;
    receiver.subscribe(&kept).await;
    receiver.subscribe(&ended).await;
    receiver.unsubscribe(&ended, 2).await;
    let mut sender = RawPeer::connect(address, "org/ns/sender").await;
    sender.send(frame(&message(&ended, 1, 1, "x"))).await;
    sender.send(frame(&message(&kept, 1, 2, "x"))).await;
    assert_eq!(receiver.message().await.message_id, 2);

    drop(receiver);
    until(&node, |counters| counters.links_closed == 1).await;
    sender.send(frame(&message(&kept, 1, 3, "x"))).await;
    // The acknowledgement says that everything before it was handled.
    sender.subscribe(&named("org/ns/sender", 1)).await;
    drop(sender);
    let counters = until(&node, |counters| counters.links_closed == 2).await;
    assert_eq!(counters.publishes.drops(slim_router::DropReason::NoRoute), 2);
    assert_eq!(counters.publishes.forwarded, 1);
}

#[tokio::test]
async fn frames_of_one_link_take_effect_in_order() {
    let (_node, address) = start(open_server()).await;
    let (own, other) = (named("org/ns/a", 1), named("org/ns/b", 1));
    let mut answering = RawPeer::connect(address, "org/ns/b").await;
    answering.subscribe(&other).await;
    let mut asking = RawPeer::connect(address, "org/ns/a").await;
    for number in 0..50 {
        // In one write: the question would be answered before an unordered subscription is in force.
        let subscribe = subscription(SubscriptionAction::Subscribe, &asking.name, &own, 0);
        asking.writer.push(Egress::verbatim(subscribe));
        asking
            .writer
            .push(Egress::verbatim(frame(&message(&other, 1, number, "?"))));
        within(asking.writer.flush()).await.unwrap();
        assert_eq!(answering.message().await.message_id, number);
        answering.send(frame(&message(&own, 1, number, "!"))).await;
        assert_eq!(asking.message().await.message_id, number);
        let end = subscription(SubscriptionAction::Unsubscribe, &asking.name, &own, 0);
        asking.send(end).await;
    }
}

#[tokio::test]
async fn a_strict_link_passes_signed_frames_and_drops_all_others() {
    let (_node, address) = start(strict_server()).await;
    let name = named("org/ns/app", 7);
    let mut receiver = KeyedPeer::connect(address, "org/ns/app").await;
    receiver.subscribe(&name).await;
    let mut sender = KeyedPeer::connect(address, "org/ns/sender").await;

    let unsigned = Egress::verbatim(frame(&message(&name, 1, 1, "unsigned")));
    sender.send(unsigned).await;
    let signed = sender.signed(&frame(&message(&name, 1, 2, "forged")));
    let forged = with_other_mac(signed.into_frame().unwrap());
    sender.send(Egress::verbatim(forged)).await;
    let good = sender.signed(&frame(&message(&name, 1, 3, "good")));
    sender.send(good).await;
    assert_eq!(receiver.message().await.message_id, 3);
}

#[tokio::test]
async fn nonsense_frames_are_dropped_and_the_link_stays() {
    let (_node, address) = start(open_server()).await;
    let name = named("org/ns/app", 7);
    let mut receiver = RawPeer::connect(address, "org/ns/app").await;
    receiver.subscribe(&name).await;
    let mut sender = RawPeer::connect(address, "org/ns/sender").await;
    for nonsense in [
        &b""[..],
        b"\xFF\xFF\xFF",
        b"\x1A\x00",
        b"\x0A\x00",
        b"\x32\x02\x08\x01",
        b"\x2A\x00",
    ] {
        sender.send(Frame::new(nonsense).unwrap()).await;
    }
    sender.send(frame(&message(&name, 1, 1, "x"))).await;
    assert_eq!(receiver.message().await.message_id, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_stopped_reader_delays_no_other_link_and_is_closed_in_the_end() {
    let (node, address) = start(open_server()).await;
    let channel = named("org/ns/channel", 5);
    let mut stopped = RawPeer::connect(address, "org/ns/stopped").await;
    stopped.subscribe(&channel).await;
    let mut healthy = RawPeer::connect(address, "org/ns/healthy").await;
    healthy.subscribe(&channel).await;
    let mut sender = RawPeer::connect(address, "org/ns/sender").await;
    // 64 MiB: more than the windows and the queue of the stopped link take.
    let blob = Bytes::from(vec![1; 64 * 1024]);
    let mut slowest = Duration::ZERO;
    for number in 0..1024 {
        sender
            .send(frame(&message(&channel, 256, number, blob.clone())))
            .await;
        let asked = tokio::time::Instant::now();
        assert_eq!(
            healthy.message().await.message_id,
            number,
            "nothing is lost on the healthy link"
        );
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "a message took {slowest:?}");
    let counters = until(&node, |counters| counters.slow_consumers == 1).await;
    assert_eq!(counters.links_closed, 1, "only the stopped link is gone");
    drop(stopped);
    // The others go on.
    sender.send(frame(&message(&channel, 256, 5000, "after"))).await;
    assert_eq!(healthy.message().await.message_id, 5000);
    drop(sender);
    let counters = until(&node, |counters| counters.links_closed == 2).await;
    assert!(counters.queue_full > 0);
}

#[tokio::test]
async fn a_frame_of_the_largest_size_passes_with_room_for_its_header() {
    let (_node, address) = start(open_server()).await;
    let name = named("org/ns/app", 7);
    let mut receiver = RawPeer::connect(address, "org/ns/app").await;
    receiver.subscribe(&name).await;
    let mut sender = RawPeer::connect(address, "org/ns/sender").await;
    let blob = vec![3; slim_proto::limits::PAYLOAD_BYTES_MAX];
    sender.send(frame(&message(&name, 1, 1, blob.clone()))).await;
    assert_eq!(receiver.message().await.blob(), blob);
}

#[tokio::test]
async fn a_node_dials_its_clients_and_dials_again_when_the_link_is_lost() {
    let (far, address) = start(strict_server()).await;
    let text = format!(
        "services: {{slim/0: {{dataplane: {{clients: [{{endpoint: '{address}', tls: {{insecure: true}},
         backoff: {{type: fixed_interval, interval: 10ms}}}}]}}}}}}"
    );
    let config = NodeConfig::from_yaml_text(&text).unwrap().config;
    let near = Node::start(&config, Vec::new()).await.unwrap();
    until(&far, |counters| counters.links_opened == 1).await;
    until(&near, |counters| counters.links_opened == 1).await;
    far.drain(Duration::from_secs(10)).await.unwrap();
    let again = ServerConfig {
        endpoint: address.into(),
        ..strict_server()
    };
    let (far, _) = start(again).await;
    until(&far, |counters| counters.links_opened == 1).await;
    near.drain(Duration::from_secs(10)).await.unwrap();
    until(&far, |counters| counters.links_closed == 1).await;
}

#[tokio::test]
async fn an_old_link_of_a_node_is_replaced_before_it_ends() {
    let mut server = strict_server();
    server.keepalive.max_connection_age = Duration::from_millis(300);
    let (far, address) = start(server).await;
    let text = format!(
        "services: {{slim/0: {{dataplane: {{clients: [{{endpoint: '{address}', tls: {{insecure: true}}}}]}}}}}}"
    );
    let config = NodeConfig::from_yaml_text(&text).unwrap().config;
    let near = Node::start(&config, Vec::new()).await.unwrap();
    until(&far, |counters| counters.links_opened == 1).await;
    // From the first link on there is always one.
    let counters = until(&far, |counters| {
        assert!(counters.links_opened > counters.links_closed, "{counters:?}");
        counters.links_closed >= 3
    })
    .await;
    assert!(counters.links_opened >= 4, "{counters:?}");
    near.drain(Duration::from_secs(10)).await.unwrap();
    until(&far, |counters| counters.links_opened == counters.links_closed).await;
}

/// Waits for a condition on the node's counters.
async fn until(node: &Node, condition: impl Fn(&slim_node::NodeCounters) -> bool) -> slim_node::NodeCounters {
    within(async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        loop {
            let counters = node.counters()[0];
            if condition(&counters) {
                return counters;
            }
            look.tick().await;
        }
    })
    .await
}

/// The same frame with one bit of its MAC turned.
fn with_other_mac(frame: Frame) -> Frame {
    let mac = HeaderView::parse(&frame)
        .expect("a header")
        .header_mac
        .expect("a MAC")
        .to_vec();
    let mut bytes = frame.into_bytes().to_vec();
    let at = bytes
        .windows(mac.len())
        .position(|window| window == mac)
        .expect("the MAC is part of the frame");
    bytes[at] ^= 1;
    let forged = Frame::new(bytes).expect("a frame");
    assert_eq!(decode(forged.clone()).message_id, 2, "still well-formed");
    forged
}
