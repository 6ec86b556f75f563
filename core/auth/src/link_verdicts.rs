//! Verdicts on link tokens that are remembered for a while, so that a client that dials often costs one signature
//! check only.
//!
//! A remembered token is accepted without a look at the keys, so a key that is withdrawn counts after the configured
//! time at the latest. Only good verdicts are remembered: a forger has to be refused each time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use slim_crypto::{HmacKey, Rng};
use slim_proto::limits::LINK_VERDICTS_MAX;
use slim_proto::{Instant, Now};

use crate::link_token::LinkClaims;

/// Good verdicts by token.
pub struct LinkVerdicts {
    /// Tokens are secrets, so they are not kept; with this key nobody can choose two of one tag.
    key: HmacKey,
    life: Duration,
    verdicts: BTreeMap<[u8; 32], Verdict>,
}

struct Verdict {
    claims: Arc<LinkClaims>,
    until: Instant,
}

impl LinkVerdicts {
    /// Remembers each verdict for so long; zero remembers nothing.
    pub fn new(life: Duration, seed: [u8; 32]) -> Self {
        let mut key = [0; 32];
        Rng::from_seed(seed).fill(&mut key);
        Self {
            key: HmacKey::new(&key),
            life,
            verdicts: BTreeMap::new(),
        }
    }

    /// The claims of a token that was good and still is.
    pub fn find(&self, token: &str, now: Now) -> Option<Arc<LinkClaims>> {
        let verdict = self.verdicts.get(&self.key.sign(token.as_bytes()))?;
        let is_good = now.mono < verdict.until && now.unix <= verdict.claims.expires_at;
        is_good.then(|| Arc::clone(&verdict.claims))
    }

    /// Remembers a token that was just judged. If there are too many, the one that would end first is forgotten.
    pub fn insert(&mut self, token: &str, claims: Arc<LinkClaims>, now: Now) {
        if self.life.is_zero() {
            return;
        }
        let tag = self.key.sign(token.as_bytes());
        if self.verdicts.len() >= LINK_VERDICTS_MAX && !self.verdicts.contains_key(&tag) {
            self.verdicts.retain(|_, verdict| now.mono < verdict.until);
        }
        if self.verdicts.len() >= LINK_VERDICTS_MAX && !self.verdicts.contains_key(&tag) {
            let first = self.verdicts.iter().min_by_key(|(_, verdict)| verdict.until);
            if let Some(tag) = first.map(|(tag, _)| *tag) {
                self.verdicts.remove(&tag);
            }
        }
        let until = now.mono + self.life;
        self.verdicts.insert(tag, Verdict { claims, until });
    }
}

impl fmt::Debug for LinkVerdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkVerdicts")
            .field("life", &self.life)
            .field("verdicts", &self.verdicts.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;
    use slim_proto::UnixTime;

    use super::*;

    fn at(seconds: u64) -> Now {
        Now {
            mono: Instant::ZERO + Duration::from_secs(seconds),
            unix: UnixTime(1000 + seconds),
        }
    }

    fn claims(expires_at: u64) -> Arc<LinkClaims> {
        Arc::new(LinkClaims {
            subject: None,
            issuer: None,
            expires_at: UnixTime(expires_at),
            claims: Map::new(),
        })
    }

    fn verdicts(seconds: u64) -> LinkVerdicts {
        LinkVerdicts::new(Duration::from_secs(seconds), [3; 32])
    }

    #[test]
    fn a_verdict_ends_with_its_time_or_with_its_token_whichever_is_first() {
        let mut verdicts = verdicts(60);
        verdicts.insert("long", claims(5000), at(0));
        verdicts.insert("short", claims(1010), at(0));
        assert!(verdicts.find("long", at(59)).is_some());
        assert!(verdicts.find("long", at(60)).is_none());
        assert!(verdicts.find("short", at(10)).is_some());
        assert!(verdicts.find("short", at(11)).is_none());
        assert!(verdicts.find("other", at(0)).is_none());
    }

    #[test]
    fn without_a_time_nothing_is_remembered() {
        let mut verdicts = verdicts(0);
        verdicts.insert("token", claims(5000), at(0));
        assert!(verdicts.find("token", at(0)).is_none());
    }

    #[test]
    fn the_oldest_makes_place_when_there_are_too_many() {
        let mut verdicts = verdicts(3600);
        for number in 0..=LINK_VERDICTS_MAX {
            let now = at(u64::try_from(number).unwrap() / 10);
            verdicts.insert(&number.to_string(), claims(u64::MAX), now);
        }
        assert_eq!(verdicts.verdicts.len(), LINK_VERDICTS_MAX);
        assert!(verdicts.find(&LINK_VERDICTS_MAX.to_string(), at(200)).is_some());
        let gone = (0..10).filter(|number| verdicts.find(&number.to_string(), at(200)).is_none());
        assert_eq!(gone.count(), 1);
    }
}
