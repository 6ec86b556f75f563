//! How calls end, at both sides (wire-session §7.5).
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::time::Duration;

use common::*;
use slim_rpc::{CODE, CallEvent, Code, ServerEvent, Shape, Status, StopReason};

#[test]
fn failures_of_the_server_reach_the_caller_with_code_and_text() {
    let mut world = World::new(&["org/ns/server"], false);
    world.begin(request("Nothing"), Shape::Single, Some("x"));
    assert!(world.requests().is_empty());
    assert_eq!(
        failure(&world.responses()),
        Status::new(Code::Unimplemented, "Method not found: pkg.Svc/Nothing")
    );

    world.begin(request("Echo"), Shape::Single, Some("x"));
    let served = started(&world.requests());
    world
        .server()
        .finish(served.id, Err(Status::new(Code::NotFound, "nope")));
    assert_eq!(failure(&world.responses()), Status::new(Code::NotFound, "nope"));

    world.begin(request("Echo"), Shape::Single, Some("x"));
    let served = started(&world.requests());
    world.server().finish(served.id, Ok(()));
    assert_eq!(failure(&world.responses()).code, Code::Internal);
}

#[test]
fn both_sides_keep_the_deadline() {
    let mut world = World::new(&["org/ns/server"], false);
    let mut slow = request("Echo");
    slow.timeout = Some(Duration::from_secs(2));
    world.begin(slow.clone(), Shape::Single, Some("x"));
    let served = started(&world.requests());
    world.advance(2.0);
    let status = failure(&world.responses());
    assert_eq!(
        status,
        Status::new(Code::DeadlineExceeded, "not answered within 2s")
    );
    // The server is told, since no requests are open; otherwise its own clock ends the call a second later.
    assert_eq!(
        world.requests(),
        [ServerEvent::Stopped {
            call: served.id,
            reason: StopReason::Cancelled
        }]
    );

    let silent = name("org/ns/server");
    world.begin(slow, Shape::Single, Some("x"));
    let served = started(&world.requests());
    world.deaf.insert(silent);
    world.advance(3.5);
    assert_eq!(
        world.requests(),
        [ServerEvent::Stopped {
            call: served.id,
            reason: StopReason::Deadline
        }]
    );
    let late = world.server().poll_output().unwrap();
    assert_eq!(late.metadata[CODE], "4");
    assert_eq!(late.payload, "Deadline exceeded during RPC execution");
}

#[test]
fn a_cancellation_stops_the_handler_of_a_server_that_understands_it() {
    let mut world = World::new(&["org/ns/server"], false);
    let call = world.begin(request("Chat"), Shape::Stream, Some("one"));
    let served = started(&world.requests());
    // Requests are open and the server has not spoken: an upstream server would take it for a request.
    world.server().respond(served.id, "1".into());
    world.responses();
    world.caller.cancel(call);
    assert_eq!(
        world.requests(),
        [ServerEvent::Stopped {
            call: served.id,
            reason: StopReason::Cancelled
        }]
    );
    assert!(!world.server().respond(served.id, "2".into()));

    let unheard = world.begin(request("Chat"), Shape::Stream, Some("one"));
    world.requests();
    let before = world.said.len();
    world.caller.cancel(unheard);
    world.requests();
    assert_eq!(world.said.len(), before);
}

#[test]
fn what_is_lost_ends_the_calls_that_may_lack_it_and_says_so() {
    let mut pair = World::new(&["org/ns/server"], false);
    pair.begin(request("Chat"), Shape::Stream, Some("x"));
    let served = started(&pair.requests());
    pair.server().handle_lost(7, &name("org/ns/somebody-else"));
    assert_eq!(pair.server().len(), 1);
    pair.server().handle_lost(7, &name(CLIENT));
    assert_eq!(
        pair.server().poll_event(),
        Some(ServerEvent::Stopped {
            call: served.id,
            reason: StopReason::Lost
        })
    );
    assert_eq!(failure(&pair.responses()).code, Code::DataLoss);

    pair.begin(request("Chat"), Shape::Stream, Some("x"));
    pair.caller.handle_lost(&name("org/ns/server"), 3, 5);
    let status = failure(&pair.responses());
    assert_eq!(
        status,
        Status::new(Code::DataLoss, "messages 3 to 5 of org/ns/server are lost")
    );

    // In a group it concerns the one server.
    let mut group = World::new(&["org/ns/a", "org/ns/b"], true);
    let call = group.begin(request("Echo"), Shape::Single, Some("x"));
    group.caller.handle_lost(&name("org/ns/a"), 3, 5);
    let events = group.responses();
    assert!(
        matches!(&events[..], [CallEvent::MemberEnded { call: of, source, result: Err(status) }]
            if *of == call && *source == name("org/ns/a") && status.code == Code::DataLoss),
        "{events:?}"
    );
    assert_eq!(group.caller.len(), 1);
}

#[test]
fn the_end_of_a_session_ends_its_calls_on_both_sides() {
    let mut world = World::new(&["org/ns/server"], false);
    world.begin(request("Chat"), Shape::Stream, Some("x"));
    let served = started(&world.requests());
    world.caller.handle_session_ended("closed by its moderator");
    let status = failure(&world.responses());
    assert_eq!(
        status,
        Status::new(Code::Internal, "session closed: closed by its moderator")
    );
    world.server().handle_session_ended(7);
    assert_eq!(
        world.server().poll_event(),
        Some(ServerEvent::Stopped {
            call: served.id,
            reason: StopReason::CallerGone
        })
    );
    assert!(world.server().is_empty());
    assert_eq!(world.server().poll_timeout(), None);
}

#[test]
fn a_server_that_stops_says_so_to_running_and_to_new_calls() {
    let mut world = World::new(&["org/ns/server"], false);
    world.begin(request("Chat"), Shape::Stream, Some("x"));
    world.requests();
    world.server().shut_down();
    assert_eq!(
        failure(&world.responses()),
        Status::new(Code::Cancelled, "Server shutting down")
    );
    world.begin(request("Echo"), Shape::Single, Some("x"));
    world.requests();
    assert_eq!(failure(&world.responses()).code, Code::Unavailable);
}

#[test]
fn what_a_call_says_waits_for_a_session_and_is_taken_back_with_the_call() {
    let mut world = World::new(&["org/ns/server"], false);
    let mut hurried = request("Echo");
    hurried.timeout = Some(Duration::from_secs(1));
    world.begin(hurried, Shape::Single, Some("too late"));
    let cancelled = world.begin(request("Echo"), Shape::Single, Some("unwanted"));
    let patient = world.begin(request("Echo"), Shape::Single, Some("wanted"));
    assert_eq!(world.caller.queued(), 6);
    // No session for a second: the time of a call runs all the same.
    world.advance(1.0);
    assert_eq!(failure(&world.responses()).code, Code::DeadlineExceeded);
    world.caller.cancel(cancelled);
    let events = world.requests();
    let requests: Vec<&ServerEvent> = events
        .iter()
        .filter(|event| matches!(event, ServerEvent::Request { .. }))
        .collect();
    assert!(
        matches!(requests[..], [ServerEvent::Request { payload, .. }] if payload == "wanted"),
        "{events:?}"
    );
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, ServerEvent::Stopped { .. }))
    );
    assert_eq!(world.caller.len(), 1);

    world.begin(request("Echo"), Shape::Single, Some("x"));
    let unavailable = Status::new(Code::Unavailable, "nobody is there");
    world.caller.handle_session_failed(&unavailable);
    let ended = world.responses();
    assert_eq!(ended.len(), 2);
    assert!(
        matches!(&ended[0], CallEvent::Ended { call, result: Err(status) } if *call == patient && *status == unavailable)
    );
    assert_eq!((world.caller.queued(), world.caller.len()), (0, 0));
    assert_eq!(world.caller.poll_timeout(), None);
}

#[test]
fn every_code_crosses_the_wire_with_its_text() {
    for code in Code::ALL.into_iter().filter(|code| *code != Code::Ok) {
        let mut world = World::new(&["org/ns/server"], false);
        world.begin(request("Echo"), Shape::Single, Some("x"));
        let served = started(&world.requests());
        world.server().finish(served.id, Err(Status::new(code, "why")));
        assert_eq!(failure(&world.responses()), Status::new(code, "why"));
    }
}

#[test]
fn a_call_without_time_is_over_before_it_says_anything() {
    let mut world = World::new(&["org/ns/server"], false);
    let mut hurried = request("Echo");
    hurried.timeout = Some(Duration::ZERO);
    world.begin(hurried, Shape::Single, Some("x"));
    assert_eq!(failure(&world.responses()).code, Code::DeadlineExceeded);
    assert_eq!((world.caller.queued(), world.caller.len()), (0, 0));
}

#[test]
fn a_session_one_to_one_is_left_when_its_caller_is_silent_and_a_group_is_not() {
    for is_group in [false, true] {
        let mut world = World::new(&["org/ns/server"], is_group);
        world.begin(request("Chat"), Shape::Stream, Some("x"));
        let served = started(&world.requests());
        let leave = world.server().handle_caller_offline(7, &name(CLIENT), is_group);
        assert_eq!(leave, !is_group);
        let stopped = ServerEvent::Stopped {
            call: served.id,
            reason: StopReason::CallerGone,
        };
        assert_eq!(world.server().poll_event(), (!is_group).then_some(stopped));
        assert_eq!(world.server().len(), usize::from(is_group));
    }
}
