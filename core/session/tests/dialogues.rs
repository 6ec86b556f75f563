//! The flows of wire-session §4 between endpoints in virtual time: what each says, and what each knows after.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::time::Duration;

use common::{Net, SECRET, Verdict, group_config, pair_config};
use slim_proto::MessageKind as K;
use slim_session::{
    CloseReason, Command, CommandError, Direction, Endpoint, EndpointConfig, Event, InviteStep,
    MembershipChange, MissReason, OperationError, Outcome, SessionConfig,
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
fn a_silent_member_is_reported_by_name_and_counts_as_offline_until_heard() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.apps.get_mut("carol").unwrap().frozen = true;
    let error = net.publish("alice", session, "anyone?").unwrap_err();
    let OperationError::PublishIncomplete { outcome, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(outcome.delivered, [net.name("bob")]);
    assert_eq!(outcome.missed, [(net.name("carol"), MissReason::TimedOut)]);
    net.publish("alice", session, "fast now").unwrap();
    net.apps.get_mut("carol").unwrap().frozen = false;
    net.advance(Duration::from_secs(25));
    assert!(
        net.snapshot("alice", session)
            .members
            .iter()
            .all(|member| member.online)
    );
    assert_eq!(net.texts("carol", session), ["anyone?", "fast now"]);
}

#[test]
fn a_member_that_vanishes_is_offline_within_thirty_seconds_and_an_idle_one_is_not() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.advance(Duration::from_secs(3600));
    let offline = |net: &Net, app: &str| {
        net.app(app).events.iter().any(|event| {
            matches!(
                event,
                Event::Membership {
                    change: MembershipChange::Offline,
                    ..
                }
            )
        })
    };
    assert!(!offline(&net, "alice") && !offline(&net, "bob") && !offline(&net, "carol"));
    net.apps.get_mut("carol").unwrap().frozen = true;
    net.advance(Duration::from_secs(41));
    assert!(offline(&net, "alice") && offline(&net, "bob"));
    net.publish("alice", session, "x").unwrap();
    assert_eq!(net.texts("bob", session), ["x"]);
}

#[test]
fn going_offline_and_back_keeps_membership_even_across_a_new_epoch() {
    let mut net = Net::with(&["alice", "bob", "carol", "dave"]);
    let session = net.group("alice", true, &["bob", "carol", "dave"]);
    net.wait("bob", Command::GoOffline { session }).unwrap();
    net.publish("alice", session, "bob is away").unwrap();
    net.remove("alice", session, "carol").unwrap();
    net.trace.clear();
    net.wait("bob", Command::GoOnline { session }).unwrap();
    net.advance(Duration::from_secs(1));
    let dialogue = said(&net);
    assert!(
        dialogue.contains(&"bob RejoinRequest".to_owned())
            && dialogue.contains(&"alice RejoinReply".to_owned()),
        "{dialogue:?}"
    );
    net.assert_agreement(session, &["alice", "bob", "dave"]);
    net.publish("alice", session, "welcome back").unwrap();
    net.publish("bob", session, "thanks").unwrap();
    assert_eq!(net.texts("bob", session), ["welcome back"]);
    assert_eq!(
        net.texts("dave", session),
        ["bob is away", "welcome back", "thanks"]
    );
}

#[test]
fn a_session_that_ends_while_a_member_is_offline_ends_for_it_too() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    net.wait("bob", Command::GoOffline { session }).unwrap();
    net.wait("alice", Command::Close { session }).unwrap();
    assert!(net.app("bob").events.contains(&Event::Closed {
        session,
        reason: CloseReason::ByModerator
    }));
    assert!(net.app("bob").endpoint.session_ids().is_empty());
}

#[test]
fn a_recorded_heartbeat_is_no_sign_of_life() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.advance(Duration::from_secs(11));
    let (_, heartbeat) = net
        .trace
        .iter()
        .find(|(from, message)| from == "carol" && message.kind == K::Heartbeat)
        .cloned()
        .unwrap();
    net.apps.get_mut("carol").unwrap().frozen = true;
    for _ in 0..9 {
        net.advance(Duration::from_secs(5));
        net.inject("alice", &heartbeat);
    }
    let carol = net.name("carol");
    assert!(
        net.snapshot("alice", session)
            .members
            .iter()
            .any(|member| member.name == carol && !member.online)
    );
}

#[test]
fn a_lost_commit_is_repaired_and_data_of_its_epoch_waits_for_it() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob"]);
    // bob misses the update that adds carol, and every repetition of it.
    net.apps.get_mut("bob").unwrap().frozen = true;
    net.invite("alice", session, "carol").unwrap();
    net.apps.get_mut("bob").unwrap().frozen = false;
    let publish = net
        .command("carol", Net::publish_command(session, "to both"))
        .unwrap();
    net.completed("carol", publish).unwrap();
    net.advance(Duration::from_secs(30));
    net.assert_agreement(session, &["alice", "bob", "carol"]);
    assert_eq!(net.texts("bob", session), ["to both"]);
}

#[test]
fn a_group_talks_for_a_day_past_every_token() {
    let mut net = Net::with(&["alice", "bob", "carol", "dave"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    for hour in 0..24 {
        net.advance(Duration::from_secs(3600));
        for sender in ["alice", "bob", "carol"] {
            net.publish(sender, session, &format!("{sender} {hour}")).unwrap();
        }
    }
    net.assert_agreement(session, &["alice", "bob", "carol"]);
    assert_eq!(net.texts("bob", session).len(), 48);
    // And a newcomer can still join.
    net.invite("alice", session, "dave").unwrap();
    net.assert_agreement(session, &["alice", "bob", "carol", "dave"]);
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
fn a_member_that_did_not_hear_the_end_asks_its_silent_moderator() {
    for mls in [false, true] {
        let mut net = Net::with(&["alice", "bob"]);
        let session = net.group("alice", mls, &["bob"]);
        net.filter(|_, message| match message.kind {
            K::GroupClose => Verdict::Drop,
            _ => Verdict::Pass,
        });
        net.wait("alice", Command::Close { session }).unwrap();
        net.lose_nothing();
        assert_eq!(net.app("bob").endpoint.session_ids(), [session]);
        // Silence is noticed within 30 s, and asked about at the next tick; long after the tombstone is gone as well.
        net.advance(Duration::from_secs(if mls { 41 } else { 300 }));
        assert!(net.app("bob").events.contains(&Event::Closed {
            session,
            reason: CloseReason::ByModerator
        }));
        assert_eq!(net.app("bob").endpoint.timer_count(Some(session)), 0);
    }
}

#[test]
fn a_group_ends_for_its_members_when_the_moderators_process_starts_anew() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    let alice = net.apps.get_mut("alice").unwrap();
    let config = EndpointConfig {
        name: "org/ns/alice".parse().unwrap(),
        direction: Direction::Bidirectional,
    };
    let (identity, verifier) = (alice.identity.clone(), alice.identity.verifier());
    alice.endpoint = Endpoint::new(config, identity, verifier, [77; 32]);
    net.advance(Duration::from_secs(41));
    assert!(net.app("bob").events.contains(&Event::Closed {
        session,
        reason: CloseReason::ByModerator
    }));
}

#[test]
fn a_silent_moderator_that_knows_the_group_takes_the_question_for_a_heartbeat() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    net.apps.get_mut("alice").unwrap().frozen = true;
    net.advance(Duration::from_secs(60));
    net.apps.get_mut("alice").unwrap().frozen = false;
    net.advance(Duration::from_secs(60));
    net.assert_agreement(session, &["alice", "bob"]);
    net.publish("alice", session, "still here").unwrap();
    assert_eq!(net.texts("bob", session), ["still here"]);
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
