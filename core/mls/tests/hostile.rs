//! Only the moderator changes the group (threat model T-M1).

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use common::{Member, assert_agreement, assert_conversation, at, form, refused};
use slim_mls::{MessageName, MlsError};

fn three() -> [Member; 3] {
    let mut members = std::array::from_fn(|index| Member::new(&format!("org/ns/m{index}"), 0));
    form(&mut members, 0);
    members
}

#[test]
fn a_member_cannot_commit() {
    let mut members = three();
    let [_, bob, carol] = &mut members;
    let (own, subject) = (bob.subject().to_owned(), carol.subject().to_owned());
    assert!(matches!(
        refused(bob.group(), |group| group.remove(at(0), &subject)),
        MlsError::NotModerator { committer } if committer == own
    ));
    assert_conversation(&mut members);
}

#[test]
fn commits_of_a_member_that_calls_itself_moderator_are_refused_by_all() {
    type Rebellion = fn(&mut Member, &mut Member, &[String; 3]) -> bytes::Bytes;
    let rebellions: [Rebellion; 3] = [
        |rebel, _, subjects| rebel.group().remove(at(0), &subjects[2]).unwrap().commit,
        |rebel, _, _| {
            let token = rebel.token(0);
            rebel.group().refresh(at(0), token).unwrap().commit
        },
        |rebel, friend, _| {
            let key_package = friend.key_package(0);
            rebel.group().add(at(0), &key_package).unwrap().commit
        },
    ];
    for rebellion in rebellions {
        let [mut alice, mut bob, mut carol] = three();
        let subjects = [&alice, &bob, &carol].map(|member| member.subject().to_owned());
        bob.group().set_moderator(&subjects[1]);
        let mut friend = Member::new("org/ns/friend", 0);
        let commit = rebellion(&mut bob, &mut friend, &subjects);
        for victim in [&mut alice, &mut carol] {
            assert!(matches!(
                refused(victim.group(), |group| group.apply(at(0), &commit)),
                MlsError::NotModerator { committer } if committer == subjects[1]
            ));
        }
        // The others go on as if nothing had happened.
        let commit = alice.group().remove(at(0), &subjects[1]).unwrap();
        carol.group().apply(at(0), &commit.commit).unwrap();
        let mut rest = [alice, carol];
        assert_agreement(&mut rest);
        assert_conversation(&mut rest);
    }
}

#[test]
fn a_commit_with_any_changed_byte_is_refused_and_the_genuine_one_still_applies() {
    let mut members = three();
    let token = members[0].token(10);
    let commit = members[0].group().refresh(at(10), token).unwrap().commit;
    for position in 0..commit.len() {
        let mut forged = commit.to_vec();
        forged[position] ^= 0x20;
        refused(members[1].group(), |group| group.apply(at(10), &forged));
    }
    for length in 0..commit.len() {
        refused(members[1].group(), |group| group.apply(at(10), &commit[..length]));
    }
    for member in &mut members[1..] {
        member.group().apply(at(10), &commit).unwrap();
    }
    assert_agreement(&mut members);
    assert_conversation(&mut members);
}

#[test]
fn commits_out_of_turn_are_refused_by_epoch() {
    let mut members = three();
    let [alice, bob, carol] = &mut members;
    let mut commit = |seconds| {
        let token = alice.token(seconds);
        alice.group().refresh(at(seconds), token).unwrap().commit
    };
    let (third, fourth) = (commit(1), commit(2));
    assert!(matches!(
        refused(bob.group(), |group| group.apply(at(2), &fourth)),
        MlsError::WrongEpoch { expected: 2, got: 3 }
    ));
    for member in [bob, carol] {
        member.group().apply(at(2), &third).unwrap();
        assert!(matches!(
            refused(member.group(), |group| group.apply(at(2), &third)),
            MlsError::WrongEpoch { expected: 3, got: 2 }
        ));
        member.group().apply(at(2), &fourth).unwrap();
    }
    assert_agreement(&mut members);
}

#[test]
fn commits_of_another_group_and_other_messages_are_refused_by_kind() {
    let mut members = three();
    let mut others = three();
    let token = others[0].token(0);
    let foreign = others[0].group().refresh(at(0), token).unwrap().commit;
    let key_package = members[2].key_package(0);
    let group = members[1].group();
    assert!(matches!(
        refused(group, |group| group.apply(at(0), &foreign)),
        MlsError::WrongGroup
    ));
    assert!(matches!(
        refused(group, |group| group.apply(at(0), &key_package)),
        MlsError::Unexpected(MessageName::Commit)
    ));
    assert!(matches!(
        refused(group, |group| group.apply(at(0), b"nonsense")),
        MlsError::Malformed
    ));
    assert!(matches!(
        members[1].client.join(at(0), &key_package),
        Err(MlsError::Unexpected(MessageName::Welcome))
    ));
    assert!(matches!(
        members[1].client.join(at(0), b"nonsense"),
        Err(MlsError::Malformed)
    ));
}

#[test]
fn a_key_package_with_any_changed_byte_is_refused_and_the_genuine_one_still_adds() {
    let [mut alice, mut bob] = ["org/ns/alice", "org/ns/bob"].map(|base| Member::new(base, 0));
    alice.create(0);
    let key_package = bob.key_package(0);
    for position in 0..key_package.len() {
        let mut forged = key_package.to_vec();
        forged[position] ^= 0x01;
        refused(alice.group(), |group| group.add(at(0), &forged));
    }
    let commit = alice.group().add(at(0), &key_package).unwrap();
    bob.join(0, &commit.welcome.unwrap());
    assert_conversation(&mut [alice, bob]);
}

#[test]
fn a_damaged_welcome_is_refused_and_the_genuine_one_still_joins() {
    let [mut alice, mut bob] = ["org/ns/alice", "org/ns/bob"].map(|base| Member::new(base, 0));
    alice.create(0);
    let key_package = bob.key_package(0);
    let welcome = alice.group().add(at(0), &key_package).unwrap().welcome.unwrap();
    for position in 0..welcome.len() {
        let mut forged = welcome.to_vec();
        forged[position] ^= 0x10;
        assert!(bob.client.join(at(0), &forged).is_err(), "byte {position}");
    }
    bob.join(0, &welcome);
    assert_conversation(&mut [alice, bob]);
}
