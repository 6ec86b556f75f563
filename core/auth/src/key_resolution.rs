//! Where and when the keys of token issuers are fetched (wire-session §1.5): discovery, cache, rotation, back-off.
//!
//! Nothing is fetched here: [`KeyResolver::poll_fetch`] says what the shell shall fetch, and
//! [`KeyResolver::handle_fetched`] takes what came. Only issuers that the verifier's rules name are ever asked, so no
//! token can make us ask a server of its choice, and what an issuer's discovery document points to must be of the
//! issuer's own origin. Each issuer has at most one fetch under way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use slim_crypto::Rng;
use slim_proto::limits::{
    ISSUER_ASKED_AGAIN, ISSUER_BACKOFF_MAX, ISSUER_BACKOFF_MIN, ISSUER_FETCH_TIMEOUT, ISSUER_FOLLOWED,
    ISSUER_KEYS_LIFE, ISSUER_KEYS_LIFE_MAX,
};
use slim_proto::{Instant, Now};

use crate::error::{IdentityError, KeySetError};
use crate::key_set::KeySet;
use crate::verifier::Verifier;

mod origin;

use origin::{has_usable_address, same_origin};

/// Why an issuer's keys cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFetchFailure {
    /// The server cannot be reached, or answers with a failure.
    #[error("{reason}")]
    Unreachable {
        /// What the shell says.
        reason: Arc<str>,
    },
    /// Nothing came back in time.
    #[error("no answer within {ISSUER_FETCH_TIMEOUT:?}")]
    TimedOut,
    /// The discovery document is that of another issuer.
    #[error(
        "its discovery document names another issuer; the configured issuer must be spelt as it spells itself"
    )]
    OtherIssuer,
    /// The discovery document points to keys on another server.
    #[error("its discovery document points to keys of another origin, which is refused")]
    OtherOrigin,
    /// What came is no key set.
    #[error("its key set cannot be used: {0}")]
    KeySet(#[from] KeySetError),
}

/// Identifies one fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchId(u64);

/// Something to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// For the answer.
    pub id: FetchId,
    /// Whose keys.
    pub issuer: Arc<str>,
    /// Where: `https://`, or `http://` if that was allowed.
    pub url: String,
}

/// A verifier whose keys are learnt issuer by issuer: [`Verifier`] for identities,
/// [`LinkVerifier`](crate::LinkVerifier) for links.
pub trait HoldsKeys: Clone {
    /// The issuers whose keys are to be fetched; empty if keys are fixed.
    fn resolved_issuers(&self) -> Vec<Arc<str>>;

    /// The same verifier with these keys of an issuer in place of older ones.
    fn with_keys(&self, issuer: &str, keys: KeySet) -> Result<Self, IdentityError>;

    /// The same verifier, which knows why it has no keys of this issuer.
    fn without_keys(&self, issuer: &str, failure: KeyFetchFailure) -> Result<Self, IdentityError>;
}

/// Keeps the keys of a verifier's issuers up to date.
pub struct KeyResolver<V = Verifier> {
    verifier: V,
    issuers: BTreeMap<Arc<str>, Issuer>,
    rng: Rng,
    next_fetch: u64,
    changed: bool,
}

/// One issuer.
#[derive(Debug, Default)]
struct Issuer {
    phase: Phase,
    /// When to fetch next, unless a fetch is under way.
    due: Instant,
    /// When the last fetch began; `None` before the first.
    began: Option<Instant>,
    /// When the keys that are known came.
    fetched: Option<Instant>,
    /// What they were read from.
    document: Vec<u8>,
    /// The last fetch brought nothing new.
    in_vain: bool,
    failures: u32,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Idle,
    /// About to fetch, or fetching.
    Fetching {
        id: FetchId,
        url: String,
        what: Document,
        handed_out: bool,
        deadline: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Document {
    Discovery,
    KeySet,
}

impl<V: HoldsKeys> KeyResolver<V> {
    /// Resolves the keys of this verifier's issuers, starting now; of a verifier with fixed keys there are none.
    /// `http://` to other machines than this one is refused unless `plain_text` allows it: whoever is on the way
    /// could replace the keys.
    pub fn new(verifier: V, plain_text: bool, now: Now, seed: [u8; 32]) -> Result<Self, IdentityError> {
        let mut issuers = BTreeMap::new();
        for issuer in verifier.resolved_issuers() {
            if !has_usable_address(&issuer, plain_text) {
                return Err(IdentityError::IssuerAddress { issuer });
            }
            issuers.insert(
                issuer,
                Issuer {
                    due: now.mono,
                    ..Issuer::default()
                },
            );
        }
        let mut resolver = Self {
            verifier,
            issuers,
            rng: Rng::from_seed(seed),
            next_fetch: 0,
            changed: false,
        };
        resolver.handle_timeout(now);
        Ok(resolver)
    }

    /// The verifier with all keys that are known.
    pub fn verifier(&self) -> &V {
        &self.verifier
    }

    /// A token was refused that newer keys of this issuer might accept ([`Verifier::issuer_to_ask_again`]), or keys
    /// are missing. The issuer is asked, unless it was a short time ago: an issuer that rotates its keys is followed
    /// at once, while forged tokens cause one fetch a minute.
    pub fn ask_again(&mut self, now: Now, issuer: &str) {
        let Some((issuer, state)) = self.issuers.get_key_value(issuer) else {
            return;
        };
        let pause = if state.in_vain {
            ISSUER_ASKED_AGAIN
        } else {
            ISSUER_FOLLOWED
        };
        let recently = state
            .began
            .is_some_and(|began| now.mono.saturating_since(began) < pause);
        // After a failure the back-off decides.
        if state.phase == Phase::Idle && state.failures == 0 && !recently {
            let issuer = Arc::clone(issuer);
            self.start(now, issuer);
        }
    }

    /// True if an answer of this issuer is awaited.
    pub fn is_fetching(&self, issuer: &str) -> bool {
        let state = self.issuers.get(issuer);
        state.is_some_and(|state| state.phase != Phase::Idle)
    }

    /// The shell fetched, or could not; the reason is for people.
    pub fn handle_fetched(&mut self, now: Now, id: FetchId, result: Result<&[u8], Arc<str>>) {
        let found = self
            .issuers
            .iter()
            .find_map(|(issuer, state)| match &state.phase {
                Phase::Fetching {
                    id: running, what, ..
                } if *running == id => Some((Arc::clone(issuer), *what)),
                Phase::Fetching { .. } | Phase::Idle => None,
            });
        // Else it came too late, and another fetch has taken its place.
        let Some((issuer, what)) = found else { return };
        match what {
            Document::Discovery => match key_set_address(&issuer, result.ok()) {
                Ok(url) => self.fetch(now, &issuer, url, Document::KeySet),
                Err(failure) => self.fail(now, &issuer, failure),
            },
            Document::KeySet => {
                let keys = result
                    .map_err(|reason| KeyFetchFailure::Unreachable { reason })
                    .and_then(|bytes| Ok((read_key_set(bytes)?, bytes)));
                match keys {
                    Ok((keys, document)) => self.succeed(now, &issuer, keys, document),
                    Err(failure) => self.fail(now, &issuer, failure),
                }
            }
        }
    }

    /// Time has come; see `poll_timeout`.
    pub fn handle_timeout(&mut self, now: Now) {
        let issuers: Vec<Arc<str>> = self.issuers.keys().cloned().collect();
        for issuer in issuers {
            let Some(state) = self.issuers.get(&issuer) else {
                continue;
            };
            match &state.phase {
                Phase::Idle if state.due <= now.mono => self.start(now, issuer),
                Phase::Fetching { deadline, .. } if *deadline <= now.mono => {
                    self.fail(now, &issuer, KeyFetchFailure::TimedOut);
                }
                Phase::Idle | Phase::Fetching { .. } => {}
            }
        }
    }

    /// The next thing to fetch.
    pub fn poll_fetch(&mut self) -> Option<Fetch> {
        self.issuers.iter_mut().find_map(|(issuer, state)| {
            let Phase::Fetching {
                id, url, handed_out, ..
            } = &mut state.phase
            else {
                return None;
            };
            (!std::mem::replace(handed_out, true)).then(|| Fetch {
                id: *id,
                issuer: Arc::clone(issuer),
                url: url.clone(),
            })
        })
    }

    /// The verifier, if its keys changed since the last call: for everybody who holds an older one.
    pub fn poll_verifier(&mut self) -> Option<V> {
        std::mem::take(&mut self.changed).then(|| self.verifier.clone())
    }

    /// When `handle_timeout` wants to be called, and why.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.issuers
            .values()
            .map(|state| match &state.phase {
                Phase::Idle => (state.due, "keys of an issuer"),
                Phase::Fetching { deadline, .. } => (*deadline, "answer of an issuer"),
            })
            .min()
    }

    fn start(&mut self, now: Now, issuer: Arc<str>) {
        if let Some(state) = self.issuers.get_mut(&issuer) {
            state.began = Some(now.mono);
        }
        let url = well_known(&issuer, "openid-configuration");
        self.fetch(now, &issuer, url, Document::Discovery);
    }

    fn fetch(&mut self, now: Now, issuer: &str, url: String, what: Document) {
        self.next_fetch += 1;
        if let Some(state) = self.issuers.get_mut(issuer) {
            state.phase = Phase::Fetching {
                id: FetchId(self.next_fetch),
                url,
                what,
                handed_out: false,
                deadline: now.mono + ISSUER_FETCH_TIMEOUT,
            };
        }
    }

    fn succeed(&mut self, now: Now, issuer: &str, keys: KeySet, document: &[u8]) {
        let Some(state) = self.issuers.get_mut(issuer) else {
            return;
        };
        state.phase = Phase::Idle;
        state.failures = 0;
        state.fetched = Some(now.mono);
        state.due = now.mono + ISSUER_KEYS_LIFE;
        state.in_vain = state.document == document;
        state.document = document.to_vec();
        self.replace(self.verifier.with_keys(issuer, keys));
    }

    /// The keys that are known stay for a while; the next attempt comes later and later.
    fn fail(&mut self, now: Now, issuer: &str, failure: KeyFetchFailure) {
        let Some(state) = self.issuers.get_mut(issuer) else {
            return;
        };
        state.phase = Phase::Idle;
        let pause = pause(state.failures, &mut self.rng);
        state.failures = state.failures.saturating_add(1);
        state.due = now.mono + pause;
        let usable = state
            .fetched
            .is_some_and(|fetched| now.mono.saturating_since(fetched) < ISSUER_KEYS_LIFE_MAX);
        if !usable {
            state.fetched = None;
            self.replace(self.verifier.without_keys(issuer, failure));
        }
    }

    fn replace(&mut self, verifier: Result<V, IdentityError>) {
        match verifier {
            Ok(verifier) => {
                self.verifier = verifier;
                self.changed = true;
            }
            Err(_) => debug_assert!(false, "issuers are those of the verifier"),
        }
    }
}

impl<V> std::fmt::Debug for KeyResolver<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyResolver")
            .field("issuers", &self.issuers)
            .finish_non_exhaustive()
    }
}

/// From half of the pause to the whole, so that applications that lost the same issuer do not return as one.
fn pause(failures: u32, rng: &mut Rng) -> Duration {
    let pause = ISSUER_BACKOFF_MIN
        .saturating_mul(1 << failures.min(16))
        .min(ISSUER_BACKOFF_MAX);
    let half = pause / 2;
    let jitter = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
    half + Duration::from_millis(rng.below(jitter.max(1)))
}

fn well_known(issuer: &str, document: &str) -> String {
    format!("{}/.well-known/{document}", issuer.trim_end_matches('/'))
}

/// Where the keys are, according to the discovery document if there is one.
fn key_set_address(issuer: &str, discovery: Option<&[u8]>) -> Result<String, KeyFetchFailure> {
    let document: Option<Value> = discovery.and_then(|bytes| serde_json::from_slice(bytes).ok());
    let text = |key: &str| document.as_ref().and_then(|document| document.get(key)?.as_str());
    if let Some(named) = text("issuer")
        && named.trim_end_matches('/') != issuer.trim_end_matches('/')
    {
        return Err(KeyFetchFailure::OtherIssuer);
    }
    match text("jwks_uri") {
        Some(uri) if same_origin(uri, issuer) => Ok(uri.to_owned()),
        Some(_) => Err(KeyFetchFailure::OtherOrigin),
        None => Ok(well_known(issuer, "jwks.json")),
    }
}

fn read_key_set(bytes: &[u8]) -> Result<KeySet, KeySetError> {
    let text = std::str::from_utf8(bytes).map_err(|_| KeySetError::NotKeySet)?;
    KeySet::from_published_jwks(text)
}
