//! Pieces of frames that wait to be written together.

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::rope::Rope;

/// Pieces up to this size are copied together before they are written. A socket write takes as many bytes as it gets
/// pieces for, and each piece costs about as much as copying it; larger ones go as they are.
const GATHER_BYTES_MAX: usize = 4 * 1024;

/// Block that small pieces are gathered in: one DATA frame of HTTP/2's default size.
const GATHER_BLOCK_BYTES: usize = 16 * 1024;

/// A rope whose small pieces are copied together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    sealed: Rope,
    /// Small pieces behind `sealed`, in one block.
    gathered: BytesMut,
}

impl Batch {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.len() > GATHER_BYTES_MAX {
            self.seal();
            self.sealed.push(piece);
            return;
        }
        if self.gathered.capacity() - self.gathered.len() < piece.len() {
            self.seal();
            // The block before last is free again when it has been written, and is then used again.
            self.gathered.reserve(GATHER_BLOCK_BYTES);
        }
        self.gathered.put(piece);
    }

    fn seal(&mut self) {
        if !self.gathered.is_empty() {
            self.sealed.push(self.gathered.split().freeze());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sealed.len() + self.gathered.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Everything so far, in order; what is left in it belongs to the batch again.
    pub(crate) fn sealed(&mut self) -> &mut Rope {
        self.seal();
        &mut self.sealed
    }

    /// Everything so far.
    pub(crate) fn take(&mut self) -> Rope {
        std::mem::take(self.sealed())
    }
}
