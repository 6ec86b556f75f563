//! gRPC's message framing: one flag byte, four bytes big-endian length, then the frame (wire-routing A1).
//!
//! [`Deframer`] is a state machine over DATA chunks; it knows nothing of HTTP/2. Compression is never
//! negotiated, so the flag must be zero.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::frame::Frame;
use crate::limits::FRAME_BYTES_MAX;

/// Bytes before each frame.
pub const PREFIX_BYTES: usize = 5;

/// A peer that announces a large frame gets this much memory before it has sent as much.
const EARLY_BYTES_MAX: usize = 64 * 1024;

/// Why a byte stream is not a sequence of frames; the stream cannot go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeframeError {
    /// The flag byte is not zero.
    #[error("compressed gRPC message (flag {0}); compression was not negotiated")]
    Compressed(u8),
    /// The announced length is above the limit.
    #[error("gRPC message of {length} bytes; the limit is {limit}")]
    TooLarge {
        /// Announced bytes.
        length: usize,
        /// Allowed bytes.
        limit: usize,
    },
}

/// Cuts DATA chunks into frames. Frames inside one chunk share its memory; a frame that spans chunks is copied.
#[derive(Debug)]
pub struct Deframer {
    limit: usize,
    /// What is not yet read of the pushed chunks.
    input: Bytes,
    partial: Partial,
    failed: Option<DeframeError>,
}

/// The part of a frame that earlier chunks held.
#[derive(Debug)]
enum Partial {
    Prefix {
        bytes: [u8; PREFIX_BYTES],
        filled: usize,
    },
    Body {
        length: usize,
        bytes: BytesMut,
    },
}

impl Partial {
    const NOTHING: Self = Self::Prefix {
        bytes: [0; PREFIX_BYTES],
        filled: 0,
    };
}

impl Default for Deframer {
    fn default() -> Self {
        Self::new()
    }
}

impl Deframer {
    /// Accepts frames up to [`FRAME_BYTES_MAX`].
    pub fn new() -> Self {
        Self::with_limit(FRAME_BYTES_MAX)
    }

    /// Accepts frames up to `limit` bytes, for example while a link is not negotiated yet. Never more than
    /// [`FRAME_BYTES_MAX`].
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit: limit.min(FRAME_BYTES_MAX),
            input: Bytes::new(),
            partial: Partial::NOTHING,
            failed: None,
        }
    }

    /// Changes the limit for frames whose prefix is not read yet.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit.min(FRAME_BYTES_MAX);
    }

    /// Takes the next chunk. Call [`next_frame`](Self::next_frame) until it returns `None` before the next
    /// chunk; a chunk that comes earlier is appended with a copy.
    pub fn push(&mut self, chunk: Bytes) {
        if self.failed.is_some() {
            return;
        }
        if self.input.is_empty() {
            self.input = chunk;
            return;
        }
        let mut joined = BytesMut::with_capacity(self.input.len() + chunk.len());
        joined.put(std::mem::take(&mut self.input));
        joined.put(chunk);
        self.input = joined.freeze();
    }

    /// The next complete frame; `None` when more bytes are needed. An error is final and repeats.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, DeframeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.advance();
        if let Err(error) = result {
            self.failed = Some(error);
            self.input = Bytes::new();
            self.partial = Partial::NOTHING;
        }
        result
    }

    /// True if the stream may end here: no frame is half read.
    pub fn is_between_frames(&self) -> bool {
        self.input.is_empty() && matches!(self.partial, Partial::Prefix { filled: 0, .. })
    }

    fn advance(&mut self) -> Result<Option<Frame>, DeframeError> {
        loop {
            match &mut self.partial {
                Partial::Prefix { bytes, filled } => {
                    let wanted = &mut bytes[*filled..];
                    let count = wanted.len().min(self.input.len());
                    self.input.copy_to_slice(&mut wanted[..count]);
                    *filled += count;
                    if *filled < PREFIX_BYTES {
                        return Ok(None);
                    }
                    let length = self.checked_length()?;
                    if length <= self.input.len() {
                        self.partial = Partial::NOTHING;
                        return Ok(Some(frame(self.input.split_to(length))));
                    }
                    self.partial = Partial::Body {
                        length,
                        bytes: BytesMut::with_capacity(length.min(EARLY_BYTES_MAX)),
                    };
                }
                Partial::Body { length, bytes } => {
                    let missing = *length - bytes.len();
                    let count = missing.min(self.input.len());
                    if bytes.len() + count > bytes.capacity() {
                        bytes.reserve(missing);
                    }
                    bytes.put(self.input.split_to(count));
                    if bytes.len() < *length {
                        return Ok(None);
                    }
                    let whole = std::mem::take(bytes).freeze();
                    self.partial = Partial::NOTHING;
                    return Ok(Some(frame(whole)));
                }
            }
        }
    }

    /// The length in the complete prefix.
    fn checked_length(&self) -> Result<usize, DeframeError> {
        let Partial::Prefix {
            bytes: [flag, a, b, c, d],
            ..
        } = self.partial
        else {
            return Ok(0);
        };
        if flag != 0 {
            return Err(DeframeError::Compressed(flag));
        }
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        if length > self.limit {
            return Err(DeframeError::TooLarge {
                length,
                limit: self.limit,
            });
        }
        Ok(length)
    }
}

fn frame(bytes: Bytes) -> Frame {
    Frame::new(bytes).expect("the limit of a deframer is at most that of a frame")
}

/// Appends the prefix of a frame of `length` bytes.
pub fn put_prefix(output: &mut impl BufMut, length: usize) {
    debug_assert!(
        length <= FRAME_BYTES_MAX,
        "oversize frames are refused before framing"
    );
    output.put_u8(0);
    output.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// The prefix of a frame of `length` bytes.
pub fn prefix(length: usize) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(deframer: &mut Deframer) -> Vec<Bytes> {
        std::iter::from_fn(|| deframer.next_frame().unwrap())
            .map(Frame::into_bytes)
            .collect()
    }

    #[test]
    fn frames_inside_one_chunk_share_its_memory() {
        let chunk = Bytes::from_static(&[0, 0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9]);
        let mut deframer = Deframer::new();
        deframer.push(chunk.clone());
        let frames = drain(&mut deframer);
        assert_eq!(frames, [&[7, 8][..], &[], &[9]]);
        assert_eq!(frames[0].as_ptr(), chunk[5..].as_ptr());
        assert!(deframer.is_between_frames());
    }

    #[test]
    fn a_compressed_or_oversize_message_ends_the_stream() {
        let mut deframer = Deframer::new();
        deframer.push(Bytes::from_static(&[1, 0, 0, 0, 0]));
        assert_eq!(deframer.next_frame(), Err(DeframeError::Compressed(1)));
        deframer.push(Bytes::from_static(&[0, 0, 0, 0, 0]));
        assert_eq!(
            deframer.next_frame(),
            Err(DeframeError::Compressed(1)),
            "the error stays"
        );

        let mut at_limit = Deframer::with_limit(3);
        at_limit.push(Bytes::from_static(&[0, 0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 4]));
        assert!(at_limit.next_frame().unwrap().is_some());
        assert_eq!(
            at_limit.next_frame(),
            Err(DeframeError::TooLarge { length: 4, limit: 3 })
        );
    }

    #[test]
    fn an_announced_length_alone_reserves_little_memory() {
        let mut deframer = Deframer::new();
        deframer.push(Bytes::copy_from_slice(&prefix(FRAME_BYTES_MAX)));
        assert_eq!(deframer.next_frame(), Ok(None));
        let Partial::Body { bytes, .. } = &deframer.partial else {
            panic!("the prefix is complete");
        };
        assert!(bytes.capacity() <= 2 * EARLY_BYTES_MAX);
        assert!(!deframer.is_between_frames());
    }

    proptest! {
        #[test]
        fn chunking_does_not_change_the_frames(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..400), 0..12),
            cuts in proptest::collection::vec(1usize..60, 1..200),
            eager: bool,
        ) {
            let mut stream = BytesMut::new();
            for frame in &frames {
                put_prefix(&mut stream, frame.len());
                stream.put_slice(frame);
            }
            let mut stream = stream.freeze();
            let mut deframer = Deframer::new();
            let mut received = Vec::new();
            for cut in cuts.into_iter().cycle() {
                if stream.is_empty() {
                    break;
                }
                deframer.push(stream.split_to(cut.min(stream.len())));
                if eager {
                    received.extend(drain(&mut deframer));
                }
            }
            received.extend(drain(&mut deframer));
            prop_assert_eq!(received, frames);
            prop_assert!(deframer.is_between_frames());
        }
    }
}
