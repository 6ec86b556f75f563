//! Dialogues with a router, and what their files share: a router that is listened to, and a process with one uplink.

use slim_proto::control::{SubscriptionAction, SubscriptionRequest};
use slim_proto::limits::{SUBSCRIPTION_ACK_INTERVAL, SUBSCRIPTION_SENDS_MAX};
use slim_proto::{FullName, NameId};

use super::*;
use crate::link::Direction;
use crate::testing::{
    at, edge, keyed, name, publish, signed, subscribe, tagged, unsubscribe, uplink, verifies,
};

mod announcements;
mod links;
mod networks;
mod subscriptions;
mod succession;
mod uplinks;
mod withdrawals;

/// What a router said, with frames decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    Fib,
    Ack(LinkId, u64, Result<(), String>),
    Request(LinkId, SubscriptionAction, FullName, u64),
    Publish(LinkId),
    Close(LinkId),
    Succeeded(LinkId, LinkId),
}

use Said::{Ack, Close, Fib as PublishedFib, Request};
use SubscriptionAction::{Subscribe, Unsubscribe};

fn router() -> Router {
    Router::new(RouterConfig::default(), [5; 32])
}

fn listen(router: &mut Router) -> Vec<Said> {
    std::iter::from_fn(|| router.poll_output())
        .map(|output| match output {
            Output::PublishFib(_) => PublishedFib,
            Output::CloseLink { link, .. } => Close(link),
            Output::Succeeded {
                predecessor,
                successor,
            } => Said::Succeeded(predecessor, successor),
            Output::Send { link, egress } => {
                let frame = egress.into_frame().unwrap();
                if let Some(ack) = SubscriptionAck::decode(&frame).unwrap() {
                    Ack(link, ack.subscription_id, ack.outcome)
                } else if let Some(request) = SubscriptionRequest::decode(&frame).unwrap() {
                    assert_eq!(HeaderView::parse(&frame).unwrap().ttl, 8);
                    Request(link, request.action, request.destination, request.subscription_id)
                } else {
                    Said::Publish(link)
                }
            }
        })
        .collect()
}

/// Everything but the tables.
fn frames(router: &mut Router) -> Vec<Said> {
    let mut said = listen(router);
    said.retain(|said| *said != PublishedFib);
    said
}

fn up(router: &mut Router, info: LinkInfo) -> LinkId {
    router.handle_link_up(at(0), info)
}

fn chat() -> FullName {
    name("org/ns/chat").with_id(NameId(1))
}

fn ack(id: u64, outcome: Result<(), &str>) -> Frame {
    SubscriptionAck {
        subscription_id: id,
        outcome: outcome.map_err(str::to_owned),
    }
    .encode()
}

fn seconds(intervals: u32) -> u64 {
    SUBSCRIPTION_ACK_INTERVAL.as_secs() * u64::from(intervals)
}

/// A process with one application and one uplink.
fn process() -> (Router, LinkId, LinkId) {
    let mut router = router();
    let application = up(&mut router, LinkInfo::local());
    let uplink = up(&mut router, uplink());
    listen(&mut router);
    (router, application, uplink)
}

/// The application subscribes; returns the id that the uplink sees.
fn announce(router: &mut Router, application: LinkId, name: &FullName, id: u64) -> u64 {
    frames(router);
    router.handle_frame(at(0), application, &subscribe(name, id));
    match frames(router).as_slice() {
        [Request(_, Subscribe, destination, wire_id)] if destination == name => *wire_id,
        other => panic!("{other:?}"),
    }
}
