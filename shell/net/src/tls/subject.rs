//! A distinguished name in the form of RFC 4514.
//!
//! The text decides over permissions, so two different names must never look the same: everything that could be
//! part of the notation is escaped, and what cannot be read is shown as hexadecimal bytes.

use std::fmt::Write as _;

/// Writes the content of a certificate's subject (without the outer SEQUENCE), the most specific part first.
pub(super) fn subject(mut der: &[u8]) -> String {
    let whole = der;
    let mut parts = Vec::new();
    while !der.is_empty() {
        let Some(part) = take(&mut der, SET).and_then(relative_name) else {
            return hexadecimal(whole);
        };
        parts.push(part);
    }
    parts.reverse();
    parts.join(",")
}

const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// One or more attributes: `CN=a+UID=b`.
fn relative_name(mut set: &[u8]) -> Option<String> {
    let mut attributes = Vec::new();
    while !set.is_empty() {
        let mut pair = take(&mut set, SEQUENCE)?;
        let kind = take(&mut pair, OID)?;
        let value = pair;
        let (tag, content) = take_any(&mut pair)?;
        if !pair.is_empty() {
            return None;
        }
        let name = attribute(kind).map_or_else(|| dotted(kind), |name| Some(name.to_owned()))?;
        let value = text(tag, content).map_or_else(|| hexadecimal(value), |text| escaped(&text));
        attributes.push(format!("{name}={value}"));
    }
    (!attributes.is_empty()).then(|| attributes.join("+"))
}

/// The short names of RFC 4514.
fn attribute(oid: &[u8]) -> Option<&'static str> {
    Some(match oid {
        [0x55, 0x04, 0x03] => "CN",
        [0x55, 0x04, 0x06] => "C",
        [0x55, 0x04, 0x07] => "L",
        [0x55, 0x04, 0x08] => "ST",
        [0x55, 0x04, 0x09] => "STREET",
        [0x55, 0x04, 0x0A] => "O",
        [0x55, 0x04, 0x0B] => "OU",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01, 0x01] => "UID",
        [0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01, 0x19] => "DC",
        _ => return None,
    })
}

/// Any other attribute: `2.5.4.5`.
fn dotted(oid: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    let mut number = 0u64;
    for byte in oid {
        number = number.checked_mul(128)? + u64::from(byte & 0x7F);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let complete = oid.last().is_some_and(|byte| byte & 0x80 == 0);
    let (first, rest) = numbers.split_first().filter(|_| complete)?;
    // The first two numbers share one.
    let top = (*first / 40).min(2);
    let mut text = format!("{top}.{}", first - top * 40);
    for number in rest {
        let _ = write!(text, ".{number}");
    }
    Some(text)
}

/// The kinds of text that certificates use.
fn text(tag: u8, content: &[u8]) -> Option<String> {
    match tag {
        // UTF8String
        0x0C => std::str::from_utf8(content).ok().map(str::to_owned),
        // PrintableString and IA5String
        0x13 | 0x16 if content.is_ascii() => std::str::from_utf8(content).ok().map(str::to_owned),
        // BMPString
        0x1E if content.len().is_multiple_of(2) => {
            let units = content
                .chunks_exact(2)
                .map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}

/// RFC 4514, 2.4, and control characters besides.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let last = text.chars().count().saturating_sub(1);
    for (index, character) in text.chars().enumerate() {
        let at_an_end = (index == 0 && matches!(character, ' ' | '#')) || (index == last && character == ' ');
        if character.is_control() {
            let mut bytes = [0; 4];
            for byte in character.encode_utf8(&mut bytes).bytes() {
                let _ = write!(escaped, "\\{byte:02x}");
            }
        } else {
            if at_an_end || matches!(character, '"' | '+' | ',' | ';' | '<' | '=' | '>' | '\\') {
                escaped.push('\\');
            }
            escaped.push(character);
        }
    }
    escaped
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold("#".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Takes one element of this kind off the front.
pub(super) fn take<'a>(der: &mut &'a [u8], wanted: u8) -> Option<&'a [u8]> {
    take_any(der)
        .filter(|(tag, _)| *tag == wanted)
        .map(|(_, content)| content)
}

pub(super) fn take_any<'a>(der: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7F => (usize::from(*first), rest),
        0x81 => rest
            .split_first()
            .map(|(byte, rest)| (usize::from(*byte), rest))?,
        0x82 => rest
            .split_first_chunk()
            .map(|(bytes, rest)| (usize::from(u16::from_be_bytes(*bytes)), rest))?,
        // A name of more than 64 KiB is no name.
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    *der = rest;
    Some((*tag, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        [&[tag, length], content].concat()
    }

    fn attribute_of(oid: &[u8], tag: u8, content: &[u8]) -> Vec<u8> {
        element(SEQUENCE, &[element(OID, oid), element(tag, content)].concat())
    }

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];

    #[test]
    fn the_most_specific_part_comes_first_and_groups_stay_together() {
        let organisation = element(SET, &attribute_of(O, 0x13, b"Example"));
        let uid: &[u8] = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xF2, 0x2C, 0x64, 0x01, 0x01];
        let group = [
            attribute_of(CN, 0x0C, "Zoë".as_bytes()),
            attribute_of(uid, 0x16, b"zoe"),
        ];
        let der = [organisation, element(SET, &group.concat())].concat();
        assert_eq!(subject(&der), "CN=Zoë+UID=zoe,O=Example");
        assert_eq!(subject(&[]), "");
    }

    #[test]
    fn one_name_cannot_look_like_another() {
        for (text, shown) in [
            ("a,O=b", "CN=a\\,O\\=b"),
            ("a+UID=b", "CN=a\\+UID\\=b"),
            (" #\\ ", "CN=\\ #\\\\\\ "),
            ("#61", "CN=\\#61"),
            ("a\0b\n", "CN=a\\00b\\0a"),
        ] {
            let der = element(SET, &attribute_of(CN, 0x0C, text.as_bytes()));
            assert_eq!(subject(&der), shown);
        }
    }

    #[test]
    fn what_is_no_text_or_unknown_is_shown_in_numbers() {
        let serial: &[u8] = &[0x55, 4, 5];
        for (oid, tag, content, shown) in [
            (serial, 0x13, &b"7"[..], "2.5.4.5=7"),
            (&[0x2A, 0x86, 0x48][..], 0x0C, b"x", "1.2.840=x"),
            (CN, 0x03, b"\x00\x01", "CN=#03020001"),
            (CN, 0x0C, b"\xFF", "CN=#0c01ff"),
            (CN, 0x1E, &[0, 0x61, 0x26, 0x3A], "CN=a\u{263a}"),
        ] {
            let der = element(SET, &attribute_of(oid, tag, content));
            assert_eq!(subject(&der), shown);
        }
    }

    #[test]
    fn broken_names_are_shown_as_bytes_and_never_read_beyond_their_end() {
        let whole = element(SET, &attribute_of(CN, 0x0C, b"alice"));
        for end in 1..whole.len() {
            let shown = subject(&whole[..end]);
            assert!(shown.starts_with("#31"), "{end}: {shown}");
        }
        // Every byte wrong in turn: any answer but a panic, and never the right name's text by accident.
        for index in 0..whole.len() {
            for wrong in [0x00, 0x7F, 0x80, 0x81, 0x82, 0x84, 0xFF] {
                let mut der = whole.clone();
                if der[index] != wrong {
                    der[index] = wrong;
                    assert_ne!(subject(&der), "CN=alice");
                }
            }
        }
    }
}
