//! Dialogues about names that are taken back from a routing node while answers are late, lost or repeated.

use super::*;

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
