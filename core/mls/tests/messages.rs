//! Messages lost, repeated, reordered, forged and late.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use common::{Member, add, assert_conversation, at, form};
use slim_mls::{MlsError, OpenError};

fn members<const N: usize>() -> [Member; N] {
    let mut members = std::array::from_fn(|index| Member::new(&format!("org/ns/m{index}"), 0));
    form(&mut members, 0);
    members
}

#[test]
fn plaintext_authenticated_data_sender_and_epoch_arrive() {
    let [mut alice, mut bob] = members();
    let sealed = alice.group().seal(b"hello", b"the header".to_vec()).unwrap();
    let opened = bob.open(&sealed).unwrap();
    assert_eq!(&opened.plaintext[..], b"hello");
    assert_eq!(opened.aad, b"the header");
    assert_eq!(opened.sender, alice.subject());
    assert_eq!(opened.epoch, 1);
    // Equal plaintexts never look equal.
    assert_ne!(alice.seal("same"), alice.seal("same"));
}

#[test]
fn empty_and_large_messages_pass() {
    let [mut alice, mut bob] = members();
    for length in [0, 1, 255, 256, 4000, 1_000_000] {
        let plaintext = vec![7; length];
        let sealed = alice.group().seal(&plaintext, Vec::new()).unwrap();
        assert_eq!(bob.open(&sealed).unwrap().plaintext, plaintext);
    }
}

#[test]
fn ciphertexts_are_padded_as_upstream_pads_them() {
    let [mut alice, _bob] = members();
    // Plaintexts of nearby lengths give ciphertexts of one of few lengths: steps of 32 bytes below 256.
    let lengths: std::collections::BTreeSet<usize> = (0..64)
        .map(|length| alice.group().seal(&vec![0; length], Vec::new()).unwrap().len())
        .collect();
    assert!(lengths.len() <= 4, "{lengths:?}");
    let steps: Vec<usize> = lengths
        .iter()
        .zip(lengths.iter().skip(1))
        .map(|(a, b)| b - a)
        .collect();
    assert!(steps.iter().all(|step| *step == 32), "{steps:?}");
}

#[test]
fn a_duplicate_is_a_replay_and_harms_nothing() {
    let [mut alice, mut bob] = members();
    let (one, two) = (alice.seal("one"), alice.seal("two"));
    assert_eq!(bob.read(&one).0, "one");
    assert!(matches!(bob.open(&one), Err(OpenError::Replay { generation: 0 })));
    assert_eq!(bob.read(&two).0, "two");
    assert!(matches!(bob.open(&two), Err(OpenError::Replay { generation: 1 })));
    assert_conversation(&mut [alice, bob]);
}

#[test]
fn messages_open_in_any_order() {
    let [mut alice, mut bob] = members();
    let sealed: Vec<_> = (0..50).map(|number| alice.seal(&number.to_string())).collect();
    // 7 and 50 have no common factor, so this visits every message once, far out of order.
    for step in 0..50 {
        let number = (step * 7 + 3) % 50;
        assert_eq!(bob.read(&sealed[number]).0, number.to_string());
    }
    assert!(sealed.iter().all(|message| bob.open(message).is_err()));
}

#[test]
fn a_gap_of_1024_messages_opens_and_a_larger_one_does_not() {
    let [mut alice, mut bob] = members();
    let first = alice.seal("first");
    let mut last = first.clone();
    for _ in 0..1024 {
        last = alice.seal("later");
    }
    let beyond = alice.seal("beyond");
    assert!(matches!(
        bob.open(&beyond),
        Err(OpenError::TooFarAhead { generation: 1025 })
    ));
    assert_eq!(bob.read(&last).0, "later");
    assert_eq!(bob.read(&first).0, "first");
    assert_eq!(bob.read(&beyond).0, "beyond");
}

#[test]
fn any_changed_byte_is_noticed_and_the_genuine_message_still_opens() {
    let [mut alice, mut bob] = members();
    let sealed = alice.group().seal(b"genuine", b"authenticated".to_vec()).unwrap();
    for at in 0..sealed.len() {
        let mut forged = sealed.to_vec();
        forged[at] ^= 0x40;
        assert!(bob.open(&forged).is_err(), "byte {at}");
    }
    for length in 0..sealed.len() {
        assert!(bob.open(&sealed[..length]).is_err(), "length {length}");
    }
    let mut longer = sealed.to_vec();
    longer.push(0);
    assert!(matches!(bob.open(&longer), Err(OpenError::Malformed)));
    let opened = bob.open(&sealed).unwrap();
    assert_eq!(
        (&opened.plaintext[..], &opened.aad[..]),
        (&b"genuine"[..], &b"authenticated"[..])
    );
}

#[test]
fn changed_authenticated_data_is_refused() {
    let [mut alice, mut bob] = members();
    let sealed = alice.group().seal(b"text", b"destination: bob".to_vec()).unwrap();
    let position = sealed
        .windows(3)
        .position(|window| window == b"bob")
        .expect("authenticated data is in clear");
    let mut redirected = sealed.to_vec();
    redirected[position..position + 3].copy_from_slice(b"eve");
    assert!(matches!(bob.open(&redirected), Err(OpenError::Refused(_))));
    assert!(bob.open(&sealed).is_ok());
}

#[test]
fn own_messages_and_those_of_other_groups_are_named() {
    let [mut alice, _bob] = members();
    let [mut carol, mut dave] = members();
    let sealed = alice.seal("mine");
    assert!(matches!(alice.open(&sealed), Err(OpenError::Own)));
    assert!(matches!(dave.open(&sealed), Err(OpenError::WrongGroup)));
    let key_package = carol.key_package(0);
    assert!(matches!(dave.open(&key_package), Err(OpenError::Malformed)));
    assert!(matches!(
        dave.group().apply(at(0), &sealed),
        Err(MlsError::Unexpected(_))
    ));
}

#[test]
fn future_epochs_are_named_before_anything_happens_and_open_after_the_commit() {
    let mut members = std::array::from_fn::<_, 3, _>(|index| Member::new(&format!("org/ns/m{index}"), 0));
    form(&mut members[..2], 0);
    let [alice, bob, carol] = &mut members;
    let key_package = carol.key_package(0);
    let commit = alice.group().add(at(0), &key_package).unwrap();
    let early = alice.seal("early");
    for _ in 0..3 {
        assert!(matches!(
            bob.open(&early),
            Err(OpenError::FutureEpoch { epoch: 2 })
        ));
    }
    bob.group().apply(at(0), &commit.commit).unwrap();
    assert_eq!(bob.read(&early).0, "early");
}

#[test]
fn three_past_epochs_open_once_each_and_the_fourth_is_gone() {
    let mut members: [Member; 2] = members();
    let [alice, bob] = &mut members;
    let mut sealed = Vec::new();
    for epoch in 0..5 {
        sealed.push((bob.seal("a"), bob.seal("b")));
        let token = alice.token(epoch);
        let commit = alice.group().refresh(at(epoch), token).unwrap();
        bob.group().apply(at(epoch), &commit.commit).unwrap();
    }
    assert_eq!(alice.group().epoch(), 6);
    for (index, (one, two)) in sealed.iter().enumerate() {
        let epoch = u64::try_from(index).unwrap() + 1;
        if epoch < 3 {
            assert!(matches!(alice.open(one), Err(OpenError::TooOld { epoch: got }) if got == epoch));
        } else {
            let opened = alice.open(two).unwrap();
            assert_eq!((opened.epoch, &*opened.sender), (epoch, bob.subject()));
            assert!(matches!(
                alice.open(two),
                Err(OpenError::Replay { generation: 1 })
            ));
            assert_eq!(alice.read(one).0, "a");
            assert!(matches!(
                alice.open(one),
                Err(OpenError::Replay { generation: 0 })
            ));
        }
    }
    // Keys used in a past epoch stay used across the next commit.
    let token = alice.token(9);
    let commit = alice.group().refresh(at(9), token).unwrap();
    bob.group().apply(at(9), &commit.commit).unwrap();
    let (one, two) = &sealed[4];
    assert!(matches!(alice.open(one), Err(OpenError::Replay { .. })));
    assert!(matches!(alice.open(two), Err(OpenError::Replay { .. })));
}

#[test]
fn a_late_message_is_never_attributed_to_the_next_owner_of_its_leaf() {
    let mut members = std::array::from_fn::<_, 4, _>(|index| Member::new(&format!("org/ns/m{index}"), 0));
    form(&mut members[..3], 0);
    let late = members[2].seal("from the one who left");
    let on_time = members[1].seal("from one who stays");
    let leaver = members[2].subject().to_owned();
    let commit = members[0].group().remove(at(0), &leaver).unwrap();
    members[1].group().apply(at(0), &commit.commit).unwrap();
    // The newcomer gets the free leaf.
    members.swap(2, 3);
    add(&mut members[..3], 2, 0);

    let epoch = 2;
    assert!(matches!(
        members[0].open(&late),
        Err(OpenError::SenderLeft { epoch: got }) if got == epoch
    ));
    let stayer = members[1].subject().to_owned();
    let opened = members[0].open(&on_time).unwrap();
    assert_eq!((opened.sender, opened.epoch), (stayer, epoch));
}
