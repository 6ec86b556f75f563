//! A group outlives the hour of its tokens (wire-session §3.4, §9.3 item 1).

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use common::{Member, START, add, assert_agreement, assert_conversation, at, form, refused};
use slim_auth::IdentityError;
use slim_mls::{CredentialError, MlsError};
use slim_proto::UnixTime;

fn three() -> [Member; 3] {
    let mut members = std::array::from_fn(|index| Member::new(&format!("org/ns/m{index}"), 0));
    form(&mut members, 0);
    members
}

/// A member asks for a rejoin with a fresh token; everybody follows. Its old group is returned.
fn rejoin(members: &mut [Member], index: usize, seconds: u64) -> slim_mls::Group {
    let key_package = members[index].key_package(seconds);
    let subject = members[index].subject().to_owned();
    let commit = members[0]
        .group()
        .rejoin(at(seconds), &subject, &key_package)
        .unwrap();
    for (other, member) in members.iter_mut().enumerate().skip(1) {
        let applied = member.group().apply(at(seconds), &commit.commit).unwrap();
        assert_eq!(applied.self_removed, other == index);
        assert_eq!(
            (&*applied.added, &*applied.removed),
            (&[subject.clone()][..], &[subject.clone()][..])
        );
    }
    let old = members[index].take_group();
    members[index].join(seconds, &commit.welcome.unwrap());
    old
}

fn refresh(members: &mut [Member], seconds: u64) {
    let token = members[0].token(seconds);
    let commit = members[0].group().refresh(at(seconds), token).unwrap();
    assert_eq!(commit.welcome, None);
    for member in &mut members[1..] {
        let applied = member.group().apply(at(seconds), &commit.commit).unwrap();
        assert!(applied.added.is_empty() && applied.removed.is_empty());
    }
}

#[test]
fn refresh_and_rejoin_keep_every_token_fresh_for_hours() {
    let mut members = three();
    for round in 1..=4 {
        let seconds = round * 3000;
        refresh(&mut members, seconds);
        assert_eq!(
            members[0].group().own_credential_issued_at(),
            UnixTime(START + seconds)
        );
        rejoin(&mut members, 1, seconds);
        rejoin(&mut members, 2, seconds);
        assert_eq!(
            members[2].group().own_credential_issued_at(),
            UnixTime(START + seconds)
        );
        assert_agreement(&mut members);
        assert_conversation(&mut members);
        let now = at(seconds + 3600).unix;
        assert!(members[1].group().expired_members(now).is_empty());
    }
    // Members that join late meet only fresh leaves.
    let mut members = Vec::from(members);
    members.push(Member::new("org/ns/late", 12_600));
    add(&mut members, 3, 12_600);
    assert_agreement(&mut members);
    assert_conversation(&mut members);
}

#[test]
fn a_lone_moderator_may_refresh() {
    let mut alice = Member::new("org/ns/alice", 0);
    alice.create(0);
    let token = alice.token(3000);
    let commit = alice.group().refresh(at(3000), token).unwrap();
    assert_eq!(commit.epoch, 1);
    let mut pair = vec![alice, Member::new("org/ns/bob", 6000)];
    add(&mut pair, 1, 6000);
    assert_conversation(&mut pair);
}

#[test]
fn what_was_under_way_before_a_rejoin_opens_with_the_old_group() {
    let mut members = three();
    let late = members[0].seal("under way");
    let mut old = rejoin(&mut members, 1, 3000);
    assert!(members[1].open(&late).is_err());
    assert_eq!(&old.open(&late).unwrap().plaintext[..], b"under way");
    assert_eq!(members[2].read(&late).0, "under way");
    assert_conversation(&mut members);
}

#[test]
fn messages_of_a_member_that_rejoined_since_keep_their_sender() {
    let mut members = three();
    let late = members[1].seal("before the rejoin");
    let subject = members[1].subject().to_owned();
    rejoin(&mut members, 1, 3000);
    assert_eq!(members[0].read(&late), ("before the rejoin".to_owned(), subject));
}

#[test]
fn leaves_are_not_judged_again_when_their_tokens_expire() {
    let mut members = three();
    assert_conversation(&mut members);
    let names: Vec<String> = members.iter().map(|member| member.subject().to_owned()).collect();
    let late = at(10_000);
    assert_eq!(members[0].group().expired_members(late.unix), names);
    assert_eq!(members[0].group().expired_members(at(3600).unix), [""; 0]);
    // A remove repeats the moderator's expired token in its path; the members have judged it long ago.
    let commit = members[0].group().remove(late, &names[2]).unwrap();
    members[1].group().apply(late, &commit.commit).unwrap();
    assert_conversation(&mut members[..2]);
    // A newcomer cannot tell when the leaves were judged; it joins and sees which are stale.
    let mut pair = Vec::from(members);
    pair[2] = Member::new("org/ns/late", 10_000);
    add(&mut pair, 2, 10_000);
    assert_eq!(pair[2].group().expired_members(late.unix), names[..2]);
    assert_conversation(&mut pair);
}

#[test]
fn a_token_that_comes_into_the_tree_anew_must_be_fresh() {
    let mut members = three();
    let old_package = members[1].key_package(100);
    let subject = members[1].subject().to_owned();
    let expired = |error| {
        matches!(
            error,
            MlsError::Credential(CredentialError::Identity(IdentityError::Expired { .. }))
        )
    };
    assert!(expired(refused(members[0].group(), |group| {
        group.rejoin(at(3701), &subject, &old_package)
    })));
    // A member refuses the moderator's commit on the same ground.
    let commit = members[0]
        .group()
        .rejoin(at(100), &subject, &old_package)
        .unwrap();
    assert!(expired(refused(members[2].group(), |group| {
        group.apply(at(3701), &commit.commit)
    })));
    members[2].group().apply(at(3700), &commit.commit).unwrap();
    let token = members[0].token(100);
    assert!(expired(refused(members[0].group(), |group| {
        group.refresh(at(3701), token)
    })));
}
