//! Which generation a link speaks, told from its first message (wire-1x X3.1).

use slim_proto::wire::{Field, Fields, Value, WireError};

/// A generation with tables of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dialect {
    /// 0.4 and 0.5: a service path of its own, no answers of any kind.
    V0_4,
    /// 0.7 to 1.x: the path of today, another header, ids of 64 bits.
    V1,
}

impl Dialect {
    /// For logs and documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::V0_4 => "0.4",
            Self::V1 => "1.x",
        }
    }
}

/// What the first message of a link on today's path says of its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// Today's, or something that today's rules close.
    Current,
    /// 1.x, with negotiation or without.
    V1,
    /// 0.6, which is not served: its header is that of 0.4 on today's path.
    V0_6,
}

/// Fields of a Link request that only today's generation fills.
const CURRENT_LINK_FIELDS: std::ops::RangeInclusive<u32> = 4..=8;

impl First {
    /// Looks at a message without any one schema: only the outer number and the wire types of a few nested fields.
    /// What cannot be read is today's, whose rules close it.
    pub fn of(frame: &[u8]) -> Self {
        look(frame).unwrap_or(Self::Current)
    }
}

fn look(frame: &[u8]) -> Result<First, WireError> {
    for outer in Fields::of(frame) {
        let outer = outer?;
        match outer.number {
            1..=3 => return of_header(&outer),
            5 => return of_link(outer.bytes()?),
            _ => {}
        }
    }
    Ok(First::Current)
}

fn of_header(member: &Field<'_>) -> Result<First, WireError> {
    let header = Fields::of(member.bytes()?).find_map(|field| match field {
        Ok(field) if field.number == 1 => field.bytes().ok(),
        Ok(_) | Err(_) => None,
    });
    let Some(header) = header else {
        return Ok(First::Current);
    };
    let mut source_is_nested = None;
    for field in Fields::of(header) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(source)) => source_is_nested = starts_nested(source)?,
            // Fanout and identity change places: a text at 3 or a number at 4 is today's header. In 0.6 number 4 is
            // recvFrom, a number too, but its names are not nested.
            (3, Value::Bytes(_)) | (4, Value::Varint(_)) if source_is_nested != Some(false) => {
                return Ok(First::Current);
            }
            _ => {}
        }
    }
    Ok(match source_is_nested {
        Some(true) => First::V1,
        Some(false) => First::V0_6,
        None => First::Current,
    })
}

/// True if a name's first field is a message (today and 1.x), false if it is a hash (0.6).
fn starts_nested(name: &[u8]) -> Result<Option<bool>, WireError> {
    let Some(first) = Fields::of(name).next() else {
        return Ok(None);
    };
    let first = first?;
    Ok(match (first.number, first.value) {
        (1, Value::Bytes(_)) => Some(true),
        (1, Value::Varint(_)) => Some(false),
        _ => None,
    })
}

/// A bare request of a version 1 is 1.x; today's fill further fields whatever version they announce.
fn of_link(link: &[u8]) -> Result<First, WireError> {
    let mut is_v1 = false;
    for negotiation in Fields::of(link) {
        let negotiation = negotiation?;
        if negotiation.number != 1 {
            continue;
        }
        for field in Fields::of(negotiation.bytes()?) {
            let field = field?;
            if CURRENT_LINK_FIELDS.contains(&field.number) {
                return Ok(First::Current);
            }
            if field.number == 2 {
                is_v1 = major(field.text()?) == Some(1);
            }
        }
    }
    Ok(if is_v1 { First::V1 } else { First::Current })
}

fn major(version: &str) -> Option<u64> {
    let mut parts = version.split('.');
    let major = parts.next()?.parse().ok()?;
    // A version has three parts; less is none.
    parts.next()?.parse::<u64>().ok()?;
    parts.next().map(|_| major)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_three_parts() {
        assert_eq!(major("1.4.0"), Some(1));
        assert_eq!(major("3.4.6"), Some(3));
        assert_eq!(major("1.4.0-rc.1"), Some(1));
        for bad in ["", "1", "1.4", "one.4.0", "v1.4.0"] {
            assert_eq!(major(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_for_todays_rules() {
        for garbage in [&b""[..], b"\xff", b"\x0a\x05\x00", b"\x22\x00", b"\x2a\x00"] {
            assert_eq!(First::of(garbage), First::Current, "{garbage:?}");
        }
    }
}
