//! Applications of 0.4 and 1.x on a node, seen from bare links.

mod common;
// Not a part of `common`, which the SDK's tests use too: they have not what these need.
#[path = "common/older.rs"]
mod older_peer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{RawPeer, frame, full_name, message, open_server, start, strict_server, within};
use older_peer::{
    BOTH, Ending, GROUP_1_4, OlderPeer, TUTORIAL_0_4, lines, link_request, parts, publish, subscription,
    subscription_0_6,
};
use slim_config::{NodeConfig, ServerConfig};
use slim_node::{Node, NodeCounters};
use slim_older::{Dialect, Key, Kind, View};
use tokio::time::Instant;

const NAME: &str = "org/ns/app";

/// A name for each probe, so that no link gets another's.
static PROBES: AtomicU64 = AtomicU64::new(0);

#[tokio::test]
async fn equal_names_in_three_generations_never_see_each_others_messages() {
    let (node, address) = start(open_server()).await;
    let mut today = RawPeer::connect(address, NAME).await;
    today.subscribe(&full_name(NAME)).await;
    let mut receivers = Vec::new();
    for dialect in BOTH {
        receivers.push(listening(address, dialect, NAME, Key::ANY).await);
    }
    let mut today_sender = RawPeer::connect(address, "org/ns/sender").await;
    let mut senders = Vec::new();
    for dialect in BOTH {
        senders.push(OlderPeer::named(address, dialect, "org/ns/sender", 1).await);
    }
    for fanout in [1, 256] {
        let text = format!("today {fanout}");
        today_sender
            .send(frame(&message(&full_name(NAME), fanout, 1, text)))
            .await;
        for sender in &mut senders {
            let text = format!("{} {fanout}", sender.dialect.name());
            let fanout = u64::from(fanout);
            let sent = publish(sender.dialect, NAME, Key::ANY, fanout, text.as_bytes());
            sender.send(sent).await;
        }
    }
    for fanout in ["1", "256"] {
        for receiver in &mut receivers {
            let expected = format!("{} {fanout}", receiver.dialect.name());
            let got = receiver.next().await;
            assert!(contains(&got, expected.as_bytes()), "{expected}: {got:?}");
        }
        let got = today.frame().await;
        assert!(contains(got.bytes(), format!("today {fanout}").as_bytes()));
    }
    let counters = node.counters()[0];
    assert_eq!(
        counters.links_opened, 2,
        "older links are counted apart: {counters:?}"
    );
    assert!(counters.older.v0_4_links >= 3 && counters.older.v1_links >= 3);
}

#[tokio::test]
async fn recorded_applications_get_from_this_node_what_they_got_from_theirs() {
    for (dialect, recording, least) in [(Dialect::V0_4, TUTORIAL_0_4, 5), (Dialect::V1, GROUP_1_4, 20)] {
        let (node, address) = start(strict_server()).await;
        let delivered = replay(address, dialect, recording).await;
        assert!(delivered > least, "{dialect:?}: {delivered}");
        let counters = node.counters()[0].older;
        assert_eq!(counters.messages.malformed, 0, "{counters:?}");
    }
}

#[tokio::test]
async fn a_1_x_link_is_answered_and_one_that_only_subscribes_is_served_too() {
    let (node, address) = start(strict_server()).await;
    let mut negotiating = OlderPeer::connect(address, Dialect::V1).await;
    let link_id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    // It does not wait for the answer, which comes first nevertheless.
    negotiating.send(link_request(link_id)).await;
    negotiating.send(subscription(Dialect::V1, NAME, 7, 5)).await;
    let reply = negotiating.next().await;
    let view = View::parse(Dialect::V1, &reply).unwrap().unwrap();
    let link = view.link.unwrap();
    assert_eq!(
        (view.kind, link.link_id, link.is_reply),
        (Kind::Link, link_id, true)
    );
    let ack = slim_proto::Frame::new(negotiating.next().await).unwrap();
    let ack = slim_proto::control::SubscriptionAck::decode(&ack)
        .unwrap()
        .unwrap();
    assert_eq!((ack.subscription_id, ack.outcome), (5, Ok(())));

    let mut silent = OlderPeer::connect(address, Dialect::V1).await;
    silent
        .send(subscription(Dialect::V1, "org/ns/silent", 8, 0))
        .await;
    silent.send(publish(Dialect::V1, NAME, 7, 1, b"hello")).await;
    assert!(contains(&negotiating.next().await, b"hello"));
    negotiating
        .send(publish(Dialect::V1, "org/ns/silent", 8, 1, b"back"))
        .await;
    assert!(contains(&silent.next().await, b"back"), "it got no ack before");
    assert_eq!(node.counters()[0].older.v1_links, 2);
}

#[tokio::test]
async fn what_is_of_no_generation_that_is_served_is_refused_by_its_rule() {
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
async fn nonsense_is_counted_and_its_link_stays() {
    for dialect in BOTH {
        let (node, address) = start(strict_server()).await;
        let mut peer = listening(address, dialect, NAME, 7).await;
        for nonsense in [&b""[..], b"\xff\xff", b"\x1a\x00", b"\x22\x00"] {
            peer.send(Bytes::from_static(nonsense)).await;
        }
        let mut sender = OlderPeer::connect(address, dialect).await;
        until(&node, |NodeCounters { older, .. }| {
            older.messages.malformed == 2 && older.messages.ignored >= 2
        })
        .await;
        sender.send(publish(dialect, NAME, 7, 1, b"still")).await;
        assert!(contains(&peer.next().await, b"still"), "{dialect:?}");
    }
}

#[tokio::test]
async fn a_listener_without_legacy_refuses_gently() {
    let server = ServerConfig {
        legacy: false,
        ..open_server()
    };
    let (node, address) = start(server).await;
    // 0.4 tries some times with pauses, and then shows the reason.
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
        peer.send(link_request("0f8fad5b-d9cb-469f-a165-70867728950e"))
            .await;
        peer.send(subscription(Dialect::V1, NAME, 7, 1)).await;
        held.push(peer);
    }
    until(&node, |counters| counters.older.links_held == 3).await;
    for peer in &mut held {
        stays_silent(peer).await;
    }
    assert_eq!(node.counters()[0].older.v1_links, 0);
    // Today's applications notice nothing.
    let mut today = RawPeer::connect(address, NAME).await;
    today.subscribe(&full_name(NAME)).await;
    within(node.drain(Duration::from_secs(10))).await.unwrap();
    for peer in &mut held {
        assert_eq!(peer.end().await, Ending::Status("0".into()));
    }
}

#[tokio::test]
async fn a_stopping_node_ends_older_links_in_order() {
    let (node, address) = start(strict_server()).await;
    let mut peers = Vec::new();
    for dialect in BOTH {
        let mut receiver = listening(address, dialect, NAME, 7).await;
        let mut sender = OlderPeer::connect(address, dialect).await;
        for number in 0..100 {
            sender
                .send(publish(
                    dialect,
                    NAME,
                    7,
                    1,
                    format!("number {number};").as_bytes(),
                ))
                .await;
        }
        // What was accepted is delivered before the end, and all of it was accepted when this arrives.
        let mut witness = listening(address, dialect, "org/ns/witness", 1).await;
        sender
            .send(publish(dialect, "org/ns/witness", 1, 1, b"all sent"))
            .await;
        assert!(contains(&witness.next().await, b"all sent"));
        let first = receiver.next().await;
        assert!(contains(&first, b"number 0;"));
        peers.push((sender, receiver));
    }
    let (drained, ()) = tokio::join!(node.drain(Duration::from_secs(10)), async {
        for (sender, receiver) in &mut peers {
            assert_eq!(sender.end().await, Ending::Status("0".into()));
            for number in 1..100 {
                let got = receiver.next().await;
                assert!(contains(&got, format!("number {number};").as_bytes()));
            }
            assert_eq!(receiver.end().await, Ending::Status("0".into()));
        }
    });
    drained.unwrap();
}

#[tokio::test]
async fn one_stopped_reader_delays_no_other_older_link_and_is_closed_in_the_end() {
    let (node, address) = start(strict_server()).await;
    let channel = "org/ns/channel";
    let mut stopped = listening(address, Dialect::V1, channel, 1).await;
    let mut healthy = listening(address, Dialect::V1, channel, 2).await;
    let mut sender = OlderPeer::named(address, Dialect::V1, "org/ns/sender", 1).await;
    // 25 MiB: more than the windows and the queue of the stopped link take.
    let blob = vec![1; 64 * 1024];
    let mut slowest = Duration::ZERO;
    for _ in 0..400 {
        sender
            .send(publish(Dialect::V1, channel, Key::ANY, 256, &blob))
            .await;
        let asked = Instant::now();
        assert!(healthy.next().await.len() > blob.len());
        slowest = slowest.max(asked.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "a message took {slowest:?}");
    until(&node, |counters| counters.slow_consumers == 1).await;
    assert_eq!(stopped.end().await, Ending::Reset(h2::Reason::CANCEL));
    // The others go on; a link's own counts are added at its end.
    sender
        .send(publish(Dialect::V1, channel, Key::ANY, 256, b"after"))
        .await;
    assert!(contains(&healthy.next().await, b"after"));
    drop(sender);
    until(&node, |counters| counters.queue_full > 0).await;
}

#[tokio::test]
async fn rules_that_do_not_allow_everything_hold_older_links_still() {
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

/// A link that is subscribed, whatever its dialect acknowledges: another one has reached it.
async fn listening(address: SocketAddr, dialect: Dialect, name: &str, id: u64) -> OlderPeer {
    let mut peer = OlderPeer::named(address, dialect, name, id).await;
    let probe = &format!("org/ns/probe {}", PROBES.fetch_add(1, Ordering::Relaxed));
    peer.subscribe(probe, 1, 8).await;
    let mut other = OlderPeer::connect(address, dialect).await;
    let probing = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        for number in 0.. {
            pause.tick().await;
            other
                .send(publish(
                    dialect,
                    probe,
                    1,
                    256,
                    format!("probe {number};").as_bytes(),
                ))
                .await;
            if number > 1000 {
                panic!("not subscribed");
            }
        }
    };
    tokio::select! {
        () = probing => {}
        got = peer.next() => assert!(contains(&got, b"probe")),
    }
    // The probes that are still on their way come before this one, which nobody else gets.
    other.send(publish(dialect, probe, 1, 256, b"last probe")).await;
    while !contains(&peer.next().await, b"last probe") {}
    peer
}

/// A recorded application: its link, and what it got before the recorded one did.
struct Replayed {
    link: OlderPeer,
    early: Vec<Vec<Vec<u8>>>,
}

/// Plays the recorded applications: what they said is said in its order, and each waits for what it got.
async fn replay(address: SocketAddr, dialect: Dialect, recording: &str) -> usize {
    // A message behind which everything of a link has taken effect.
    let mut witness = listening(address, dialect, "org/ns/witness", 1).await;
    let mut apps: BTreeMap<String, Replayed> = BTreeMap::new();
    let mut delivered = 0;
    for line in lines(recording) {
        if line.to_node && !apps.contains_key(&line.app) {
            let app = Replayed {
                link: OlderPeer::connect(address, dialect).await,
                early: Vec::new(),
            };
            apps.insert(line.app.clone(), app);
        }
        let app = apps.get_mut(&line.app).expect("an application speaks first");
        if line.to_node {
            app.link.send(line.bytes).await;
            app.link
                .send(publish(dialect, "org/ns/witness", 1, 1, b"done"))
                .await;
            assert!(contains(&witness.next().await, b"done"));
            continue;
        }
        let view = View::parse(dialect, &line.bytes).expect("decodable");
        let Some(view) = view.filter(|view| view.kind == Kind::Publish) else {
            continue;
        };
        // What the recorded node wrote about its own connection is not of interest.
        let expected = parts(&view.outgoing(dialect, &line.bytes));
        // Messages of two senders may come in another order.
        let position = loop {
            if let Some(position) = app.early.iter().position(|got| *got == expected) {
                break position;
            }
            app.early.push(parts(&app.link.next().await));
        };
        app.early.remove(position);
        delivered += 1;
    }
    delivered
}

/// Nothing comes, and the call stays open, while the node does other things.
async fn stays_silent(peer: &mut OlderPeer) {
    let some_time = Duration::from_millis(300);
    let got = tokio::time::timeout(some_time, peer.end()).await;
    assert!(got.is_err(), "{got:?}");
}

async fn until(node: &Node, condition: impl Fn(&NodeCounters) -> bool) -> NodeCounters {
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

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
