//! Frames and links for the tests of this crate.

use bytes::BytesMut;
use slim_proto::control::{SubscriptionAction, SubscriptionRequest};
use slim_proto::splice::{Rewrite, splice};
use slim_proto::{Content, Frame, FullName, HeaderView, Instant, Message, NameId, Now, SessionKind};

use crate::header_mac;
use crate::key_agreement::MacKey;
use crate::link::{Direction, LinkClass, LinkInfo};

pub(crate) fn name(path: &str) -> FullName {
    path.parse().unwrap()
}

pub(crate) fn at(seconds: u64) -> Now {
    Now {
        mono: Instant::from_start(std::time::Duration::from_secs(seconds)),
        ..Now::default()
    }
}

/// A link without MAC that does not ask for one.
pub(crate) fn plain(class: LinkClass, direction: Direction) -> LinkInfo {
    LinkInfo {
        class,
        direction,
        link_id: "plain".into(),
        mac_key: None,
        strict: false,
    }
}

pub(crate) fn edge() -> LinkInfo {
    plain(LinkClass::Edge, Direction::Accepted)
}

pub(crate) fn uplink() -> LinkInfo {
    plain(LinkClass::Edge, Direction::Dialed)
}

/// A strict link with a key made of `byte`.
pub(crate) fn keyed(class: LinkClass, direction: Direction, byte: u8) -> LinkInfo {
    LinkInfo {
        class,
        direction,
        link_id: format!("link-{byte}"),
        mac_key: Some(MacKey::new(&[byte; 32])),
        strict: true,
    }
}

pub(crate) fn publish_message(destination: &FullName, fanout: u32) -> Message {
    let content = Content::Application {
        payload_type: "msg".into(),
        blob: "hello".into(),
    };
    let source = name("org/ns/sender").with_id(NameId(0x5E));
    let mut message = Message::new(source, destination.clone(), SessionKind::Group, 1, 2, content);
    message.fanout = fanout;
    message.identity = "token".into();
    message
}

pub(crate) fn publish(destination: &FullName, fanout: u32) -> Frame {
    Frame::new(publish_message(destination, fanout).encode()).unwrap()
}

pub(crate) fn request(action: SubscriptionAction, destination: &FullName, subscription_id: u64) -> Frame {
    SubscriptionRequest {
        action,
        source: destination.clone(),
        destination: destination.clone(),
        identity: "token".into(),
        subscription_id,
    }
    .encode()
}

pub(crate) fn subscribe(destination: &FullName, subscription_id: u64) -> Frame {
    request(SubscriptionAction::Subscribe, destination, subscription_id)
}

pub(crate) fn unsubscribe(destination: &FullName, subscription_id: u64) -> Frame {
    request(SubscriptionAction::Unsubscribe, destination, subscription_id)
}

/// The frame as the far side of `link` would send it: with this ttl and the link's MAC, if it has a key.
pub(crate) fn signed(frame: &Frame, link: &LinkInfo, ttl: u32) -> Frame {
    let header = HeaderView::parse(frame).unwrap();
    let header_mac = header_mac::sign(link, &header, ttl, &mut Vec::new()).unwrap();
    tagged(frame, ttl, header_mac)
}

/// The frame with this ttl and exactly this tag.
pub(crate) fn tagged(frame: &Frame, ttl: u32, header_mac: Option<[u8; 32]>) -> Frame {
    let header = HeaderView::parse(frame).unwrap();
    let rewrite = Rewrite {
        ttl,
        header_mac,
        subscription_id: None,
    };
    splice(frame, &header, &rewrite, &mut BytesMut::new())
        .unwrap()
        .into_frame()
        .unwrap()
}

/// True if `frame` carries a tag that the far side of `link` accepts.
pub(crate) fn verifies(frame: &Frame, link: &LinkInfo) -> bool {
    let header = HeaderView::parse(frame).unwrap();
    header.header_mac.is_some() && header_mac::check(link, &header, &mut Vec::new()).is_ok()
}
