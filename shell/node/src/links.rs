//! The egress queues of all links of a service, by link.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use slim_net::EgressSender;
use slim_router::LinkId;

/// Written when links come and go, read by links that meet a new neighbour.
#[derive(Debug, Default)]
pub(crate) struct LinkTable(RwLock<HashMap<LinkId, EgressSender>>);

/// One link's own copy of the queues that it sends to. Ids are never used again, so a copy is never wrong, only
/// perhaps of a link that is gone.
#[derive(Debug)]
pub(crate) struct Neighbours {
    table: Arc<LinkTable>,
    known: HashMap<LinkId, EgressSender>,
}

/// A link that sends to more neighbours than this forgets them and asks again; bounds what gone links leave behind.
const NEIGHBOURS_MAX: usize = 4096;

impl LinkTable {
    pub(crate) fn insert(&self, link: LinkId, egress: EgressSender) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(link, egress);
    }

    pub(crate) fn remove(&self, link: LinkId) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&link);
    }

    pub(crate) fn find(&self, link: LinkId) -> Option<EgressSender> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&link)
            .cloned()
    }
}

impl Neighbours {
    pub(crate) fn new(table: Arc<LinkTable>) -> Self {
        Self {
            table,
            known: HashMap::new(),
        }
    }

    /// The queue of a link, unless it is gone.
    pub(crate) fn find(&mut self, link: LinkId) -> Option<&EgressSender> {
        if !self.known.contains_key(&link) {
            let egress = self.table.find(link)?;
            if self.known.len() >= NEIGHBOURS_MAX {
                self.known.clear();
            }
            self.known.insert(link, egress);
        }
        self.known.get(&link)
    }

    /// Forgets a link that turned out to be gone.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.known.remove(&link);
    }
}
