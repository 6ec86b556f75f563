//! Who subscribed to the same channel, and as whom: members of a group may write to each other.
//!
//! A Subscribe says who asks (its source) beside what is asked for. So a node knows the members of a channel by
//! name, and a link that may write to the channel may also write to each of them: it could tell them the same
//! through the channel. Without this, a member could be answered only after it was heard of.
//!
//! Only links under rules are noted, only names with an id, and only sources that the link may speak as.

use std::collections::BTreeMap;

use slim_proto::limits::CORRESPONDENTS_MAX;
use slim_proto::{HeaderView, Name, NameView};

use crate::access::Access;
use crate::link::LinkId;
use crate::subscriptions::SubscriptionKey;

/// The members of all channels; as many as there are subscriptions, at most.
#[derive(Debug, Default)]
pub(crate) struct Memberships {
    by_channel: BTreeMap<Name, BTreeMap<(LinkId, u64), Name>>,
}

impl Memberships {
    /// A link subscribed. Returns the other members, as many as a link can remember.
    pub(crate) fn join(
        &mut self,
        link: LinkId,
        access: &Access,
        header: &HeaderView<'_>,
    ) -> Vec<(LinkId, Name)> {
        let (channel, source) = (header.destination.name(), header.source.name());
        let is_member = channel.id.is_concrete()
            && source.id.is_concrete()
            && source != channel
            && access.permissions().may_speak_as(&header.source).is_ok();
        if !is_member {
            return Vec::new();
        }
        let members = self.by_channel.entry(channel).or_default();
        members.insert((link, header.subscription_id), source);
        let others = members.iter().filter(|((other, _), _)| *other != link);
        others
            .map(|((other, _), source)| (*other, *source))
            .take(CORRESPONDENTS_MAX)
            .collect()
    }

    /// A subscription is gone.
    pub(crate) fn leave(&mut self, key: &SubscriptionKey) {
        let channel = NameView {
            prefix: key.name.bucket.prefix,
            id: key.name.id,
            text: None,
        }
        .name();
        if let Some(members) = self.by_channel.get_mut(&channel) {
            members.remove(&(key.link, key.subscription_id));
            if members.is_empty() {
                self.by_channel.remove(&channel);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn channel_count(&self) -> usize {
        self.by_channel.len()
    }
}
