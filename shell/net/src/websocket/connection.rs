//! One WebSocket connection after its opening: moves bytes between its socket and the two halves of its link.
//!
//! A future without a task of its own: the acceptor polls it beside the link, the dialer in a task. Each side ends its
//! half by itself, as the links of this protocol do (wire-routing A15): after the peer's Close we may still write what
//! was accepted for it, and answer then.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use slim_crypto::{Rng, os_seed};
use slim_proto::limits::FRAME_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::time::{Sleep, sleep};
use tungstenite::protocol::frame::coding::{Control, OpCode};

use super::close::{CloseReason, GOING_AWAY};
use super::deframer::{Deframer, Event, Sender, Violation, apply_mask};
use super::halves::{Incoming, Outgoing, Ping, Shared, WebSocketPings, header};
use super::{FAREWELL, LEAVE};
use crate::frames::{EARLY_FRAME_BYTES_MAX, FrameReader, FrameWriter, LinkEnd};
use crate::grpc::status::Status;
use crate::rope::Rope;

/// Pieces of one socket write.
const SLICES_MAX: usize = 64;

/// What a peer that is sent away may still send before its socket is closed: closing with unread bytes would take our
/// last word back.
const FAREWELL_BYTES_MAX: usize = 256 * 1024;

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Both sides said so, or one closed its socket.
    Closed,
    /// By its own link.
    Aborted,
    /// The peer broke the rules.
    Violated(Violation),
    /// The socket broke.
    Broken(io::Error),
}

#[derive(Debug)]
pub(super) struct Connection<Io> {
    io: Io,
    shared: Arc<Shared>,
    /// Who we are.
    own: Sender,
    masks: Rng,
    deframer: Deframer,
    /// What is being written.
    writing: Rope,
    is_flushed: bool,
    /// The payload of the peer's last PING.
    pong: Option<Bytes>,
    leave_wanted: bool,
    /// The peer asked for another connection.
    pub(super) is_asked_to_leave: bool,
    /// Our Close, once it is decided on.
    close: Option<CloseReason>,
    close_is_written: bool,
    received_close: Option<Option<CloseReason>>,
    violation: Option<Violation>,
    /// What came after nothing more was wanted.
    discarded: usize,
    /// The peer's half of the socket is at its end; ours may have something to say.
    has_read_all: bool,
    farewell: Option<Pin<Box<Sleep>>>,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Connection<Io> {
    /// `early` are bytes that came with the opening.
    pub(super) fn new(io: Io, own: Sender, early: &[u8]) -> (Self, FrameReader, FrameWriter) {
        let peer = match own {
            Sender::Client => Sender::Server,
            Sender::Server => Sender::Client,
        };
        let mut deframer = Deframer::new(peer, EARLY_FRAME_BYTES_MAX);
        deframer.push(early);
        let shared = Shared::new();
        let reader = FrameReader::websocket(Incoming::new(Arc::clone(&shared)));
        let writer = FrameWriter::websocket(Outgoing::new(Arc::clone(&shared), own));
        let connection = Self {
            io,
            shared,
            own,
            masks: Rng::from_seed(os_seed()),
            deframer,
            writing: Rope::default(),
            is_flushed: true,
            pong: None,
            leave_wanted: false,
            is_asked_to_leave: false,
            close: None,
            close_is_written: false,
            received_close: None,
            violation: None,
            discarded: 0,
            has_read_all: false,
            farewell: None,
        };
        (connection, reader, writer)
    }

    /// Moves what can be moved; ready when nothing more will be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        {
            let mut state = self.shared.lock();
            state.connection = Some(cx.waker().clone());
            if state.is_aborted {
                return Poll::Ready(Ended::Aborted);
            }
        }
        if let Poll::Ready(ended) = self.poll_read(cx) {
            return Poll::Ready(ended);
        }
        match self.poll_write(cx) {
            Poll::Ready(Err(error)) => return Poll::Ready(self.broken(error)),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        self.poll_farewell(cx)
    }

    /// Asks the dialer to come with another connection.
    pub(super) fn ask_to_leave(&mut self) {
        self.leave_wanted = true;
    }

    /// Says goodbye without waiting for anybody; poll once more to have it written.
    pub(super) fn go_away(&mut self) {
        self.close.get_or_insert_with(|| CloseReason::code(GOING_AWAY));
    }

    /// Ends because the peer is found dead.
    pub(super) fn is_dead(&self) {
        let error = io::Error::new(io::ErrorKind::TimedOut, "no answer to a PING");
        self.shared.lock().end(LinkEnd::Socket(error));
    }

    /// For the keepalive of this connection.
    pub(super) fn pings(&self) -> WebSocketPings {
        WebSocketPings(Arc::clone(&self.shared))
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            if self.violation.is_some() || self.received_close.is_some() {
                return self.poll_discard(cx);
            }
            {
                let mut state = self.shared.lock();
                if state.takes_large_frames {
                    self.deframer.set_limit(FRAME_BYTES_MAX);
                }
                while !state.is_full() {
                    match self.deframer.next_event() {
                        Ok(Some(Event::Message(frame))) => state.push(frame),
                        // Only the last one needs an answer (RFC 6455 §5.5.3).
                        Ok(Some(Event::Ping(payload))) => self.pong = Some(payload),
                        Ok(Some(Event::Pong(payload))) if payload == LEAVE => self.is_asked_to_leave = true,
                        Ok(Some(Event::Pong(_))) => {
                            if state.ping == Ping::Sent {
                                state.ping = Ping::Answered;
                            }
                        }
                        Ok(Some(Event::Close(reason))) => {
                            let status = reason.as_ref().map_or_else(Status::ok, CloseReason::status);
                            state.end(LinkEnd::Ended(Some(status)));
                            self.received_close = Some(reason);
                            break;
                        }
                        Ok(None) => break,
                        Err(violation) => {
                            state.end(LinkEnd::WebSocket(violation));
                            self.violation = Some(violation);
                            self.close
                                .get_or_insert_with(|| CloseReason::code(violation.close_code()));
                            break;
                        }
                    }
                }
                if self.violation.is_some() || self.received_close.is_some() {
                    continue;
                }
                if state.is_full() {
                    return Poll::Pending;
                }
            }
            let read = {
                let reading = std::pin::pin!(self.io.read_buf(self.deframer.buffer()));
                ready!(reading.poll(cx))
            };
            match read {
                Ok(0) => return Poll::Ready(self.ended_by_the_socket()),
                Ok(_) => self.shared.lock().has_read = true,
                Err(error) => return Poll::Ready(self.broken(error)),
            }
        }
    }

    /// Reads on only to see the peer's end.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        if self.has_read_all {
            return Poll::Pending;
        }
        let mut scratch = BytesMut::with_capacity(4 * 1024);
        loop {
            scratch.clear();
            let read = {
                let reading = std::pin::pin!(self.io.read_buf(&mut scratch));
                ready!(reading.poll(cx))
            };
            match read {
                Ok(0) if self.violation.is_none() && !self.close_is_written => {
                    self.has_read_all = true;
                    return Poll::Pending;
                }
                Ok(0) => return Poll::Ready(self.ended_by_the_socket()),
                Ok(bytes) => {
                    self.discarded += bytes;
                    if self.discarded > FAREWELL_BYTES_MAX {
                        return Poll::Ready(self.end());
                    }
                }
                Err(error) => return Poll::Ready(self.broken(error)),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            if self.writing.is_empty() {
                self.fill();
            }
            if self.writing.is_empty() {
                if !self.is_flushed {
                    ready!(Pin::new(&mut self.io).poll_flush(cx))?;
                    self.is_flushed = true;
                }
                return Poll::Ready(Ok(()));
            }
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = self.writing.chunks_vectored(&mut slices);
            let io = Pin::new(&mut self.io);
            let written = if io.is_write_vectored() {
                io.poll_write_vectored(cx, slices.get(..count).unwrap_or_default())
            } else {
                io.poll_write(cx, self.writing.chunk())
            };
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.is_flushed = false;
            self.writing.advance(written);
        }
    }

    /// Chooses what is written next.
    fn fill(&mut self) {
        if self.close_is_written {
            return;
        }
        if let Some(payload) = self.pong.take() {
            self.control(Control::Pong, &payload);
        }
        let wants_a_ping = {
            let mut state = self.shared.lock();
            let is_wanted = state.ping == Ping::Wanted;
            if is_wanted {
                state.ping = Ping::Sent;
            }
            is_wanted
        };
        if wants_a_ping {
            self.control(Control::Ping, b"slim");
        }
        if std::mem::take(&mut self.leave_wanted) {
            self.control(Control::Pong, LEAVE);
        }
        if !self.writing.is_empty() {
            return;
        }
        // What was decided here goes before what the link still has; it is not wanted any more.
        if let Some(reason) = self.close.take() {
            return self.write_close(Some(&reason));
        }
        let finish = {
            let mut state = self.shared.lock();
            if !state.outgoing.is_empty() {
                self.writing = std::mem::take(&mut state.outgoing);
                state.wake_writer();
                return;
            }
            state.finish.take()
        };
        let Some(status) = finish else {
            return;
        };
        match &self.received_close {
            // An answer says what was said (A13).
            Some(reason) if status == Status::ok() => {
                let reason = reason.as_ref().map(|reason| CloseReason::code(reason.code));
                self.write_close(reason.as_ref());
            }
            Some(_) | None => self.write_close(Some(&CloseReason::of(&status))),
        }
    }

    fn write_close(&mut self, reason: Option<&CloseReason>) {
        let payload = reason.map(CloseReason::payload).unwrap_or_default();
        self.control(Control::Close, &payload);
        self.close_is_written = true;
    }

    fn control(&mut self, kind: Control, payload: &[u8]) {
        let mask = (self.own == Sender::Client).then(|| self.masks.next_u32().to_ne_bytes());
        self.writing
            .push(header(OpCode::Control(kind), mask, payload.len()));
        let mut payload = payload.to_vec();
        if let Some(mask) = mask {
            apply_mask(&mut payload, mask);
        }
        self.writing.push(payload.into());
    }

    /// When both sides have said their last word, or our link does not care for the peer's, what is left has a moment.
    /// A link that still reads has longer, by its own clock.
    fn poll_farewell(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        let (has_reader, will_finish) = {
            let state = self.shared.lock();
            (state.has_reader, state.finish.is_some())
        };
        let peer_is_done = self.received_close.is_some() || !has_reader;
        let we_are_done = self.close_is_written || will_finish;
        if !(self.violation.is_some() || peer_is_done && we_are_done) {
            return Poll::Pending;
        }
        let is_out = self.close_is_written && self.writing.is_empty() && self.is_flushed;
        // The acceptor closes first (RFC 6455 §7.1.1).
        let closes_now = self.own == Sender::Server || self.has_read_all;
        if is_out && closes_now && self.received_close.is_some() {
            let _ = Pin::new(&mut self.io).poll_shutdown(cx);
            return Poll::Ready(self.end());
        }
        let farewell = self.farewell.get_or_insert_with(|| Box::pin(sleep(FAREWELL)));
        ready!(farewell.as_mut().poll(cx));
        Poll::Ready(self.end())
    }

    fn end(&self) -> Ended {
        match self.violation {
            Some(violation) => Ended::Violated(violation),
            None => Ended::Closed,
        }
    }

    fn ended_by_the_socket(&self) -> Ended {
        let end = match self.deframer.is_between_messages() {
            true => LinkEnd::Ended(None),
            false => LinkEnd::HalfFrame,
        };
        self.shared.lock().end(end);
        self.end()
    }

    fn broken(&self, error: io::Error) -> Ended {
        if self.violation.is_some() || self.received_close.is_some() {
            return self.end();
        }
        let copy = io::Error::new(error.kind(), error.to_string());
        self.shared.lock().end(LinkEnd::Socket(copy));
        Ended::Broken(error)
    }
}

impl<Io> Drop for Connection<Io> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        state.outgoing = Rope::default();
        state.wake_reader();
        state.wake_writer();
    }
}
