//! The server's side: calls of many callers over many sessions (wire-session §7.4–§7.6).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use slim_proto::limits::{RPC_CALLS_MAX, RPC_CALLS_PER_PEER_MAX, RPC_RESPONSES_QUEUED_MAX};
use slim_proto::{FullName, Instant, Now};

use crate::metadata::{
    CANCEL, CODE, DIRECTION, METHOD, Metadata, REQUEST, RESERVED, RPC_ID, SERVICE, TIMEOUT, YES, of_call,
    terminal_code, time_left, with_code,
};
use crate::status::{Code, Status};

/// A session, as the owner of the responder numbers them.
pub type SessionKey = u32;

/// Number of a call at its server, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServedCallId(pub u64);

/// How many messages a method takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodShape {
    /// Any number of requests, not exactly one.
    pub streams_requests: bool,
    /// Any number of responses, not exactly one.
    pub streams_responses: bool,
}

/// A message of a session.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Its session.
    pub session: SessionKey,
    /// The session is a group.
    pub is_group: bool,
    /// Who sent it.
    pub source: FullName,
    /// Verified identity subject of the sender.
    pub subject: String,
    /// Who vouches for it, if the identity tells.
    pub issuer: Option<String>,
    /// Metadata of the session; what the message says lies over it (wire-session §7.2).
    pub session_metadata: Arc<BTreeMap<String, String>>,
    /// Metadata of the message.
    pub metadata: BTreeMap<String, String>,
    /// Content.
    pub payload: Bytes,
}

/// What a handler learns of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServedCall {
    /// For the responses.
    pub id: ServedCallId,
    /// Its session.
    pub session: SessionKey,
    /// Fully-qualified protobuf service.
    pub service: String,
    /// Method.
    pub method: String,
    /// The method's shape, as it was registered.
    pub shape: MethodShape,
    /// Who calls.
    pub source: FullName,
    /// Verified identity subject of the caller.
    pub subject: String,
    /// Who vouches for it, if the identity tells.
    pub issuer: Option<String>,
    /// The caller's metadata, keys of the protocol removed.
    pub metadata: BTreeMap<String, String>,
    /// When the caller stops waiting.
    pub deadline: Instant,
}

/// What the server must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// Run a handler.
    Started(ServedCall),
    /// A request of a running call. With a single request it comes right behind `Started`.
    Request {
        /// Which call.
        call: ServedCallId,
        /// Serialised request.
        payload: Bytes,
    },
    /// No more requests come.
    RequestsEnded {
        /// Which call.
        call: ServedCallId,
    },
    /// Stop the handler; nobody waits for its result.
    Stopped {
        /// Which call.
        call: ServedCallId,
        /// Why.
        reason: StopReason,
    },
}

/// Why a handler is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The caller's time is up.
    Deadline,
    /// The caller said so.
    Cancelled,
    /// The session is over, or the caller left it.
    CallerGone,
    /// A request may be lost.
    Lost,
    /// The server stops.
    Shutdown,
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "the deadline is over",
            Self::Cancelled => "the caller cancelled",
            Self::CallerGone => "the caller is gone",
            Self::Lost => "a request may be lost",
            Self::Shutdown => "the server stops",
        })
    }
}

/// What a session must publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponderOutput {
    /// In which session.
    pub session: SessionKey,
    /// To whom: the caller.
    pub to: FullName,
    /// Only to the caller (`PUBLISH_TO`); in a group nobody else is to read it (W15). Each such message has to be
    /// reported with [`Responder::handle_published`] before the next one comes.
    pub direct: bool,
    /// Serialised response, error text, or nothing.
    pub payload: Bytes,
    /// Metadata of the message.
    pub metadata: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Call {
    shape: MethodShape,
    session: SessionKey,
    is_group: bool,
    source: FullName,
    rpc_id: String,
    deadline: Instant,
    requests_open: bool,
    responses: u64,
}

/// Direct messages of one caller in one group: one at a time, since nothing else keeps their order (wire-session §7.6).
#[derive(Debug, Default)]
struct Lane {
    in_flight: bool,
    queue: VecDeque<ResponderOutput>,
}

/// All calls that are being served.
#[derive(Debug, Default)]
pub struct Responder {
    methods: BTreeMap<(String, String), MethodShape>,
    calls: BTreeMap<ServedCallId, Call>,
    by_rpc_id: BTreeMap<(SessionKey, FullName, String), ServedCallId>,
    deadlines: BTreeSet<(Instant, ServedCallId)>,
    lanes: BTreeMap<(SessionKey, FullName), Lane>,
    next_call: u64,
    is_stopping: bool,
    ignored: u64,
    outputs: VecDeque<ResponderOutput>,
    events: VecDeque<ServerEvent>,
}

impl Responder {
    /// A server without methods.
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves a method; false if it is served already.
    pub fn register(&mut self, service: &str, method: &str, shape: MethodShape) -> bool {
        let key = (service.to_owned(), method.to_owned());
        self.methods.insert(key, shape).is_none()
    }

    /// A message that arrived.
    pub fn handle_message(&mut self, now: Now, message: Incoming) {
        let rpc_id = message.metadata.get(RPC_ID).filter(|rpc_id| !rpc_id.is_empty());
        let is_request = message.metadata.get(DIRECTION).is_some_and(|way| way == REQUEST);
        let Some(rpc_id) = rpc_id.filter(|_| is_request) else {
            self.ignored += 1;
            return;
        };
        let key = (message.session, message.source.clone(), rpc_id.clone());
        match self.by_rpc_id.get(&key).copied() {
            Some(id) => self.continue_call(id, &message),
            None => self.begin_call(now, key, message),
        }
    }

    /// A response. False if the call is over, or takes no second one.
    pub fn respond(&mut self, id: ServedCallId, payload: Bytes) -> bool {
        let Some(call) = self.calls.get_mut(&id) else {
            return false;
        };
        if !call.shape.streams_responses && call.responses > 0 {
            return false;
        }
        call.responses += 1;
        let mut metadata = of_call(&call.rpc_id);
        metadata.insert(CANCEL.to_owned(), YES.to_owned());
        let output = call.output(payload, metadata);
        self.send(output);
        true
    }

    /// The handler ended. Harmless after the call is over.
    pub fn finish(&mut self, id: ServedCallId, result: Result<(), Status>) {
        let Some(call) = self.remove(id) else { return };
        let result = match result {
            Ok(()) if !call.shape.streams_responses && call.responses == 0 => {
                Err(Status::new(Code::Internal, "the handler gave no response"))
            }
            result => result,
        };
        self.send_end(&call, result);
    }

    /// A direct message was acknowledged, or given up.
    pub fn handle_published(&mut self, session: SessionKey, to: &FullName) {
        let key = (session, to.clone());
        let Some(lane) = self.lanes.get_mut(&key) else {
            return;
        };
        match lane.queue.pop_front() {
            Some(next) => self.outputs.push_back(next),
            None => {
                self.lanes.remove(&key);
            }
        }
    }

    /// True if the handlers of this caller should wait before they give more: a caller that does not acknowledge must
    /// not fill the memory of its server.
    pub fn is_congested(&self, id: ServedCallId) -> bool {
        let Some(call) = self.calls.get(&id) else {
            return false;
        };
        let lane = self.lanes.get(&(call.session, call.source.clone()));
        lane.is_some_and(|lane| lane.queue.len() >= RPC_RESPONSES_QUEUED_MAX)
    }

    /// Somebody left a session: its calls stop.
    pub fn handle_caller_gone(&mut self, session: SessionKey, caller: &FullName) {
        self.lanes.remove(&(session, caller.clone()));
        self.stop_where(StopReason::CallerGone, |call| {
            call.session == session && call.source == *caller
        });
    }

    /// Somebody is silent. One to one nobody is left whom the session is for: it is to be left, and its calls stop
    /// (wire-session §7.5). In a group the caller may come back, and its calls go on until their deadlines. True if the
    /// session is to be left.
    pub fn handle_caller_offline(&mut self, session: SessionKey, caller: &FullName, is_group: bool) -> bool {
        if !is_group {
            self.handle_caller_gone(session, caller);
        }
        !is_group
    }

    /// Messages of somebody are lost for good. A call that may lack a request cannot be served, and its caller, who is
    /// there, is told.
    pub fn handle_lost(&mut self, session: SessionKey, caller: &FullName) {
        let concerned = |(id, call): (&ServedCallId, &Call)| {
            (call.session == session && call.source == *caller).then_some(*id)
        };
        for id in self.calls.iter().filter_map(concerned).collect::<Vec<_>>() {
            let Some(call) = self.remove(id) else { continue };
            self.send_end(&call, Err(Status::new(Code::DataLoss, "requests may be lost")));
            self.events.push_back(ServerEvent::Stopped {
                call: id,
                reason: StopReason::Lost,
            });
        }
    }

    /// A session is over: so are its calls.
    pub fn handle_session_ended(&mut self, session: SessionKey) {
        self.lanes.retain(|(of, _), _| *of != session);
        self.stop_where(StopReason::CallerGone, |call| call.session == session);
    }

    /// The server stops: running calls end with CANCELLED, new ones with UNAVAILABLE.
    pub fn shut_down(&mut self) {
        self.is_stopping = true;
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            let Some(call) = self.remove(id) else { continue };
            self.send_end(&call, Err(Status::new(Code::Cancelled, "Server shutting down")));
            self.events.push_back(ServerEvent::Stopped {
                call: id,
                reason: StopReason::Shutdown,
            });
        }
    }

    /// Time has come; see [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > now.mono {
                return;
            }
            self.deadlines.pop_first();
            let Some(call) = self.remove(id) else { continue };
            let late = Status::new(Code::DeadlineExceeded, "Deadline exceeded during RPC execution");
            self.send_end(&call, Err(late));
            self.events.push_back(ServerEvent::Stopped {
                call: id,
                reason: StopReason::Deadline,
            });
        }
    }

    /// The next message to publish.
    pub fn poll_output(&mut self) -> Option<ResponderOutput> {
        self.outputs.pop_front()
    }

    /// The next thing to do.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines
            .first()
            .map(|(at, _)| (*at, "deadline of a served call"))
    }

    /// Calls under way.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// True if no call is under way.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Messages that were no part of a call.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    // ----- arriving -----

    fn begin_call(&mut self, now: Now, key: (SessionKey, FullName, String), message: Incoming) {
        let Incoming {
            session,
            is_group,
            source,
            subject,
            issuer,
            session_metadata,
            metadata,
            payload,
        } = message;
        let name = |key: &str| metadata.get(key).filter(|name| !name.is_empty()).cloned();
        // The end marker and the cancellation of a call that is over name no method.
        let (Some(service), Some(method)) = (name(SERVICE), name(METHOD)) else {
            self.ignored += 1;
            return;
        };
        let shape = self.methods.get(&(service.clone(), method.clone())).copied();
        let deadline = now.mono + time_left(now, metadata.get(TIMEOUT));
        let call = Call {
            shape: shape.unwrap_or(MethodShape {
                streams_requests: false,
                streams_responses: false,
            }),
            session,
            is_group,
            source: source.clone(),
            rpc_id: key.2.clone(),
            deadline,
            requests_open: true,
            responses: 0,
        };
        let ended = terminal_code(&metadata, &payload).is_some();
        if let Err(status) = self.admit(now, &call, shape.is_some(), &service, &method, ended) {
            self.send_end(&call, Err(status));
            return;
        }
        let id = ServedCallId(self.next_call);
        self.next_call += 1;
        let mut open = BTreeMap::clone(&session_metadata);
        open.extend(metadata);
        open.retain(|key, _| !RESERVED.contains(&key.as_str()));
        self.events.push_back(ServerEvent::Started(ServedCall {
            id,
            session,
            service,
            method,
            shape: call.shape,
            source,
            subject,
            issuer,
            metadata: open,
            deadline,
        }));
        self.deadlines.insert((deadline, id));
        self.by_rpc_id.insert(key, id);
        self.calls.insert(id, call);
        self.take_request(id, payload, ended);
    }

    fn admit(
        &self,
        now: Now,
        call: &Call,
        is_known: bool,
        service: &str,
        method: &str,
        ended: bool,
    ) -> Result<(), Status> {
        let of_peer = || {
            self.calls
                .values()
                .filter(|other| other.source == call.source)
                .count()
        };
        if !is_known {
            let text = format!("Method not found: {service}/{method}");
            return Err(Status::new(Code::Unimplemented, text));
        }
        if self.is_stopping {
            return Err(Status::new(Code::Unavailable, "Server shutting down"));
        }
        if call.deadline <= now.mono {
            return Err(Status::new(Code::DeadlineExceeded, "Deadline exceeded"));
        }
        if self.calls.len() >= RPC_CALLS_MAX || of_peer() >= RPC_CALLS_PER_PEER_MAX {
            return Err(Status::new(
                Code::ResourceExhausted,
                "too many calls are under way",
            ));
        }
        if ended && !call.shape.streams_requests {
            return Err(Status::new(Code::InvalidArgument, "the call has no request"));
        }
        Ok(())
    }

    fn continue_call(&mut self, id: ServedCallId, message: &Incoming) {
        if message.metadata.contains_key(CANCEL) && message.metadata.contains_key(CODE) {
            if self.remove(id).is_some() {
                self.events.push_back(ServerEvent::Stopped {
                    call: id,
                    reason: StopReason::Cancelled,
                });
            }
            return;
        }
        let ended = terminal_code(&message.metadata, &message.payload).is_some();
        self.take_request(id, message.payload.clone(), ended);
    }

    /// A request or the end of them. What follows a single request is its end marker, and nothing else.
    fn take_request(&mut self, id: ServedCallId, payload: Bytes, ended: bool) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.requests_open) else {
            return;
        };
        if !ended {
            self.events.push_back(ServerEvent::Request { call: id, payload });
        }
        if ended || !call.shape.streams_requests {
            call.requests_open = false;
            self.events.push_back(ServerEvent::RequestsEnded { call: id });
        }
    }

    // ----- leaving -----

    fn send_end(&mut self, call: &Call, result: Result<(), Status>) {
        let (code, text) = match result {
            Ok(()) => (Code::Ok, Bytes::new()),
            // An error without text would be an end marker to upstream only if its code were OK; it never is.
            Err(status) => (status.code, Bytes::from(status.message)),
        };
        let output = call.output(text, with_code(of_call(&call.rpc_id), code));
        self.send(output);
    }

    fn send(&mut self, output: ResponderOutput) {
        if !output.direct {
            self.outputs.push_back(output);
            return;
        }
        let lane = self.lanes.entry((output.session, output.to.clone())).or_default();
        if lane.in_flight {
            lane.queue.push_back(output);
        } else {
            lane.in_flight = true;
            self.outputs.push_back(output);
        }
    }

    fn stop_where(&mut self, reason: StopReason, is_concerned: impl Fn(&Call) -> bool) {
        let concerned = |(id, call): (&ServedCallId, &Call)| is_concerned(call).then_some(*id);
        let concerned: Vec<ServedCallId> = self.calls.iter().filter_map(concerned).collect();
        for call in concerned {
            self.remove(call);
            self.events.push_back(ServerEvent::Stopped { call, reason });
        }
    }

    fn remove(&mut self, id: ServedCallId) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        self.deadlines.remove(&(call.deadline, id));
        self.by_rpc_id
            .remove(&(call.session, call.source.clone(), call.rpc_id.clone()));
        Some(call)
    }
}

impl Call {
    fn output(&self, payload: Bytes, metadata: Metadata) -> ResponderOutput {
        ResponderOutput {
            session: self.session,
            to: self.source.clone(),
            direct: self.is_group,
            payload,
            metadata,
        }
    }
}

impl ServedCall {
    /// What is left of the caller's time.
    pub fn time_left(&self, now: Now) -> Duration {
        self.deadline.saturating_since(now.mono)
    }
}
