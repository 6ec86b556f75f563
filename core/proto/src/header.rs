//! A view of the routing header of a frame, without copies and without a look at the payload (wire-routing A2.2).
//!
//! [`HeaderView::parse`] is also the structural validation of wire-routing A6 step 2: what it returns is complete.

use std::ops::Range;

use crate::frame::{Frame, FrameError, FrameKind};
use crate::name::{Name, NameId, Prefix};
use crate::wire::{Field, Fields};

/// Field numbers of SLIMHeader that this crate gives a meaning (wire-routing A2.2).
pub(crate) mod field {
    pub(crate) const SOURCE: u32 = 1;
    pub(crate) const DESTINATION: u32 = 2;
    pub(crate) const IDENTITY: u32 = 3;
    pub(crate) const FANOUT: u32 = 4;
    pub(crate) const VERSION: u32 = 5;
    pub(crate) const TTL: u32 = 6;
    pub(crate) const RECV_FROM: u32 = 7;
    pub(crate) const FORWARD_TO: u32 = 8;
    pub(crate) const INCOMING_CONN: u32 = 9;
    pub(crate) const ERROR: u32 = 10;
    pub(crate) const HEADER_MAC: u32 = 11;
    pub(crate) const E2E_HEADER_SIG: u32 = 12;
}

/// The header of a Subscribe, Unsubscribe or Publish, borrowed from its frame.
#[derive(Clone, Debug)]
pub struct HeaderView<'a> {
    /// Subscribe, Unsubscribe or Publish.
    pub kind: FrameKind,
    /// Originator.
    pub source: NameView<'a>,
    /// Routing key.
    pub destination: NameView<'a>,
    /// Token of the originator.
    pub identity: &'a str,
    /// 1 = one receiver, anything else = all.
    pub fanout: u32,
    /// Hop budget as received.
    pub ttl: u32,
    /// Hop-local command of a local application; covered by the MAC, otherwise never obeyed.
    pub recv_from: Option<u64>,
    /// Hop-local command of a local application; covered by the MAC, otherwise never obeyed.
    pub forward_to: Option<u64>,
    /// End-to-end error marker.
    pub error: Option<bool>,
    /// Tag of the link that the frame came from.
    pub header_mac: Option<&'a [u8]>,
    /// Of Subscribe and Unsubscribe; 0 = no acknowledgement wanted. 0 for Publish.
    pub subscription_id: u64,
    pub(crate) layout: Layout,
}

/// Where the parts of a frame lie, as byte ranges of the frame.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The member of the outer oneof, with its tag.
    pub(crate) member: Range<usize>,
    /// The payload of that member.
    pub(crate) inner: Range<usize>,
    /// The header field inside, with its tag.
    pub(crate) header_field: Range<usize>,
    /// The payload of the header field.
    pub(crate) header: Range<usize>,
    /// The session header's payload, of a Publish.
    pub(crate) session: Option<Range<usize>>,
}

/// A name as it is on the wire, presence of its optional parts included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameView<'a> {
    /// Hashed components.
    pub prefix: Prefix,
    /// The id exactly as sent: absent and an explicit "any" are different subscription keys (wire-routing A3).
    pub id: Option<NameId>,
    /// The readable components, if sent.
    pub text: Option<[&'a str; 3]>,
}

impl NameView<'_> {
    /// The routing key; an absent id reads as [`NameId::ANY`].
    pub fn name(&self) -> Name {
        Name {
            prefix: self.prefix,
            id: self.id.unwrap_or(NameId::ANY),
        }
    }
}

impl<'a> HeaderView<'a> {
    /// Looks at the header of a Subscribe, Unsubscribe or Publish.
    ///
    /// Fails on other kinds, on a missing required part (wire-routing A6 step 2), and on anything that is not
    /// well-formed down to the header's fields.
    pub fn parse(frame: &'a Frame) -> Result<Self, FrameError> {
        let bytes: &'a [u8] = frame.bytes();
        let mut member: Option<(FrameKind, Field<'a>)> = None;
        for outer in Fields::of(bytes) {
            let outer = outer?;
            let Some(kind) = FrameKind::of_field(outer.number) else {
                continue;
            };
            outer.bytes()?;
            if member.replace((kind, outer)).is_some() {
                return Err(FrameError::Repeated("message type"));
            }
        }
        let (kind, member) = member.ok_or(FrameError::Empty)?;
        if matches!(kind, FrameKind::Link | FrameKind::SubscriptionAck) {
            return Err(FrameError::Unexpected(kind));
        }
        Self::parse_member(kind, &member)
    }

    fn parse_member(kind: FrameKind, member: &Field<'a>) -> Result<Self, FrameError> {
        let inner = member.payload_span()?;
        let mut header: Option<Field<'a>> = None;
        let mut session = None;
        let mut subscription_id = 0;
        for part in Fields::of(member.bytes()?) {
            let part = part?;
            match (kind, part.number) {
                (_, 1) => {
                    part.bytes()?;
                    if header.replace(part).is_some() {
                        return Err(FrameError::Repeated("header"));
                    }
                }
                (FrameKind::Publish, 2) => {
                    let span = shift(part.payload_span()?, inner.start);
                    if session.replace(span).is_some() {
                        return Err(FrameError::Repeated("session header"));
                    }
                }
                (FrameKind::Publish, 3) => {
                    part.bytes()?;
                }
                (FrameKind::Subscribe | FrameKind::Unsubscribe, 2) => subscription_id = part.varint()?,
                _ => {}
            }
        }
        let header = header.ok_or(FrameError::Missing("header"))?;
        if kind == FrameKind::Publish && session.is_none() {
            return Err(FrameError::Missing("session header"));
        }
        let layout = Layout {
            member: member.span.clone(),
            header_field: shift(header.span.clone(), inner.start),
            header: shift(header.payload_span()?, inner.start),
            inner,
            session,
        };
        Self::parse_header(kind, subscription_id, header.bytes()?, layout)
    }

    fn parse_header(
        kind: FrameKind,
        subscription_id: u64,
        header: &'a [u8],
        layout: Layout,
    ) -> Result<Self, FrameError> {
        let (mut source, mut destination) = (None, None);
        let (mut identity, mut fanout, mut ttl) = ("", 0, 0);
        let (mut recv_from, mut forward_to, mut error, mut header_mac) = (None, None, None, None);
        for part in Fields::of(header) {
            let part = part?;
            match part.number {
                field::SOURCE => once(&mut source, "source", NameView::parse(part.bytes()?)?)?,
                field::DESTINATION => once(&mut destination, "destination", NameView::parse(part.bytes()?)?)?,
                field::IDENTITY => identity = part.text()?,
                field::FANOUT => fanout = part.uint32()?,
                field::VERSION => {
                    part.text()?;
                }
                field::TTL => ttl = part.uint32()?,
                field::RECV_FROM => recv_from = Some(part.varint()?),
                field::FORWARD_TO => forward_to = Some(part.varint()?),
                field::INCOMING_CONN => {
                    part.varint()?;
                }
                field::ERROR => error = Some(part.varint()? != 0),
                field::HEADER_MAC => header_mac = Some(part.bytes()?),
                field::E2E_HEADER_SIG => {
                    part.bytes()?;
                }
                _ => {}
            }
        }
        Ok(Self {
            kind,
            source: source.ok_or(FrameError::Missing("source"))?,
            destination: destination.ok_or(FrameError::Missing("destination"))?,
            identity,
            fanout,
            ttl,
            recv_from,
            forward_to,
            error,
            header_mac,
            subscription_id,
            layout,
        })
    }

    /// Where the session header's payload lies in the frame; `None` unless this is a Publish.
    pub fn session_span(&self) -> Option<Range<usize>> {
        self.layout.session.clone()
    }
}

impl<'a> NameView<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (mut encoded, mut text) = (None, None);
        for part in Fields::of(bytes) {
            let part = part?;
            match part.number {
                1 => once(&mut encoded, "encoded name", parse_encoded(part.bytes()?)?)?,
                2 => once(&mut text, "text name", parse_text(part.bytes()?)?)?,
                _ => {}
            }
        }
        let (prefix, id) = encoded.ok_or(FrameError::Missing("encoded name"))?;
        Ok(Self { prefix, id, text })
    }
}

fn parse_encoded(bytes: &[u8]) -> Result<(Prefix, Option<NameId>), FrameError> {
    let mut components = [0; 3];
    let mut id = None;
    for part in Fields::of(bytes) {
        let part = part?;
        match part.number {
            1 => components[0] = part.varint()?,
            2 => components[1] = part.varint()?,
            3 => components[2] = part.varint()?,
            4 => {
                let mut halves = [0; 2];
                for half in Fields::of(part.bytes()?) {
                    let half = half?;
                    match half.number {
                        1 => halves[0] = half.varint()?,
                        2 => halves[1] = half.varint()?,
                        _ => {}
                    }
                }
                once(&mut id, "name id", NameId::from_halves(halves[0], halves[1]))?;
            }
            _ => {}
        }
    }
    Ok((Prefix(components), id))
}

fn parse_text(bytes: &[u8]) -> Result<[&str; 3], FrameError> {
    let mut text = [""; 3];
    for part in Fields::of(bytes) {
        let part = part?;
        match part.number {
            1 => text[0] = part.text()?,
            2 => text[1] = part.text()?,
            3 => text[2] = part.text()?,
            _ => {}
        }
    }
    Ok(text)
}

fn once<T>(slot: &mut Option<T>, what: &'static str, value: T) -> Result<(), FrameError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(FrameError::Repeated(what)),
    }
}

fn shift(range: Range<usize>, by: usize) -> Range<usize> {
    range.start + by..range.end + by
}

#[cfg(test)]
mod tests;
