//! What peers and users may get wrong (wire-session §7.5, W14).
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::collections::BTreeMap;

use common::*;
use slim_rpc::{
    CODE, CallRequest, Caller, Code, DIRECTION, METHOD, Peers, RPC_ID, Responder, SERVICE, ServerEvent,
    Shape, TIMEOUT,
};

#[test]
fn a_call_that_arrives_after_its_deadline_is_not_started() {
    let mut server = Responder::new();
    server.register("pkg.Svc", "Echo", UNARY);
    let metadata = [
        (SERVICE, "pkg.Svc"),
        (METHOD, "Echo"),
        (RPC_ID, "u"),
        (DIRECTION, "req"),
        (TIMEOUT, "-1"),
    ];
    server.handle_message(at(0.0), incoming(&metadata, "x"));
    assert_eq!(server.poll_event(), None);
    assert_eq!(server.poll_output().unwrap().payload, "Deadline exceeded");
}

#[test]
fn what_is_no_request_is_counted_and_ignored() {
    let mut server = Responder::new();
    server.register("pkg.Svc", "Echo", UNARY);
    let bad: [&[(&str, &str)]; 6] = [
        &[],
        &[(RPC_ID, "u")],
        &[
            (RPC_ID, ""),
            (DIRECTION, "req"),
            (SERVICE, "pkg.Svc"),
            (METHOD, "Echo"),
        ],
        &[
            (RPC_ID, "u"),
            (DIRECTION, "res"),
            (SERVICE, "pkg.Svc"),
            (METHOD, "Echo"),
        ],
        &[(RPC_ID, "u"), (DIRECTION, "req"), (SERVICE, "pkg.Svc")],
        // Upstream's second end marker, and one that comes after the call.
        &[(RPC_ID, "u"), (DIRECTION, "req"), (CODE, "0")],
    ];
    for metadata in bad {
        server.handle_message(at(0.0), incoming(metadata, ""));
    }
    assert_eq!(server.ignored(), 6);
    assert_eq!((server.poll_event(), server.poll_output()), (None, None));
}

#[test]
fn a_message_says_what_counts_and_the_session_what_it_leaves_open() {
    let mut server = Responder::new();
    server.register("pkg.Svc", "Echo", UNARY);
    let own = [
        (SERVICE, "pkg.Svc"),
        (METHOD, "Echo"),
        (RPC_ID, "u"),
        (DIRECTION, "req"),
        ("tenant", "blue"),
    ];
    let mut message = incoming(&own, "x");
    let of_session = [("tenant", "red"), ("region", "north"), (METHOD, "Other")];
    let of_session = of_session.map(|(key, value)| (key.to_owned(), value.to_owned()));
    message.session_metadata = std::sync::Arc::new(of_session.into());
    server.handle_message(at(0.0), message);
    let Some(ServerEvent::Started(call)) = server.poll_event() else {
        panic!("the message's own method counts")
    };
    let expected = [("region", "north"), ("tenant", "blue")];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(call.metadata, BTreeMap::from(expected));
}

#[test]
fn one_caller_cannot_take_all_the_calls_of_a_server() {
    let mut server = Responder::new();
    server.register("pkg.Svc", "Chat", BIDIRECTIONAL);
    for number in 0..2000 {
        let rpc_id = number.to_string();
        let metadata = [
            (SERVICE, "pkg.Svc"),
            (METHOD, "Chat"),
            (RPC_ID, &*rpc_id),
            (DIRECTION, "req"),
        ];
        server.handle_message(at(0.0), incoming(&metadata, "x"));
    }
    assert_eq!(server.len(), slim_proto::limits::RPC_CALLS_PER_PEER_MAX);
    assert_eq!(server.poll_output().unwrap().metadata[CODE], "8");
    server.handle_caller_gone(1, &name(CLIENT));
    assert!(server.is_empty());
}

#[test]
fn bad_calls_are_refused_before_anything_is_said() {
    let mut caller = Caller::new(Peers::One, [1; 32]);
    let mut reserved = request("Echo");
    reserved.metadata.insert(CODE.into(), "0".into());
    for bad in [CallRequest::default(), request(""), reserved] {
        let status = caller.begin(at(0.0), bad, Shape::Single, None).unwrap_err();
        assert_eq!(status.code, Code::InvalidArgument);
    }
    assert_eq!(caller.poll_output(), None);
    assert!(caller.is_empty());
}

#[test]
fn deadlines_that_are_none_do_not_stop_a_server() {
    // W14: negative, not finite, unbounded, no number.
    for (text, starts) in [
        ("-1e9", false),
        ("-inf", false),
        ("inf", true),
        ("1e308", true),
        ("NaN", true),
        ("x", true),
    ] {
        let mut server = Responder::new();
        server.register("pkg.Svc", "Echo", UNARY);
        let metadata = [
            (SERVICE, "pkg.Svc"),
            (METHOD, "Echo"),
            (RPC_ID, "u"),
            (DIRECTION, "req"),
            (TIMEOUT, text),
        ];
        server.handle_message(at(0.0), incoming(&metadata, "x"));
        assert_eq!(server.len(), usize::from(starts), "{text}");
        if starts {
            let (at, _) = server.poll_timeout().unwrap();
            assert_eq!(at.since_start(), slim_proto::limits::RPC_TIMEOUT_MAX, "{text}");
        } else {
            assert_eq!(server.poll_output().unwrap().metadata[CODE], "4", "{text}");
        }
    }
}
