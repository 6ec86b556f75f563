//! Callers and responders in virtual time: what goes over the wire, and how calls end.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use slim_proto::{FullName, Instant, Now, UnixTime};
use slim_rpc::{
    CANCEL, CODE, CallEvent, CallId, CallRequest, Caller, Code, DIRECTION, Incoming, METHOD, MethodShape,
    Peers, RPC_ID, Responder, SERVICE, ServedCall, ServedCallId, ServerEvent, Shape, Status, StopReason,
    TIMEOUT,
};

const CLIENT: &str = "org/ns/client";
const UNARY: MethodShape = MethodShape {
    streams_requests: false,
    streams_responses: false,
};
const BIDIRECTIONAL: MethodShape = MethodShape {
    streams_requests: true,
    streams_responses: true,
};

fn name(text: &str) -> FullName {
    text.parse().unwrap()
}

fn at(seconds: f64) -> Now {
    let since_start = Duration::from_secs_f64(seconds);
    Now {
        mono: Instant::ZERO + since_start,
        unix: UnixTime(1_800_000_000 + since_start.as_secs()),
    }
}

fn request(method: &str) -> CallRequest {
    CallRequest {
        service: "pkg.Svc".into(),
        method: method.into(),
        ..CallRequest::default()
    }
}

/// A caller and servers, with everything that was said.
struct World {
    now: Now,
    caller: Caller,
    servers: BTreeMap<FullName, Responder>,
    is_group: bool,
    said: Vec<(String, BTreeMap<String, String>, Bytes)>,
    results: Vec<CallEvent>,
    /// Servers that hear nothing.
    deaf: BTreeSet<FullName>,
}

impl World {
    fn new(servers: &[&str], is_group: bool) -> Self {
        let names: Vec<FullName> = servers.iter().map(|server| name(server)).collect();
        let peers = if is_group {
            Peers::Group(names.iter().cloned().collect())
        } else {
            Peers::One
        };
        let serve = |name: &FullName| {
            let mut responder = Responder::new();
            assert!(responder.register("pkg.Svc", "Echo", UNARY));
            assert!(responder.register("pkg.Svc", "Chat", BIDIRECTIONAL));
            (name.clone(), responder)
        };
        Self {
            now: at(0.0),
            caller: Caller::new(peers, [3; 32]),
            servers: names.iter().map(serve).collect(),
            is_group,
            said: Vec::new(),
            results: Vec::new(),
            deaf: BTreeSet::new(),
        }
    }

    fn server(&mut self) -> &mut Responder {
        self.servers.values_mut().next().unwrap()
    }

    fn begin(&mut self, request: CallRequest, shape: Shape, first: Option<&'static str>) -> CallId {
        let first = first.map(|text| Bytes::from_static(text.as_bytes()));
        self.caller.begin(self.now, request, shape, first).unwrap()
    }

    /// Delivers what the caller said; returns what the servers have to do.
    fn requests(&mut self) -> Vec<ServerEvent> {
        while let Some(output) = self.caller.poll_output() {
            self.said
                .push(("C".into(), output.metadata.clone(), output.payload.clone()));
            for (server, responder) in &mut self.servers {
                if self.deaf.contains(server) {
                    continue;
                }
                responder.handle_message(
                    self.now,
                    Incoming {
                        session: 7,
                        is_group: self.is_group,
                        source: name(CLIENT),
                        subject: "client".into(),
                        session_metadata: Default::default(),
                        metadata: output.metadata.clone(),
                        payload: output.payload.clone(),
                    },
                );
            }
        }
        let mut events = Vec::new();
        for responder in self.servers.values_mut() {
            while let Some(event) = responder.poll_event() {
                events.push(event);
            }
        }
        events
    }

    /// Delivers what the servers said; returns how calls went.
    fn responses(&mut self) -> Vec<CallEvent> {
        for (server, responder) in &mut self.servers {
            while let Some(output) = responder.poll_output() {
                assert_eq!(output.to, name(CLIENT));
                assert_eq!(output.direct, self.is_group);
                self.said
                    .push(("S".into(), output.metadata.clone(), output.payload.clone()));
                self.caller
                    .handle_message(server, &output.metadata, output.payload);
                if output.direct {
                    responder.handle_published(output.session, &output.to);
                }
            }
        }
        let mut events = Vec::new();
        while let Some(event) = self.caller.poll_event() {
            events.push(event);
        }
        self.results.extend(events.iter().cloned());
        events
    }

    fn advance(&mut self, seconds: f64) {
        self.now = at(self.now.mono.since_start().as_secs_f64() + seconds);
        if self
            .caller
            .poll_timeout()
            .is_some_and(|(due, _)| due <= self.now.mono)
        {
            self.caller.handle_timeout(self.now);
        }
        for responder in self.servers.values_mut() {
            if responder
                .poll_timeout()
                .is_some_and(|(due, _)| due <= self.now.mono)
            {
                responder.handle_timeout(self.now);
            }
        }
    }
}

fn started(events: &[ServerEvent]) -> ServedCall {
    let ServerEvent::Started(call) = &events[0] else {
        panic!("{events:?}")
    };
    call.clone()
}

fn keys(metadata: &BTreeMap<String, String>) -> Vec<&str> {
    metadata.keys().map(String::as_str).collect()
}

fn failure(events: &[CallEvent]) -> Status {
    let Some(CallEvent::Ended {
        result: Err(status), ..
    }) = events.last()
    else {
        panic!("{events:?}")
    };
    status.clone()
}

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
            CallEvent::MemberEnded { .. } | CallEvent::Ended { .. } => None,
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

fn incoming(metadata: &[(&str, &str)], payload: &'static str) -> Incoming {
    Incoming {
        session: 1,
        is_group: false,
        source: name(CLIENT),
        subject: "client".into(),
        session_metadata: Default::default(),
        metadata: metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        payload: Bytes::from_static(payload.as_bytes()),
    }
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
