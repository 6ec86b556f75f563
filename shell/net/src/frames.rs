//! The two halves of a link, whatever transport it has: frames in with flow control, frames out in batches.
//!
//! An enum of the transports and not a trait: a link asks for each frame, and one predictable branch costs nothing.

use std::future::poll_fn;
use std::task::{Context, Poll};

use h2::{Reason, RecvStream, SendStream};
use slim_proto::grpc::DeframeError;
use slim_proto::{Egress, Frame};

use crate::grpc::status::Status;
use crate::grpc::stream::{CallReader, CallWriter, Role};
use crate::rope::Rope;
use crate::websocket::deframer::Violation;
use crate::websocket::{Incoming, Outgoing};

/// Largest part that goes to the transport at once; one socket write takes about as much (architecture, section 4).
pub const BATCH_BYTES: usize = 64 * 1024;

/// Frames of one batch.
pub const BATCH_FRAMES: usize = 64;

/// Largest frame of a peer whose link is not negotiated: its first message has some 300 bytes (T-O1).
pub(crate) const EARLY_FRAME_BYTES_MAX: usize = 16 * 1024;

/// Why no more frames come or go.
#[derive(Debug, thiserror::Error)]
pub enum LinkEnd {
    /// The peer ended its side. An acceptor says why, a dialer has no way to.
    #[error("ended by the peer{}", .0.as_ref().map(|status| format!(" ({status})")).unwrap_or_default())]
    Ended(Option<Status>),
    /// The peer ended its side in the middle of a frame.
    #[error("ended by the peer inside a frame")]
    HalfFrame,
    /// The peer broke off the call.
    #[error("reset by the peer ({0})")]
    Reset(Reason),
    /// The bytes are no sequence of frames.
    #[error(transparent)]
    Deframe(#[from] DeframeError),
    /// The peer of a WebSocket does not keep to the rules.
    #[error("{0}")]
    WebSocket(#[from] Violation),
    /// The connection below failed.
    #[error("connection failed: {0}")]
    Connection(h2::Error),
    /// The socket below a WebSocket failed.
    #[error("connection failed: {0}")]
    Socket(std::io::Error),
}

/// Frames from the peer, in order.
#[derive(Debug)]
pub struct FrameReader(Reading);

#[derive(Debug)]
enum Reading {
    Grpc(CallReader),
    WebSocket(Incoming),
}

impl FrameReader {
    pub(crate) fn grpc(body: RecvStream) -> Self {
        Self(Reading::Grpc(CallReader::new(body)))
    }

    pub(crate) fn websocket(incoming: Incoming) -> Self {
        Self(Reading::WebSocket(incoming))
    }

    /// Lifts the frame limit of links that are not negotiated; what is behind the negotiation may be large.
    pub fn accept_large_frames(&mut self) {
        match &mut self.0 {
            Reading::Grpc(reader) => reader.accept_large_frames(),
            Reading::WebSocket(incoming) => incoming.accept_large_frames(),
        }
    }

    /// The next frame. Cancel safe: a dropped future loses nothing.
    pub async fn next(&mut self) -> Result<Frame, LinkEnd> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next frame; whoever does not ask holds the peer back.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, LinkEnd>> {
        match &mut self.0 {
            Reading::Grpc(reader) => reader.poll_next(cx),
            Reading::WebSocket(incoming) => incoming.poll_next(cx),
        }
    }
}

/// Frames to the peer. Nothing is sent before [`poll_flush`](Self::poll_flush).
#[derive(Debug)]
pub struct FrameWriter(Writing);

#[derive(Debug)]
enum Writing {
    Grpc(CallWriter),
    WebSocket(Outgoing),
}

impl FrameWriter {
    pub(crate) fn grpc(stream: SendStream<Rope>, role: Role) -> Self {
        Self(Writing::Grpc(CallWriter::new(stream, role)))
    }

    pub(crate) fn websocket(outgoing: Outgoing) -> Self {
        Self(Writing::WebSocket(outgoing))
    }

    /// Adds a frame to the batch. Keep a batch at [`BATCH_FRAMES`] frames and [`BATCH_BYTES`] bytes: what
    /// is here has left the egress queue and its limits.
    pub fn push(&mut self, egress: Egress) {
        match &mut self.0 {
            Writing::Grpc(writer) => writer.push(egress),
            Writing::WebSocket(outgoing) => outgoing.push(egress),
        }
    }

    /// Bytes of the batch that the transport has not taken yet.
    pub fn pending_bytes(&self) -> usize {
        match &self.0 {
            Writing::Grpc(writer) => writer.pending_bytes(),
            Writing::WebSocket(outgoing) => outgoing.pending_bytes(),
        }
    }

    /// Hands the batch to the transport as the peer allows.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        match &mut self.0 {
            Writing::Grpc(writer) => writer.poll_flush(cx),
            Writing::WebSocket(outgoing) => outgoing.poll_flush(cx),
        }
    }

    /// Hands over the whole batch.
    pub async fn flush(&mut self) -> Result<(), LinkEnd> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Sends one frame.
    pub async fn send(&mut self, egress: Egress) -> Result<(), LinkEnd> {
        self.push(egress);
        self.flush().await
    }

    /// Ends our side in order. Over gRPC an acceptor says the status in trailers, a dialer has no way to; over
    /// WebSocket both say it as the code of a Close.
    ///
    /// What is still in the batch is lost; flush first.
    pub fn finish(self, status: &Status) {
        match self.0 {
            Writing::Grpc(writer) => writer.finish(status),
            Writing::WebSocket(outgoing) => outgoing.finish(status),
        }
    }

    /// Breaks the link off: what is under way is dropped on both sides.
    pub fn abort(self) {
        match self.0 {
            Writing::Grpc(writer) => writer.abort(),
            // Its end without a word is just that.
            Writing::WebSocket(outgoing) => drop(outgoing),
        }
    }
}
