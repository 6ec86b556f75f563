//! What is repeated with the number of its first copy, as upstream repeats everything and ours repeats some (R1, R2,
//! R19, wire-session §9.3 items 2 and 6): it gets its answer again, and acts no second time.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::time::Duration;

use common::forgery::{alive, signed_by};
use common::{Net, Verdict, group_config, pair_config};
use slim_auth::sign_message;
use slim_proto::{Command as Payload, Message, MessageKind as K, SessionKind};
use slim_session::{Command, Outcome, Reliability, SessionConfig, SessionId};

/// The last message of a kind that an application sent.
fn last(net: &Net, from: &str, kind: K) -> Message {
    let sent = |(sender, message): &&(String, Message)| sender == from && message.kind == kind;
    net.trace.iter().rev().find(sent).unwrap().1.clone()
}

/// Gives a copy of an application's last message of a kind to another one, and returns what that says to it.
fn repeat(net: &mut Net, from: &str, kind: K, to: &str) -> Vec<Message> {
    let copy = last(net, from, kind);
    let before = net.trace.len();
    net.inject(to, &copy);
    let said = net.trace[before..].iter();
    said.filter(|(sender, _)| sender == to)
        .map(|(_, message)| message.clone())
        .collect()
}

fn assert_answered_again(net: &mut Net, from: &str, kind: K, to: &str, answer: K) {
    let number = last(net, from, kind).message_id;
    let receiver = net.name(from);
    let said = repeat(net, from, kind, to);
    let said: Vec<_> = said
        .iter()
        .map(|message| (message.kind, message.message_id, &message.destination))
        .collect();
    assert_eq!(said, [(answer, number, &receiver)], "{kind:?} again");
}

#[test]
fn a_repeated_request_of_the_moderator_gets_its_answer_again_and_changes_nothing() {
    for mls in [true, false] {
        let mut net = Net::with(&["alice", "bob", "carol"]);
        // bob does not hear his welcome at first, so his reply to the invitation is asked for again.
        let session = net.open("alice", group_config(mls));
        net.lose("alice", K::GroupWelcome, 1);
        let invite = Command::Invite {
            session,
            name: "org/ns/bob".parse().unwrap(),
        };
        let invite = net.command("alice", invite).unwrap();
        assert_answered_again(&mut net, "alice", K::JoinRequest, "bob", K::JoinReply);
        net.completed("alice", invite).unwrap();
        assert_answered_again(&mut net, "alice", K::GroupWelcome, "bob", K::GroupAck);
        net.invite("alice", session, "carol").unwrap();
        assert_answered_again(&mut net, "alice", K::GroupUpdate, "bob", K::GroupAck);
        let before = net.snapshot("bob", session);
        alive(&mut net, session, &["alice", "bob", "carol"]);

        net.remove("alice", session, "carol").unwrap();
        assert_answered_again(&mut net, "alice", K::GroupUpdate, "bob", K::GroupAck);
        // carol's session is over, and what is left of it still answers.
        assert_answered_again(&mut net, "alice", K::LeaveRequest, "carol", K::LeaveReply);
        assert_eq!(
            net.snapshot("bob", session).members.len(),
            before.members.len() - 1
        );
        alive(&mut net, session, &["alice", "bob"]);

        net.wait("alice", Command::Close { session }).unwrap();
        assert_answered_again(&mut net, "alice", K::GroupClose, "bob", K::GroupAck);
    }
}

#[test]
fn a_repeated_request_of_a_participant_gets_its_answer_again_and_changes_nothing() {
    for mls in [true, false] {
        let mut net = Net::with(&["alice", "bob", "carol", "dave"]);
        let session = net.group("alice", mls, &["bob", "carol"]);
        net.wait("bob", Command::GoOffline { session }).unwrap();
        for other in ["alice", "carol"] {
            assert_answered_again(&mut net, "bob", K::UpdateParticipantState, other, K::GroupAck);
        }
        net.wait("bob", Command::GoOnline { session }).unwrap();
        for other in ["alice", "carol"] {
            assert_answered_again(&mut net, "bob", K::UpdateParticipantState, other, K::GroupAck);
        }
        net.wait("carol", Command::Close { session }).unwrap();
        assert_answered_again(&mut net, "carol", K::LeaveRequest, "alice", K::LeaveReply);
        // Ours asks again under another number.
        let mut again = last(&net, "carol", K::LeaveRequest);
        again.message_id += 1;
        sign_message(&net.app("carol").identity, &mut again);
        net.inject("alice", &again);
        assert_eq!(last(&net, "alice", K::LeaveReply).message_id, again.message_id);
        // Who was never a member learns nothing.
        let mut strange = signed_by(&net, "dave", "alice", session, Payload::LeaveRequest);
        strange.metadata.insert("LEAVING_SESSION".into(), "TRUE".into());
        sign_message(&net.app("dave").identity, &mut strange);
        let replies = net.count("alice", K::LeaveReply);
        net.inject("alice", &strange);
        assert_eq!(net.count("alice", K::LeaveReply), replies);
        net.advance(Duration::from_secs(1));
        alive(&mut net, session, &["alice", "bob"]);
    }
}

/// bob was away while the group changed, and is back.
fn rejoined() -> (Net, SessionId) {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.wait("bob", Command::GoOffline { session }).unwrap();
    net.remove("alice", session, "carol").unwrap();
    (net, session)
}

#[test]
fn r19_a_repeated_reply_to_a_rejoin_is_acknowledged_again() {
    let (mut net, session) = rejoined();
    net.wait("bob", Command::GoOnline { session }).unwrap();
    net.advance(Duration::from_secs(1));
    let before = net.snapshot("bob", session);
    assert_answered_again(&mut net, "alice", K::RejoinReply, "bob", K::GroupAck);
    assert_eq!(net.snapshot("bob", session), before);
    // A repetition of the request is recognised by its key package, and costs no second commit.
    assert_eq!(repeat(&mut net, "bob", K::RejoinRequest, "alice"), []);
    net.advance(Duration::from_secs(5));
    alive(&mut net, session, &["alice", "bob"]);
    assert_eq!(net.snapshot("bob", session).epoch, before.epoch);
}

#[test]
fn r19_a_rejoin_ends_one_interval_after_its_acknowledgement_was_lost() {
    let (mut net, session) = rejoined();
    let reply = std::rc::Rc::new(std::cell::Cell::new(None));
    let (seen, mut lost) = (std::rc::Rc::clone(&reply), false);
    net.filter(move |sender, message| {
        if message.kind == K::RejoinReply {
            seen.set(Some(message.message_id));
        }
        let acknowledgement = message.kind == K::GroupAck && seen.get() == Some(message.message_id);
        if sender == "bob" && acknowledgement && !lost {
            lost = true;
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    net.wait("bob", Command::GoOnline { session }).unwrap();
    let before = net.now.mono;
    // The moderator's next change waits for nothing else.
    net.invite("alice", session, "carol").unwrap();
    assert!(net.now.mono.saturating_since(before) <= Duration::from_secs(2));
    assert_eq!(net.count("alice", K::RejoinReply), 2);
    alive(&mut net, session, &["alice", "bob", "carol"]);
}

#[test]
fn a_heartbeat_in_the_new_epoch_counts_as_the_acknowledgement_of_its_commit() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let patient = SessionConfig {
        reliability: Some(Reliability {
            interval: Duration::from_secs(4),
            max_retries: 10,
        }),
        ..group_config(true)
    };
    let session = net.open("alice", patient);
    net.invite("alice", session, "bob").unwrap();
    net.filter(|sender, message| match message.kind {
        K::GroupAck if sender == "bob" => Verdict::Drop,
        _ => Verdict::Pass,
    });
    let before = net.now.mono;
    let outcome = net.invite("alice", session, "carol").unwrap();
    assert!(
        matches!(outcome, Outcome::Invited { unreachable, .. } if unreachable.is_empty()),
        "nobody is called silent"
    );
    // The next tick, long before the repetitions are used up.
    assert!(net.now.mono.saturating_since(before) <= Duration::from_secs(11));
    assert!(net.count("bob", K::Heartbeat) >= 1);
    assert!(
        net.snapshot("alice", session)
            .members
            .iter()
            .all(|member| member.online)
    );
    net.lose_nothing();
    alive(&mut net, session, &["alice", "bob", "carol"]);
}

#[test]
fn r1_requests_that_upstream_drops_when_their_number_repeats_are_repeated_under_new_numbers() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.open("alice", group_config(true));
    // Every answer is lost for two seconds: what matters are the numbers of the requests.
    for (lost, kind) in [(K::JoinReply, K::JoinRequest), (K::GroupAck, K::GroupWelcome)] {
        net.lose("bob", lost, 2);
        net.trace.clear();
        let _ = net.invite("alice", session, "bob");
        let numbers: Vec<u32> = net
            .trace
            .iter()
            .filter(|(sender, message)| sender == "alice" && message.kind == kind)
            .map(|(_, message)| message.message_id)
            .collect();
        let different: std::collections::BTreeSet<_> = numbers.iter().collect();
        assert!(
            numbers.len() >= 3 && different.len() == numbers.len(),
            "{kind:?} {numbers:?}"
        );
        net.remove("alice", session, "bob").unwrap();
    }
}

#[test]
fn a_repeated_message_of_a_group_goes_to_the_silent_member_alone_and_to_all_by_its_fanout() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.lose("carol", K::MsgAck, 1);
    net.publish("alice", session, "x").unwrap();
    let sent: Vec<_> = net
        .trace
        .iter()
        .filter(|(sender, message)| sender == "alice" && message.kind == K::Msg)
        .map(|(_, message)| (message.destination.clone(), message.fanout, message.message_id))
        .collect();
    let channel = net.snapshot("alice", session).info.destination;
    assert_eq!(sent, [(channel, 256, 1), (net.name("carol"), 256, 1)]);
    // Taken although it was addressed to the member itself, and once.
    assert_eq!(net.texts("carol", session), ["x"]);
    assert_eq!(net.count("carol", K::MsgAck), 1);
}

#[test]
fn pairs_answer_repetitions_too() {
    for mls in [true, false] {
        let mut net = Net::with(&["alice", "bob"]);
        let session = net.open("alice", pair_config("bob", mls));
        assert_answered_again(&mut net, "alice", K::GroupWelcome, "bob", K::GroupAck);
        let welcome = last(&net, "alice", K::GroupWelcome);
        assert_eq!(welcome.session_kind, SessionKind::PointToPoint);
        net.wait("bob", Command::Close { session }).unwrap();
        assert_answered_again(&mut net, "bob", K::LeaveRequest, "alice", K::LeaveReply);
    }
}
