//! Frames of today's wire as a node looks at them: the routing header, the body's structure, the new header in front of
//! the old body (Invariants 5, 6, 10 and 22).

use bytes::{Bytes, BytesMut};
use slim_proto::control::{LinkNegotiation, SubscriptionAck, SubscriptionRequest};
use slim_proto::grpc::PREFIX_BYTES;
use slim_proto::splice::{Rewrite, splice};
use slim_proto::structure::check_publish;
use slim_proto::wire::Fields;
use slim_proto::{DecodeError, Frame, FrameError, FrameKind, HeaderView, Message};

/// The hop-local fields of a header, which a node changes or removes: ttl, where from, where to, which link, tag.
const HOP_LOCAL: [u32; 5] = [6, 7, 8, 9, 11];

/// Looks at a frame and sends it on.
pub fn current_frame(data: &[u8]) {
    let Ok(frame) = Frame::new(Bytes::copy_from_slice(data)) else {
        return;
    };
    decoders_agree(&frame);
    let Ok(view) = HeaderView::parse(&frame) else {
        return;
    };
    assert_eq!(frame.kind(), Ok(view.kind));
    for rewrite in [
        Rewrite::default(),
        Rewrite {
            ttl: view.ttl.saturating_sub(1),
            header_mac: Some([0xA5; 32]),
            subscription_id: None,
        },
        Rewrite {
            ttl: u32::MAX,
            header_mac: None,
            subscription_id: Some(u64::from(view.ttl)),
        },
    ] {
        sent_on(&frame, &view, &rewrite);
    }
}

/// The strict typed decoders take no frame of another kind, and what a node lets pass they can decode.
fn decoders_agree(frame: &Frame) {
    let kind = frame.kind();
    let message = Message::decode(frame.bytes().clone());
    if let (Ok(kind), Ok(message)) = (&kind, &message) {
        assert_eq!(message.is_some(), *kind == FrameKind::Publish);
    }
    if let (Ok(kind), Ok(Some(_))) = (&kind, LinkNegotiation::decode(frame)) {
        assert_eq!(*kind, FrameKind::Link);
    }
    if let (Ok(kind), Ok(Some(_))) = (&kind, SubscriptionAck::decode(frame)) {
        assert_eq!(*kind, FrameKind::SubscriptionAck);
    }
    if let (Ok(kind), Ok(Some(request))) = (&kind, SubscriptionRequest::decode(frame)) {
        assert!(matches!(kind, FrameKind::Subscribe | FrameKind::Unsubscribe));
        let again = SubscriptionRequest::decode(&request.encode());
        assert_eq!(again, Ok(Some(request)));
    }
    let is_publish = HeaderView::parse(frame).is_ok_and(|view| view.kind == FrameKind::Publish);
    if is_publish && check_publish(frame).is_ok() {
        assert!(
            !matches!(message, Err(DecodeError::Protobuf(_))),
            "a receiver ends its link because of what a node let pass: {message:?}"
        );
    }
    // A typed message is its own canonical form.
    if let Ok(Some(message)) = message {
        let encoded = message.encode();
        let again = Message::decode(encoded.clone());
        assert_eq!(again.as_ref(), Ok(&Some(message)));
        let canonical = Frame::new(encoded).expect("a message that was decoded from a frame fits into one");
        assert!(HeaderView::parse(&canonical).is_ok() && check_publish(&canonical).is_ok());
    }
}

fn sent_on(frame: &Frame, view: &HeaderView<'_>, rewrite: &Rewrite) {
    let egress = match splice(frame, view, rewrite, &mut BytesMut::new()) {
        Ok(egress) => egress,
        Err(error) => {
            assert!(matches!(error, FrameError::TooLarge(_)), "{error}");
            return;
        }
    };
    assert!(!egress.is_link_control());
    let length = u32::try_from(egress.len() - PREFIX_BYTES).expect("frames are small");
    assert_eq!(egress.head.get(..PREFIX_BYTES), Some(&prefix(length)[..]));
    let sent = egress.into_frame().expect("what was spliced is within the limit");
    let new = HeaderView::parse(&sent).expect("what is sent on has a header");
    let renumbered = rewrite
        .subscription_id
        .filter(|_| view.kind != FrameKind::Publish);
    assert_eq!(
        (
            new.kind,
            new.source,
            new.destination,
            new.identity,
            new.fanout,
            new.error
        ),
        (
            view.kind,
            view.source,
            view.destination,
            view.identity,
            view.fanout,
            view.error
        )
    );
    assert_eq!(new.subscription_id, renumbered.unwrap_or(view.subscription_id));
    assert_eq!(new.ttl, rewrite.ttl);
    assert_eq!(new.header_mac, rewrite.header_mac.as_ref().map(|tag| &tag[..]));
    assert_eq!((new.recv_from, new.forward_to), (None, None));
    assert_eq!(
        parts(&sent, renumbered.is_some()),
        parts(frame, renumbered.is_some())
    );
    // What a receiver makes of it is what it would have made of the original.
    assert_eq!(check_publish(&sent).is_ok(), check_publish(frame).is_ok());
    let typed = |frame: &Frame| Message::decode(frame.bytes().clone()).ok().flatten();
    let (before, after) = (typed(frame), typed(&sent));
    assert_eq!(
        before.map(|before| Message {
            ttl: rewrite.ttl,
            ..before
        }),
        after
    );
    // Sending on again changes nothing more.
    let again = splice(&sent, &new, rewrite, &mut BytesMut::new()).and_then(slim_proto::Egress::into_frame);
    assert_eq!(again.as_ref(), Ok(&sent));
}

/// Everything that a node must not touch, piece by piece: of the message, of its member, of its header.
fn parts(frame: &Frame, renumbered: bool) -> [Vec<Vec<u8>>; 3] {
    let [mut outer, mut member, mut header] = [const { Vec::new() }; 3];
    for field in Fields::of(frame.bytes()).flatten() {
        if !matches!(field.number, 1..=3) {
            outer.push(frame.bytes()[field.span].to_vec());
            continue;
        }
        let inner = field.bytes().expect("the header was parsed");
        for part in Fields::of(inner).flatten() {
            if part.number == 1 {
                let bytes = part.bytes().expect("the header was parsed");
                header.extend(
                    Fields::of(bytes)
                        .flatten()
                        .filter(|field| !HOP_LOCAL.contains(&field.number))
                        .map(|field| bytes[field.span].to_vec()),
                );
            } else if part.number != 2 || !renumbered {
                member.push(inner[part.span].to_vec());
            }
        }
    }
    [outer, member, header]
}

fn prefix(length: u32) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = length.to_be_bytes();
    [0, a, b, c, d]
}
