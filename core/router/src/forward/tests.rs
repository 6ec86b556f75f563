//! Selection and rewriting by wire-routing A6 and A8, and the table against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use slim_proto::{FullName, NameId};

use super::*;
use crate::link::Direction;
use crate::router::{Output, Router, RouterConfig};
use crate::testing::{
    at, edge, keyed, name, plain, publish, publish_message, signed, subscribe, tagged, unsubscribe, uplink,
    verifies,
};

/// A router whose table is looked at from outside, as a node's link drivers do.
struct Node {
    router: Router,
    fib: Arc<Fib>,
    links: BTreeMap<LinkId, Ingress>,
}

impl Node {
    fn new() -> Self {
        Self {
            router: Router::new(RouterConfig::default(), [3; 32]),
            fib: Arc::new(Fib::new(0)),
            links: BTreeMap::new(),
        }
    }

    fn link(&mut self, info: LinkInfo) -> LinkId {
        let info = Arc::new(info);
        let id = self.router.handle_link_up(at(0), Arc::clone(&info));
        self.links.insert(id, Ingress::new(id, info));
        self.drain();
        id
    }

    fn handle(&mut self, link: LinkId, frame: &Frame) {
        let frame = signed(frame, self.links[&link].link(), 8);
        self.router.handle_frame(at(0), link, &frame);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.router.poll_output() {
            if let Output::PublishFib(fib) = output {
                self.fib = fib;
            }
        }
    }

    /// Forwards as it is.
    fn forward_raw(&mut self, link: LinkId, frame: &Frame) -> Result<Vec<(LinkId, Frame)>, DropReason> {
        let mut out = Vec::new();
        let ingress = self.links.get_mut(&link).unwrap();
        let result = forward(&self.fib, ingress, frame, &mut out);
        assert!(result.is_ok() || out.is_empty());
        result?;
        Ok(out
            .into_iter()
            .map(|(to, egress)| (to, egress.into_frame().unwrap()))
            .collect())
    }

    /// Forwards a publish that is signed as the link wants it; returns the receivers.
    fn forward(
        &mut self,
        link: LinkId,
        destination: &FullName,
        fanout: u32,
    ) -> Result<Vec<LinkId>, DropReason> {
        let frame = signed(&publish(destination, fanout), self.links[&link].link(), 8);
        let copies = self.forward_raw(link, &frame)?;
        Ok(copies.into_iter().map(|(to, _)| to).collect())
    }
}

fn chat(id: u128) -> FullName {
    name("org/ns/chat").with_id(NameId(id))
}

fn anycast() -> FullName {
    name("org/ns/chat")
}

#[test]
fn a_concrete_id_reaches_exactly_its_subscribers() {
    let mut node = Node::new();
    let [sender, first, second, any] = std::array::from_fn(|_| node.link(edge()));
    node.handle(first, &subscribe(&chat(1), 1));
    node.handle(second, &subscribe(&chat(2), 1));
    // A subscription without id is no wildcard (wire-routing C10).
    node.handle(any, &subscribe(&anycast(), 1));
    for fanout in [0, 1, 2, 256] {
        assert_eq!(node.forward(sender, &chat(1), fanout), Ok(vec![first]));
        assert_eq!(node.forward(sender, &chat(9), fanout), Err(DropReason::NoRoute));
    }
}

#[test]
fn a_publish_without_id_reaches_every_id_once_per_link() {
    let mut node = Node::new();
    let [sender, first, second] = std::array::from_fn(|_| node.link(edge()));
    node.handle(first, &subscribe(&chat(1), 1));
    node.handle(first, &subscribe(&chat(2), 2));
    node.handle(first, &subscribe(&anycast(), 3));
    node.handle(second, &subscribe(&chat(3), 1));
    for fanout in [0, 2, 256] {
        let mut reached = node.forward(sender, &anycast(), fanout).unwrap();
        reached.sort();
        assert_eq!(reached, [first, second], "fanout {fanout} means all");
    }
    assert_eq!(node.forward(sender, &anycast(), 1).unwrap().len(), 1);
}

#[test]
fn messages_to_single_instances_take_no_turn_of_the_round_robin() {
    let mut node = Node::new();
    let [sender, first, second] = std::array::from_fn(|_| node.link(edge()));
    node.handle(first, &subscribe(&chat(1), 1));
    node.handle(second, &subscribe(&chat(2), 1));
    let mut reached = Vec::new();
    for _ in 0..4 {
        reached.extend(node.forward(sender, &anycast(), 1).unwrap());
        node.forward(sender, &chat(1), 1).unwrap();
    }
    assert_eq!(reached, [first, second, first, second]);
}

#[test]
fn nothing_goes_back_to_where_it_came_from() {
    let mut node = Node::new();
    let [sender, other] = std::array::from_fn(|_| node.link(edge()));
    node.handle(sender, &subscribe(&chat(1), 1));
    for fanout in [1, 256] {
        assert_eq!(node.forward(sender, &chat(1), fanout), Err(DropReason::NoRoute));
        assert_eq!(node.forward(sender, &anycast(), fanout), Err(DropReason::NoRoute));
    }
    node.handle(other, &subscribe(&chat(1), 1));
    for fanout in [1, 256] {
        assert_eq!(node.forward(sender, &chat(1), fanout), Ok(vec![other]));
    }
}

#[test]
fn the_nearest_class_serves_a_publish_for_one() {
    let mut node = Node::new();
    let sender = node.link(edge());
    let near_to_far = [
        node.link(LinkInfo::local()),
        node.link(edge()),
        node.link(plain(LinkClass::Peer, Direction::Accepted)),
        node.link(plain(LinkClass::Remote, Direction::Accepted)),
    ];
    for link in near_to_far {
        node.handle(link, &subscribe(&chat(1), 1));
    }
    assert_eq!(node.forward(sender, &chat(1), 256).unwrap().len(), 4);
    for nearest in near_to_far {
        for destination in [chat(1), anycast()] {
            assert_eq!(node.forward(sender, &destination, 1), Ok(vec![nearest]));
        }
        node.handle(nearest, &unsubscribe(&chat(1), 1));
    }
}

#[test]
fn publishes_for_one_take_turns() {
    let mut node = Node::new();
    let sender = node.link(edge());
    let instances: Vec<_> = (0..3u128)
        .map(|id| {
            let link = node.link(edge());
            node.handle(link, &subscribe(&chat(id), 1));
            link
        })
        .collect();
    let other = name("org/ns/other");
    node.handle(instances[0], &subscribe(&other, 9));
    let mut counts: BTreeMap<LinkId, u32> = BTreeMap::new();
    for _ in 0..30 {
        for link in node.forward(sender, &anycast(), 1).unwrap() {
            *counts.entry(link).or_default() += 1;
        }
        // Traffic to another name in between does not spoil the turns.
        node.forward(sender, &other, 1).unwrap();
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [10, 10, 10]);
}

#[test]
fn ttl_counts_links_and_one_is_too_little() {
    let mut node = Node::new();
    let [sender, receiver] = std::array::from_fn(|_| node.link(edge()));
    node.handle(receiver, &subscribe(&chat(1), 1));
    for ttl in [0, 1] {
        let frame = tagged(&publish(&chat(1), 1), ttl, None);
        assert_eq!(node.forward_raw(sender, &frame), Err(DropReason::TtlExhausted));
    }
    let frame = tagged(&publish(&chat(1), 1), 2, None);
    let copies = node.forward_raw(sender, &frame).unwrap();
    assert_eq!(HeaderView::parse(&copies[0].1).unwrap().ttl, 1);

    // A local application's frame has not crossed a link yet.
    let application = node.link(LinkInfo::local());
    let copies = node.forward_raw(application, &publish(&chat(1), 1)).unwrap();
    assert_eq!(HeaderView::parse(&copies[0].1).unwrap().ttl, 8);
}

#[test]
fn each_hop_verifies_with_its_key_and_signs_with_the_next_over_the_new_ttl() {
    let mut node = Node::new();
    let sender = node.link(keyed(LinkClass::Edge, Direction::Accepted, 1));
    let receivers = [
        keyed(LinkClass::Edge, Direction::Accepted, 2),
        keyed(LinkClass::Remote, Direction::Accepted, 3),
        plain(LinkClass::Peer, Direction::Accepted),
        edge(),
    ];
    let ids = receivers.clone().map(|info| node.link(info));
    for id in ids {
        node.handle(id, &subscribe(&chat(1), 1));
    }
    let from = Arc::clone(node.links[&sender].link());
    let frame = signed(&publish(&chat(1), 256), &from, 8);
    let copies: BTreeMap<_, _> = node.forward_raw(sender, &frame).unwrap().into_iter().collect();
    for (id, info) in ids.into_iter().zip(&receivers) {
        let copy = &copies[&id];
        let header = HeaderView::parse(copy).unwrap();
        assert_eq!(header.ttl, 7);
        // No stale tag of the link before (wire-routing C6).
        assert_eq!(header.header_mac.is_some(), info.mac_key.is_some());
        if info.mac_key.is_some() {
            assert!(verifies(copy, info), "signed over what is sent");
        }
        let sent = slim_proto::Message::decode(copy.bytes().clone())
            .unwrap()
            .unwrap();
        let mut original = publish_message(&chat(1), 256);
        original.ttl = 7;
        assert_eq!(sent, original, "nothing else changed");
    }
    for wrong in [publish(&chat(1), 256), tagged(&frame, 7, Some([1; 32]))] {
        assert!(node.forward_raw(sender, &wrong).is_err());
    }
    let counters = node.links[&sender].counters();
    assert_eq!((counters.forwarded, counters.copies), (1, 4));
    assert_eq!(counters.drops(DropReason::MacMissing), 1);
    assert_eq!(counters.drops(DropReason::MacWrong), 1);
}

#[test]
fn a_receiver_that_cannot_be_signed_for_does_not_stop_the_others() {
    let mut node = Node::new();
    let sender = node.link(edge());
    let receiver = node.link(edge());
    node.handle(receiver, &subscribe(&chat(1), 1));
    let broken = node.link(plain(LinkClass::Peer, Direction::Accepted));
    node.handle(broken, &subscribe(&chat(2), 1));
    // Strict without a key exists only by misconfiguration: it can neither send nor receive.
    let unusable = LinkInfo {
        strict: true,
        ..edge()
    };
    let unusable = node.link(unusable);
    let route = node.router.set_route(unusable, &chat(1));
    assert_eq!(route, Ok(()));
    node.drain();
    assert_eq!(node.forward(sender, &chat(1), 256), Ok(vec![receiver]));
    assert_eq!(node.links[&sender].counters().drops(DropReason::KeyMissing), 1);
    node.handle(receiver, &unsubscribe(&chat(1), 1));
    assert_eq!(node.forward(sender, &chat(1), 256), Err(DropReason::KeyMissing));
    assert_eq!(node.links[&sender].counters().drops(DropReason::KeyMissing), 2);
}

/// The frame with forward_to and recv_from in its header, as only an attacker sends it.
fn with_hop_local_fields(frame: &Frame) -> Frame {
    let message = frame.bytes();
    // Header fields 7 and 8 (varint 1), behind the fields that are there: lengths of header and member grow by 4.
    // The test frame's member has a two-byte length, and so has its header.
    let mut bytes = message.to_vec();
    let header_length = usize::from(bytes[4] & 0x7F) | usize::from(bytes[5]) << 7;
    let member_length = usize::from(bytes[1] & 0x7F) | usize::from(bytes[2]) << 7;
    assert!(bytes[0] == 0x1A && bytes[3] == 0x0A && bytes[4] >= 0x80 && bytes[1] >= 0x80);
    let end = 6 + header_length;
    bytes.splice(end..end, [0x38, 1, 0x40, 1]);
    for (at, length) in [(1, member_length + 4), (4, header_length + 4)] {
        bytes[at] = u8::try_from(length & 0x7F).unwrap() | 0x80;
        bytes[at + 1] = u8::try_from(length >> 7).unwrap();
    }
    Frame::new(bytes).unwrap()
}

#[test]
fn hop_local_commands_from_the_network_are_neither_obeyed_nor_passed_on() {
    let mut node = Node::new();
    let [sender, bystander, receiver] = std::array::from_fn(|_| node.link(edge()));
    node.handle(receiver, &subscribe(&chat(1), 1));
    let frame = with_hop_local_fields(&publish(&chat(1), 1));
    let header = HeaderView::parse(&frame).unwrap();
    assert_eq!((header.recv_from, header.forward_to), (Some(1), Some(1)));
    let copies = node.forward_raw(sender, &frame).unwrap();
    assert_eq!(copies.len(), 1);
    assert_eq!(copies[0].0, receiver);
    assert_ne!(copies[0].0, bystander);
    let header = HeaderView::parse(&copies[0].1).unwrap();
    assert_eq!((header.recv_from, header.forward_to), (None, None));
}

/// The frame with the last text component of its names replaced; the hashes stay, as in a collision.
fn with_colliding_text(frame: &Frame, from: &[u8], to: &[u8]) -> Frame {
    assert_eq!(from.len(), to.len());
    let mut bytes = frame.bytes().to_vec();
    let places: Vec<_> = (0..bytes.len() - from.len())
        .filter(|at| bytes[*at..].starts_with(from))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + from.len()].copy_from_slice(to);
    }
    Frame::new(bytes).unwrap()
}

#[test]
fn names_whose_hashes_collide_do_not_route_to_each_other() {
    let mut node = Node::new();
    let [sender, honest, attacker] = std::array::from_fn(|_| node.link(edge()));
    // The attacker comes first.
    node.handle(
        attacker,
        &with_colliding_text(&subscribe(&chat(1), 1), b"chat", b"evil"),
    );
    assert_eq!(node.forward(sender, &chat(1), 1), Err(DropReason::NoRoute));
    node.handle(honest, &subscribe(&chat(1), 1));
    for fanout in [1, 256] {
        assert_eq!(node.forward(sender, &chat(1), fanout), Ok(vec![honest]));
    }
    let collision = with_colliding_text(&publish(&chat(1), 256), b"chat", b"evil");
    let copies = node.forward_raw(sender, &collision).unwrap();
    assert_eq!(
        copies.into_iter().map(|(to, _)| to).collect::<Vec<_>>(),
        [attacker]
    );
}

#[test]
fn frames_that_are_no_publish_or_no_frame_are_dropped_and_counted() {
    let mut node = Node::new();
    let sender = node.link(edge());
    for (frame, reason) in [
        (subscribe(&chat(1), 1), DropReason::Unexpected),
        (Frame::new(&b"\x1a\x05"[..]).unwrap(), DropReason::Undecodable),
        (Frame::new(&b""[..]).unwrap(), DropReason::Undecodable),
        (
            Frame::new(&b"\x1a\x00"[..]).unwrap(),
            DropReason::IncompleteHeader,
        ),
    ] {
        assert_eq!(node.forward_raw(sender, &frame), Err(reason));
        assert!(node.links[&sender].counters().drops(reason) > 0);
    }
}

#[test]
fn what_a_receiver_could_not_decode_is_dropped_at_the_first_node() {
    let mut node = Node::new();
    let [sender, receiver] = std::array::from_fn(|_| node.link(edge()));
    node.handle(receiver, &subscribe(&chat(1), 1));
    let good = publish(&chat(1), 1);
    assert!(node.forward_raw(sender, &good).is_ok());
    // The payload's type is text, and these bytes are none.
    let mut bytes = good.bytes().to_vec();
    let at = bytes
        .windows(5)
        .position(|window| window == b"\x0a\x03msg")
        .unwrap();
    bytes[at + 2] = 0xFF;
    let bad = Frame::new(bytes).unwrap();
    assert!(HeaderView::parse(&bad).is_ok(), "its routing header is in order");
    assert_eq!(node.forward_raw(sender, &bad), Err(DropReason::Undecodable));
    assert_eq!(node.links[&sender].counters().drops(DropReason::Undecodable), 1);
}

#[test]
fn a_local_application_uses_its_uplink_for_what_is_not_local() {
    let mut node = Node::new();
    let [alice, bob] = std::array::from_fn(|_| node.link(LinkInfo::local()));
    assert_eq!(
        node.forward(alice, &chat(1), 1),
        Err(DropReason::NoRoute),
        "no uplink yet"
    );
    let up = node.link(uplink());
    node.handle(bob, &subscribe(&chat(2), 1));

    // One receiver: a local match is enough, everything else leaves by the default route.
    assert_eq!(node.forward(alice, &chat(2), 1), Ok(vec![bob]));
    assert_eq!(node.forward(alice, &anycast(), 1), Ok(vec![bob]));
    assert_eq!(node.forward(alice, &chat(1), 1), Ok(vec![up]));
    assert_eq!(
        node.forward(bob, &anycast(), 1),
        Ok(vec![up]),
        "not back to the sender"
    );
    // All receivers: others may be behind the node.
    assert_eq!(node.forward(alice, &chat(2), 256), Ok(vec![bob, up]));
    assert_eq!(node.forward(alice, &name("org/ns/nobody"), 256), Ok(vec![up]));

    // What comes from the node is for local applications only.
    for fanout in [1, 256] {
        assert_eq!(node.forward(up, &chat(2), fanout), Ok(vec![bob]));
        assert_eq!(node.forward(up, &chat(1), fanout), Err(DropReason::NoRoute));
    }
}

#[test]
fn with_two_uplinks_a_publish_for_one_needs_a_route() {
    let mut node = Node::new();
    let alice = node.link(LinkInfo::local());
    let [first, second] = std::array::from_fn(|_| node.link(uplink()));
    assert_eq!(node.forward(alice, &chat(1), 1), Err(DropReason::NoRoute));
    assert_eq!(node.forward(alice, &chat(1), 256), Ok(vec![first, second]));
    node.router.set_route(second, &chat(1)).unwrap();
    node.drain();
    assert_eq!(node.forward(alice, &chat(1), 1), Ok(vec![second]));
    assert_eq!(
        node.forward(alice, &chat(1), 256),
        Ok(vec![second]),
        "the route says where"
    );
    assert_eq!(
        node.forward(first, &chat(1), 256),
        Err(DropReason::NoRoute),
        "no transit"
    );
    assert!(node.router.remove_route(second, &chat(1)));
    assert!(!node.router.remove_route(second, &chat(1)));
    node.drain();
    assert_eq!(node.forward(alice, &chat(1), 1), Err(DropReason::NoRoute));
}

#[test]
fn a_publish_from_the_network_never_takes_the_default_route() {
    let mut node = Node::new();
    let client = node.link(edge());
    node.link(uplink());
    for fanout in [1, 256] {
        assert_eq!(node.forward(client, &chat(1), fanout), Err(DropReason::NoRoute));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Up(usize),
    Down(prop::sample::Index),
    Subscribe(prop::sample::Index, usize, u64),
    Unsubscribe(prop::sample::Index, usize, u64),
    Publish(prop::sample::Index, usize, u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let link = any::<prop::sample::Index>;
    let step = prop_oneof![
        2 => (0usize..5).prop_map(Step::Up),
        1 => link().prop_map(Step::Down),
        6 => (link(), 0usize..8, 0u64..3).prop_map(|(link, name, id)| Step::Subscribe(link, name, id)),
        3 => (link(), 0usize..8, 0u64..3).prop_map(|(link, name, id)| Step::Unsubscribe(link, name, id)),
        8 => (link(), 0usize..8, 0u32..3).prop_map(|(link, name, fanout)| Step::Publish(link, name, fanout)),
    ];
    proptest::collection::vec(step, 1..120)
}

fn model_name(index: usize) -> FullName {
    let base = name(["org/ns/chat", "org/ns/other"][index / 4]);
    match index % 4 {
        3 => base,
        id => base.with_id(NameId(id as u128)),
    }
}

fn model_link(kind: usize) -> LinkInfo {
    [
        LinkInfo::local(),
        edge(),
        uplink(),
        plain(LinkClass::Peer, Direction::Accepted),
        plain(LinkClass::Remote, Direction::Accepted),
    ][kind]
        .clone()
}

/// The rules again, as simply as possible: all records in one list.
#[derive(Default)]
struct Model {
    links: Vec<(LinkId, LinkInfo)>,
    records: BTreeSet<(LinkId, u64, usize)>,
}

impl Model {
    fn unsubscribe(&mut self, link: LinkId, id: u64, name: usize) {
        if !self.records.remove(&(link, id, name)) {
            self.records.remove(&(link, 0, name));
        }
    }

    /// The links that may get a publish, and whether all of them must.
    fn receivers(&self, from: LinkId, name: usize, fanout: u32) -> BTreeSet<LinkId> {
        let info = |id| &self.links.iter().find(|(link, _)| *link == id).unwrap().1;
        let from_info = info(from);
        let mut matched: BTreeSet<LinkId> = self
            .records
            .iter()
            .filter(|(_, _, recorded)| *recorded == name || (name % 4 == 3 && recorded / 4 == name / 4))
            .map(|(link, _, _)| *link)
            .filter(|link| *link != from && !(from_info.is_uplink() && info(*link).is_uplink()))
            .collect();
        let uplinks: BTreeSet<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.is_uplink())
            .map(|(id, _)| *id)
            .collect();
        let is_local = from_info.class == LinkClass::Local;
        if fanout == 1 {
            if let Some(nearest) = matched.iter().map(|link| info(*link).class).min() {
                matched.retain(|link| info(*link).class == nearest);
            } else if is_local && uplinks.len() == 1 {
                matched = uplinks;
            }
        } else if is_local && matched.is_disjoint(&uplinks) {
            matched.extend(uplinks);
        }
        matched
    }
}

proptest! {
    #[test]
    fn the_table_forwards_like_a_naive_model(steps in steps()) {
        let mut node = Node::new();
        let mut model = Model::default();
        for step in steps {
            let pick = |model: &Model, index: prop::sample::Index| {
                (!model.links.is_empty()).then(|| model.links[index.index(model.links.len())].0)
            };
            match step {
                Step::Up(kind) => {
                    let info = model_link(kind);
                    let id = node.link(info.clone());
                    model.links.push((id, info));
                }
                Step::Down(index) => {
                    let Some(link) = pick(&model, index) else { continue };
                    node.router.handle_link_down(at(0), link);
                    node.drain();
                    node.links.remove(&link);
                    model.links.retain(|(id, _)| *id != link);
                    model.records.retain(|(id, _, _)| *id != link);
                }
                Step::Subscribe(index, name, id) => {
                    let Some(link) = pick(&model, index) else { continue };
                    node.handle(link, &subscribe(&model_name(name), id));
                    model.records.insert((link, id, name));
                }
                Step::Unsubscribe(index, name, id) => {
                    let Some(link) = pick(&model, index) else { continue };
                    node.handle(link, &unsubscribe(&model_name(name), id));
                    model.unsubscribe(link, id, name);
                }
                Step::Publish(index, name, fanout) => {
                    let Some(link) = pick(&model, index) else { continue };
                    let allowed = model.receivers(link, name, fanout);
                    let reached = node.forward(link, &model_name(name), fanout).unwrap_or_default();
                    let distinct: BTreeSet<_> = reached.iter().copied().collect();
                    prop_assert_eq!(distinct.len(), reached.len(), "one copy per link");
                    if fanout == 1 {
                        prop_assert_eq!(reached.len(), usize::from(!allowed.is_empty()));
                        prop_assert!(distinct.is_subset(&allowed));
                    } else {
                        prop_assert_eq!(distinct, allowed);
                    }
                }
            }
            prop_assert_eq!(node.router.subscription_count(), model.records.len());
        }
    }
}
