//! The client's handles of one call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use slim_proto::FullName;
use slim_rpc::{CallId, Code, Status};
use tokio::sync::{mpsc, oneshot};

use super::channel_task::{ChannelCommand, Dropped, StreamRequest};

/// How to call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// Longest time until the last response; `None`, and anything longer, is ten hours.
    pub timeout: Option<Duration>,
    /// For the handler; travels in clear. Keys of the protocol are refused.
    pub metadata: BTreeMap<String, String>,
}

/// A group ended under a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupClosed {
    /// Servers that had finished, with success or not.
    pub completed: BTreeSet<FullName>,
    /// Servers that had not.
    pub missing: BTreeSet<FullName>,
}

/// What arrives for a call.
#[derive(Debug)]
pub(crate) enum Arrived {
    Response(FullName, Bytes),
    MemberEnded(FullName, Result<(), Status>),
    GroupClosed(GroupClosed),
    Ended(Result<(), Status>),
}

/// One call, shared by its two ends.
#[derive(Debug)]
pub(crate) struct CallHandle {
    pub(crate) id: CallId,
    /// Holds the channel.
    pub(crate) _commands: mpsc::Sender<ChannelCommand>,
    pub(crate) requests: mpsc::Sender<StreamRequest>,
    pub(crate) dropped: Arc<Dropped>,
}

/// The requests of a streaming call. Dropped, it says that no more come.
#[derive(Debug)]
pub struct Requests {
    call: Arc<CallHandle>,
}

impl Requests {
    pub(crate) fn new(call: Arc<CallHandle>) -> Self {
        Self { call }
    }

    /// Sends one more request; waits while too much is unacknowledged. Fails when the call is over; the responses say
    /// why.
    pub async fn send(&self, request: Bytes) -> Result<(), Status> {
        let (reply, answer) = oneshot::channel();
        let request = StreamRequest {
            call: self.call.id,
            request,
            reply,
        };
        let over = || Status::new(Code::Cancelled, "the call takes no more requests");
        self.call.requests.send(request).await.map_err(|_| over())?;
        answer.await.unwrap_or_else(|_| Err(over()))
    }

    /// No more requests; the same as dropping this.
    pub fn finish(self) {}
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.call.dropped.finished(self.call.id);
    }
}

/// The responses of a call. Dropped before the end, it cancels the call.
#[derive(Debug)]
pub struct Responses {
    call: Arc<CallHandle>,
    arrived: mpsc::Receiver<Arrived>,
    is_over: bool,
}

impl Responses {
    pub(crate) fn new(call: Arc<CallHandle>, arrived: mpsc::Receiver<Arrived>) -> Self {
        Self {
            call,
            arrived,
            is_over: false,
        }
    }

    /// The next response, or the failure of the call; `None` after its end. Cancel-safe.
    ///
    /// Responses that nobody takes hold up the other calls of the channel, since all of them share one session.
    pub async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            match self.arrive().await? {
                Arrived::Response(_, response) => return Some(Ok(response)),
                Arrived::Ended(Err(status)) => return Some(Err(status)),
                Arrived::Ended(Ok(())) => return None,
                Arrived::MemberEnded(..) | Arrived::GroupClosed(_) => {}
            }
        }
    }

    pub(crate) async fn arrive(&mut self) -> Option<Arrived> {
        if self.is_over {
            return None;
        }
        let arrived = self.arrived.recv().await.unwrap_or_else(|| {
            let closed = Status::new(Code::Unavailable, "the application was closed");
            Arrived::Ended(Err(closed))
        });
        self.is_over = matches!(arrived, Arrived::Ended(_));
        Some(arrived)
    }

    /// The one response of a call that has one.
    pub(crate) async fn only(mut self) -> Result<Bytes, Status> {
        match self.next().await {
            Some(result) => {
                // What follows is the end marker; the call is not to be cancelled for it.
                self.is_over = true;
                result
            }
            None => Err(Status::new(Code::Internal, "the call ended without response")),
        }
    }
}

impl Drop for Responses {
    fn drop(&mut self) {
        if !self.is_over {
            self.call.dropped.cancelled(self.call.id);
        }
    }
}
