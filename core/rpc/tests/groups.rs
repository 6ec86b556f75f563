//! Calls to several servers at once (wire-session §7.6).
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use common::*;
use slim_rpc::{CODE, CallEvent, CallId, Code, RPC_ID, ServedCallId, ServerEvent, Shape, Status};

#[test]
fn every_member_of_a_group_answers_for_itself_and_to_the_caller_only() {
    let mut world = World::new(&["org/ns/a", "org/ns/b"], true);
    let call = world.begin(request("Echo"), Shape::Single, Some("x"));
    let events = world.requests();
    let ids: Vec<ServedCallId> = events
        .iter()
        .filter_map(|event| match event {
            ServerEvent::Started(call) => Some(call.id),
            ServerEvent::Request { .. } | ServerEvent::RequestsEnded { .. } | ServerEvent::Stopped { .. } => {
                None
            }
        })
        .collect();
    assert_eq!(ids.len(), 2);
    let [a, b] = [name("org/ns/a"), name("org/ns/b")];
    let first = world.servers.get_mut(&a).unwrap();
    first.respond(ids[0], "from a".into());
    first.finish(ids[0], Ok(()));
    assert!(first.poll_output().is_some());
    assert!(
        first.poll_output().is_none(),
        "one direct message at a time keeps their order"
    );
    first.handle_published(7, &name(CLIENT));
    assert_eq!(
        world.responses(),
        [CallEvent::MemberEnded {
            call,
            source: a,
            result: Ok(())
        }]
    );
    let second = world.servers.get_mut(&b).unwrap();
    second.finish(ids[1], Err(Status::new(Code::NotFound, "not here")));
    assert_eq!(
        world.responses(),
        [
            CallEvent::MemberEnded {
                call,
                source: b,
                result: Err(Status::new(Code::NotFound, "not here"))
            },
            CallEvent::Ended { call, result: Ok(()) }
        ]
    );
}

#[test]
fn a_group_call_does_not_wait_for_who_is_gone_and_names_who_is_silent() {
    let mut world = World::new(&["org/ns/a", "org/ns/b"], true);
    let mut echo = request("Echo");
    echo.timeout = Some(Duration::from_secs(3));
    let call = world.begin(echo, Shape::Single, Some("x"));
    world.caller.handle_member_gone(&name("org/ns/a"));
    let gone = world.responses();
    assert!(
        matches!(&gone[..], [CallEvent::MemberEnded { source, result: Err(status), .. }]
            if *source == name("org/ns/a") && status.code == Code::Unavailable),
        "{gone:?}"
    );
    // Who is no member of the call has nothing to say in it.
    let metadata = world.caller.poll_output().unwrap().metadata;
    world
        .caller
        .handle_message(&name("org/ns/stranger"), &metadata, "forged".into());
    assert!(world.responses().is_empty());
    world.advance(3.0);
    let status = failure(&world.responses());
    assert_eq!(status.code, Code::DeadlineExceeded);
    assert!(
        status.message.contains("org/ns/b") && !status.message.contains("org/ns/a"),
        "{status}"
    );
    assert_eq!(call, CallId(1));
}

#[test]
fn later_group_calls_do_not_wait_for_a_member_that_is_gone_until_it_is_back() {
    let [a, b] = [name("org/ns/a"), name("org/ns/b")];
    let mut world = World::new(&["org/ns/a", "org/ns/b"], true);
    world.deaf.insert(a.clone());
    world.caller.handle_member_gone(&a);
    // Somebody who was never called is nobody's business.
    world.caller.handle_member_gone(&name("org/ns/stranger"));
    let call = world.begin(request("Echo"), Shape::Single, Some("x"));
    let served = started(&world.requests());
    world
        .servers
        .get_mut(&b)
        .unwrap()
        .finish(served.id, Err(Status::new(Code::NotFound, "")));
    let events = world.responses();
    assert!(
        matches!(&events[..], [
            CallEvent::MemberEnded { source: first, result: Err(gone), .. },
            CallEvent::MemberEnded { source: second, .. },
            CallEvent::Ended { call: ended, result: Ok(()) },
        ] if *first == a && gone.code == Code::Unavailable && *second == b && *ended == call),
        "{events:?}"
    );

    world.caller.handle_member_back(&a);
    world.begin(request("Echo"), Shape::Single, Some("x"));
    assert!(world.responses().is_empty());
    assert_eq!(world.caller.len(), 1);
}

#[test]
fn a_group_that_ends_says_who_had_finished_and_who_had_not() {
    let [a, b] = [name("org/ns/a"), name("org/ns/b")];
    let mut world = World::new(&["org/ns/a", "org/ns/b"], true);
    let call = world.begin(request("Echo"), Shape::Single, Some("x"));
    let metadata = world.caller.poll_output().unwrap().metadata;
    let ended = BTreeMap::from([
        (RPC_ID.to_owned(), metadata[RPC_ID].clone()),
        (CODE.to_owned(), "0".to_owned()),
    ]);
    world.caller.handle_message(&a, &ended, Bytes::new());
    assert_eq!(world.responses().len(), 1);
    world.caller.handle_session_ended("the application closed it");
    let events = world.responses();
    assert_eq!(
        events[0],
        CallEvent::GroupClosed {
            call,
            completed: BTreeSet::from([a]),
            missing: BTreeSet::from([b]),
        }
    );
    assert_eq!(failure(&events).code, Code::Internal);
}

#[test]
fn a_group_call_is_over_when_the_last_member_is_and_not_before() {
    let mut world = World::new(&["org/ns/a", "org/ns/b"], true);
    world.begin(request("Echo"), Shape::Single, Some("x"));
    let metadata = world.caller.poll_output().unwrap().metadata;
    let of_call = |extra: &[(&str, &str)]| {
        let mut metadata = BTreeMap::from([(RPC_ID.to_owned(), metadata[RPC_ID].clone())]);
        metadata.extend(
            extra
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
        metadata
    };
    // A member is known by its name without id, answers for itself, and is finished at its end marker or error.
    let with_id = name("org/ns/a").with_id(slim_proto::NameId(7));
    world.caller.handle_message(&with_id, &of_call(&[]), "one".into());
    world
        .caller
        .handle_message(&with_id, &of_call(&[(CODE, "13")]), "broken".into());
    world
        .caller
        .handle_message(&with_id, &of_call(&[]), "after its end".into());
    let events = world.responses();
    assert!(
        matches!(&events[..], [CallEvent::Response { payload, .. }, CallEvent::MemberEnded { result: Err(status), .. }]
            if payload == "one" && status.code == Code::Internal),
        "{events:?}"
    );
    // A code that is none counts as OK (wire-session §7.4).
    world
        .caller
        .handle_message(&name("org/ns/b"), &of_call(&[(CODE, "none")]), Bytes::new());
    let events = world.responses();
    assert!(
        matches!(events.last(), Some(CallEvent::Ended { result: Ok(()), .. })),
        "{events:?}"
    );
}
