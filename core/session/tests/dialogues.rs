//! The flows of membership between endpoints in virtual time (wire-session §4.5–§4.8): what each says, and what each
//! knows after. Data is in `delivery.rs`, silence and absence in `presence.rs`.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::time::Duration;

use common::{Net, group_config, pair_config};
use slim_proto::MessageKind as K;
use slim_session::{
    CloseReason, Command, CommandError, Event, InviteStep, MembershipChange, OperationError, Outcome,
    SessionConfig,
};

fn said(net: &Net) -> Vec<String> {
    net.kinds()
        .iter()
        .map(|(who, kind)| format!("{who} {kind:?}"))
        .collect()
}

#[test]
fn a_group_of_three_says_what_upstream_says() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.publish("alice", session, "hello").unwrap();
    assert_eq!(
        said(&net),
        [
            "alice DiscoveryRequest",
            "bob DiscoveryReply",
            "alice JoinRequest",
            "bob JoinReply",
            "alice GroupWelcome",
            "bob GroupAck",
            "alice DiscoveryRequest",
            "carol DiscoveryReply",
            "alice JoinRequest",
            "carol JoinReply",
            "alice GroupUpdate",
            "alice GroupWelcome",
            "bob GroupAck",
            "carol GroupAck",
            "alice Msg",
            "bob MsgAck",
            "carol MsgAck",
        ]
    );
    net.assert_agreement(session, &["alice", "bob", "carol"]);
    for member in ["bob", "carol"] {
        assert_eq!(net.texts(member, session), ["hello"]);
        assert!(
            matches!(net.app(member).events.iter().find(|event| matches!(event, Event::SessionOpened(_))), Some(Event::SessionOpened(info)) if info.id == session && info.mls)
        );
    }
    net.publish("bob", session, "hi").unwrap();
    net.publish("carol", session, "hey").unwrap();
    assert_eq!(net.texts("alice", session), ["hi", "hey"]);
    assert_eq!(net.texts("bob", session), ["hello", "hey"]);
}

#[test]
fn every_kind_of_session_opens_talks_both_ways_and_closes_from_either_side() {
    for (mls, reliable, closer) in [
        (true, true, "alice"),
        (true, false, "bob"),
        (false, true, "bob"),
        (false, false, "alice"),
    ] {
        let mut net = Net::with(&["alice", "bob"]);
        let mut config = pair_config("bob", mls);
        if !reliable {
            config.reliability = None;
        }
        let session = net.open("alice", config);
        net.publish("alice", session, "ping").unwrap();
        net.publish("bob", session, "pong").unwrap();
        assert_eq!(net.texts("bob", session), ["ping"]);
        assert_eq!(net.texts("alice", session), ["pong"]);
        assert_eq!(net.count("bob", K::MsgAck), usize::from(reliable));
        net.wait(closer, Command::Close { session }).unwrap();
        for app in ["alice", "bob"] {
            let reason = net.app(app).events.iter().find_map(|event| match event {
                Event::Closed { reason, .. } => Some(*reason),
                _ => None,
            });
            let expected = match (app == closer, app) {
                (true, _) => CloseReason::Local,
                (false, "alice") => CloseReason::PeerLeft,
                (false, _) => CloseReason::ByModerator,
            };
            assert_eq!(reason, Some(expected), "{app} when {closer} closes");
            assert!(net.app(app).endpoint.session_ids().is_empty());
            assert_eq!(net.app(app).endpoint.timer_count(Some(session)), 0);
        }
    }
}

#[test]
fn a_removed_member_is_told_and_the_others_go_on() {
    for mls in [true, false] {
        let mut net = Net::with(&["alice", "bob", "carol"]);
        let session = net.group("alice", mls, &["bob", "carol"]);
        net.trace.clear();
        let outcome = net.remove("alice", session, "carol").unwrap();
        assert!(
            matches!(outcome, Outcome::Removed { members, unreachable } if members == [net.name("carol")] && unreachable.is_empty())
        );
        let mut dialogue = said(&net);
        dialogue.retain(|line| line != "carol GroupAck");
        assert_eq!(
            dialogue,
            [
                "alice GroupUpdate",
                "bob GroupAck",
                "alice LeaveRequest",
                "carol LeaveReply"
            ]
        );
        assert!(net.app("carol").events.contains(&Event::Closed {
            session,
            reason: CloseReason::Removed
        }));
        net.assert_agreement(session, &["alice", "bob"]);
        net.publish("bob", session, "secret").unwrap();
        assert_eq!(net.texts("carol", session), Vec::<String>::new());
        // And the same member can come back.
        net.invite("alice", session, "carol").unwrap();
        net.assert_agreement(session, &["alice", "bob", "carol"]);
        net.publish("carol", session, "back").unwrap();
        assert_eq!(net.texts("alice", session), ["secret", "back"]);
    }
}

#[test]
fn a_member_that_leaves_is_gone_for_everybody() {
    for mls in [true, false] {
        let mut net = Net::with(&["alice", "bob", "carol"]);
        let session = net.group("alice", mls, &["bob", "carol"]);
        net.wait("carol", Command::Close { session }).unwrap();
        net.advance(Duration::from_secs(1));
        net.assert_agreement(session, &["alice", "bob"]);
        let left = Event::Membership {
            session,
            member: net.name("carol"),
            change: MembershipChange::Left,
        };
        assert!(net.app("alice").events.contains(&left) && net.app("bob").events.contains(&left));
        net.publish("alice", session, "still here").unwrap();
        // The last participant leaves too: the moderator's group stays and can invite again.
        net.wait("bob", Command::Close { session }).unwrap();
        net.advance(Duration::from_secs(1));
        net.invite("alice", session, "bob").unwrap();
        net.assert_agreement(session, &["alice", "bob"]);
    }
}

#[test]
fn closing_ends_the_session_everywhere_and_leaves_nothing_behind() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.wait("alice", Command::Close { session }).unwrap();
    for app in ["alice", "bob", "carol"] {
        assert!(net.app(app).endpoint.session_ids().is_empty());
        assert_eq!(net.app(app).endpoint.timer_count(Some(session)), 0);
    }
    assert!(net.app("bob").events.contains(&Event::Closed {
        session,
        reason: CloseReason::ByModerator
    }));
    assert_eq!(
        net.command("alice", Net::publish_command(session, "x")),
        Err(CommandError::SessionUnknown(session))
    );
}

#[test]
fn an_absent_invitee_fails_the_invitation_after_the_documented_time_and_the_group_goes_on() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    let before = net.now.mono;
    let error = net.invite("alice", session, "nobody").unwrap_err();
    let OperationError::InviteFailed {
        step,
        after,
        ref invitee,
        ..
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!(
        (step, after),
        (InviteStep::Discovery, common::reliability().total())
    );
    assert_eq!(net.now.mono.saturating_since(before), Duration::from_secs(4));
    assert!(
        error.to_string().contains(&invitee.to_string()) && error.to_string().contains("discovery"),
        "{error}"
    );
    net.publish("alice", session, "on we go").unwrap();
}

#[test]
fn another_secret_fails_the_invitation_and_is_counted_where_it_is_refused() {
    let mut net = Net::with(&["alice", "bob"]);
    net.add("eve", "eve", "another-secret-of-more-than-32-bytes!");
    let session = net.group("alice", true, &["bob"]);
    let error = net.invite("alice", session, "eve").unwrap_err();
    assert!(
        matches!(
            error,
            OperationError::InviteFailed {
                step: InviteStep::Discovery,
                ..
            }
        ),
        "{error}"
    );
    assert!(net.app("eve").endpoint.counters().identity_refused > 0);
    assert!(
        net.app("eve")
            .events
            .iter()
            .any(|event| matches!(event, Event::IdentityRefused { peer, .. } if *peer == net.name("alice")))
    );
    net.publish("bob", session, "undisturbed").unwrap();
    assert_eq!(net.texts("alice", session), ["undisturbed"]);
    assert!(net.texts("eve", session).is_empty());
}

#[test]
fn one_invitation_at_a_time_in_the_order_of_the_commands() {
    let mut net = Net::with(&["alice", "bob", "carol", "dave"]);
    let session = net.open("alice", group_config(true));
    let tickets: Vec<_> = ["bob", "carol", "dave"]
        .iter()
        .map(|name| {
            net.command(
                "alice",
                Command::Invite {
                    session,
                    name: format!("org/ns/{name}").parse().unwrap(),
                },
            )
            .unwrap()
        })
        .collect();
    for ticket in tickets {
        net.completed("alice", ticket).unwrap();
    }
    net.assert_agreement(session, &["alice", "bob", "carol", "dave"]);
    assert!(matches!(
        net.invite("alice", session, "dave"),
        Err(OperationError::AlreadyMember(_))
    ));
}

#[test]
fn only_the_moderator_changes_members_and_only_of_groups() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob"]);
    let name: slim_proto::FullName = "org/ns/carol".parse().unwrap();
    assert_eq!(
        net.command(
            "bob",
            Command::Invite {
                session,
                name: name.clone()
            }
        ),
        Err(CommandError::NotModerator(session))
    );
    let pair = net.open("alice", pair_config("bob", true));
    assert_eq!(
        net.command(
            "alice",
            Command::Invite {
                session: pair,
                name: name.clone()
            }
        ),
        Err(CommandError::NotGroup(pair))
    );
    assert_eq!(
        net.command(
            "alice",
            Command::Remove {
                session,
                name: name.clone()
            }
        ),
        Err(CommandError::NotMember(name))
    );
}

#[test]
fn a_further_name_can_be_invited_and_answers_under_that_name() {
    let mut net = Net::with(&["alice", "bob"]);
    net.wait(
        "bob",
        Command::Subscribe {
            name: "org/ns/service".parse().unwrap(),
        },
    )
    .unwrap();
    let session = net.open(
        "alice",
        SessionConfig {
            destination: "org/ns/service".parse().unwrap(),
            ..pair_config("x", true)
        },
    );
    net.publish("alice", session, "to the service").unwrap();
    net.publish("bob", session, "from the service").unwrap();
    assert_eq!(net.received("alice", session)[0].source.path(), "org/ns/service");
    net.wait(
        "bob",
        Command::Unsubscribe {
            name: "org/ns/service".parse().unwrap(),
        },
    )
    .unwrap();
    assert!(
        net.command(
            "bob",
            Command::Unsubscribe {
                name: "org/ns/service".parse().unwrap()
            }
        )
        .is_err()
    );
}

#[test]
fn a_name_that_is_subscribed_again_stays_served_once() {
    let mut net = Net::with(&["alice", "bob"]);
    let service = || -> slim_proto::FullName { "org/ns/service".parse().unwrap() };
    for _ in 0..3 {
        net.wait("bob", Command::Subscribe { name: service() }).unwrap();
        net.wait(
            "bob",
            Command::Subscribe {
                name: "org/ns/bob".parse().unwrap(),
            },
        )
        .unwrap();
    }
    assert_eq!(net.subscriptions_of("bob"), 2);
    net.wait("bob", Command::Unsubscribe { name: service() }).unwrap();
    assert_eq!(net.subscriptions_of("bob"), 1);
    let session = net.open("alice", pair_config("bob", true));
    net.publish("alice", session, "still reachable").unwrap();
}
