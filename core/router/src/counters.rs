//! Why frames were not forwarded, and how many.

/// Why a frame went no further. Never told to its sender, except where a SubscriptionAck says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum DropReason {
    /// Not well-formed protobuf, or without a known member.
    #[error("undecodable frame")]
    Undecodable,
    /// A required part of the header is absent or there twice.
    #[error("incomplete header")]
    IncompleteHeader,
    /// No MAC where one is needed.
    #[error("header MAC missing")]
    MacMissing,
    /// The MAC does not verify.
    #[error("header MAC wrong")]
    MacWrong,
    /// A publish has a MAC on a link without key.
    #[error("header MAC without a key to check it")]
    MacUnverifiable,
    /// The strict policy is on and the link has no key, in either direction.
    #[error("strict MAC policy and no key")]
    KeyMissing,
    /// The hop budget is used up.
    #[error("ttl exhausted")]
    TtlExhausted,
    /// Nobody subscribed.
    #[error("no route")]
    NoRoute,
    /// The frame with its new header is above the limit.
    #[error("frame too large")]
    TooLarge,
    /// A kind of frame that is ignored on an established link, or that does not belong here.
    #[error("unexpected kind of frame")]
    Unexpected,
    /// The link is not (or no longer) known.
    #[error("unknown link")]
    UnknownLink,
    /// An acknowledgement that nobody waits for.
    #[error("acknowledgement of nothing")]
    UnknownAck,
    /// A subscription beyond a limit.
    #[error("too many subscriptions")]
    SubscriptionLimit,
    /// The link may not receive for this name.
    #[error("subscription not allowed")]
    SubscribeDenied,
    /// The link may not send to this name.
    #[error("publish not allowed")]
    PublishDenied,
    /// The link may not open sessions with this name.
    #[error("invitation not allowed")]
    InviteDenied,
    /// The link may not speak as the source of its publish.
    #[error("source not allowed")]
    SourceDenied,
    /// It came over another link before, which this one replaces.
    #[error("second copy while links are replaced")]
    Twin,
}

impl DropReason {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 18] = [
        Self::Undecodable,
        Self::IncompleteHeader,
        Self::MacMissing,
        Self::MacWrong,
        Self::MacUnverifiable,
        Self::KeyMissing,
        Self::TtlExhausted,
        Self::NoRoute,
        Self::TooLarge,
        Self::Unexpected,
        Self::UnknownLink,
        Self::UnknownAck,
        Self::SubscriptionLimit,
        Self::SubscribeDenied,
        Self::PublishDenied,
        Self::InviteDenied,
        Self::SourceDenied,
        Self::Twin,
    ];

    /// Short text for metrics, `snake_case`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::IncompleteHeader => "incomplete_header",
            Self::MacMissing => "mac_missing",
            Self::MacWrong => "mac_wrong",
            Self::MacUnverifiable => "mac_unverifiable",
            Self::KeyMissing => "key_missing",
            Self::TtlExhausted => "ttl_exhausted",
            Self::NoRoute => "no_route",
            Self::TooLarge => "too_large",
            Self::Unexpected => "unexpected",
            Self::UnknownLink => "unknown_link",
            Self::UnknownAck => "unknown_ack",
            Self::SubscriptionLimit => "subscription_limit",
            Self::SubscribeDenied => "subscribe_denied",
            Self::PublishDenied => "publish_denied",
            Self::InviteDenied => "invite_denied",
            Self::SourceDenied => "source_denied",
            Self::Twin => "twin",
        }
    }
}

impl From<slim_proto::FrameError> for DropReason {
    fn from(error: slim_proto::FrameError) -> Self {
        use slim_proto::FrameError as E;
        match error {
            E::TooLarge(_) => Self::TooLarge,
            E::Wire(_) | E::Empty => Self::Undecodable,
            E::Repeated(_) | E::Missing(_) => Self::IncompleteHeader,
            E::Unexpected(_) => Self::Unexpected,
        }
    }
}

/// Counts of one link or of one router; add them up for totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Publish frames that reached at least one link.
    pub forwarded: u64,
    /// Copies that were sent of them.
    pub copies: u64,
    drops: [u64; DropReason::ALL.len()],
}

impl Counters {
    /// Frames (or single copies of a frame) dropped for this reason.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops.get(reason as usize).copied().unwrap_or(0)
    }

    /// All drops.
    pub fn drops_total(&self) -> u64 {
        self.drops.iter().sum()
    }

    /// Adds the counts of another link or router.
    pub fn add(&mut self, other: &Self) {
        self.forwarded += other.forwarded;
        self.copies += other.copies;
        for (own, others) in self.drops.iter_mut().zip(other.drops) {
            *own += others;
        }
    }

    pub(crate) fn count_drop(&mut self, reason: DropReason) {
        if let Some(count) = self.drops.get_mut(reason as usize) {
            *count += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_count_and_label() {
        let mut counters = Counters::default();
        for (times, reason) in (1..).zip(DropReason::ALL) {
            for _ in 0..times {
                counters.count_drop(reason);
            }
        }
        let mut twice = counters;
        twice.add(&counters);
        let mut labels = std::collections::BTreeSet::new();
        for (times, reason) in (1u64..).zip(DropReason::ALL) {
            assert_eq!(counters.drops(reason), times, "{reason:?}");
            assert_eq!(twice.drops(reason), 2 * times);
            assert!(labels.insert(reason.label()));
        }
        assert_eq!(counters.drops_total(), (1..=18).sum::<u64>());
    }
}
