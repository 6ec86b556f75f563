//! What members of the other implementation do differently, as seen in the runs of `interop/`, played by our own
//! endpoints with messages withheld.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::{Net, Verdict};
use slim_proto::{Message, MessageKind};
use slim_session::{Command, InviteStep, OperationError};

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
