//! Groups change and stay in agreement; secrets follow membership.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use common::{Member, add, assert_agreement, assert_conversation, at, form, refused};
use slim_crypto::Rng;
use slim_mls::{CredentialError, MlsError, OpenError, key_package_subject};

fn three() -> [Member; 3] {
    let mut members = ["org/ns/alice", "org/ns/bob", "org/ns/carol"].map(|base| Member::new(base, 0));
    form(&mut members, 0);
    members
}

#[test]
fn a_group_forms_one_member_at_a_time_and_everybody_hears_everybody() {
    let mut members = ["org/ns/alice", "org/ns/bob", "org/ns/carol"].map(|base| Member::new(base, 0));
    members[0].create(0);
    assert_eq!(members[0].group().epoch(), 0);
    let alone = members[0].subject().to_owned();
    assert_eq!(members[0].group().members(), [alone]);
    add(&mut members, 1, 0);
    assert_eq!(members[1].group().epoch(), 1);
    add(&mut members, 2, 0);
    assert_eq!(members[2].group().epoch(), 2);
    assert_agreement(&mut members);
    assert_conversation(&mut members);

    let moderator = members[0].subject().to_owned();
    assert_eq!(members[2].group().moderator(), moderator);
    let carol = members[2].subject().to_owned();
    assert!(members[1].group().contains(&carol));
    assert!(!members[1].group().contains("org/ns/nobody"));
}

#[test]
fn a_commit_tells_what_it_did() {
    let mut members = ["org/ns/alice", "org/ns/bob", "org/ns/carol"].map(|base| Member::new(base, 0));
    form(&mut members[..2], 0);
    let [alice, bob, carol] = &mut members;
    let key_package = carol.key_package(0);
    assert_eq!(key_package_subject(&key_package).unwrap(), carol.subject());

    let commit = alice.group().add(at(0), &key_package).unwrap();
    assert_eq!(commit.epoch, 2);
    let applied = bob.group().apply(at(0), &commit.commit).unwrap();
    assert_eq!((applied.epoch, applied.self_removed), (2, false));
    assert_eq!(applied.committer, alice.subject());
    assert_eq!(applied.added, [carol.subject()]);
    assert!(applied.removed.is_empty());

    carol.join(0, &commit.welcome.unwrap());
    let commit = alice.group().remove(at(0), carol.identity.subject()).unwrap();
    assert_eq!(commit.welcome, None);
    let applied = bob.group().apply(at(0), &commit.commit).unwrap();
    assert_eq!((applied.epoch, applied.self_removed), (3, false));
    assert_eq!(applied.removed, [carol.subject()]);
    assert!(applied.added.is_empty());
    let applied = carol.group().apply(at(0), &commit.commit).unwrap();
    assert_eq!((applied.epoch, applied.self_removed), (3, true));
    assert_eq!(applied.removed, [carol.subject()]);
}

#[test]
fn s_63_a_removed_member_opens_nothing_later_and_says_nothing() {
    let mut members = three();
    let [alice, bob, carol] = &mut members;
    let last = alice.seal("last");
    let commit = alice.group().remove(at(0), carol.identity.subject()).unwrap();
    bob.group().apply(at(0), &commit.commit).unwrap();
    carol.group().apply(at(0), &commit.commit).unwrap();

    let secret = alice.seal("without carol");
    assert_eq!(bob.read(&secret).0, "without carol");
    assert!(matches!(
        carol.open(&secret),
        Err(OpenError::FutureEpoch { epoch: 3 })
    ));
    assert_eq!(carol.read(&last).0, "last");
    assert!(matches!(
        carol.group().seal(b"", Vec::new()),
        Err(MlsError::Removed)
    ));
    let more = alice.group().remove(at(0), bob.identity.subject()).unwrap();
    assert!(matches!(
        carol.group().apply(at(0), &more.commit),
        Err(MlsError::Removed)
    ));
    assert_ne!(carol.authenticator(), bob.authenticator());
}

#[test]
fn s_63_a_newcomer_opens_nothing_from_before() {
    let mut members = ["org/ns/alice", "org/ns/bob", "org/ns/carol"].map(|base| Member::new(base, 0));
    form(&mut members[..2], 0);
    let before = members[0].seal("before carol");
    add(&mut members, 2, 0);
    assert!(matches!(
        members[2].open(&before),
        Err(OpenError::TooOld { epoch: 1 })
    ));
    assert_eq!(members[1].read(&before).0, "before carol");
}

#[test]
fn a_member_that_was_removed_comes_back_by_a_new_key_package() {
    let mut members = three();
    let [alice, bob, carol] = &mut members;
    let commit = alice.group().remove(at(0), carol.identity.subject()).unwrap();
    bob.group().apply(at(0), &commit.commit).unwrap();
    let missed = alice.seal("missed");
    add(&mut members, 2, 10);
    assert_agreement(&mut members);
    assert_conversation(&mut members);
    assert!(members[2].open(&missed).is_err());
}

#[test]
fn several_key_packages_may_be_under_way_and_each_is_used_once() {
    let [mut alice, mut bob] = ["org/ns/alice", "org/ns/bob"].map(|base| Member::new(base, 0));
    alice.create(0);
    let (first, second) = (bob.key_package(0), bob.key_package(1));
    assert_ne!(first, second);
    let welcome = alice.group().add(at(1), &second).unwrap().welcome.unwrap();
    bob.join(1, &welcome);
    assert!(matches!(
        bob.client.join(at(1), &welcome),
        Err(MlsError::NoKeyPackage)
    ));
    // The other one is still good for a rejoin.
    let subject = bob.subject().to_owned();
    let commit = alice.group().rejoin(at(2), &subject, &first).unwrap();
    bob.join(2, &commit.welcome.unwrap());
    assert_conversation(&mut [alice, bob]);
}

#[test]
fn unused_key_packages_are_forgotten_after_ten_minutes_and_beyond_sixteen() {
    let mut bob = Member::new("org/ns/bob", 0);
    let join = |bob: &mut Member, key_package: &[u8], seconds| {
        let mut alice = Member::new("org/ns/alice", seconds);
        alice.create(seconds);
        let welcome = alice
            .group()
            .add(at(seconds), key_package)
            .unwrap()
            .welcome
            .unwrap();
        bob.client.join(at(seconds), &welcome).map(drop)
    };
    let old = bob.key_package(0);
    assert!(join(&mut bob, &old, 600).is_ok());
    let old = bob.key_package(600);
    assert!(matches!(join(&mut bob, &old, 1201), Err(MlsError::NoKeyPackage)));
    let many: Vec<_> = (0..17).map(|second| bob.key_package(2000 + second)).collect();
    assert!(matches!(
        join(&mut bob, &many[0], 2017),
        Err(MlsError::NoKeyPackage)
    ));
    assert!(join(&mut bob, &many[1], 2017).is_ok());
}

#[test]
fn the_wrong_people_are_refused_and_nothing_changes() {
    let mut members = three();
    let mut stranger = Member::with_secret("org/ns/mallory", "another secret of 32 bytes or so", 0);
    let stranger_package = stranger.key_package(0);
    let [alice, bob, carol] = &mut members;
    let bob_package = bob.key_package(0);
    let bob_subject = bob.subject().to_owned();
    let carol_subject = carol.subject().to_owned();
    let group = alice.group();

    assert!(matches!(
        refused(group, |group| group.add(at(0), &stranger_package)),
        MlsError::Credential(CredentialError::Identity(slim_auth::IdentityError::WrongMac))
    ));
    assert!(matches!(
        refused(group, |group| group.add(at(0), &bob_package)),
        MlsError::AlreadyMember { subject } if subject == bob_subject
    ));
    assert!(matches!(
        refused(group, |group| group.rejoin(at(0), &carol_subject, &bob_package)),
        MlsError::WrongSubject { expected, got } if expected == carol_subject && got == bob_subject
    ));
    assert!(matches!(
        refused(group, |group| group.rejoin(
            at(0),
            stranger.subject(),
            &stranger_package
        )),
        MlsError::NotMember { .. }
    ));
    assert!(matches!(
        refused(group, |group| group.remove(at(0), "org/ns/nobody")),
        MlsError::NotMember { subject } if subject == "org/ns/nobody"
    ));
    let own = group.moderator().to_owned();
    assert!(matches!(
        refused(group, |group| group.remove(at(0), &own)),
        MlsError::Protocol(_)
    ));
    let own_token = stranger.token(0);
    assert!(matches!(
        refused(group, |group| group.refresh(at(0), own_token)),
        MlsError::Credential(_)
    ));
    // An hour later the key package's token has expired; the key package itself lives for a year.
    let mut late = Member::new("org/ns/late", 0);
    let late_package = late.key_package(0);
    assert!(matches!(
        refused(group, |group| group.add(at(3601), &late_package)),
        MlsError::Credential(CredentialError::Identity(
            slim_auth::IdentityError::Expired { .. }
        ))
    ));
    for nonsense in [&b""[..], b"nonsense", &bob_package[..bob_package.len() - 1]] {
        assert!(matches!(
            refused(group, |group| group.add(at(0), nonsense)),
            MlsError::Malformed
        ));
    }
    let mut trailing = late_package.to_vec();
    trailing.push(0);
    assert!(matches!(
        refused(group, |group| group.add(at(0), &trailing)),
        MlsError::Malformed
    ));
    assert_conversation(&mut members);
}

#[test]
fn a_client_accepts_only_its_own_valid_token() {
    let mut rng = Rng::from_seed([1; 32]);
    let mut alice = Member::new("org/ns/alice", 0);
    let bob = Member::new("org/ns/bob", 0);
    let bobs = bob.identity.token(at(0).unix, &mut rng);
    assert!(matches!(
        alice.client.key_package(at(0), bobs),
        Err(MlsError::WrongSubject { .. })
    ));
    let stale = alice.token(0);
    assert!(matches!(
        alice.client.key_package(at(4000), stale),
        Err(MlsError::Credential(_))
    ));
}

#[test]
fn two_hundred_fresh_members_sign_join_and_talk() {
    // Keys, signatures and secrets with leading zero bytes come up about once in 256 each.
    for round in 0..200 {
        let mut pair = [
            Member::new(&format!("org/ns/alice{round}"), round),
            Member::new(&format!("org/ns/bob{round}"), round),
        ];
        form(&mut pair, round);
        assert_agreement(&mut pair);
        assert_conversation(&mut pair);
    }
}
