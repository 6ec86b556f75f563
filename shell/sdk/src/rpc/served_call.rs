//! What the handler of a call holds: what is known of the call, its requests, and the way back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use slim_proto::FullName;
use slim_rpc::{Code, MethodShape, ServedCall, Status, StopReason};
use slim_session::SessionId;
use tokio::sync::{mpsc, oneshot, watch};

use super::server_task::{NewCall, ServerCommand};

/// A call that somebody makes here; without an [end](Self::finish) it lasts until its deadline.
#[derive(Debug)]
pub struct IncomingCall {
    /// What is known of it.
    pub context: Context,
    /// What its caller sends.
    pub requests: RequestStream,
    /// Where the responses go.
    pub responses: ResponseSink,
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

impl IncomingCall {
    pub(crate) fn new(new: NewCall, commands: &mpsc::Sender<ServerCommand>) -> Self {
        let call = Arc::new(new.call);
        Self {
            context: Context {
                call: Arc::clone(&call),
                time_left: new.time_left,
                started: tokio::time::Instant::now(),
                stopped: new.stopped,
            },
            requests: RequestStream {
                requests: new.requests,
            },
            responses: ResponseSink {
                call,
                commands: commands.clone(),
            },
        }
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

    /// Who vouches for that identity, if it is a JSON Web Token that tells.
    pub fn issuer(&self) -> Option<&str> {
        self.call.issuer.as_deref()
    }

    /// Fully-qualified name of the service that is called.
    pub fn service(&self) -> &str {
        &self.call.service
    }

    /// The method that is called.
    pub fn method(&self) -> &str {
        &self.call.method
    }

    /// How many messages the method takes and gives.
    pub fn shape(&self) -> MethodShape {
        self.call.shape
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

    pub(crate) async fn only(&mut self) -> Result<Bytes, Status> {
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

    /// Ends the call, with success or not; what was given before goes first. Harmless when it is over.
    pub async fn finish(&self, result: Result<(), Status>) {
        let command = ServerCommand::Finish {
            call: self.call.id,
            result,
        };
        // Fails if the server is gone, and with it the call.
        let _ = self.commands.send(command).await;
    }
}
