//! Part D's preimage and tag; the sending and receiving tables of wire-routing A5.3 and A5.4.

use slim_proto::{Frame, NameId, Prefix};

use super::*;
use crate::key_agreement::MacKey;
use crate::link::{Direction, LinkClass};
use crate::testing::{keyed, name, plain, publish, subscribe, tagged, unsubscribe};

const PREIMAGE: &str = "
    534c494d2d44502d4844522d7631002400000031313131313131312d323232322d333333332d343434342d35353535353535353535353501
    013b96ea7603583e87d190694c9a76f9eed5f6a5762754cb8601000000000000000001000000000000000103000000
    6f7267020000006e730300000061707001013b96ea7603583e8768963fc9c7039321852f8a48a626153d01ffffffffffffffffffffffffffffffff
    01030000006f72670700000064656661756c74070000006368616e6e656c03000000746f6b0100000000000008000000";
const KEY: &str = "522f3caf1d201db029a8fc33cc0fa00315c52210c18bb0bc37e06a2c6be1dae8";
const TAG: &str = "a9d47b41c24c863359526eed44071cfec6374fbcc95f73f1a858e466c0278017";

fn vector_frame() -> Frame {
    let source = name("org/ns/app").with_id(NameId(1));
    let mut message = crate::testing::publish_message(&name("org/default/channel"), 1);
    message.source = source;
    message.identity = "tok".into();
    Frame::new(message.encode()).unwrap()
}

#[test]
fn preimage_and_tag_match_part_d() {
    let frame = vector_frame();
    let header = HeaderView::parse(&frame).unwrap();
    let hop = Hop {
        ttl: 8,
        recv_from: None,
        forward_to: None,
    };
    let mut bytes = b"left from the last frame".to_vec();
    preimage(vector::LINK_ID, &header, &hop, &mut bytes);
    assert_eq!(bytes.len(), 210);
    assert_eq!(bytes, vector::unhex(PREIMAGE));

    let key: [u8; 32] = vector::unhex(KEY).try_into().unwrap();
    let link = LinkInfo {
        link_id: vector::LINK_ID.into(),
        mac_key: Some(MacKey::new(&key)),
        ..keyed(LinkClass::Edge, Direction::Accepted, 0)
    };
    let tag: [u8; 32] = vector::unhex(TAG).try_into().unwrap();
    assert_eq!(sign(&link, &header, 8, &mut Vec::new()), Ok(Some(tag)));

    let frame = tagged(&frame, 8, Some(tag));
    let header = HeaderView::parse(&frame).unwrap();
    assert_eq!(check(&link, &header, &mut Vec::new()), Ok(()));
}

#[test]
fn absent_and_present_optional_parts_differ_in_the_preimage() {
    let frame = vector_frame();
    let base = HeaderView::parse(&frame).unwrap();
    let bytes_of = |header: &HeaderView<'_>, recv_from, forward_to| {
        let mut bytes = Vec::new();
        let hop = Hop {
            ttl: 8,
            recv_from,
            forward_to,
        };
        preimage("id", header, &hop, &mut bytes);
        bytes
    };
    let plain = bytes_of(&base, None, None);
    let (mut no_id, mut no_text, mut error) = (base.clone(), base.clone(), base.clone());
    no_id.destination.id = None;
    no_text.source.text = None;
    error.error = Some(false);
    // Sizes by the table of A5.2: 16 bytes of id, three length-prefixed texts, one value byte, eight value bytes.
    assert_eq!(bytes_of(&no_id, None, None).len(), plain.len() - 16);
    assert_eq!(
        bytes_of(&no_text, None, None).len(),
        plain.len() - (4 + 3 + 4 + 2 + 4 + 3)
    );
    assert_eq!(bytes_of(&error, None, None).len(), plain.len() + 1);
    let with_recv = bytes_of(&base, Some(0x0102), None);
    let with_forward = bytes_of(&base, None, Some(0x0102));
    assert_eq!(
        (with_recv.len(), with_forward.len()),
        (plain.len() + 8, plain.len() + 8)
    );
    assert_ne!(with_recv, with_forward);
    assert!(
        with_recv
            .windows(9)
            .any(|window| window == [1, 2, 1, 0, 0, 0, 0, 0, 0]),
        "little-endian"
    );
}

#[test]
fn every_covered_field_changes_the_tag() {
    let link = keyed(LinkClass::Edge, Direction::Accepted, 7);
    let frame = vector_frame();
    let base = HeaderView::parse(&frame).unwrap();
    let tag =
        |link: &LinkInfo, header: &HeaderView<'_>, ttl| sign(link, header, ttl, &mut Vec::new()).unwrap();
    let mut tags = vec![tag(&link, &base, 8), tag(&link, &base, 7)];
    let changes: [fn(&mut HeaderView<'static>); 8] = [
        |header| header.identity = "tok2",
        |header| header.fanout = 2,
        |header| header.error = Some(false),
        |header| header.error = Some(true),
        |header| header.source.prefix = Prefix([1, 2, 3]),
        |header| header.destination.prefix = Prefix([1, 2, 3]),
        |header| header.destination.id = None,
        |header| header.source.text = None,
    ];
    // The views below live as long as the test process, so that the table above can be plain functions.
    let frame: &'static Frame = Box::leak(Box::new(vector_frame()));
    for change in changes {
        let mut header = HeaderView::parse(frame).unwrap();
        change(&mut header);
        tags.push(tag(&link, &header, 8));
    }
    let renamed = LinkInfo {
        link_id: "other".into(),
        ..link
    };
    tags.push(tag(&renamed, &base, 8));
    let count = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), count);
}

#[test]
fn sending_rules_of_a5_3() {
    let frame = publish(&name("a/b/c"), 1);
    let header = HeaderView::parse(&frame).unwrap();
    let sent = |link: &LinkInfo| sign(link, &header, 8, &mut Vec::new());
    for class in [LinkClass::Edge, LinkClass::Remote] {
        let key = keyed(class, Direction::Accepted, 1);
        assert!(matches!(sent(&key), Ok(Some(_))));
        assert_eq!(sent(&plain(class, Direction::Accepted)), Ok(None));
        let strict = LinkInfo { mac_key: None, ..key };
        assert_eq!(sent(&strict), Err(DropReason::KeyMissing));
    }
    for class in [LinkClass::Peer, LinkClass::Local] {
        assert_eq!(
            sent(&keyed(class, Direction::Accepted, 1)),
            Ok(None),
            "never signed"
        );
    }
}

#[test]
fn receiving_rules_of_a5_4() {
    use DropReason::{KeyMissing, MacMissing, MacUnverifiable, MacWrong};
    let good = |link: &LinkInfo, frame: &Frame| crate::testing::signed(frame, link, 8);
    let bad = |frame: &Frame| tagged(frame, 8, Some([9; 32]));
    let publish = publish(&name("a/b/c"), 1);
    let requests = [subscribe(&name("a/b/c"), 1), unsubscribe(&name("a/b/c"), 1)];
    let received = |link: &LinkInfo, frame: &Frame| {
        let header = HeaderView::parse(frame).unwrap();
        check(link, &header, &mut Vec::new())
    };
    for class in [LinkClass::Edge, LinkClass::Remote] {
        let strict = keyed(class, Direction::Accepted, 1);
        let lenient = LinkInfo {
            strict: false,
            ..strict.clone()
        };
        let keyless = plain(class, Direction::Accepted);
        let impossible = LinkInfo {
            mac_key: None,
            ..strict.clone()
        };
        for request in &requests {
            assert_eq!(
                received(&lenient, request),
                Ok(()),
                "unsigned request, not strict"
            );
            assert_eq!(received(&strict, request), Err(MacMissing));
            for link in [&strict, &lenient] {
                assert_eq!(received(link, &good(link, request)), Ok(()));
                assert_eq!(received(link, &bad(request)), Err(MacWrong));
            }
            assert_eq!(received(&keyless, request), Ok(()));
            assert_eq!(received(&keyless, &bad(request)), Ok(()));
            assert_eq!(received(&impossible, request), Err(KeyMissing));
        }
        for link in [&strict, &lenient] {
            assert_eq!(received(link, &publish), Err(MacMissing));
            assert_eq!(received(link, &good(link, &publish)), Ok(()));
            assert_eq!(received(link, &bad(&publish)), Err(MacWrong));
        }
        assert_eq!(received(&keyless, &publish), Ok(()));
        assert_eq!(received(&keyless, &bad(&publish)), Err(MacUnverifiable));
        assert_eq!(received(&impossible, &bad(&publish)), Err(KeyMissing));
    }
    for class in [LinkClass::Peer, LinkClass::Local] {
        let link = keyed(class, Direction::Accepted, 1);
        assert_eq!(received(&link, &bad(&publish)), Ok(()), "the tag is ignored");
        assert_eq!(received(&link, &publish), Ok(()));
    }
}
