//! Dialogues with a router: subscriptions, acknowledgements, uplinks and their loss (wire-routing A6, A7, A11).

use slim_proto::control::{SubscriptionAction, SubscriptionRequest};
use slim_proto::limits::{SUBSCRIPTION_ACK_INTERVAL, SUBSCRIPTION_SENDS_MAX};
use slim_proto::{FullName, NameId};

use super::*;
use crate::link::Direction;
use crate::testing::{
    at, edge, keyed, name, publish, signed, subscribe, tagged, unsubscribe, uplink, verifies,
};

mod succession;

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

#[test]
fn an_acknowledgement_follows_the_table_that_makes_it_true() {
    let mut router = router();
    let link = up(&mut router, edge());
    router.handle_frame(at(0), link, &subscribe(&chat(), 7));
    assert_eq!(listen(&mut router), [PublishedFib, Ack(link, 7, Ok(()))]);
    router.handle_frame(at(0), link, &unsubscribe(&chat(), 7));
    assert_eq!(listen(&mut router), [PublishedFib, Ack(link, 7, Ok(()))]);
}

#[test]
fn a_burst_of_requests_publishes_one_table() {
    let mut router = router();
    let link = up(&mut router, edge());
    for id in 1..=100 {
        router.handle_frame(
            at(0),
            link,
            &subscribe(&name("org/ns/chat").with_id(NameId(id)), 1),
        );
    }
    let said = listen(&mut router);
    assert_eq!(said.iter().filter(|said| **said == PublishedFib).count(), 1);
    assert_eq!((said.len(), &said[0]), (101, &PublishedFib));
}

#[test]
fn every_repetition_is_acknowledged_and_id_zero_never() {
    let mut router = router();
    let link = up(&mut router, edge());
    router.handle_frame(at(0), link, &subscribe(&chat(), 7));
    router.handle_frame(at(0), link, &subscribe(&chat(), 7));
    assert_eq!(frames(&mut router), [Ack(link, 7, Ok(())), Ack(link, 7, Ok(()))]);
    router.handle_frame(at(0), link, &subscribe(&chat(), 0));
    router.handle_frame(at(0), link, &unsubscribe(&name("x/y/z"), 0));
    assert_eq!(frames(&mut router), []);
}

#[test]
fn an_unsubscribe_of_nothing_is_answered_with_upstreams_text() {
    let mut router = router();
    let link = up(&mut router, edge());
    let refusal = |text: &str| Err(text.to_owned());
    router.handle_frame(at(0), link, &unsubscribe(&chat(), 7));
    assert_eq!(
        frames(&mut router),
        [Ack(link, 7, refusal("subscription not found"))]
    );
    router.handle_frame(at(0), link, &subscribe(&chat(), 7));
    router.handle_frame(at(0), link, &unsubscribe(&chat(), 8));
    router.handle_frame(at(0), link, &unsubscribe(&chat().without_id(), 7));
    assert_eq!(
        frames(&mut router),
        [
            Ack(link, 7, Ok(())),
            Ack(link, 8, refusal("subscription id not found: 8")),
            Ack(link, 7, refusal("id not found: NULL_COMPONENT")),
        ]
    );
}

#[test]
fn a_reconnected_client_unsubscribes_what_it_restored() {
    let mut router = router();
    let old = up(&mut router, edge());
    router.handle_frame(at(0), old, &subscribe(&chat(), 4711));
    // The new link has the same text id and comes before the old one is noticed to be dead.
    let new = up(&mut router, edge());
    router.handle_frame(at(1), new, &subscribe(&chat(), 0));
    router.handle_link_down(at(2), old);
    assert_eq!((router.link_count(), router.subscription_count()), (1, 1));
    frames(&mut router);
    router.handle_frame(at(3), new, &unsubscribe(&chat(), 4711));
    assert_eq!(frames(&mut router), [Ack(new, 4711, Ok(()))]);
    assert_eq!(router.subscription_count(), 0);
}

#[test]
fn unsigned_and_expired_requests_are_dropped_without_an_answer() {
    let mut router = router();
    let info = keyed(LinkClass::Edge, Direction::Accepted, 1);
    let link = up(&mut router, info.clone());
    router.handle_frame(at(0), link, &subscribe(&chat(), 7));
    router.handle_frame(at(0), link, &tagged(&subscribe(&chat(), 7), 8, Some([1; 32])));
    router.handle_frame(at(0), link, &signed(&subscribe(&chat(), 7), &info, 1));
    assert_eq!(listen(&mut router), []);
    for reason in [
        DropReason::MacMissing,
        DropReason::MacWrong,
        DropReason::TtlExhausted,
    ] {
        assert_eq!(router.counters().drops(reason), 1, "{reason}");
    }
    // The link stays up.
    router.handle_frame(at(0), link, &signed(&subscribe(&chat(), 7), &info, 2));
    assert_eq!(frames(&mut router), [Ack(link, 7, Ok(()))]);
}

#[test]
fn other_frames_are_counted_and_change_nothing() {
    let mut router = router();
    let link = up(&mut router, edge());
    router.handle_frame(at(0), link, &Frame::new(&b"\x2a\x00"[..]).unwrap());
    router.handle_frame(at(0), link, &ack(99, Ok(())));
    router.handle_frame(at(0), link, &Frame::new(&b""[..]).unwrap());
    router.handle_frame(at(0), link, &Frame::new(&b"\x0a\x00"[..]).unwrap());
    router.handle_frame(at(0), link, &Frame::new(&b"\xff\xff"[..]).unwrap());
    router.handle_link_down(at(0), link);
    router.handle_frame(at(0), link, &subscribe(&chat(), 1));
    assert_eq!(listen(&mut router), []);
    let counters = router.counters();
    for (reason, count) in [
        (DropReason::Unexpected, 1),
        (DropReason::UnknownAck, 1),
        (DropReason::Undecodable, 2),
        (DropReason::IncompleteHeader, 1),
        (DropReason::UnknownLink, 1),
    ] {
        assert_eq!(counters.drops(reason), count, "{reason}");
    }
}

#[test]
fn a_limit_is_named_in_the_refusal() {
    let mut router = Router::new(
        RouterConfig {
            subscriptions_per_link_max: 1,
            subscriptions_max: 2,
        },
        [5; 32],
    );
    let [first, second, third] = std::array::from_fn(|_| up(&mut router, edge()));
    for (link, id) in [(first, 1), (first, 2), (second, 1), (third, 1)] {
        router.handle_frame(at(0), link, &subscribe(&chat(), id));
    }
    assert_eq!(
        frames(&mut router),
        [
            Ack(first, 1, Ok(())),
            Ack(
                first,
                2,
                Err("subscription limit of this link reached (1)".into())
            ),
            Ack(second, 1, Ok(())),
            Ack(
                third,
                1,
                Err("subscription limit of this node reached (2)".into())
            ),
        ]
    );
    assert_eq!(router.counters().drops(DropReason::SubscriptionLimit), 2);
}

#[test]
fn a_lost_link_loses_its_routes_at_once_and_its_id_is_never_reused() {
    let mut router = router();
    let [sender, receiver] = std::array::from_fn(|_| up(&mut router, edge()));
    router.handle_frame(at(0), receiver, &subscribe(&chat(), 1));
    frames(&mut router);
    router.handle_link_down(at(1), receiver);
    let successor = up(&mut router, edge());
    assert_ne!(successor, receiver);
    router.handle_frame(at(1), sender, &publish(&chat(), 1));
    assert_eq!(listen(&mut router), [PublishedFib]);
    assert_eq!(router.counters().drops(DropReason::NoRoute), 1);
    router.handle_link_down(at(2), receiver);
    assert_eq!(router.link_count(), 2, "the successor stays");
}

#[test]
fn counts_of_closed_links_are_kept() {
    let mut router = router();
    let [sender, receiver] = std::array::from_fn(|_| up(&mut router, edge()));
    router.handle_frame(at(0), receiver, &subscribe(&chat(), 1));
    router.handle_frame(at(0), sender, &publish(&chat(), 1));
    assert_eq!(frames(&mut router).len(), 2);
    router.handle_link_down(at(1), sender);
    assert_eq!(router.counters().forwarded, 1);
}

#[test]
fn a_node_does_not_announce_what_its_clients_subscribe_to() {
    let mut router = router();
    let client = up(&mut router, edge());
    up(&mut router, uplink());
    router.handle_frame(at(0), client, &subscribe(&chat(), 1));
    assert_eq!(frames(&mut router), [Ack(client, 1, Ok(()))]);
}

#[test]
fn without_an_uplink_a_local_subscription_is_acknowledged_at_once() {
    let mut router = router();
    let [alice, bob] = std::array::from_fn(|_| up(&mut router, LinkInfo::local()));
    router.handle_frame(at(0), alice, &subscribe(&chat(), 7));
    assert_eq!(frames(&mut router), [Ack(alice, 7, Ok(()))]);
    router.handle_frame(at(0), bob, &publish(&chat(), 1));
    assert_eq!(frames(&mut router), [Said::Publish(alice)]);
    router.handle_frame(at(0), alice, &unsubscribe(&chat(), 7));
    assert_eq!(frames(&mut router), [Ack(alice, 7, Ok(()))]);
}

#[test]
fn a_local_subscription_is_acknowledged_when_the_routing_node_knows_it() {
    let (mut router, application, uplink) = process();
    let wire_id = announce(&mut router, application, &chat(), 7);
    assert_ne!(wire_id, 0);
    router.handle_frame(at(1), uplink, &ack(wire_id, Ok(())));
    assert_eq!(listen(&mut router), [Ack(application, 7, Ok(()))]);
    assert_eq!(router.poll_timeout(), None);

    // A repetition now needs nobody; a late second acknowledgement is ignored.
    router.handle_frame(at(2), application, &subscribe(&chat(), 7));
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
    router.handle_frame(at(2), uplink, &ack(wire_id, Ok(())));
    assert_eq!(router.counters().drops(DropReason::UnknownAck), 1);

    router.handle_frame(at(3), application, &unsubscribe(&chat(), 7));
    assert_eq!(
        listen(&mut router),
        [PublishedFib, Request(uplink, Unsubscribe, chat(), wire_id)]
    );
    router.handle_frame(at(3), application, &unsubscribe(&chat(), 7));
    assert_eq!(frames(&mut router), [], "the answer is on its way");
    router.handle_frame(at(4), uplink, &ack(wire_id, Ok(())));
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
    assert_eq!(router.subscription_count(), 0);
}

#[test]
fn announcements_are_signed_for_the_uplink_and_otherwise_passed_on() {
    let mut router = router();
    let application = up(&mut router, LinkInfo::local());
    let info = keyed(LinkClass::Edge, Direction::Dialed, 1);
    let uplink = up(&mut router, info.clone());
    let frame = tagged(&subscribe(&chat(), 7), 3, None);
    router.handle_frame(at(0), application, &frame);
    let sent: Vec<_> = std::iter::from_fn(|| router.poll_output())
        .filter_map(|output| match output {
            Output::Send { link, egress } => Some((link, egress.into_frame().unwrap())),
            Output::PublishFib(_) | Output::CloseLink { .. } | Output::Succeeded { .. } => None,
        })
        .collect();
    let [(link, sent)] = sent.as_slice() else {
        panic!("{sent:?}");
    };
    assert_eq!(*link, uplink);
    assert!(verifies(sent, &info));
    let header = HeaderView::parse(sent).unwrap();
    assert_eq!((header.ttl, header.identity), (8, "token"));
}

#[test]
fn equal_ids_of_two_applications_get_different_ids_on_the_uplink() {
    let (mut router, alice, _) = process();
    let bob = up(&mut router, LinkInfo::local());
    let alices = announce(&mut router, alice, &chat(), 7);
    let bobs = announce(&mut router, bob, &chat(), 7);
    assert_ne!(alices, bobs);
}

#[test]
fn a_request_is_repeated_four_times_and_then_fails_and_leaves_nothing() {
    let (mut router, application, uplink) = process();
    let wire_id = announce(&mut router, application, &chat(), 7);
    for sends in 1..SUBSCRIPTION_SENDS_MAX {
        let due = at(seconds(sends));
        assert_eq!(router.poll_timeout().map(|(at, _)| at), Some(due.mono));
        router.handle_timeout(at(seconds(sends) - 1));
        assert_eq!(frames(&mut router), [], "not due");
        router.handle_timeout(due);
        assert_eq!(frames(&mut router), [Request(uplink, Subscribe, chat(), wire_id)]);
        router.handle_frame(due, application, &subscribe(&chat(), 7));
        assert_eq!(
            frames(&mut router),
            [],
            "a repetition by the application waits with the first"
        );
    }
    router.handle_timeout(at(seconds(SUBSCRIPTION_SENDS_MAX)));
    let text = "no acknowledgement from the routing node after 4 sends";
    assert_eq!(
        listen(&mut router),
        [
            PublishedFib,
            // The node may know it after all.
            Request(uplink, Unsubscribe, chat(), wire_id),
            Ack(application, 7, Err(text.into())),
            Close(uplink),
        ]
    );
    router.handle_link_down(at(seconds(SUBSCRIPTION_SENDS_MAX)), uplink);
    assert_eq!((router.subscription_count(), router.poll_timeout()), (0, None));
}

#[test]
fn a_refusal_of_the_routing_node_reaches_the_application_and_leaves_nothing() {
    let (mut router, application, uplink) = process();
    let wire_id = announce(&mut router, application, &chat(), 7);
    router.handle_frame(at(1), uplink, &ack(wire_id, Err("no room")));
    assert_eq!(
        frames(&mut router),
        [
            Request(uplink, Unsubscribe, chat(), wire_id),
            Ack(application, 7, Err("no room".into())),
        ]
    );
    assert_eq!(router.subscription_count(), 0);
    announce(&mut router, application, &chat(), 7);
}

#[test]
fn two_uplinks_must_both_agree() {
    let (mut router, application, first) = process();
    let second = up(&mut router, uplink());
    router.handle_frame(at(0), application, &subscribe(&chat(), 7));
    let said = frames(&mut router);
    let [Request(_, Subscribe, _, wire_id), Request(_, Subscribe, _, other)] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(wire_id, other);
    router.handle_frame(at(1), first, &ack(*wire_id, Ok(())));
    router.handle_frame(at(1), first, &ack(*wire_id, Ok(())));
    assert_eq!(frames(&mut router), [], "one answer twice is still one answer");
    router.handle_frame(at(1), second, &ack(*wire_id, Ok(())));
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
}

#[test]
fn the_loss_of_one_uplink_leaves_the_answer_to_the_other() {
    let (mut router, application, first) = process();
    let second = up(&mut router, uplink());
    router.handle_frame(at(0), application, &subscribe(&chat(), 7));
    let said = frames(&mut router);
    let Some(Request(_, _, _, wire_id)) = said.first() else {
        panic!("{said:?}");
    };
    router.handle_frame(at(1), first, &ack(*wire_id, Ok(())));
    assert_eq!(frames(&mut router), []);
    router.handle_link_down(at(2), second);
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
}

#[test]
fn a_fresh_uplink_hears_every_name_once_with_id_zero() {
    let (mut router, application, first) = process();
    let other = name("org/ns/other").with_id(NameId(2));
    for (name, id) in [(chat(), 1), (chat(), 2), (other.clone(), 3)] {
        let wire_id = announce(&mut router, application, &name, id);
        router.handle_frame(at(0), first, &ack(wire_id, Ok(())));
    }
    frames(&mut router);
    router.handle_link_down(at(1), first);
    assert_eq!(frames(&mut router), [], "local routes stay, nobody is told");
    assert_eq!(router.subscription_count(), 3);
    let second = up(&mut router, uplink());
    let mut heard = frames(&mut router);
    heard.sort_by_key(|said| format!("{said:?}"));
    assert_eq!(
        heard,
        [
            Request(second, Subscribe, chat(), 0),
            Request(second, Subscribe, other, 0),
        ]
    );

    // One record on the node stands for both: only the last one takes it away, and is not acknowledged by the node.
    router.handle_frame(at(2), application, &unsubscribe(&chat(), 1));
    assert_eq!(frames(&mut router), [Ack(application, 1, Ok(()))]);
    router.handle_frame(at(2), application, &unsubscribe(&chat(), 2));
    assert_eq!(
        frames(&mut router),
        [
            Request(second, Unsubscribe, chat(), 0),
            Ack(application, 2, Ok(())),
        ]
    );
}

#[test]
fn an_unanswered_subscription_goes_to_the_next_uplink_under_its_own_id() {
    let (mut router, application, first) = process();
    let wire_id = announce(&mut router, application, &chat(), 7);
    router.handle_link_down(at(1), first);
    assert_eq!(frames(&mut router), [], "nobody has answered yet");
    let second = router.handle_link_up(at(2), uplink());
    assert_eq!(frames(&mut router), [Request(second, Subscribe, chat(), wire_id)]);
    router.handle_timeout(at(seconds(1)));
    assert_eq!(frames(&mut router), [Request(second, Subscribe, chat(), wire_id)]);
    router.handle_frame(at(6), second, &ack(wire_id, Ok(())));
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
}

#[test]
fn a_subscription_made_offline_is_announced_when_an_uplink_comes() {
    let mut router = router();
    let application = up(&mut router, LinkInfo::local());
    router.handle_frame(at(0), application, &subscribe(&chat(), 7));
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
    let uplink = up(&mut router, uplink());
    assert_eq!(frames(&mut router), [Request(uplink, Subscribe, chat(), 0)]);
}

#[test]
fn an_unsubscribe_succeeds_when_the_uplink_is_lost_meanwhile() {
    let (mut router, application, uplink) = process();
    let wire_id = announce(&mut router, application, &chat(), 7);
    router.handle_frame(at(0), uplink, &ack(wire_id, Ok(())));
    router.handle_frame(at(1), application, &unsubscribe(&chat(), 7));
    frames(&mut router);
    router.handle_link_down(at(2), uplink);
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
}

#[test]
fn an_unsubscribe_overtakes_its_unanswered_subscribe() {
    let (mut router, application, uplink) = process();
    let wire_id = announce(&mut router, application, &chat(), 7);
    router.handle_frame(at(1), application, &unsubscribe(&chat(), 7));
    assert_eq!(
        frames(&mut router),
        [
            Ack(
                application,
                7,
                Err("unsubscribed before the routing node answered".into())
            ),
            Request(uplink, Unsubscribe, chat(), wire_id),
        ]
    );
}

#[test]
fn a_late_answer_to_a_subscribe_does_not_complete_its_unsubscribe() {
    let (mut router, application, uplink) = process();
    let wire_id = announce(&mut router, application, &chat(), 7);
    router.handle_frame(at(1), application, &unsubscribe(&chat(), 7));
    frames(&mut router);
    // The Subscribe's answer was under way when the Unsubscribe was lost in a full queue.
    router.handle_frame(at(2), uplink, &ack(wire_id, Ok(())));
    let again = Request(uplink, Unsubscribe, chat(), wire_id);
    assert_eq!(frames(&mut router), [again]);
    router.handle_frame(at(2), uplink, &ack(wire_id, Ok(())));
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
}

#[test]
fn a_lost_answer_to_a_subscribe_is_not_waited_for_twice() {
    let (mut router, application, uplink) = process();
    let wire_id = announce(&mut router, application, &chat(), 7);
    router.handle_frame(at(1), application, &unsubscribe(&chat(), 7));
    frames(&mut router);
    // The first answer is the Unsubscribe's own; the node has nothing left for the second.
    router.handle_frame(at(1), uplink, &ack(wire_id, Ok(())));
    assert_eq!(
        frames(&mut router),
        [Request(uplink, Unsubscribe, chat(), wire_id)]
    );
    let gone = ack(wire_id, Err("subscription not found"));
    router.handle_frame(at(2), uplink, &gone);
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
}

#[test]
fn each_repetition_of_a_subscribe_may_be_answered_late() {
    let (mut router, application, uplink) = process();
    let wire_id = announce(&mut router, application, &chat(), 7);
    router.handle_timeout(at(seconds(1)));
    router.handle_frame(at(6), uplink, &ack(wire_id, Ok(())));
    router.handle_frame(at(7), application, &unsubscribe(&chat(), 7));
    frames(&mut router);
    router.handle_frame(at(8), uplink, &ack(wire_id, Ok(())));
    assert_eq!(
        frames(&mut router),
        [Request(uplink, Unsubscribe, chat(), wire_id)]
    );
    router.handle_frame(at(9), uplink, &ack(wire_id, Ok(())));
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
}

#[test]
fn a_repeated_unsubscribe_that_finds_nothing_has_succeeded() {
    let (mut router, application, uplink) = process();
    let wire_id = announce(&mut router, application, &chat(), 7);
    router.handle_frame(at(0), uplink, &ack(wire_id, Ok(())));
    router.handle_frame(at(0), application, &unsubscribe(&chat(), 7));
    router.handle_timeout(at(seconds(1)));
    frames(&mut router);
    router.handle_frame(at(6), uplink, &ack(wire_id, Err("subscription not found")));
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
}

#[test]
fn a_closed_application_is_withdrawn_from_the_routing_node() {
    let (mut router, application, uplink) = process();
    let answered = announce(&mut router, application, &chat(), 1);
    router.handle_frame(at(0), uplink, &ack(answered, Ok(())));
    let open = announce(&mut router, application, &name("org/ns/other"), 2);
    frames(&mut router);
    router.handle_link_down(at(1), application);
    let mut said = frames(&mut router);
    said.sort_by_key(|said| format!("{said:?}"));
    assert_eq!(
        said,
        [
            Request(uplink, Unsubscribe, chat(), answered),
            Request(uplink, Unsubscribe, name("org/ns/other"), open),
        ]
    );
    assert_eq!(router.subscription_count(), 0);
    // Repeated until it is certain, and nobody is left to be told.
    router.handle_frame(at(2), uplink, &ack(open, Ok(())));
    let again = Request(uplink, Unsubscribe, name("org/ns/other"), open);
    assert_eq!(frames(&mut router), [again]);
    router.handle_frame(at(2), uplink, &ack(open, Ok(())));
    router.handle_frame(at(2), uplink, &ack(answered, Ok(())));
    assert_eq!((frames(&mut router), router.poll_timeout()), (vec![], None));
}

#[test]
fn equal_seed_and_inputs_give_equal_outputs() {
    let run = || {
        let (mut router, application, uplink) = process();
        let wire_id = announce(&mut router, application, &chat(), 7);
        router.handle_frame(at(1), uplink, &ack(wire_id, Ok(())));
        router.handle_frame(at(2), application, &publish(&name("a/b/c"), 256));
        (wire_id, format!("{:?}", frames(&mut router)))
    };
    assert_eq!(run(), run());
}

/// An application's router, a node's router and the wire between them.
#[test]
fn two_processes_reach_each_other_through_a_node() {
    let key = |direction, byte| keyed(LinkClass::Edge, direction, byte);
    let mut node = router();
    let mut processes = [router(), router()];
    let applications = [0, 1].map(|index| up(&mut processes[index], LinkInfo::local()));
    let uplinks = [0u8, 1].map(|index| up(&mut processes[usize::from(index)], key(Direction::Dialed, index)));
    let accepted = [0u8, 1].map(|index| up(&mut node, key(Direction::Accepted, index)));
    // Bob, at 1, subscribes; then alice, at 0, publishes to him by name and to everybody.
    processes[1].handle_frame(at(0), applications[1], &subscribe(&chat(), 7));
    let mut delivered = Vec::new();
    let mut exchange = |node: &mut Router, processes: &mut [Router; 2]| {
        loop {
            let mut quiet = true;
            for index in 0..2 {
                while let Some(output) = processes[index].poll_output() {
                    let Output::Send { link, egress } = output else {
                        continue;
                    };
                    quiet = false;
                    let frame = egress.into_frame().unwrap();
                    if link == uplinks[index] {
                        node.handle_frame(at(0), accepted[index], &frame);
                    } else {
                        delivered.push((index, frame));
                    }
                }
            }
            while let Some(output) = node.poll_output() {
                let Output::Send { link, egress } = output else {
                    continue;
                };
                quiet = false;
                let index = usize::from(link == accepted[1]);
                processes[index].handle_frame(at(0), uplinks[index], &egress.into_frame().unwrap());
            }
            if quiet {
                return std::mem::take(&mut delivered);
            }
        }
    };
    let said = exchange(&mut node, &mut processes);
    let acks: Vec<_> = said
        .iter()
        .map(|(index, frame)| {
            (
                *index,
                SubscriptionAck::decode(frame)
                    .unwrap()
                    .map(|ack| ack.subscription_id),
            )
        })
        .collect();
    assert_eq!(acks, [(1, Some(7))]);
    for (destination, fanout) in [(chat(), 1), (chat().without_id(), 1), (chat(), 256)] {
        let frame = publish(&destination, fanout);
        processes[0].handle_frame(at(0), applications[0], &frame);
        let said = exchange(&mut node, &mut processes);
        assert_eq!(said.len(), 1, "exactly one copy");
        assert_eq!(said[0].0, 1);
        let received = slim_proto::Message::decode(said[0].1.bytes().clone())
            .unwrap()
            .unwrap();
        assert_eq!(received.ttl, 7, "one node, one less");
        assert_eq!(received.blob(), "hello");
    }
    assert_eq!(node.counters().drops_total(), 0);
}
