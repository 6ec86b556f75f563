//! Streams against a naive model.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;
use slim_proto::FullName;

use super::*;

fn message(id: u32) -> Received {
    let name: FullName = "org/ns/app".parse().unwrap();
    Received {
        source: name.clone(),
        destination: name,
        subject: String::new(),
        issuer: None,
        payload_type: "msg".into(),
        metadata: BTreeMap::new(),
        message_id: id,
        direct: false,
        payload: Bytes::new(),
    }
}

fn delivered(steps: &[Step]) -> Vec<u32> {
    steps
        .iter()
        .filter_map(|step| {
            if let Step::Deliver(message) = step {
                Some(message.message_id)
            } else {
                None
            }
        })
        .collect()
}

fn feed(stream: &mut Stream, ids: &[u32]) -> Vec<Step> {
    let mut steps = Vec::new();
    for id in ids {
        stream.accept(message(*id), &mut steps);
    }
    steps
}

#[test]
fn a_gap_is_asked_for_and_then_delivered_in_order() {
    let mut stream = Stream::new(Start::AtOne, 1);
    let steps = feed(&mut stream, &[1, 4, 3]);
    assert_eq!(delivered(&steps), [1]);
    assert_eq!(
        steps.iter().filter(|step| matches!(step, Step::Ask(_))).count(),
        2
    );
    assert_eq!(delivered(&feed(&mut stream, &[2])), [2, 3, 4]);
}

#[test]
fn a_lost_message_is_reported_once_and_the_stream_goes_on() {
    let mut stream = Stream::new(Start::AtOne, 1);
    feed(&mut stream, &[1, 4]);
    let mut steps = Vec::new();
    stream.declare_lost(2, &mut steps);
    stream.declare_lost(3, &mut steps);
    let lost: Vec<_> = steps
        .iter()
        .filter(|step| matches!(step, Step::Lost(..)))
        .collect();
    assert_eq!(lost, [&Step::Lost(2, 2), &Step::Lost(3, 3)]);
    assert_eq!(delivered(&steps), [4]);
    assert!(feed(&mut stream, &[2, 3, 4]).is_empty());
}

#[test]
fn r9_a_number_far_ahead_costs_one_report_and_no_requests() {
    let mut stream = Stream::new(Start::AtOne, 1);
    let steps = feed(&mut stream, &[1, 1_000_000_000]);
    assert!(steps.contains(&Step::Lost(2, 1_000_000_000 - REORDER_MAX as u32)));
    assert!(steps.iter().filter(|step| matches!(step, Step::Ask(_))).count() < REORDER_MAX);
}

#[test]
fn the_number_after_the_largest_is_zero() {
    let last = 2_147_483_647;
    let mut stream = Stream::new(Start::FirstArrival, last);
    assert_eq!(delivered(&feed(&mut stream, &[last, 1, 0, 2])), [last, 0, 1, 2]);
}

#[test]
fn an_older_sender_of_our_own_kind_is_asked_back_until_it_says_no() {
    let mut stream = Stream::new(Start::AskBack, 7);
    let mut steps = feed(&mut stream, &[7]);
    assert_eq!(steps, [Step::Ask(6)]);
    steps = feed(&mut stream, &[6]);
    assert_eq!(steps, [Step::StopAsking(6), Step::Ask(5)]);
    steps.clear();
    stream.declare_lost(5, &mut steps);
    assert_eq!(delivered(&steps), [6, 7]);
    assert!(!steps.iter().any(|step| matches!(step, Step::Lost(..))));
}

proptest! {
    /// Whatever the order of arrival and repetition, each message is delivered once and in order.
    #[test]
    fn any_order_of_arrival_gives_the_sequence(
        count in 1u32..60,
        swaps in proptest::collection::vec((0usize..60, 0usize..60), 0..120),
        repeats in proptest::collection::vec(0usize..60, 0..40),
    ) {
        let mut arrivals: Vec<u32> = (1..=count).collect();
        for (a, b) in swaps {
            let length = arrivals.len();
            arrivals.swap(a % length, b % length);
        }
        for at in repeats {
            let id = arrivals[at % arrivals.len()];
            arrivals.push(id);
        }
        let mut stream = Stream::new(Start::AtOne, arrivals[0]);
        let steps = feed(&mut stream, &arrivals);
        prop_assert_eq!(delivered(&steps), (1..=count).collect::<Vec<_>>());
        prop_assert!(stream.asked.is_empty() && stream.held.is_empty());
    }

    /// Every message is delivered or reported lost, never both and never neither.
    #[test]
    fn delivered_and_lost_account_for_everything(
        missing in proptest::collection::btree_set(1u32..200, 0..60),
        order in proptest::collection::vec(0usize..200, 0..200),
    ) {
        let mut arrivals: Vec<u32> = (1..=200).filter(|id| !missing.contains(id) || *id == 200).collect();
        for (at, other) in order.iter().enumerate() {
            let length = arrivals.len();
            arrivals.swap(at % length, other % length);
        }
        let mut stream = Stream::new(Start::AtOne, 1);
        let mut steps = feed(&mut stream, &arrivals);
        while let Some(position) = stream.asked.keys().next().copied() {
            stream.declare_lost(position, &mut steps);
        }
        let mut seen = BTreeSet::new();
        for step in &steps {
            match step {
                Step::Deliver(message) => prop_assert!(seen.insert(message.message_id)),
                Step::Lost(first, last) => for id in *first..=*last { prop_assert!(seen.insert(id)); },
                Step::Ask(_) | Step::StopAsking(_) => {}
            }
        }
        prop_assert_eq!(seen.len(), 200);
    }
}

#[test]
fn a_sender_that_goes_leaves_what_it_was_told_has_arrived() {
    let mut stream = Stream::new(Start::AtOne, 1);
    feed(&mut stream, &[1, 3, 5]);
    let steps = stream.finish();
    assert_eq!(delivered(&steps), [3, 5]);
    assert!(steps.contains(&Step::Lost(2, 2)) && steps.contains(&Step::Lost(4, 4)));
    let mut unknown = Stream::new(Start::AskBack, 7);
    feed(&mut unknown, &[7]);
    assert_eq!(delivered(&unknown.finish()), [7]);
    assert!(Stream::new(Start::AtOne, 1).finish().is_empty());
}
