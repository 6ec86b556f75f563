//! What local applications subscribed to and which uplinks were told so.
//!
//! Each announcement has an id of this router's own, so that the ids of several applications cannot collide on an
//! uplink (wire-routing C19).

use std::collections::BTreeMap;

use slim_proto::Frame;

use crate::acks::PendingRequest;
use crate::link::LinkId;
use crate::subscriptions::{EncodedName, SubscriptionKey};

/// A local subscription as the uplinks know it.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    /// The application's Subscribe.
    pub(crate) frame: Frame,
    /// The id that it has on uplinks; never 0.
    pub(crate) wire_id: u64,
    /// The uplinks that were told.
    pub(crate) uplinks: BTreeMap<LinkId, Told>,
}

/// How an uplink was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// With the announcement's own id; acknowledged or about to be.
    WithId {
        /// Answers to it that may still come when it is no longer waited for.
        unanswered: u32,
    },
    /// Replayed with id 0 after a reconnect (wire-routing A11.2); one such record per name and uplink.
    Replayed,
}

/// All announcements, by local record.
#[derive(Debug)]
pub(crate) struct Announcements {
    by_key: BTreeMap<SubscriptionKey, Announcement>,
    next_wire_id: u64,
}

impl Announcement {
    /// The Subscribe is no longer waited for; remembers how many answers to it may still come.
    pub(crate) fn note_unanswered(&mut self, subscribe: &PendingRequest) {
        for (uplink, told) in &mut self.uplinks {
            if let Told::WithId { unanswered } = told {
                *unanswered = subscribe.unanswered(*uplink);
            }
        }
    }
}

impl Announcements {
    /// Ids count up from `first_wire_id`, which should be random (wire-routing A7.4).
    pub(crate) fn new(first_wire_id: u64) -> Self {
        Self {
            by_key: BTreeMap::new(),
            next_wire_id: first_wire_id,
        }
    }

    /// The announcement of a local record, made if it is new.
    pub(crate) fn announce(&mut self, key: SubscriptionKey, frame: &Frame) -> &mut Announcement {
        let next = &mut self.next_wire_id;
        self.by_key.entry(key).or_insert_with(|| Announcement {
            frame: frame.clone(),
            wire_id: take_id(next),
            uplinks: BTreeMap::new(),
        })
    }

    pub(crate) fn find_mut(&mut self, key: &SubscriptionKey) -> Option<&mut Announcement> {
        self.by_key.get_mut(key)
    }

    pub(crate) fn remove(&mut self, key: &SubscriptionKey) -> Option<Announcement> {
        self.by_key.remove(key)
    }

    pub(crate) fn uplink_down(&mut self, uplink: LinkId) {
        for announcement in self.by_key.values_mut() {
            announcement.uplinks.remove(&uplink);
        }
    }

    /// True if some announcement of this name was replayed on the uplink: its id-0 record there is still needed.
    pub(crate) fn has_replayed(&self, name: EncodedName, uplink: LinkId) -> bool {
        let first = SubscriptionKey {
            name,
            link: LinkId::FIRST,
            subscription_id: 0,
        };
        self.by_key
            .range(first..)
            .take_while(|(key, _)| key.name == name)
            .any(|(_, announcement)| announcement.uplinks.get(&uplink) == Some(&Told::Replayed))
    }

    /// Every announcement, by name.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&SubscriptionKey, &mut Announcement)> {
        self.by_key.iter_mut()
    }
}

/// Id 0 means "no acknowledgement", so the counter skips it when it wraps.
fn take_id(next: &mut u64) -> u64 {
    let id = (*next).max(1);
    *next = id.wrapping_add(1);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_wrap_around_without_zero() {
        let mut next = u64::MAX;
        assert_eq!(
            [take_id(&mut next), take_id(&mut next), take_id(&mut next)],
            [u64::MAX, 1, 2]
        );
    }
}
