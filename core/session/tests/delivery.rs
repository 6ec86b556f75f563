//! Data between endpoints in virtual time (wire-session §4.9): lost, late, repeated, refused, and never in clear.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::time::Duration;

use common::{Net, SECRET, Verdict, group_config};
use slim_proto::MessageKind as K;
use slim_session::{Command, CommandError};

#[test]
fn a_direct_message_reaches_one_member_only() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    let Command::Publish {
        payload,
        payload_type,
        metadata,
        ..
    } = Net::publish_command(session, "for bob")
    else {
        unreachable!()
    };
    let to = Some("org/ns/bob".parse().unwrap());
    net.wait(
        "alice",
        Command::Publish {
            session,
            payload,
            payload_type,
            metadata,
            to,
        },
    )
    .unwrap();
    let received = net.received("bob", session);
    assert!(
        received.len() == 1
            && received[0].direct
            && received[0].subject == net.app("alice").identity.subject()
    );
    assert!(net.received("carol", session).is_empty());
    net.publish("alice", session, "for all").unwrap();
    assert_eq!(net.texts("bob", session), ["for bob", "for all"]);
}

#[test]
fn what_is_published_during_the_first_invitation_is_delivered_after_it() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.open("alice", group_config(true));
    assert_eq!(
        net.command("alice", Net::publish_command(session, "x")),
        Err(CommandError::NoMembers(session))
    );
    net.lose("bob", K::DiscoveryReply, 1);
    let invite = net
        .command(
            "alice",
            Command::Invite {
                session,
                name: "org/ns/bob".parse().unwrap(),
            },
        )
        .unwrap();
    let publish = net
        .command("alice", Net::publish_command(session, "early"))
        .unwrap();
    net.completed("alice", invite).unwrap();
    net.completed("alice", publish).unwrap();
    assert_eq!(net.texts("bob", session), ["early"]);
}

#[test]
fn lost_data_is_repeated_in_order_and_once() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.lose("alice", K::Msg, 1);
    let first = net.command("alice", Net::publish_command(session, "1")).unwrap();
    let second = net.command("alice", Net::publish_command(session, "2")).unwrap();
    net.completed("alice", first).unwrap();
    net.completed("alice", second).unwrap();
    net.advance(Duration::from_secs(5));
    for member in ["bob", "carol"] {
        assert_eq!(net.texts(member, session), ["1", "2"], "{member}");
    }
    assert!(net.count("alice", K::RtxReply) >= 1);
}

#[test]
fn lost_acknowledgements_cause_no_second_delivery() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    net.lose("bob", K::MsgAck, 2);
    net.publish("alice", session, "once").unwrap();
    assert_eq!(net.texts("bob", session), ["once"]);
    assert_eq!(net.app("bob").endpoint.counters().duplicate, 2);
}

#[test]
fn bad_publications_are_refused_before_anything_is_sent() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    let publish = |size: usize, key: &str| Command::Publish {
        session,
        payload: vec![0; size].into(),
        payload_type: None,
        metadata: [(key.to_owned(), String::new())].into(),
        to: None,
    };
    let limit = slim_proto::limits::PAYLOAD_BYTES_MAX;
    assert_eq!(
        net.command("alice", publish(limit + 1, "k")),
        Err(CommandError::TooLarge { size: limit + 1 })
    );
    assert_eq!(
        net.command("alice", publish(1, "PUBLISH_TO")),
        Err(CommandError::ReservedMetadata("PUBLISH_TO".into()))
    );
    for size in [0, 1, 64 * 1024, limit] {
        net.wait("alice", publish(size, "k")).unwrap();
    }
    let sizes: Vec<usize> = net
        .received("bob", session)
        .iter()
        .map(|message| message.payload.len())
        .collect();
    assert_eq!(sizes, [0, 1, 64 * 1024, limit]);
}

#[test]
fn markers_and_secrets_never_leave_an_endpoint_in_clear() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.lose("alice", K::Msg, 1);
    net.publish("alice", session, "CANARY-IN-THE-COAL-MINE").unwrap();
    net.publish("bob", session, "CANARY-IN-THE-COAL-MINE").unwrap();
    for needle in [b"CANARY-IN-THE-COAL-MINE".as_slice(), SECRET.as_bytes()] {
        assert!(
            !net.frames
                .iter()
                .any(|frame| frame.windows(needle.len()).any(|window| window == needle))
        );
    }
    for app in net.apps.values() {
        let key = app.identity.signing_key().secret_bytes();
        assert!(
            !net.frames
                .iter()
                .any(|frame| frame.windows(key.len()).any(|window| window == &key[..]))
        );
    }
}

#[test]
fn a_message_that_is_repeated_late_is_not_given_up_because_of_those_behind_it() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", false, &["bob"]);
    // The first message and what asks for it are lost for a while; a thousand others are published behind it.
    let mut lost = 3;
    net.filter(move |from, message| {
        let first = (from == "alice" && message.kind == K::Msg && message.message_id == 1)
            || message.kind == K::RtxRequest;
        if first && lost > 0 {
            lost -= usize::from(message.kind == K::Msg);
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    let mut tickets = Vec::new();
    for number in 1..=1000 {
        tickets.push(
            net.command("alice", Net::publish_command(session, &number.to_string()))
                .unwrap(),
        );
    }
    for ticket in tickets {
        net.completed("alice", ticket).unwrap();
    }
    let expected: Vec<String> = (1..=1000).map(|number| number.to_string()).collect();
    assert_eq!(net.texts("bob", session), expected);
}

#[test]
fn a_member_that_left_and_came_back_gets_no_message_of_its_first_stay_again() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", false, &["bob", "carol"]);
    net.lose("carol", K::MsgAck, 100);
    let ticket = net.command("bob", Net::publish_command(session, "once")).unwrap();
    assert_eq!(net.texts("carol", session), ["once"]);
    // The sender is away while the member leaves and returns.
    net.apps.get_mut("bob").unwrap().frozen = true;
    net.wait("carol", Command::Close { session }).unwrap();
    net.invite("alice", session, "carol").unwrap();
    net.lose_nothing();
    net.apps.get_mut("bob").unwrap().frozen = false;
    net.advance(Duration::from_secs(30));
    assert!(net.count("bob", K::Msg) > 1, "it was sent again");
    assert!(net.result("bob", ticket).is_some());
    assert_eq!(net.texts("carol", session), ["once"]);
    assert!(net.app("carol").endpoint.counters().duplicate > 0);
}
