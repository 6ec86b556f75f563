//! What members of the other implementation do differently, as seen in the runs of `interop/`, played by our own
//! endpoints with messages withheld.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Net, Verdict};
use slim_proto::MessageKind;
use slim_session::{InviteStep, OperationError};

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
