//! The bytes of a WebSocket peer as events: messages whole, control frames as they come (RFC 6455 §5).
//!
//! A state machine over bytes; it knows no socket and answers nothing. A peer gets memory for what it has sent, not
//! for what it announces.

use std::io::Cursor;

use bytes::{Buf as _, Bytes, BytesMut};
use slim_proto::Frame;
use slim_proto::limits::FRAME_BYTES_MAX;
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::close::{CloseReason, read_close};

/// Payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Room for one read of a socket.
const READ_BYTES: usize = 16 * 1024;

/// A peer that has sent this much of a message gets the rest of its memory at once.
const EARLY_BYTES_MAX: usize = 64 * 1024;

/// Something that a peer said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole binary message.
    Message(Frame),
    /// To be answered with a Pong of the same payload.
    Ping(Bytes),
    /// An answer, or said unasked.
    Pong(Bytes),
    /// Its last word.
    Close(Option<CloseReason>),
}

/// Why bytes are not what a peer of a link sends; the connection cannot go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Links carry protobuf.
    #[error("text message; links carry binary messages")]
    Text,
    /// A reserved number.
    #[error("unknown WebSocket frame type")]
    Opcode,
    /// A reserved bit; no extension was agreed on.
    #[error("WebSocket extension in use that was not agreed on")]
    Extension,
    /// A client's frame without mask.
    #[error("unmasked frame of a client")]
    Unmasked,
    /// A server's frame with one.
    #[error("masked frame of a server")]
    Masked,
    /// A control frame in parts, or longer than it may be.
    #[error("control frame in parts or of more than {CONTROL_BYTES_MAX} bytes")]
    Control,
    /// A part of a message that did not begin.
    #[error("continuation of no message")]
    Continuation,
    /// A message inside another one.
    #[error("new message before the end of the one before")]
    Interrupted,
    /// More bytes than a message may have.
    #[error("message of {length} bytes or more; the limit is {limit}")]
    TooLarge {
        /// Bytes that were announced.
        length: u64,
        /// Bytes that are allowed.
        limit: usize,
    },
    /// A Close without proper code or text.
    #[error("malformed Close")]
    Close,
    /// A message that is no frame of the data plane.
    #[error("undecodable message")]
    Undecodable,
}

/// Which side's bytes these are: clients mask theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The dialer.
    Client,
    /// The acceptor.
    Server,
}

/// Cuts bytes into events.
#[derive(Debug)]
pub struct Deframer {
    sender: Sender,
    limit: usize,
    input: BytesMut,
    /// The frame whose payload is awaited.
    header: Option<Header>,
    /// The parts of a message so far.
    parts: Option<BytesMut>,
    failed: Option<Violation>,
}

#[derive(Clone, Copy, Debug)]
struct Header {
    opcode: OpCode,
    is_final: bool,
    mask: Option<[u8; 4]>,
    length: usize,
}

impl Deframer {
    /// Accepts messages up to `limit` bytes, and never more than [`FRAME_BYTES_MAX`].
    pub fn new(sender: Sender, limit: usize) -> Self {
        Self {
            sender,
            limit: limit.min(FRAME_BYTES_MAX),
            input: BytesMut::new(),
            header: None,
            parts: None,
            failed: None,
        }
    }

    /// Changes the limit for frames whose header is not read yet.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(FRAME_BYTES_MAX);
    }

    /// Takes bytes. Call [`next_event`](Self::next_event) until it returns `None` before the next ones.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Where the next bytes of the peer are to be appended, with room for them.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        let missing = match self.header {
            Some(header) if self.input.len() >= EARLY_BYTES_MAX => {
                header.length.saturating_sub(self.input.len())
            }
            Some(_) | None => READ_BYTES,
        };
        if self.input.capacity() - self.input.len() < missing.min(READ_BYTES / 4) {
            self.input.reserve(missing.max(READ_BYTES));
        }
        &mut self.input
    }

    /// The next event; `None` when more bytes are needed. An error is final and repeats.
    pub fn next_event(&mut self) -> Result<Option<Event>, Violation> {
        if let Some(violation) = self.failed {
            return Err(violation);
        }
        let event = self.advance();
        if let Err(violation) = event {
            self.failed = Some(violation);
            self.input = BytesMut::new();
            self.parts = None;
        }
        event
    }

    /// True if the stream may end here: nothing is half read.
    pub fn is_between_messages(&self) -> bool {
        self.input.is_empty() && self.header.is_none() && self.parts.is_none()
    }

    fn advance(&mut self) -> Result<Option<Event>, Violation> {
        loop {
            let header = match self.header {
                Some(header) => header,
                None => match self.read_header()? {
                    Some(header) => *self.header.insert(header),
                    None => return Ok(None),
                },
            };
            if self.input.len() < header.length {
                return Ok(None);
            }
            self.header = None;
            let mut payload = self.input.split_to(header.length);
            if let Some(mask) = header.mask {
                apply_mask(&mut payload, mask);
            }
            let event = match header.opcode {
                OpCode::Control(Control::Ping) => Event::Ping(payload.freeze()),
                OpCode::Control(Control::Pong) => Event::Pong(payload.freeze()),
                OpCode::Control(Control::Close) => Event::Close(read_close(&payload)?),
                OpCode::Control(Control::Reserved(_)) | OpCode::Data(Data::Reserved(_)) => {
                    return Err(Violation::Opcode);
                }
                OpCode::Data(Data::Text | Data::Binary | Data::Continue) => {
                    match self.message(header.is_final, payload) {
                        Some(message) => Event::Message(checked(message)?),
                        None => continue,
                    }
                }
            };
            return Ok(Some(event));
        }
    }

    /// The whole message, if this part is its last.
    fn message(&mut self, is_final: bool, part: BytesMut) -> Option<BytesMut> {
        let message = match self.parts.take() {
            None => part,
            Some(mut parts) => {
                parts.extend_from_slice(&part);
                parts
            }
        };
        if is_final {
            return Some(message);
        }
        self.parts = Some(message);
        None
    }

    fn read_header(&mut self) -> Result<Option<Header>, Violation> {
        let mut cursor = Cursor::new(&self.input[..]);
        // The library's errors are about the type of the frame; a slice fails in no other way.
        let Some((header, length)) = FrameHeader::parse(&mut cursor).map_err(|_| Violation::Opcode)? else {
            return Ok(None);
        };
        let header_bytes = usize::try_from(cursor.position()).unwrap_or(self.input.len());
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Violation::Extension);
        }
        match (self.sender, header.mask) {
            (Sender::Client, None) => return Err(Violation::Unmasked),
            (Sender::Server, Some(_)) => return Err(Violation::Masked),
            (Sender::Client, Some(_)) | (Sender::Server, None) => {}
        }
        let so_far = self.parts.as_ref().map_or(0, BytesMut::len);
        let limit = match header.opcode {
            OpCode::Control(_) if !header.is_final || length > CONTROL_BYTES_MAX as u64 => {
                return Err(Violation::Control);
            }
            OpCode::Control(_) => CONTROL_BYTES_MAX,
            OpCode::Data(Data::Text) => return Err(Violation::Text),
            OpCode::Data(Data::Continue) if self.parts.is_none() => return Err(Violation::Continuation),
            OpCode::Data(Data::Binary) if self.parts.is_some() => return Err(Violation::Interrupted),
            OpCode::Data(_) => self.limit.saturating_sub(so_far),
        };
        let length = match usize::try_from(length) {
            Ok(length) if length <= limit => length,
            Ok(_) | Err(_) => {
                return Err(Violation::TooLarge {
                    length: length.saturating_add(so_far as u64),
                    limit: self.limit,
                });
            }
        };
        self.input.advance(header_bytes);
        Ok(Some(Header {
            opcode: header.opcode,
            is_final: header.is_final,
            mask: header.mask,
            length,
        }))
    }
}

/// Everything that a peer's bytes say, up to the first violation: for tests and fuzzing.
pub fn events(sender: Sender, limit: usize, bytes: &[u8]) -> (Vec<Event>, Option<Violation>) {
    let mut deframer = Deframer::new(sender, limit);
    deframer.push(bytes);
    let mut events = Vec::new();
    loop {
        match deframer.next_event() {
            Ok(Some(event)) => events.push(event),
            Ok(None) => return (events, None),
            Err(violation) => return (events, Some(violation)),
        }
    }
}

/// A message that is a frame of the data plane by its outer tags; peers that send others are cut off (A13).
fn checked(message: BytesMut) -> Result<Frame, Violation> {
    let frame = Frame::new(message.freeze()).map_err(|_| Violation::Undecodable)?;
    match frame.kind() {
        // What a member of the future looks like is the router's to count.
        Ok(_) | Err(slim_proto::FrameError::Empty) => Ok(frame),
        Err(_) => Err(Violation::Undecodable),
    }
}

/// Masks or unmasks (RFC 6455 §5.3).
pub(super) fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let word = u32::from_ne_bytes(mask);
    let (words, rest) = payload.as_chunks_mut::<4>();
    for bytes in words {
        *bytes = (u32::from_ne_bytes(*bytes) ^ word).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests;
