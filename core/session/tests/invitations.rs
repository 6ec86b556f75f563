//! Whose invitations an application accepts, and the dialogue with one that wants to be asked.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::{Net, group_config, pair_config};
use slim_proto::MessageKind;
use slim_session::{
    Command, CommandError, Event, Invitation, InvitationPolicy, InvitationRefusal, Inviters, OperationError,
    SessionId, SubjectPattern,
};

fn policy(net: &mut Net, key: &str, policy: InvitationPolicy) {
    net.apps
        .get_mut(key)
        .unwrap()
        .endpoint
        .use_invitation_policy(policy);
}

fn from(inviters: Inviters) -> InvitationPolicy {
    InvitationPolicy {
        from: inviters,
        ..InvitationPolicy::default()
    }
}

fn invitations(net: &Net, key: &str) -> Vec<Invitation> {
    let mut invitations = Vec::new();
    for event in &net.app(key).events {
        if let Event::Invited(invitation) = event {
            invitations.push(invitation.clone());
        }
    }
    invitations
}

fn refusals(net: &Net, key: &str) -> Vec<InvitationRefusal> {
    let mut refusals = Vec::new();
    for event in &net.app(key).events {
        if let Event::InvitationRefused { reason, .. } = event {
            refusals.push(*reason);
        }
    }
    refusals
}

fn invite_in_background(net: &mut Net, session: SessionId) -> slim_session::Ticket {
    let name = "org/ns/bob".parse().unwrap();
    net.command("alice", Command::Invite { session, name }).unwrap()
}

#[test]
fn only_listed_subjects_find_and_invite_an_application() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let listed = vec![SubjectPattern::new("org/ns/alice_*")];
    policy(&mut net, "bob", from(Inviters::Listed(listed)));
    let session = net.group("alice", true, &["bob"]);
    net.assert_agreement(session, &["alice", "bob"]);

    let foreign = net.open("carol", group_config(true));
    let error = net.invite("carol", foreign, "bob").unwrap_err();
    assert!(matches!(error, OperationError::InviteFailed { .. }), "{error}");
    assert_eq!(net.count("bob", MessageKind::DiscoveryReply), 1);
    assert_eq!(net.app("bob").endpoint.session_ids(), [session]);
    assert!(net.app("bob").endpoint.counters().invitations_refused > 0);
}

#[test]
fn a_subject_pattern_is_a_whole_subject_or_a_beginning() {
    let exact = SubjectPattern::new("org/ns/alice");
    assert!(exact.matches("org/ns/alice"));
    assert!(!exact.matches("org/ns/alice_12345678"));
    let beginning = SubjectPattern::new("org/ns/alice_*");
    assert!(beginning.matches("org/ns/alice_12345678"));
    assert!(!beginning.matches("org/ns/alicent_12345678"));
    let star_inside = SubjectPattern::new("org/*/alice");
    assert!(star_inside.matches("org/*/alice"));
    assert!(!star_inside.matches("org/ns/alice"));
    assert!(SubjectPattern::new("*").matches("anybody"));
}

#[test]
fn nobody_gets_in_where_nobody_may_invite_but_own_sessions_work() {
    let mut net = Net::with(&["alice", "bob"]);
    policy(&mut net, "bob", from(Inviters::Nobody));
    let session = net.open("alice", group_config(false));
    net.invite("alice", session, "bob").unwrap_err();
    let own = net.group("bob", true, &["alice"]);
    net.assert_agreement(own, &["alice", "bob"]);
}

#[test]
fn sessions_without_encryption_are_refused_where_it_is_required() {
    let mut net = Net::with(&["alice", "bob"]);
    let encrypted = InvitationPolicy {
        require_mls: true,
        ..InvitationPolicy::default()
    };
    policy(&mut net, "bob", encrypted);
    let plain = net.open("alice", group_config(false));
    net.invite("alice", plain, "bob").unwrap_err();
    assert!(refusals(&net, "bob").contains(&InvitationRefusal::NotEncrypted));
    let sealed = net.group("alice", true, &["bob"]);
    net.assert_agreement(sealed, &["alice", "bob"]);
}

#[test]
fn an_inviter_gets_as_many_sessions_as_the_policy_says() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let two = InvitationPolicy {
        sessions_per_inviter: 2,
        ..InvitationPolicy::default()
    };
    policy(&mut net, "bob", two);
    let first = net.open("alice", pair_config("bob", true));
    net.group("alice", true, &["bob"]);
    let third = net.open("alice", group_config(true));
    net.invite("alice", third, "bob").unwrap_err();
    assert!(refusals(&net, "bob").contains(&InvitationRefusal::TooManySessions));
    // Others are not concerned, and an ended session makes room.
    net.group("carol", true, &["bob"]);
    net.wait("alice", Command::Close { session: first }).unwrap();
    net.invite("alice", third, "bob").unwrap();
}

#[test]
fn the_application_is_asked_once_and_a_yes_lets_the_invitation_through() {
    let mut net = Net::with(&["alice", "bob"]);
    policy(&mut net, "bob", from(Inviters::Asked));
    let session = net.open("alice", group_config(true));
    let ticket = invite_in_background(&mut net, session);
    // The inviter repeats its request; it stays one question.
    net.advance(Duration::from_millis(2500));
    let asked = invitations(&net, "bob");
    assert_eq!(asked.len(), 1);
    let subject = net.app("alice").identity.subject().to_owned();
    assert_eq!(asked[0].subject, subject);
    assert_eq!(asked[0].inviter, net.name("alice"));
    assert!(asked[0].mls);
    assert!(asked[0].channel.is_some());
    assert!(net.app("bob").endpoint.session_ids().is_empty());

    let answer = Command::AnswerInvitation {
        invitation: asked[0].id,
        accept: true,
    };
    net.wait("bob", answer.clone()).unwrap();
    net.completed("alice", ticket).unwrap();
    net.assert_agreement(session, &["alice", "bob"]);
    assert_eq!(
        net.command("bob", answer),
        Err(CommandError::InvitationUnknown(asked[0].id))
    );
    assert_eq!(
        net.app("bob").endpoint.timer_count(None),
        0,
        "no question is left open"
    );
}

#[test]
fn a_no_is_silence_for_the_inviter_and_no_second_question() {
    let mut net = Net::with(&["alice", "bob"]);
    policy(&mut net, "bob", from(Inviters::Asked));
    let session = net.open("alice", group_config(true));
    let ticket = invite_in_background(&mut net, session);
    let id = invitations(&net, "bob")[0].id;
    let answer = Command::AnswerInvitation {
        invitation: id,
        accept: false,
    };
    net.wait("bob", answer).unwrap();
    net.completed("alice", ticket).unwrap_err();
    assert_eq!(invitations(&net, "bob").len(), 1);
    assert_eq!(refusals(&net, "bob"), [InvitationRefusal::Declined]);
    assert_eq!(net.count("bob", MessageKind::JoinReply), 0);
    // Nothing stays: a minute later the same inviter may ask again.
    net.advance(Duration::from_secs(61));
    assert_eq!(net.app("bob").endpoint.timer_count(None), 0);
    invite_in_background(&mut net, session);
    assert_eq!(invitations(&net, "bob").len(), 2);
}

#[test]
fn an_invitation_without_answer_ends_after_a_minute() {
    let mut net = Net::with(&["alice", "bob"]);
    policy(&mut net, "bob", from(Inviters::Asked));
    let session = net.open("alice", group_config(false));
    let ticket = invite_in_background(&mut net, session);
    net.completed("alice", ticket).unwrap_err();
    net.advance(Duration::from_secs(61));
    assert_eq!(refusals(&net, "bob"), [InvitationRefusal::Unanswered]);
    let id = invitations(&net, "bob")[0].id;
    let late = Command::AnswerInvitation {
        invitation: id,
        accept: true,
    };
    assert_eq!(net.command("bob", late), Err(CommandError::InvitationUnknown(id)));
}

#[test]
fn a_late_yes_does_not_answer_an_inviter_that_gave_up_but_its_next_attempt() {
    let mut net = Net::with(&["alice", "bob"]);
    policy(&mut net, "bob", from(Inviters::Asked));
    let session = net.open("alice", group_config(true));
    let ticket = invite_in_background(&mut net, session);
    net.completed("alice", ticket).unwrap_err();
    net.advance(Duration::from_secs(10));
    let id = invitations(&net, "bob")[0].id;
    let yes = Command::AnswerInvitation {
        invitation: id,
        accept: true,
    };
    net.wait("bob", yes).unwrap();
    assert_eq!(
        net.count("bob", MessageKind::JoinReply),
        0,
        "R4: nobody waits for it"
    );
    net.invite("alice", session, "bob").unwrap();
    net.assert_agreement(session, &["alice", "bob"]);
    assert_eq!(invitations(&net, "bob").len(), 1);
}

#[test]
fn one_peer_cannot_fill_the_table_of_questions() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    policy(&mut net, "bob", from(Inviters::Asked));
    for _ in 0..15 {
        let session = net.open("alice", group_config(false));
        invite_in_background(&mut net, session);
    }
    assert_eq!(invitations(&net, "bob").len(), 10);
    let session = net.open("carol", group_config(false));
    let name = "org/ns/bob".parse().unwrap();
    net.command("carol", Command::Invite { session, name }).unwrap();
    assert_eq!(invitations(&net, "bob").len(), 11);
}
