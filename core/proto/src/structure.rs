//! Whether what stands behind the routing header of a publish can be decoded at all.
//!
//! Some receivers end their whole link when one message does not decode, so a stranger's broken message must not
//! reach them. Nothing is decoded here: a walk over tags and lengths by the schema of wire-routing A2, without
//! allocation, that looks at no value but whether text is UTF-8. Unknown fields pass, as receivers skip them.

use crate::frame::{Frame, FrameError};
use crate::wire::{Field, Fields, WireError};

/// What a field must be.
#[derive(Clone, Copy, Debug)]
enum Shape {
    Number,
    Text,
    Bytes,
    Message(&'static Schema),
    /// The routing header: parsed before (`HeaderView`).
    Seen,
}

use Shape::{Bytes, Message, Number, Seen, Text};

/// The known fields of a message, by number from 1.
type Schema = [Shape];

const ENCODED_NAME: &Schema = &[Number, Number, Number, Message(TWO_NUMBERS)];
const STRING_NAME: &Schema = &[Text, Text, Text];
const NAME: &Schema = &[Message(ENCODED_NAME), Message(STRING_NAME)];
const EMPTY: &Schema = &[];
const TWO_NUMBERS: &Schema = &[Number, Number];
const SESSION_HEADER: &Schema = &[Number, Number, Number, Number];
const PARTICIPANT: &Schema = &[Message(NAME), Message(TWO_NUMBERS), Number];
const NUMBER_AND_BYTES: &Schema = &[Number, Bytes];
const NAME_AND_BYTES: &Schema = &[Message(NAME), Bytes];

/// `CommandPayload`, in the order of wire-routing A2.5.
const COMMAND: &Schema = &[
    Message(EMPTY),
    Message(EMPTY),
    // join request: timer settings, channel, control, MLS settings
    Message(&[
        Message(TWO_NUMBERS),
        Message(NAME),
        Message(NAME),
        Message(&[Number]),
    ]),
    Message(&[Bytes, Message(PARTICIPANT)]),
    Message(EMPTY),
    Message(EMPTY),
    // group update, welcome, close
    Message(&[
        Number,
        Message(PARTICIPANT),
        Message(PARTICIPANT),
        Message(NUMBER_AND_BYTES),
    ]),
    Message(&[Message(PARTICIPANT), Message(NUMBER_AND_BYTES)]),
    Message(&[Message(NAME)]),
    Message(NAME_AND_BYTES),
    Message(EMPTY),
    Message(EMPTY),
    // heartbeat, participant state, rejoin
    Message(&[Number]),
    Message(&[Message(NAME), Number, Number]),
    Message(NAME_AND_BYTES),
    Message(NUMBER_AND_BYTES),
];
const CONTENT: &Schema = &[Message(&[Text, Bytes]), Message(COMMAND)];
const PUBLISH: &Schema = &[Seen, Message(SESSION_HEADER), Message(CONTENT)];
/// The outer message of a publish: the other members of its oneof are not there, metadata may be.
const OUTER: &Schema = &[Seen, Seen, Message(PUBLISH), Message(&[Text, Text])];

/// Fails if a receiver could not decode this publish. Its routing header must have been parsed before.
pub fn check_publish(frame: &Frame) -> Result<(), FrameError> {
    Ok(check(frame.bytes(), OUTER)?)
}

/// Recursive, but only as deep as the schema: six messages.
fn check(bytes: &[u8], schema: &Schema) -> Result<(), WireError> {
    for field in Fields::of(bytes) {
        let field = field?;
        let shape = (field.number as usize)
            .checked_sub(1)
            .and_then(|index| schema.get(index));
        if let Some(shape) = shape {
            check_field(&field, *shape)?;
        }
    }
    Ok(())
}

fn check_field(field: &Field<'_>, shape: Shape) -> Result<(), WireError> {
    match shape {
        Number => field.varint().map(drop),
        Text => field.text().map(drop),
        Bytes | Seen => field.bytes().map(drop),
        Message(schema) => check(field.bytes()?, schema),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::r#gen as wire;
    use crate::{FrameKind, HeaderView};

    /// The recorded publishes.
    static PUBLISHES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
        crate::recordings::frame_bytes()
            .filter(|bytes| Frame::new(bytes.clone()).unwrap().kind() == Ok(FrameKind::Publish))
            .map(|bytes| bytes.to_vec())
            .collect()
    });

    /// What a node accepts, by the two checks that it makes.
    fn accepted(bytes: &[u8]) -> bool {
        let frame = Frame::new(bytes.to_vec()).unwrap();
        HeaderView::parse(&frame).is_ok_and(|header| header.kind == FrameKind::Publish)
            && check_publish(&frame).is_ok()
    }

    #[test]
    fn every_recorded_publish_is_accepted() {
        assert!(PUBLISHES.len() > 100, "{}", PUBLISHES.len());
        for bytes in PUBLISHES.iter() {
            assert!(accepted(bytes));
        }
    }

    #[test]
    fn what_receivers_cannot_decode_is_refused() {
        let bytes = PUBLISHES[0].clone();
        let original = wire::Message::decode(&bytes[..]).unwrap();
        let Some(wire::message::MessageType::Publish(publish)) = &original.message_type else {
            panic!("a publish");
        };
        let header = publish.header.as_ref().unwrap().encode_to_vec();
        // header, an empty session header, and a content that is no message: a length past the end, text that is
        // no UTF-8, a number in the place of a message, a group.
        for content in [
            &[0x0A, 0x05, 0x0A][..],
            &[0x0A, 0x03, 0x0A, 0x01, 0xFF],
            &[0x0A, 0x02, 0x08, 0x01],
            &[0x10, 0x01],
            &[0x0B, 0x0C],
            &[0x12, 0x04, 0x1A, 0x02, 0x12, 0x07],
        ] {
            let mut publish = Vec::new();
            crate::wire::put_length_tag(&mut publish, 1, header.len());
            publish.extend_from_slice(&header);
            publish.extend_from_slice(&[0x12, 0]);
            crate::wire::put_length_tag(&mut publish, 3, content.len());
            publish.extend_from_slice(content);
            let mut message = Vec::new();
            crate::wire::put_length_tag(&mut message, 3, publish.len());
            message.extend_from_slice(&publish);
            assert!(wire::Message::decode(&message[..]).is_err(), "{content:?}");
            assert!(HeaderView::parse(&Frame::new(message.clone()).unwrap()).is_ok());
            assert!(!accepted(&message), "{content:?}");
        }
        // Metadata that is no pair of texts.
        for metadata in [&[0x22, 0x03, 0x0A, 0x01, 0xFF][..], &[0x22, 0x02, 0x08, 0x01]] {
            assert!(!accepted(&[&bytes, metadata].concat()));
        }
        // A field of the future is none of our business.
        assert!(accepted(&[&bytes[..], &[0x7A, 0x01, 0xFF]].concat()));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        /// A few bytes of a real message are changed: what a node accepts, a receiver decodes.
        #[test]
        fn what_is_accepted_can_be_decoded(
            which in any::<prop::sample::Index>(),
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = which.get(&PUBLISHES).clone();
            for (at, value) in changes {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if accepted(&bytes) {
                prop_assert!(wire::Message::decode(&bytes[..]).is_ok());
            }
        }
    }
}
