//! Which of several uplinks leads to a name: by choice of the application, or because messages came from there.
//!
//! With one uplink everything that is not local leaves by it. With several, a publish for one receiver needs to
//! know which: the routing nodes do not say what is behind them.

use std::collections::BTreeMap;

use slim_proto::Prefix;
use slim_proto::limits::{ROUTES_LEARNED_MAX, ROUTES_MAX};

use crate::link::LinkId;

/// By the three components of a name, whatever the id.
#[derive(Debug, Default)]
pub(crate) struct Preferences {
    chosen: BTreeMap<Prefix, LinkId>,
    learned: BTreeMap<Prefix, LinkId>,
}

/// More choices than a process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("limit of routes reached ({ROUTES_MAX}); take routes back that are not needed")]
pub struct RouteLimit;

impl Preferences {
    pub(crate) fn choose(&mut self, prefix: Prefix, link: LinkId) -> Result<(), RouteLimit> {
        if self.chosen.len() >= ROUTES_MAX && !self.chosen.contains_key(&prefix) {
            return Err(RouteLimit);
        }
        self.chosen.insert(prefix, link);
        Ok(())
    }

    /// True if there was such a choice.
    pub(crate) fn forget_choice(&mut self, prefix: Prefix) -> bool {
        self.chosen.remove(&prefix).is_some()
    }

    /// A message of this name arrived on this link; true if that is news.
    pub(crate) fn learn(&mut self, prefix: Prefix, link: LinkId) -> bool {
        if self.learned.get(&prefix) == Some(&link) {
            return false;
        }
        if self.learned.len() >= ROUTES_LEARNED_MAX {
            // Whoever it is will be learned again from its next message.
            self.learned.pop_first();
        }
        self.learned.insert(prefix, link);
        true
    }

    pub(crate) fn remove_link(&mut self, link: LinkId) {
        self.chosen.retain(|_, chosen| *chosen != link);
        self.learned.retain(|_, learned| *learned != link);
    }

    pub(crate) fn move_link(&mut self, from: LinkId, to: LinkId) {
        let links = self.chosen.values_mut().chain(self.learned.values_mut());
        for link in links.filter(|link| **link == from) {
            *link = to;
        }
    }

    /// Chosen links, ordered by name.
    pub(crate) fn chosen(&self) -> impl Iterator<Item = (Prefix, LinkId)> {
        self.chosen.iter().map(|(prefix, link)| (*prefix, *link))
    }

    /// Learned links of names without choice, ordered by name.
    pub(crate) fn learned(&self) -> impl Iterator<Item = (Prefix, LinkId)> {
        self.learned
            .iter()
            .filter(|(prefix, _)| !self.chosen.contains_key(prefix))
            .map(|(prefix, link)| (*prefix, *link))
    }
}
