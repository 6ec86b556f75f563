//! A link that was dialled, whatever transport it has, before anything was said on it.

use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

use crate::frames::{FrameReader, FrameWriter};
use crate::socket::PeerAddress;

/// One dialled link whose acceptor has agreed to talk.
#[derive(Debug)]
pub struct Dialed {
    /// Frames of the acceptor.
    pub reader: FrameReader,
    /// Frames to the acceptor.
    pub writer: FrameWriter,
    /// The acceptor's address.
    pub peer: PeerAddress,
    /// The task that moves the connection's bytes.
    pub connection: DialedConnection,
}

/// A dialled connection. Dropping it cuts the socket; [`close_when_done`](Self::close_when_done) lets what is
/// already handed over leave first.
#[derive(Debug)]
pub struct DialedConnection {
    task: Option<AbortHandle>,
    leaving: watch::Receiver<bool>,
    /// Dropped when nothing more is wanted of the connection than its orderly end.
    _in_use: oneshot::Sender<()>,
}

/// What the task of a connection hears and tells.
#[derive(Debug)]
pub(crate) struct DialedTask {
    /// To be set when the peer asks for another connection.
    pub(crate) leaving: watch::Sender<bool>,
    /// Ends when nothing more is wanted than the orderly end.
    pub(crate) released: oneshot::Receiver<()>,
}

impl DialedConnection {
    /// Starts the task of a connection.
    pub(crate) fn start<Run>(run: impl FnOnce(DialedTask) -> Run) -> Self
    where
        Run: Future<Output = ()> + Send + 'static,
    {
        let (leaving_sender, leaving) = watch::channel(false);
        let (in_use, released) = oneshot::channel();
        let task = run(DialedTask {
            leaving: leaving_sender,
            released,
        });
        Self {
            task: Some(tokio::spawn(task).abort_handle()),
            leaving,
            _in_use: in_use,
        }
    }

    /// Resolves when the peer asks for another connection: this one still works, until it is older than the peer
    /// allows. Never resolves on a connection that ends otherwise.
    pub fn leaving(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut leaving = self.leaving.clone();
        async move {
            if leaving.wait_for(|leaving| *leaving).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Lets the connection end by itself: after both halves of the link are finished or dropped.
    pub fn close_when_done(mut self) {
        self.task = None;
    }
}

impl Drop for DialedConnection {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}
