//! A caller and servers that talk in virtual time, and everything that they say.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    dead_code,
    reason = "helpers of tests, of which each uses some"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use slim_proto::{FullName, Instant, Now, UnixTime};
use slim_rpc::{
    CallEvent, CallId, CallRequest, Caller, Incoming, MethodShape, Peers, Responder, ServedCall, ServerEvent,
    Shape, Status,
};

pub(crate) const CLIENT: &str = "org/ns/client";
pub(crate) const UNARY: MethodShape = MethodShape {
    streams_requests: false,
    streams_responses: false,
};
pub(crate) const BIDIRECTIONAL: MethodShape = MethodShape {
    streams_requests: true,
    streams_responses: true,
};

pub(crate) fn name(text: &str) -> FullName {
    text.parse().unwrap()
}

pub(crate) fn at(seconds: f64) -> Now {
    let since_start = Duration::from_secs_f64(seconds);
    Now {
        mono: Instant::ZERO + since_start,
        unix: UnixTime(1_800_000_000 + since_start.as_secs()),
    }
}

pub(crate) fn request(method: &str) -> CallRequest {
    CallRequest {
        service: "pkg.Svc".into(),
        method: method.into(),
        ..CallRequest::default()
    }
}

/// A caller and servers, with everything that was said.
pub(crate) struct World {
    pub now: Now,
    pub caller: Caller,
    pub servers: BTreeMap<FullName, Responder>,
    pub is_group: bool,
    pub said: Vec<(String, BTreeMap<String, String>, Bytes)>,
    pub results: Vec<CallEvent>,
    /// Servers that hear nothing.
    pub deaf: BTreeSet<FullName>,
}

impl World {
    pub(crate) fn new(servers: &[&str], is_group: bool) -> Self {
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

    pub(crate) fn server(&mut self) -> &mut Responder {
        self.servers.values_mut().next().unwrap()
    }

    pub(crate) fn begin(
        &mut self,
        request: CallRequest,
        shape: Shape,
        first: Option<&'static str>,
    ) -> CallId {
        let first = first.map(|text| Bytes::from_static(text.as_bytes()));
        self.caller.begin(self.now, request, shape, first).unwrap()
    }

    /// Delivers what the caller said; returns what the servers have to do.
    pub(crate) fn requests(&mut self) -> Vec<ServerEvent> {
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
                        issuer: Some("https://issuer".into()),
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
    pub(crate) fn responses(&mut self) -> Vec<CallEvent> {
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

    pub(crate) fn advance(&mut self, seconds: f64) {
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

pub(crate) fn started(events: &[ServerEvent]) -> ServedCall {
    let ServerEvent::Started(call) = &events[0] else {
        panic!("{events:?}")
    };
    call.clone()
}

pub(crate) fn keys(metadata: &BTreeMap<String, String>) -> Vec<&str> {
    metadata.keys().map(String::as_str).collect()
}

pub(crate) fn failure(events: &[CallEvent]) -> Status {
    let Some(CallEvent::Ended {
        result: Err(status), ..
    }) = events.last()
    else {
        panic!("{events:?}")
    };
    status.clone()
}

pub(crate) fn incoming(metadata: &[(&str, &str)], payload: &'static str) -> Incoming {
    Incoming {
        session: 1,
        is_group: false,
        source: name(CLIENT),
        subject: "client".into(),
        issuer: None,
        session_metadata: Default::default(),
        metadata: metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        payload: Bytes::from_static(payload.as_bytes()),
    }
}
