//! Copies of one message that come over two links while one replaces the other.
//!
//! From the moment in which the routing node knows a name on both links until it forgets the older one, it sends
//! what all receivers shall hear over both. The process takes the copy that comes first. Only links of which one
//! replaces the other are looked at, and only for that time.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use bytes::BytesMut;
use foldhash::quality::FixedState;
use slim_proto::limits::TWINS_MAX;
use slim_proto::splice::{Rewrite, splice};
use slim_proto::{Frame, HeaderView, Instant};

use crate::link::LinkId;

/// How long a second copy may be under way after the older link is gone: the new link's queue may be full, and a
/// link whose queue stays full for longer is closed.
const LINGER: Duration = Duration::from_secs(10);

/// Messages that came once and may come again.
#[derive(Debug)]
pub(crate) struct Twins {
    hasher: FixedState,
    /// By hash, the link that the first copy came from.
    seen: BTreeMap<u64, LinkId>,
    order: VecDeque<u64>,
    until: Option<Instant>,
    scratch: BytesMut,
}

impl Twins {
    /// The seed keeps strangers from making two messages look like one.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            hasher: FixedState::with_seed(seed),
            seen: BTreeMap::new(),
            order: VecDeque::new(),
            until: None,
            scratch: BytesMut::new(),
        }
    }

    /// A link begins or ceases to replace another: look until some time after this.
    pub(crate) fn watch(&mut self, now: Instant) {
        self.until = Some(now + LINGER);
    }

    /// True if the same message came over another link before. The third copy is a message again.
    pub(crate) fn is_second(&mut self, now: Instant, link: LinkId, frame: &Frame) -> bool {
        match self.until {
            None => return false,
            Some(until) if until <= now => {
                self.until = None;
                self.seen.clear();
                self.order.clear();
                return false;
            }
            Some(_) => {}
        }
        let Some(hash) = self.hash(frame) else {
            return false;
        };
        match self.seen.get(&hash) {
            Some(first) if *first != link => {
                self.seen.remove(&hash);
                return true;
            }
            Some(_) => return false,
            None => {}
        }
        if self.order.len() >= TWINS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        self.seen.insert(hash, link);
        self.order.push_back(hash);
        false
    }

    /// Of everything that the routing node sends alike over both links: all but the tag.
    fn hash(&mut self, frame: &Frame) -> Option<u64> {
        let header = HeaderView::parse(frame).ok()?;
        let untagged = Rewrite {
            ttl: header.ttl,
            header_mac: None,
            subscription_id: None,
        };
        let bytes = splice(frame, &header, &untagged, &mut self.scratch).ok()?;
        let mut hasher = self.hasher.build_hasher();
        hasher.write(&bytes.head);
        hasher.write(&bytes.tail);
        Some(hasher.finish())
    }
}
