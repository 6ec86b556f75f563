//! Dialogues about names that a process announces to its routing nodes, and their answers (wire-routing A7).

use super::*;

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
