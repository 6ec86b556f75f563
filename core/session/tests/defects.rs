//! One test for each row of wire-session §9.1 (R): what is a defect of upstream's reliability is none of ours. R6 and
//! R9 also have unit tests beside the structures they concern; R15 is tested in `core/mls`.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::forgery::{alive, signed_by};
use common::{Net, SECRET, Verdict, group_config, pair_config};
use slim_auth::sign_message;
use slim_proto::{Command as Payload, JoinReply, Message, MessageKind as K, Participant};
use slim_session::{
    CloseReason, Command, Event, InviteStep, MembershipChange, OperationError, Outcome, SessionId,
};

#[test]
fn r1_each_lost_answer_is_repaired() {
    for (from, kind) in [
        ("bob", K::DiscoveryReply),
        ("bob", K::JoinReply),
        ("bob", K::GroupAck),
        ("alice", K::DiscoveryRequest),
        ("alice", K::JoinRequest),
        ("alice", K::GroupWelcome),
    ] {
        for mls in [true, false] {
            let mut net = Net::with(&["alice", "bob", "carol"]);
            net.lose(from, kind, 1);
            let session = net.group("alice", mls, &["bob", "carol"]);
            alive(&mut net, session, &["alice", "bob", "carol"]);
            let pair = net.open("alice", pair_config("carol", mls));
            net.publish("alice", pair, "x").unwrap();
        }
    }
    for (from, kind) in [
        ("bob", K::GroupAck),
        ("alice", K::GroupUpdate),
        ("carol", K::LeaveReply),
        ("alice", K::LeaveRequest),
    ] {
        let mut net = Net::with(&["alice", "bob", "carol"]);
        let session = net.group("alice", true, &["bob", "carol"]);
        net.lose(from, kind, 1);
        let outcome = net.remove("alice", session, "carol").unwrap();
        assert!(
            matches!(outcome, Outcome::Removed { unreachable, .. } if unreachable.is_empty()),
            "{from} {kind:?}"
        );
        alive(&mut net, session, &["alice", "bob"]);
    }
}

#[test]
fn r2_a_rejoin_that_meets_a_busy_moderator_waits_its_turn() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.wait("bob", Command::GoOffline { session }).unwrap();
    net.remove("alice", session, "carol").unwrap();
    // Busy for four seconds with somebody who does not exist.
    let invite = net
        .command(
            "alice",
            Command::Invite {
                session,
                name: "org/ns/nobody".parse().unwrap(),
            },
        )
        .unwrap();
    net.wait("bob", Command::GoOnline { session }).unwrap();
    assert!(net.completed("alice", invite).is_err());
    net.advance(Duration::from_secs(2));
    alive(&mut net, session, &["alice", "bob"]);
}

#[test]
fn r3_a_second_discovery_reply_changes_nothing() {
    let mut net = Net::with(&["alice", "bob"]);
    net.add("bob2", "bob", SECRET);
    let session = net.open("alice", group_config(true));
    net.lose("bob", K::JoinReply, 1);
    net.lose("bob2", K::JoinReply, 1);
    let invite = net
        .command(
            "alice",
            Command::Invite {
                session,
                name: "org/ns/bob".parse().unwrap(),
            },
        )
        .unwrap();
    let request = net
        .trace
        .iter()
        .find(|(_, message)| message.kind == K::DiscoveryRequest)
        .unwrap()
        .1
        .message_id;
    for instance in ["bob", "bob2"] {
        let mut reply = signed_by(&net, instance, "alice", session, Payload::DiscoveryReply);
        reply.message_id = request;
        sign_message(&net.app(instance).identity, &mut reply);
        net.inject("alice", &reply);
    }
    net.completed("alice", invite).unwrap();
    let joined: std::collections::BTreeSet<_> = net
        .trace
        .iter()
        .filter(|(_, message)| message.kind == K::JoinRequest)
        .map(|(_, message)| message.destination.clone())
        .collect();
    assert_eq!(joined.len(), 1, "one instance was asked to join");
    assert_eq!(net.snapshot("alice", session).members.len(), 2);
}

#[test]
fn r4_stray_replies_are_ignored() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    let participant = Participant {
        name: net.name("bob"),
        sends_data: true,
        receives_data: true,
        online: true,
    };
    for payload in [
        Payload::DiscoveryReply,
        Payload::JoinReply(JoinReply {
            key_package: None,
            participant,
        }),
        Payload::LeaveReply,
        Payload::GroupAck,
        Payload::GroupNack,
        Payload::RejoinReply {
            commit_id: 9,
            mls_content: Bytes::from_static(b"no welcome"),
        },
    ] {
        let stray = signed_by(&net, "bob", "alice", session, payload);
        net.inject("alice", &stray);
    }
    alive(&mut net, session, &["alice", "bob"]);
}

#[test]
fn r5_an_invitation_that_fails_half_way_is_rolled_back() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob"]);
    net.filter(|_, message| {
        if message.kind == K::GroupWelcome {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
    let error = net.invite("alice", session, "carol").unwrap_err();
    assert!(
        matches!(
            error,
            OperationError::InviteFailed {
                step: InviteStep::Welcome,
                ..
            }
        ),
        "{error}"
    );
    net.lose_nothing();
    net.advance(Duration::from_secs(1));
    alive(&mut net, session, &["alice", "bob"]);
    net.invite("alice", session, "carol").unwrap();
    alive(&mut net, session, &["alice", "bob", "carol"]);
}

#[test]
fn r6_silent_members_are_reported_not_called_a_success() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    net.apps.get_mut("bob").unwrap().frozen = true;
    let publish = net.command("alice", Net::publish_command(session, "x")).unwrap();
    // The member goes by another path while the message is under way.
    let remove = net
        .command(
            "alice",
            Command::Remove {
                session,
                name: "org/ns/bob".parse().unwrap(),
            },
        )
        .unwrap();
    let published = net.completed("alice", publish).unwrap();
    assert!(
        matches!(published, Outcome::Published(outcome) if outcome.delivered.is_empty() && outcome.missed.len() == 1)
    );
    net.completed("alice", remove).unwrap();
}

#[test]
fn r7_an_outage_of_a_pair_delivers_nothing_twice() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.open("alice", pair_config("bob", true));
    for text in ["1", "2", "3"] {
        net.publish("bob", session, text).unwrap();
    }
    net.apps.get_mut("bob").unwrap().frozen = true;
    net.advance(Duration::from_secs(45));
    net.apps.get_mut("bob").unwrap().frozen = false;
    net.advance(Duration::from_secs(15));
    net.publish("bob", session, "4").unwrap();
    assert_eq!(net.texts("alice", session), ["1", "2", "3", "4"]);
}

#[test]
fn r8_a_member_that_returns_gets_no_old_messages_again() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    for number in 0..20 {
        net.publish("alice", session, &number.to_string()).unwrap();
    }
    net.apps.get_mut("bob").unwrap().frozen = true;
    net.advance(Duration::from_secs(45));
    net.apps.get_mut("bob").unwrap().frozen = false;
    net.trace.clear();
    net.advance(Duration::from_secs(15));
    assert_eq!(net.count("alice", K::Msg) + net.count("alice", K::RtxReply), 0);
    assert_eq!(net.texts("bob", session).len(), 20);
}

#[test]
fn r9_one_message_far_ahead_causes_bounded_work() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", false, &["bob"]);
    net.publish("alice", session, "1").unwrap();
    let (_, first) = net
        .trace
        .iter()
        .find(|(_, message)| message.kind == K::Msg)
        .cloned()
        .unwrap();
    net.trace.clear();
    net.inject(
        "bob",
        &Message {
            message_id: 2_000_000,
            ..first
        },
    );
    assert!(net.count("bob", K::RtxRequest) < slim_proto::limits::REORDER_MAX);
    assert!(
        net.app("bob")
            .events
            .iter()
            .any(|event| matches!(event, Event::Lost { first: 2, .. }))
    );
}

#[test]
fn r10_a_join_without_welcome_ends_by_itself_and_sends_no_heartbeats() {
    let mut net = Net::with(&["alice", "bob"]);
    net.filter(|_, message| {
        if message.kind == K::GroupWelcome {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
    let session = net.open("alice", group_config(true));
    assert!(net.invite("alice", session, "bob").is_err());
    net.advance(Duration::from_secs(70));
    assert!(net.app("bob").endpoint.session_ids().is_empty());
    assert_eq!(net.count("bob", K::Heartbeat), 0);
    assert!(
        !net.app("bob")
            .events
            .iter()
            .any(|event| matches!(event, Event::SessionOpened(_) | Event::Closed { .. }))
    );
}

#[test]
fn r11_a_removed_member_is_told_even_if_others_do_not_confirm() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.apps.get_mut("carol").unwrap().frozen = true;
    let outcome = net.remove("alice", session, "bob").unwrap();
    assert!(matches!(outcome, Outcome::Removed { unreachable, .. } if unreachable == [net.name("carol")]));
    assert!(net.app("bob").events.contains(&Event::Closed {
        session,
        reason: CloseReason::Removed
    }));
}

#[test]
fn r12_a_removed_member_causes_no_later_offline_event() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.remove("alice", session, "carol").unwrap();
    net.advance(Duration::from_secs(60));
    let spurious = |event: &Event| {
        matches!(
            event,
            Event::Membership {
                change: MembershipChange::Offline,
                ..
            }
        )
    };
    assert!(!net.app("bob").events.iter().any(spurious));
    let before = net.now;
    net.wait("bob", Command::GoOffline { session }).unwrap();
    assert_eq!(net.now, before, "nobody waits for the removed member");
}

#[test]
fn r13_the_acknowledgement_of_a_removed_member_is_harmless() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.remove("alice", session, "carol").unwrap();
    assert!(net.count("carol", K::GroupAck) >= 1);
    alive(&mut net, session, &["alice", "bob"]);
}

#[test]
fn r14_members_hear_each_other_after_their_first_tokens_expired() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    net.advance(Duration::from_secs(3 * 3600 + 61));
    alive(&mut net, session, &["alice", "bob"]);
    assert_eq!(net.texts("bob", session), ["alive"]);
}

#[test]
fn r16_equal_session_numbers_of_two_initiators_do_not_mix() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let open = |channel: &str| Command::Open {
        config: slim_session::SessionConfig {
            destination: channel.parse().unwrap(),
            ..group_config(true)
        },
        id: Some(SessionId(5)),
    };
    net.wait("alice", open("org/ns/one")).unwrap();
    net.wait("carol", open("org/ns/two")).unwrap();
    net.invite("alice", SessionId(5), "bob").unwrap();
    let error = net.invite("carol", SessionId(5), "bob").unwrap_err();
    assert!(
        matches!(
            error,
            OperationError::InviteFailed {
                step: InviteStep::Join,
                ..
            }
        ),
        "{error}"
    );
    alive(&mut net, SessionId(5), &["alice", "bob"]);
}

#[test]
fn r17_an_invitee_sees_the_moderators_metadata_without_signatures() {
    let mut net = Net::with(&["alice", "bob"]);
    let mut config = group_config(true);
    config.metadata.insert("topic".into(), "demo".into());
    let session = net.open("alice", config);
    net.invite("alice", session, "bob").unwrap();
    let metadata = net.snapshot("bob", session).info.metadata;
    assert_eq!(metadata, [("topic".to_owned(), "demo".to_owned())].into());
}

#[test]
fn r18_two_instances_of_one_service_can_be_members() {
    let mut net = Net::with(&["alice", "bob"]);
    net.add("bob2", "bob", SECRET);
    let session = net.group("alice", true, &["bob", "bob"]);
    alive(&mut net, session, &["alice", "bob", "bob2"]);
    let outcome = net.remove("alice", session, "bob").unwrap();
    assert!(matches!(outcome, Outcome::Removed { members, .. } if members.len() == 2));
}

#[test]
fn r19_a_lost_acknowledgement_of_a_rejoin_does_not_block_the_moderator() {
    let mut net = Net::with(&["alice", "bob", "carol", "dave"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.wait("bob", Command::GoOffline { session }).unwrap();
    net.remove("alice", session, "carol").unwrap();
    net.filter(|sender, message| {
        if sender == "bob" && message.kind == K::GroupAck {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
    net.wait("bob", Command::GoOnline { session }).unwrap();
    net.advance(Duration::from_secs(10));
    net.lose_nothing();
    net.invite("alice", session, "dave").unwrap();
    net.advance(Duration::from_secs(30));
    alive(&mut net, session, &["alice", "bob", "dave"]);
}
