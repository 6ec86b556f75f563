//! Dialogues about the subscriptions of a node's links: how each request is answered, and when (wire-routing A6, A11).

use super::*;

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
