//! Members whose credential is older than its life (wire-session §3.4).
//!
//! Ours replace theirs in time. Members of upstream never do, and upstream refuses every leaf of a tree whose token has
//! expired, at the moment it enters a group. Worse, an invitee of upstream that fails so acknowledges the repetition of
//! its welcome all the same, and its heartbeats then make the other members of upstream leave the epoch that they are
//! in: all of them were seen to lose the group. So the invitation fails before anything is committed.

use slim_proto::{Message, Now};

use crate::session::Session;

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
}
