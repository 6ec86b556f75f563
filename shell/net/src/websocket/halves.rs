//! What a connection and the two halves of its link share: frames in, bytes out, and how each side ends.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use slim_crypto::{Rng, os_seed};
use slim_proto::grpc::PREFIX_BYTES;
use slim_proto::{Egress, Frame};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};

use super::deframer::{Sender, apply_mask};
use crate::batch::Batch;
use crate::frames::{BATCH_BYTES, BATCH_FRAMES, LinkEnd};
use crate::grpc::status::Status;
use crate::keepalive::{Gone, Pings};
use crate::rope::Rope;

/// A PING of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Ping {
    #[default]
    None,
    Wanted,
    Sent,
    Answered,
}

/// The PINGs of a connection, for its keepalive. It is to be polled after the connection, in the same task.
#[derive(Debug)]
pub(super) struct WebSocketPings(pub(super) Arc<Shared>);

impl Pings for WebSocketPings {
    fn send_ping(&mut self) -> Result<(), Gone> {
        let mut state = self.0.lock();
        state.ping = Ping::Wanted;
        state.has_read = false;
        state.wake_connection();
        Ok(())
    }

    /// The peer lives if it answered or said anything else, or if it is us who do not read.
    fn poll_pong(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let mut state = self.0.lock();
        if state.ping == Ping::Answered || state.has_read || state.is_full() {
            state.ping = Ping::None;
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }
}

/// Shared by a connection and both halves; the lock is held for moments.
#[derive(Debug, Default)]
pub(super) struct Shared(Mutex<State>);

#[derive(Debug, Default)]
pub(super) struct State {
    /// Frames that the link has not taken.
    pub(super) incoming: VecDeque<Frame>,
    pub(super) incoming_bytes: usize,
    /// Why no more frames come; told behind the last frame.
    pub(super) end: Option<LinkEnd>,
    /// The link waits for a frame, or takes large ones: before its negotiation nothing is read ahead, since the limit
    /// of the next frame depends on it.
    pub(super) wants_a_frame: bool,
    pub(super) takes_large_frames: bool,
    /// What the connection has not begun to write.
    pub(super) outgoing: Rope,
    /// How the link ends its side, behind everything that it wrote.
    pub(super) finish: Option<Status>,
    /// The link wants no more of anything.
    pub(super) is_aborted: bool,
    pub(super) has_reader: bool,
    /// The connection is gone.
    pub(super) is_closed: bool,
    pub(super) ping: Ping,
    /// The peer said something since the last PING.
    pub(super) has_read: bool,
    pub(super) connection: Option<Waker>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Shared {
    /// What a fresh connection and its halves share.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            has_reader: true,
            ..State::default()
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics halfway through a change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// True if the link is behind with reading, so that the peer is to be held back.
    pub(super) fn is_full(&self) -> bool {
        if !self.has_reader {
            return false;
        }
        if self.takes_large_frames {
            self.incoming.len() >= BATCH_FRAMES || self.incoming_bytes >= BATCH_BYTES
        } else {
            !self.wants_a_frame || !self.incoming.is_empty()
        }
    }

    pub(super) fn push(&mut self, frame: Frame) {
        if !self.has_reader {
            return;
        }
        self.incoming_bytes += frame.bytes().len();
        self.incoming.push_back(frame);
        self.wants_a_frame = false;
        self.wake_reader();
    }

    /// The first reason counts.
    pub(super) fn end(&mut self, end: LinkEnd) {
        self.end.get_or_insert(end);
        self.wake_reader();
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    pub(super) fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }

    fn wake_connection(&mut self) {
        if let Some(waker) = self.connection.take() {
            waker.wake();
        }
    }
}

/// Frames from the peer.
#[derive(Debug)]
pub(crate) struct Incoming {
    shared: Arc<Shared>,
    /// Taken from the shared queue in one go.
    taken: VecDeque<Frame>,
}

impl Incoming {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            taken: VecDeque::new(),
        }
    }

    pub(crate) fn accept_large_frames(&self) {
        let mut state = self.shared.lock();
        state.takes_large_frames = true;
        state.wake_connection();
    }

    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Result<Frame, LinkEnd>> {
        if let Some(frame) = self.taken.pop_front() {
            return Poll::Ready(Ok(frame));
        }
        let mut state = self.shared.lock();
        std::mem::swap(&mut state.incoming, &mut self.taken);
        state.incoming_bytes = 0;
        if let Some(frame) = self.taken.pop_front() {
            // The peer may have been held back.
            state.wake_connection();
            return Poll::Ready(Ok(frame));
        }
        if let Some(end) = state.end.take() {
            return Poll::Ready(Err(end));
        }
        if state.is_closed {
            return Poll::Ready(Err(LinkEnd::Ended(None)));
        }
        state.reader = Some(cx.waker().clone());
        if !state.wants_a_frame {
            state.wants_a_frame = true;
            state.wake_connection();
        }
        Poll::Pending
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.has_reader = false;
        state.incoming = VecDeque::new();
        state.wake_connection();
    }
}

/// Frames to the peer. Nothing is sent before the flush.
#[derive(Debug)]
pub(crate) struct Outgoing {
    shared: Arc<Shared>,
    batch: Batch,
    /// Of a dialer, which masks what it says.
    masks: Option<Box<Rng>>,
    has_ended: bool,
}

impl Outgoing {
    /// `sender` is who we are.
    pub(super) fn new(shared: Arc<Shared>, sender: Sender) -> Self {
        Self {
            shared,
            batch: Batch::default(),
            masks: (sender == Sender::Client).then(|| Box::new(Rng::from_seed(os_seed()))),
            has_ended: false,
        }
    }

    pub(crate) fn push(&mut self, egress: Egress) {
        let Egress { mut head, tail } = egress;
        // The prefix of gRPC has no business here.
        let _ = head.split_to(PREFIX_BYTES.min(head.len()));
        let length = head.len() + tail.len();
        let mask = self.masks.as_mut().map(|masks| masks.next_u32().to_ne_bytes());
        self.batch.push(header(OpCode::Data(Data::Binary), mask, length));
        let Some(mask) = mask else {
            self.batch.push(head);
            self.batch.push(tail);
            return;
        };
        // A masked message cannot share its bytes with other links.
        let mut masked = BytesMut::with_capacity(length);
        masked.extend_from_slice(&head);
        masked.extend_from_slice(&tail);
        apply_mask(&mut masked, mask);
        self.batch.push(masked.freeze());
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.batch.len()
    }

    /// Hands the batch to the connection as soon as that has less than another one to write.
    pub(crate) fn poll_flush(&mut self, cx: &Context<'_>) -> Poll<Result<(), LinkEnd>> {
        if self.batch.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let mut state = self.shared.lock();
        if state.is_closed {
            // Why, the reader is told.
            return Poll::Ready(Err(LinkEnd::Ended(None)));
        }
        if state.outgoing.len() >= BATCH_BYTES {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.outgoing.append(self.batch.take());
        state.wake_connection();
        Poll::Ready(Ok(()))
    }

    pub(crate) fn finish(mut self, status: &Status) {
        self.has_ended = true;
        let mut state = self.shared.lock();
        state.finish = Some(status.clone());
        state.wake_connection();
    }
}

impl Drop for Outgoing {
    /// A link that says nothing about its end is broken off.
    fn drop(&mut self) {
        if !self.has_ended {
            let mut state = self.shared.lock();
            state.is_aborted = true;
            state.wake_connection();
        }
    }
}

/// The header of a frame that is a whole message.
pub(super) fn header(opcode: OpCode, mask: Option<[u8; 4]>, length: usize) -> Bytes {
    let header = FrameHeader {
        opcode,
        mask,
        ..FrameHeader::default()
    };
    let mut bytes = Vec::with_capacity(14);
    let written = header.format(length as u64, &mut bytes);
    debug_assert!(written.is_ok(), "a vector takes everything");
    bytes.into()
}
