//! The task behind a channel: opens the session, moves messages and time between it and the caller's state machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use slim_crypto::{Rng, os_seed};
use slim_net::Clock;
use slim_proto::{FullName, SessionKind};
use slim_rpc::{CallEvent, CallId, CallRequest, Caller, CallerOutput, Code, Peers, Shape, Status};
use slim_session::{Direction, MembershipChange, Reliability, SessionConfig};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;

use super::call::Arrived;
use crate::app::App;
use crate::error::Error;
use crate::inbox::Item;
use crate::session::{PublishOptions, Session};

/// Responses of one call that its caller has not taken; beyond it the channel stops reading.
const ARRIVED_MAX: usize = 256;
/// Without a deadline the task looks around this often; nothing depends on it.
const IDLE: Duration = Duration::from_secs(3600);

/// Whom a channel calls.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Server(FullName),
    Group(Vec<FullName>),
}

/// What handles ask.
#[derive(Debug)]
pub(crate) enum ChannelCommand {
    Begin {
        request: CallRequest,
        shape: Shape,
        first: Option<Bytes>,
        reply: oneshot::Sender<Result<(CallId, mpsc::Receiver<Arrived>), Status>>,
    },
    Send {
        call: CallId,
        request: Bytes,
        reply: oneshot::Sender<Result<(), Status>>,
    },
    Close {
        done: oneshot::Sender<()>,
    },
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

/// The task's state.
pub(crate) struct ChannelTask {
    app: App,
    target: Target,
    caller: Caller,
    clock: Clock,
    rng: Rng,
    commands: mpsc::Receiver<ChannelCommand>,
    dropped: Arc<Dropped>,
    session: Option<Session>,
    calls: BTreeMap<CallId, mpsc::Sender<Arrived>>,
    /// A response whose caller has no room for it; nothing is read until it has.
    waiting: Option<(mpsc::Sender<Arrived>, Arrived)>,
    /// Acknowledgements of requests.
    acknowledged: JoinSet<(CallId, Result<(), String>)>,
}

impl ChannelTask {
    pub(crate) fn new(
        app: App,
        target: Target,
        peers: Peers,
        commands: mpsc::Receiver<ChannelCommand>,
        dropped: Arc<Dropped>,
    ) -> Self {
        let mut rng = Rng::from_seed(os_seed());
        Self {
            app,
            target,
            caller: Caller::new(peers, rng.derive()),
            clock: Clock::start(),
            rng,
            commands,
            dropped,
            session: None,
            calls: BTreeMap::new(),
            waiting: None,
            acknowledged: JoinSet::new(),
        }
    }

    /// Runs until every handle of the channel and of its calls is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            self.hand_over().await;
            let deadline = self.caller.poll_timeout().map(|(at, _)| at);
            let deadline = deadline.unwrap_or_else(|| self.clock.monotonic() + IDLE);
            let session = self.session.clone().filter(|_| self.waiting.is_none());
            let room = self.waiting.as_ref().map(|(sender, _)| sender.clone());
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.handle_command(command).await,
                    None => break,
                },
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
        self.handle_dropped();
        self.hand_over().await;
        if let Some(session) = self.session.take() {
            let _ = session.close().await;
        }
    }

    async fn handle_command(&mut self, command: ChannelCommand) {
        match command {
            ChannelCommand::Begin {
                request,
                shape,
                first,
                reply,
            } => {
                let result = self.begin(request, shape, first).await;
                if let Err(Ok((call, _))) = reply.send(result) {
                    // The caller went away while the session was being opened.
                    self.caller.cancel(call);
                    self.calls.remove(&call);
                }
            }
            ChannelCommand::Send { call, request, reply } => {
                let result = self.caller.send(call, request);
                // Answered when it is handed to the session, which is what holds a sender that is too fast.
                self.hand_over().await;
                let _ = reply.send(result);
            }
            ChannelCommand::Close { done } => {
                self.end_session("the channel was closed").await;
                let _ = done.send(());
            }
        }
    }

    async fn begin(
        &mut self,
        request: CallRequest,
        shape: Shape,
        first: Option<Bytes>,
    ) -> Result<(CallId, mpsc::Receiver<Arrived>), Status> {
        // The time that the session takes counts as time of the call.
        let started = self.clock.monotonic();
        if self.session.as_ref().is_none_or(Session::is_closed) {
            self.session = None;
            let limit = request.timeout.unwrap_or(IDLE);
            let open = tokio::time::timeout(limit, open(&self.app, &self.target, &mut self.rng));
            let session = open.await.map_err(|_| {
                let text = format!("the session to the server was not open within {limit:?}");
                Status::new(Code::DeadlineExceeded, text)
            })?;
            self.session = Some(session?);
        }
        let spent = self.clock.monotonic().saturating_since(started);
        let request = CallRequest {
            timeout: request.timeout.map(|timeout| timeout.saturating_sub(spent)),
            ..request
        };
        let call = self.caller.begin(self.clock.now(), request, shape, first)?;
        let (sender, arrived) = mpsc::channel(ARRIVED_MAX);
        self.calls.insert(call, sender);
        Ok((call, arrived))
    }

    /// Gives everything that the caller says to the session, and everything that happened to who waits for it.
    async fn hand_over(&mut self) {
        while let Some(CallerOutput {
            call,
            payload,
            metadata,
        }) = self.caller.poll_output()
        {
            let Some(session) = &self.session else { continue };
            let options = PublishOptions {
                metadata,
                ..PublishOptions::default()
            };
            match session.submit(payload, options).await {
                Ok(acknowledgement) => {
                    self.acknowledged.spawn(async move {
                        let result = acknowledgement.await;
                        (call, result.map(drop).map_err(|error| error.to_string()))
                    });
                }
                Err(error) => self.caller.handle_publish_failed(call, &error.to_string()),
            }
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
            CallEvent::Ended { call, result } => (call, Arrived::Ended(result)),
        };
        let sender = if matches!(arrived, Arrived::Ended(_)) {
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
            Ok(Item::Membership {
                member,
                change: MembershipChange::Left | MembershipChange::Offline,
            }) => self.caller.handle_member_gone(&member),
            Ok(Item::Membership { .. }) => {}
            Ok(Item::Lost { sender, first, last }) => self.caller.handle_lost(&sender, first, last),
            Err(error) => {
                self.session = None;
                self.caller.handle_session_ended(&error.to_string());
            }
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
        }
    }

    async fn end_session(&mut self, reason: &str) {
        if let Some(session) = self.session.take() {
            self.caller.handle_session_ended(reason);
            let _ = session.close().await;
        }
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
async fn open(app: &App, target: &Target, rng: &mut Rng) -> Result<Session, Status> {
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
        Target::Server(server) => {
            let config = config(SessionKind::PointToPoint, server.clone());
            app.open(config).await.map_err(unavailable)
        }
        Target::Group(members) => {
            let name = app.name();
            let [organisation, namespace, _] = name.components();
            let channel = FullName::new(organisation, namespace, &rng.uuid())
                .map_err(|error| Status::new(Code::Internal, error.to_string()))?;
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
