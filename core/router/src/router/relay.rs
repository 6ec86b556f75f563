//! The part of [`Router`] that speaks for local applications: what they subscribe to is announced on every uplink,
//! and they are told when the routing node knows it.

use std::collections::BTreeMap;

use slim_proto::control::{SubscriptionAction, SubscriptionRequest};
use slim_proto::limits::SUBSCRIPTIONS_PENDING_MAX;
use slim_proto::{Frame, FullName, HeaderView, Instant};
use tracing::{debug, warn};

use super::{CloseReason, Output, Router};
use crate::acks::{Completed, Due, PendingRequest};
use crate::announcements::{Announcement, Told};
use crate::counters::DropReason;
use crate::link::LinkId;
use crate::subscriptions::{EncodedName, SubscriptionKey};

impl Router {
    /// Sends publishes for `destination` to `link` as if it had subscribed; nothing is said on the wire
    /// (wire-routing A18, `set_route`). Fails with text when a limit is reached or the link is gone.
    pub fn set_route(&mut self, link: LinkId, destination: &FullName) -> Result<(), String> {
        if self.info(link).is_none() {
            return Err(DropReason::UnknownLink.to_string());
        }
        let inserted = self.table.subscribe(link, &destination.view(), 0);
        inserted.map_err(|limit| limit.to_string())?;
        self.stale.insert(EncodedName::of(&destination.view()).bucket);
        Ok(())
    }

    /// Takes [`set_route`](Self::set_route) back; false if there was no such route.
    pub fn remove_route(&mut self, link: LinkId, destination: &FullName) -> bool {
        let key = SubscriptionKey {
            name: EncodedName::of(&destination.view()),
            link,
            subscription_id: 0,
        };
        self.stale.insert(key.name.bucket);
        self.table.remove(&key)
    }

    pub(super) fn subscribe_local(
        &mut self,
        now: Instant,
        link: LinkId,
        frame: &Frame,
        header: &HeaderView<'_>,
    ) -> Result<(), DropReason> {
        let request_id = header.subscription_id;
        let key = SubscriptionKey {
            name: EncodedName::of(&header.destination),
            link,
            subscription_id: request_id,
        };
        let wire_id = self.announcements.find_mut(&key).map(|known| known.wire_id);
        if let Some(wire_id) = wire_id {
            // A repetition: the answer is on its way, or it is known to be yes.
            if self.pending.find(wire_id).is_none() {
                self.ack(link, request_id, Ok(()));
            }
            return Ok(());
        }
        let uplinks = self.uplinks();
        if !uplinks.is_empty() && self.pending.len() >= SUBSCRIPTIONS_PENDING_MAX {
            let text =
                format!("limit of waiting subscription requests reached ({SUBSCRIPTIONS_PENDING_MAX})");
            self.ack(link, request_id, Err(text));
            return Err(DropReason::SubscriptionLimit);
        }
        if let Err(limit) = self.insert(link, header) {
            self.ack(link, request_id, Err(limit));
            return Err(DropReason::SubscriptionLimit);
        }
        let announcement = self.announcements.announce(key, frame);
        announcement.uplinks.extend(
            uplinks
                .iter()
                .map(|uplink| (*uplink, Told::WithId { unanswered: 0 })),
        );
        let wire_id = announcement.wire_id;
        if uplinks.is_empty() {
            self.ack(link, request_id, Ok(()));
            return Ok(());
        }
        let request = PendingRequest::new(
            SubscriptionAction::Subscribe,
            key,
            request_id,
            frame,
            uplinks.iter().map(|uplink| (*uplink, 0)).collect(),
            now,
        );
        self.pending.start(wire_id, request);
        for uplink in uplinks {
            self.send_request(uplink, frame, wire_id);
        }
        Ok(())
    }

    pub(super) fn unsubscribe_local(
        &mut self,
        now: Instant,
        link: LinkId,
        frame: &Frame,
        header: &HeaderView<'_>,
    ) {
        let request_id = header.subscription_id;
        let key = match self.table.unsubscribe(link, &header.destination, request_id) {
            Ok(key) => key,
            Err(error) => {
                // The record of a repeated request is gone; its answer is on the way.
                let name = EncodedName::of(&header.destination);
                if !self.pending.is_unsubscribing(link, name, request_id) {
                    self.ack(link, request_id, Err(error.to_string()));
                }
                return;
            }
        };
        self.stale.insert(key.name.bucket);
        let Some(mut announcement) = self.announcements.remove(&key) else {
            self.ack(link, request_id, Ok(()));
            return;
        };
        if let Some(subscribe) = self.pending.cancel(announcement.wire_id) {
            announcement.note_unanswered(&subscribe);
            let text = "unsubscribed before the routing node answered".to_owned();
            self.ack(link, subscribe.request_id, Err(text));
        }
        let waiting = self.send_unsubscribes(&key, &announcement, frame);
        if waiting.is_empty() {
            self.ack(link, request_id, Ok(()));
            return;
        }
        let request = PendingRequest::new(
            SubscriptionAction::Unsubscribe,
            key,
            request_id,
            frame,
            waiting,
            now,
        );
        self.pending.start(announcement.wire_id, request);
    }

    /// Takes an announcement back on every uplink that was told. Returns the uplinks that will acknowledge, each
    /// with the answers to the announcement that may still come.
    fn send_unsubscribes(
        &mut self,
        key: &SubscriptionKey,
        announcement: &Announcement,
        frame: &Frame,
    ) -> BTreeMap<LinkId, u32> {
        let mut waiting = BTreeMap::new();
        for (uplink, told) in &announcement.uplinks {
            match told {
                Told::WithId { unanswered } => {
                    self.send_request(*uplink, frame, announcement.wire_id);
                    waiting.insert(*uplink, *unanswered);
                }
                // Other subscriptions to the name may rely on the one record that the replay made.
                Told::Replayed if self.announcements.has_replayed(key.name, *uplink) => {}
                Told::Replayed => self.send_request(*uplink, frame, 0),
            }
        }
        waiting
    }

    /// Takes a local record back whose application did not ask for it (it is gone, or its request failed). The
    /// request is repeated like any other; only its answer interests nobody.
    pub(super) fn withdraw(&mut self, now: Instant, key: &SubscriptionKey) {
        let Some(mut announcement) = self.announcements.remove(key) else {
            return;
        };
        if let Some(subscribe) = self.pending.cancel(announcement.wire_id) {
            announcement.note_unanswered(&subscribe);
        }
        let unsubscribe = match SubscriptionRequest::decode(&announcement.frame) {
            Ok(Some(request)) => SubscriptionRequest {
                action: SubscriptionAction::Unsubscribe,
                ..request
            }
            .encode(),
            // The table takes names that endpoints do not; only this process can have sent one.
            Ok(None) | Err(_) => {
                warn!(link = %key.link, "subscription with an unusual name is not withdrawn");
                return;
            }
        };
        let waiting = self.send_unsubscribes(key, &announcement, &unsubscribe);
        if waiting.is_empty() || self.pending.len() >= SUBSCRIPTIONS_PENDING_MAX {
            return;
        }
        let action = SubscriptionAction::Unsubscribe;
        let request = PendingRequest::new(action, *key, 0, &unsubscribe, waiting, now);
        self.pending.start(announcement.wire_id, request);
    }

    pub(super) fn repeat_requests(&mut self, now: Instant) {
        for due in self.pending.handle_timeout(now) {
            match due {
                Due::Repeat {
                    wire_id,
                    uplink,
                    frame,
                } => self.send_request(uplink, &frame, wire_id),
                Due::Complete(completed) => self.complete(now, *completed),
            }
        }
    }

    /// Tells the application how its request ended; a failed Subscribe leaves nothing behind.
    pub(super) fn complete(&mut self, now: Instant, completed: Completed) {
        let Completed {
            wire_id,
            request,
            outcome,
            silent,
        } = completed;
        if let Err(text) = &outcome {
            debug!(link = %request.key.link, wire_id, text, "subscription request failed");
        }
        if request.action == SubscriptionAction::Subscribe {
            if let Some(announcement) = self.announcements.find_mut(&request.key) {
                announcement.note_unanswered(&request);
            }
            if outcome.is_err() {
                self.table.remove(&request.key);
                self.stale.insert(request.key.name.bucket);
                self.withdraw(now, &request.key);
            }
        }
        self.ack(request.key.link, request.request_id, outcome);
        for link in silent {
            self.outputs.push_back(Output::CloseLink {
                link,
                reason: CloseReason::Unresponsive,
            });
        }
    }
}
