//! A channel to one server.

use std::sync::Arc;

use bytes::Bytes;
use slim_proto::FullName;
use slim_rpc::{CallRequest, Code, Peers, Shape, Status};
use tokio::sync::{mpsc, oneshot};

use super::call::{CallHandle, CallOptions, Requests, Responses};
use super::channel_task::{ChannelCommand, ChannelTask, Dropped, Target};
use crate::app::App;

/// Commands that wait for the channel's task; callers wait beyond it.
const COMMANDS_MAX: usize = 64;

/// Calls to one server. The session is opened with the first call and again when it ended; all calls share it. Clones
/// are the same channel; the session is closed when the last is dropped.
#[derive(Clone, Debug)]
pub struct Channel {
    commands: mpsc::Sender<ChannelCommand>,
    dropped: Arc<Dropped>,
}

impl Channel {
    /// A channel to an application of this name; without id to any one instance of it.
    pub fn new(app: &App, server: FullName) -> Self {
        Self::start(app, Target::Server(server), Peers::One)
    }

    pub(crate) fn start(app: &App, target: Target, peers: Peers) -> Self {
        let (commands, queue) = mpsc::channel(COMMANDS_MAX);
        let dropped = Arc::new(Dropped::default());
        let task = ChannelTask::new(app.clone(), target, peers, queue, Arc::clone(&dropped));
        app.spawn(task.run());
        Self { commands, dropped }
    }

    /// One request, one response.
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
            reply,
        };
        let closed = || Status::new(Code::Unavailable, "the application was closed");
        self.commands.send(command).await.map_err(|_| closed())?;
        let (id, arrived) = answer.await.unwrap_or_else(|_| Err(closed()))?;
        let call = Arc::new(CallHandle {
            id,
            commands: self.commands.clone(),
            dropped: Arc::clone(&self.dropped),
        });
        Ok((Arc::clone(&call), Responses::new(call, arrived)))
    }
}
