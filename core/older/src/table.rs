//! Who subscribed to what, in one dialect (wire-routing B4, wire-1x X4).

use std::collections::{BTreeMap, BTreeSet};

use slim_proto::limits::{OLDER_IDS_LEARNED_MAX, SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_PER_LINK_MAX};

use crate::router::OlderLink;
use crate::view::Key;

/// Subscriptions of one dialect.
#[derive(Debug, Default)]
pub(crate) struct Table {
    prefixes: BTreeMap<[u64; 3], Prefix>,
    /// Every record of a link, for its end.
    of_link: BTreeMap<OlderLink, BTreeSet<(Key, u64)>>,
    records: usize,
    /// Ids that a subscriber of a prefix used as a sender without having subscribed them.
    learned: BTreeMap<Key, OlderLink>,
}

#[derive(Debug, Default)]
struct Prefix {
    /// By id, then link, the numbers of its subscriptions.
    ids: BTreeMap<u64, BTreeMap<OlderLink, BTreeSet<u64>>>,
    /// How many links have any id.
    links: BTreeMap<OlderLink, usize>,
    /// Counts picks, so that one follows the other.
    picks: usize,
}

/// Why a subscription is refused or not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TableError {
    /// The link or the node has too many.
    #[error("too many subscriptions")]
    Full,
    /// No such prefix.
    #[error("subscription not found")]
    Prefix,
    /// No such id under the prefix.
    #[error("id not found: {0}")]
    Id(u64),
    /// The id exists, but not for this link.
    #[error("connection id not found: {0}")]
    Link(u64),
    /// The link has the name under other numbers.
    #[error("subscription id not found: {0}")]
    Number(u64),
}

impl Table {
    /// Adds a record; one that is there stays one.
    pub(crate) fn subscribe(&mut self, link: OlderLink, key: Key, number: u64) -> Result<(), TableError> {
        let records = self.of_link.entry(link).or_default();
        if records.contains(&(key, number)) {
            return Ok(());
        }
        if records.len() >= SUBSCRIPTIONS_PER_LINK_MAX || self.records >= SUBSCRIPTIONS_MAX {
            return Err(TableError::Full);
        }
        records.insert((key, number));
        self.records += 1;
        let prefix = self.prefixes.entry(key.prefix).or_default();
        prefix
            .ids
            .entry(key.id)
            .or_default()
            .entry(link)
            .or_default()
            .insert(number);
        *prefix.links.entry(link).or_default() += 1;
        Ok(())
    }

    /// Removes a record. One that a reconnecting client made again has the number 0, whatever number it is taken back
    /// with (wire-1x X7).
    pub(crate) fn unsubscribe(&mut self, link: OlderLink, key: Key, number: u64) -> Result<(), TableError> {
        let prefix = self.prefixes.get(&key.prefix).ok_or(TableError::Prefix)?;
        let links = prefix.ids.get(&key.id).ok_or(TableError::Id(key.id))?;
        let numbers = links.get(&link).ok_or(TableError::Link(link.0))?;
        let remade = numbers.contains(&0);
        if !remade && !numbers.contains(&number) {
            return Err(TableError::Number(number));
        }
        self.remove(link, key, number);
        self.remove(link, key, 0);
        Ok(())
    }

    /// Removes everything of a link.
    pub(crate) fn remove_link(&mut self, link: OlderLink) {
        for (key, number) in self.of_link.get(&link).cloned().unwrap_or_default() {
            self.remove(link, key, number);
        }
        self.of_link.remove(&link);
        self.learned.retain(|_, of| *of != link);
    }

    fn remove(&mut self, link: OlderLink, key: Key, number: u64) {
        let Some(records) = self.of_link.get_mut(&link) else {
            return;
        };
        if !records.remove(&(key, number)) {
            return;
        }
        self.records -= 1;
        let Some(prefix) = self.prefixes.get_mut(&key.prefix) else {
            return;
        };
        if let Some(links) = prefix.ids.get_mut(&key.id) {
            if let Some(numbers) = links.get_mut(&link) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    links.remove(&link);
                }
            }
            if links.is_empty() {
                prefix.ids.remove(&key.id);
            }
        }
        if let Some(count) = prefix.links.get_mut(&link) {
            *count -= 1;
            if *count == 0 {
                prefix.links.remove(&link);
            }
        }
        if prefix.ids.is_empty() {
            self.prefixes.remove(&key.prefix);
        }
    }

    /// A link speaks as `source`. If it serves the name under other ids, this id is reached through it from now on: 0.4
    /// applications serve further names without an id and answer with their own (wire-routing B5).
    pub(crate) fn learn(&mut self, link: OlderLink, source: Key) {
        let Some(prefix) = self.prefixes.get(&source.prefix) else {
            return;
        };
        if source.id == Key::ANY || prefix.ids.contains_key(&source.id) || !prefix.links.contains_key(&link) {
            return;
        }
        if self.learned.len() >= OLDER_IDS_LEARNED_MAX && !self.learned.contains_key(&source) {
            self.learned.pop_first();
        }
        // Whoever spoke first keeps it: another link of the name cannot take over an id that it hears of.
        self.learned.entry(source).or_insert(link);
    }

    /// Every link of the prefix, or of one id of it, but the one that asks.
    pub(crate) fn all(&self, key: Key, but: OlderLink) -> Vec<OlderLink> {
        let Some(prefix) = self.prefixes.get(&key.prefix) else {
            return Vec::new();
        };
        let links: Vec<OlderLink> = if key.id == Key::ANY {
            prefix.links.keys().copied().collect()
        } else {
            let of_id = prefix.ids.get(&key.id);
            of_id
                .map(|links| links.keys().copied().collect())
                .unwrap_or_default()
        };
        links.into_iter().filter(|link| *link != but).collect()
    }

    /// One of these, each in its turn.
    pub(crate) fn one(&mut self, key: Key, but: OlderLink) -> Option<OlderLink> {
        let candidates = self.all(key, but);
        let prefix = self.prefixes.get_mut(&key.prefix)?;
        prefix.picks = prefix.picks.wrapping_add(1);
        let index = prefix.picks.checked_rem(candidates.len())?;
        candidates.get(index).copied()
    }

    /// For an id that nobody subscribed: the link that has spoken with it, else the only link of the prefix.
    pub(crate) fn fallback(&self, key: Key, but: OlderLink) -> Option<OlderLink> {
        let prefix = self.prefixes.get(&key.prefix)?;
        if key.id == Key::ANY || prefix.ids.contains_key(&key.id) {
            return None;
        }
        let learned = self.learned.get(&key).copied();
        let mut links = prefix.links.keys().copied();
        let only = links.next().filter(|_| links.next().is_none());
        learned.or(only).filter(|link| *link != but)
    }

    /// Records, for tests and for the log.
    pub(crate) fn len(&self) -> usize {
        self.records
    }
}
