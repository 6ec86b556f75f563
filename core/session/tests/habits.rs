//! What peers of the other implementation expect of every message (wire-session §9.4), and what ours keeps from
//! applications; each a fact that is easy to get wrong.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::forgery::{alive, signed_by};
use common::{Net, Verdict, group_config, pair_config};
use slim_auth::sign_message;
use slim_proto::message::metadata::RESERVED;
use slim_proto::{Command as Payload, JoinRequest, Message, MessageKind as K};
use slim_session::{Command, SessionConfig, SessionId};

fn sent(net: &Net, from: &str, kind: K) -> Vec<Message> {
    let of = |(sender, message): &&(String, Message)| sender == from && message.kind == kind;
    net.trace
        .iter()
        .filter(of)
        .map(|(_, message)| message.clone())
        .collect()
}

/// A group of three that has lived: talk, absence, a removal, heartbeats, the end.
fn lived(mls: bool) -> Net {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let mut config = group_config(mls);
    config.metadata.insert("topic".into(), "demo".into());
    let session = net.open("alice", config);
    for member in ["bob", "carol"] {
        net.invite("alice", session, member).unwrap();
        net.publish(member, session, "here").unwrap();
    }
    net.wait("bob", Command::GoOffline { session }).unwrap();
    net.remove("alice", session, "carol").unwrap();
    net.wait("bob", Command::GoOnline { session }).unwrap();
    net.advance(Duration::from_secs(25));
    net.wait("alice", Command::Close { session }).unwrap();
    net
}

#[test]
fn every_command_message_is_signed_twice_and_has_a_number_with_and_without_encryption() {
    for mls in [true, false] {
        let net = lived(mls);
        let commands = net.trace.iter().filter(|(_, message)| message.kind.is_command());
        let mut kinds = std::collections::BTreeSet::new();
        for (sender, message) in commands {
            kinds.insert(format!("{:?}", message.kind));
            assert!(message.header_signature.is_some(), "{sender} {:?}", message.kind);
            assert!(
                message.metadata.contains_key("slim-payload-sig"),
                "{sender} {:?}",
                message.kind
            );
            assert_ne!(message.message_id, 0, "{sender} {:?}", message.kind);
        }
        assert!(kinds.len() >= 12, "{kinds:?}");
    }
}

#[test]
fn metadata_of_the_session_travels_with_the_invitation_alone() {
    let net = lived(true);
    for (_, message) in &net.trace {
        let carries = message.metadata.contains_key("topic");
        assert_eq!(carries, message.kind == K::JoinRequest, "{:?}", message.kind);
    }
}

#[test]
fn without_encryption_heartbeats_name_the_epoch_that_there_is_none_and_state_updates_name_zero() {
    let net = lived(false);
    let heartbeats = sent(&net, "bob", K::Heartbeat);
    let updates = sent(&net, "bob", K::UpdateParticipantState);
    assert!(!heartbeats.is_empty() && updates.len() == 2);
    for message in heartbeats {
        assert_eq!(message.command(), Some(&Payload::Heartbeat { epoch: u64::MAX }));
    }
    for message in updates {
        assert!(matches!(
            message.command(),
            Some(Payload::UpdateParticipantState { epoch: 0, .. })
        ));
    }
}

#[test]
fn numbers_of_a_sender_begin_at_one_in_each_session_and_direct_ones_have_the_highest_bit() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    let pair = net.open("alice", pair_config("bob", true));
    for session in [session, pair] {
        net.trace.clear();
        for sender in ["alice", "bob"] {
            net.publish(sender, session, "x").unwrap();
            net.publish(sender, session, "y").unwrap();
            let numbers = sent(&net, sender, K::Msg);
            let numbers: Vec<u32> = numbers.iter().map(|message| message.message_id).collect();
            assert_eq!(numbers, [1, 2], "{sender}");
        }
    }
    net.trace.clear();
    let Command::Publish { payload, .. } = Net::publish_command(session, "for bob") else {
        unreachable!()
    };
    let direct = Command::Publish {
        session,
        payload,
        payload_type: None,
        metadata: BTreeMap::new(),
        to: Some("org/ns/bob".parse().unwrap()),
    };
    net.wait("alice", direct).unwrap();
    let [direct] = &sent(&net, "alice", K::Msg)[..] else {
        panic!("one message")
    };
    assert!(direct.message_id >= 1 << 31 && direct.message_id < u32::MAX);
    assert_eq!((direct.fanout, &direct.destination), (1, &net.name("bob")));
    assert!(direct.metadata.contains_key("PUBLISH_TO"));
    assert!(
        sent(&net, "bob", K::MsgAck)[0]
            .metadata
            .contains_key("PUBLISH_TO")
    );
}

#[test]
fn requests_of_an_unreliable_session_are_repeated_all_the_same() {
    for lost in [K::JoinReply, K::GroupAck] {
        let mut net = Net::with(&["alice", "bob"]);
        let config = SessionConfig {
            reliability: None,
            ..group_config(true)
        };
        let session = net.open("alice", config);
        net.lose("bob", lost, 1);
        net.invite("alice", session, "bob").unwrap();
        assert!(net.count("bob", lost) >= 1);
        net.publish("bob", session, "x").unwrap();
        assert_eq!(net.texts("alice", session), ["x"]);
        assert_eq!(net.count("alice", K::MsgAck), 0);
    }
}

#[test]
fn an_empty_mls_setting_means_encryption_and_the_header_is_checked_all_the_same() {
    let mut net = Net::with(&["alice", "bob"]);
    let join = JoinRequest {
        timer_settings: None,
        channel: None,
        control: None,
        mls_header_check_percent: Some(0),
    };
    let mut message = signed_by(&net, "alice", "bob", SessionId(7), Payload::JoinRequest(join));
    message.session_kind = slim_proto::SessionKind::PointToPoint;
    sign_message(&net.app("alice").identity, &mut message);
    // The setting is a message of length nothing, which is not the same as none.
    let decoded = Message::decode(message.encode()).unwrap().unwrap();
    assert!(matches!(
        decoded.command(),
        Some(Payload::JoinRequest(join)) if join.mls_header_check_percent == Some(0)
    ));
    net.inject("bob", &message);
    let [reply] = &sent(&net, "bob", K::JoinReply)[..] else {
        panic!("one reply")
    };
    assert!(matches!(reply.command(), Some(Payload::JoinReply(reply)) if reply.key_package.is_some()));
}

#[test]
fn a_command_without_a_number_and_what_comes_back_from_the_node_are_dropped() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    let bob = net.app("bob").endpoint.counters();
    let mut close = signed_by(
        &net,
        "alice",
        "bob",
        session,
        Payload::GroupClose { participants: vec![] },
    );
    close.message_id = 0;
    sign_message(&net.app("alice").identity, &mut close);
    net.inject("bob", &close);
    assert_eq!(net.app("bob").endpoint.counters().replayed, bob.replayed + 1);
    net.publish("alice", session, "mine").unwrap();
    let own = sent(&net, "alice", K::Msg).pop().unwrap();
    let alice = net.app("alice").endpoint.counters();
    net.inject("alice", &own);
    assert_eq!(
        net.app("alice").endpoint.counters().unexpected,
        alice.unexpected + 1
    );
    assert!(net.texts("alice", session).is_empty());
    alive(&mut net, session, &["alice", "bob", "carol"]);
}

#[test]
fn what_peers_write_under_reserved_keys_does_not_reach_the_application() {
    for mls in [true, false] {
        let mut net = Net::with(&["alice", "bob"]);
        let session = net.group("alice", mls, &["bob"]);
        let held = std::rc::Rc::new(std::cell::RefCell::new(None));
        let slot = std::rc::Rc::clone(&held);
        net.filter(move |_, message| {
            if message.kind != K::Msg {
                return Verdict::Pass;
            }
            *slot.borrow_mut() = Some(message.clone());
            Verdict::Drop
        });
        net.command("alice", Net::publish_command(session, "x")).unwrap();
        let mut message: Message = held.borrow_mut().take().unwrap();
        for key in RESERVED {
            message
                .metadata
                .insert(key.to_owned(), "org/ns/somebody-else".to_owned());
        }
        message
            .metadata
            .insert("of the application".to_owned(), "yes".to_owned());
        net.inject("bob", &message);
        let received = net.received("bob", session);
        assert_eq!(received[0].payload, Bytes::from_static(b"x"));
        assert!(!received[0].direct);
        let keys: Vec<&str> = received[0].metadata.keys().map(String::as_str).collect();
        assert_eq!(keys, ["of the application"]);
        assert_eq!(received[0].subject, net.app("alice").identity.subject());
    }
}

#[test]
fn the_first_instance_that_answers_is_invited_and_the_numbers_of_its_requests_come_back() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    for (request, answer) in [
        (K::DiscoveryRequest, K::DiscoveryReply),
        (K::JoinRequest, K::JoinReply),
        (K::GroupWelcome, K::GroupAck),
    ] {
        let asked = sent(&net, "alice", request);
        let answered = sent(&net, "bob", answer);
        assert_eq!(asked[0].message_id, answered[0].message_id, "{request:?}");
        assert_eq!(answered[0].destination, net.name("alice"), "{answer:?}");
    }
    assert!(
        !sent(&net, "alice", K::DiscoveryRequest)[0]
            .destination
            .id()
            .is_concrete()
    );
    assert_eq!(net.snapshot("bob", session).info.source, net.name("bob"));
}
