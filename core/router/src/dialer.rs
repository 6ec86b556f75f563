//! When a link is dialled, replaced by a successor, and dialled again.
//!
//! [`Redialer`] decides for one outgoing link; its driver dials, negotiates and moves frames. It does not know what
//! failed, only whether another attempt makes sense. A link in use is given up for nothing but its own end: what
//! becomes of its successor's dials is no reason. To stop, the driver drops it.

use std::time::Duration;

use slim_crypto::Rng;
use slim_proto::{Instant, Now};

/// Pauses before a link is replaced: the links of one node are asked at about the same time, and need not come back
/// together.
const SUCCESSOR_PAUSES: Pauses = Pauses::Exponential {
    base: Duration::from_millis(100),
    factor: 1,
    longest: Duration::from_secs(10),
    jitter: true,
};
/// Pause after the other side refused us. Passwords and rules are changed there without anybody telling this side.
pub const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// A link that lived this long is no sign of a node that drops every link at once.
const STABLE: Duration = Duration::from_secs(10);
/// A younger link that was lost counts as at most so many failures: the node is there, so pauses that double stay
/// short.
const UNSTABLE_FAILURES_MAX: u32 = 3;

/// How long to wait between attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pauses {
    /// Always the same.
    Fixed(Duration),
    /// `base * factor`, doubled with each failure.
    Exponential {
        /// The first pause at factor 1.
        base: Duration,
        /// Multiplies every pause.
        factor: u32,
        /// No pause is longer.
        longest: Duration,
        /// Takes a random part, one half to the whole, of each pause.
        jitter: bool,
    },
}

impl Pauses {
    /// The pause after so many failures, from 1. `random` chooses the jitter.
    pub fn after(&self, failures: u32, random: u64) -> Duration {
        match self {
            Self::Fixed(interval) => *interval,
            Self::Exponential {
                base,
                factor,
                longest,
                jitter,
            } => {
                let doublings = failures.saturating_sub(1).min(31);
                let pause = base
                    .saturating_mul(*factor)
                    .saturating_mul(1 << doublings)
                    .min(*longest);
                if !*jitter {
                    return pause;
                }
                // Half of the pause is kept, so that jitter never makes a hot loop.
                let half = pause / 2;
                let nanoseconds = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
                half + Duration::from_nanos(random % nanoseconds.max(1))
            }
        }
    }
}

/// How a link is dialled again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedialPolicy {
    /// While somebody waits for the link.
    pub eager: Pauses,
    /// While nobody does.
    pub patient: Pauses,
    /// Dials in a row, without a link between them, before it is given up; `None` means no limit.
    pub attempts_max: Option<u32>,
}

/// How urgent the next dial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Somebody waits.
    Eager,
    /// Nobody waits.
    Patient,
}

/// What a failure says about the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It may succeed.
    Passing,
    /// It fails until somebody changes something, here or on the other side.
    Refused,
    /// There is to be none.
    Final,
}

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedialOutput {
    /// Dial; the result is [`Redialer::handle_opened`] or [`Redialer::handle_dial_failed`].
    Dial,
    /// Nothing more: there is no link, and none will be dialled.
    GiveUp {
        /// Dials in a row that failed; 0 if the link itself ended for good.
        attempts: u32,
    },
}

/// One outgoing link that is kept up.
#[derive(Debug)]
pub struct Redialer {
    policy: RedialPolicy,
    rng: Rng,
    pace: Pace,
    in_use: Option<InUse>,
    dial: Dial,
    /// What the next pause is measured by.
    failures: u32,
    /// Dials that failed since there was a link.
    attempts: u32,
    /// Each input causes at most one.
    output: Option<RedialOutput>,
}

#[derive(Debug)]
struct InUse {
    since: Instant,
    /// Dials for its successor.
    successor_attempts: u32,
}

/// The one dial that is made, or to be made.
#[derive(Debug)]
enum Dial {
    /// None is needed, or none will be made any more.
    Idle,
    /// A pause that the pace decides about.
    Pausing {
        since: Instant,
        random: u64,
        due: Instant,
    },
    /// A pause of its own length.
    Waiting { due: Instant },
    /// The driver is at it.
    Running,
}

impl Redialer {
    /// Asks for the first dial at once, for somebody who waits.
    pub fn new(policy: RedialPolicy, seed: [u8; 32]) -> Self {
        Self {
            policy,
            rng: Rng::from_seed(seed),
            pace: Pace::Eager,
            in_use: None,
            dial: Dial::Running,
            failures: 0,
            attempts: 0,
            output: Some(RedialOutput::Dial),
        }
    }

    /// The dial led to a link, which is in use from now on. If there was one already, the driver retires that as
    /// soon as this one does its work; the end of a retired link is not told here.
    pub fn handle_opened(&mut self, now: Now) {
        debug_assert!(matches!(self.dial, Dial::Running), "nothing was dialled");
        self.dial = Dial::Idle;
        self.attempts = 0;
        self.in_use = Some(InUse {
            since: now.mono,
            successor_attempts: 0,
        });
    }

    /// The dial led nowhere.
    pub fn handle_dial_failed(&mut self, now: Now, failure: Failure) {
        debug_assert!(matches!(self.dial, Dial::Running), "nothing was dialled");
        if self.in_use.is_some() {
            self.await_successor(now);
            return;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.failures = self.failures.saturating_add(1);
        let is_last = self.policy.attempts_max.is_some_and(|max| self.attempts >= max);
        match failure {
            // Who refuses is there: what follows is counted anew.
            Failure::Refused => {
                (self.attempts, self.failures) = (0, 0);
                let due = now.mono + REFUSED_PAUSE;
                self.dial = Dial::Waiting { due };
            }
            Failure::Passing if !is_last => self.pause(now),
            Failure::Passing | Failure::Final => self.give_up(),
        }
    }

    /// The link in use should be replaced: the other side asks for that, or it was made with credentials that are
    /// renewed. It stays in use until another is there.
    pub fn handle_leaving(&mut self, now: Now) {
        if matches!(self.dial, Dial::Idle) {
            self.await_successor(now);
        }
    }

    /// The link in use ended.
    pub fn handle_lost(&mut self, now: Now, failure: Failure) {
        let Some(lost) = self.in_use.take() else {
            debug_assert!(false, "no link is in use");
            return;
        };
        let is_stable = now.mono.saturating_since(lost.since) >= STABLE;
        let before = if is_stable {
            0
        } else {
            self.failures.min(UNSTABLE_FAILURES_MAX)
        };
        self.failures = before + 1;
        match (failure, &self.dial) {
            (Failure::Final, _) => self.give_up(),
            // The dial for a successor serves as well.
            (Failure::Passing | Failure::Refused, Dial::Running) => {}
            (
                Failure::Passing | Failure::Refused,
                Dial::Idle | Dial::Pausing { .. } | Dial::Waiting { .. },
            ) => {
                self.pause(now);
            }
        }
    }

    /// Somebody begins to wait for the link, or nobody waits any more. Who begins to wait never waits longer for it.
    pub fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        let Dial::Pausing { since, random, due } = self.dial else {
            return;
        };
        let at_this_pace = since + self.pauses().after(self.failures, random);
        let due = match pace {
            Pace::Eager => due.min(at_this_pace),
            Pace::Patient => at_this_pace,
        };
        self.dial = Dial::Pausing { since, random, due };
    }

    /// Time went on.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.poll_timeout().is_some_and(|due| due <= now.mono) {
            self.dial = Dial::Running;
            self.output = Some(RedialOutput::Dial);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due: the next dial.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.dial {
            Dial::Pausing { due, .. } | Dial::Waiting { due } => Some(due),
            Dial::Idle | Dial::Running => None,
        }
    }

    /// What to do.
    pub fn poll_output(&mut self) -> Option<RedialOutput> {
        self.output.take()
    }

    /// True while a link is in use: a dial that fails then is its successor's.
    pub fn has_link(&self) -> bool {
        self.in_use.is_some()
    }

    /// Dials in a row that failed, without a link between them.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    fn pauses(&self) -> &Pauses {
        match self.pace {
            Pace::Eager => &self.policy.eager,
            Pace::Patient => &self.policy.patient,
        }
    }

    fn pause(&mut self, now: Now) {
        let random = self.rng.next_u64();
        self.dial = Dial::Pausing {
            since: now.mono,
            random,
            due: now.mono + self.pauses().after(self.failures, random),
        };
    }

    fn await_successor(&mut self, now: Now) {
        let Some(in_use) = &mut self.in_use else {
            return;
        };
        in_use.successor_attempts = in_use.successor_attempts.saturating_add(1);
        let pause = SUCCESSOR_PAUSES.after(in_use.successor_attempts, self.rng.next_u64());
        self.dial = Dial::Waiting {
            due: now.mono + pause,
        };
    }

    fn give_up(&mut self) {
        self.dial = Dial::Idle;
        self.output = Some(RedialOutput::GiveUp {
            attempts: self.attempts,
        });
    }
}

#[cfg(test)]
mod tests;
