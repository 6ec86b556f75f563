//! The header view against the generated types and against Part D of wire-routing.

use bytes::Bytes;
use prost::Message as _;

use super::*;
use crate::control::{SubscriptionAction, SubscriptionRequest};
use crate::r#gen as wire;
use crate::name::FullName;
use crate::wire::WireError;

const CANONICAL_SUBSCRIBE: &str = "\
    0a7a0a760a370a2508bbacaab7b780969f870110d1a1a6e3a4d3ddfcee0118d5ed97b5f784d5e5860122021001120e0a036f726712026e73\
    1a0361707012370a2508bbacaab7b780969f870110d1a1a6e3a4d3ddfcee0118d5ed97b5f784d5e5860122021001120e0a036f726712026e\
    731a0361707020013008\
    1001";

fn unhex(text: &str) -> Bytes {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

fn frame(message: &wire::Message) -> Frame {
    Frame::new(message.encode_to_vec()).unwrap()
}

fn publish(header: Option<wire::SlimHeader>, session: Option<wire::SessionHeader>) -> wire::Message {
    wire::Message {
        message_type: Some(wire::message::MessageType::Publish(wire::Publish {
            header,
            session,
            msg: None,
        })),
        ..Default::default()
    }
}

fn complete_header() -> wire::SlimHeader {
    let name: FullName = "org/ns/app".parse().unwrap();
    wire::SlimHeader {
        source: Some(name.with_id(NameId(1)).to_wire()),
        destination: Some(name.to_wire()),
        identity: "tok".into(),
        fanout: 1,
        ttl: 8,
        ..Default::default()
    }
}

#[test]
fn the_canonical_subscribe_of_part_d_reads_and_writes() {
    let name: FullName = "org/ns/app".parse().unwrap();
    let name = name.with_id(NameId(1));
    let frame = Frame::new(unhex(CANONICAL_SUBSCRIBE)).unwrap();
    let header = HeaderView::parse(&frame).unwrap();
    assert_eq!(header.kind, FrameKind::Subscribe);
    assert_eq!((header.subscription_id, header.fanout, header.ttl), (1, 1, 8));
    assert_eq!((header.identity, header.header_mac), ("", None));
    for view in [header.source, header.destination] {
        assert_eq!(view.name(), name.name());
        assert_eq!(view.id, Some(NameId(1)));
        assert_eq!(view.text, Some(["org", "ns", "app"]));
    }
    let request = SubscriptionRequest::decode(&frame).unwrap().unwrap();
    assert_eq!(
        request,
        SubscriptionRequest {
            action: SubscriptionAction::Subscribe,
            source: name.clone(),
            destination: name,
            identity: String::new(),
            subscription_id: 1,
        }
    );
    // Ours differs from the vector by the version text only.
    let mut ours = wire::Message::decode(request.encode().into_bytes()).unwrap();
    let Some(wire::message::MessageType::Subscribe(subscribe)) = &mut ours.message_type else {
        panic!("a subscribe");
    };
    subscribe.header.as_mut().unwrap().version.clear();
    assert_eq!(ours.encode_to_vec(), unhex(CANONICAL_SUBSCRIBE));
}

#[test]
fn the_view_agrees_with_the_generated_types_on_every_recorded_frame() {
    let mut seen = 0;
    for bytes in crate::recordings::frame_bytes() {
        let frame = Frame::new(bytes.clone()).unwrap();
        let message = wire::Message::decode(bytes).unwrap();
        let (kind, header, subscription_id) = match message.message_type.unwrap() {
            wire::message::MessageType::Publish(publish) => {
                let view = HeaderView::parse(&frame).unwrap();
                let session = &frame.bytes()[view.session_span().unwrap()];
                assert_eq!(wire::SessionHeader::decode(session).ok(), publish.session);
                (FrameKind::Publish, publish.header, 0)
            }
            wire::message::MessageType::Subscribe(s) => (FrameKind::Subscribe, s.header, s.subscription_id),
            wire::message::MessageType::Unsubscribe(s) => {
                (FrameKind::Unsubscribe, s.header, s.subscription_id)
            }
            wire::message::MessageType::Link(_) | wire::message::MessageType::SubscriptionAck(_) => {
                assert!(matches!(
                    HeaderView::parse(&frame),
                    Err(FrameError::Unexpected(_))
                ));
                continue;
            }
        };
        let header = header.unwrap();
        let view = HeaderView::parse(&frame).unwrap();
        assert_eq!((view.kind, view.subscription_id), (kind, subscription_id));
        let source = FullName::from_wire(header.source.as_ref().unwrap()).unwrap();
        let destination = FullName::from_wire(header.destination.as_ref().unwrap()).unwrap();
        assert_eq!(view.source.name(), source.name());
        assert_eq!(view.source.text, Some(source.components()));
        assert_eq!(view.destination.name(), destination.name());
        assert_eq!(view.identity, header.identity);
        assert_eq!(
            (view.fanout, view.ttl, view.error),
            (header.fanout, header.ttl, header.error)
        );
        assert_eq!(
            (view.recv_from, view.forward_to),
            (header.recv_from, header.forward_to)
        );
        assert_eq!(view.header_mac, header.header_mac.as_deref());
        seen += 1;
    }
    assert_eq!(seen, 261);
}

#[test]
fn each_part_that_routing_needs_must_be_there() {
    let session = Some(wire::SessionHeader::default());
    let missing = |message: &wire::Message| HeaderView::parse(&frame(message)).unwrap_err();
    assert_eq!(missing(&wire::Message::default()), FrameError::Empty);
    assert_eq!(missing(&publish(None, session)), FrameError::Missing("header"));
    assert_eq!(
        missing(&publish(Some(complete_header()), None)),
        FrameError::Missing("session header")
    );
    for (change, what) in [
        (
            (|header| header.source = None) as fn(&mut wire::SlimHeader),
            "source",
        ),
        (|header| header.destination = None, "destination"),
        (
            |header| header.source.as_mut().unwrap().name = None,
            "encoded name",
        ),
        (
            |header| header.destination.as_mut().unwrap().name = None,
            "encoded name",
        ),
    ] {
        let mut header = complete_header();
        change(&mut header);
        assert_eq!(
            missing(&publish(Some(header), session)),
            FrameError::Missing(what)
        );
    }
    // Present but empty is enough.
    assert!(HeaderView::parse(&frame(&publish(Some(complete_header()), session))).is_ok());
}

#[test]
fn an_absent_id_means_any_and_a_present_empty_one_means_zero() {
    let id_of = |id| {
        let mut header = complete_header();
        header
            .destination
            .as_mut()
            .unwrap()
            .name
            .as_mut()
            .unwrap()
            .name_id = id;
        let message = publish(Some(header), Some(wire::SessionHeader::default()));
        let frame = frame(&message);
        let view = HeaderView::parse(&frame).unwrap();
        (view.destination.id, view.destination.name().id)
    };
    assert_eq!(id_of(None), (None, NameId::ANY));
    assert_eq!(
        id_of(Some(wire::NameId { id_0: 0, id_1: 0 })),
        (Some(NameId(0)), NameId(0))
    );
    let any = wire::NameId {
        id_0: u64::MAX,
        id_1: u64::MAX,
    };
    assert_eq!(id_of(Some(any)), (Some(NameId::ANY), NameId::ANY));
    // id_0 is the high half (wire-routing C44).
    assert_eq!(
        id_of(Some(wire::NameId { id_0: 1, id_1: 2 })).1,
        NameId((1 << 64) | 2)
    );
}

#[test]
fn parts_that_protobuf_would_merge_are_refused() {
    let mut header = complete_header().encode_to_vec();
    let mut again = Vec::new();
    crate::wire::put_length_tag(&mut again, 1, 0);
    header.extend_from_slice(&again);
    let mut inner = Vec::new();
    crate::wire::put_length_tag(&mut inner, 1, header.len());
    inner.extend_from_slice(&header);
    crate::wire::put_length_tag(&mut inner, 2, 0);
    let mut outer = Vec::new();
    crate::wire::put_length_tag(&mut outer, 3, inner.len());
    outer.extend_from_slice(&inner);
    let frame = Frame::new(outer).unwrap();
    // The second source is incomplete, which is noticed first; a complete one is a repetition.
    assert_eq!(
        HeaderView::parse(&frame).unwrap_err(),
        FrameError::Missing("encoded name")
    );

    let single = publish(Some(complete_header()), Some(wire::SessionHeader::default())).encode_to_vec();
    let twice = [&single[..], &single[..]].concat();
    let frame = Frame::new(twice).unwrap();
    assert_eq!(
        HeaderView::parse(&frame).unwrap_err(),
        FrameError::Repeated("message type")
    );
}

#[test]
fn text_that_is_not_utf_8_is_refused_before_it_reaches_a_receiver() {
    let mut header = complete_header();
    header.identity = "XXXX".into();
    let mut bytes = publish(Some(header), Some(wire::SessionHeader::default())).encode_to_vec();
    let at = bytes.windows(4).position(|window| window == b"XXXX").unwrap();
    bytes[at] = 0xFF;
    let frame = Frame::new(bytes).unwrap();
    assert_eq!(
        HeaderView::parse(&frame).unwrap_err(),
        FrameError::Wire(WireError::Utf8 { field: 3 })
    );
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
        let frame = Frame::new(bytes).unwrap();
        if HeaderView::parse(&frame).is_ok() {
            // The payload may still be garbage; header and names are not.
            proptest::prop_assert!(frame.kind().is_ok());
        }
    }

    #[test]
    fn a_flipped_byte_never_makes_view_and_prost_disagree(at in 0usize..4096, flip in 1u8..) {
        let mut bytes = publish(Some(complete_header()), Some(wire::SessionHeader::default())).encode_to_vec();
        let at = at % bytes.len();
        bytes[at] ^= flip;
        let frame = Frame::new(bytes.clone()).unwrap();
        let (Ok(view), Ok(message)) = (HeaderView::parse(&frame), wire::Message::decode(&bytes[..])) else {
            return Ok(());
        };
        let header = match message.message_type.unwrap() {
            wire::message::MessageType::Publish(publish) => publish.header,
            wire::message::MessageType::Subscribe(subscribe) => subscribe.header,
            wire::message::MessageType::Unsubscribe(unsubscribe) => unsubscribe.header,
            wire::message::MessageType::Link(_) | wire::message::MessageType::SubscriptionAck(_) => None,
        }
        .unwrap();
        let destination = header.destination.unwrap();
        let encoded = destination.name.unwrap();
        proptest::prop_assert_eq!(
            view.destination.prefix.0,
            [encoded.component_0, encoded.component_1, encoded.component_2]
        );
        proptest::prop_assert_eq!(
            view.destination.id,
            encoded.name_id.map(|id| NameId::from_halves(id.id_0, id.id_1))
        );
        proptest::prop_assert_eq!(view.identity, header.identity);
        proptest::prop_assert_eq!((view.fanout, view.ttl), (header.fanout, header.ttl));
        proptest::prop_assert_eq!(view.header_mac, header.header_mac.as_deref());
    }
}
