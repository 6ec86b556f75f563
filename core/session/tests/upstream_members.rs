//! What members of the other implementation do differently, as seen in the runs of `interop/`, played by our own
//! endpoints with messages withheld.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use common::forgery::{alive, signed_by};
use common::{Net, Verdict};
use slim_auth::PayloadSignatures;
use slim_proto::message::metadata::PAYLOAD_SIGNATURE;
use slim_proto::{Command as Payload, Message, MessageKind};
use slim_session::{Command, InviteStep, OperationError, SessionId};

/// Upstream hands a discovery request for a session that it is in to that session, which ignores it.
fn bob_ignores_discovery(net: &mut Net) {
    net.filter(|sender, message| {
        if sender == "bob" && message.kind == MessageKind::DiscoveryReply {
            return Verdict::Drop;
        }
        Verdict::Pass
    });
}

#[test]
fn inviting_a_member_that_is_silent_about_its_own_session_says_that_it_is_a_member() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    bob_ignores_discovery(&mut net);
    assert_eq!(
        net.invite("alice", session, "bob"),
        Err(OperationError::AlreadyMember("org/ns/bob".parse().unwrap()))
    );
    net.assert_agreement(session, &["alice", "bob"]);
    net.publish("alice", session, "still there").unwrap();
    assert_eq!(net.texts("bob", session), ["still there"]);
}

#[test]
fn inviting_a_silent_application_that_is_no_member_says_that_nobody_answered() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    net.remove("alice", session, "bob").unwrap();
    bob_ignores_discovery(&mut net);
    assert!(matches!(
        net.invite("alice", session, "bob"),
        Err(OperationError::InviteFailed {
            step: InviteStep::Discovery,
            ..
        })
    ));
}

/// Bob comes back after the group's epoch changed; the moderator's reply is given to him with this version.
fn acknowledgements_of_a_rejoin(version: Option<&str>) -> (Net, Vec<Message>) {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob"]);
    net.wait("bob", Command::GoOffline { session }).unwrap();
    net.invite("alice", session, "carol").unwrap();
    let reply: Rc<RefCell<Option<Message>>> = Rc::default();
    let seen = Rc::clone(&reply);
    net.filter(move |_, message| {
        if message.kind == MessageKind::RejoinReply {
            seen.borrow_mut().get_or_insert_with(|| message.clone());
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    let coming_back = net.command("bob", Command::GoOnline { session }).unwrap();
    let mut reply = reply.borrow_mut().take().unwrap();
    if let Some(version) = version {
        reply.version = version.to_owned();
    }
    net.lose_nothing();
    net.inject("bob", &reply);
    let acknowledges =
        |message: &Message| message.kind == MessageKind::GroupAck && message.message_id == reply.message_id;
    let from_bob = |(sender, message): &(String, Message)| sender == "bob" && acknowledges(message);
    let answers = net.trace.iter().filter(|said| from_bob(said));
    let answers = answers.map(|(_, message)| message.clone()).collect();
    net.completed("bob", coming_back).unwrap();
    net.publish("bob", session, "back").unwrap();
    assert_eq!(net.texts("alice", session), ["back"]);
    (net, answers)
}

#[test]
fn a_rejoin_at_a_moderator_of_upstream_is_acknowledged_under_a_name_that_it_has_not_seen() {
    let (net, answers) = acknowledgements_of_a_rejoin(Some("3.4.6"));
    let [plain, other] = &answers[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(plain.source, net.name("bob"));
    assert_ne!(other.source, plain.source);
    assert_eq!(other.source.id(), net.name("bob").id());
    assert_eq!(other.destination, net.name("alice"));
}

#[test]
fn a_rejoin_at_a_moderator_of_our_own_is_acknowledged_once() {
    let (net, answers) = acknowledgements_of_a_rejoin(None);
    assert_eq!(answers.len(), 1);
    assert_eq!(net.app("alice").endpoint.counters().not_authorised, 0);
}

/// bob stops to replace his credential, as members of upstream do, until it is past its life.
fn bob_grows_old(net: &mut Net) {
    net.filter(|sender, message| {
        if sender == "bob" && message.kind == MessageKind::RejoinRequest {
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    net.advance(Duration::from_secs(3700));
}

#[test]
fn an_invitee_of_upstream_that_would_refuse_an_old_credential_is_not_let_into_the_group() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob"]);
    bob_grows_old(&mut net);
    let before = net.snapshot("alice", session);
    // carol's reply is given to the moderator with the version of upstream.
    let reply: Rc<RefCell<Option<Message>>> = Rc::default();
    let seen = Rc::clone(&reply);
    net.filter(move |_, message| {
        if message.kind == MessageKind::JoinReply {
            seen.borrow_mut().replace(message.clone());
            return Verdict::Drop;
        }
        Verdict::Pass
    });
    let name = "org/ns/carol".parse().unwrap();
    let invite = net.command("alice", Command::Invite { session, name }).unwrap();
    let mut reply = reply.borrow_mut().take().unwrap();
    reply.version = "3.4.6".to_owned();
    net.inject("alice", &reply);
    let Some(Err(OperationError::InviteFailed { step, detail, .. })) = net.result("alice", invite) else {
        panic!("{:?}", net.result("alice", invite));
    };
    assert_eq!(step, InviteStep::KeyPackage);
    assert!(
        detail.contains(net.app("bob").identity.subject()) && detail.contains("remove"),
        "{detail}"
    );
    assert_eq!(net.snapshot("alice", session), before, "nothing was committed");
}

#[test]
fn an_invitee_of_our_own_joins_a_group_with_an_old_credential() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob"]);
    bob_grows_old(&mut net);
    net.invite("alice", session, "carol").unwrap();
    net.publish("bob", session, "old and heard").unwrap();
    assert_eq!(net.texts("carol", session), ["old and heard"]);
}

#[test]
fn r19_the_acknowledgement_of_a_rejoin_is_repeated_for_a_moderator_of_upstream_that_asks_only_once() {
    let (mut net, answers) = acknowledgements_of_a_rejoin(Some("3.4.6"));
    net.trace.clear();
    net.advance(Duration::from_secs(30));
    let again = |(sender, message): &&(String, Message)| {
        sender == "bob"
            && message.kind == MessageKind::GroupAck
            && answers.iter().any(|first| first.message_id == message.message_id)
    };
    let again: Vec<_> = net.trace.iter().filter(again).collect();
    assert_eq!(again.len(), 3 * answers.len());
    assert!(
        again
            .iter()
            .all(|(_, message)| message.destination == net.name("alice"))
    );
    assert_eq!(net.app("bob").endpoint.timer_count(None), 0);
}

#[test]
fn a_member_that_acknowledged_a_welcome_which_it_could_not_open_is_taken_out_and_nobody_follows_it() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.trace.clear();
    for other in ["carol", "alice"] {
        let lost = signed_by(
            &net,
            "bob",
            other,
            session,
            Payload::Heartbeat { epoch: u64::MAX },
        );
        net.inject(other, &lost);
    }
    net.advance(Duration::from_secs(20));
    assert_eq!(net.count("carol", MessageKind::RejoinRequest), 0);
    assert_eq!(net.count("alice", MessageKind::GroupUpdate), 1);
    assert_eq!(net.count("alice", MessageKind::LeaveRequest), 1);
    alive(&mut net, session, &["alice", "carol"]);
    // It can be invited again.
    net.invite("alice", session, "bob").unwrap();
    alive(&mut net, session, &["alice", "bob", "carol"]);
}

#[test]
fn an_invitee_that_says_before_its_welcome_that_it_has_no_group_is_invited_on() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob"]);
    net.lose("alice", MessageKind::GroupWelcome, 1);
    let name = "org/ns/carol".parse().unwrap();
    let invite = net.command("alice", Command::Invite { session, name }).unwrap();
    let early = signed_by(
        &net,
        "carol",
        "alice",
        session,
        Payload::Heartbeat { epoch: u64::MAX },
    );
    net.inject("alice", &early);
    net.completed("alice", invite).unwrap();
    alive(&mut net, session, &["alice", "bob", "carol"]);
}

/// Alice invites bob, whose commands arrive without a signature of what they say, as those of 2.2.0 do.
fn invite_one_who_signs_no_payload(demanded: PayloadSignatures) -> (Net, SessionId, Option<bool>) {
    let mut net = Net::with(&["alice", "bob"]);
    let alice = net.apps.get_mut("alice").unwrap();
    alice.endpoint.use_payload_signatures(demanded);
    let held: Rc<RefCell<Vec<Message>>> = Rc::default();
    let slot = Rc::clone(&held);
    net.filter(move |sender, message| {
        if sender != "bob" {
            return Verdict::Pass;
        }
        let mut message = message.clone();
        message.metadata.remove(PAYLOAD_SIGNATURE);
        slot.borrow_mut().push(message);
        Verdict::Drop
    });
    let session = net.group("alice", true, &[]);
    let name = "org/ns/bob".parse().unwrap();
    let ticket = net.command("alice", Command::Invite { session, name }).unwrap();
    for _ in 0..50 {
        net.advance(Duration::from_millis(20));
        let arriving = std::mem::take(&mut *held.borrow_mut());
        for message in arriving {
            net.inject("alice", &message);
        }
    }
    let joined = net.result("alice", ticket).map(|result| result.is_ok());
    (net, session, joined)
}

#[test]
fn one_who_signs_no_payload_joins_where_signatures_may_be_absent() {
    let (net, session, joined) = invite_one_who_signs_no_payload(PayloadSignatures::MayBeAbsent);
    assert_eq!(joined, Some(true));
    net.assert_agreement(session, &["alice", "bob"]);
    assert_eq!(net.app("alice").endpoint.counters().signature_refused, 0);
}

#[test]
fn one_who_signs_no_payload_is_refused_otherwise() {
    let (net, _, joined) = invite_one_who_signs_no_payload(PayloadSignatures::default());
    assert_eq!(joined, None, "nobody answered whom alice believes");
    assert!(net.app("alice").endpoint.counters().signature_refused > 0);
}
