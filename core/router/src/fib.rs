//! The forwarding table: an immutable snapshot that every link's thread reads without a lock.
//!
//! Derived from the subscription records. 64 shards by prefix and up to 64 buckets by id, so that a change copies a
//! small part; names are chosen by strangers, so the hash of the map is seeded.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::quality::FixedState;
use hashbrown::HashMap;
use slim_proto::{NameId, NameView, Prefix};

use crate::access::Access;
use crate::link::{LinkClass, LinkId, LinkInfo};
use crate::subscriptions::{Bucket, NameText, SubscriptionKey};

const SHARDS: usize = 64;

type Shard = HashMap<Prefix, Arc<[BucketRoutes]>, FixedState>;

/// Which links receive which names. Clones share everything.
#[derive(Clone, Debug)]
pub struct Fib {
    shards: Box<[Arc<Shard>]>,
    hasher: FixedState,
    defaults: Arc<DefaultRoutes>,
    accesses: Accesses,
}

/// Where publishes of local applications go that match nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct DefaultRoutes {
    /// Links to routing nodes.
    pub(crate) uplinks: Vec<Target>,
    /// The one among several uplinks that an application chose, ordered by name.
    pub(crate) chosen: Vec<(Prefix, Target)>,
    /// The one that messages of a name came from, ordered by name.
    pub(crate) learned: Vec<(Prefix, Target)>,
}

impl DefaultRoutes {
    /// The uplink for a message that one receiver gets; `None` if nothing says which.
    pub(crate) fn one(&self, prefix: Prefix) -> Option<&Target> {
        match self.uplinks.as_slice() {
            [only] => Some(only),
            _ => find(&self.chosen, prefix).or_else(|| find(&self.learned, prefix)),
        }
    }

    /// The uplinks for a message that all receivers get: all, unless the application chose.
    pub(crate) fn all(&self, prefix: Prefix) -> &[Target] {
        match find(&self.chosen, prefix) {
            Some(chosen) => std::slice::from_ref(chosen),
            None => &self.uplinks,
        }
    }
}

fn find(routes: &[(Prefix, Target)], prefix: Prefix) -> Option<&Target> {
    let index = routes.binary_search_by_key(&prefix, |(known, _)| *known).ok()?;
    routes.get(index).map(|(_, target)| target)
}

/// What links may do that may not do everything. Replaced as a whole, so readers notice a change by its address.
pub(crate) type Accesses = Arc<BTreeMap<LinkId, Arc<Access>>>;

/// A receiving link.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) id: LinkId,
    pub(crate) link: Arc<LinkInfo>,
    /// `None` if the link may do everything.
    pub(crate) access: Option<Arc<Access>>,
}

/// The receivers of the names in one bucket.
#[derive(Clone, Debug)]
struct BucketRoutes {
    number: u8,
    texts: Arc<[TextRoutes]>,
}

/// The receivers of the names in one bucket with the same three components.
#[derive(Clone, Debug)]
pub(crate) struct TextRoutes {
    /// The readable components, as far as subscribers sent them. Two texts with equal hashes are two entries.
    text: Option<NameText>,
    /// Per id, ordered; each list ordered by class.
    by_id: Box<[(NameId, Box<[Target]>)]>,
    /// Every link once, ordered by class.
    any: Box<[Target]>,
}

impl Fib {
    pub(crate) fn new(seed: u64) -> Self {
        let hasher = FixedState::with_seed(seed);
        Self {
            shards: (0..SHARDS)
                .map(|_| Arc::new(Shard::with_hasher(hasher.clone())))
                .collect(),
            hasher,
            defaults: Arc::default(),
            accesses: Accesses::default(),
        }
    }

    /// The default routes of local applications.
    pub(crate) fn defaults(&self) -> &DefaultRoutes {
        &self.defaults
    }

    pub(crate) fn set_defaults(&mut self, defaults: DefaultRoutes) {
        self.defaults = Arc::new(defaults);
    }

    pub(crate) fn accesses(&self) -> &Accesses {
        &self.accesses
    }

    pub(crate) fn set_accesses(&mut self, accesses: BTreeMap<LinkId, Arc<Access>>) {
        self.accesses = Arc::new(accesses);
    }

    /// The receivers of a name, as lists ordered by class. A link is in each list once, but may be in several: of a
    /// name without id, and when texts collide or differ in presence.
    pub(crate) fn routes<'f>(&'f self, name: &NameView<'_>) -> impl Iterator<Item = &'f [Target]> + Clone {
        let id = name.name().id;
        let text = name.text;
        let buckets = self.shards[self.shard_of(name.prefix)].get(&name.prefix);
        let buckets = buckets.map_or(&[][..], |buckets| buckets);
        let buckets = if id == NameId::ANY {
            buckets
        } else {
            let number = Bucket::of(name.prefix, id).number;
            match buckets.binary_search_by_key(&number, |bucket| bucket.number) {
                Ok(index) => &buckets[index..=index],
                Err(_) => &[],
            }
        };
        buckets
            .iter()
            .flat_map(|bucket| bucket.texts.iter())
            .filter(move |routes| routes.matches(text))
            .map(move |routes| routes.receivers(id))
    }

    /// Replaces what is known of one bucket; no routes means none.
    pub(crate) fn set_bucket(&mut self, bucket: Bucket, texts: Vec<TextRoutes>) {
        let index = self.shard_of(bucket.prefix);
        let shard = Arc::make_mut(&mut self.shards[index]);
        let old = shard.get(&bucket.prefix).map_or(&[][..], |buckets| buckets);
        let fresh = (!texts.is_empty()).then(|| BucketRoutes {
            number: bucket.number,
            texts: texts.into(),
        });
        let (below, rest) = old.split_at(old.partition_point(|known| known.number < bucket.number));
        let above = &rest[rest.partition_point(|known| known.number == bucket.number)..];
        let buckets: Arc<[_]> = below
            .iter()
            .cloned()
            .chain(fresh)
            .chain(above.iter().cloned())
            .collect();
        if buckets.is_empty() {
            shard.remove(&bucket.prefix);
        } else {
            shard.insert(bucket.prefix, buckets);
        }
    }

    fn shard_of(&self, prefix: Prefix) -> usize {
        // Bits that the map itself uses neither for its place nor for its tag.
        (self.hasher.hash_one(prefix) >> 40) as usize % SHARDS
    }
}

impl TextRoutes {
    /// Builds the entries of one bucket from its records.
    pub(crate) fn build<'a>(
        records: impl Iterator<Item = (&'a SubscriptionKey, &'a Option<NameText>)>,
        target_of: impl Fn(LinkId) -> Option<Target>,
    ) -> Vec<Self> {
        let mut texts: BTreeMap<&Option<NameText>, BTreeMap<NameId, BTreeSet<LinkId>>> = BTreeMap::new();
        for (key, text) in records {
            let id = key.name.id.unwrap_or(NameId::ANY);
            texts
                .entry(text)
                .or_default()
                .entry(id)
                .or_default()
                .insert(key.link);
        }
        let targets = |links: &BTreeSet<LinkId>| -> Box<[Target]> {
            let mut targets: Vec<_> = links.iter().filter_map(|id| target_of(*id)).collect();
            targets.sort_by_key(|target| (target.link.class, target.id));
            targets.into()
        };
        texts
            .into_iter()
            .map(|(text, ids)| Self {
                text: text.clone(),
                any: targets(&ids.values().flatten().copied().collect()),
                by_id: ids.iter().map(|(id, links)| (*id, targets(links))).collect(),
            })
            .collect()
    }

    /// A name without text matches every text, and an entry without text matches every name: upstream routes by the
    /// hashes alone.
    fn matches(&self, text: Option<[&str; 3]>) -> bool {
        let (Some(own), Some(text)) = (&self.text, text) else {
            return true;
        };
        own.iter().map(AsRef::as_ref).eq(text)
    }

    fn receivers(&self, id: NameId) -> &[Target] {
        if id == NameId::ANY {
            return &self.any;
        }
        match self.by_id.binary_search_by_key(&id, |(known, _)| *known) {
            Ok(index) => &self.by_id[index].1,
            Err(_) => &[],
        }
    }
}

/// The part of a list that belongs to one class.
pub(crate) fn of_class(targets: &[Target], class: LinkClass) -> &[Target] {
    let start = targets.partition_point(|target| target.link.class < class);
    let end = targets.partition_point(|target| target.link.class <= class);
    &targets[start..end]
}
