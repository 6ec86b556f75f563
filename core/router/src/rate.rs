//! How many frames may be sent in how long: a token bucket, as a pure value.

use std::time::Duration;

use slim_proto::Instant;

/// A rate: so many in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many; 0 counts as 1.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

impl Rate {
    /// The pause between two at a steady pace.
    pub(crate) fn interval(self) -> Duration {
        self.per / self.count.max(1)
    }
}

/// Lets a whole period's count pass at once and then one per interval.
///
/// Kept as the moment in which the bucket will be full again, so there is nothing to refill.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    rate: Rate,
    full_at: Instant,
}

impl TokenBucket {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            full_at: Instant::ZERO,
        }
    }

    /// Takes one token, or says when there will be one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let full_at = self.full_at.max(now) + self.rate.interval();
        let missing = full_at.saturating_since(now);
        if missing > self.rate.per {
            return Err(now + (missing - self.rate.per));
        }
        self.full_at = full_at;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn taken(bucket: &mut TokenBucket, now: Instant) -> u32 {
        (0..)
            .take_while(|_| bucket.take(now).is_ok())
            .count()
            .try_into()
            .unwrap()
    }

    #[test]
    fn a_burst_is_followed_by_a_steady_pace() {
        let rate = Rate {
            count: 5,
            per: Duration::from_secs(10),
        };
        let mut bucket = TokenBucket::new(rate);
        assert_eq!(taken(&mut bucket, at(1000)), 5);
        assert_eq!(bucket.take(at(1000)), Err(at(3000)));
        assert_eq!(bucket.take(at(2999)), Err(at(3000)));
        assert_eq!(taken(&mut bucket, at(3000)), 1);
        assert_eq!(taken(&mut bucket, at(7000)), 2);
        // What is saved up ends at one burst.
        assert_eq!(taken(&mut bucket, at(1_000_000)), 5);
    }

    #[test]
    fn whoever_waits_as_told_gets_its_token_at_any_rate() {
        for (count, per) in [(1, 3600), (3, 1), (7, 1), (u32::MAX, 1), (0, 1)] {
            let mut bucket = TokenBucket::new(Rate {
                count,
                per: Duration::from_secs(per),
            });
            let mut now = at(5);
            for _ in 0..20 {
                if let Err(when) = bucket.take(now) {
                    assert!(when > now);
                    now = when;
                    assert_eq!(bucket.take(now), Ok(()));
                }
            }
        }
    }
}
