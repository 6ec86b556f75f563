//! What all sessions of an endpoint share: identity, timers, randomness, and the queues to the outside.

use std::collections::{BTreeMap, VecDeque};

use slim_auth::{
    AuthenticationError, Identity, PayloadSignatures, Verified, Verifier, sign_message, verify_message,
};
use slim_crypto::Rng;
use slim_proto::control::{SubscriptionAction, SubscriptionRequest};
use slim_proto::frame::Frame;
use slim_proto::limits::SUBSCRIPTION_ACK_INTERVAL;
use slim_proto::{FullName, Message, Now, UnixTime};

use crate::api::{Counters, EndpointConfig, Event, Outcome, Ticket};
use crate::error::OperationError;
use crate::timers::{ENDPOINT, TimerKey, Timers};
use crate::verify::Unverified;

/// Age at which the token of data messages is replaced. Control messages always get a new one; for data one a
/// minute keeps the receivers' cache of verified tokens useful.
const DATA_TOKEN_SECS: u64 = 60;
/// Verified tokens remembered: some for each of a thousand members.
const VERIFIED_TOKENS_MAX: usize = 4096;

/// For whom a subscription was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SubscriptionOwner {
    /// The application; the ticket completes with the acknowledgement.
    Application(Ticket),
    /// A session's channel.
    Session(u32),
}

/// A subscription request that the node has not confirmed.
#[derive(Debug)]
pub(crate) struct PendingSubscription {
    pub(crate) owner: SubscriptionOwner,
    pub(crate) name: FullName,
    pub(crate) action: SubscriptionAction,
    /// The subscription of the same name that this one takes the place of.
    pub(crate) replaces: Option<u64>,
}

/// State beside the sessions.
pub(crate) struct Shared {
    pub(crate) identity: Identity,
    pub(crate) verifier: Verifier,
    pub(crate) payload_signatures: PayloadSignatures,
    pub(crate) rng: Rng,
    pub(crate) config: EndpointConfig,
    /// Own name with the id that follows from the identity.
    pub(crate) name: FullName,
    pub(crate) timers: Timers,
    pub(crate) counters: Counters,
    pub(crate) subscriptions: BTreeMap<u64, PendingSubscription>,
    transmits: VecDeque<Frame>,
    events: VecDeque<Event>,
    next_ticket: u64,
    next_exchange: u64,
    next_subscription: u64,
    data_token: Option<(UnixTime, String)>,
    verified_tokens: BTreeMap<String, Verified>,
    pub(crate) unverified: Unverified,
}

impl Shared {
    pub(crate) fn new(
        config: EndpointConfig,
        identity: Identity,
        verifier: Verifier,
        seed: [u8; 32],
    ) -> Self {
        let mut rng = Rng::from_seed(seed);
        Self {
            name: config.name.with_id(identity.name_id()),
            next_subscription: rng.next_u64(),
            identity,
            verifier,
            payload_signatures: PayloadSignatures::default(),
            rng,
            config,
            timers: Timers::default(),
            counters: Counters::default(),
            subscriptions: BTreeMap::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            next_ticket: 1,
            next_exchange: 1,
            data_token: None,
            verified_tokens: BTreeMap::new(),
            unverified: Unverified::default(),
        }
    }

    /// Proves who we are in another way from now on; the next message has a token of it.
    pub(crate) fn use_identity(&mut self, identity: Identity) {
        self.identity = identity;
        self.data_token = None;
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    pub(crate) fn exchange_id(&mut self) -> u64 {
        self.next_exchange += 1;
        self.next_exchange
    }

    /// A control message id: random, never 0 (wire-session §2.4).
    pub(crate) fn message_id(&mut self) -> u32 {
        self.rng.next_u32().max(1)
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.events.push_back(event);
    }

    pub(crate) fn complete(&mut self, ticket: Ticket, result: Result<Outcome, OperationError>) {
        self.event(Event::Completed { ticket, result });
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<Frame> {
        self.transmits.pop_front()
    }

    /// Everything that the application has not been told yet.
    pub(crate) fn take_events(&mut self) -> VecDeque<Event> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn is_drained(&self) -> bool {
        self.transmits.is_empty() && self.events.is_empty()
    }

    /// Signs a command message with a fresh token and sends it.
    pub(crate) fn send_command(&mut self, now: Now, message: &Message) {
        let mut message = message.clone();
        message.identity = self.identity.token(now.unix, &mut self.rng);
        sign_message(&self.identity, &mut message);
        self.send(&message);
    }

    /// The token of data messages.
    pub(crate) fn data_token(&mut self, now: Now) -> String {
        match &self.data_token {
            Some((made, token))
                if now.unix >= *made && now.unix.saturating_since(*made) < DATA_TOKEN_SECS =>
            {
                token.clone()
            }
            _ => {
                let token = self.identity.token(now.unix, &mut self.rng);
                self.data_token = Some((now.unix, token.clone()));
                token
            }
        }
    }

    /// Sends a message whose identity is set.
    pub(crate) fn send(&mut self, message: &Message) {
        match Frame::new(message.encode()) {
            Ok(frame) => self.transmits.push_back(frame),
            // Data is checked when it is published; a roster of a thousand members stays far below the limit.
            Err(error) => {
                tracing::error!(%error, kind = ?message.kind, "a message exceeds the frame limit and was not sent")
            }
        }
    }

    /// Who sent this? Token, id binding, and for command messages both signatures; failures are counted and told.
    pub(crate) fn authenticate(&mut self, now: Now, message: &Message) -> Option<Verified> {
        let result = self.verify_token(now, &message.identity).and_then(|verified| {
            if message.kind.is_command() {
                verify_message(message, &verified, self.payload_signatures)?;
            } else if verified.name_id() != message.source.id() {
                return Err(AuthenticationError::Signature(
                    slim_auth::SignatureFailure::SourceNotBound {
                        source_id: message.source.id(),
                        subject_id: verified.name_id(),
                    },
                ));
            }
            Ok(verified)
        });
        match result {
            Ok(verified) => Some(verified),
            Err(error) if self.waits_for_keys(now, message, &error) => None,
            Err(error) => {
                self.refuse(message, error);
                None
            }
        }
    }

    /// A message that waited for keys in vain.
    pub(crate) fn refuse_unverified(&mut self, now: Now, message: &Message) {
        match self.verify_token(now, &message.identity) {
            Err(error) => self.refuse(message, error),
            // Its own token is good by now; a key package in it is not.
            Ok(_) => self.counters.identity_refused += 1,
        }
    }

    fn refuse(&mut self, message: &Message, error: AuthenticationError) {
        use slim_proto::MessageKind;
        self.count_refusal(&error);
        tracing::debug!(source = %message.source, kind = ?message.kind, %error, "message refused");
        // Only what belongs to an invitation is worth telling: for it the other side, or this one, waits in vain.
        if matches!(
            message.kind,
            MessageKind::DiscoveryRequest
                | MessageKind::DiscoveryReply
                | MessageKind::JoinRequest
                | MessageKind::JoinReply
        ) {
            let peer = message.source.clone();
            self.event(Event::IdentityRefused { peer, error });
        }
    }

    fn count_refusal(&mut self, error: &AuthenticationError) {
        use slim_auth::SignatureFailure;
        match error {
            AuthenticationError::Identity(_) => self.counters.identity_refused += 1,
            AuthenticationError::Signature(SignatureFailure::SourceNotBound { .. }) => {
                self.counters.binding_refused += 1;
            }
            AuthenticationError::Signature(_) => self.counters.signature_refused += 1,
        }
    }

    /// Judges tokens with this verifier from now on; older verdicts are forgotten, since a key may be trusted no
    /// longer.
    pub(crate) fn use_verifier(&mut self, verifier: Verifier) {
        self.verifier = verifier;
        self.verified_tokens.clear();
    }

    fn verify_token(&mut self, now: Now, token: &str) -> Result<Verified, AuthenticationError> {
        if let Some(verified) = self.verified_tokens.get(token)
            && now.unix <= verified.expires_at
        {
            return Ok(verified.clone());
        }
        let verified = self.verifier.verify(token, now.unix)?;
        if self.verified_tokens.len() >= VERIFIED_TOKENS_MAX {
            self.verified_tokens.clear();
        }
        self.verified_tokens.insert(token.to_owned(), verified.clone());
        Ok(verified)
    }

    /// Sends a Subscribe; the acknowledgement comes to the owner. The identity goes with the application's own
    /// names only: channel subscriptions carry none (wire-session §1.7).
    pub(crate) fn subscribe(&mut self, now: Now, name: &FullName, owner: SubscriptionOwner) -> u64 {
        self.next_subscription = self.next_subscription.wrapping_add(1).max(1);
        let id = self.next_subscription;
        self.request_subscription(now, SubscriptionAction::Subscribe, name, id, owner);
        id
    }

    /// Sends an Unsubscribe with the id of the Subscribe. Without owner nobody waits for it.
    pub(crate) fn unsubscribe(
        &mut self,
        now: Now,
        name: &FullName,
        id: u64,
        owner: Option<SubscriptionOwner>,
    ) {
        match owner {
            Some(owner) => self.request_subscription(now, SubscriptionAction::Unsubscribe, name, id, owner),
            None => {
                self.subscriptions.remove(&id);
                self.timers.cancel(ENDPOINT, &TimerKey::Subscription(id));
                self.send_subscription(now, SubscriptionAction::Unsubscribe, name, id, false);
            }
        }
    }

    fn request_subscription(
        &mut self,
        now: Now,
        action: SubscriptionAction,
        name: &FullName,
        id: u64,
        owner: SubscriptionOwner,
    ) {
        let with_identity = matches!(owner, SubscriptionOwner::Application(_));
        self.send_subscription(now, action, name, id, with_identity);
        self.subscriptions.insert(
            id,
            PendingSubscription {
                owner,
                name: name.clone(),
                action,
                replaces: None,
            },
        );
        // The router repeats and answers; this is the deadline behind it (wire-routing A7.4: 10 s).
        self.timers.set(
            ENDPOINT,
            TimerKey::Subscription(id),
            now.mono + SUBSCRIPTION_ACK_INTERVAL * 2,
        );
    }

    fn send_subscription(
        &mut self,
        now: Now,
        action: SubscriptionAction,
        name: &FullName,
        id: u64,
        with_identity: bool,
    ) {
        let identity = if with_identity {
            self.identity.token(now.unix, &mut self.rng)
        } else {
            String::new()
        };
        let request = SubscriptionRequest {
            action,
            source: self.name.clone(),
            destination: name.clone(),
            identity,
            subscription_id: id,
        };
        self.transmits.push_back(request.encode());
    }
}

#[cfg(test)]
mod tests {
    use slim_proto::Instant;

    use super::*;
    use crate::api::Direction;

    #[test]
    fn w13_the_cache_of_verified_tokens_is_bounded() {
        let mut rng = Rng::from_seed([1; 32]);
        let identity =
            Identity::shared_secret("org/ns/a", "a-secret-of-more-than-thirty-two-bytes", &mut rng).unwrap();
        let config = EndpointConfig {
            name: "org/ns/a".parse().unwrap(),
            direction: Direction::Bidirectional,
        };
        let mut shared = Shared::new(config, identity.clone(), identity.verifier(), [2; 32]);
        let now = Now {
            mono: Instant::ZERO,
            unix: UnixTime(1_800_000_000),
        };
        for _ in 0..VERIFIED_TOKENS_MAX + 100 {
            let token = identity.token(now.unix, &mut rng);
            assert!(shared.verify_token(now, &token).is_ok());
            assert!(shared.verified_tokens.len() <= VERIFIED_TOKENS_MAX);
        }
    }

    #[test]
    fn a_cached_token_expires_with_the_clock() {
        let mut rng = Rng::from_seed([1; 32]);
        let identity =
            Identity::shared_secret("org/ns/a", "a-secret-of-more-than-thirty-two-bytes", &mut rng).unwrap();
        let config = EndpointConfig {
            name: "org/ns/a".parse().unwrap(),
            direction: Direction::Bidirectional,
        };
        let mut shared = Shared::new(config, identity.clone(), identity.verifier(), [2; 32]);
        let at = |secs| Now {
            mono: Instant::ZERO,
            unix: UnixTime(secs),
        };
        let token = identity.token(UnixTime(1000), &mut rng);
        assert!(shared.verify_token(at(1000), &token).is_ok());
        assert!(shared.verify_token(at(4600), &token).is_ok());
        assert!(shared.verify_token(at(4601), &token).is_err());
    }
}
