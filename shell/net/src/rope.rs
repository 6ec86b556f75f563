//! Several buffers that are written as one, without copying.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// A queue of bytes in pieces; the payload type of our HTTP/2 DATA frames.
#[derive(Clone, Debug, Default)]
pub struct Rope {
    pieces: VecDeque<Bytes>,
    bytes: usize,
}

impl Rope {
    /// Appends a piece; empty ones vanish.
    pub fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push_back(piece);
        }
    }

    /// Puts all of another one behind what is here.
    pub fn append(&mut self, mut other: Self) {
        self.bytes += other.bytes;
        self.pieces.append(&mut other.pieces);
    }

    /// Bytes left.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True if nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Takes at most the first `bytes` bytes.
    #[must_use]
    pub fn split_to(&mut self, bytes: usize) -> Self {
        if bytes >= self.bytes {
            return std::mem::take(self);
        }
        let mut front = Self::default();
        while front.bytes < bytes {
            let missing = bytes - front.bytes;
            let Some(piece) = self.pieces.front_mut() else {
                break;
            };
            let piece = if piece.len() > missing {
                piece.split_to(missing)
            } else {
                self.pieces.pop_front().unwrap_or_default()
            };
            self.bytes -= piece.len();
            front.push(piece);
        }
        front
    }
}

impl Buf for Rope {
    fn remaining(&self) -> usize {
        self.bytes
    }

    fn chunk(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| piece)
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        count
    }

    fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "advance beyond the end");
        self.bytes -= count;
        while count > 0 {
            let Some(piece) = self.pieces.front_mut() else {
                return;
            };
            if piece.len() > count {
                piece.advance(count);
                return;
            }
            count -= piece.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope(pieces: &[&'static str]) -> Rope {
        let mut rope = Rope::default();
        for piece in pieces {
            rope.push(Bytes::from_static(piece.as_bytes()));
        }
        rope
    }

    fn text(mut rope: Rope) -> String {
        let mut bytes = Vec::new();
        while rope.has_remaining() {
            let chunk = rope.chunk();
            bytes.extend_from_slice(chunk);
            let count = chunk.len();
            rope.advance(count);
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_split_at_any_byte_loses_and_copies_nothing() {
        for at in 0..=8 {
            let mut back = rope(&["ab", "", "cde", "f"]);
            let front = back.split_to(at);
            assert_eq!(front.len(), at.min(6));
            assert_eq!(front.len() + back.len(), 6);
            assert_eq!(text(front) + &text(back), "abcdef", "at {at}");
        }
    }

    #[test]
    fn advancing_steps_over_pieces() {
        for count in 0..=6 {
            let mut rope = rope(&["ab", "cde", "f"]);
            rope.advance(count);
            assert_eq!(rope.remaining(), 6 - count);
            assert_eq!(text(rope), "abcdef"[count..]);
        }
    }

    #[test]
    fn slices_come_in_order_and_as_many_as_fit() {
        let rope = rope(&["ab", "cde", "f"]);
        let mut slices = [IoSlice::new(&[]); 2];
        assert_eq!(rope.chunks_vectored(&mut slices), 2);
        assert_eq!((&*slices[0], &*slices[1]), (&b"ab"[..], &b"cde"[..]));
    }
}
