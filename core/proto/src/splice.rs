//! A new header in front of the raw body of a frame (architecture, "Zero copy").
//!
//! Only hop-local fields change: ttl, the link's MAC, and recv_from, forward_to and incoming_conn, which are
//! removed. Everything else passes byte for byte, unknown fields included (Invariant 22).

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use crate::frame::{Frame, FrameError, FrameKind};
use crate::grpc;
use crate::header::{HeaderView, Layout, field};
use crate::limits::FRAME_BYTES_MAX;
use crate::wire::{Fields, length_tag_len, put_length_tag, put_varint_field, varint_field_len};

/// Bodies below this are copied behind the head: cheaper than a reference count, and a small frame that waits
/// in a queue then does not keep a whole read chunk alive (architecture, "Zero copy").
pub const BODY_COPY_MAX: usize = 1024;

/// Arena block: some twenty heads of upstream's size; a queued frame keeps at most one block alive.
const ARENA_BYTES: usize = 8 * 1024;

/// A frame ready to be written, gRPC prefix included: `head`, then `tail`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Egress {
    /// gRPC prefix and header, and a small body.
    pub head: Bytes,
    /// The rest of the body, shared between all receivers; often empty.
    pub tail: Bytes,
}

/// What a link changes in the header of a frame that goes out on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Hop budget to write.
    pub ttl: u32,
    /// Tag of the outgoing link; `None` removes the field.
    pub header_mac: Option<[u8; 32]>,
    /// Replaces the id of a Subscribe or Unsubscribe; `None` keeps it. Ignored for a Publish.
    pub subscription_id: Option<u64>,
}

impl Egress {
    /// The frame as it is, behind a gRPC prefix.
    pub fn verbatim(frame: Frame) -> Self {
        let tail = frame.into_bytes();
        Self {
            head: Bytes::copy_from_slice(&grpc::prefix(tail.len())),
            tail,
        }
    }

    /// Bytes to write, gRPC prefix included.
    pub fn len(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Never true for what this module makes; there is always a prefix.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The frame without the gRPC prefix, for receivers in the same process. Copies only when both parts hold
    /// bytes of the frame.
    pub fn into_frame(self) -> Result<Frame, FrameError> {
        let start = grpc::PREFIX_BYTES.min(self.head.len());
        let front = self.head.slice(start..);
        if self.tail.is_empty() {
            return Frame::new(front);
        }
        if front.is_empty() {
            return Frame::new(self.tail);
        }
        let mut joined = BytesMut::with_capacity(front.len() + self.tail.len());
        joined.put(front);
        joined.put(self.tail);
        Frame::new(joined.freeze())
    }

    /// True for Link and SubscriptionAck frames, which take the small priority lane of a link's egress queue.
    pub fn is_link_control(&self) -> bool {
        let first = self.head.get(grpc::PREFIX_BYTES).or_else(|| self.tail.first());
        first.is_some_and(|tag| {
            let kind = FrameKind::of_field(u32::from(tag >> 3));
            matches!(kind, Some(FrameKind::Link | FrameKind::SubscriptionAck))
        })
    }
}

/// Writes the frame of `view` anew with a changed header. `arena` is scratch memory that the head is cut from.
///
/// Fails with [`FrameError::TooLarge`] if the result is above [`FRAME_BYTES_MAX`], which a receiver answers by
/// ending the link (wire-routing C24).
pub fn splice(
    frame: &Frame,
    view: &HeaderView<'_>,
    rewrite: &Rewrite,
    arena: &mut BytesMut,
) -> Result<Egress, FrameError> {
    let subscription_id = match view.kind {
        FrameKind::Subscribe | FrameKind::Unsubscribe => rewrite.subscription_id,
        FrameKind::Publish | FrameKind::Link | FrameKind::SubscriptionAck => None,
    };
    if subscription_id.is_none() && is_contiguous(&view.layout) {
        splice_contiguous(frame, view, rewrite, arena)
    } else {
        reassemble(frame, view, rewrite, subscription_id)
    }
}

/// Member first in the frame and header first in the member: what every known sender writes.
fn is_contiguous(layout: &Layout) -> bool {
    layout.member.start == 0 && layout.header_field.start == layout.inner.start
}

fn splice_contiguous(
    frame: &Frame,
    view: &HeaderView<'_>,
    rewrite: &Rewrite,
    arena: &mut BytesMut,
) -> Result<Egress, FrameError> {
    let layout = &view.layout;
    let body = layout.header_field.end..frame.bytes().len();
    let header = NewHeader::plan(frame, layout, rewrite)?;
    let header_field = length_tag_len(1, header.length) + header.length;
    let inner = header_field + (layout.inner.end - layout.header_field.end);
    let front = length_tag_len(view.kind.field(), inner) + header_field;
    let total = front + body.len();
    if total > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(total));
    }
    let copied = if body.len() < BODY_COPY_MAX { body.len() } else { 0 };
    let needed = grpc::PREFIX_BYTES + front + copied;
    if arena.capacity() - arena.len() < needed {
        arena.reserve(needed.max(ARENA_BYTES));
    }
    grpc::put_prefix(arena, total);
    put_length_tag(arena, view.kind.field(), inner);
    put_length_tag(arena, 1, header.length);
    header.write(arena);
    let tail = if copied > 0 {
        arena.put_slice(frame.bytes().get(body).unwrap_or_default());
        Bytes::new()
    } else {
        frame.bytes().slice(body)
    };
    debug_assert_eq!(arena.len(), needed);
    Ok(Egress {
        head: arena.split().freeze(),
        tail,
    })
}

/// The slow path: every part is copied, header first, other parts in their order.
fn reassemble(
    frame: &Frame,
    view: &HeaderView<'_>,
    rewrite: &Rewrite,
    subscription_id: Option<u64>,
) -> Result<Egress, FrameError> {
    let bytes = frame.bytes();
    let layout = &view.layout;
    let header = NewHeader::plan(frame, layout, rewrite)?;
    let mut inner = BytesMut::with_capacity(bytes.len() + 64);
    put_length_tag(&mut inner, 1, header.length);
    header.write(&mut inner);
    let old_inner = &bytes[layout.inner.clone()];
    for part in Fields::of(old_inner) {
        let part = part?;
        let replaced = part.number == 1 || (part.number == 2 && subscription_id.is_some());
        if !replaced {
            inner.put_slice(&old_inner[part.span]);
        }
    }
    if let Some(id) = subscription_id.filter(|id| *id != 0) {
        put_varint_field(&mut inner, 2, id);
    }
    let rest = bytes.len() - layout.member.len();
    let total = length_tag_len(view.kind.field(), inner.len()) + inner.len() + rest;
    if total > FRAME_BYTES_MAX {
        return Err(FrameError::TooLarge(total));
    }
    let mut head = BytesMut::with_capacity(grpc::PREFIX_BYTES + total);
    grpc::put_prefix(&mut head, total);
    put_length_tag(&mut head, view.kind.field(), inner.len());
    head.put(inner);
    head.put_slice(&bytes[..layout.member.start]);
    head.put_slice(&bytes[layout.member.end..]);
    Ok(Egress {
        head: head.freeze(),
        tail: Bytes::new(),
    })
}

/// The header as it will be written: runs of old bytes with ttl and MAC at their canonical places.
struct NewHeader<'a> {
    old: &'a [u8],
    /// Three runs at most for a header in canonical order; more only for unusual senders.
    runs: Runs,
    /// Index of the run before which ttl is written, and the same for the MAC.
    ttl_before: usize,
    mac_before: usize,
    rewrite: Rewrite,
    length: usize,
}

/// Kept byte ranges. Enough places for every field of today's header on its own; further ones are merged by
/// falling back to the heap.
struct Runs {
    few: [Range32; 12],
    count: usize,
    more: Vec<Range32>,
}

#[derive(Clone, Copy, Default)]
struct Range32 {
    start: u32,
    end: u32,
}

impl Runs {
    fn new() -> Self {
        Self {
            few: [Range32::default(); 12],
            count: 0,
            more: Vec::new(),
        }
    }

    /// Adds a range, joining it with the last one when they touch and `join` allows it.
    fn push(&mut self, range: &Range<usize>, join: bool) {
        // A frame has at most 4 MiB, so its offsets fit.
        let range = Range32 {
            start: u32::try_from(range.start).unwrap_or(u32::MAX),
            end: u32::try_from(range.end).unwrap_or(u32::MAX),
        };
        if let Some(last) = self.last_mut().filter(|last| join && last.end == range.start) {
            last.end = range.end;
            return;
        }
        match self.few.get_mut(self.count) {
            Some(place) => *place = range,
            None => self.more.push(range),
        }
        self.count += 1;
    }

    fn last_mut(&mut self) -> Option<&mut Range32> {
        if self.count > self.few.len() {
            return self.more.last_mut();
        }
        self.count
            .checked_sub(1)
            .and_then(|index| self.few.get_mut(index))
    }

    fn iter(&self) -> impl Iterator<Item = Range<usize>> {
        let few = self.few.iter().take(self.count.min(self.few.len()));
        few.chain(&self.more)
            .map(|range| range.start as usize..range.end as usize)
    }
}

impl<'a> NewHeader<'a> {
    fn plan(frame: &'a Frame, layout: &Layout, rewrite: &Rewrite) -> Result<Self, FrameError> {
        let old = &frame.bytes()[layout.header.clone()];
        let mut runs = Runs::new();
        let (mut ttl_before, mut mac_before) = (None, None);
        let mut kept = 0;
        for part in Fields::of(old) {
            let part = part?;
            if matches!(
                part.number,
                field::TTL | field::RECV_FROM | field::FORWARD_TO | field::INCOMING_CONN | field::HEADER_MAC
            ) {
                continue;
            }
            let mut join = true;
            if part.number > field::TTL && ttl_before.is_none() {
                ttl_before = Some(runs.count);
                join = false;
            }
            if part.number > field::HEADER_MAC && mac_before.is_none() {
                mac_before = Some(runs.count);
                join = false;
            }
            kept += part.span.len();
            runs.push(&part.span, join);
        }
        let ttl = if rewrite.ttl == 0 {
            0
        } else {
            varint_field_len(field::TTL, u64::from(rewrite.ttl))
        };
        let mac = rewrite
            .header_mac
            .map_or(0, |tag| length_tag_len(field::HEADER_MAC, tag.len()) + tag.len());
        Ok(Self {
            old,
            ttl_before: ttl_before.unwrap_or(runs.count),
            mac_before: mac_before.unwrap_or(runs.count),
            runs,
            rewrite: *rewrite,
            length: kept + ttl + mac,
        })
    }

    fn write(&self, output: &mut BytesMut) {
        for (index, run) in self.runs.iter().enumerate() {
            self.write_changed(index, output);
            output.put_slice(&self.old[run]);
        }
        self.write_changed(self.runs.count, output);
    }

    fn write_changed(&self, index: usize, output: &mut BytesMut) {
        if index == self.ttl_before && self.rewrite.ttl != 0 {
            put_varint_field(output, field::TTL, u64::from(self.rewrite.ttl));
        }
        if let Some(tag) = self.rewrite.header_mac.filter(|_| index == self.mac_before) {
            put_length_tag(output, field::HEADER_MAC, tag.len());
            output.put_slice(&tag);
        }
    }
}

#[cfg(test)]
mod tests;
