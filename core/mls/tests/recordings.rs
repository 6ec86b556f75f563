//! Upstream's recorded key packages, commits and welcomes parse, and ours have the same shape.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use bytes::Bytes;
use common::{Member, at, form};
use slim_auth::claimed_subject;
use slim_mls::{MessageName, MlsError, OpenError, key_package_subject};
use slim_proto::{Command, Content, Message, MessageKind, NameId};

const RECORDINGS: [&str; 2] = [
    include_str!("../../proto/vectors/group-3.3.8-mls.jsonl"),
    include_str!("../../proto/vectors/p2p-3.3.8-mls.jsonl"),
];

/// Versions, suites, extensions, proposals and credentials of a leaf (wire-session §3.1).
const CAPABILITIES: [u8; 28] = [
    2, 0, 1, // mls10
    18, 0, 1, 0, 3, 0, 2, 0, 7, 0, 5, 0xFD, 0xE9, 0xFD, 0xEA, 0xFD, 0xEB, 0xFE, 0x4C, // suites
    0, 0, // no extensions, no proposals
    2, 0, 1, // basic
    1, // leaf node source: key package
];

#[test]
fn recorded_key_packages_belong_to_their_participants() {
    let mut checked = 0;
    for message in messages() {
        if let Some(Command::JoinReply(reply)) = message.command() {
            let key_package = reply.key_package.clone().unwrap();
            let subject = key_package_subject(&key_package).unwrap();
            assert_eq!(NameId::of_subject(&subject), reply.participant.name.id());
            assert_eq!(Some(&*subject), claimed_subject(&message.identity).as_deref());
            checked += 1;
        }
    }
    // Four joins (carol twice), each seen on two links.
    assert!(checked >= 8, "{checked}");
}

#[test]
fn recorded_commits_welcomes_and_ciphertexts_parse_as_what_they_are() {
    let mut pair = [Member::new("org/ns/a", 0), Member::new("org/ns/b", 0)];
    form(&mut pair, 0);
    let (mut commits, mut welcomes, mut ciphertexts) = (0, 0, 0);
    for message in messages() {
        match &message.content {
            Content::Command(Command::GroupUpdate(update)) => {
                let commit = &update.mls.as_ref().unwrap().content;
                let refusal = pair[1].group().apply(at(0), commit);
                assert!(matches!(refusal, Err(MlsError::WrongGroup)), "{refusal:?}");
                commits += 1;
            }
            Content::Command(Command::GroupWelcome { mls, .. }) => {
                let welcome = &mls.as_ref().unwrap().content;
                let refusal = pair[1].client.join(at(0), welcome);
                assert!(matches!(refusal, Err(MlsError::NoKeyPackage)), "{refusal:?}");
                let refusal = key_package_subject(welcome);
                assert!(matches!(
                    refusal,
                    Err(MlsError::Unexpected(MessageName::KeyPackage))
                ));
                welcomes += 1;
            }
            Content::Application { blob, .. } if message.kind == MessageKind::Msg => {
                let refusal = pair[1].open(blob);
                assert!(matches!(refusal, Err(OpenError::WrongGroup)), "{refusal:?}");
                ciphertexts += 1;
            }
            Content::Application { .. } | Content::Command(_) => {}
        }
    }
    assert!(
        commits >= 3 && welcomes >= 4 && ciphertexts >= 8,
        "{commits} {welcomes} {ciphertexts}"
    );
}

#[test]
fn our_key_packages_have_the_layout_of_the_recorded_ones() {
    let recorded = messages()
        .find_map(|message| match message.command() {
            Some(Command::JoinReply(reply)) => reply.key_package.clone(),
            Some(_) | None => None,
        })
        .unwrap();
    let mut bob = Member::new("org/ns/bob", 0);
    let ours = bob.key_package(0);

    let subject = key_package_subject(&recorded).unwrap();
    let difference = subject.len().abs_diff(bob.subject().len());
    // The two ECDSA signatures vary by two bytes each.
    assert!(ours.len().abs_diff(recorded.len()) <= difference + 4);
    // mls10, key package, mls10, suite 2.
    assert_eq!(ours[..8], [0, 1, 0, 5, 0, 1, 0, 2]);
    assert_eq!(ours[..8], recorded[..8]);

    let lifetime = |key_package: &Bytes| {
        let position = key_package
            .windows(CAPABILITIES.len())
            .position(|window| window == CAPABILITIES)
            .expect("the capabilities of wire-session §3.1");
        let at = position + CAPABILITIES.len();
        let number = |at: usize| u64::from_be_bytes(key_package[at..at + 8].try_into().unwrap());
        (number(at), number(at + 8), key_package[at + 16])
    };
    let (ours_start, ours_end, ours_extensions) = lifetime(&ours);
    assert_eq!(ours_start, at(0).unix.0 - 60);
    assert_eq!(ours_end - ours_start, 31_536_000);
    assert_eq!(ours_extensions, 0);
    let (start, end, extensions) = lifetime(&recorded);
    assert_eq!((end - start, extensions), (31_536_000, 0));
}

#[test]
fn our_messages_have_the_sizes_that_the_wire_document_names() {
    let mut members: Vec<Member> = ["alice", "bob", "carol"]
        .map(|name| Member::new(&format!("org/ns/{name}"), 0))
        .into();
    members[0].create(0);
    let near = |what: &str, length: usize, documented: usize| {
        // Names differ by a few characters and signatures by two bytes each.
        assert!(
            length.abs_diff(documented) <= 24,
            "{what}: {length}, not {documented}"
        );
    };
    let bob = members[1].key_package(0);
    near("key package", bob.len(), 632);
    let first = members[0].group().add(at(0), &bob).unwrap();
    near("first welcome", first.welcome.clone().unwrap().len(), 1381);
    members[1].join(0, &first.welcome.unwrap());
    let carol = members[2].key_package(0);
    let second = members[0].group().add(at(0), &carol).unwrap();
    near("second welcome", second.welcome.clone().unwrap().len(), 1869);
    near("add commit, without path", second.commit.len(), 827);
    members[1].group().apply(at(0), &second.commit).unwrap();
    members[2].join(0, &second.welcome.unwrap());
    let subject = members[2].subject().to_owned();
    let third = members[0].group().remove(at(0), &subject).unwrap();
    near("remove commit, with path", third.commit.len(), 890);
    assert_eq!((first.epoch, second.epoch, third.epoch), (1, 2, 3));
    let sealed = members[1].group().seal(b"hello", vec![0; 406]).unwrap();
    near("message", sealed.len(), 597);
}

/// Every Publish of the MLS recordings, both directions.
fn messages() -> impl Iterator<Item = Message> {
    RECORDINGS.into_iter().flat_map(str::lines).filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        Message::decode(unhex(line["hex"].as_str().unwrap())).unwrap()
    })
}

fn unhex(text: &str) -> Bytes {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}
