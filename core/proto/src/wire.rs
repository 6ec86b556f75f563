//! Protobuf's wire format at its lowest level: varints, tags and fields over a byte slice, without allocation.
//!
//! It knows no message types; `header`, `frame` and `splice` give field numbers a meaning. Groups (wire types 3
//! and 4) are refused: nobody sends them and skipping them needs recursion.

use std::ops::Range;

use bytes::BufMut;

/// Longest varint, in bytes.
pub const VARINT_BYTES_MAX: usize = 10;

/// Why bytes are not protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A field goes past the end.
    #[error("protobuf field at byte {at} is cut off")]
    Truncated {
        /// Where the field starts.
        at: usize,
    },
    /// A varint has more than 64 bits.
    #[error("varint at byte {at} has more than 64 bits")]
    Varint {
        /// Where it starts.
        at: usize,
    },
    /// A tag has field number zero, a number above 2^29-1, or a wire type that does not exist.
    #[error("bad protobuf tag {tag} at byte {at}")]
    Tag {
        /// The tag as read.
        tag: u64,
        /// Where it starts.
        at: usize,
    },
    /// A known field has the wrong wire type.
    #[error("protobuf field {field} has the wrong wire type")]
    WireType {
        /// The field number.
        field: u32,
    },
    /// A text field is not UTF-8.
    #[error("protobuf field {field} is not UTF-8")]
    Utf8 {
        /// The field number.
        field: u32,
    },
}

/// The payload of one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64([u8; 8]),
    /// Wire type 2: text, bytes or a message.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32([u8; 4]),
}

/// One field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Field number, 1 to 2^29-1.
    pub number: u32,
    /// Its payload.
    pub value: Value<'a>,
    /// Where the whole field with its tag lies in the scanned slice.
    pub span: Range<usize>,
}

impl<'a> Field<'a> {
    /// The payload of a varint field.
    pub fn varint(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            Value::Fixed64(_) | Value::Bytes(_) | Value::Fixed32(_) => Err(self.wrong_type()),
        }
    }

    /// The payload of a uint32 field; higher bits are cut off, as every protobuf library does.
    pub fn uint32(&self) -> Result<u32, WireError> {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "protobuf defines uint32 parsing so"
        )]
        self.varint().map(|value| value as u32)
    }

    /// The payload of a bytes or message field.
    pub fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            Value::Varint(_) | Value::Fixed64(_) | Value::Fixed32(_) => Err(self.wrong_type()),
        }
    }

    /// The payload of a string field.
    pub fn text(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| WireError::Utf8 { field: self.number })
    }

    /// Where the payload of a bytes or message field lies in the scanned slice.
    pub fn payload_span(&self) -> Result<Range<usize>, WireError> {
        let length = self.bytes()?.len();
        Ok(self.span.end - length..self.span.end)
    }

    fn wrong_type(&self) -> WireError {
        WireError::WireType { field: self.number }
    }
}

/// Walks the fields of one message; ends after the last field or the first error.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Fields of the message in `bytes`.
    pub fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        // Nearly every tag and length has one byte.
        if let Some(&byte) = self.bytes.get(self.at)
            && byte < 0x80
        {
            self.at += 1;
            return Ok(u64::from(byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let start = self.at;
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = *self
                .bytes
                .get(self.at)
                .ok_or(WireError::Truncated { at: start })?;
            self.at += 1;
            // The tenth byte holds only bit 63.
            if shift == 63 && byte > 1 {
                return Err(WireError::Varint { at: start });
            }
            value |= u64::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::Varint { at: start })
    }

    fn take(&mut self, length: u64, start: usize) -> Result<&'a [u8], WireError> {
        let truncated = WireError::Truncated { at: start };
        let length = usize::try_from(length).map_err(|_| truncated)?;
        let end = self.at.checked_add(length).ok_or(truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, start: usize) -> Result<[u8; N], WireError> {
        let taken = self.take(N as u64, start)?;
        taken.try_into().map_err(|_| WireError::Truncated { at: start })
    }

    fn field(&mut self) -> Result<Field<'a>, WireError> {
        let start = self.at;
        let tag = self.varint()?;
        let bad_tag = WireError::Tag { tag, at: start };
        let number = u32::try_from(tag >> 3).map_err(|_| bad_tag)?;
        if number == 0 || number > (1 << 29) - 1 {
            return Err(bad_tag);
        }
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.array(start)?),
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length, start)?)
            }
            5 => Value::Fixed32(self.array(start)?),
            _ => return Err(bad_tag),
        };
        Ok(Field {
            number,
            value,
            span: start..self.at,
        })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.at = self.bytes.len();
        }
        Some(field)
    }
}

/// Bytes that `value` needs as a varint.
pub fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value` as a varint.
pub fn put_varint(output: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        #[allow(clippy::cast_possible_truncation, reason = "the low seven bits are meant")]
        output.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    #[allow(clippy::cast_possible_truncation, reason = "below 0x80 here")]
    output.put_u8(value as u8);
}

/// Appends tag and length of a bytes or message field; the payload follows.
pub fn put_length_tag(output: &mut impl BufMut, number: u32, length: usize) {
    put_varint(output, u64::from(number) << 3 | 2);
    put_varint(output, length as u64);
}

/// Bytes that [`put_length_tag`] writes.
pub fn length_tag_len(number: u32, length: usize) -> usize {
    varint_len(u64::from(number) << 3) + varint_len(length as u64)
}

/// Appends a varint field.
pub fn put_varint_field(output: &mut impl BufMut, number: u32, value: u64) {
    put_varint(output, u64::from(number) << 3);
    put_varint(output, value);
}

/// Bytes that [`put_varint_field`] writes.
pub fn varint_field_len(number: u32, value: u64) -> usize {
    varint_len(u64::from(number) << 3) + varint_len(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_field_that_goes_past_the_end_is_refused() {
        for bytes in [
            &[0x0A, 5, 1, 2][..],
            &[0x08],
            &[0x08, 0x80],
            &[0x09, 1, 2],
            &[0x0D, 1],
        ] {
            assert!(matches!(
                Fields::of(bytes).next(),
                Some(Err(WireError::Truncated { .. }))
            ));
        }
        // A length near 2^64 must not wrap around.
        let huge = [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        assert_eq!(
            Fields::of(&huge).next(),
            Some(Err(WireError::Truncated { at: 0 }))
        );
    }

    #[test]
    fn groups_and_field_number_zero_are_refused() {
        for tag in [0x00u8, 0x02, 0x0B, 0x0C, 0x0E, 0x0F] {
            let bytes = [tag, 0, 0];
            assert!(
                matches!(Fields::of(&bytes).next(), Some(Err(WireError::Tag { .. }))),
                "{tag:#x}"
            );
        }
    }

    #[test]
    fn a_varint_has_at_most_64_bits() {
        let most = [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        let field = Fields::of(&most).next().unwrap().unwrap();
        assert_eq!(field.varint(), Ok(u64::MAX));
        let mut more = most;
        more[10] = 0x02;
        assert_eq!(Fields::of(&more).next(), Some(Err(WireError::Varint { at: 1 })));
    }

    proptest! {
        #[test]
        fn varints_come_back_and_have_the_announced_length(value: u64, number in 1u32..(1 << 29)) {
            let mut bytes = Vec::new();
            put_varint_field(&mut bytes, number, value);
            prop_assert_eq!(bytes.len(), varint_field_len(number, value));
            let field = Fields::of(&bytes).next().unwrap().unwrap();
            prop_assert_eq!((field.number, field.varint()), (number, Ok(value)));
        }

        #[test]
        fn any_bytes_end_without_panic(bytes: Vec<u8>) {
            let fields = Fields::of(&bytes).count();
            prop_assert!(fields <= bytes.len());
        }
    }
}
