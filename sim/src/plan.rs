//! What a seed decides before its network starts: size, speeds, sessions, faults, length.

use std::time::Duration;

use slim_crypto::Rng;
use slim_proto::SessionKind;
use slim_proto::limits::EGRESS_FRAMES_MAX;
use slim_router::egress::EgressBudget;
use slim_session::{Reliability, SessionId};

use crate::faults::{self, Fault, FaultKinds};
use crate::net::Speed;

/// Faults begin after everything has started.
const START: Duration = Duration::from_secs(5);
/// One seed in so many runs past the life of a token.
const LONG_RUNS: u64 = 50;
/// One seed in so many has no faults, and then nothing may fail at all.
const FAULTLESS_RUNS: u64 = 6;
/// One seed in so many has a node with rules.
const RULED_RUNS: u64 = 3;

/// A session that will be opened.
#[derive(Clone, Debug)]
pub(crate) struct SessionPlan {
    pub(crate) id: SessionId,
    pub(crate) label: String,
    pub(crate) kind: SessionKind,
    pub(crate) moderator: usize,
    /// The peer of a one-to-one session.
    pub(crate) peer: usize,
    pub(crate) mls: bool,
    pub(crate) reliability: Option<Reliability>,
    pub(crate) opens_at: Duration,
}

/// Everything drawn from one seed.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) apps: usize,
    pub(crate) speeds: Vec<Speed>,
    pub(crate) budget: EgressBudget,
    pub(crate) sessions: Vec<SessionPlan>,
    /// The node has rules, and somebody tries to break them.
    pub(crate) rules: bool,
    /// Then no ticket may fail and nothing may be lost.
    pub(crate) faultless: bool,
    pub(crate) faults: Vec<(Duration, Fault)>,
    /// When faults and work end.
    pub(crate) heals_at: Duration,
    /// Mean time between two actions of the applications.
    pub(crate) pace: Duration,
}

impl Plan {
    pub(crate) fn draw(seed: u64, rng: &mut Rng) -> Self {
        let long = seed % LONG_RUNS == LONG_RUNS - 1;
        let apps = if long {
            3
        } else {
            2 + usize::try_from(rng.below(7)).unwrap_or(0)
        };
        // Timers may be shorter than the way; without faults, where nothing may fail, ways are short.
        let faultless = rng.below(FAULTLESS_RUNS) == 0;
        let speeds = (0..apps).map(|_| draw_speed(rng, faultless)).collect();
        let all_sealed = rng.below(3) > 0;
        let sessions: Vec<SessionPlan> = (1..=1 + rng.below(if long { 1 } else { 3 }))
            .map(|number| draw_session(rng, number, apps, all_sealed, long))
            .collect();
        let heals_at = if long {
            Duration::from_secs(3700 + rng.below(2400))
        } else {
            Duration::from_secs(30 + rng.below(90))
        };
        let forging = sessions.iter().all(|session| session.mls);
        let kinds = draw_kinds(rng, forging);
        let faults = if faultless {
            Vec::new()
        } else {
            faults::draw(rng, kinds, apps, START, heals_at)
        };
        let frames_max = match rng.below(4) {
            0 => 4,
            _ => EGRESS_FRAMES_MAX,
        };
        Self {
            apps,
            speeds,
            budget: EgressBudget {
                frames_max,
                ..EgressBudget::default()
            },
            sessions,
            rules: seed % RULED_RUNS == 1,
            faultless,
            faults,
            heals_at,
            pace: if long {
                Duration::from_secs(40)
            } else {
                Duration::from_millis(200 + rng.below(2000))
            },
        }
    }
}

fn draw_speed(rng: &mut Rng, short: bool) -> Speed {
    let (latency, jitter) = match rng.below(8) {
        0 => (0, 0),
        1 if !short => (500, 1500),
        2 if !short => (100, 200),
        _ => (1 + rng.below(20), rng.below(20)),
    };
    Speed {
        latency: Duration::from_millis(latency),
        jitter: Duration::from_millis(jitter),
    }
}

fn draw_session(rng: &mut Rng, number: u64, apps: usize, all_sealed: bool, long: bool) -> SessionPlan {
    let moderator = usize::try_from(rng.below(apps as u64)).unwrap_or(0);
    let step = 1 + usize::try_from(rng.below(apps as u64 - 1)).unwrap_or(0);
    let kind = match rng.below(3) {
        0 if !long => SessionKind::PointToPoint,
        _ => SessionKind::Group,
    };
    let reliability = match rng.below(5) {
        0 => None,
        _ => Some(Reliability {
            interval: Duration::from_millis([100, 250, 500, 1000, 1000, 2000, 5000][draw_index(rng, 7)]),
            max_retries: [3, 5, 10][draw_index(rng, 3)],
        }),
    };
    SessionPlan {
        id: SessionId(u32::try_from(number).unwrap_or(0)),
        label: format!("s{number}"),
        kind,
        moderator,
        peer: (moderator + step) % apps,
        mls: all_sealed || rng.below(2) == 0,
        reliability,
        opens_at: Duration::from_millis(3000 + rng.below(5000)),
    }
}

fn draw_index(rng: &mut Rng, length: u64) -> usize {
    usize::try_from(rng.below(length)).unwrap_or(0)
}

/// One class alone as often as several at once.
fn draw_kinds(rng: &mut Rng, forging: bool) -> FaultKinds {
    let all = FaultKinds {
        links: true,
        freezes: true,
        crashes: true,
        node: true,
        slow: true,
        hostile: true,
        forging,
    };
    let none = FaultKinds {
        forging,
        ..FaultKinds::default()
    };
    match rng.below(10) {
        0 | 1 => FaultKinds { links: true, ..none },
        2 => FaultKinds {
            freezes: true,
            ..none
        },
        3 => FaultKinds {
            hostile: true,
            ..none
        },
        4 => FaultKinds {
            slow: true,
            links: true,
            ..none
        },
        5 => FaultKinds {
            node: true,
            crashes: true,
            ..none
        },
        _ => all,
    }
}
