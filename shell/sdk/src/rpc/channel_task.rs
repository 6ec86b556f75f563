//! The task behind a channel: opens the session, moves messages and time between it and the caller's state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use slim_crypto::{Rng, os_seed};
use slim_net::Clock;
use slim_proto::{FullName, SessionKind};
use slim_rpc::{
    CallEvent, CallId, CallRequest, Caller, CallerOutput, Code, Peers, RequestNumber, Shape, Status,
};
use slim_session::{Direction, MembershipChange, Reliability, SessionConfig};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::call::{Arrived, GroupClosed};
use crate::app::App;
use crate::driver::connection::ConnectionId;
use crate::error::Error;
use crate::inbox::Item;
use crate::session::{Acknowledgement, PublishOptions, Session};

/// Responses of one call that its caller has not taken; beyond it the channel stops reading.
const ARRIVED_MAX: usize = 256;
/// Messages that wait for the session before further requests of streams wait with their senders.
const REQUESTS_QUEUED_MAX: usize = 64;
/// Without a deadline the task looks around this often; nothing depends on it.
const IDLE: Duration = Duration::from_secs(3600);

/// Whom a channel calls.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// A server, and the connection that leads to it if the application says so.
    Server(FullName, Option<ConnectionId>),
    Group(Vec<FullName>, Option<ConnectionId>),
}

/// What handles ask.
#[derive(Debug)]
pub(crate) enum ChannelCommand {
    Begin {
        request: CallRequest,
        shape: Shape,
        first: Option<Bytes>,
        /// When the caller asked: its time runs since then.
        asked: Instant,
        reply: oneshot::Sender<Result<(CallId, mpsc::Receiver<Arrived>), Status>>,
    },
    Close {
        done: oneshot::Sender<()>,
    },
}

/// One more request of a stream.
#[derive(Debug)]
pub(crate) struct StreamRequest {
    pub(crate) call: CallId,
    pub(crate) request: Bytes,
    pub(crate) reply: oneshot::Sender<Result<(), Status>>,
}

/// Where the task listens.
pub(crate) struct Queues {
    pub(crate) commands: mpsc::Receiver<ChannelCommand>,
    pub(crate) requests: mpsc::Receiver<StreamRequest>,
}

/// What dropped handles leave behind; bounded by the calls there are.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    calls: Mutex<(BTreeSet<CallId>, BTreeSet<CallId>)>,
    notify: Notify,
}

impl Dropped {
    pub(crate) fn finished(&self, call: CallId) {
        self.leave(|(finished, _)| finished.insert(call));
    }

    pub(crate) fn cancelled(&self, call: CallId) {
        self.leave(|(_, cancelled)| cancelled.insert(call));
    }

    fn leave(&self, note: impl FnOnce(&mut (BTreeSet<CallId>, BTreeSet<CallId>)) -> bool) {
        note(&mut self.calls.lock().unwrap_or_else(PoisonError::into_inner));
        self.notify.notify_one();
    }

    fn collect(&self) -> (BTreeSet<CallId>, BTreeSet<CallId>) {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A message on its way into the session.
type Sending = Pin<Box<dyn Future<Output = (CallId, RequestNumber, Result<Acknowledgement, Error>)> + Send>>;
/// A session on its way.
type Opening = Pin<Box<dyn Future<Output = Result<Session, Status>> + Send>>;

/// The task's state.
pub(crate) struct ChannelTask {
    app: App,
    target: Target,
    caller: Caller,
    clock: Clock,
    rng: Rng,
    commands: mpsc::Receiver<ChannelCommand>,
    /// Requests of streams; not read while too many wait for the session.
    requests: mpsc::Receiver<StreamRequest>,
    dropped: Arc<Dropped>,
    session: Option<Session>,
    /// Never dropped half-way: a group that is half made would stay.
    opening: Option<Opening>,
    sending: Option<Sending>,
    /// Who waits until the session has taken a request.
    taken: BTreeMap<(CallId, RequestNumber), oneshot::Sender<Result<(), Status>>>,
    calls: BTreeMap<CallId, mpsc::Sender<Arrived>>,
    /// A response whose caller has no room for it; nothing is read until it has.
    waiting: Option<(mpsc::Sender<Arrived>, Arrived)>,
    /// Acknowledgements of requests.
    acknowledged: JoinSet<(CallId, Result<(), String>)>,
}

impl ChannelTask {
    pub(crate) fn new(app: App, target: Target, peers: Peers, queues: Queues, dropped: Arc<Dropped>) -> Self {
        let mut rng = Rng::from_seed(os_seed());
        Self {
            app,
            target,
            caller: Caller::new(peers, rng.derive()),
            clock: Clock::start(),
            rng,
            commands: queues.commands,
            requests: queues.requests,
            dropped,
            session: None,
            opening: None,
            sending: None,
            taken: BTreeMap::new(),
            calls: BTreeMap::new(),
            waiting: None,
            acknowledged: JoinSet::new(),
        }
    }

    /// Runs until every handle of the channel and of its calls is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            self.settle();
            let deadline = self.caller.poll_timeout().map(|(at, _)| at);
            let deadline = deadline.unwrap_or_else(|| self.clock.monotonic() + IDLE);
            let session = self.session.clone().filter(|_| self.waiting.is_none());
            let room = self.waiting.as_ref().map(|(sender, _)| sender.clone());
            let takes_requests = self.caller.queued() < REQUESTS_QUEUED_MAX;
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_command(command).await,
                    None => break,
                },
                Some(request) = self.requests.recv(), if takes_requests => self.handle_request(request),
                opened = pending(&mut self.opening) => self.handle_opened(opened),
                sent = pending(&mut self.sending) => self.handle_sent(sent),
                item = receive(session.as_ref()) => self.handle_item(item),
                () = has_room(room) => self.deliver_waiting(),
                Some(result) = self.acknowledged.join_next() => {
                    // A task that panicked or was aborted is our bug or the end of the runtime.
                    if let Ok((call, Err(reason))) = result {
                        self.caller.handle_publish_failed(call, &reason);
                    }
                }
                () = self.dropped.notify.notified() => self.handle_dropped(),
                () = tokio::time::sleep_until(self.clock.timer(deadline)) => {
                    self.caller.handle_timeout(self.clock.now());
                }
            }
        }
        self.leave().await;
    }

    async fn handle_command(&mut self, command: ChannelCommand) {
        match command {
            ChannelCommand::Begin {
                request,
                shape,
                first,
                asked,
                reply,
            } => {
                let result = self.begin(request, shape, first, asked);
                if let Err(Ok((call, _))) = reply.send(result) {
                    // The caller went away meanwhile.
                    self.caller.cancel(call);
                    self.calls.remove(&call);
                }
            }
            ChannelCommand::Close { done } => {
                self.end_session("the channel was closed").await;
                let _ = done.send(());
            }
        }
    }

    fn begin(
        &mut self,
        request: CallRequest,
        shape: Shape,
        first: Option<Bytes>,
        asked: Instant,
    ) -> Result<(CallId, mpsc::Receiver<Arrived>), Status> {
        if self.session.as_ref().is_some_and(Session::is_closed) {
            self.forget_session("it ended");
        }
        let spent = asked.elapsed();
        let request = CallRequest {
            timeout: request.timeout.map(|timeout| timeout.saturating_sub(spent)),
            ..request
        };
        let call = self.caller.begin(self.clock.now(), request, shape, first)?;
        let (sender, arrived) = mpsc::channel(ARRIVED_MAX);
        self.calls.insert(call, sender);
        Ok((call, arrived))
    }

    fn handle_request(&mut self, StreamRequest { call, request, reply }: StreamRequest) {
        // Answered when the session has taken it, which is what holds a sender that is too fast.
        match self.caller.send(call, request) {
            Ok(number) => drop(self.taken.insert((call, number), reply)),
            Err(status) => drop(reply.send(Err(status))),
        }
    }

    fn handle_opened(&mut self, opened: Result<Session, Status>) {
        self.opening = None;
        match opened {
            Ok(session) => self.session = Some(session),
            Err(status) => self.caller.handle_session_failed(&status),
        }
    }

    fn handle_sent(&mut self, sent: (CallId, RequestNumber, Result<Acknowledgement, Error>)) {
        self.sending = None;
        let (call, number, result) = sent;
        let reply = self.taken.remove(&(call, number));
        match result {
            Ok(acknowledgement) => {
                if let Some(reply) = reply {
                    let _ = reply.send(Ok(()));
                }
                self.acknowledged.spawn(async move {
                    let result = acknowledgement.await;
                    (call, result.map(drop).map_err(|error| error.to_string()))
                });
            }
            Err(error) => self.caller.handle_publish_failed(call, &error.to_string()),
        }
    }

    /// Gives what the caller says to the session, opened for it if there is none, and what happened to who waits for it.
    fn settle(&mut self) {
        if self.session.is_none() && self.opening.is_none() && self.caller.queued() > 0 {
            let (app, target) = (self.app.clone(), self.target.clone());
            let channel = self.rng.uuid();
            self.opening = Some(Box::pin(async move { open(&app, &target, &channel).await }));
        }
        if let Some(session) = self.session.clone().filter(|_| self.sending.is_none())
            && let Some(CallerOutput {
                call,
                number,
                payload,
                metadata,
            }) = self.caller.poll_output()
        {
            let options = PublishOptions {
                metadata,
                ..PublishOptions::default()
            };
            self.sending = Some(Box::pin(async move {
                (call, number, session.submit(payload, options).await)
            }));
        }
        while self.waiting.is_none() {
            let Some(event) = self.caller.poll_event() else {
                break;
            };
            self.deliver(event);
        }
    }

    fn deliver(&mut self, event: CallEvent) {
        let (call, arrived) = match event {
            CallEvent::Response {
                call,
                source,
                payload,
            } => (call, Arrived::Response(source, payload)),
            CallEvent::MemberEnded { call, source, result } => (call, Arrived::MemberEnded(source, result)),
            CallEvent::GroupClosed {
                call,
                completed,
                missing,
            } => (call, Arrived::GroupClosed(GroupClosed { completed, missing })),
            CallEvent::Ended { call, result } => (call, Arrived::Ended(result)),
        };
        let sender = if matches!(arrived, Arrived::Ended(_)) {
            // Who still waits to send learns that the call is over by the end of the wait.
            self.taken.retain(|(of, _), _| *of != call);
            self.calls.remove(&call)
        } else {
            self.calls.get(&call).cloned()
        };
        let Some(sender) = sender else { return };
        if let Err(mpsc::error::TrySendError::Full(arrived)) = sender.try_send(arrived) {
            self.waiting = Some((sender, arrived));
        }
    }

    fn deliver_waiting(&mut self) {
        if let Some((sender, arrived)) = self.waiting.take()
            && let Err(mpsc::error::TrySendError::Full(arrived)) = sender.try_send(arrived)
        {
            self.waiting = Some((sender, arrived));
        }
    }

    fn handle_item(&mut self, item: Result<Item, Error>) {
        match item {
            Ok(Item::Message(message)) => {
                self.caller
                    .handle_message(&message.source, &message.metadata, message.payload);
            }
            Ok(Item::Membership { member, change }) => match change {
                MembershipChange::Left | MembershipChange::Offline => self.caller.handle_member_gone(&member),
                MembershipChange::Joined | MembershipChange::Online => {
                    self.caller.handle_member_back(&member)
                }
            },
            Ok(Item::Lost { sender, first, last }) => self.caller.handle_lost(&sender, first, last),
            Err(error) => drop(self.forget_session(&error.to_string())),
        }
    }

    fn handle_dropped(&mut self) {
        let (finished, cancelled) = self.dropped.collect();
        for call in finished {
            self.caller.finish_requests(call);
        }
        for call in cancelled {
            self.caller.cancel(call);
            self.calls.remove(&call);
            self.taken.retain(|(of, _), _| *of != call);
        }
    }

    /// The session is over, and with it every call.
    fn forget_session(&mut self, reason: &str) -> Option<Session> {
        self.sending = None;
        self.caller.handle_session_ended(reason);
        self.session.take()
    }

    async fn end_session(&mut self, reason: &str) {
        if let Some(opening) = self.opening.take()
            && let Ok(session) = opening.await
        {
            self.session = Some(session);
        }
        if let Some(session) = self.forget_session(reason) {
            let _ = session.close().await;
        }
    }

    /// Nobody holds the channel any more: says what is left to say (ends of streams, cancellations) and closes.
    async fn leave(&mut self) {
        self.handle_dropped();
        while let (Some(session), Some(output)) = (&self.session, self.caller.poll_output()) {
            let options = PublishOptions {
                metadata: output.metadata,
                ..PublishOptions::default()
            };
            if session.submit(output.payload, options).await.is_err() {
                break;
            }
        }
        self.end_session("the channel was dropped").await;
    }
}

/// The result of what runs; never, if nothing does.
async fn pending<T>(running: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match running {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

async fn receive(session: Option<&Session>) -> Result<Item, Error> {
    match session {
        Some(session) => session.receive().await,
        None => std::future::pending().await,
    }
}

/// Resolves when the sender has room, or nobody is left to take anything.
async fn has_room(sender: Option<mpsc::Sender<Arrived>>) {
    match sender {
        Some(sender) => drop(sender.reserve().await),
        None => std::future::pending().await,
    }
}

/// The settings of upstream's callers: reliable, ten repetitions one second apart, encrypted (wire-session §7.1).
async fn open(app: &App, target: &Target, channel: &str) -> Result<Session, Status> {
    let unavailable = |error: Error| Status::new(Code::Unavailable, error.to_string());
    let config = |kind, destination| SessionConfig {
        kind,
        destination,
        reliability: Some(Reliability::default()),
        mls: true,
        direction: Direction::Bidirectional,
        metadata: BTreeMap::new(),
    };
    match target {
        Target::Server(server, connection) => {
            route(app, server, *connection).await?;
            let config = config(SessionKind::PointToPoint, server.clone());
            app.open(config).await.map_err(unavailable)
        }
        Target::Group(members, connection) => {
            let name = app.name();
            let [organisation, namespace, _] = name.components();
            let channel = FullName::new(organisation, namespace, channel)
                .map_err(|error| Status::new(Code::Internal, error.to_string()))?;
            for member in members {
                route(app, member, *connection).await?;
            }
            let session = app
                .open(config(SessionKind::Group, channel))
                .await
                .map_err(unavailable)?;
            for member in members {
                if let Err(error) = session.invite(member.clone()).await {
                    let _ = session.close().await;
                    return Err(Status::new(Code::Internal, error.to_string()));
                }
            }
            Ok(session)
        }
    }
}

async fn route(app: &App, name: &FullName, connection: Option<ConnectionId>) -> Result<(), Status> {
    let Some(connection) = connection else {
        return Ok(());
    };
    let no_way = |error: Error| Status::new(Code::Unavailable, error.to_string());
    app.set_route(name.clone(), connection).await.map_err(no_way)
}
