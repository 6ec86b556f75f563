//! A server with a handler per method.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use slim_rpc::{MethodShape, Status};
use tokio::sync::watch;

use super::served_call::{Context, IncomingCall, RequestStream, ResponseSink};
use super::serving::Serving;
use crate::app::App;

type HandlerFuture = Pin<Box<dyn Future<Output = Result<(), Status>> + Send>>;
type Handler = Arc<dyn Fn(RequestStream, Context, ResponseSink) -> HandlerFuture + Send + Sync>;

/// Serves methods to whoever opens a session with the application. It takes every session of the application, so an
/// application that serves does not [`accept`](App::accept) itself.
pub struct Server {
    app: App,
    methods: BTreeMap<(String, String), (MethodShape, Handler)>,
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
        let shapes = self
            .methods
            .iter()
            .map(|((service, method), (shape, _))| (service.clone(), method.clone(), *shape));
        let mut serving = Serving::start(&self.app, shapes);
        let mut stop = shutdown.map(|shutdown| shutdown.0.subscribe());
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                call = serving.next() => match call {
                    Some(call) => {
                        if let Some(future) = self.start(call) {
                            running.push(future);
                        }
                    }
                    None => return,
                },
                Some(()) = running.next() => {}
                () = stopped(&mut stop) => return serving.shutdown().shut_down().await,
            }
        }
    }

    /// The handler of a call, which ends with its future or when nobody waits for it any more.
    fn start(&self, call: IncomingCall) -> Option<impl Future<Output = ()> + use<>> {
        let IncomingCall {
            context,
            requests,
            responses,
        } = call;
        let key = (context.service().to_owned(), context.method().to_owned());
        // The task starts registered methods only.
        let (_, handler) = self.methods.get(&key)?;
        let stopped = context.clone();
        let handled = handler(requests, context, responses.clone());
        Some(async move {
            tokio::select! {
                result = handled => responses.finish(result).await,
                _ = stopped.stopped() => {}
            }
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
