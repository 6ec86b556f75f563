//! The client's side of one channel: many calls over one session (wire-session §7.3, §7.6).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use slim_crypto::Rng;
use slim_proto::limits::{RPC_CALLS_MAX, RPC_TIMEOUT_MAX};
use slim_proto::{FullName, Instant, Now};

use crate::call::{CallEvent, CallId, CallRequest, CallerOutput, Peers, RequestNumber, Shape};
use crate::metadata::{
    CANCEL, METHOD, Metadata, RESERVED, RPC_ID, SERVICE, TIMEOUT, YES, deadline_text, of_request,
    terminal_code, with_code,
};
use crate::status::{Code, Status};

#[derive(Debug)]
struct Call {
    rpc_id: String,
    /// Goes with the first message, then it is gone.
    opening: Option<Metadata>,
    requests_open: bool,
    /// Its messages that the session has not taken yet.
    queued: usize,
    /// The session took the first one, so a server may know of the call.
    said: bool,
    /// Members that have not ended, by name without id; empty for one server.
    waiting: BTreeSet<FullName>,
    deadline: Instant,
    timeout: Duration,
    /// The server has said that it understands cancellations.
    understands_cancel: bool,
}

/// All calls over one session.
#[derive(Debug)]
pub struct Caller {
    peers: Peers,
    /// Members of the group that are gone now; nobody waits for them.
    absent: BTreeSet<FullName>,
    rng: Rng,
    calls: BTreeMap<CallId, Call>,
    by_rpc_id: BTreeMap<String, CallId>,
    deadlines: BTreeSet<(Instant, CallId)>,
    next_call: u64,
    next_request: u64,
    outputs: VecDeque<CallerOutput>,
    events: VecDeque<CallEvent>,
}

impl Caller {
    /// A channel without calls.
    pub fn new(peers: Peers, seed: [u8; 32]) -> Self {
        Self {
            peers,
            absent: BTreeSet::new(),
            rng: Rng::from_seed(seed),
            calls: BTreeMap::new(),
            by_rpc_id: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next_call: 1,
            next_request: 1,
            outputs: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Begins a call. With [`Shape::Single`] the request is `first`; a stream may begin without one.
    ///
    /// Its time runs from now on, whether there is a session already or not: what it says waits to be
    /// [taken](Self::poll_output).
    pub fn begin(
        &mut self,
        now: Now,
        request: CallRequest,
        shape: Shape,
        first: Option<Bytes>,
    ) -> Result<CallId, Status> {
        check(&request)?;
        if shape == Shape::Single && first.is_none() {
            return Err(Status::new(
                Code::InvalidArgument,
                "a call with one request needs it when it begins",
            ));
        }
        if self.calls.len() >= RPC_CALLS_MAX {
            return Err(Status::new(
                Code::ResourceExhausted,
                format!("{RPC_CALLS_MAX} calls are under way on this channel"),
            ));
        }
        let id = CallId(self.next_call);
        self.next_call += 1;
        let timeout = request.timeout.unwrap_or(RPC_TIMEOUT_MAX).min(RPC_TIMEOUT_MAX);
        let rpc_id = self.rng.uuid();
        let mut opening = request.metadata;
        opening.insert(SERVICE.to_owned(), request.service);
        opening.insert(METHOD.to_owned(), request.method);
        opening.insert(TIMEOUT.to_owned(), deadline_text(now, timeout));
        let waiting = match &self.peers {
            Peers::One => BTreeSet::new(),
            Peers::Group(members) => members.clone(),
        };
        let absent: Vec<FullName> = waiting.intersection(&self.absent).cloned().collect();
        let call = Call {
            rpc_id: rpc_id.clone(),
            opening: Some(opening),
            requests_open: true,
            queued: 0,
            said: false,
            waiting,
            deadline: now.mono + timeout,
            timeout,
            understands_cancel: false,
        };
        self.deadlines.insert((call.deadline, id));
        self.by_rpc_id.insert(rpc_id, id);
        self.calls.insert(id, call);
        if let Some(first) = first {
            self.send(id, first)?;
        }
        if shape == Shape::Single {
            self.finish_requests(id);
        }
        for member in absent {
            let gone = gone(&member);
            self.end_member(id, member, Err(gone));
        }
        // A call that has no time is over before it says anything.
        self.handle_timeout(now);
        Ok(id)
    }

    /// One more request of a stream; [`poll_output`](Self::poll_output) returns it under this number.
    pub fn send(&mut self, id: CallId, payload: Bytes) -> Result<RequestNumber, Status> {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.requests_open) else {
            return Err(Status::new(Code::Cancelled, "the call takes no more requests"));
        };
        call.queued += 1;
        let metadata = call.request_metadata();
        Ok(self.say(id, payload, metadata))
    }

    /// No more requests. Harmless twice, and after the call ended.
    pub fn finish_requests(&mut self, id: CallId) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.requests_open) else {
            return;
        };
        call.requests_open = false;
        call.queued += 1;
        let metadata = with_code(call.request_metadata(), Code::Ok);
        self.say(id, Bytes::new(), metadata);
    }

    /// The result is not wanted any more. A server that understands it is told; upstream's would take the message for
    /// one more request of a stream. What was not taken yet is never said.
    pub fn cancel(&mut self, id: CallId) {
        let Some(call) = self.remove(id) else { return };
        if call.said && (call.understands_cancel || !call.requests_open) {
            let mut metadata = with_code(of_request(&call.rpc_id), Code::Cancelled);
            metadata.insert(CANCEL.to_owned(), YES.to_owned());
            self.say(id, Bytes::new(), metadata);
        }
    }

    /// A message of the session.
    pub fn handle_message(&mut self, source: &FullName, metadata: &BTreeMap<String, String>, payload: Bytes) {
        // A member's request that reached us too, or nothing of ours.
        let Some(&id) = metadata.get(RPC_ID).and_then(|rpc_id| self.by_rpc_id.get(rpc_id)) else {
            return;
        };
        let name = source.without_id();
        let is_group = matches!(self.peers, Peers::Group(_));
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        // Who is no member of the call, or has ended, has nothing to say.
        if is_group && !call.waiting.contains(&name) {
            return;
        }
        call.understands_cancel |= metadata.contains_key(CANCEL);
        let Some(code) = terminal_code(metadata, &payload) else {
            self.events.push_back(CallEvent::Response {
                call: id,
                source: source.clone(),
                payload,
            });
            return;
        };
        let result = if code == Code::Ok {
            Ok(())
        } else {
            Err(Status::new(code, String::from_utf8_lossy(&payload)))
        };
        if is_group {
            self.end_member(id, source.clone(), result);
        } else {
            self.end(id, result);
        }
    }

    /// A member of the group is gone: it answers no more, and later calls do not wait for it. One to one the session's
    /// end says it.
    pub fn handle_member_gone(&mut self, member: &FullName) {
        let name = member.without_id();
        let Peers::Group(members) = &self.peers else {
            return;
        };
        if members.contains(&name) {
            self.end_of_member(member, &gone(&name));
            self.absent.insert(name);
        }
    }

    /// A member of the group is there again, for the calls that begin from now on.
    pub fn handle_member_back(&mut self, member: &FullName) {
        self.absent.remove(&member.without_id());
    }

    /// Messages of a server are lost for good: what it answers is not complete any more.
    pub fn handle_lost(&mut self, sender: &FullName, first: u32, last: u32) {
        let lost = Status::new(
            Code::DataLoss,
            format!("messages {first} to {last} of {sender} are lost"),
        );
        match self.peers {
            Peers::One => {
                for id in self.calls.keys().copied().collect::<Vec<_>>() {
                    self.end(id, Err(lost.clone()));
                }
            }
            Peers::Group(_) => self.end_of_member(sender, &lost),
        }
    }

    /// A message of a call was not acknowledged.
    pub fn handle_publish_failed(&mut self, call: CallId, reason: &str) {
        // In a group one silent member does not end the call for the others: it is gone, or its time ends.
        if matches!(self.peers, Peers::One) {
            self.end(call, Err(Status::new(Code::Unavailable, reason)));
        }
    }

    /// There is no session for the calls that wait for one: they end like this.
    pub fn handle_session_failed(&mut self, status: &Status) {
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            self.end(id, Err(status.clone()));
        }
        self.outputs.clear();
    }

    /// The session is over: so are its calls.
    pub fn handle_session_ended(&mut self, reason: &str) {
        self.absent.clear();
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            let Some(call) = self.calls.get(&id) else { continue };
            let silent = call.silent();
            let text = if silent.is_empty() {
                format!("session closed: {reason}")
            } else {
                format!("session closed: {reason}; no complete answer from {silent}")
            };
            if let Peers::Group(members) = &self.peers {
                self.events.push_back(CallEvent::GroupClosed {
                    call: id,
                    completed: members.difference(&call.waiting).cloned().collect(),
                    missing: call.waiting.clone(),
                });
            }
            self.end(id, Err(Status::new(Code::Internal, text)));
        }
        self.outputs.clear();
    }

    /// Time has come; see [`poll_timeout`](Self::poll_timeout).
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(&(at, id)) = self.deadlines.first() {
            if at > now.mono {
                return;
            }
            let Some(call) = self.calls.get(&id) else {
                self.deadlines.pop_first();
                continue;
            };
            let silent = call.silent();
            let of = if silent.is_empty() {
                String::new()
            } else {
                format!(" by {silent}")
            };
            let text = format!("not answered{of} within {:?}", call.timeout);
            self.cancel(id);
            self.events.push_back(CallEvent::Ended {
                call: id,
                result: Err(Status::new(Code::DeadlineExceeded, text)),
            });
        }
    }

    /// The next message for the session. Not before there is one: what waits here is taken back when its call ends.
    pub fn poll_output(&mut self) -> Option<CallerOutput> {
        let output = self.outputs.pop_front()?;
        if let Some(call) = self.calls.get_mut(&output.call) {
            call.queued = call.queued.saturating_sub(1);
            call.said = true;
        }
        Some(output)
    }

    /// Messages that the session has not taken.
    pub fn queued(&self) -> usize {
        self.outputs.len()
    }

    /// The next event for the callers.
    pub fn poll_event(&mut self) -> Option<CallEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.deadlines.first().map(|(at, _)| (*at, "deadline of a call"))
    }

    /// Calls under way.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// True if no call is under way.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// A member's part of every call is over.
    fn end_of_member(&mut self, member: &FullName, status: &Status) {
        let name = member.without_id();
        let waiting = |(id, call): (&CallId, &Call)| call.waiting.contains(&name).then_some(*id);
        let concerned: Vec<CallId> = self.calls.iter().filter_map(waiting).collect();
        for id in concerned {
            self.end_member(id, member.clone(), Err(status.clone()));
        }
    }

    fn end_member(&mut self, id: CallId, source: FullName, result: Result<(), Status>) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        call.waiting.remove(&source.without_id());
        let is_last = call.waiting.is_empty();
        self.events.push_back(CallEvent::MemberEnded {
            call: id,
            source,
            result,
        });
        if is_last {
            self.end(id, Ok(()));
        }
    }

    fn end(&mut self, id: CallId, result: Result<(), Status>) {
        if self.remove(id).is_some() {
            self.events.push_back(CallEvent::Ended { call: id, result });
        }
    }

    fn say(&mut self, call: CallId, payload: Bytes, metadata: Metadata) -> RequestNumber {
        let number = RequestNumber(self.next_request);
        self.next_request += 1;
        self.outputs.push_back(CallerOutput {
            call,
            number,
            payload,
            metadata,
        });
        number
    }

    fn remove(&mut self, id: CallId) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        if call.queued > 0 {
            self.outputs.retain(|output| output.call != id);
        }
        self.by_rpc_id.remove(&call.rpc_id);
        self.deadlines.remove(&(call.deadline, id));
        Some(call)
    }
}

impl Call {
    /// Metadata of the next request: the first one opens the call.
    fn request_metadata(&mut self) -> Metadata {
        let mut metadata = of_request(&self.rpc_id);
        if let Some(opening) = self.opening.take() {
            metadata.extend(opening);
        }
        metadata
    }

    /// Members without complete answer, for a text.
    fn silent(&self) -> String {
        let names: Vec<String> = self.waiting.iter().map(FullName::to_string).collect();
        names.join(", ")
    }
}

fn gone(member: &FullName) -> Status {
    let text = format!("{member} left the group or went offline");
    Status::new(Code::Unavailable, text)
}

fn check(request: &CallRequest) -> Result<(), Status> {
    let problem = if request.service.is_empty() || request.method.is_empty() {
        "a call needs the names of a service and a method".to_owned()
    } else if let Some(key) = request
        .metadata
        .keys()
        .find(|key| RESERVED.contains(&key.as_str()))
    {
        format!("the metadata key `{key}` belongs to the protocol; use another one")
    } else {
        return Ok(());
    };
    Err(Status::new(Code::InvalidArgument, problem))
}
