//! [`Router`]: inputs, outputs, and the one place that calls the parts.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use slab::Slab;
use slim_crypto::Rng;
use slim_policy::Denied;
use slim_proto::control::SubscriptionAck;
use slim_proto::limits::{SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_PER_LINK_MAX};
use slim_proto::{Egress, Frame, FrameKind, HeaderView, Instant, Now};
use tracing::{debug, trace};

use crate::access::{Access, Principals};
use crate::acks::{Answered, PendingRequests};
use crate::announcements::Announcements;
use crate::counters::{Counters, DropReason};
use crate::fib::{DefaultRoutes, Fib, Target, TextRoutes};
use crate::forward::{Ingress, Scratch, forward, subscription_egress};
use crate::link::{LinkClass, LinkId, LinkInfo};
use crate::memberships::Memberships;
use crate::preferences::Preferences;
use crate::restore;
use crate::subscriptions::{Bucket, EncodedName, SubscriptionTable};
use crate::twins::Twins;

mod permissions;
mod relay;
mod succession;
mod uplinks;

use succession::{Succession, is_sending};
pub use uplinks::RouteError;

/// Limits of one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterConfig {
    /// Subscriptions of one link.
    pub subscriptions_per_link_max: usize,
    /// Subscriptions of all links.
    pub subscriptions_max: usize,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            subscriptions_per_link_max: SUBSCRIPTIONS_PER_LINK_MAX,
            subscriptions_max: SUBSCRIPTIONS_MAX,
        }
    }
}

/// Why the router wants a link closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// A routing node left every repetition of a subscription request unanswered: the link is deaf. A new one
    /// gets everything replayed.
    #[error("subscription requests stay unanswered")]
    Unresponsive,
}

/// What the router wants done, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// Write a frame to a link.
    Send {
        /// Where to.
        link: LinkId,
        /// The frame with its gRPC prefix; [`Egress::into_frame`] for a local application.
        egress: Egress,
    },
    /// Forward by this table from now on.
    PublishFib(Arc<Fib>),
    /// Close a link; [`Router::handle_link_down`] follows when it is closed.
    CloseLink {
        /// Which.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
    /// The predecessor carries nothing new from here on: end it in order, what is under way included.
    Succeeded {
        /// The link to end.
        predecessor: LinkId,
        /// The one that does its work.
        successor: LinkId,
    },
}

/// The routing state of a node, or of a process with applications.
///
/// Feed inputs (`handle_*`, `set_route`), then drain [`poll_output`](Self::poll_output) before the next wait. Several
/// inputs may come before one drain; the forwarding table is then published once for all of them.
/// [`poll_timeout`](Self::poll_timeout) says when [`handle_timeout`](Self::handle_timeout) is due.
///
/// *Local* links are applications in this process. *Uplinks* are edge links that this process dialed: local
/// subscriptions are announced on them, and publishes of local applications that match nothing leave by them. A
/// node that only accepts links has neither.
#[derive(Debug)]
pub struct Router {
    links: Slab<LinkState>,
    generation: u32,
    table: SubscriptionTable,
    announcements: Announcements,
    pending: PendingRequests,
    fib: Arc<Fib>,
    preferences: Preferences,
    successions: Vec<Succession>,
    /// Predecessors that only end what is under way.
    retired: BTreeSet<LinkId>,
    twins: Twins,
    /// Buckets whose records changed since the table was derived.
    stale: BTreeSet<Bucket>,
    uplinks_changed: bool,
    accesses_changed: bool,
    memberships: Memberships,
    /// What those with an identity may do; several links of one share it.
    principals: Principals,
    /// Seeds of the tables of correspondents.
    rng: Rng,
    /// What links were refused, for a log; the oldest few.
    refusals: VecDeque<(LinkId, Denied)>,
    /// The table changed since it was given out.
    unpublished: bool,
    outputs: VecDeque<Output>,
    copies: Vec<(LinkId, Egress)>,
    scratch: Scratch,
    counters: Counters,
}

#[derive(Debug)]
struct LinkState {
    generation: u32,
    ingress: Ingress,
    /// `None` if the link may do everything.
    access: Option<Arc<Access>>,
}

impl Router {
    /// An empty router. The seed makes its hash functions and first subscription id unpredictable to strangers.
    pub fn new(config: RouterConfig, seed: [u8; 32]) -> Self {
        let mut rng = Rng::from_seed(seed);
        Self {
            links: Slab::new(),
            generation: 0,
            table: SubscriptionTable::new(config.subscriptions_per_link_max, config.subscriptions_max),
            fib: Arc::new(Fib::new(rng.next_u64())),
            announcements: Announcements::new(rng.next_u64()),
            pending: PendingRequests::default(),
            preferences: Preferences::default(),
            successions: Vec::new(),
            retired: BTreeSet::new(),
            twins: Twins::new(rng.next_u64()),
            stale: BTreeSet::new(),
            uplinks_changed: false,
            accesses_changed: false,
            memberships: Memberships::default(),
            principals: Principals::default(),
            refusals: VecDeque::new(),
            unpublished: false,
            outputs: VecDeque::new(),
            copies: Vec::new(),
            scratch: Scratch::default(),
            counters: Counters::default(),
            rng,
        }
    }

    /// A link finished its handshake. Keep the `Arc` for an [`Ingress`] of your own if you forward yourself.
    ///
    /// A link with a known `link_id` is a link of its own: the old one may still be half alive (wire-routing A11.2).
    pub fn handle_link_up(&mut self, _now: Now, info: impl Into<Arc<LinkInfo>>) -> LinkId {
        let id = self.add_link(info.into());
        self.greet_uplink(id);
        id
    }

    fn add_link(&mut self, info: Arc<LinkInfo>) -> LinkId {
        self.generation = self.generation.wrapping_add(1);
        let entry = self.links.vacant_entry();
        let id = LinkId {
            slot: u32::try_from(entry.key())
                .expect("fewer links than 2^32: each has a socket or an application"),
            generation: self.generation,
        };
        entry.insert(LinkState {
            generation: id.generation,
            ingress: Ingress::new(id, Arc::clone(&info)),
            access: None,
        });
        debug!(link = %id, class = ?info.class, direction = ?info.direction, "link up");
        id
    }

    /// Tells a fresh uplink every local subscription.
    fn greet_uplink(&mut self, id: LinkId) {
        if self.info(id).is_some_and(|info| info.is_uplink()) {
            self.uplinks_changed = true;
            for replay in restore::replay(&mut self.announcements, &mut self.pending, id) {
                self.send_request(id, &replay.frame, replay.wire_id);
            }
        }
    }

    /// A link is gone: its records and routes go at once (wire-routing A11.3). Unknown links are ignored.
    pub fn handle_link_down(&mut self, now: Now, link: LinkId) {
        let Some(info) = self.info(link) else {
            return;
        };
        // Before the rest goes: a successor inherits.
        self.succession_link_down(now.mono, link);
        let removed = self.table.remove_link(link);
        removed.iter().for_each(|key| self.memberships.leave(key));
        debug!(%link, subscriptions = removed.len(), "link down");
        self.stale.extend(removed.iter().map(|key| key.name.bucket));
        if info.is_uplink() {
            self.uplinks_changed = true;
            self.preferences.remove_link(link);
            self.announcements.uplink_down(link);
            for completed in self.pending.uplink_down(link) {
                self.complete(now.mono, completed);
            }
        }
        if info.class == LinkClass::Local {
            for key in removed {
                self.withdraw(now.mono, &key);
            }
        }
        if let Some(state) = self.links.try_remove(link.slot as usize) {
            self.accesses_changed |= state.access.is_some();
            self.counters.add(state.ingress.counters());
        }
    }

    /// A frame arrived. A node that forwards publishes itself passes only the other kinds.
    pub fn handle_frame(&mut self, now: Now, link: LinkId, frame: &Frame) {
        if self.state_mut(link).is_none() {
            self.counters.count_drop(DropReason::UnknownLink);
            return;
        }
        let result = match frame.kind() {
            Ok(FrameKind::Publish) => {
                self.handle_publish(now.mono, link, frame);
                return;
            }
            Ok(FrameKind::Subscribe | FrameKind::Unsubscribe) => self.handle_subscription(now, link, frame),
            Ok(FrameKind::SubscriptionAck) => self.handle_ack(now.mono, link, frame),
            // Later Link messages are ignored (wire-routing A4.3).
            Ok(FrameKind::Link) => Err(DropReason::Unexpected),
            Err(error) => Err(error.into()),
        };
        if let Err(reason) = result {
            trace!(%link, %reason, "frame dropped");
            if let Some(state) = self.state_mut(link) {
                state.ingress.count_drop(reason);
            }
        }
    }

    /// Something that [`poll_timeout`](Self::poll_timeout) announced is due; harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Now) {
        self.repeat_requests(now.mono);
        self.repeat_successions(now.mono);
    }

    /// The next thing to do. A changed forwarding table comes first, so an acknowledgement never overtakes the table
    /// that makes it true (Invariant 8).
    pub fn poll_output(&mut self) -> Option<Output> {
        self.refresh_fib();
        if std::mem::take(&mut self.unpublished) {
            return Some(Output::PublishFib(Arc::clone(&self.fib)));
        }
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), and for what.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        let acknowledgement = self.pending.poll_timeout();
        acknowledgement
            .into_iter()
            .chain(self.next_succession_timeout())
            .min()
            .map(|at| (at, "subscription acknowledgement"))
    }

    /// The forwarding table as of the last drained output, for whoever starts to forward before it changes again.
    pub fn fib(&self) -> Arc<Fib> {
        Arc::clone(&self.fib)
    }

    /// Counts of this router and of all frames that it handled, closed links included. A node that forwards itself
    /// adds those of its [`Ingress`]es.
    pub fn counters(&self) -> Counters {
        let mut total = self.counters;
        for (_, state) in &self.links {
            total.add(state.ingress.counters());
        }
        total
    }

    /// Number of subscription records.
    pub fn subscription_count(&self) -> usize {
        self.table.len()
    }

    /// Number of links.
    pub fn link_count(&self) -> usize {
        self.links.len()
    }

    /// What was told to [`handle_link_up`](Self::handle_link_up), while the link is up.
    pub fn info(&self, link: LinkId) -> Option<Arc<LinkInfo>> {
        let state = self.links.get(link.slot as usize)?;
        (state.generation == link.generation).then(|| Arc::clone(state.ingress.link()))
    }

    fn state_mut(&mut self, link: LinkId) -> Option<&mut LinkState> {
        self.links
            .get_mut(link.slot as usize)
            .filter(|state| state.generation == link.generation)
    }

    fn handle_publish(&mut self, now: Instant, link: LinkId, frame: &Frame) {
        self.refresh_fib();
        let fib = Arc::clone(&self.fib);
        let mut copies = std::mem::take(&mut self.copies);
        let mut refusal = None;
        if let Some(state) = self.state_mut(link)
            && let Err(reason) = forward(&fib, &mut state.ingress, frame, &mut copies)
        {
            trace!(%link, %reason, "publish dropped");
            refusal = state.ingress.take_refusal();
        }
        if let Some(denied) = refusal {
            self.note_refusal(link, denied);
        }
        if !copies.is_empty() && self.twins.is_second(now, link, frame) {
            trace!(%link, "second copy of a message over a link that replaces another");
            copies.clear();
            if let Some(state) = self.state_mut(link) {
                state.ingress.count_drop(DropReason::Twin);
            }
        }
        self.learn_route(link, frame);
        self.outputs.extend(
            copies
                .drain(..)
                .map(|(link, egress)| Output::Send { link, egress }),
        );
        self.copies = copies;
    }

    fn handle_subscription(&mut self, now: Now, link: LinkId, frame: &Frame) -> Result<(), DropReason> {
        let header = HeaderView::parse(frame)?;
        let state = self.state_mut(link).ok_or(DropReason::UnknownLink)?;
        state.ingress.admit(&header)?;
        let is_local = state.ingress.link().class == LinkClass::Local;
        if let Some(access) = &state.access
            && let Err(denied) = access.permissions().may_subscribe(&header.destination)
        {
            return self.refuse_subscription(link, &header, denied);
        }
        match (header.kind == FrameKind::Subscribe, is_local) {
            (true, true) => self.subscribe_local(now.mono, link, frame, &header),
            (true, false) => {
                let outcome = self.insert(link, &header);
                if outcome.is_ok() {
                    self.introduce(link, &header);
                }
                self.ack(link, header.subscription_id, outcome.clone());
                outcome.map_err(|_| DropReason::SubscriptionLimit)
            }
            (false, true) => {
                self.unsubscribe_local(now.mono, link, frame, &header);
                Ok(())
            }
            (false, false) => {
                let outcome = self
                    .table
                    .unsubscribe(link, &header.destination, header.subscription_id);
                if let Ok(key) = &outcome {
                    self.memberships.leave(key);
                    self.stale.insert(key.name.bucket);
                }
                self.ack(
                    link,
                    header.subscription_id,
                    outcome.map(drop).map_err(|e| e.to_string()),
                );
                Ok(())
            }
        }
    }

    fn insert(&mut self, link: LinkId, header: &HeaderView<'_>) -> Result<(), String> {
        let inserted = self
            .table
            .subscribe(link, &header.destination, header.subscription_id);
        match inserted {
            Ok(true) => {
                self.stale.insert(EncodedName::of(&header.destination).bucket);
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(limit) => {
                debug!(%link, %limit, "subscription refused");
                Err(limit.to_string())
            }
        }
    }

    fn handle_ack(&mut self, now: Instant, link: LinkId, frame: &Frame) -> Result<(), DropReason> {
        let ack = SubscriptionAck::decode(frame)
            .map_err(|_| DropReason::Undecodable)?
            .ok_or(DropReason::Unexpected)?;
        if self.acknowledge_successor(link, ack.subscription_id, &ack.outcome) {
            return Ok(());
        }
        let answered = self
            .pending
            .handle_ack(link, ack.subscription_id, ack.outcome)
            .map_err(|()| DropReason::UnknownAck)?;
        match answered {
            Answered::Waiting => {}
            Answered::Doubtful(request) => self.send_request(link, &request, ack.subscription_id),
            Answered::Completed(completed) => self.complete(now, *completed),
        }
        Ok(())
    }

    fn ack(&mut self, link: LinkId, subscription_id: u64, outcome: Result<(), String>) {
        if subscription_id == 0 || self.info(link).is_none() {
            return;
        }
        let ack = SubscriptionAck {
            subscription_id,
            outcome,
        };
        self.outputs.push_back(Output::Send {
            link,
            egress: ack.to_egress(),
        });
    }

    /// Sends a local application's request to a routing node, under an id of this router.
    fn send_request(&mut self, uplink: LinkId, frame: &Frame, wire_id: u64) {
        let Some(info) = self.info(uplink) else {
            return;
        };
        match subscription_egress(frame, &info, wire_id, &mut self.scratch) {
            Ok(egress) => self.outputs.push_back(Output::Send { link: uplink, egress }),
            Err(reason) => self.counters.count_drop(reason),
        }
    }

    /// Derives the forwarding table from the records that changed.
    fn refresh_fib(&mut self) {
        if self.stale.is_empty() && !self.uplinks_changed && !self.accesses_changed {
            return;
        }
        self.unpublished = true;
        let links = &self.links;
        let target_of = |id: LinkId| links.get(id.slot as usize).map(LinkState::target);
        let fib = Arc::make_mut(&mut self.fib);
        for bucket in std::mem::take(&mut self.stale) {
            fib.set_bucket(bucket, TextRoutes::build(self.table.of_bucket(bucket), target_of));
        }
        if std::mem::take(&mut self.uplinks_changed) {
            let route = |(prefix, id)| Some((prefix, target_of(id)?));
            let uplinks = links
                .iter()
                .filter(|(_, state)| state.ingress.link().is_uplink())
                .map(|(_, state)| state.ingress.id())
                .filter(|id| is_sending(&self.successions, &self.retired, *id));
            fib.set_defaults(DefaultRoutes {
                uplinks: uplinks.filter_map(target_of).collect(),
                chosen: self.preferences.chosen().filter_map(route).collect(),
                learned: self.preferences.learned().filter_map(route).collect(),
            });
        }
        if std::mem::take(&mut self.accesses_changed) {
            let accesses = links.iter().filter_map(|(_, state)| {
                let access = state.access.as_ref()?;
                Some((state.ingress.id(), Arc::clone(access)))
            });
            fib.set_accesses(accesses.collect());
        }
    }
}

impl LinkState {
    fn target(&self) -> Target {
        Target {
            id: self.ingress.id(),
            link: Arc::clone(self.ingress.link()),
            access: self.access.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
