//! The task behind a server: takes every session of the application, moves messages and time between them and the
//! responder, and hands calls to their handlers.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use slim_net::Clock;
use slim_proto::limits::RPC_RESPONSES_QUEUED_MAX;
use slim_proto::{FullName, SessionKind};
use slim_rpc::{
    Incoming, MethodShape, Responder, ResponderOutput, ServedCall, ServedCallId, ServerEvent, SessionKey,
    Status, StopReason,
};
use slim_session::{MembershipChange, SessionId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::app::App;
use crate::error::Error;
use crate::inbox::Item;
use crate::session::{Acknowledgement, PublishOptions, Session};

/// Requests of one call that its handler has not taken; beyond it the session is not read.
const REQUESTS_MAX: usize = 64;
/// Items of all sessions that wait for the task.
const ITEMS_MAX: usize = 64;
/// A server that stops takes at most this long for what its callers are still to hear, and again to leave its sessions.
const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Without a deadline the task looks around this often; nothing depends on it.
const IDLE: Duration = Duration::from_secs(3600);

/// A call for a handler.
#[derive(Debug)]
pub(crate) struct NewCall {
    pub(crate) call: ServedCall,
    pub(crate) requests: mpsc::Receiver<Bytes>,
    pub(crate) stopped: watch::Receiver<Option<StopReason>>,
    pub(crate) time_left: Duration,
}

/// What handlers say.
#[derive(Debug)]
pub(crate) enum ServerCommand {
    /// Answered with whether anybody waits for it, when the session has taken it.
    Respond {
        call: ServedCallId,
        response: Bytes,
        reply: oneshot::Sender<bool>,
    },
    Finish {
        call: ServedCallId,
        result: Result<(), Status>,
    },
    ShutDown {
        done: oneshot::Sender<()>,
    },
}

/// A response on its way into a session.
type Sending = Pin<Box<dyn Future<Output = (SessionKey, FullName, Result<Acknowledgement, Error>)> + Send>>;

/// A session that is served.
struct ServedSession {
    session: Session,
    is_group: bool,
    metadata: Arc<BTreeMap<String, String>>,
    /// False while a handler has too many requests waiting.
    gate: watch::Sender<bool>,
    blocked: VecDeque<(ServedCallId, Bytes)>,
    /// Responses that the session has not taken, because its other side is behind.
    leaving: VecDeque<ResponderOutput>,
    /// One of them is on its way in.
    is_sending: bool,
}

/// A call that runs.
struct RunningCall {
    session: SessionKey,
    /// `None` after the last request.
    requests: Option<mpsc::Sender<Bytes>>,
    stop: watch::Sender<Option<StopReason>>,
}

/// The task's state.
pub(crate) struct ServerTask {
    app: App,
    responder: Responder,
    clock: Clock,
    commands: mpsc::Receiver<ServerCommand>,
    new_calls: mpsc::Sender<NewCall>,
    sessions: BTreeMap<SessionKey, ServedSession>,
    calls: BTreeMap<ServedCallId, RunningCall>,
    /// One reader each.
    readers: JoinSet<()>,
    items: mpsc::Receiver<(SessionKey, Result<Item, Error>)>,
    item_sender: mpsc::Sender<(SessionKey, Result<Item, Error>)>,
    sending: FuturesUnordered<Sending>,
    acknowledged: JoinSet<(SessionKey, FullName)>,
    /// Handlers that wait because their caller is behind.
    congested: Vec<(ServedCallId, Bytes, oneshot::Sender<bool>)>,
    /// The end of a stream whose last requests are still blocked.
    ending: Vec<ServedCallId>,
}

impl ServerTask {
    pub(crate) fn new(
        app: App,
        methods: impl Iterator<Item = (String, String, MethodShape)>,
        commands: mpsc::Receiver<ServerCommand>,
        new_calls: mpsc::Sender<NewCall>,
    ) -> Self {
        let mut responder = Responder::new();
        for (service, method, shape) in methods {
            responder.register(&service, &method, shape);
        }
        let (item_sender, items) = mpsc::channel(ITEMS_MAX);
        Self {
            app,
            responder,
            clock: Clock::start(),
            commands,
            new_calls,
            sessions: BTreeMap::new(),
            calls: BTreeMap::new(),
            readers: JoinSet::new(),
            items,
            item_sender,
            sending: FuturesUnordered::new(),
            acknowledged: JoinSet::new(),
            congested: Vec::new(),
            ending: Vec::new(),
        }
    }

    /// Runs until the server stops or the application closes.
    pub(crate) async fn run(mut self) {
        loop {
            self.settle().await;
            let deadline = self.responder.poll_timeout().map(|(at, _)| at);
            let deadline = deadline.unwrap_or_else(|| self.clock.monotonic() + IDLE);
            let blocked = self.first_blocked();
            tokio::select! {
                session = self.app.accept() => match session {
                    Ok(session) => self.serve_session(session),
                    Err(_) => break,
                },
                Some((session, item)) = self.items.recv() => self.handle_item(session, item),
                command = self.commands.recv() => match command {
                    Some(ServerCommand::ShutDown { done }) => {
                        self.shut_down().await;
                        let _ = done.send(());
                        return;
                    }
                    Some(command) => self.handle_command(command),
                    // `serve` was dropped.
                    None => break,
                },
                Some(result) = self.acknowledged.join_next() => {
                    if let Ok((session, to)) = result {
                        self.responder.handle_published(session, &to);
                    }
                }
                Some((session, to, result)) = self.sending.next() => self.handle_sent(session, to, result),
                Some(_) = self.readers.join_next() => {}
                () = has_room(blocked) => self.unblock(),
                () = tokio::time::sleep_until(self.clock.timer(deadline)) => {
                    self.responder.handle_timeout(self.clock.now());
                }
            }
        }
        self.shut_down().await;
    }

    fn serve_session(&mut self, session: Session) {
        let key = session.id().0;
        let (gate, mut open) = watch::channel(true);
        let (reader, items) = (session.clone(), self.item_sender.clone());
        self.readers.spawn(async move {
            // Ends with the session, or with the server.
            while open.wait_for(|open| *open).await.is_ok() {
                let item = reader.receive().await;
                let is_end = item.is_err();
                if items.send((key, item)).await.is_err() || is_end {
                    return;
                }
            }
        });
        let info = session.info();
        let served = ServedSession {
            session,
            is_group: info.kind == SessionKind::Group,
            metadata: Arc::new(info.metadata),
            gate,
            blocked: VecDeque::new(),
            leaving: VecDeque::new(),
            is_sending: false,
        };
        self.sessions.insert(key, served);
    }

    fn handle_item(&mut self, key: SessionKey, item: Result<Item, Error>) {
        let Some(served) = self.sessions.get(&key) else {
            return;
        };
        match item {
            Ok(Item::Message(message)) => {
                let incoming = Incoming {
                    session: key,
                    is_group: served.is_group,
                    source: message.source,
                    subject: message.subject,
                    issuer: message.issuer,
                    session_metadata: Arc::clone(&served.metadata),
                    metadata: message.metadata,
                    payload: message.payload,
                };
                self.responder.handle_message(self.clock.now(), incoming);
            }
            Ok(Item::Membership {
                member,
                change: MembershipChange::Left,
            }) => self.responder.handle_caller_gone(key, &member),
            Ok(Item::Membership {
                member,
                change: MembershipChange::Offline,
            }) => {
                if self
                    .responder
                    .handle_caller_offline(key, &member, served.is_group)
                {
                    // Its end comes as the last item; a caller who is back opens another.
                    let session = served.session.clone();
                    self.app.spawn(async move { drop(session.close().await) });
                }
            }
            Ok(Item::Membership {
                change: MembershipChange::Joined | MembershipChange::Online,
                ..
            }) => {}
            Ok(Item::Lost { sender, .. }) => self.responder.handle_lost(key, &sender),
            Err(_) => {
                self.sessions.remove(&key);
                self.responder.handle_session_ended(key);
            }
        }
    }

    fn handle_command(&mut self, command: ServerCommand) {
        match command {
            ServerCommand::Respond {
                call,
                response,
                reply,
            } => {
                if self.is_congested(call) {
                    self.congested.push((call, response, reply));
                } else {
                    let _ = reply.send(self.responder.respond(call, response));
                }
            }
            ServerCommand::Finish { call, result } => {
                self.calls.remove(&call);
                self.responder.finish(call, result);
            }
            ServerCommand::ShutDown { .. } => {}
        }
    }

    /// Takes everything out of the responder.
    async fn settle(&mut self) {
        for (call, response, reply) in std::mem::take(&mut self.congested) {
            self.handle_command(ServerCommand::Respond {
                call,
                response,
                reply,
            });
        }
        while let Some(event) = self.responder.poll_event() {
            self.handle_event(event).await;
        }
        while let Some(output) = self.responder.poll_output() {
            let key = output.session;
            if let Some(served) = self.sessions.get_mut(&key) {
                served.leaving.push_back(output);
                self.send_next(key);
            }
        }
    }

    /// The caller of this one does not keep up, in the group's lane to it or in the session.
    fn is_congested(&self, call: ServedCallId) -> bool {
        let session = self
            .calls
            .get(&call)
            .and_then(|running| self.sessions.get(&running.session));
        let is_full = session.is_some_and(|served| served.leaving.len() >= RPC_RESPONSES_QUEUED_MAX);
        is_full || self.responder.is_congested(call)
    }

    async fn handle_event(&mut self, event: ServerEvent) {
        match event {
            ServerEvent::Started(call) => {
                let (requests, queue) = mpsc::channel(REQUESTS_MAX);
                let (stop, stopped) = watch::channel(None);
                let running = RunningCall {
                    session: call.session,
                    requests: Some(requests),
                    stop,
                };
                self.calls.insert(call.id, running);
                let time_left = call.time_left(self.clock.now());
                let new = NewCall {
                    call,
                    requests: queue,
                    stopped,
                    time_left,
                };
                // Waits for `serve`, which is what starts handlers; if it is gone, so is the server.
                let _ = self.new_calls.send(new).await;
            }
            ServerEvent::Request { call, payload } => self.hand_request(call, payload),
            ServerEvent::RequestsEnded { call } => {
                let is_blocked = |served: &ServedSession| served.blocked.iter().any(|(of, _)| *of == call);
                if self.sessions.values().any(is_blocked) {
                    self.ending.push(call);
                } else if let Some(running) = self.calls.get_mut(&call) {
                    running.requests = None;
                }
            }
            ServerEvent::Stopped { call, reason } => {
                if let Some(running) = self.calls.remove(&call) {
                    running.stop.send_replace(Some(reason));
                }
            }
        }
    }

    fn hand_request(&mut self, call: ServedCallId, payload: Bytes) {
        let Some(running) = self.calls.get(&call) else {
            return;
        };
        let Some(served) = self.sessions.get_mut(&running.session) else {
            return;
        };
        let Some(requests) = &running.requests else { return };
        let payload = if served.blocked.is_empty() {
            match requests.try_send(payload) {
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return,
                Err(mpsc::error::TrySendError::Full(payload)) => payload,
            }
        } else {
            payload
        };
        served.gate.send_replace(false);
        served.blocked.push_back((call, payload));
    }

    /// Where the first blocked request of each session waits for room.
    fn first_blocked(&self) -> Vec<mpsc::Sender<Bytes>> {
        let first = |served: &ServedSession| {
            let (call, _) = served.blocked.front()?;
            // The requests of a call that is over go nowhere: a sender without receiver has "room".
            let running = self.calls.get(call).and_then(|running| running.requests.clone());
            Some(running.unwrap_or_else(|| mpsc::channel(1).0))
        };
        self.sessions.values().filter_map(first).collect()
    }

    fn unblock(&mut self) {
        for served in self.sessions.values_mut() {
            while let Some((call, payload)) = served.blocked.pop_front() {
                let running = self
                    .calls
                    .get(&call)
                    .and_then(|running| running.requests.as_ref());
                if let Some(requests) = running
                    && let Err(mpsc::error::TrySendError::Full(payload)) = requests.try_send(payload)
                {
                    served.blocked.push_front((call, payload));
                    break;
                }
            }
            if served.blocked.is_empty() {
                served.gate.send_replace(true);
            }
        }
        let sessions = &self.sessions;
        let is_blocked = |call: &ServedCallId| {
            let blocked = |served: &ServedSession| served.blocked.iter().any(|(of, _)| of == call);
            sessions.values().any(blocked)
        };
        let (still, ended) = std::mem::take(&mut self.ending).into_iter().partition(is_blocked);
        self.ending = still;
        let ended: Vec<ServedCallId> = ended;
        for call in ended {
            if let Some(running) = self.calls.get_mut(&call) {
                running.requests = None;
            }
        }
    }

    /// One response after the other, so that a caller who is behind holds up its own session and no other.
    fn send_next(&mut self, key: SessionKey) {
        let Some(served) = self.sessions.get_mut(&key).filter(|served| !served.is_sending) else {
            return;
        };
        let Some(output) = served.leaving.pop_front() else {
            return;
        };
        served.is_sending = true;
        let ResponderOutput {
            to,
            direct,
            payload,
            metadata,
            ..
        } = output;
        let options = PublishOptions {
            metadata,
            to: direct.then(|| to.clone()),
            ..PublishOptions::default()
        };
        let session = served.session.clone();
        self.sending.push(Box::pin(async move {
            let result = session.submit(payload, options).await;
            (key, to, result)
        }));
    }

    fn handle_sent(&mut self, key: SessionKey, to: FullName, result: Result<Acknowledgement, Error>) {
        if let Some(served) = self.sessions.get_mut(&key) {
            served.is_sending = false;
        }
        match result {
            Ok(acknowledgement) => {
                self.acknowledged.spawn(async move {
                    // Unheard or not, the next one follows; the caller's absence ends its calls.
                    let _ = acknowledgement.await;
                    (key, to)
                });
            }
            Err(error) => {
                tracing::debug!(session = %SessionId(key), %to, %error, "a response could not be sent");
                self.responder.handle_published(key, &to);
            }
        }
        self.send_next(key);
    }

    async fn shut_down(&mut self) {
        self.responder.shut_down();
        self.settle().await;
        for call in std::mem::take(&mut self.calls).into_values() {
            call.stop.send_replace(Some(StopReason::Shutdown));
        }
        // Callers are to hear how their calls ended before they hear that the session did.
        let _ = tokio::time::timeout(FAREWELL_MAX, self.drain()).await;
        let sessions = std::mem::take(&mut self.sessions).into_values();
        let leaving = sessions.map(|served| async move { served.session.close().await });
        let _ = tokio::time::timeout(FAREWELL_MAX, futures_util::future::join_all(leaving)).await;
    }

    /// Until everything that was said is acknowledged or given up.
    async fn drain(&mut self) {
        loop {
            tokio::select! {
                Some((session, to, result)) = self.sending.next() => self.handle_sent(session, to, result),
                Some(result) = self.acknowledged.join_next() => {
                    if let Ok((session, to)) = result {
                        self.responder.handle_published(session, &to);
                    }
                }
                else => return,
            }
            self.settle().await;
        }
    }
}

/// Resolves when one of the senders has room or nobody behind it.
async fn has_room(senders: Vec<mpsc::Sender<Bytes>>) {
    if senders.is_empty() {
        return std::future::pending().await;
    }
    let reserved = senders.iter().map(|sender| Box::pin(sender.reserve()));
    drop(futures_util::future::select_all(reserved).await);
}
