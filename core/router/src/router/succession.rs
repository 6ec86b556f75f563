//! The part of [`Router`] that replaces one uplink by another without a gap: make before break.
//!
//! The successor is told every local subscription under its own id, so that the routing node acknowledges each;
//! until the last acknowledgement it receives but is not sent to. Then everything goes over it, the owner hears
//! [`Output::Succeeded`], and the predecessor only ends what is under way.

use std::collections::{BTreeMap, BTreeSet};

use slim_proto::limits::{SUBSCRIPTION_ACK_INTERVAL, SUBSCRIPTION_SENDS_MAX};
use slim_proto::{Frame, Instant, Now};
use tracing::debug;

use super::{CloseReason, Output, Router};
use crate::announcements::Told;
use crate::link::{LinkId, LinkInfo};

/// A link on its way to replace another.
#[derive(Debug)]
pub(super) struct Succession {
    predecessor: LinkId,
    successor: LinkId,
    /// Announcements that the routing node did not acknowledge on the successor yet.
    waiting: BTreeSet<u64>,
    sends: u32,
    next_send: Instant,
}

impl Router {
    /// A link finished its handshake that is to replace `predecessor`, a link to the same routing node. Once the
    /// node knows all subscriptions on it, [`Output::Succeeded`] asks to end the predecessor. A predecessor that is
    /// gone by then has been succeeded all the same.
    pub fn handle_successor_up(
        &mut self,
        now: Now,
        info: impl Into<std::sync::Arc<LinkInfo>>,
        predecessor: LinkId,
    ) -> LinkId {
        let successor = self.add_link(info.into());
        let known = self.info(predecessor).filter(|info| info.is_uplink());
        let is_uplink = self.info(successor).is_some_and(|info| info.is_uplink());
        if known.is_none() || !is_uplink {
            self.greet_uplink(successor);
            self.succeeded(predecessor, successor);
            return successor;
        }
        let mut waiting = BTreeSet::new();
        let mut requests = Vec::new();
        for (_, announcement) in self.announcements.iter_mut() {
            let told = Told::WithId { unanswered: 0 };
            announcement.uplinks.insert(successor, told);
            if self.pending.find(announcement.wire_id).is_some() {
                self.pending.add_uplink(announcement.wire_id, successor);
            } else {
                waiting.insert(announcement.wire_id);
            }
            requests.push((announcement.frame.clone(), announcement.wire_id));
        }
        for (frame, wire_id) in &requests {
            self.send_request(successor, frame, *wire_id);
        }
        debug!(%predecessor, %successor, subscriptions = waiting.len(), "a link prepares to replace another");
        self.successions.push(Succession {
            predecessor,
            successor,
            waiting,
            sends: 1,
            next_send: now.mono + SUBSCRIPTION_ACK_INTERVAL,
        });
        self.uplinks_changed = true;
        self.twins.watch(now.mono);
        self.complete_successions();
        successor
    }

    /// True if this was the acknowledgement of an announcement that a successor waits for. A refusal counts as
    /// well: the predecessor goes in any case, and a name that the node no longer grants goes with it.
    pub(super) fn acknowledge_successor(
        &mut self,
        link: LinkId,
        wire_id: u64,
        outcome: &Result<(), String>,
    ) -> bool {
        let of_link = |succession: &&mut Succession| succession.successor == link;
        let Some(succession) = self.successions.iter_mut().find(of_link) else {
            return false;
        };
        if !succession.waiting.remove(&wire_id) {
            return false;
        }
        if let Err(text) = outcome {
            debug!(%link, wire_id, text, "the routing node does not restore a subscription");
        }
        self.complete_successions();
        true
    }

    /// When an unanswered announcement is repeated, or the successor given up.
    pub(super) fn next_succession_timeout(&self) -> Option<Instant> {
        self.successions
            .iter()
            .map(|succession| succession.next_send)
            .min()
    }

    pub(super) fn repeat_successions(&mut self, now: Instant) {
        let announced: BTreeMap<u64, Frame> = self
            .announcements
            .iter_mut()
            .map(|(_, announcement)| (announcement.wire_id, announcement.frame.clone()))
            .collect();
        let mut repeats = Vec::new();
        let mut deaf = Vec::new();
        for succession in &mut self.successions {
            if succession.next_send > now {
                continue;
            }
            // What was taken back meanwhile is not sent again, so no answer is missed either.
            succession
                .waiting
                .retain(|wire_id| announced.contains_key(wire_id));
            succession.next_send = now + SUBSCRIPTION_ACK_INTERVAL;
            if succession.sends >= SUBSCRIPTION_SENDS_MAX {
                deaf.push(succession.successor);
                continue;
            }
            succession.sends += 1;
            let waiting = succession.waiting.iter();
            repeats.extend(waiting.map(|wire_id| (succession.successor, *wire_id)));
        }
        for (link, wire_id) in repeats {
            if let Some(frame) = announced.get(&wire_id) {
                self.send_request(link, frame, wire_id);
            }
        }
        for link in deaf {
            self.outputs.push_back(Output::CloseLink {
                link,
                reason: CloseReason::Unresponsive,
            });
        }
        self.complete_successions();
    }

    /// A link is gone. A predecessor's successor takes over with what it has.
    pub(super) fn succession_link_down(&mut self, now: Instant, link: LinkId) {
        if self.retired.remove(&link) {
            self.twins.watch(now);
        }
        self.successions.retain(|succession| succession.successor != link);
        for succession in &mut self.successions {
            if succession.predecessor == link {
                succession.waiting.clear();
            }
        }
        self.complete_successions();
    }

    fn complete_successions(&mut self) {
        let done = |succession: &mut Succession| succession.waiting.is_empty();
        let done: Vec<Succession> = self.successions.extract_if(.., done).collect();
        for Succession {
            predecessor,
            successor,
            ..
        } in done
        {
            self.succeeded(predecessor, successor);
        }
    }

    fn succeeded(&mut self, predecessor: LinkId, successor: LinkId) {
        debug!(%predecessor, %successor, "a link replaced another");
        if self.info(predecessor).is_some() {
            self.retired.insert(predecessor);
        }
        let moved = self.table.move_link(predecessor, successor);
        self.stale.extend(moved.iter().map(|key| key.name.bucket));
        self.preferences.move_link(predecessor, successor);
        self.uplinks_changed = true;
        self.outputs.push_back(Output::Succeeded {
            predecessor,
            successor,
        });
    }
}

/// True for links that carry what this process sends: no successor before its time, no predecessor after it.
pub(super) fn is_sending(successions: &[Succession], retired: &BTreeSet<LinkId>, link: LinkId) -> bool {
    let prepares = |succession: &Succession| succession.successor == link;
    !retired.contains(&link) && !successions.iter().any(prepares)
}
