//! What a server registers, and what its handlers hold.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use slim_proto::FullName;
use slim_rpc::{Code, MethodShape, ServedCall, Status, StopReason};
use slim_session::SessionId;
use tokio::sync::{mpsc, oneshot, watch};

use super::server_task::{NewCall, ServerCommand, ServerTask};
use crate::app::App;

/// Commands of handlers that wait for the server's task.
const COMMANDS_MAX: usize = 256;
/// Calls that wait to be started; the task waits beyond it.
const CALLS_MAX: usize = 64;

type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;
type Handler = Arc<dyn Fn(RequestStream, Context, ResponseSink) -> HandlerFuture + Send + Sync>;

/// Serves methods to whoever opens a session with the application. It takes every session of the application, so an
/// application that serves does not [`accept`](App::accept) itself.
pub struct Server {
    app: App,
    methods: BTreeMap<(String, String), (MethodShape, Handler)>,
}

/// What a handler knows of its call.
#[derive(Clone, Debug)]
pub struct Context {
    call: Arc<ServedCall>,
    time_left: Duration,
    started: tokio::time::Instant,
    stopped: watch::Receiver<Option<StopReason>>,
}

/// The requests of a call.
#[derive(Debug)]
pub struct RequestStream {
    requests: mpsc::Receiver<Bytes>,
}

/// Where a handler puts its responses.
#[derive(Clone, Debug)]
pub struct ResponseSink {
    call: Arc<ServedCall>,
    commands: mpsc::Sender<ServerCommand>,
}

/// Stops a server that serves.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<bool>);

impl Shutdown {
    /// Running calls end with CANCELLED; `serve` returns when that is said.
    pub fn shut_down(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// A server without methods.
    pub fn new(app: &App) -> Self {
        Self {
            app: app.clone(),
            methods: BTreeMap::new(),
        }
    }

    /// One request, one response. A method that is registered again has the later handler.
    pub fn unary<F, R>(&mut self, service: &str, method: &str, handler: F) -> &mut Self
    where
        F: Fn(Bytes, Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Bytes, Status>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.register(
            service,
            method,
            shape(false, false),
            move |mut requests, context, sink| {
                let handler = Arc::clone(&handler);
                Box::pin(async move {
                    let request = requests.only().await?;
                    sink.send(handler(request, context).await?).await
                })
            },
        )
    }

    /// One request, any number of responses.
    pub fn server_streaming<F, R>(&mut self, service: &str, method: &str, handler: F) -> &mut Self
    where
        F: Fn(Bytes, Context, ResponseSink) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.register(
            service,
            method,
            shape(false, true),
            move |mut requests, context, sink| {
                let handler = Arc::clone(&handler);
                Box::pin(async move {
                    let request = requests.only().await?;
                    handler(request, context, sink).await
                })
            },
        )
    }

    /// Any number of requests, one response.
    pub fn client_streaming<F, R>(&mut self, service: &str, method: &str, handler: F) -> &mut Self
    where
        F: Fn(RequestStream, Context) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Bytes, Status>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        self.register(
            service,
            method,
            shape(true, false),
            move |requests, context, sink| {
                let handler = Arc::clone(&handler);
                Box::pin(async move { sink.send(handler(requests, context).await?).await })
            },
        )
    }

    /// Any number of requests and responses.
    pub fn bidirectional<F, R>(&mut self, service: &str, method: &str, handler: F) -> &mut Self
    where
        F: Fn(RequestStream, Context, ResponseSink) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Status>> + Send + 'static,
    {
        self.register(
            service,
            method,
            shape(true, true),
            move |requests, context, sink| Box::pin(handler(requests, context, sink)),
        )
    }

    fn register(
        &mut self,
        service: &str,
        method: &str,
        shape: MethodShape,
        handler: impl Fn(RequestStream, Context, ResponseSink) -> HandlerFuture + Send + Sync + 'static,
    ) -> &mut Self {
        let key = (service.to_owned(), method.to_owned());
        self.methods.insert(key, (shape, Arc::new(handler)));
        self
    }

    /// Serves until [`Shutdown::shut_down`], or until the application is closed. Handlers run inside this future, on
    /// whatever executor polls it; one that blocks its thread blocks the others.
    pub async fn serve(self, shutdown: Option<&Shutdown>) {
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let (calls, mut started) = mpsc::channel(CALLS_MAX);
        let shapes = self
            .methods
            .iter()
            .map(|((service, method), (shape, _))| (service.clone(), method.clone(), *shape));
        let task = ServerTask::new(self.app.clone(), shapes, queue, calls);
        self.app.spawn(task.run());
        let mut stop = shutdown.map(|shutdown| shutdown.0.subscribe());
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                call = started.recv() => match call {
                    Some(call) => {
                        if let Some(future) = self.start(call, &commands) {
                            running.push(future);
                        }
                    }
                    None => return,
                },
                Some(()) = running.next() => {}
                () = stopped(&mut stop) => {
                    let (done, stopped) = oneshot::channel();
                    if commands.send(ServerCommand::ShutDown { done }).await.is_ok() {
                        let _ = stopped.await;
                    }
                    return;
                }
            }
        }
    }

    /// The handler of a call, which ends with its future or when nobody waits for it any more.
    fn start(
        &self,
        new: NewCall,
        commands: &mpsc::Sender<ServerCommand>,
    ) -> Option<impl Future<Output = ()> + use<>> {
        let NewCall {
            call,
            requests,
            mut stopped,
            time_left,
        } = new;
        let key = (call.service.clone(), call.method.clone());
        // The task starts registered methods only.
        let (_, handler) = self.methods.get(&key)?;
        let (id, call) = (call.id, Arc::new(call));
        let context = Context {
            call: Arc::clone(&call),
            time_left,
            started: tokio::time::Instant::now(),
            stopped: stopped.clone(),
        };
        let sink = ResponseSink {
            call,
            commands: commands.clone(),
        };
        let handled = handler(RequestStream { requests }, context, sink);
        let commands = commands.clone();
        Some(async move {
            let result = tokio::select! {
                result = handled => result,
                _ = stopped.wait_for(Option::is_some) => return,
            };
            let _ = commands.send(ServerCommand::Finish { call: id, result }).await;
        })
    }
}

async fn stopped(stop: &mut Option<watch::Receiver<bool>>) {
    if let Some(stop) = stop
        && stop.wait_for(|stop| *stop).await.is_ok()
    {
        return;
    }
    // Nobody can stop the server, or nobody any more.
    std::future::pending().await
}

fn shape(streams_requests: bool, streams_responses: bool) -> MethodShape {
    MethodShape {
        streams_requests,
        streams_responses,
    }
}

impl Shutdown {
    /// For one or more servers.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Context {
    /// Who calls.
    pub fn source(&self) -> &FullName {
        &self.call.source
    }

    /// The verified identity of who calls.
    pub fn subject(&self) -> &str {
        &self.call.subject
    }

    /// The caller's metadata. In clear and not authenticated: a node could have changed it (W5).
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.call.metadata
    }

    /// The session that the call came in.
    pub fn session(&self) -> SessionId {
        SessionId(self.call.session)
    }

    /// What is left of the caller's time.
    pub fn time_left(&self) -> Duration {
        self.time_left.saturating_sub(self.started.elapsed())
    }

    /// Resolves when nobody waits for the result any more. The handler is dropped then; what it started elsewhere can
    /// follow this.
    pub async fn stopped(&self) -> StopReason {
        let mut stopped = self.stopped.clone();
        let reason = stopped
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|reason| *reason);
        reason.unwrap_or(StopReason::Shutdown)
    }
}

impl RequestStream {
    /// The next request; `None` after the last one. Cancel-safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.requests.recv().await
    }

    async fn only(&mut self) -> Result<Bytes, Status> {
        let missing = || Status::new(Code::InvalidArgument, "the call has no request");
        self.next().await.ok_or_else(missing)
    }
}

impl ResponseSink {
    /// Gives one response. Waits while the caller does not keep up; fails when nobody waits for it any more.
    pub async fn send(&self, response: Bytes) -> Result<(), Status> {
        let (reply, answer) = oneshot::channel();
        let command = ServerCommand::Respond {
            call: self.call.id,
            response,
            reply,
        };
        let over = || Status::new(Code::Cancelled, "nobody waits for this response");
        self.commands.send(command).await.map_err(|_| over())?;
        match answer.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(over()),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<String> = self
            .methods
            .keys()
            .map(|(service, method)| format!("{service}/{method}"))
            .collect();
        f.debug_struct("Server")
            .field("app", &self.app)
            .field("methods", &methods)
            .finish()
    }
}
