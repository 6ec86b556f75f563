//! A message of an older wire as far as a node looks at it (wire-routing B2, B3; wire-1x X2).

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use slim_proto::name::component_hash;
use slim_proto::wire::{Field, Fields, WireError, put_length_tag};

use crate::dialect::Dialect;

/// What a message asks of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Announces interest in a name.
    Subscribe,
    /// Takes that back.
    Unsubscribe,
    /// Is forwarded.
    Publish,
    /// Negotiation (1.x only).
    Link,
}

/// A routing key: three hashes and an id of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Hashes of the three components.
    pub prefix: [u64; 3],
    /// [`Key::ANY`], or an application. An absent id is the concrete id 0 (wire-routing B3, wire-1x X2.2).
    pub id: u64,
}

impl Key {
    /// No particular instance.
    pub const ANY: u64 = u64::MAX;
}

/// A message, borrowed.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// What it is.
    pub kind: Kind,
    /// Where from; not for Link.
    pub source: Key,
    /// Where to; not for Link.
    pub destination: Key,
    /// 1 = one receiver, anything else = all.
    pub fanout: u32,
    /// Of Subscribe and Unsubscribe; 0 = no acknowledgement wanted (always, in 0.4).
    pub subscription_id: u64,
    /// Link: the negotiation.
    pub link: Option<LinkRequest<'a>>,
    /// The whole message.
    bytes: &'a [u8],
    /// Where the parts lie that a node writes anew; empty for Link.
    layout: Layout,
}

/// A 1.x negotiation (wire-1x X2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkRequest<'a> {
    /// A UUID of the dialer's choice.
    pub link_id: &'a str,
    /// The dialer's version.
    pub version: &'a str,
    /// A node never asks, so a reply answers nothing.
    pub is_reply: bool,
}

/// Why a message is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// Not protobuf, or a known field of another type.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A part that the structure demands (wire-routing B4 step 1).
    #[error("{0} is missing")]
    Missing(&'static str),
}

#[derive(Clone, Debug, Default)]
struct Layout {
    member_number: u32,
    member: Range<usize>,
    inner: Range<usize>,
    header_field: Range<usize>,
    header: Range<usize>,
    /// The header says something that is the node's own business.
    has_hop_local: bool,
}

/// Numbers of hop-local header fields: where it was received, where to send it, on which connection it came.
fn hop_local(dialect: Dialect) -> Range<u32> {
    match dialect {
        Dialect::V0_4 => 4..7,
        Dialect::V1 => 5..8,
    }
}

impl<'a> View<'a> {
    /// Looks at a message. `Ok(None)`: nothing that a node acts upon (an empty message, metadata alone, an unknown kind).
    pub fn parse(dialect: Dialect, bytes: &'a [u8]) -> Result<Option<Self>, ViewError> {
        let mut member: Option<(Kind, Field<'a>)> = None;
        for outer in Fields::of(bytes) {
            let outer = outer?;
            let kind = match outer.number {
                1 => Kind::Subscribe,
                2 => Kind::Unsubscribe,
                3 => Kind::Publish,
                5 if dialect == Dialect::V1 => Kind::Link,
                _ => continue,
            };
            // The last member of a oneof counts.
            member = Some((kind, outer));
        }
        let Some((kind, member)) = member else {
            return Ok(None);
        };
        if kind == Kind::Link {
            return Self::parse_link(bytes, &member);
        }
        Self::parse_member(dialect, bytes, kind, &member).map(Some)
    }

    fn parse_link(bytes: &'a [u8], member: &Field<'a>) -> Result<Option<Self>, ViewError> {
        let mut request = None;
        for part in Fields::of(member.bytes()?) {
            let part = part?;
            if part.number == 1 {
                request = Some(parse_negotiation(part.bytes()?)?);
            }
        }
        Ok(request.map(|link| Self {
            kind: Kind::Link,
            source: Key::default(),
            destination: Key::default(),
            fanout: 0,
            subscription_id: 0,
            link: Some(link),
            bytes,
            layout: Layout::default(),
        }))
    }

    fn parse_member(
        dialect: Dialect,
        bytes: &'a [u8],
        kind: Kind,
        member: &Field<'a>,
    ) -> Result<Self, ViewError> {
        let inner = member.payload_span()?;
        let (mut header, mut has_session, mut subscription_id) = (None, false, 0);
        let mut text = [""; 3];
        for part in Fields::of(member.bytes()?) {
            let part = part?;
            match (kind, part.number) {
                (_, 1) => header = Some(part),
                (Kind::Publish, 2) => {
                    part.bytes()?;
                    has_session = true;
                }
                (Kind::Subscribe | Kind::Unsubscribe, 2) if dialect == Dialect::V1 => {
                    subscription_id = part.varint()?;
                }
                (Kind::Subscribe, 2..=4) => {
                    let component = part.text()?;
                    // 2, 3 and 4 are the three components.
                    if let Some(place) = text.get_mut(part.number as usize - 2) {
                        *place = component;
                    }
                }
                _ => {}
            }
        }
        let header = header.ok_or(ViewError::Missing("header"))?;
        if kind == Kind::Publish && !has_session {
            return Err(ViewError::Missing("session header"));
        }
        let layout = Layout {
            member_number: member.number,
            member: member.span.clone(),
            header_field: shift(&header.span, inner.start),
            header: shift(&header.payload_span()?, inner.start),
            inner,
            has_hop_local: false,
        };
        let mut view = Self {
            kind,
            source: Key::default(),
            destination: Key::default(),
            fanout: 0,
            subscription_id,
            link: None,
            bytes,
            layout,
        };
        view.read_header(dialect, header.bytes()?)?;
        if dialect == Dialect::V0_4 && kind == Kind::Subscribe {
            // Upstream takes the three strings, and of the header the id alone (wire-routing B3).
            view.destination.prefix = text.map(component_hash);
        }
        Ok(view)
    }

    fn read_header(&mut self, dialect: Dialect, header: &'a [u8]) -> Result<(), ViewError> {
        let (mut source, mut destination) = (None, None);
        let hop_local = hop_local(dialect);
        for field in Fields::of(header) {
            let field = field?;
            match field.number {
                1 => source = Some(parse_name(dialect, field.bytes()?)?),
                2 => destination = Some(parse_name(dialect, field.bytes()?)?),
                3 => self.fanout = field.uint32()?,
                number if hop_local.contains(&number) => {
                    field.varint()?;
                    self.layout.has_hop_local = true;
                }
                _ => {}
            }
        }
        self.source = source.ok_or(ViewError::Missing("source"))?;
        self.destination = destination.ok_or(ViewError::Missing("destination"))?;
        Ok(())
    }

    /// The message as it leaves the node: hop-local fields gone, everything else byte for byte.
    pub fn outgoing(&self, dialect: Dialect, message: &Bytes) -> Bytes {
        if !self.layout.has_hop_local {
            return message.clone();
        }
        let layout = &self.layout;
        let old_header = self.bytes.get(layout.header.clone()).unwrap_or_default();
        let mut header = BytesMut::with_capacity(old_header.len());
        let hop_local = hop_local(dialect);
        // The same walk succeeded when the message was parsed.
        for field in Fields::of(old_header).flatten() {
            if !hop_local.contains(&field.number) {
                header.put_slice(old_header.get(field.span).unwrap_or_default());
            }
        }
        let part = |range: Range<usize>| self.bytes.get(range).unwrap_or_default();
        let mut inner = BytesMut::with_capacity(layout.inner.len());
        inner.put_slice(part(layout.inner.start..layout.header_field.start));
        put_length_tag(&mut inner, 1, header.len());
        inner.put(header);
        inner.put_slice(part(layout.header_field.end..layout.inner.end));
        let mut whole = BytesMut::with_capacity(self.bytes.len());
        whole.put_slice(part(0..layout.member.start));
        put_length_tag(&mut whole, layout.member_number, inner.len());
        whole.put(inner);
        whole.put_slice(part(layout.member.end..self.bytes.len()));
        whole.freeze()
    }
}

impl Default for Key {
    fn default() -> Self {
        Self {
            prefix: [0; 3],
            id: Self::ANY,
        }
    }
}

fn parse_name(dialect: Dialect, bytes: &[u8]) -> Result<Key, ViewError> {
    match dialect {
        Dialect::V0_4 => parse_components(bytes),
        Dialect::V1 => {
            let mut encoded = None;
            for part in Fields::of(bytes) {
                let part = part?;
                if part.number == 1 {
                    encoded = Some(parse_components(part.bytes()?)?);
                }
            }
            encoded.ok_or(ViewError::Missing("encoded name"))
        }
    }
}

fn parse_components(bytes: &[u8]) -> Result<Key, ViewError> {
    let mut key = Key {
        prefix: [0; 3],
        id: 0,
    };
    for part in Fields::of(bytes) {
        let part = part?;
        match part.number {
            1 => key.prefix[0] = part.varint()?,
            2 => key.prefix[1] = part.varint()?,
            3 => key.prefix[2] = part.varint()?,
            4 => key.id = part.varint()?,
            _ => {}
        }
    }
    Ok(key)
}

fn parse_negotiation(bytes: &[u8]) -> Result<LinkRequest<'_>, ViewError> {
    let mut request = LinkRequest {
        link_id: "",
        version: "",
        is_reply: false,
    };
    for part in Fields::of(bytes) {
        let part = part?;
        match part.number {
            1 => request.link_id = part.text()?,
            2 => request.version = part.text()?,
            3 => request.is_reply = part.varint()? != 0,
            _ => {}
        }
    }
    Ok(request)
}

fn shift(range: &Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}
