//! The one place where a node looks behind the routing header (Invariant 5): does a publish open a session?
//!
//! "May write to, but not invite" is a rule that the routing header cannot tell, so where rules are in force the
//! kind of the session message is read: one number of a small header beside it. Contents stay closed; they are
//! encrypted anyway.

use slim_proto::wire::{Fields, WireError};
use slim_proto::{Frame, HeaderView, MessageKind};

/// `session_message_type` in the session header (wire-routing A2.3).
const KIND_FIELD: u32 = 2;

/// True for the first steps of every session and membership: a discovery request or a join request (wire-session
/// §4.5). What comes after them answers, or needs a session that they made.
///
/// Reads as receivers do: the last of several fields counts, and only the low 32 bits of a number.
pub(crate) fn opens_session(frame: &Frame, header: &HeaderView<'_>) -> Result<bool, WireError> {
    let span = header.session_span().unwrap_or_default();
    let mut kind = 0;
    for field in Fields::of(frame.bytes().get(span).unwrap_or_default()) {
        let field = field?;
        if field.number == KIND_FIELD {
            kind = field.uint32()?;
        }
    }
    Ok([MessageKind::DiscoveryRequest, MessageKind::JoinRequest]
        .iter()
        .any(|opening| *opening as u32 == kind))
}

#[cfg(test)]
mod tests {
    use slim_proto::Content;
    use slim_proto::wire::put_varint_field;

    use super::*;
    use crate::testing::{name, publish_message};

    /// `None` for an error.
    fn opens(session_header: &[u8]) -> Option<bool> {
        // A publish whose session header is replaced by these bytes.
        let frame = Frame::new(publish_message(&name("a/b/c"), 1).encode()).unwrap();
        let routing = header_field(frame.bytes());
        let mut publish = routing.to_vec();
        slim_proto::wire::put_length_tag(&mut publish, 2, session_header.len());
        publish.extend_from_slice(session_header);
        let mut message = Vec::new();
        slim_proto::wire::put_length_tag(&mut message, 3, publish.len());
        message.extend_from_slice(&publish);
        let frame = Frame::new(message).unwrap();
        let header = HeaderView::parse(&frame).unwrap();
        opens_session(&frame, &header).ok()
    }

    /// The routing header's field with its tag.
    fn header_field(message: &[u8]) -> &[u8] {
        let publish = Fields::of(message).next().unwrap().unwrap().bytes().unwrap();
        let first = Fields::of(publish).next().unwrap().unwrap();
        assert_eq!(first.number, 1);
        &publish[first.span]
    }

    fn kind(value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        put_varint_field(&mut bytes, KIND_FIELD, value);
        bytes
    }

    #[test]
    fn only_discovery_and_join_requests_open_sessions() {
        for value in 0..=40 {
            let expected = [5, 7].contains(&value);
            assert_eq!(opens(&kind(value)), Some(expected), "{value}");
        }
        assert_eq!(opens(&[]), Some(false), "no kind at all");
    }

    #[test]
    fn a_kind_cannot_hide_from_the_node_what_receivers_read() {
        // The last one counts; the high half of a number does not.
        assert_eq!(opens(&[kind(1), kind(7)].concat()), Some(true));
        assert_eq!(opens(&[kind(7), kind(1)].concat()), Some(false));
        assert_eq!(opens(&kind(0x1_0000_0005)), Some(true));
        assert_eq!(opens(&[0x12, 0]), None, "text in the place of a number");
        assert_eq!(opens(&[0x08]), None, "cut off");
    }

    #[test]
    fn application_data_never_opens_a_session() {
        let mut message = publish_message(&name("a/b/c"), 1);
        for kind in &MessageKind::ALL[..4] {
            message.kind = *kind;
            assert!(matches!(message.content, Content::Application { .. }));
            let frame = Frame::new(message.encode()).unwrap();
            let header = HeaderView::parse(&frame).unwrap();
            assert_eq!(opens_session(&frame, &header), Ok(false));
        }
    }
}
