//! Hierarchical names: `org/namespace/app` hashed to three 64-bit numbers, plus a 128-bit instance id.
//!
//! Source: wire-routing A3, wire-session §0.3.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use twox_hash::{XxHash3_128, XxHash64};

use crate::r#gen as wire;
use crate::limits::NAME_COMPONENT_BYTES_MAX;

/// The three hashed components of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix(pub [u64; 3]);

impl Prefix {
    /// Hashes three components.
    pub fn of(components: [&str; 3]) -> Self {
        Self(components.map(component_hash))
    }
}

/// XXH64, seed 0, over the UTF-8 bytes followed by one byte 0xFF (wire-routing A3).
pub fn component_hash(component: &str) -> u64 {
    let mut bytes = Vec::with_capacity(component.len() + 1);
    bytes.extend_from_slice(component.as_bytes());
    bytes.push(0xFF);
    XxHash64::oneshot(0, &bytes)
}

/// The 128-bit id of one application instance or channel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(pub u128);

impl NameId {
    /// "No id": any instance of the name.
    pub const ANY: Self = Self(u128::MAX);
    /// The lowest reserved id; applications never get an id from here up.
    pub const RESERVED_MIN: u128 = u128::MAX - 50;

    /// The id of an application with this identity subject (wire-session §1.2).
    pub fn of_subject(subject: &str) -> Self {
        let hash = XxHash3_128::oneshot(subject.as_bytes());
        Self(if hash >= Self::RESERVED_MIN {
            hash % Self::RESERVED_MIN
        } else {
            hash
        })
    }

    /// True unless this is [`NameId::ANY`].
    pub fn is_concrete(self) -> bool {
        self != Self::ANY
    }

    /// From the two halves on the wire, high half first.
    pub fn from_halves(high: u64, low: u64) -> Self {
        Self((u128::from(high) << 64) | u128::from(low))
    }

    /// High and low half.
    pub fn halves(self) -> (u64, u64) {
        #[allow(clippy::cast_possible_truncation, reason = "the two halves are meant")]
        ((self.0 >> 64) as u64, self.0 as u64)
    }
}

impl fmt::Display for NameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            return f.write_str("NULL_COMPONENT");
        }
        let hex = format!("{:032x}", self.0);
        write!(
            f,
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        )
    }
}

impl fmt::Debug for NameId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A name as routers use it: hashes and id, 40 bytes, `Copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Hashed components.
    pub prefix: Prefix,
    /// Instance id; [`NameId::ANY`] for anycast.
    pub id: NameId,
}

/// A name with its readable components, as endpoints use it.
///
/// Invariant: the hashes are those of the text. Decoding refuses names that break it (threat model T-O8).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullName {
    text: Arc<[Box<str>; 3]>,
    name: Name,
}

/// Why text or wire data is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Not exactly three non-empty parts.
    #[error("a name is three non-empty parts, organisation/namespace/application, not {0:?}")]
    Shape(String),
    /// A component is too long.
    #[error("a name component has {0} bytes; the limit is {NAME_COMPONENT_BYTES_MAX}")]
    TooLong(usize),
    /// The text on the wire does not hash to the numbers beside it.
    #[error("name text and name hashes disagree")]
    HashMismatch,
    /// The encoded or the readable half is missing on the wire.
    #[error("name without its encoded or readable half")]
    Incomplete,
}

impl FullName {
    /// A name without id from its three components.
    pub fn new(organisation: &str, namespace: &str, application: &str) -> Result<Self, NameError> {
        let components = [organisation, namespace, application];
        if components.iter().any(|component| component.is_empty()) {
            return Err(NameError::Shape(components.join("/")));
        }
        Self::from_components(components, NameId::ANY)
    }

    fn from_components(components: [&str; 3], id: NameId) -> Result<Self, NameError> {
        if let Some(long) = components
            .iter()
            .find(|component| component.len() > NAME_COMPONENT_BYTES_MAX)
        {
            return Err(NameError::TooLong(long.len()));
        }
        Ok(Self {
            text: Arc::new(components.map(Into::into)),
            name: Name {
                prefix: Prefix::of(components),
                id,
            },
        })
    }

    /// The routing key.
    pub fn name(&self) -> Name {
        self.name
    }

    /// The instance id.
    pub fn id(&self) -> NameId {
        self.name.id
    }

    /// The hashed components.
    pub fn prefix(&self) -> Prefix {
        self.name.prefix
    }

    /// The name as it looks in a header that carries it with text and id.
    pub fn view(&self) -> crate::NameView<'_> {
        crate::NameView {
            prefix: self.name.prefix,
            id: Some(self.name.id),
            text: Some(self.components()),
        }
    }

    /// The same components with another id.
    #[must_use]
    pub fn with_id(&self, id: NameId) -> Self {
        Self {
            text: Arc::clone(&self.text),
            name: Name {
                prefix: self.name.prefix,
                id,
            },
        }
    }

    /// The same components without id.
    #[must_use]
    pub fn without_id(&self) -> Self {
        self.with_id(NameId::ANY)
    }

    /// True if the three components agree, whatever the ids.
    pub fn same_components(&self, other: &Self) -> bool {
        self.text == other.text
    }

    /// The readable components.
    pub fn components(&self) -> [&str; 3] {
        [&self.text[0], &self.text[1], &self.text[2]]
    }

    /// `org/namespace/app` without the id.
    pub fn path(&self) -> String {
        self.components().join("/")
    }

    pub(crate) fn to_wire(&self) -> wire::Name {
        let (id_0, id_1) = self.name.id.halves();
        let [component_0, component_1, component_2] = self.name.prefix.0;
        let [a, b, c] = self.components();
        wire::Name {
            name: Some(wire::EncodedName {
                component_0,
                component_1,
                component_2,
                name_id: Some(wire::NameId { id_0, id_1 }),
            }),
            str_name: Some(wire::StringName {
                str_component_0: a.into(),
                str_component_1: b.into(),
                str_component_2: c.into(),
            }),
        }
    }

    pub(crate) fn from_wire(name: &wire::Name) -> Result<Self, NameError> {
        let (Some(encoded), Some(text)) = (&name.name, &name.str_name) else {
            return Err(NameError::Incomplete);
        };
        let id = encoded
            .name_id
            .as_ref()
            .map_or(NameId::ANY, |id| NameId::from_halves(id.id_0, id.id_1));
        let full = Self::from_components(
            [
                &text.str_component_0,
                &text.str_component_1,
                &text.str_component_2,
            ],
            id,
        )?;
        if full.name.prefix.0 != [encoded.component_0, encoded.component_1, encoded.component_2] {
            return Err(NameError::HashMismatch);
        }
        Ok(full)
    }
}

impl FromStr for FullName {
    type Err = NameError;

    /// Parses `org/namespace/app`; parts are trimmed (wire-routing A3).
    fn from_str(text: &str) -> Result<Self, NameError> {
        let parts: Vec<&str> = text.split('/').map(str::trim).collect();
        let [organisation, namespace, application] = parts[..] else {
            return Err(NameError::Shape(text.to_owned()));
        };
        Self::new(organisation, namespace, application)
    }
}

/// `org/namespace/app`, with `/id` once an id is set.
impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.components();
        write!(f, "{a}/{b}/{c}")?;
        if self.name.id.is_concrete() {
            write!(f, "/{}", self.name.id)
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The data and control names of a group channel (wire-session §4.2).
pub fn channel_names(channel: &FullName, moderator_subject: &str) -> (FullName, FullName) {
    let [a, b, c] = channel.components();
    let id = |salt: u64, purpose: &str| {
        let text = format!("{moderator_subject}/{a}/{b}/{c}/{purpose}");
        let hash = XxHash3_128::oneshot_with_seed(salt, text.as_bytes());
        NameId(if hash >= NameId::RESERVED_MIN {
            hash % (NameId::RESERVED_MIN - 1) + 1
        } else {
            hash
        })
    };
    // A collision of two 128-bit hashes is practically impossible; the bound is the wire document's.
    for salt in 0..=10 {
        let (data, control) = (id(salt, "data"), id(salt, "control"));
        if data != control {
            return (channel.with_id(data), channel.with_id(control));
        }
    }
    (channel.with_id(id(0, "data")), channel.with_id(id(0, "control")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn component_hashes_match_the_vectors_of_part_d() {
        for (text, hash) in [
            ("", 0x95634172a60b7544u64),
            ("org", 0x873e580376ea963b),
            ("default", 0x219303c7c93f9668),
            ("app", 0x86cb542776a5f6d5),
            ("agntcy", 0x169ca82eb17d6bc2),
            ("ns", 0xeef9769a4c6990d1),
            ("channel", 0x3d1526a6488a2f85),
            (
                "a-very-long-component-name-exceeding-32-bytes",
                0x284a9846813602e9,
            ),
            ("Ünïcode", 0x8f0ea94e77f736c2),
            ("alice", 0x7b90bc8fa5b6b182),
            ("bob", 0x49ae1b437ae573c4),
            ("chan", 0x45a0b09d105dcd87),
        ] {
            assert_eq!(component_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn application_ids_match_the_vectors_of_section_10() {
        for (subject, id) in [
            ("org/ns/alice_SUM9Auuv", 0xb4d0691867319c5bfabe8e570e2cedebu128),
            ("org/ns/bob_E5NHnUKE", 0x2284586cbdca26e0a050607e2a2fc9cf),
            (
                "did:key:z6Mkfvtar6ATQYC5jXqVLBjCH8R6AUAuKjta6LsFcG4gUND1",
                0x48b1da600caab75fa73e4fe334bf1482,
            ),
            ("", 0x99aa06d3014798d86001c324468d497f),
        ] {
            assert_eq!(NameId::of_subject(subject), NameId(id), "{subject}");
        }
    }

    #[test]
    fn channel_names_match_the_vectors_of_section_10() {
        let channel: FullName = "org/ns/chan".parse().unwrap();
        let (data, control) = channel_names(&channel, "org/ns/alice_SUM9Auuv");
        assert_eq!(data.id(), NameId(0xfbcc5b5e86e2fd3ef1312e5210a662c0));
        assert_eq!(control.id(), NameId(0x5161fb3c0f75744a9c203ff08320affe));
    }

    #[test]
    fn text_is_trimmed_and_must_have_three_parts() {
        assert_eq!("a / b/c".parse::<FullName>().unwrap().path(), "a/b/c");
        for bad in ["", "a/b", "a/b/c/d", "a//c", "a/b/ "] {
            assert!(bad.parse::<FullName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn display_shows_the_id_only_when_there_is_one() {
        let name: FullName = "a/b/c".parse().unwrap();
        assert_eq!(name.to_string(), "a/b/c");
        assert_eq!(
            name.with_id(NameId(1)).to_string(),
            "a/b/c/00000000-0000-0000-0000-000000000001"
        );
    }
}
