//! What a link may do, checked frame by frame: whose names it takes, whom it sends to, and as whom it speaks.
//!
//! A link without an [`Access`] may do everything: a node without rules, and applications in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use slim_policy::{Denied, Permissions, Principal};
use slim_proto::{Frame, HeaderView, Name, NameView};

use crate::correspondents::Correspondents;
use crate::counters::DropReason;
use crate::session_kind::opens_session;

/// The permissions of one link, and to whom it may answer. Shared by the threads that send to the link.
#[derive(Debug)]
pub(crate) struct Access {
    permissions: Permissions,
    correspondents: Correspondents,
}

/// Why a publish was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: DropReason,
    /// What to log; `None` if the frame is broken rather than forbidden.
    pub(crate) denied: Option<Denied>,
}

/// The permissions of everybody with an identity who has a link. A second link of somebody, after a reconnect or
/// in the place of an older one, may answer whom the first one could.
#[derive(Debug, Default)]
pub(crate) struct Principals {
    by_holder: BTreeMap<Arc<Principal>, Weak<Access>>,
}

impl Principals {
    /// The access of another link with exactly these permissions, or a new one.
    pub(crate) fn access(&mut self, permissions: Permissions, seed: u64) -> Arc<Access> {
        let Some(holder) = permissions.holder().cloned() else {
            // Two links without identity are not known to be the same somebody.
            return Arc::new(Access::new(permissions, seed));
        };
        let known = self.by_holder.get(&holder).and_then(Weak::upgrade);
        match known {
            Some(known) if known.permissions == permissions => known,
            Some(_) | None => {
                let access = Arc::new(Access::new(permissions, seed));
                self.by_holder.insert(holder, Arc::downgrade(&access));
                access
            }
        }
    }

    /// Forgets those who are gone, once there may be more of them than others.
    pub(crate) fn sweep(&mut self, links: usize) {
        if self.by_holder.len() > 2 * links + 16 {
            self.by_holder.retain(|_, access| access.strong_count() > 0);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_holder.len()
    }
}

impl Access {
    /// The seed keeps strangers from choosing names that displace each other among the correspondents.
    pub(crate) fn new(permissions: Permissions, seed: u64) -> Self {
        Self {
            permissions,
            correspondents: Correspondents::new(seed),
        }
    }

    pub(crate) fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// Whether the link may send this publish.
    pub(crate) fn check_publish(&self, frame: &Frame, header: &HeaderView<'_>) -> Result<(), Refusal> {
        let refused = |reason| {
            move |denied| Refusal {
                reason,
                denied: Some(denied),
            }
        };
        // Receivers answer to the source, and upstream members trust it in sessions without encryption.
        self.permissions
            .may_speak_as(&header.source)
            .map_err(refused(DropReason::SourceDenied))?;
        let opens_session = opens_session(frame, header).map_err(|_| Refusal {
            reason: DropReason::Undecodable,
            denied: None,
        })?;
        let destination = &header.destination;
        if opens_session {
            // No answer is an invitation, so those of correspondents need the rule like all others.
            return self
                .permissions
                .may_invite(destination)
                .map_err(refused(DropReason::InviteDenied));
        }
        match self.permissions.may_publish(destination) {
            Err(_) if self.correspondents.contains(&destination.name()) => Ok(()),
            outcome => outcome.map_err(refused(DropReason::PublishDenied)),
        }
    }

    /// Another member of a channel that the link is in. Who may write to a channel may write to its members.
    pub(crate) fn note_member(&self, channel: &NameView<'_>, member: &Name) {
        if self.permissions.may_publish(channel).is_ok() {
            self.correspondents.note(member);
        }
    }

    /// A frame of this sender goes to the link, which may answer it from now on.
    pub(crate) fn note_sender(&self, source: &NameView<'_>) {
        let name = source.name();
        // "Any instance" is nobody that could be answered.
        if name.id.is_concrete() {
            self.correspondents.note(&name);
        }
    }
}
