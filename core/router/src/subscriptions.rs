//! Who asked for what: the records behind the forwarding table (wire-routing A7).
//!
//! A record is *(link, subscription id, encoded name)*; a link is a receiver of a name as long as it has one
//! record for it (Invariant 9).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use slim_proto::{NameId, NameView, Prefix};

use crate::link::LinkId;

/// The readable components of a name; told apart although their hashes may collide.
pub(crate) type NameText = Arc<[Box<str>; 3]>;

/// A share of the ids of one prefix; the forwarding table is derived anew bucket by bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bucket {
    pub(crate) prefix: Prefix,
    pub(crate) number: u8,
}

impl Bucket {
    /// The bucket of an id, one of 64: a change under a prefix with 10,000 instances then touches 160 of them.
    pub(crate) fn of(prefix: Prefix, id: NameId) -> Self {
        let (high, low) = id.halves();
        // Fibonacci hashing: ids may be counted up as well as random.
        let mixed = (high ^ low.rotate_left(32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Self {
            prefix,
            number: (mixed >> 58) as u8,
        }
    }
}

/// A name exactly as encoded: an absent id and an explicit "any" are different keys (wire-routing A3).
///
/// Ordered by bucket first, so that the records of one bucket lie together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EncodedName {
    pub(crate) bucket: Bucket,
    pub(crate) id: Option<NameId>,
}

impl EncodedName {
    pub(crate) fn of(name: &NameView<'_>) -> Self {
        Self {
            bucket: Bucket::of(name.prefix, name.name().id),
            id: name.id,
        }
    }
}

/// One record; ordered by name first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SubscriptionKey {
    pub(crate) name: EncodedName,
    pub(crate) link: LinkId,
    pub(crate) subscription_id: u64,
}

/// Why a Subscribe was refused; the text goes into its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubscribeError {
    #[error("subscription limit of this link reached ({0})")]
    LinkLimit(usize),
    #[error("subscription limit of this node reached ({0})")]
    TotalLimit(usize),
}

/// Why an Unsubscribe found nothing; the texts are upstream's (wire-routing A7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnsubscribeError {
    #[error("subscription not found")]
    Prefix,
    #[error("id not found: {0}")]
    Id(NameId),
    #[error("subscription id not found: {0}")]
    Subscription(u64),
}

/// All records of one node.
#[derive(Debug)]
pub(crate) struct SubscriptionTable {
    records: BTreeMap<SubscriptionKey, Option<NameText>>,
    by_link: BTreeMap<LinkId, BTreeSet<(EncodedName, u64)>>,
    per_link_max: usize,
    total_max: usize,
}

impl SubscriptionTable {
    pub(crate) fn new(per_link_max: usize, total_max: usize) -> Self {
        Self {
            records: BTreeMap::new(),
            by_link: BTreeMap::new(),
            per_link_max,
            total_max,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    /// Adds a record; a duplicate changes nothing and succeeds even at the limit. True if it is new.
    pub(crate) fn subscribe(
        &mut self,
        link: LinkId,
        name: &NameView<'_>,
        subscription_id: u64,
    ) -> Result<bool, SubscribeError> {
        let key = SubscriptionKey {
            name: EncodedName::of(name),
            link,
            subscription_id,
        };
        if self.records.contains_key(&key) {
            return Ok(false);
        }
        if self.records.len() >= self.total_max {
            return Err(SubscribeError::TotalLimit(self.total_max));
        }
        let of_link = self.by_link.entry(link).or_default();
        if of_link.len() >= self.per_link_max {
            return Err(SubscribeError::LinkLimit(self.per_link_max));
        }
        of_link.insert((key.name, subscription_id));
        let text = name.text.map(|text| NameText::new(text.map(Into::into)));
        self.records.insert(key, text);
        Ok(true)
    }

    /// Removes a record and returns which one.
    ///
    /// After a reconnect a client's restored records carry id 0, while its later Unsubscribe carries the original
    /// id; then the id-0 record goes (wire-routing A7.3).
    pub(crate) fn unsubscribe(
        &mut self,
        link: LinkId,
        name: &NameView<'_>,
        subscription_id: u64,
    ) -> Result<SubscriptionKey, UnsubscribeError> {
        for candidate in [subscription_id, 0] {
            let key = SubscriptionKey {
                name: EncodedName::of(name),
                link,
                subscription_id: candidate,
            };
            if self.remove(&key) {
                return Ok(key);
            }
        }
        let id = name.name().id;
        let mut of_prefix = self.of_prefix(name.prefix).peekable();
        Err(if of_prefix.peek().is_none() {
            UnsubscribeError::Prefix
        } else if of_prefix.any(|(key, _)| key.name.id.unwrap_or(NameId::ANY) == id) {
            UnsubscribeError::Subscription(subscription_id)
        } else {
            UnsubscribeError::Id(id)
        })
    }

    /// Removes one record, if it is there.
    pub(crate) fn remove(&mut self, key: &SubscriptionKey) -> bool {
        if self.records.remove(key).is_none() {
            return false;
        }
        if let Some(of_link) = self.by_link.get_mut(&key.link) {
            of_link.remove(&(key.name, key.subscription_id));
            if of_link.is_empty() {
                self.by_link.remove(&key.link);
            }
        }
        true
    }

    /// Removes every record of a link; returns their keys in order.
    pub(crate) fn remove_link(&mut self, link: LinkId) -> Vec<SubscriptionKey> {
        let of_link = self.by_link.remove(&link).unwrap_or_default();
        let keys: Vec<_> = of_link
            .into_iter()
            .map(|(name, subscription_id)| SubscriptionKey {
                name,
                link,
                subscription_id,
            })
            .collect();
        for key in &keys {
            self.records.remove(key);
        }
        keys
    }

    /// The records of one link, with the text of their names.
    pub(crate) fn of_link(&self, link: LinkId) -> impl Iterator<Item = (SubscriptionKey, Option<&NameText>)> {
        let of_link = self.by_link.get(&link).into_iter().flatten();
        of_link.map(move |(name, subscription_id)| {
            let key = SubscriptionKey {
                name: *name,
                link,
                subscription_id: *subscription_id,
            };
            (key, self.records.get(&key).and_then(Option::as_ref))
        })
    }

    /// Gives every record of a link to another; returns the new keys in order.
    pub(crate) fn move_link(&mut self, from: LinkId, to: LinkId) -> Vec<SubscriptionKey> {
        let of_link = self.by_link.remove(&from).unwrap_or_default();
        let mut moved = Vec::with_capacity(of_link.len());
        for (name, subscription_id) in of_link {
            let key = |link| SubscriptionKey {
                name,
                link,
                subscription_id,
            };
            if let Some(text) = self.records.remove(&key(from)) {
                self.records.entry(key(to)).or_insert(text);
                self.by_link
                    .entry(to)
                    .or_default()
                    .insert((name, subscription_id));
                moved.push(key(to));
            }
        }
        moved
    }

    /// The records of one bucket, ordered by id, link and subscription id.
    pub(crate) fn of_bucket(
        &self,
        bucket: Bucket,
    ) -> impl Iterator<Item = (&SubscriptionKey, &Option<NameText>)> {
        self.starting_at(bucket)
            .take_while(move |(key, _)| key.name.bucket == bucket)
    }

    /// The records under one prefix.
    pub(crate) fn of_prefix(
        &self,
        prefix: Prefix,
    ) -> impl Iterator<Item = (&SubscriptionKey, &Option<NameText>)> {
        self.starting_at(Bucket { prefix, number: 0 })
            .take_while(move |(key, _)| key.name.bucket.prefix == prefix)
    }

    fn starting_at(&self, bucket: Bucket) -> impl Iterator<Item = (&SubscriptionKey, &Option<NameText>)> {
        let first = SubscriptionKey {
            name: EncodedName { bucket, id: None },
            link: LinkId::FIRST,
            subscription_id: 0,
        };
        self.records.range(first..)
    }
}

#[cfg(test)]
mod tests;
