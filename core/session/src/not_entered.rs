//! Invitees of upstream that cannot open their welcome (wire-session §3.4).
//!
//! Upstream refuses a group in which the token of a leaf has expired, and its members never replace theirs. An invitee
//! of upstream that fails so, or for another reason, acknowledges the repetition of its welcome all the same. Its
//! heartbeats then name no epoch, which the other members of upstream take for the highest one: they ask to rejoin, and
//! were all seen to lose the group. So the moderator looks first, and takes out who is not in.

use slim_proto::{FullName, Message, Now};

use crate::remove::Remove;
use crate::session::{Change, Session};

impl Session {
    /// Why the application that sent this reply could not enter the encrypted group as it is now.
    pub(crate) fn cannot_enter(&self, now: Now, reply: &Message) -> Option<String> {
        if reply.is_from_own_kind() {
            // It judges when a leaf came into the tree, not how old it is.
            return None;
        }
        let aged = self.epochs.as_ref()?.expired_members(now.unix);
        if aged.is_empty() {
            return None;
        }
        Some(format!(
            "the invitee's implementation refuses a group with credentials that have expired, and those of {} have: \
             remove and invite them again first",
            aged.join(", ")
        ))
    }

    /// A member of the encrypted group says that it has no group. At the moderator it is taken out, as an invitee that
    /// never confirmed its welcome; for others this is no epoch to follow.
    pub(crate) fn take_out_without_group(&mut self, member: &FullName) {
        let acknowledged = self.roster.get(member).is_some_and(|entry| entry.joined);
        if !self.is_moderator() || !self.is_group() || !acknowledged {
            // Before its welcome a member of upstream sends such heartbeats in good order (R10).
            return;
        }
        let is_of_it = |change: &Change| matches!(change, Change::Remove(remove) if remove.is_of(member));
        if !self.current.iter().chain(&self.queue).any(is_of_it) {
            tracing::warn!(session = %self.id, %member, "a member could not open its welcome and is taken out");
            self.queue
                .push_back(Change::Remove(Remove::roll_back(member.clone())));
        }
    }
}
