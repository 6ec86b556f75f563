//! Dialogues about one uplink that replaces another, and about several that stay.

use super::*;
use crate::counters::DropReason;

fn successor(router: &mut Router, predecessor: LinkId) -> LinkId {
    router.handle_successor_up(at(10), uplink(), predecessor)
}

/// A process whose application is known by one name; returns the id that uplinks see.
fn known() -> (Router, LinkId, LinkId, u64) {
    let (mut router, application, old) = process();
    let id = announce(&mut router, application, &chat(), 7);
    router.handle_frame(at(0), old, &ack(id, Ok(())));
    frames(&mut router);
    (router, application, old, id)
}

fn elsewhere() -> FullName {
    name("org/ns/elsewhere").with_id(NameId(9))
}

fn sent_by(router: &mut Router, application: LinkId, fanout: u32) -> Vec<Said> {
    router.handle_frame(at(11), application, &publish(&elsewhere(), fanout));
    frames(router)
}

#[test]
fn a_successor_is_used_when_the_node_knows_every_name_on_it() {
    let (mut router, application, old, id) = known();
    let new = successor(&mut router, old);
    assert_eq!(frames(&mut router), [Request(new, Subscribe, chat(), id)]);
    // Until then nothing is sent over it, and each message leaves once.
    for fanout in [1, 0] {
        assert_eq!(sent_by(&mut router, application, fanout), [Said::Publish(old)]);
    }
    router.handle_frame(at(11), new, &ack(id, Ok(())));
    assert_eq!(frames(&mut router), [Said::Succeeded(old, new)]);
    for fanout in [1, 0] {
        assert_eq!(sent_by(&mut router, application, fanout), [Said::Publish(new)]);
    }
    // What was under way on the old one still arrives.
    router.handle_frame(at(12), old, &publish(&chat(), 1));
    assert_eq!(frames(&mut router), [Said::Publish(application)]);
    router.handle_link_down(at(13), old);
    assert_eq!(sent_by(&mut router, application, 1), [Said::Publish(new)]);
    assert_eq!(router.counters().drops_total(), 0);
}

#[test]
fn a_process_without_names_is_succeeded_at_once() {
    let (mut router, _, old) = process();
    let new = successor(&mut router, old);
    assert_eq!(frames(&mut router), [Said::Succeeded(old, new)]);
}

#[test]
fn names_that_come_and_go_meanwhile_are_known_on_both_links() {
    let (mut router, application, old, id) = known();
    let new = successor(&mut router, old);
    frames(&mut router);
    router.handle_frame(at(11), application, &subscribe(&elsewhere(), 8));
    let said = frames(&mut router);
    let [
        Request(first, Subscribe, _, other),
        Request(second, Subscribe, _, again),
    ] = said.as_slice()
    else {
        panic!("{said:?}");
    };
    assert_eq!((*first, *second, other), (old, new, again));
    router.handle_frame(at(11), application, &unsubscribe(&chat(), 7));
    assert_eq!(
        frames(&mut router),
        [
            Request(old, Unsubscribe, chat(), id),
            Request(new, Unsubscribe, chat(), id)
        ]
    );
    // The node answers in order: first the Subscribe of the successor, then the Unsubscribe.
    router.handle_frame(at(11), new, &ack(id, Ok(())));
    assert_eq!(frames(&mut router), [Said::Succeeded(old, new)]);
    router.handle_frame(at(11), old, &ack(id, Ok(())));
    assert_eq!(frames(&mut router), []);
    router.handle_frame(at(11), new, &ack(id, Ok(())));
    assert_eq!(frames(&mut router), [Ack(application, 7, Ok(()))]);
}

#[test]
fn a_predecessor_that_breaks_leaves_everything_to_its_successor() {
    let (mut router, application, old, _) = known();
    let new = successor(&mut router, old);
    frames(&mut router);
    router.handle_link_down(at(11), old);
    assert_eq!(frames(&mut router), [Said::Succeeded(old, new)]);
    assert_eq!(sent_by(&mut router, application, 1), [Said::Publish(new)]);
}

#[test]
fn a_successor_that_breaks_changes_nothing() {
    let (mut router, application, old, _) = known();
    let new = successor(&mut router, old);
    frames(&mut router);
    router.handle_link_down(at(11), new);
    assert_eq!(sent_by(&mut router, application, 1), [Said::Publish(old)]);
    assert_eq!(router.poll_timeout(), None);
}

#[test]
fn a_successor_that_stays_silent_is_asked_again_and_then_closed() {
    let (mut router, application, old, id) = known();
    let new = successor(&mut router, old);
    frames(&mut router);
    for send in 1..SUBSCRIPTION_SENDS_MAX {
        assert_eq!(router.poll_timeout().unwrap().0, at(10 + seconds(send)).mono);
        router.handle_timeout(at(10 + seconds(send)));
        assert_eq!(frames(&mut router), [Request(new, Subscribe, chat(), id)]);
    }
    router.handle_timeout(at(10 + seconds(SUBSCRIPTION_SENDS_MAX)));
    assert_eq!(frames(&mut router), [Close(new)]);
    router.handle_link_down(at(40), new);
    assert_eq!(sent_by(&mut router, application, 1), [Said::Publish(old)]);
}

#[test]
fn a_name_that_is_refused_on_the_successor_does_not_keep_the_predecessor() {
    let (mut router, _, old, id) = known();
    let new = successor(&mut router, old);
    frames(&mut router);
    router.handle_frame(at(11), new, &ack(id, Err("no longer yours")));
    assert_eq!(frames(&mut router), [Said::Succeeded(old, new)]);
}

#[test]
fn routes_of_the_predecessor_belong_to_its_successor() {
    let (mut router, application, old) = process();
    let other = up(&mut router, uplink());
    router.prefer_uplink(old, &elsewhere()).unwrap();
    router.set_route(old, &chat()).unwrap();
    listen(&mut router);
    let new = successor(&mut router, old);
    assert_eq!(frames(&mut router), [Said::Succeeded(old, new)]);
    assert_eq!(sent_by(&mut router, application, 1), [Said::Publish(new)]);
    router.handle_frame(at(11), application, &publish(&chat(), 1));
    assert_eq!(frames(&mut router), [Said::Publish(new)]);
    router.handle_link_down(at(12), old);
    router.handle_link_down(at(12), new);
    // Only one is left, so there is no question.
    assert_eq!(sent_by(&mut router, application, 1), [Said::Publish(other)]);
}

#[test]
fn with_two_uplinks_a_message_takes_the_chosen_one_or_the_one_it_answers() {
    let (mut router, application, one) = process();
    let other = up(&mut router, uplink());
    listen(&mut router);
    assert_eq!(sent_by(&mut router, application, 1), []);
    assert_eq!(sent_by(&mut router, application, 0).len(), 2);
    let drops = router.counters().drops(DropReason::NoRoute);
    assert_eq!(drops, 1);

    router.prefer_uplink(other, &elsewhere()).unwrap();
    for fanout in [1, 0] {
        assert_eq!(sent_by(&mut router, application, fanout), [Said::Publish(other)]);
    }
    assert!(router.forget_preference(&elsewhere()));
    assert!(!router.forget_preference(&elsewhere()));

    // A sender is answered where it spoke; what all shall hear still goes everywhere.
    router.handle_frame(at(0), application, &subscribe(&chat(), 7));
    router.handle_frame(at(1), one, &publish(&chat(), 1));
    frames(&mut router);
    let sender = name("org/ns/sender").with_id(NameId(77));
    for (fanout, copies) in [
        (1, vec![Said::Publish(one)]),
        (0, vec![Said::Publish(one), Said::Publish(other)]),
    ] {
        router.handle_frame(at(2), application, &publish(&sender, fanout));
        assert_eq!(frames(&mut router), copies);
    }
    assert!(matches!(
        router.prefer_uplink(application, &sender),
        Err(RouteError::Link(_))
    ));
}

#[test]
fn a_message_that_comes_over_both_links_is_heard_once() {
    let (mut router, application, old, id) = known();
    let new = successor(&mut router, old);
    router.handle_frame(at(10), new, &ack(id, Ok(())));
    frames(&mut router);
    let one = publish(&chat(), 0);
    let mut other = crate::testing::publish_message(&chat(), 0);
    other.message_id += 1;
    let other = Frame::new(other.encode()).unwrap();
    for (link, frame, heard) in [(old, &one, 1), (new, &one, 0), (new, &other, 1), (old, &other, 0)] {
        router.handle_frame(at(11), link, frame);
        assert_eq!(frames(&mut router), vec![Said::Publish(application); heard]);
    }
    assert_eq!(router.counters().drops(DropReason::Twin), 2);
    // Over the same link it is another message, and after a while there are no twins any more.
    router.handle_frame(at(12), new, &one);
    router.handle_frame(at(12), new, &one);
    assert_eq!(frames(&mut router).len(), 2);
    router.handle_link_down(at(13), old);
    let another = up(&mut router, edge());
    router.handle_frame(at(24), new, &one);
    router.handle_frame(at(24), another, &one);
    assert_eq!(frames(&mut router).len(), 2);
}
