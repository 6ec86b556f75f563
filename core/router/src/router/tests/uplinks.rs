//! Dialogues about uplinks that are lost and found while names are announced.

use super::*;

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
