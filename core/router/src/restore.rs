//! What a fresh uplink is told: every local subscription (wire-routing A11.2).

use std::collections::BTreeSet;

use slim_proto::Frame;
use slim_proto::control::SubscriptionAction;

use crate::acks::PendingRequests;
use crate::announcements::{Announcements, Told};
use crate::link::LinkId;

/// One Subscribe to send on a fresh uplink.
#[derive(Clone, Debug)]
pub(crate) struct Replay {
    pub(crate) frame: Frame,
    /// 0, or the own id of a subscription that is not acknowledged yet.
    pub(crate) wire_id: u64,
}

/// Notes that `uplink` is told everything and returns what to send, one frame per name that is replayed with id 0.
pub(crate) fn replay(
    announcements: &mut Announcements,
    pending: &mut PendingRequests,
    uplink: LinkId,
) -> Vec<Replay> {
    let mut replays = Vec::new();
    let mut names = BTreeSet::new();
    for (key, announcement) in announcements.iter_mut() {
        let unacknowledged = pending
            .find(announcement.wire_id)
            .is_some_and(|request| request.action == SubscriptionAction::Subscribe);
        let (told, wire_id) = if unacknowledged {
            pending.add_uplink(announcement.wire_id, uplink);
            (Told::WithId { unanswered: 0 }, announcement.wire_id)
        } else {
            (Told::Replayed, 0)
        };
        announcement.uplinks.insert(uplink, told);
        if told != Told::Replayed || names.insert(key.name) {
            replays.push(Replay {
                frame: announcement.frame.clone(),
                wire_id,
            });
        }
    }
    replays
}
