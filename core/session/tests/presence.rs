//! Who is there, in virtual time (wire-session §4.10–§4.12): silence, absence, missed commits, and ends that were not heard.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::time::Duration;

use common::{Net, Verdict};
use slim_proto::MessageKind as K;
use slim_session::{
    CloseReason, Command, Direction, Endpoint, EndpointConfig, Event, MembershipChange, MissReason,
    OperationError,
};

fn said(net: &Net) -> Vec<String> {
    net.kinds()
        .iter()
        .map(|(who, kind)| format!("{who} {kind:?}"))
        .collect()
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
