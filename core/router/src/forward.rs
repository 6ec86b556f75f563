//! The hot path: one publish in, one copy per receiving link out (wire-routing A6, A8).
//!
//! Pure: reads a [`Fib`], changes only the ingress link's own scratch memory, cursors and counters. Fan-out costs
//! one head and one MAC per link; the payload is neither decoded nor (from 1 KiB up) copied.

use std::sync::Arc;

use bytes::BytesMut;
use slim_policy::Denied;
use slim_proto::limits::TTL_DEFAULT;
use slim_proto::splice::{Rewrite, splice};
use slim_proto::structure::check_publish;
use slim_proto::{Egress, Frame, FrameKind, HeaderView, Prefix};

use crate::access::Access;
use crate::counters::{Counters, DropReason};
use crate::fib::{Accesses, Fib, Target, of_class};
use crate::header_mac;
use crate::link::{LinkClass, LinkId, LinkInfo};

/// Round robin positions kept per ingress link; names share one when they fall together.
const CURSORS: usize = 64;

/// What forwarding needs to know and keep for the link that frames arrive on. One owner: the link's driver.
#[derive(Debug)]
pub struct Ingress {
    id: LinkId,
    link: Arc<LinkInfo>,
    cursors: [u32; CURSORS],
    scratch: Scratch,
    counters: Counters,
    /// What the link may do, and the table that this was read from.
    access: Option<Arc<Access>>,
    accesses: Accesses,
    refusal: Option<Denied>,
}

/// Memory that is used again for each frame.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    preimage: Vec<u8>,
    arena: BytesMut,
}

impl Ingress {
    /// The state of a fresh link.
    pub fn new(id: LinkId, link: Arc<LinkInfo>) -> Self {
        Self {
            id,
            link,
            cursors: [0; CURSORS],
            scratch: Scratch::default(),
            counters: Counters::default(),
            access: None,
            accesses: Accesses::default(),
            refusal: None,
        }
    }

    /// The link.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// What the router knows of the link.
    pub fn link(&self) -> &Arc<LinkInfo> {
        &self.link
    }

    /// Counts of the frames that arrived on this link.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the link was refused since the last call: the first of it, for a line in a log. Every refusal is
    /// counted, as [`DropReason::PublishDenied`], [`InviteDenied`](DropReason::InviteDenied) or
    /// [`SourceDenied`](DropReason::SourceDenied); whoever logs these limits how often.
    pub fn take_refusal(&mut self) -> Option<Denied> {
        self.refusal.take()
    }

    /// Checks what the rules say of a publish.
    fn authorize(&mut self, fib: &Fib, frame: &Frame, header: &HeaderView<'_>) -> Result<(), DropReason> {
        if !Arc::ptr_eq(&self.accesses, fib.accesses()) {
            self.accesses = Arc::clone(fib.accesses());
            self.access = self.accesses.get(&self.id).cloned();
        }
        let Some(access) = &self.access else {
            return Ok(());
        };
        access.check_publish(frame, header).map_err(|refusal| {
            if self.refusal.is_none() {
                self.refusal = refusal.denied;
            }
            refusal.reason
        })
    }

    /// Checks a Subscribe, Unsubscribe or Publish in the order of wire-routing A6 and returns the remaining ttl.
    pub(crate) fn admit(&mut self, header: &HeaderView<'_>) -> Result<u32, DropReason> {
        header_mac::check(&self.link, header, &mut self.scratch.preimage)?;
        if self.link.class == LinkClass::Local {
            return Ok(header.ttl);
        }
        match header.ttl.saturating_sub(1) {
            0 => Err(DropReason::TtlExhausted),
            ttl => Ok(ttl),
        }
    }

    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        self.counters.count_drop(reason);
    }

    /// False for the link that the frame came from, and for uplinks when it came from an uplink: an application's
    /// process is no transit between routing nodes.
    fn may_send_to(&self, target: &Target) -> bool {
        target.id != self.id && !(self.link.is_uplink() && target.link.is_uplink())
    }

    /// Position of the round robin for names of this prefix, and where it is kept.
    fn cursor(&self, prefix: Prefix) -> (usize, usize) {
        let [a, b, c] = prefix.0;
        let slot = usize::try_from((a ^ b.rotate_left(21) ^ c.rotate_left(42)) % CURSORS as u64).unwrap_or(0);
        (slot, self.cursors[slot] as usize)
    }
}

/// Forwards one Publish: appends to `out` one copy for each receiving link.
///
/// On an error nothing was appended; it is also counted in the ingress. When only some of the copies could not be
/// made, those are counted and the others are appended.
pub fn forward(
    fib: &Fib,
    ingress: &mut Ingress,
    frame: &Frame,
    out: &mut Vec<(LinkId, Egress)>,
) -> Result<(), DropReason> {
    let before = out.len();
    let result = forward_uncounted(fib, ingress, frame, out);
    match result {
        Ok(()) => {
            ingress.counters.forwarded += 1;
            ingress.counters.copies += (out.len() - before) as u64;
        }
        Err(reason) => ingress.counters.count_drop(reason),
    }
    result
}

fn forward_uncounted(
    fib: &Fib,
    ingress: &mut Ingress,
    frame: &Frame,
    out: &mut Vec<(LinkId, Egress)>,
) -> Result<(), DropReason> {
    let header = HeaderView::parse(frame)?;
    if header.kind != FrameKind::Publish {
        return Err(DropReason::Unexpected);
    }
    let ttl = ingress.admit(&header)?;
    ingress.authorize(fib, frame, &header)?;
    if ingress.link.class != LinkClass::Local {
        // What some receiver could not decode would end its link.
        check_publish(frame)?;
    }
    let copy = Outgoing {
        frame,
        header: &header,
        ttl,
    };
    if header.fanout == 1 {
        let target = select_one(fib, ingress, &header).ok_or(DropReason::NoRoute)?;
        out.push((target.id, copy.make(target, &mut ingress.scratch)?));
        return Ok(());
    }
    send_to_all(fib, ingress, &copy, out)
}

/// The nearest class with a receiver; round robin inside it.
fn select_one<'f>(fib: &'f Fib, ingress: &mut Ingress, header: &HeaderView<'_>) -> Option<&'f Target> {
    let routes = fib.routes(&header.destination);
    let (slot, cursor) = ingress.cursor(header.destination.prefix);
    for class in LinkClass::ALL {
        let candidates = routes
            .clone()
            .flat_map(|targets| of_class(targets, class))
            .filter(|target| ingress.may_send_to(target));
        let count = candidates.clone().count();
        if count > 0 {
            let chosen = candidates.clone().nth(cursor % count);
            if count > 1 {
                // Only a choice takes a turn: what is sent to single instances in between must not hide any of them.
                ingress.cursors[slot] = ingress.cursors[slot].wrapping_add(1);
            }
            return chosen;
        }
    }
    // The default route (wire-routing A8.4): only for local applications, only when it is unambiguous.
    match ingress.link.class {
        LinkClass::Local => fib.defaults().one(header.destination.prefix),
        LinkClass::Edge | LinkClass::Peer | LinkClass::Remote => None,
    }
}

fn send_to_all(
    fib: &Fib,
    ingress: &mut Ingress,
    copy: &Outgoing<'_>,
    out: &mut Vec<(LinkId, Egress)>,
) -> Result<(), DropReason> {
    let mut targets: Vec<&Target> = Vec::new();
    let mut lists = 0;
    for list in fib.routes(&copy.header.destination) {
        targets.extend(list.iter().filter(|target| ingress.may_send_to(target)));
        lists += 1;
    }
    if lists > 1 {
        targets.sort_unstable_by_key(|target| (target.link.class, target.id));
        targets.dedup_by_key(|target| target.id);
    }
    // Other members are behind the routing node; it did not tell who.
    if ingress.link.class == LinkClass::Local && !targets.iter().any(|target| target.link.is_uplink()) {
        targets.extend(fib.defaults().all(copy.header.destination.prefix));
    }
    if targets.is_empty() {
        return Err(DropReason::NoRoute);
    }
    let before = out.len();
    let mut failed = None;
    for target in targets {
        match copy.make(target, &mut ingress.scratch) {
            Ok(egress) => out.push((target.id, egress)),
            Err(reason) => {
                // One receiver that cannot be served does not stop the others. The last failure is counted below.
                if let Some(earlier) = failed.replace(reason) {
                    ingress.counters.count_drop(earlier);
                }
            }
        }
    }
    match failed {
        Some(reason) if out.len() == before => Err(reason),
        Some(reason) => {
            ingress.counters.count_drop(reason);
            Ok(())
        }
        None => Ok(()),
    }
}

/// One frame on its way out.
struct Outgoing<'a> {
    frame: &'a Frame,
    header: &'a HeaderView<'a>,
    ttl: u32,
}

impl Outgoing<'_> {
    fn make(&self, target: &Target, scratch: &mut Scratch) -> Result<Egress, DropReason> {
        // Before the copy is on its way, so that no answer comes too early.
        if let Some(access) = &target.access {
            access.note_sender(&self.header.source);
        }
        if target.link.class == LinkClass::Local {
            // Endpoints ignore every hop-local field, so an application gets the frame as it came, without a copy.
            return Ok(Egress::verbatim(self.frame.clone()));
        }
        rewrite(self.frame, self.header, &target.link, self.ttl, None, scratch)
    }
}

/// A subscription request for a routing node, with the id that this router gave it.
pub(crate) fn subscription_egress(
    frame: &Frame,
    link: &LinkInfo,
    subscription_id: u64,
    scratch: &mut Scratch,
) -> Result<Egress, DropReason> {
    let header = HeaderView::parse(frame)?;
    rewrite(frame, &header, link, TTL_DEFAULT, Some(subscription_id), scratch)
}

fn rewrite(
    frame: &Frame,
    header: &HeaderView<'_>,
    link: &LinkInfo,
    ttl: u32,
    subscription_id: Option<u64>,
    scratch: &mut Scratch,
) -> Result<Egress, DropReason> {
    let rewrite = Rewrite {
        ttl,
        header_mac: header_mac::sign(link, header, ttl, &mut scratch.preimage)?,
        subscription_id,
    };
    Ok(splice(frame, header, &rewrite, &mut scratch.arena)?)
}

#[cfg(test)]
mod tests;
