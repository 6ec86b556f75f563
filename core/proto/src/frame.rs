//! One protobuf `Message` as bytes, as it travels between links.
//!
//! A frame is never decoded here: [`Frame::kind`] looks at the outer tags only, `header` at the header.

use bytes::Bytes;

use crate::limits::FRAME_BYTES_MAX;
use crate::wire::{Fields, WireError};

/// One `dataplane.proto.v1.Message`, at most [`FRAME_BYTES_MAX`] bytes; the content may be anything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Frame(Bytes);

/// Which member of the outer oneof a frame has (wire-routing A2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrameKind {
    /// Announces interest in a name.
    Subscribe,
    /// Takes that back.
    Unsubscribe,
    /// Carries a session message.
    Publish,
    /// Link negotiation.
    Link,
    /// Answers a subscribe or unsubscribe.
    SubscriptionAck,
}

impl FrameKind {
    /// Field number in the outer message.
    pub fn field(self) -> u32 {
        match self {
            Self::Subscribe => 1,
            Self::Unsubscribe => 2,
            Self::Publish => 3,
            Self::Link => 5,
            Self::SubscriptionAck => 6,
        }
    }

    pub(crate) fn of_field(field: u32) -> Option<Self> {
        match field {
            1 => Some(Self::Subscribe),
            2 => Some(Self::Unsubscribe),
            3 => Some(Self::Publish),
            5 => Some(Self::Link),
            6 => Some(Self::SubscriptionAck),
            _ => None,
        }
    }
}

/// Why bytes are not a frame that a node looks at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// More bytes than a frame may have.
    #[error("frame of {0} bytes; the limit is {FRAME_BYTES_MAX}")]
    TooLarge(usize),
    /// Not protobuf.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// No member of the oneof (wire-routing C12); also what a member of the future looks like.
    #[error("message without a known member")]
    Empty,
    /// A part that may be there once is there again. Protobuf would merge the two; nobody sends that, and a
    /// node must not see another message than the receiver does.
    #[error("{0} is there more than once")]
    Repeated(&'static str),
    /// A required part is absent (wire-routing A6).
    #[error("missing {0}")]
    Missing(&'static str),
    /// Another kind than the caller wants.
    #[error("unexpected {0:?} frame")]
    Unexpected(FrameKind),
}

impl Frame {
    /// A frame of these bytes. Fails only when there are more than [`FRAME_BYTES_MAX`].
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, FrameError> {
        let bytes = bytes.into();
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(FrameError::TooLarge(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes, by value.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// The kind, from the outer tags.
    pub fn kind(&self) -> Result<FrameKind, FrameError> {
        let mut kind = None;
        for field in Fields::of(&self.0) {
            let field = field?;
            if let Some(found) = FrameKind::of_field(field.number) {
                field.bytes()?;
                if kind.replace(found).is_some() {
                    return Err(FrameError::Repeated("message type"));
                }
            }
        }
        kind.ok_or(FrameError::Empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_the_one_member_of_the_oneof() {
        for (tag, kind) in [
            (0x0Au8, FrameKind::Subscribe),
            (0x12, FrameKind::Unsubscribe),
            (0x1A, FrameKind::Publish),
            (0x2A, FrameKind::Link),
            (0x32, FrameKind::SubscriptionAck),
        ] {
            assert_eq!(Frame::new(vec![tag, 0]).unwrap().kind(), Ok(kind));
            // Metadata (field 4) and unknown fields change nothing, in any place.
            assert_eq!(
                Frame::new(vec![0x22, 0, 0x7A, 0, tag, 0, 0x22, 0])
                    .unwrap()
                    .kind(),
                Ok(kind)
            );
        }
    }

    #[test]
    fn a_message_without_or_with_two_members_has_no_kind() {
        assert_eq!(Frame::new(vec![]).unwrap().kind(), Err(FrameError::Empty));
        assert_eq!(Frame::new(vec![0x22, 0]).unwrap().kind(), Err(FrameError::Empty));
        assert_eq!(
            Frame::new(vec![0x0A, 0, 0x12, 0]).unwrap().kind(),
            Err(FrameError::Repeated("message type"))
        );
        assert_eq!(
            Frame::new(vec![0x08, 1]).unwrap().kind(),
            Err(FrameError::Wire(WireError::WireType { field: 1 }))
        );
    }

    #[test]
    fn a_frame_of_the_largest_size_is_allowed_and_one_byte_more_is_not() {
        assert!(Frame::new(vec![0; FRAME_BYTES_MAX]).is_ok());
        assert_eq!(
            Frame::new(vec![0; FRAME_BYTES_MAX + 1]),
            Err(FrameError::TooLarge(FRAME_BYTES_MAX + 1))
        );
    }
}
