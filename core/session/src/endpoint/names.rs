//! The names that the application serves: discovery, and what the node says of their subscriptions.

use std::time::Duration;

use slim_proto::control::SubscriptionAction;
use slim_proto::{Command as Payload, FullName, Message, Now};

use super::Endpoint;
use crate::api::Outcome;
use crate::error::OperationError;
use crate::shared::SubscriptionOwner;
use crate::timers::{ENDPOINT, TimerKey};

/// A repeated discovery request is answered again only after this: an upstream moderator does not survive two
/// quick answers (R3, R4), and repeats after a second at the earliest.
const DISCOVERY_ANSWER_INTERVAL: Duration = Duration::from_millis(900);
/// Discovery requests remembered for that.
const DISCOVERIES_MAX: usize = 256;

impl Endpoint {
    /// Discovery is answered for every name served, without keeping a session (wire-session §4.5 i).
    pub(super) fn on_discovery(&mut self, now: Now, message: &Message) {
        if !self.serves(&message.destination) {
            self.shared.counters.unexpected += 1;
            return;
        }
        let key = (message.source.clone(), message.message_id);
        if let Some(answered) = self.answered_discoveries.get(&key)
            && now.mono.saturating_since(*answered) < DISCOVERY_ANSWER_INTERVAL
        {
            self.shared.counters.replayed += 1;
            return;
        }
        let Some(verified) = self.shared.authenticate(now, message) else {
            return;
        };
        if !self.invitations.policy.may_knock(&verified.subject) {
            self.shared.counters.invitations_refused += 1;
            return;
        }
        if self.answered_discoveries.len() >= DISCOVERIES_MAX {
            self.answered_discoveries
                .retain(|_, answered| now.mono.saturating_since(*answered) < DISCOVERY_ANSWER_INTERVAL);
            if self.answered_discoveries.len() >= DISCOVERIES_MAX {
                self.answered_discoveries.pop_first();
            }
        }
        self.answered_discoveries.insert(key, now.mono);
        let reply = Message::new(
            message.destination.with_id(self.shared.name.id()),
            message.source.clone(),
            message.session_kind,
            message.session_id,
            message.message_id,
            Payload::DiscoveryReply,
        );
        self.shared.send_command(now, &reply);
    }

    pub(super) fn serves(&self, name: &FullName) -> bool {
        let for_us = !name.id().is_concrete() || name.id() == self.shared.name.id();
        for_us && (name.same_components(&self.shared.name) || self.names.contains_key(&name.without_id()))
    }

    pub(super) fn on_subscription_answer(&mut self, now: Now, id: u64, outcome: Result<(), String>) {
        let Some(pending) = self.shared.subscriptions.remove(&id) else {
            return;
        };
        self.shared.timers.cancel(ENDPOINT, &TimerKey::Subscription(id));
        match pending.owner {
            SubscriptionOwner::Application(ticket) => {
                if pending.action == SubscriptionAction::Subscribe {
                    self.settle_name(now, &pending.name, id, pending.replaces, outcome.is_ok());
                }
                let name = pending.name;
                let result = outcome
                    .map(|()| Outcome::Done)
                    .map_err(|reason| OperationError::Subscription { name, reason });
                self.shared.complete(ticket, result);
            }
            SubscriptionOwner::Session(session) => {
                if let Some(session) = self.sessions.get_mut(&session) {
                    session.on_subscription(&mut self.shared, now, id, outcome);
                }
            }
        }
    }

    /// A subscription was confirmed or refused: the name keeps one, the new one or the one before.
    fn settle_name(&mut self, now: Now, name: &FullName, id: u64, earlier: Option<u64>, confirmed: bool) {
        let key = name.without_id();
        if confirmed {
            if let Some(earlier) = earlier {
                self.shared.unsubscribe(now, name, earlier, None);
            }
        } else if self.names.get(&key) == Some(&id) {
            match earlier {
                Some(earlier) => self.names.insert(key, earlier),
                None => self.names.remove(&key),
            };
        }
    }
}
