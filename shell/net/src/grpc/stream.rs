//! The two halves of a call: frames in with flow control, frames out in batches.

use std::task::{Context, Poll, ready};

use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use slim_proto::Frame;
use slim_proto::grpc::Deframer;
use slim_proto::splice::Egress;

use crate::batch::Batch;
use crate::frames::{BATCH_BYTES, EARLY_FRAME_BYTES_MAX, LinkEnd};
use crate::grpc::status::Status;
use crate::rope::Rope;

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
pub(crate) struct CallReader {
    body: RecvStream,
    deframer: Deframer,
    /// Bytes of the last chunk: the peer gets its window back when all frames of the chunk are taken.
    owed: usize,
    data_ended: bool,
}

impl CallReader {
    pub(crate) fn new(body: RecvStream) -> Self {
        Self {
            body,
            deframer: Deframer::with_limit(EARLY_FRAME_BYTES_MAX),
            owed: 0,
            data_ended: false,
        }
    }

    /// Lifts the frame limit of links that are not negotiated; what is behind the negotiation may be large.
    pub(crate) fn accept_large_frames(&mut self) {
        self.deframer.set_limit(slim_proto::limits::FRAME_BYTES_MAX);
    }

    /// The next frame; whoever does not ask holds the peer back.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame, LinkEnd>> {
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
pub(crate) struct CallWriter {
    stream: SendStream<Rope>,
    batch: Batch,
    role: Role,
}

impl CallWriter {
    pub(crate) fn new(stream: SendStream<Rope>, role: Role) -> Self {
        Self {
            stream,
            batch: Batch::default(),
            role,
        }
    }

    pub(crate) fn push(&mut self, egress: Egress) {
        self.batch.push(egress.head);
        self.batch.push(egress.tail);
    }

    /// Bytes of the batch that the peer's window has not admitted yet.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.batch.len()
    }

    /// Hands the batch to HTTP/2 as the peer's window allows.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), LinkEnd>> {
        let pending = self.batch.sealed();
        while !pending.is_empty() {
            let wanted = pending.len().min(BATCH_BYTES);
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
            let part = pending.split_to(capacity.min(wanted));
            if let Err(error) = self.stream.send_data(part, false) {
                return Poll::Ready(Err(LinkEnd::of(error)));
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends our side in order: an acceptor with the status as trailers, a dialer without.
    ///
    /// What is still in the batch is lost; flush first.
    pub(crate) fn finish(mut self, status: &Status) {
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
    pub(crate) fn abort(mut self) {
        self.stream.send_reset(Reason::CANCEL);
    }
}
