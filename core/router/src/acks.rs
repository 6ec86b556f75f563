//! Subscription requests of local applications that wait for their uplinks: aggregate, repeat, expire
//! (wire-routing A7.4).
//!
//! An Unsubscribe must carry the id of its Subscribe (A7.3) and an acknowledgement carries nothing but that id. So
//! an answer to a Subscribe that comes late looks like one to the Unsubscribe, and must not be believed: the
//! request itself may have been lost. What may still come is counted; such an answer makes the request go out
//! again, and what no Subscribe can have caused any more is the answer.

use std::collections::{BTreeMap, BTreeSet};

use slim_proto::control::SubscriptionAction;
use slim_proto::limits::{SUBSCRIPTION_ACK_INTERVAL, SUBSCRIPTION_SENDS_MAX};
use slim_proto::{Frame, Instant};

use crate::link::LinkId;
use crate::subscriptions::{EncodedName, SubscriptionKey};

/// One request on its way.
#[derive(Clone, Debug)]
pub(crate) struct PendingRequest {
    pub(crate) action: SubscriptionAction,
    /// The local record that it is about.
    pub(crate) key: SubscriptionKey,
    /// Id of the application's request, for the acknowledgement; 0 = it wants none.
    pub(crate) request_id: u64,
    /// The application's request.
    pub(crate) frame: Frame,
    /// Uplinks that did not answer yet, each with the answers to an earlier Subscribe that may still come from it.
    waiting: BTreeMap<LinkId, u32>,
    /// At least one uplink said yes.
    confirmed: bool,
    /// The first refusal.
    refusal: Option<String>,
    sends: u32,
    /// It went to an uplink more than once, so the first may have done what the second finds done.
    repeated: bool,
    next_send: Instant,
}

/// A request that is over.
#[derive(Clone, Debug)]
pub(crate) struct Completed {
    pub(crate) wire_id: u64,
    pub(crate) request: PendingRequest,
    /// `Err` holds text for the application.
    pub(crate) outcome: Result<(), String>,
    /// Uplinks that never answered.
    pub(crate) silent: BTreeSet<LinkId>,
}

/// What follows from an answer.
#[derive(Clone, Debug)]
pub(crate) enum Answered {
    /// Others have yet to answer.
    Waiting,
    /// The answer may be one to an earlier Subscribe: send the Unsubscribe again, to be sure.
    Doubtful(Frame),
    /// The request is over.
    Completed(Box<Completed>),
}

/// What is to be done after time passed.
#[derive(Clone, Debug)]
pub(crate) enum Due {
    /// Send the request again.
    Repeat {
        wire_id: u64,
        uplink: LinkId,
        frame: Frame,
    },
    /// Tell the application.
    Complete(Box<Completed>),
}

/// All waiting requests, by the id that uplinks see.
#[derive(Debug, Default)]
pub(crate) struct PendingRequests {
    by_id: BTreeMap<u64, PendingRequest>,
}

impl PendingRequest {
    pub(crate) fn new(
        action: SubscriptionAction,
        key: SubscriptionKey,
        request_id: u64,
        frame: &Frame,
        waiting: BTreeMap<LinkId, u32>,
        now: Instant,
    ) -> Self {
        Self {
            action,
            key,
            request_id,
            frame: frame.clone(),
            waiting,
            confirmed: false,
            refusal: None,
            sends: 1,
            repeated: false,
            next_send: now + SUBSCRIPTION_ACK_INTERVAL,
        }
    }

    /// Answers of this uplink that may still come: each send has one (wire-routing A7.4).
    pub(crate) fn unanswered(&self, uplink: LinkId) -> u32 {
        if self.waiting.contains_key(&uplink) {
            self.sends
        } else {
            self.sends.saturating_sub(1)
        }
    }
}

impl PendingRequests {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// The request that waits under this id.
    pub(crate) fn find(&self, wire_id: u64) -> Option<&PendingRequest> {
        self.by_id.get(&wire_id)
    }

    /// True if an application's Unsubscribe with this id and name waits already.
    pub(crate) fn is_unsubscribing(&self, link: LinkId, name: EncodedName, request_id: u64) -> bool {
        self.by_id.values().any(|request| {
            request.action == SubscriptionAction::Unsubscribe
                && request.key.link == link
                && request.key.name == name
                && request.request_id == request_id
        })
    }

    /// Starts to wait. An earlier request with the same id is given up and returned.
    pub(crate) fn start(&mut self, wire_id: u64, request: PendingRequest) -> Option<PendingRequest> {
        self.by_id.insert(wire_id, request)
    }

    pub(crate) fn cancel(&mut self, wire_id: u64) -> Option<PendingRequest> {
        self.by_id.remove(&wire_id)
    }

    /// Waits for one more uplink, which was just sent the request.
    pub(crate) fn add_uplink(&mut self, wire_id: u64, uplink: LinkId) {
        if let Some(request) = self.by_id.get_mut(&wire_id) {
            request.waiting.insert(uplink, 0);
        }
    }

    /// An uplink answered. `Err(())` if nobody waits for that answer.
    pub(crate) fn handle_ack(
        &mut self,
        uplink: LinkId,
        wire_id: u64,
        outcome: Result<(), String>,
    ) -> Result<Answered, ()> {
        let request = self.by_id.get_mut(&wire_id).ok_or(())?;
        let earlier = request.waiting.get_mut(&uplink).ok_or(())?;
        let is_unsubscribe = request.action == SubscriptionAction::Unsubscribe;
        match outcome {
            Ok(()) if *earlier > 0 => {
                *earlier -= 1;
                request.repeated = true;
                return Ok(Answered::Doubtful(request.frame.clone()));
            }
            Ok(()) => request.confirmed = true,
            // Whichever request was refused, the routing node has no such subscription, as wished: an earlier send
            // of this one removed it, or the Subscribe was lost or refused.
            Err(_) if is_unsubscribe && (*earlier > 0 || request.repeated) => request.confirmed = true,
            Err(text) => {
                request.refusal.get_or_insert(text);
            }
        }
        request.waiting.remove(&uplink);
        Ok(match self.complete_if_answered(wire_id) {
            Some(completed) => Answered::Completed(Box::new(completed)),
            None => Answered::Waiting,
        })
    }

    /// An uplink is gone; returns the requests that waited for nobody else.
    pub(crate) fn uplink_down(&mut self, uplink: LinkId) -> Vec<Completed> {
        let mut affected = Vec::new();
        for (wire_id, request) in &mut self.by_id {
            if request.waiting.remove(&uplink).is_some() {
                // The routing node forgot the subscription with the link.
                request.confirmed |= request.action == SubscriptionAction::Unsubscribe;
                affected.push(*wire_id);
            }
        }
        affected
            .into_iter()
            .filter_map(|wire_id| self.complete_if_answered(wire_id))
            .collect()
    }

    /// When the next request is repeated or given up.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.by_id.values().map(|request| request.next_send).min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Vec<Due> {
        let mut due = Vec::new();
        let mut expired = Vec::new();
        for (wire_id, request) in &mut self.by_id {
            if request.next_send > now {
                continue;
            }
            if request.sends >= SUBSCRIPTION_SENDS_MAX {
                expired.push(*wire_id);
                continue;
            }
            request.sends += 1;
            request.repeated = true;
            request.next_send = now + SUBSCRIPTION_ACK_INTERVAL;
            due.extend(request.waiting.keys().map(|uplink| Due::Repeat {
                wire_id: *wire_id,
                uplink: *uplink,
                frame: request.frame.clone(),
            }));
        }
        for wire_id in expired {
            if let Some(mut request) = self.by_id.remove(&wire_id) {
                due.push(Due::Complete(Box::new(Completed {
                    wire_id,
                    outcome: Err(request.refusal.take().unwrap_or_else(|| {
                        format!(
                            "no acknowledgement from the routing node after {SUBSCRIPTION_SENDS_MAX} sends"
                        )
                    })),
                    silent: std::mem::take(&mut request.waiting).into_keys().collect(),
                    request,
                })));
            }
        }
        due
    }

    fn complete_if_answered(&mut self, wire_id: u64) -> Option<Completed> {
        let request = self.by_id.get(&wire_id)?;
        // With every uplink lost before it answered, the request waits for the next uplink or its last timeout.
        if !request.waiting.is_empty() || (!request.confirmed && request.refusal.is_none()) {
            return None;
        }
        let mut request = self.by_id.remove(&wire_id)?;
        Some(Completed {
            wire_id,
            outcome: request.refusal.take().map_or(Ok(()), Err),
            silent: BTreeSet::new(),
            request,
        })
    }
}
