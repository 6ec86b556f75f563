//! Whole routers: equal runs, and two processes that reach each other through a node.

use super::*;

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
