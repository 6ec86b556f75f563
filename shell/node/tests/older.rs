//! Applications of 0.4 and 1.x that a node serves, seen from bare links.

mod common;
mod older_peer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::{RawPeer, frame, full_name, message, open_server, start, strict_server};
use older_peer::messages::{
    BOTH, GROUP_1_4, TUTORIAL_0_4, lines, link_request, parts, publish, subscription,
};
use older_peer::{Ending, OlderPeer, contains, listening, until};
use slim_older::{Dialect, Key, Kind, View};
use tokio::time::Instant;

const NAME: &str = "org/ns/app";

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
async fn nonsense_is_counted_and_its_link_stays() {
    for dialect in BOTH {
        let (node, address) = start(strict_server()).await;
        let mut peer = listening(address, dialect, NAME, 7).await;
        for nonsense in [&b""[..], b"\xff\xff", b"\x1a\x00", b"\x22\x00"] {
            peer.send(Bytes::from_static(nonsense)).await;
        }
        let mut sender = OlderPeer::connect(address, dialect).await;
        until(&node, |counters| {
            let older = &counters.older;
            older.messages.malformed == 2 && older.messages.ignored >= 2
        })
        .await;
        sender.send(publish(dialect, NAME, 7, 1, b"still")).await;
        assert!(contains(&peer.next().await, b"still"), "{dialect:?}");
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
