//! SlimRPC: what messages with any metadata do to callers and servers. Every call ends once, and nothing stays
//! (wire-session §7).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use slim_proto::limits::{RPC_CALLS_PER_PEER_MAX, RPC_TIMEOUT_MAX};
use slim_proto::{FullName, Now, UnixTime};
use slim_rpc::{
    CANCEL, CODE, CallEvent, CallId, CallRequest, Caller, Code, DIRECTION, Incoming, METHOD, MethodShape,
    Peers, RESERVED, RPC_ID, Responder, SERVICE, ServedCallId, ServerEvent, Shape, Status, TIMEOUT,
};

use crate::script::Script;

const SESSION: u32 = 7;

/// Plays a script of calls and messages against a caller and a server.
pub fn rpc(data: &[u8]) {
    let mut script = Script::new(data);
    let mut world = World::new(script.byte() % 2 == 1);
    for _ in 0..64 {
        let Some(step) = script.step(12) else { break };
        match step {
            0 | 1 => world.begin(&mut script),
            2 | 3 => {
                let (source, metadata) = (world.name(&mut script), world.metadata(&mut script));
                let payload = Bytes::copy_from_slice(script.chunk());
                world.caller.handle_message(&source, &metadata, payload);
            }
            4 | 5 => {
                let (source, metadata) = (world.name(&mut script), world.metadata(&mut script));
                let payload = Bytes::copy_from_slice(script.chunk());
                world.request(source, metadata, payload);
            }
            6 => world.answer(&mut script),
            7 => world.pass(Duration::from_secs(u64::from(script.u16()))),
            8 => {
                let who = world.name(&mut script);
                world.caller.handle_member_gone(&who);
                world.responder.handle_caller_gone(SESSION, &who);
            }
            9 => {
                let who = world.name(&mut script);
                world.caller.handle_lost(&who, 1, u32::from(script.byte()));
                world.responder.handle_lost(SESSION, &who);
            }
            10 => {
                let call = CallId(u64::from(script.byte()));
                match script.byte() % 4 {
                    0 => world.caller.cancel(call),
                    1 => world.caller.finish_requests(call),
                    2 => {
                        let _ = world.caller.send(call, Bytes::from_static(b"more"));
                    }
                    _ => world.caller.handle_publish_failed(call, "no answer"),
                }
            }
            _ => {
                let who = world.name(&mut script);
                world.responder.handle_published(SESSION, &who);
            }
        }
        world.drain();
    }
    world.end();
}

struct World {
    now: Now,
    caller: Caller,
    responder: Responder,
    is_group: bool,
    /// Ids of calls as they were seen on the wire.
    ids: Vec<String>,
    begun: BTreeSet<CallId>,
    ended: BTreeSet<CallId>,
    served: BTreeSet<ServedCallId>,
    stopped: BTreeSet<ServedCallId>,
}

impl World {
    fn new(is_group: bool) -> Self {
        let names = ["server-1", "server-2"].map(full);
        let peers = if is_group {
            Peers::Group(names.into())
        } else {
            Peers::One
        };
        let mut responder = Responder::new();
        for (method, streams) in [("Echo", false), ("Chat", true)] {
            let shape = MethodShape {
                streams_requests: streams,
                streams_responses: streams,
            };
            assert!(responder.register("pkg.Svc", method, shape));
        }
        Self {
            now: Now {
                unix: UnixTime(1_800_000_000),
                ..Now::default()
            },
            caller: Caller::new(peers, [3; 32]),
            responder,
            is_group,
            ids: Vec::new(),
            begun: BTreeSet::new(),
            ended: BTreeSet::new(),
            served: BTreeSet::new(),
            stopped: BTreeSet::new(),
        }
    }

    fn begin(&mut self, script: &mut Script<'_>) {
        let what = script.byte();
        let request = CallRequest {
            service: "pkg.Svc".into(),
            method: ["Echo", "Chat"][usize::from(what & 1)].into(),
            metadata: if what & 2 == 0 {
                BTreeMap::new()
            } else {
                BTreeMap::from([(script.text(), script.text())])
            },
            timeout: (what & 4 != 0).then(|| Duration::from_millis(u64::from(script.u32()))),
        };
        let shape = if what & 8 == 0 {
            Shape::Single
        } else {
            Shape::Stream
        };
        let first = (what & 16 == 0).then(|| Bytes::copy_from_slice(script.chunk()));
        if let Ok(call) = self.caller.begin(self.now, request, shape, first) {
            assert!(self.begun.insert(call), "a number is used again");
        }
    }

    /// What a caller said, or somebody else, reaches the server.
    fn request(&mut self, source: FullName, metadata: BTreeMap<String, String>, payload: Bytes) {
        let incoming = Incoming {
            session: SESSION,
            is_group: self.is_group,
            subject: source.to_string(),
            issuer: None,
            source,
            session_metadata: Arc::new(BTreeMap::from([("topic".to_owned(), "demo".to_owned())])),
            metadata,
            payload,
        };
        self.responder.handle_message(self.now, incoming);
    }

    fn answer(&mut self, script: &mut Script<'_>) {
        let running: Vec<ServedCallId> = self.served.difference(&self.stopped).copied().collect();
        let Some(call) = script.choose(&running).copied() else {
            return;
        };
        let what = script.byte();
        if what & 1 == 0 {
            self.responder
                .respond(call, Bytes::copy_from_slice(script.chunk()));
        } else {
            let code = script.choose(&Code::ALL).copied().unwrap_or(Code::Ok);
            let result = if code == Code::Ok {
                Ok(())
            } else {
                Err(Status::new(code, script.text()))
            };
            self.responder.finish(call, result);
            self.stopped.insert(call);
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono = self.now.mono + time;
        self.now.unix = UnixTime(self.now.unix.0 + time.as_secs());
        self.caller.handle_timeout(self.now);
        self.responder.handle_timeout(self.now);
    }

    /// Looks at everything that is said, and forgets most of it.
    fn drain(&mut self) {
        while let Some(output) = self.caller.poll_output() {
            let id = output.metadata.get(RPC_ID).expect("a request names its call");
            if !self.ids.contains(id) {
                self.ids.push(id.clone());
            }
        }
        while let Some(output) = self.responder.poll_output() {
            assert!(output.metadata.contains_key(RPC_ID), "an answer names its call");
            assert!(
                !output.metadata.contains_key(DIRECTION),
                "an answer is no request"
            );
            assert_eq!(output.direct, self.is_group);
        }
        while let Some(event) = self.caller.poll_event() {
            let (CallEvent::Response { call, .. }
            | CallEvent::MemberEnded { call, .. }
            | CallEvent::GroupClosed { call, .. }
            | CallEvent::Ended { call, .. }) = &event;
            assert!(self.begun.contains(call), "{event:?} of a call that nobody began");
            assert!(!self.ended.contains(call), "{event:?} behind the end");
            if let CallEvent::Ended { result, .. } = &event {
                assert!(!matches!(result, Err(status) if status.code == Code::Ok));
                self.ended.insert(*call);
            }
        }
        let latest = self.now.mono + RPC_TIMEOUT_MAX;
        while let Some(event) = self.responder.poll_event() {
            match &event {
                ServerEvent::Started(call) => {
                    assert!(self.served.insert(call.id), "a number is used again");
                    assert!(call.deadline <= latest, "a caller chooses how long we work");
                    assert!(call.metadata.keys().all(|key| !RESERVED.contains(&key.as_str())));
                }
                ServerEvent::Request { call, .. } | ServerEvent::RequestsEnded { call } => {
                    assert!(
                        self.served.contains(call) && !self.stopped.contains(call),
                        "{event:?}"
                    );
                }
                ServerEvent::Stopped { call, .. } => {
                    assert!(
                        self.served.contains(call) && self.stopped.insert(*call),
                        "{event:?}"
                    );
                }
            }
        }
        let running = self.served.len() - self.stopped.len();
        assert!(running <= RPC_CALLS_PER_PEER_MAX * 4);
    }

    /// In the end all time is over.
    fn end(mut self) {
        self.pass(RPC_TIMEOUT_MAX + Duration::from_secs(1));
        self.drain();
        assert!(self.caller.is_empty() && self.caller.poll_timeout().is_none());
        assert!(self.responder.poll_timeout().is_none());
        assert_eq!(self.served, self.stopped, "a handler works for nobody");
        self.responder.shut_down();
        self.drain();
        // A call that its caller cancelled has no end event; all others have one.
        assert!(self.ended.is_subset(&self.begun));
    }

    fn name(&self, script: &mut Script<'_>) -> FullName {
        match script.byte() % 4 {
            0 => full("server-1"),
            1 => full("server-2"),
            2 => full("client"),
            _ => full("stranger"),
        }
    }

    /// Metadata of the protocol with any values, and others.
    fn metadata(&self, script: &mut Script<'_>) -> BTreeMap<String, String> {
        let which = script.byte();
        let mut metadata = BTreeMap::new();
        let mut set = |key: &str, value: String| metadata.insert(key.to_owned(), value);
        if which & 1 == 0 {
            let known = script.choose(&self.ids).cloned();
            set(RPC_ID, known.unwrap_or_else(|| "id-1".to_owned()));
        } else {
            set(RPC_ID, script.text());
        }
        if which & 2 == 0 {
            set(DIRECTION, "req".to_owned());
        }
        if which & 4 == 0 {
            set(SERVICE, "pkg.Svc".to_owned());
            set(METHOD, ["Echo", "Chat", "None"][script.index(3)].to_owned());
        }
        if which & 8 != 0 {
            set(TIMEOUT, script.text());
        }
        if which & 16 != 0 {
            set(CODE, script.text());
        }
        if which & 32 != 0 {
            set(CANCEL, script.text());
        }
        if which & 64 != 0 {
            set(&script.text(), script.text());
        }
        metadata
    }
}

fn full(application: &str) -> FullName {
    FullName::new("org", "ns", application).expect("three parts")
}
