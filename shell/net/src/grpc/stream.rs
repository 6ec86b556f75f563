//! The two halves of a call: frames in with flow control, frames out in batches.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use slim_proto::Frame;
use slim_proto::grpc::{DeframeError, Deframer};
use slim_proto::splice::Egress;

use crate::grpc::status::Status;
use crate::rope::Rope;

/// Largest part that goes to HTTP/2 at once; one socket write takes about as much (architecture, section 4).
pub const BATCH_BYTES: usize = 64 * 1024;

/// Frames of one batch.
pub const BATCH_FRAMES: usize = 64;

/// Pieces up to this size are copied together before they are written. A socket write takes as many bytes as it gets
/// pieces for, and each piece costs about as much as copying it; larger ones go as they are.
const GATHER_BYTES_MAX: usize = 4 * 1024;

/// Block that small pieces are gathered in: one DATA frame of HTTP/2's default size.
const GATHER_BLOCK_BYTES: usize = 16 * 1024;

/// Largest frame of a peer whose link is not negotiated: its first message has some 300 bytes (T-O1).
const EARLY_FRAME_BYTES_MAX: usize = 16 * 1024;

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
    /// The connection below failed.
    #[error("connection failed: {0}")]
    Connection(h2::Error),
}

impl LinkEnd {
    fn of(error: h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() && error.is_remote() => Self::Reset(reason),
            _ => Self::Connection(error),
        }
    }
}

/// Frames from the peer, in order.
#[derive(Debug)]
pub struct FrameReader {
    body: RecvStream,
    deframer: Deframer,
    /// Bytes of the last chunk: the peer gets its window back when all frames of the chunk are taken.
    owed: usize,
    data_ended: bool,
}

impl FrameReader {
    pub(crate) fn new(body: RecvStream) -> Self {
        Self {
            body,
            deframer: Deframer::with_limit(EARLY_FRAME_BYTES_MAX),
            owed: 0,
            data_ended: false,
        }
    }

    /// Lifts the frame limit of links that are not negotiated; what is behind the negotiation may be large.
    pub fn accept_large_frames(&mut self) {
        self.deframer.set_limit(slim_proto::limits::FRAME_BYTES_MAX);
    }

    /// The next frame. Cancel safe: a dropped future loses nothing.
    pub async fn next(&mut self) -> Result<Frame, LinkEnd> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The next frame; whoever does not ask holds the peer back.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, LinkEnd>> {
        loop {
            if let Some(frame) = self.deframer.next_frame()? {
                return Poll::Ready(Ok(frame));
            }
            if self.owed > 0 {
                let owed = std::mem::take(&mut self.owed);
                // Fails only for more than was received; the books of the two sides then differ by a bug.
                let released = self.body.flow_control().release_capacity(owed);
                debug_assert!(released.is_ok(), "{released:?}");
            }
            if self.data_ended {
                return self.poll_end(cx);
            }
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(chunk)) => {
                    self.owed = chunk.len();
                    self.deframer.push(chunk);
                }
                Some(Err(error)) => return Poll::Ready(Err(LinkEnd::of(error))),
                None => self.data_ended = true,
            }
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, LinkEnd>> {
        let trailers = match ready!(self.body.poll_trailers(cx)) {
            Ok(trailers) => trailers,
            Err(error) => return Poll::Ready(Err(LinkEnd::of(error))),
        };
        Poll::Ready(Err(if self.deframer.is_between_frames() {
            LinkEnd::Ended(trailers.as_ref().and_then(Status::read))
        } else {
            LinkEnd::HalfFrame
        }))
    }
}

/// Which side of the call this is: only the acceptor ends it with a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Dialer,
    Acceptor,
}

/// Frames to the peer. Nothing is sent before [`poll_flush`](Self::poll_flush).
#[derive(Debug)]
pub struct FrameWriter {
    stream: SendStream<Rope>,
    pending: Rope,
    /// Small pieces behind `pending`, in one block.
    gathered: BytesMut,
    role: Role,
}

impl FrameWriter {
    pub(crate) fn new(stream: SendStream<Rope>, role: Role) -> Self {
        Self {
            stream,
            pending: Rope::default(),
            gathered: BytesMut::new(),
            role,
        }
    }

    /// Adds a frame to the batch. Keep a batch at [`BATCH_FRAMES`] frames and [`BATCH_BYTES`] bytes: what
    /// is here has left the egress queue and its limits.
    pub fn push(&mut self, egress: Egress) {
        self.push_piece(egress.head);
        self.push_piece(egress.tail);
    }

    fn push_piece(&mut self, piece: Bytes) {
        if piece.len() > GATHER_BYTES_MAX {
            self.seal();
            self.pending.push(piece);
            return;
        }
        if self.gathered.capacity() - self.gathered.len() < piece.len() {
            self.seal();
            // The block before last is free again when HTTP/2 has written it, and is then used again.
            self.gathered.reserve(GATHER_BLOCK_BYTES);
        }
        self.gathered.put(piece);
    }

    fn seal(&mut self) {
        if !self.gathered.is_empty() {
            self.pending.push(self.gathered.split().freeze());
        }
    }

    /// Bytes of the batch that the peer's window has not admitted yet.
    pub fn pending_bytes(&self) -> usize {
        self.pending.len() + self.gathered.len()
    }

    /// Hands the batch to HTTP/2 as the peer's window allows.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        self.seal();
        while !self.pending.is_empty() {
            let wanted = self.pending.len().min(BATCH_BYTES);
            // Always the whole remainder: asking for less than is needed can stall both sides for ever
            // (lessons, row 23).
            self.stream.reserve_capacity(wanted);
            let capacity = self.stream.capacity();
            if capacity == 0 {
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_)) => continue,
                    Some(Err(error)) => return Poll::Ready(Err(LinkEnd::of(error))),
                    None => return Poll::Ready(Err(LinkEnd::Reset(Reason::CANCEL))),
                }
            }
            let part = self.pending.split_to(capacity.min(wanted));
            if let Err(error) = self.stream.send_data(part, false) {
                return Poll::Ready(Err(LinkEnd::of(error)));
            }
        }
        Poll::Ready(Ok(()))
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

    /// Ends our side in order: an acceptor with the status as trailers, a dialer without.
    ///
    /// What is still in the batch is lost; flush first.
    pub fn finish(mut self, status: &Status) {
        // A call that is already broken needs no end.
        let _ = match self.role {
            Role::Dialer => self.stream.send_data(Rope::default(), true),
            Role::Acceptor => {
                let mut trailers = HeaderMap::new();
                status.write(&mut trailers);
                self.stream.send_trailers(trailers)
            }
        };
    }

    /// Breaks the call off: what is under way is dropped on both sides.
    pub fn abort(mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }
}
