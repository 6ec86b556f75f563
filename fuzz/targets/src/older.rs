//! The wires of 0.4 and 1.x: which one a first message speaks, and what a node makes of theirs (wire-1x X3.1,
//! wire-routing B4).

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use slim_older::{Dialect, First, Key, Kind, OlderLink, OlderRouter, Output, View};
use slim_proto::control::{
    ConnectionType, LinkNegotiation, SubscriptionAck, SubscriptionAction, SubscriptionRequest,
};
use slim_proto::name::component_hash;
use slim_proto::wire::{put_length_tag, put_varint_field};
use slim_proto::{Content, Frame, FullName, HeaderView, Message, NameId, SessionKind};

use crate::script::{Script, edited};

/// The first message of a link: bytes as they come, and today's messages of any content, which are never taken for older.
pub fn first_message(data: &[u8]) {
    let frame = Frame::new(Bytes::copy_from_slice(data));
    let is_of_today = frame.is_ok_and(|frame| {
        let view = HeaderView::parse(&frame);
        view.is_ok_and(|view| !view.identity.is_empty() || view.fanout != 0)
    });
    if is_of_today {
        assert_eq!(
            First::of(data),
            First::Current,
            "a header of today is taken for another"
        );
    }
    let mut script = Script::new(data);
    let (source, destination) = (name(&mut script), name(&mut script));
    let identity = script.text();
    let number = script.u32();
    let content = Content::Application {
        payload_type: script.text(),
        blob: Bytes::copy_from_slice(script.chunk()),
    };
    let mut message = Message::new(
        source.clone(),
        destination.clone(),
        SessionKind::PointToPoint,
        number,
        number,
        content,
    );
    message.identity = identity.clone();
    message.fanout = number.max(1);
    assert_eq!(First::of(&message.encode()), First::Current, "{message:?}");
    for action in [SubscriptionAction::Subscribe, SubscriptionAction::Unsubscribe] {
        let request = SubscriptionRequest {
            action,
            source: source.clone(),
            destination: destination.clone(),
            identity: identity.clone(),
            subscription_id: number.into(),
        };
        assert_eq!(First::of(request.encode().bytes()), First::Current, "{request:?}");
    }
    let request = LinkNegotiation {
        link_id: identity,
        version: script.text(),
        is_reply: false,
        public_key: Bytes::from_static(&[7; 32]),
        connection_type: ConnectionType::Edge,
        node_id: String::new(),
        deployment_name: String::new(),
        kem_payload: None,
    };
    assert_eq!(First::of(request.encode().bytes()), First::Current, "{request:?}");
}

/// A script of links and messages for a node's part for the older wires.
pub fn older_router(data: &[u8]) {
    let mut script = Script::new(data);
    let mut node = Node::default();
    for dialect in [Dialect::V0_4, Dialect::V0_4, Dialect::V1, Dialect::V1] {
        node.up(dialect);
    }
    let mut steps = 0;
    while let Some(step) = script.step(8) {
        steps += 1;
        let links: Vec<OlderLink> = node.links.keys().copied().collect();
        let link = script.choose(&links).copied();
        match (step, link) {
            (0, _) => node.up(if script.byte().is_multiple_of(2) {
                Dialect::V0_4
            } else {
                Dialect::V1
            }),
            (1, Some(link)) => node.down(link),
            (2, Some(link)) => node.hear(link, script.chunk()),
            (3, Some(link)) => {
                let made = made(node.links[&link], &mut script);
                node.hear(link, &edited(&made, &mut script));
            }
            (_, Some(link)) => {
                let made = made(node.links[&link], &mut script);
                node.hear(link, &made);
            }
            (_, None) => {}
        }
        let subscriptions =
            node.router.subscriptions_of(Dialect::V0_4) + node.router.subscriptions_of(Dialect::V1);
        assert!(subscriptions <= steps, "a message makes one subscription at most");
    }
    for link in node.links.keys().copied().collect::<Vec<_>>() {
        node.down(link);
    }
    for dialect in [Dialect::V0_4, Dialect::V1] {
        assert_eq!(
            (
                node.router.subscriptions_of(dialect),
                node.router.links_of(dialect)
            ),
            (0, 0),
            "links take everything of theirs along"
        );
    }
}

#[derive(Default)]
struct Node {
    router: OlderRouter,
    links: BTreeMap<OlderLink, Dialect>,
}

impl Node {
    fn up(&mut self, dialect: Dialect) {
        if self.links.len() < 16 {
            let link = self.router.handle_link_up(dialect);
            self.links.insert(link, dialect);
        }
    }

    fn down(&mut self, link: OlderLink) {
        self.links.remove(&link);
        self.router.handle_link_down(link);
        assert!(
            self.router.poll_output().is_none(),
            "an end says nothing to others"
        );
    }

    fn hear(&mut self, from: OlderLink, bytes: &[u8]) {
        let dialect = self.links[&from];
        let Ok(frame) = Frame::new(Bytes::copy_from_slice(bytes)) else {
            return;
        };
        let view = View::parse(dialect, frame.bytes()).ok().flatten();
        self.router.handle_frame(from, &frame);
        let mut receivers = Vec::new();
        while let Some(Output::Send { link, egress }) = self.router.poll_output() {
            let view = view.as_ref().expect("what cannot be read causes nothing");
            let sent = egress.into_frame().expect("what is sent is a frame");
            assert_eq!(
                self.links.get(&link),
                Some(&dialect),
                "nothing leaves its dialect"
            );
            match view.kind {
                Kind::Publish => {
                    assert_ne!(link, from, "a publish never goes back to its sender");
                    forwarded(dialect, view, &frame, &sent);
                }
                Kind::Subscribe | Kind::Unsubscribe => {
                    assert_eq!((link, dialect), (from, Dialect::V1));
                    let ack = SubscriptionAck::decode(&sent).ok().flatten();
                    assert_eq!(ack.map(|ack| ack.subscription_id), Some(view.subscription_id));
                }
                Kind::Link => {
                    assert_eq!((link, dialect), (from, Dialect::V1));
                    let reply = View::parse(dialect, sent.bytes()).ok().flatten();
                    let reply = reply.and_then(|reply| Some(reply.link?.link_id.to_owned()));
                    assert_eq!(reply.as_deref(), view.link.map(|request| request.link_id));
                }
            }
            assert!(!receivers.contains(&link), "nobody gets a message twice");
            receivers.push(link);
        }
        if let Some(view) = view.filter(|view| view.kind == Kind::Publish && view.fanout == 1) {
            assert!(receivers.len() <= 1, "{view:?} went to {receivers:?}");
        }
    }
}

/// What arrives is what was sent, without hop-local fields; sending it on again changes nothing more.
fn forwarded(dialect: Dialect, view: &View<'_>, frame: &Frame, sent: &Frame) {
    let again = View::parse(dialect, sent.bytes()).ok().flatten();
    let again = again.expect("what is forwarded can be read");
    assert_eq!(
        (again.kind, again.source, again.destination, again.fanout),
        (view.kind, view.source, view.destination, view.fanout)
    );
    assert!(sent.bytes().len() <= frame.bytes().len());
    assert_eq!(again.outgoing(dialect, sent.bytes()), sent.bytes());
}

/// A message of a dialect, of a few names and ids.
fn made(dialect: Dialect, script: &mut Script<'_>) -> Vec<u8> {
    let what = script.byte();
    if what % 8 == 7 {
        let body = [
            submessage(1, script.chunk()),
            submessage(2, b"1.4.0"),
            varint(3, u64::from(what >> 7)),
        ];
        return submessage(5, &submessage(1, &body.concat()));
    }
    let (source, destination) = (script.byte(), script.byte());
    let mut header = [
        submessage(1, &key(dialect, source)),
        submessage(2, &key(dialect, destination)),
        varint(3, u64::from(what >> 5)),
    ]
    .concat();
    if what & 0x10 != 0 {
        // Hop-local in one of the two dialects or in both.
        let number = 4 + u32::from(script.byte() % 4);
        header.extend(varint(number, u64::from(script.byte())));
    }
    let mut body = submessage(1, &header);
    let member = match what % 4 {
        0 => 1,
        1 => 2,
        _ => 3,
    };
    match (member, dialect) {
        (3, Dialect::V0_4) => body.extend([submessage(2, &varint(3, 77)), submessage(4, b"hello")].concat()),
        (3, Dialect::V1) => body.extend([submessage(2, &varint(3, 77)), submessage(3, b"hello")].concat()),
        (1, Dialect::V0_4) => {
            for (number, part) in (2..).zip(text(destination)) {
                body.extend(submessage(number, part.as_bytes()));
            }
        }
        (_, Dialect::V1) => body.extend(varint(2, u64::from(script.byte() % 8))),
        (_, Dialect::V0_4) => {}
    }
    submessage(member, &body)
}

fn text(byte: u8) -> [&'static str; 3] {
    ["org", "ns", ["a", "b", "c"][usize::from(byte) % 3]]
}

/// An encoded name: three hashes and one of a few ids.
fn key(dialect: Dialect, byte: u8) -> Vec<u8> {
    let mut components = Vec::new();
    for (number, part) in (1..).zip(text(byte)) {
        components.extend(varint(number, component_hash(part)));
    }
    let id = match (byte >> 2) % 4 {
        0 => Key::ANY,
        id => u64::from(id),
    };
    components.extend(varint(4, id));
    match dialect {
        Dialect::V0_4 => components,
        Dialect::V1 => submessage(1, &components),
    }
}

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

fn name(script: &mut Script<'_>) -> FullName {
    let component = script.text();
    let id = NameId::from_halves(script.u32().into(), script.u32().into());
    FullName::new("org", "ns", &component)
        .or_else(|_| FullName::new("org", "ns", "app"))
        .expect("three parts")
        .with_id(id)
}
