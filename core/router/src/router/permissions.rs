//! The part of [`Router`] that keeps to the rules: what links may do, and what they were refused.

use std::sync::Arc;

use slim_policy::{Denied, Permissions};
use slim_proto::limits::REFUSALS_MAX;
use slim_proto::{FrameKind, HeaderView, NameView, Now};
use tracing::debug;

use super::Router;
use crate::counters::DropReason;
use crate::link::{LinkClass, LinkId, LinkInfo};

impl Router {
    /// [`handle_link_up`](Self::handle_link_up) for a link that may do only this, from its first frame on.
    pub fn handle_link_up_as(
        &mut self,
        now: Now,
        info: impl Into<Arc<LinkInfo>>,
        permissions: Permissions,
    ) -> LinkId {
        let link = self.handle_link_up(now, info);
        self.set_permissions(now, link, permissions);
        link
    }

    /// From now on the link may do this and nothing else. Subscriptions that it may no longer have are withdrawn,
    /// and what it was told lately gives it no more right to answer; returns how many were withdrawn. The link is not
    /// told: the wire has no message for it. Unknown links are ignored.
    ///
    /// A link whose permissions were never set may do everything. On a node with rules, call this (or
    /// [`handle_link_up_as`](Self::handle_link_up_as)) before anything else about the link, also where its identity
    /// is "none".
    pub fn set_permissions(&mut self, now: Now, link: LinkId, permissions: Permissions) -> usize {
        let seed = self.rng.next_u64();
        self.principals.sweep(self.links.len());
        let Some(state) = self
            .links
            .get_mut(link.slot as usize)
            .filter(|state| state.generation == link.generation)
        else {
            return 0;
        };
        let before = state.access.as_ref().map(|access| access.permissions());
        if before == Some(&permissions) || (before.is_none() && permissions.allow_everything()) {
            return 0;
        }
        let restricted = !permissions.allow_everything();
        state.access = restricted.then(|| self.principals.access(permissions, seed));
        let access = state.access.clone();
        let class = state.ingress.link().class;
        self.uplinks_changed |= state.ingress.link().is_uplink();
        self.accesses_changed = true;
        let mut withdrawn = Vec::new();
        for (key, text) in self.table.of_link(link) {
            // The forwarding table says of each receiver what it may do.
            self.stale.insert(key.name.bucket);
            let name = NameView {
                prefix: key.name.bucket.prefix,
                id: key.name.id,
                text: text.map(|text| [&*text[0], &*text[1], &*text[2]]),
            };
            let allowed = access
                .as_ref()
                .is_none_or(|access| access.permissions().may_subscribe(&name).is_ok());
            if !allowed {
                withdrawn.push(key);
            }
        }
        for key in &withdrawn {
            self.table.remove(key);
            self.memberships.leave(key);
            if class == LinkClass::Local {
                self.withdraw(now.mono, key);
            }
        }
        debug!(%link, withdrawn = withdrawn.len(), "permissions changed");
        withdrawn.len()
    }

    /// What a link was refused, oldest first; for a log that limits its lines itself. A node that forwards publishes
    /// itself hears of those from [`Ingress::take_refusal`](crate::Ingress::take_refusal).
    pub fn poll_refusal(&mut self) -> Option<(LinkId, Denied)> {
        self.refusals.pop_front()
    }

    /// A link subscribed: if that is a channel, its members may write to each other from now on.
    pub(super) fn introduce(&mut self, link: LinkId, header: &HeaderView<'_>) {
        let Some(own) = self.state_mut(link).and_then(|state| state.access.clone()) else {
            return;
        };
        for (other, name) in self.memberships.join(link, &own, header) {
            own.note_member(&header.destination, &name);
            if let Some(access) = self.state_mut(other).and_then(|state| state.access.clone()) {
                access.note_member(&header.destination, &header.source.name());
            }
        }
    }

    pub(super) fn note_refusal(&mut self, link: LinkId, denied: Denied) {
        debug!(%link, %denied, "refused");
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push_back((link, denied));
        }
    }

    /// Answers a Subscribe or Unsubscribe of a name that the link may not have.
    pub(super) fn refuse_subscription(
        &mut self,
        link: LinkId,
        header: &HeaderView<'_>,
        denied: Denied,
    ) -> Result<(), DropReason> {
        if header.kind == FrameKind::Unsubscribe {
            // There is nothing to take back: it was refused, or withdrawn since. To say so would tell what others
            // subscribed to, and an application that closes need not care.
            self.ack(link, header.subscription_id, Ok(()));
            return Ok(());
        }
        self.ack(link, header.subscription_id, Err(denied.to_string()));
        self.note_refusal(link, denied);
        Err(DropReason::SubscribeDenied)
    }
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
