//! Callers and responders in virtual time: what goes over the wire (wire-session §7.3, §7.4).
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::*;
use slim_rpc::{
    CANCEL, CODE, CallEvent, Code, DIRECTION, METHOD, RPC_ID, SERVICE, ServerEvent, Shape, TIMEOUT,
};

#[test]
fn a_unary_call_says_what_upstream_says_but_for_the_second_end_marker() {
    let mut world = World::new(&["org/ns/server"], false);
    let mut echo = request("Echo");
    echo.metadata.insert("trace".into(), "42".into());
    echo.timeout = Some(Duration::from_secs(5));
    let call = world.begin(echo, Shape::Single, Some("hello"));
    let events = world.requests();
    let served = started(&events);
    assert_eq!((&*served.service, &*served.method), ("pkg.Svc", "Echo"));
    assert_eq!(served.metadata, BTreeMap::from([("trace".into(), "42".into())]));
    assert_eq!(served.subject, "client");
    assert_eq!(served.issuer.as_deref(), Some("https://issuer"));
    assert!((5.0..=6.0).contains(&served.time_left(world.now).as_secs_f64()));
    assert_eq!(
        events[1..],
        [
            ServerEvent::Request {
                call: served.id,
                payload: "hello".into()
            },
            ServerEvent::RequestsEnded { call: served.id }
        ]
    );
    assert!(world.server().respond(served.id, "HELLO".into()));
    assert!(
        !world.server().respond(served.id, "again".into()),
        "one response only"
    );
    world.server().finish(served.id, Ok(()));
    assert_eq!(
        world.responses(),
        [
            CallEvent::Response {
                call,
                source: name("org/ns/server"),
                payload: "HELLO".into()
            },
            CallEvent::Ended { call, result: Ok(()) }
        ]
    );
    let said: Vec<_> = world
        .said
        .iter()
        .map(|(who, metadata, payload)| (who.as_str(), keys(metadata), &payload[..]))
        .collect();
    assert_eq!(
        said,
        [
            (
                "C",
                vec![METHOD, RPC_ID, SERVICE, DIRECTION, TIMEOUT, "trace"],
                &b"hello"[..]
            ),
            ("C", vec![RPC_ID, CODE, DIRECTION], b""),
            ("S", vec![RPC_ID, CANCEL], b"HELLO"),
            ("S", vec![RPC_ID, CODE], b""),
        ]
    );
    assert!(world.caller.is_empty() && world.server().is_empty());
    assert_eq!(world.caller.poll_timeout(), None);
    assert_eq!(world.server().poll_timeout(), None);
}

#[test]
fn requests_and_responses_of_a_stream_pass_each_other() {
    let mut world = World::new(&["org/ns/server"], false);
    let call = world.begin(request("Chat"), Shape::Stream, None);
    assert!(
        world.requests().is_empty(),
        "nothing is said before the first request"
    );
    world.caller.send(call, "one".into()).unwrap();
    let served = started(&world.requests());
    world.server().respond(served.id, "1".into());
    assert_eq!(world.responses().len(), 1);
    world.caller.send(call, "".into()).unwrap();
    assert_eq!(
        world.requests(),
        [ServerEvent::Request {
            call: served.id,
            payload: Bytes::new()
        }],
        "an empty request is one"
    );
    world.caller.finish_requests(call);
    world.caller.finish_requests(call);
    assert_eq!(world.requests(), [ServerEvent::RequestsEnded { call: served.id }]);
    assert_eq!(
        world.caller.send(call, "late".into()).unwrap_err().code,
        Code::Cancelled
    );
    world.server().respond(served.id, "".into());
    world.server().respond(served.id, "3".into());
    world.server().finish(served.id, Ok(()));
    let payloads: Vec<_> = world
        .responses()
        .into_iter()
        .filter_map(|event| match event {
            CallEvent::Response { payload, .. } => Some(payload),
            CallEvent::MemberEnded { .. } | CallEvent::GroupClosed { .. } | CallEvent::Ended { .. } => None,
        })
        .collect();
    assert_eq!(payloads, [Bytes::new(), Bytes::from("3")]);
}

#[test]
fn a_stream_without_requests_reaches_the_server_with_its_end_marker() {
    let mut world = World::new(&["org/ns/server"], false);
    let call = world.begin(request("Chat"), Shape::Stream, None);
    world.caller.finish_requests(call);
    let events = world.requests();
    let served = started(&events);
    assert_eq!(events[1..], [ServerEvent::RequestsEnded { call: served.id }]);
    assert_eq!(
        keys(&world.said[0].1),
        [METHOD, RPC_ID, SERVICE, CODE, DIRECTION, TIMEOUT]
    );
}

#[test]
fn requests_have_numbers_by_which_their_sender_learns_that_they_are_on_their_way() {
    let mut world = World::new(&["org/ns/server"], false);
    let call = world.begin(request("Chat"), Shape::Stream, None);
    let first = world.caller.send(call, "one".into()).unwrap();
    let second = world.caller.send(call, "two".into()).unwrap();
    let taken = [
        world.caller.poll_output().unwrap(),
        world.caller.poll_output().unwrap(),
    ];
    assert_eq!(taken.map(|output| output.number), [first, second]);
    assert_eq!(world.caller.queued(), 0);
}
