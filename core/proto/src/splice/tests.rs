//! Splice against decode, modify, encode with the generated types; and against the recordings, byte for byte.

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::r#gen as wire;
use crate::r#gen::message::MessageType;

fn splice_new(frame: &Frame, rewrite: &Rewrite) -> Result<Egress, FrameError> {
    let view = HeaderView::parse(frame)?;
    splice(frame, &view, rewrite, &mut BytesMut::new())
}

/// What the splice must mean.
fn expected(frame: &Frame, rewrite: &Rewrite) -> wire::Message {
    let mut message = wire::Message::decode(frame.bytes().clone()).unwrap();
    let header = match message.message_type.as_mut().unwrap() {
        MessageType::Publish(publish) => publish.header.as_mut(),
        MessageType::Subscribe(subscribe) => {
            subscribe.subscription_id = rewrite.subscription_id.unwrap_or(subscribe.subscription_id);
            subscribe.header.as_mut()
        }
        MessageType::Unsubscribe(unsubscribe) => {
            unsubscribe.subscription_id = rewrite.subscription_id.unwrap_or(unsubscribe.subscription_id);
            unsubscribe.header.as_mut()
        }
        MessageType::Link(_) | MessageType::SubscriptionAck(_) => None,
    }
    .unwrap();
    (header.recv_from, header.forward_to, header.incoming_conn) = (None, None, None);
    header.ttl = rewrite.ttl;
    header.header_mac = rewrite.header_mac.map(|tag| Bytes::copy_from_slice(&tag));
    message
}

fn check_prefix(egress: &Egress) {
    let length = egress.len() - grpc::PREFIX_BYTES;
    assert_eq!(egress.head[..grpc::PREFIX_BYTES], grpc::prefix(length));
}

#[test]
fn a_recorded_frame_with_its_own_ttl_and_tag_comes_out_as_it_was() {
    let (mut seen, mut shared) = (0, 0);
    for bytes in crate::recordings::frame_bytes() {
        let frame = Frame::new(bytes.clone()).unwrap();
        let Ok(view) = HeaderView::parse(&frame) else {
            continue;
        };
        let rewrite = Rewrite {
            ttl: view.ttl,
            header_mac: view.header_mac.map(|tag| tag.try_into().unwrap()),
            subscription_id: None,
        };
        let egress = splice_new(&frame, &rewrite).unwrap();
        check_prefix(&egress);
        shared += usize::from(!egress.tail.is_empty());
        let hop_local = [field::RECV_FROM, field::FORWARD_TO, field::INCOMING_CONN];
        let header = &bytes[view.layout.header.clone()];
        if Fields::of(header).any(|part| hop_local.contains(&part.unwrap().number)) {
            let message = wire::Message::decode(egress.into_frame().unwrap().into_bytes()).unwrap();
            assert_eq!(message, expected(&frame, &rewrite));
        } else {
            assert_eq!(egress.into_frame().unwrap(), frame);
        }
        seen += 1;
    }
    assert_eq!(seen, 261);
    assert!(shared > 0, "some recorded bodies are large enough to be shared");
}

fn publish_with_blob(size: usize) -> Frame {
    let name = crate::name::FullName::new("a", "b", "c").unwrap();
    let message = crate::message::Message::new(
        name.clone(),
        name,
        crate::message::SessionKind::Group,
        1,
        2,
        crate::message::Content::Application {
            payload_type: "msg".into(),
            blob: vec![0x55; size].into(),
        },
    );
    Frame::new(message.encode()).unwrap()
}

#[test]
fn large_bodies_are_shared_and_small_ones_copied() {
    let rewrite = Rewrite {
        ttl: 7,
        ..Rewrite::default()
    };
    let large = publish_with_blob(2000);
    let egress = splice_new(&large, &rewrite).unwrap();
    let end = large.bytes().as_ptr_range().end;
    assert_eq!(
        egress.tail.as_ptr_range().end,
        end,
        "the tail is the memory of the frame"
    );
    assert!(egress.head.len() < 200);

    let small = publish_with_blob(20);
    assert!(splice_new(&small, &rewrite).unwrap().tail.is_empty());
}

#[test]
fn heads_of_one_arena_do_not_overlap() {
    let frame = publish_with_blob(2000);
    let view = HeaderView::parse(&frame).unwrap();
    let mut arena = BytesMut::new();
    let made: Vec<Egress> = (1..200)
        .map(|ttl| {
            let rewrite = Rewrite {
                ttl,
                header_mac: Some([u8::try_from(ttl).unwrap(); 32]),
                subscription_id: None,
            };
            splice(&frame, &view, &rewrite, &mut arena).unwrap()
        })
        .collect();
    for (ttl, egress) in (1u32..).zip(made) {
        let frame = egress.into_frame().unwrap();
        let view = HeaderView::parse(&frame).unwrap();
        assert_eq!(view.ttl, ttl);
        assert_eq!(view.header_mac, Some(&[u8::try_from(ttl).unwrap(); 32][..]));
    }
}

#[test]
fn a_frame_that_grows_above_the_limit_is_refused() {
    let overhead = publish_with_blob(FRAME_BYTES_MAX / 2).bytes().len() - FRAME_BYTES_MAX / 2;
    let frame = publish_with_blob(FRAME_BYTES_MAX - overhead);
    assert_eq!(frame.bytes().len(), FRAME_BYTES_MAX);
    let unchanged = Rewrite {
        ttl: 8,
        ..Rewrite::default()
    };
    assert!(splice_new(&frame, &unchanged).is_ok());
    let tagged = Rewrite {
        header_mac: Some([0; 32]),
        ..unchanged
    };
    // A tag costs 34 bytes (wire-routing C24); the length in front of the header may take one more.
    assert!(matches!(
        splice_new(&frame, &tagged),
        Err(FrameError::TooLarge(size)) if (34..=35).contains(&(size - FRAME_BYTES_MAX))
    ));
}

#[test]
fn only_link_and_acknowledgement_frames_take_the_priority_lane() {
    let ack = crate::control::SubscriptionAck {
        subscription_id: 1,
        outcome: Ok(()),
    };
    assert!(ack.to_egress().is_link_control());
    let publish = publish_with_blob(10);
    assert!(!Egress::verbatim(publish.clone()).is_link_control());
    let spliced = splice_new(&publish, &Rewrite::default()).unwrap();
    assert!(!spliced.is_link_control());
}

#[test]
fn the_frame_comes_back_from_any_division() {
    for frame in [publish_with_blob(10), publish_with_blob(3000)] {
        let unchanged = Rewrite {
            ttl: 8,
            ..Rewrite::default()
        };
        assert_eq!(Egress::verbatim(frame.clone()).into_frame().unwrap(), frame);
        assert_eq!(
            splice_new(&frame, &unchanged).unwrap().into_frame().unwrap(),
            frame
        );
    }
}

fn names() -> impl Strategy<Value = wire::Name> {
    let id = proptest::option::of((any::<u64>(), any::<u64>()));
    let text = proptest::option::of(("[a-zä]{0,5}", "[a-z]{0,5}", "[a-z]{0,40}"));
    (any::<[u64; 3]>(), id, text).prop_map(|([component_0, component_1, component_2], id, text)| wire::Name {
        name: Some(wire::EncodedName {
            component_0,
            component_1,
            component_2,
            name_id: id.map(|(id_0, id_1)| wire::NameId { id_0, id_1 }),
        }),
        str_name: text.map(
            |(str_component_0, str_component_1, str_component_2)| wire::StringName {
                str_component_0,
                str_component_1,
                str_component_2,
            },
        ),
    })
}

fn headers() -> impl Strategy<Value = wire::SlimHeader> {
    let hop_local = (
        any::<u32>(),
        any::<Option<u64>>(),
        any::<Option<u64>>(),
        any::<Option<u64>>(),
    );
    let rest = (
        any::<Option<bool>>(),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
    );
    (
        names(),
        names(),
        "\\PC{0,200}",
        any::<u32>(),
        "[0-9.]{0,8}",
        hop_local,
        rest,
    )
        .prop_map(
            |(source, destination, identity, fanout, version, hop_local, rest)| wire::SlimHeader {
                source: Some(source),
                destination: Some(destination),
                identity,
                fanout,
                version,
                ttl: hop_local.0,
                recv_from: hop_local.1,
                forward_to: hop_local.2,
                incoming_conn: hop_local.3,
                error: rest.0,
                header_mac: rest.1.map(Bytes::from),
                e2e_header_sig: rest.2.map(Bytes::from),
            },
        )
}

fn messages() -> impl Strategy<Value = wire::Message> {
    let metadata = proptest::collection::btree_map("[a-z]{0,9}", "\\PC{0,30}", 0..4);
    let blob = proptest::collection::vec(any::<u8>(), 0..3000);
    (
        headers(),
        metadata,
        proptest::option::of(blob),
        0..3u8,
        any::<u64>(),
        any::<u32>(),
    )
        .prop_map(|(header, metadata, blob, kind, subscription_id, session_id)| {
            let header = Some(header);
            let message_type = match kind {
                0 => MessageType::Subscribe(wire::Subscribe {
                    header,
                    subscription_id,
                }),
                1 => MessageType::Unsubscribe(wire::Unsubscribe {
                    header,
                    subscription_id,
                }),
                _ => MessageType::Publish(wire::Publish {
                    header,
                    session: Some(wire::SessionHeader {
                        session_id,
                        ..Default::default()
                    }),
                    msg: blob.map(|blob| wire::Content {
                        content_type: Some(wire::content::ContentType::AppPayload(
                            wire::ApplicationPayload {
                                payload_type: "msg".into(),
                                blob: blob.into(),
                            },
                        )),
                    }),
                }),
            };
            wire::Message {
                metadata,
                message_type: Some(message_type),
            }
        })
}

/// The fields of a message in another order, with unknown fields among them. Fields with the same number keep
/// their order, as protobuf requires.
fn disorder(bytes: &[u8], seed: u64, unknown: bool) -> Vec<u8> {
    let mut parts: Vec<(u64, Vec<u8>)> = Fields::of(bytes)
        .map(|part| {
            let part = part.unwrap();
            let place = u64::from(part.number).wrapping_mul(seed | 1).rotate_left(17);
            (place, bytes[part.span].to_vec())
        })
        .collect();
    if unknown {
        for number in [77u32, 1000] {
            let mut bytes = Vec::new();
            put_varint_field(&mut bytes, number, seed);
            parts.push((seed.wrapping_mul(u64::from(number)), bytes));
        }
    }
    parts.sort_by_key(|(place, _)| *place);
    parts.into_iter().flat_map(|(_, bytes)| bytes).collect()
}

/// Disorders the outer message, its member and the header.
fn disorder_deeply(bytes: &[u8], seed: u64, unknown: bool) -> Vec<u8> {
    let mut outer = Vec::new();
    for part in Fields::of(bytes) {
        let part = part.unwrap();
        if part.number > 3 {
            outer.extend_from_slice(&bytes[part.span]);
            continue;
        }
        let mut inner = Vec::new();
        let member = part.bytes().unwrap();
        for part in Fields::of(member) {
            let part = part.unwrap();
            if part.number == 1 {
                let header = disorder(part.bytes().unwrap(), seed, unknown);
                put_length_tag(&mut inner, 1, header.len());
                inner.extend_from_slice(&header);
            } else {
                inner.extend_from_slice(&member[part.span]);
            }
        }
        let inner = disorder(&inner, seed, unknown);
        put_length_tag(&mut outer, part.number, inner.len());
        outer.extend_from_slice(&inner);
    }
    disorder(&outer, seed, unknown)
}

/// Unknown fields at the three levels that a splice touches.
fn unknown_fields(frame: &Frame) -> Vec<Vec<u8>> {
    let view = HeaderView::parse(frame).unwrap();
    let bytes = frame.bytes();
    let mut found: Vec<Vec<u8>> = [0..bytes.len(), view.layout.inner, view.layout.header]
        .into_iter()
        .flat_map(|range| {
            let level = &bytes[range];
            Fields::of(level)
                .map(Result::unwrap)
                .filter(|part| part.number > 20)
                .map(|part| level[part.span].to_vec())
        })
        .collect();
    found.sort();
    found
}

proptest! {
    #[test]
    fn splicing_means_decode_modify_encode(
        message in messages(),
        ttl: u32,
        header_mac: Option<[u8; 32]>,
        subscription_id: Option<u64>,
        order in proptest::option::of((any::<u64>(), any::<bool>())),
    ) {
        let bytes = message.encode_to_vec();
        let bytes = match order {
            Some((seed, unknown)) => disorder_deeply(&bytes, seed, unknown),
            None => bytes,
        };
        let frame = Frame::new(bytes).unwrap();
        let rewrite = Rewrite { ttl, header_mac, subscription_id };
        let egress = splice_new(&frame, &rewrite).unwrap();
        check_prefix(&egress);
        let spliced = egress.into_frame().unwrap();
        let decoded = wire::Message::decode(spliced.bytes().clone()).unwrap();
        prop_assert_eq!(decoded, expected(&frame, &rewrite));
        prop_assert_eq!(unknown_fields(&spliced), unknown_fields(&frame));
        if order.is_none() {
            // Canonical in, canonical out.
            let canonical = expected(&frame, &rewrite).encode_to_vec();
            prop_assert_eq!(spliced.bytes(), &canonical);
        }
    }

    #[test]
    fn whatever_the_view_accepts_can_be_spliced(message in messages(), at: prop::sample::Index, flip in 1u8..) {
        let mut bytes = message.encode_to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let frame = Frame::new(bytes).unwrap();
        if HeaderView::parse(&frame).is_ok() {
            let rewrite = Rewrite { ttl: 3, header_mac: Some([9; 32]), subscription_id: Some(5) };
            let spliced = splice_new(&frame, &rewrite).unwrap().into_frame().unwrap();
            let view = HeaderView::parse(&spliced).unwrap();
            prop_assert_eq!((view.ttl, view.header_mac), (3, Some(&[9u8; 32][..])));
            prop_assert_eq!((view.recv_from, view.forward_to), (None, None));
        }
    }
}
