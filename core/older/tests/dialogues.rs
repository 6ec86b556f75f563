//! Every row of the documents' tables, and the recordings of unmodified packages replayed through the router.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use slim_older::{Dialect, First, Key, Kind, OlderLink, OlderRouter, Output, View};
use slim_proto::Frame;
use slim_proto::control::SubscriptionAck;
use slim_proto::name::component_hash;
use slim_proto::wire::{put_length_tag, put_varint_field};

const TUTORIAL_0_4: &str = include_str!("../vectors/tutorial-0.4.1.jsonl");
const GROUP_1_4: &str = include_str!("../vectors/group-1.4.1-mls.jsonl");
const BOTH: [Dialect; 2] = [Dialect::V0_4, Dialect::V1];

fn submessage(number: u32, body: &[u8]) -> Vec<u8> {
    let mut output = BytesMut::new();
    put_length_tag(&mut output, number, body.len());
    output.put_slice(body);
    output.to_vec()
}

fn varint(number: u32, value: u64) -> Vec<u8> {
    let mut output = BytesMut::new();
    put_varint_field(&mut output, number, value);
    output.to_vec()
}

fn name(dialect: Dialect, text: &str, id: u64) -> Vec<u8> {
    let mut components = Vec::new();
    for (number, part) in (1..).zip(text.split('/')) {
        components.extend(varint(number, component_hash(part)));
    }
    components.extend(varint(4, id));
    match dialect {
        Dialect::V0_4 => components,
        Dialect::V1 => {
            let mut strings = Vec::new();
            for (number, part) in (1..).zip(text.split('/')) {
                strings.extend(submessage(number, part.as_bytes()));
            }
            [submessage(1, &components), submessage(2, &strings)].concat()
        }
    }
}

struct Draft {
    source: (&'static str, u64),
    destination: (&'static str, u64),
    fanout: u64,
    /// Further header fields.
    extra: Vec<u8>,
}

impl Draft {
    fn to(destination: &'static str, id: u64) -> Self {
        Self {
            source: ("org/ns/sender", 1),
            destination: (destination, id),
            fanout: 1,
            extra: Vec::new(),
        }
    }

    fn header(&self, dialect: Dialect) -> Vec<u8> {
        [
            submessage(1, &name(dialect, self.source.0, self.source.1)),
            submessage(2, &name(dialect, self.destination.0, self.destination.1)),
            varint(3, self.fanout),
            self.extra.clone(),
        ]
        .concat()
    }

    fn subscription(&self, dialect: Dialect, member: u32, number: u64) -> Frame {
        let mut body = submessage(1, &self.header(dialect));
        if dialect == Dialect::V0_4 && member == 1 {
            for (number, part) in (2..).zip(self.destination.0.split('/')) {
                body.extend(submessage(number, part.as_bytes()));
            }
        } else if dialect == Dialect::V1 && number != 0 {
            body.extend(varint(2, number));
        }
        frame(submessage(member, &body))
    }

    fn publish(&self, dialect: Dialect) -> Frame {
        let content = if dialect == Dialect::V0_4 { 4 } else { 3 };
        let body = [
            submessage(1, &self.header(dialect)),
            submessage(2, &varint(3, 77)),
            submessage(content, b"\x0a\x03msg"),
        ];
        frame(submessage(3, &body.concat()))
    }
}

fn frame(bytes: Vec<u8>) -> Frame {
    Frame::new(Bytes::from(bytes)).unwrap()
}

/// A router and what its links got.
struct World {
    router: OlderRouter,
    dialect: Dialect,
}

impl World {
    fn new(dialect: Dialect) -> Self {
        Self {
            router: OlderRouter::new(),
            dialect,
        }
    }

    fn link(&mut self) -> OlderLink {
        self.router.handle_link_up(self.dialect)
    }

    fn subscriber(&mut self, name: &'static str, id: u64) -> OlderLink {
        let link = self.link();
        self.subscribe(link, name, id, 0);
        link
    }

    fn subscribe(&mut self, link: OlderLink, name: &'static str, id: u64, number: u64) -> Vec<Ack> {
        let frame = Draft::to(name, id).subscription(self.dialect, 1, number);
        self.router.handle_frame(link, &frame);
        self.acks()
    }

    fn unsubscribe(&mut self, link: OlderLink, name: &'static str, id: u64, number: u64) -> Vec<Ack> {
        let frame = Draft::to(name, id).subscription(self.dialect, 2, number);
        self.router.handle_frame(link, &frame);
        self.acks()
    }

    fn acks(&mut self) -> Vec<Ack> {
        let mut acks = Vec::new();
        while let Some(Output::Send { link, egress }) = self.router.poll_output() {
            let ack = SubscriptionAck::decode(&egress.into_frame().unwrap())
                .unwrap()
                .unwrap();
            acks.push((link, ack.subscription_id, ack.outcome));
        }
        acks
    }

    fn publish(&mut self, from: OlderLink, draft: &Draft) -> Vec<OlderLink> {
        self.router.handle_frame(from, &draft.publish(self.dialect));
        self.receivers().into_iter().map(|(link, _)| link).collect()
    }

    fn receivers(&mut self) -> Vec<(OlderLink, Bytes)> {
        let mut receivers = Vec::new();
        while let Some(Output::Send { link, egress }) = self.router.poll_output() {
            receivers.push((link, egress.into_frame().unwrap().into_bytes()));
        }
        receivers
    }
}

type Ack = (OlderLink, u64, Result<(), String>);

#[test]
fn a_message_for_one_goes_to_one_link_in_turn_and_never_back() {
    for dialect in BOTH {
        let mut world = World::new(dialect);
        let (a, b, c) = (
            world.subscriber("org/ns/app", 10),
            world.subscriber("org/ns/app", 20),
            world.subscriber("org/ns/app", 30),
        );
        let anybody = Draft::to("org/ns/app", Key::ANY);
        let mut counts = BTreeMap::new();
        for _ in 0..40 {
            let receivers = world.publish(a, &anybody);
            assert_eq!(receivers.len(), 1);
            *counts.entry(receivers[0]).or_insert(0) += 1;
        }
        assert_eq!(counts, BTreeMap::from([(b, 20), (c, 20)]), "{dialect:?}");
        assert_eq!(world.publish(a, &Draft::to("org/ns/app", 30)), [c]);
        assert!(
            world.publish(b, &Draft::to("org/ns/app", 20)).is_empty(),
            "not back to its sender"
        );
        assert!(world.publish(a, &Draft::to("org/ns/other", Key::ANY)).is_empty());
        assert_eq!(world.router.counters().no_match, 2);
    }
}

#[test]
fn a_message_for_all_goes_once_to_each_other_link() {
    for dialect in BOTH {
        let mut world = World::new(dialect);
        let sender = world.subscriber("org/ns/channel", Key::ANY);
        let members = [
            world.subscriber("org/ns/channel", Key::ANY),
            world.subscriber("org/ns/channel", 20),
        ];
        // Under two ids, and still one copy.
        world.subscribe(members[0], "org/ns/channel", 10, 0);
        for fanout in [0, 2, 50, 256] {
            let all = Draft {
                fanout,
                ..Draft::to("org/ns/channel", Key::ANY)
            };
            assert_eq!(world.publish(sender, &all), members, "{dialect:?} {fanout}");
            let one_id = Draft {
                fanout,
                ..Draft::to("org/ns/channel", 20)
            };
            assert_eq!(world.publish(sender, &one_id), members[1..]);
            let unknown = Draft {
                fanout,
                ..Draft::to("org/ns/channel", 99)
            };
            assert!(world.publish(sender, &unknown).is_empty());
        }
    }
}

#[test]
fn an_unknown_id_reaches_the_only_link_of_the_name_in_0_4_alone() {
    let unknown = Draft::to("org/ns/service", 99);
    let mut old = World::new(Dialect::V0_4);
    let (server, client) = (old.subscriber("org/ns/service", Key::ANY), old.link());
    assert_eq!(old.publish(client, &unknown), [server]);
    assert!(old.publish(server, &unknown).is_empty());
    // With two it is not known which; until one speaks with the id.
    let second = old.subscriber("org/ns/service", Key::ANY);
    assert!(old.publish(client, &unknown).is_empty());
    let answer = Draft {
        source: ("org/ns/service", 99),
        ..Draft::to("org/ns/nobody", 1)
    };
    old.publish(second, &answer);
    assert_eq!(old.publish(client, &unknown), [second]);
    // Who serves the name too cannot take the id over, and a stranger cannot claim one at all.
    old.publish(server, &answer);
    old.publish(client, &answer);
    assert_eq!(old.publish(client, &unknown), [second]);
    old.router.handle_link_down(second);
    assert_eq!(
        old.publish(client, &unknown),
        [server],
        "one is left, so it is that one"
    );

    let mut newer = World::new(Dialect::V1);
    let (_server, client) = (newer.subscriber("org/ns/service", Key::ANY), newer.link());
    assert!(newer.publish(client, &unknown).is_empty());
}

#[test]
fn every_numbered_subscription_of_1_x_is_answered_and_none_of_0_4() {
    let mut world = World::new(Dialect::V1);
    let link = world.link();
    let ok = |number| (link, number, Ok(()));
    assert_eq!(world.subscribe(link, "org/ns/app", 7, 501), [ok(501)]);
    assert_eq!(world.subscribe(link, "org/ns/app", 7, 501), [ok(501)], "repeated");
    assert_eq!(
        world.subscribe(link, "org/ns/app", 7, 502),
        [ok(502)],
        "twice the same name"
    );
    assert_eq!(world.subscribe(link, "org/ns/app", 7, 0), []);
    assert_eq!(world.router.subscriptions_of(Dialect::V1), 3);
    let failed = |number, text: &str| (link, number, Err(text.to_owned()));
    assert_eq!(
        world.unsubscribe(link, "org/ns/none", 7, 1),
        [failed(1, "subscription not found")]
    );
    assert_eq!(
        world.unsubscribe(link, "org/ns/app", 8, 1),
        [failed(1, "id not found: 8")]
    );
    let other = world.link();
    assert_eq!(
        world.unsubscribe(other, "org/ns/app", 7, 1),
        [(other, 1, Err("connection id not found: 2".to_owned()))]
    );
    // The one without number was made by a reconnect; it goes with whatever number comes.
    assert_eq!(world.unsubscribe(link, "org/ns/app", 7, 999), [ok(999)]);
    assert_eq!(
        world.unsubscribe(link, "org/ns/app", 7, 999),
        [failed(999, "subscription id not found: 999")]
    );
    assert_eq!(world.unsubscribe(link, "org/ns/app", 7, 501), [ok(501)]);
    let sender = world.link();
    assert_eq!(world.publish(sender, &Draft::to("org/ns/app", 7)), [link]);
    assert_eq!(world.unsubscribe(link, "org/ns/app", 7, 502), [ok(502)]);
    assert!(world.publish(sender, &Draft::to("org/ns/app", 7)).is_empty());
    assert_eq!(world.router.subscriptions_of(Dialect::V1), 0);

    let mut old = World::new(Dialect::V0_4);
    let link = old.link();
    assert_eq!(old.subscribe(link, "org/ns/app", 7, 5), []);
    assert_eq!(old.unsubscribe(link, "org/ns/none", 7, 5), []);
    assert_eq!(old.unsubscribe(link, "org/ns/app", 7, 5), []);
    assert_eq!(old.router.subscriptions_of(Dialect::V0_4), 0);
}

#[test]
fn a_negotiation_of_1_x_is_answered_once_with_its_link_id() {
    let mut world = World::new(Dialect::V1);
    let link = world.link();
    let link_id = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let body = [submessage(1, link_id.as_bytes()), submessage(2, b"1.4.0")].concat();
    let request = frame(submessage(5, &submessage(1, &body)));
    world.router.handle_frame(link, &request);
    let answers = world.receivers();
    assert_eq!(answers.len(), 1);
    let view = View::parse(Dialect::V1, &answers[0].1).unwrap().unwrap();
    let reply = view.link.unwrap();
    assert_eq!(
        (view.kind, reply.link_id, reply.version, reply.is_reply),
        (Kind::Link, link_id, "1.4.0", true)
    );
    world.router.handle_frame(link, &request);
    world
        .router
        .handle_frame(link, &Frame::new(answers[0].1.clone()).unwrap());
    assert!(
        world.receivers().is_empty(),
        "neither a second request nor a reply is answered"
    );
}

#[test]
fn hop_local_fields_do_not_leave_the_node_and_nothing_else_changes() {
    for (dialect, first) in [(Dialect::V0_4, 4), (Dialect::V1, 5)] {
        let mut world = World::new(dialect);
        let receiver = world.subscriber("org/ns/app", 7);
        let sender = world.link();
        // forward_to would be obeyed by upstream; an unknown field and the error mark belong to the ends.
        let kept = [varint(first + 3, 1), submessage(30, b"later")].concat();
        let draft = Draft {
            extra: [
                varint(first, 9),
                varint(first + 1, 9),
                varint(first + 2, 9),
                kept.clone(),
            ]
            .concat(),
            ..Draft::to("org/ns/app", 7)
        };
        world.router.handle_frame(sender, &draft.publish(dialect));
        let clean = Draft {
            extra: kept,
            ..Draft::to("org/ns/app", 7)
        };
        let expected = clean.publish(dialect).into_bytes();
        assert_eq!(world.receivers(), [(receiver, expected)], "{dialect:?}");
    }
}

#[test]
fn garbage_is_counted_and_the_link_stays() {
    for dialect in BOTH {
        let mut world = World::new(dialect);
        let link = world.link();
        let complete = Draft::to("org/ns/app", 7);
        let header = submessage(1, &complete.header(dialect));
        for bad in [
            submessage(1, b""),
            submessage(3, &header),
            submessage(3, &[submessage(1, b"\x08"), submessage(2, b"")].concat()),
            varint(1, 5),
        ] {
            world.router.handle_frame(link, &frame(bad));
        }
        assert_eq!(world.router.counters().malformed, 4, "{dialect:?}");
        for nothing in [submessage(4, b"\x0a\x00"), varint(99, 1)] {
            world.router.handle_frame(link, &frame(nothing));
        }
        assert_eq!(world.router.counters().ignored, 2);
        world.subscribe(link, "org/ns/app", 7, 0);
        assert_eq!(world.router.subscriptions_of(dialect), 1);
    }
}

#[test]
fn equal_names_in_two_dialects_are_two_names() {
    let mut router = OlderRouter::new();
    let old = router.handle_link_up(Dialect::V0_4);
    let newer = router.handle_link_up(Dialect::V1);
    let app = Draft::to("org/ns/app", Key::ANY);
    router.handle_frame(old, &app.subscription(Dialect::V0_4, 1, 0));
    router.handle_frame(newer, &app.subscription(Dialect::V1, 1, 0));
    let senders = BOTH.map(|dialect| router.handle_link_up(dialect));
    for (dialect, sender, receiver) in [(Dialect::V0_4, senders[0], old), (Dialect::V1, senders[1], newer)] {
        router.handle_frame(sender, &app.publish(dialect));
        let Some(Output::Send { link, .. }) = router.poll_output() else {
            panic!("{dialect:?}")
        };
        assert_eq!(link, receiver);
        assert_eq!(router.poll_output(), None);
    }
}

/// One line of a recording.
struct Line {
    app: String,
    to_node: bool,
    bytes: Bytes,
}

fn lines(recording: &str) -> Vec<Line> {
    recording
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| value[key].as_str().unwrap().to_owned();
            let hex = text("hex");
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
            Line {
                app: format!("{} {}", text("app"), value["link"]),
                to_node: text("to") == "node",
                bytes: (0..hex.len()).step_by(2).map(byte).collect(),
            }
        })
        .collect()
}

/// The outer fields in one order: a node that decodes and encodes again shuffles the metadata.
fn parts(message: &[u8]) -> Vec<Vec<u8>> {
    let span = |field: slim_proto::wire::Field<'_>| message[field.span].to_vec();
    let mut parts: Vec<Vec<u8>> = slim_proto::wire::Fields::of(message)
        .map(|field| span(field.unwrap()))
        .collect();
    parts.sort();
    parts
}

/// Gives the router what the recorded node got, and compares what every application was sent.
fn replay(dialect: Dialect, recording: &str) -> usize {
    let mut router = OlderRouter::new();
    let mut links = BTreeMap::new();
    let mut sent: BTreeMap<String, Vec<Vec<Vec<u8>>>> = BTreeMap::new();
    let mut recorded: BTreeMap<String, Vec<Vec<Vec<u8>>>> = BTreeMap::new();
    for line in lines(recording) {
        let app = line.app.clone();
        if !line.to_node {
            let view = View::parse(dialect, &line.bytes).unwrap();
            if view.as_ref().is_some_and(|view| view.kind == Kind::Publish) {
                // What the recorded node wrote about its own connection is not of interest.
                let outgoing = view.unwrap().outgoing(dialect, &line.bytes);
                recorded.entry(app).or_default().push(parts(&outgoing));
            }
            continue;
        }
        let link = *links.entry(app).or_insert_with(|| router.handle_link_up(dialect));
        router.handle_frame(link, &Frame::new(line.bytes).unwrap());
        while let Some(Output::Send { link, egress }) = router.poll_output() {
            let app = links.iter().find(|(_, of)| **of == link).unwrap().0.clone();
            let bytes = egress.into_frame().unwrap().into_bytes();
            let view = View::parse(dialect, &bytes).unwrap();
            if view.is_some_and(|view| view.kind == Kind::Publish) {
                sent.entry(app).or_default().push(parts(&bytes));
            }
        }
    }
    assert_eq!(router.counters().malformed, 0);
    for (app, messages) in &recorded {
        let ours = sent.entry(app.clone()).or_default();
        for message in messages {
            let position = ours.iter().position(|ours| ours == message);
            ours.swap_remove(
                position.unwrap_or_else(|| panic!("{app} was sent a message that ours does not send")),
            );
        }
    }
    // A message that was on its way when its application ended is in the recording on one side only.
    for (app, rest) in &sent {
        assert!(rest.len() <= 1, "{app} gets {} messages too many", rest.len());
    }
    recorded.values().map(Vec::len).sum()
}

#[test]
fn a_recorded_0_4_node_forwarded_the_same_messages() {
    assert!(replay(Dialect::V0_4, TUTORIAL_0_4) > 5);
}

#[test]
fn a_recorded_1_4_node_forwarded_the_same_messages() {
    assert!(replay(Dialect::V1, GROUP_1_4) > 20);
}

#[test]
fn the_first_message_tells_the_generation() {
    let first_of = |recording: &str| -> Vec<First> {
        let mut seen = BTreeMap::new();
        for line in lines(recording).into_iter().filter(|line| line.to_node) {
            seen.entry(line.app).or_insert_with(|| First::of(&line.bytes));
        }
        seen.into_values().collect()
    };
    assert!(first_of(GROUP_1_4).iter().all(|first| *first == First::V1));
    // The 0.4 layout on today's path is 0.6.
    assert!(first_of(TUTORIAL_0_4).iter().all(|first| *first == First::V0_6));
    let silent = Draft::to("org/ns/app", 7).subscription(Dialect::V1, 1, 0);
    assert_eq!(First::of(silent.bytes()), First::V1);
    let with_identity = Draft {
        extra: submessage(4, b"token"),
        ..Draft::to("org/ns/app", 7)
    };
    assert_eq!(
        First::of(with_identity.subscription(Dialect::V1, 1, 0).bytes()),
        First::V1
    );
    let link = |fields: &[Vec<u8>]| submessage(5, &submessage(1, &fields.concat()));
    let (id, version) = (submessage(1, b"id"), |text: &[u8]| submessage(2, text));
    assert_eq!(First::of(&link(&[id.clone(), version(b"1.4.0")])), First::V1);
    for current in [
        link(&[id.clone(), version(b"3.4.6")]),
        link(&[id.clone(), version(b"1.4.0"), submessage(4, &[7; 32])]),
        link(&[id.clone(), version(b"not a version")]),
        link(&[id]),
    ] {
        assert_eq!(First::of(&current), First::Current);
    }
}
