//! Messages that cannot be judged yet, because keys of their sender's issuer are missing or were rotated: they wait a
//! moment, the keys are asked for, and what arrives with them is judged as if it had just come (wire-session §1.5).
//!
//! A cold cache of keys must refuse nobody: the sender of a control message learns of a refusal by a time-out only,
//! and an upstream member repeats some messages never (R1). What waits is bounded in number, bytes and time, since
//! everybody can send tokens that name a trusted issuer.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use slim_auth::{AuthenticationError, IdentityError, Verifier};
use slim_proto::limits::{UNVERIFIED_BYTES_MAX, UNVERIFIED_MAX, UNVERIFIED_WAIT_MAX};
use slim_proto::{Command as Payload, Instant, Message, Now};

use crate::endpoint::Endpoint;
use crate::shared::Shared;
use crate::timers::{ENDPOINT, TimerKey};

/// What an endpoint asks the world for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Newer keys of an issuer, as [`Endpoint::use_verifier`]; how often it is really asked is not decided here
    /// ([`slim_auth::KeyResolver::ask_again`]).
    Keys {
        /// Whose; one of those that the verifier's rules name.
        issuer: Arc<str>,
    },
}

/// Messages that wait for keys, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Unverified {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    wanted: BTreeSet<Arc<str>>,
    /// While messages are judged again: the deadline of the current one, which a second wait does not move.
    judging: Option<Instant>,
}

#[derive(Debug)]
struct Waiting {
    message: Message,
    bytes: usize,
    until: Instant,
}

impl Shared {
    /// Keeps a message whose token was refused, if other keys of its issuer may change that. True if it waits now.
    pub(crate) fn waits_for_keys(
        &mut self,
        now: Now,
        message: &Message,
        error: &AuthenticationError,
    ) -> bool {
        let Some(issuer) = self.issuer_that_may_help(error, &message.identity) else {
            return false;
        };
        self.wait_for_keys(now, message, issuer);
        true
    }

    /// Keeps a message until there are newer keys of this issuer, or for a moment.
    pub(crate) fn wait_for_keys(&mut self, now: Now, message: &Message, issuer: Arc<str>) {
        self.want_keys(issuer);
        self.counters.awaiting_keys += 1;
        let until = self.unverified.judging.unwrap_or(now.mono + UNVERIFIED_WAIT_MAX);
        let bytes = message.encode().len();
        self.unverified.bytes += bytes;
        self.unverified.waiting.push_back(Waiting {
            message: message.clone(),
            bytes,
            until,
        });
        while self.unverified.waiting.len() > UNVERIFIED_MAX || self.unverified.bytes > UNVERIFIED_BYTES_MAX {
            if self.unverified.pop().is_none() {
                break;
            }
            self.counters.awaiting_keys_dropped += 1;
        }
        self.time_waiting();
    }

    /// Has newer keys of this issuer fetched.
    pub(crate) fn want_keys(&mut self, issuer: Arc<str>) {
        self.unverified.wanted.insert(issuer);
    }

    pub(crate) fn poll_request(&mut self) -> Option<Request> {
        let issuer = self.unverified.wanted.pop_first()?;
        Some(Request::Keys { issuer })
    }

    fn issuer_that_may_help(&self, error: &AuthenticationError, token: &str) -> Option<Arc<str>> {
        match error {
            AuthenticationError::Identity(error) => issuer_that_may_help(&self.verifier, error, token),
            AuthenticationError::Signature(_) => None,
        }
    }

    fn time_waiting(&mut self) {
        match self.unverified.waiting.iter().map(|waiting| waiting.until).min() {
            Some(until) => self.timers.set(ENDPOINT, TimerKey::Unverified, until),
            None => self.timers.cancel(ENDPOINT, &TimerKey::Unverified),
        }
    }
}

/// The issuer whose newer keys may accept a token that the present ones do not.
fn issuer_that_may_help(verifier: &Verifier, error: &IdentityError, token: &str) -> Option<Arc<str>> {
    if let IdentityError::KeysUnavailable { issuer } | IdentityError::IssuerUnavailable { issuer, .. } = error
    {
        return Some(Arc::clone(issuer));
    }
    verifier.issuer_to_ask_again(token)
}

impl Unverified {
    fn pop(&mut self) -> Option<Waiting> {
        let oldest = self.waiting.pop_front()?;
        self.bytes -= oldest.bytes;
        Some(oldest)
    }

    fn take(&mut self) -> VecDeque<Waiting> {
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}

impl Endpoint {
    /// The next thing that the endpoint needs from the world.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.shared.poll_request()
    }

    /// False if the message has to wait: the token in the key package that it carries, or asks for, cannot be judged
    /// yet, and a membership change that fails on it cannot be repeated.
    pub(crate) fn knows_key_package(&mut self, now: Now, message: &Message) -> bool {
        let Some(command) = message.command() else {
            return true;
        };
        let carried = |key_package: &[u8]| slim_mls::key_package_token(key_package).ok();
        let token = if let Payload::JoinReply(reply) = command {
            reply.key_package.as_deref().and_then(carried)
        } else if let Payload::RejoinRequest { key_package, .. } = command {
            carried(key_package)
        } else if let Payload::JoinRequest(request) = command {
            let shared = &mut self.shared;
            request
                .mls_header_check_percent
                .map(|_| shared.identity.token(now.unix, &mut shared.rng))
        } else {
            None
        };
        let Some(token) = token else { return true };
        let Err(error) = self.shared.verifier.verify(&token, now.unix) else {
            return true;
        };
        match issuer_that_may_help(&self.shared.verifier, &error, &token) {
            Some(issuer) => {
                self.shared.wait_for_keys(now, message, issuer);
                false
            }
            None => true,
        }
    }

    /// Other keys are known: what waits is judged again. What still cannot be judged waits on, until its time is over.
    pub(crate) fn judge_again(&mut self, now: Now) {
        let waiting = self.shared.unverified.take();
        for Waiting { message, until, .. } in waiting {
            self.shared.unverified.judging = Some(until);
            self.on_message(now, message);
        }
        self.shared.unverified.judging = None;
        self.shared.time_waiting();
    }

    /// What waited too long is refused for what was wrong with it all the time.
    pub(crate) fn on_unverified_due(&mut self, now: Now) {
        let waiting = self.shared.unverified.take();
        for entry in waiting {
            if entry.until > now.mono {
                self.shared.unverified.bytes += entry.bytes;
                self.shared.unverified.waiting.push_back(entry);
            } else {
                self.shared.refuse_unverified(now, &entry.message);
            }
        }
        self.shared.time_waiting();
    }
}
