//! A channel to one server.

use std::sync::Arc;

use bytes::Bytes;
use slim_proto::FullName;
use slim_rpc::{CallRequest, Code, Peers, Shape, Status};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::call::{CallHandle, CallOptions, Requests, Responses};
use super::channel_task::{ChannelCommand, ChannelTask, Dropped, Queues, StreamRequest, Target};
use crate::app::App;
use crate::driver::connection::ConnectionId;

/// Commands that wait for the channel's task; callers wait beyond it.
const COMMANDS_MAX: usize = 64;
/// Requests of streams that wait for the task; their senders wait beyond it.
const REQUESTS_MAX: usize = 64;

/// Calls to one server. The session is opened with the first call and again when it ended; all calls share it. Clones
/// are the same channel; the session is closed when the last is dropped.
#[derive(Clone, Debug)]
pub struct Channel {
    commands: mpsc::Sender<ChannelCommand>,
    requests: mpsc::Sender<StreamRequest>,
    dropped: Arc<Dropped>,
}

impl Channel {
    /// A channel to an application of this name; without id to any one instance of it.
    pub fn new(app: &App, server: FullName) -> Self {
        Self::start(app, Target::Server(server, None), Peers::One)
    }

    /// The same over a certain connection: the application's route for the name.
    pub fn over(app: &App, server: FullName, connection: ConnectionId) -> Self {
        Self::start(app, Target::Server(server, Some(connection)), Peers::One)
    }

    pub(crate) fn start(app: &App, target: Target, peers: Peers) -> Self {
        let (commands, command_queue) = mpsc::channel(COMMANDS_MAX);
        let (requests, request_queue) = mpsc::channel(REQUESTS_MAX);
        let queues = Queues {
            commands: command_queue,
            requests: request_queue,
        };
        let dropped = Arc::new(Dropped::default());
        let task = ChannelTask::new(app.clone(), target, peers, queues, Arc::clone(&dropped));
        app.spawn(task.run());
        Self {
            commands,
            requests,
            dropped,
        }
    }

    /// One request, one response.
    ///
    /// As with the other calls, the time runs from here on, and a session that cannot be opened is a failure of the call.
    pub async fn unary(
        &self,
        service: &str,
        method: &str,
        request: Bytes,
        options: CallOptions,
    ) -> Result<Bytes, Status> {
        let (_, responses) = self
            .begin(service, method, options, Shape::Single, Some(request))
            .await?;
        responses.only().await
    }

    /// One request, any number of responses.
    pub async fn server_streaming(
        &self,
        service: &str,
        method: &str,
        request: Bytes,
        options: CallOptions,
    ) -> Result<Responses, Status> {
        let (_, responses) = self
            .begin(service, method, options, Shape::Single, Some(request))
            .await?;
        Ok(responses)
    }

    /// Any number of requests, one response: `requests` sends them, the future is the response.
    pub async fn client_streaming(
        &self,
        service: &str,
        method: &str,
        options: CallOptions,
    ) -> Result<
        (
            Requests,
            impl Future<Output = Result<Bytes, Status>> + Send + use<>,
        ),
        Status,
    > {
        let (call, responses) = self.begin(service, method, options, Shape::Stream, None).await?;
        Ok((Requests::new(call), responses.only()))
    }

    /// Any number of requests and responses, in any order.
    pub async fn bidirectional(
        &self,
        service: &str,
        method: &str,
        options: CallOptions,
    ) -> Result<(Requests, Responses), Status> {
        let (call, responses) = self.begin(service, method, options, Shape::Stream, None).await?;
        Ok((Requests::new(call), responses))
    }

    /// Ends the session, and with it every call under way; the next call opens a new one.
    pub async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.commands.send(ChannelCommand::Close { done }).await.is_ok() {
            let _ = closed.await;
        }
    }

    pub(crate) async fn begin(
        &self,
        service: &str,
        method: &str,
        options: CallOptions,
        shape: Shape,
        first: Option<Bytes>,
    ) -> Result<(Arc<CallHandle>, Responses), Status> {
        let (reply, answer) = oneshot::channel();
        let command = ChannelCommand::Begin {
            request: CallRequest {
                service: service.to_owned(),
                method: method.to_owned(),
                metadata: options.metadata,
                timeout: options.timeout,
            },
            shape,
            first,
            asked: Instant::now(),
            reply,
        };
        let closed = || Status::new(Code::Unavailable, "the application was closed");
        self.commands.send(command).await.map_err(|_| closed())?;
        let (id, arrived) = answer.await.unwrap_or_else(|_| Err(closed()))?;
        let call = Arc::new(CallHandle {
            id,
            _commands: self.commands.clone(),
            requests: self.requests.clone(),
            dropped: Arc::clone(&self.dropped),
        });
        Ok((Arc::clone(&call), Responses::new(call, arrived)))
    }
}
