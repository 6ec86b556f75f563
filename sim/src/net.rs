//! Links between an application and its node. They behave like HTTP/2: ordered and without loss while they are up.
//!
//! So a link can be slow, uneven, stalled, partitioned in one or both directions, or cut with everything in flight
//! lost; and its sender's queue can be full. Anything else needs a hostile node on the path (`adversary.rs`).

use std::collections::BTreeMap;
use std::time::Duration;

use slim_crypto::Rng;
use slim_proto::Egress;
use slim_proto::{Frame, Instant};
use slim_router::egress::EgressBudget;
use slim_router::{EgressQueue, LinkId};

use crate::adversary::{Adversary, Fate};

/// Frames under way at once in one direction: what the receiver's HTTP/2 window lets a sender write. The rest
/// waits in the sender's queue.
const WINDOW_FRAMES: usize = 8;

/// Direction of travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// From the application to the node.
    Up,
    /// From the node to the application.
    Down,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Up, Self::Down];
}

/// How fast a link is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speed {
    pub(crate) latency: Duration,
    /// Up to this much more, drawn for each frame.
    pub(crate) jitter: Duration,
}

/// One direction.
#[derive(Debug)]
struct Lane {
    queue: EgressQueue,
    /// By time of arrival.
    flying: BTreeMap<(Instant, u64), Frame>,
    last_arrival: Instant,
    blocked: bool,
    /// Time that the receiver takes to read one frame.
    reading: Duration,
}

/// The way between one application and the node. Each end knows the link under its own id, and may have lost it
/// while the other end has not noticed.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) app_end: Option<LinkId>,
    pub(crate) node_end: Option<LinkId>,
    pub(crate) speed: Speed,
    pub(crate) adversary: Option<Adversary>,
    /// Counts losses of the way as a whole, so that what was planned for an earlier link is recognised.
    pub(crate) generation: u64,
    lanes: [Lane; 2],
    budget: EgressBudget,
    launched: u64,
}

/// What became of a frame that was handed to a link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Handed {
    Taken,
    /// The queue is full; if it is still at this time, the link is stalled.
    Refused(Option<Instant>),
    /// One of the ends is gone.
    Nowhere,
}

impl Lane {
    fn new(budget: EgressBudget) -> Self {
        Self {
            queue: EgressQueue::new(budget),
            flying: BTreeMap::new(),
            last_arrival: Instant::ZERO,
            blocked: false,
            reading: Duration::ZERO,
        }
    }
}

impl Link {
    pub(crate) fn new(speed: Speed, budget: EgressBudget) -> Self {
        Self {
            app_end: None,
            node_end: None,
            speed,
            adversary: None,
            generation: 0,
            lanes: [Lane::new(budget), Lane::new(budget)],
            budget,
            launched: 0,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.app_end.is_some() && self.node_end.is_some()
    }

    /// True if a new connection can be made.
    pub(crate) fn is_reachable(&self) -> bool {
        self.lanes.iter().all(|lane| !lane.blocked)
    }

    /// Puts a frame into the sender's queue.
    pub(crate) fn hand_over(&mut self, now: Instant, way: Way, egress: Egress) -> Handed {
        if !self.is_whole() {
            return Handed::Nowhere;
        }
        let queue = &mut self.lane(way).queue;
        match queue.push(now, egress) {
            Ok(()) => Handed::Taken,
            Err(_) => Handed::Refused(queue.poll_timeout().map(|(at, _)| at)),
        }
    }

    /// Sends what the window allows. Returns the arrival times of new frames, and what a hostile node did.
    pub(crate) fn launch(&mut self, now: Instant, way: Way, rng: &mut Rng) -> (Vec<Instant>, Vec<String>) {
        let (mut arrivals, mut notes) = (Vec::new(), Vec::new());
        loop {
            let lane = self.lane(way);
            if lane.blocked || lane.flying.len() >= WINDOW_FRAMES {
                break;
            }
            let Some(frame) = lane.queue.pop() else { break };
            let Ok(frame) = frame.into_frame() else { continue };
            let fates = match &mut self.adversary {
                Some(adversary) => adversary.tamper(now, way, frame, rng, &mut notes),
                None => vec![Fate { frame, detour: None }],
            };
            for Fate { frame, detour } in fates {
                let jitter = Duration::from_micros(rng.below(self.speed.jitter.as_micros() as u64 + 1));
                let travel = self.speed.latency + jitter;
                self.launched += 1;
                let order = self.launched;
                let lane = self.lane(way);
                let at = match detour {
                    Some(detour) => now + travel + detour,
                    None => {
                        lane.last_arrival = (now + travel).max(lane.last_arrival + lane.reading);
                        lane.last_arrival
                    }
                };
                lane.flying.insert((at, order), frame);
                arrivals.push(at);
            }
        }
        (arrivals, notes)
    }

    /// The next frame that has arrived.
    pub(crate) fn arrived(&mut self, now: Instant, way: Way) -> Option<Frame> {
        let lane = self.lane(way);
        let (&(at, order), _) = lane.flying.first_key_value()?;
        if lane.blocked || at > now {
            return None;
        }
        lane.flying.remove(&(at, order))
    }

    /// When the next frame arrives.
    pub(crate) fn next_arrival(&self, way: Way) -> Option<Instant> {
        self.lanes[way as usize]
            .flying
            .first_key_value()
            .map(|((at, _), _)| *at)
    }

    pub(crate) fn set_blocked(&mut self, way: Way, blocked: bool) {
        self.lane(way).blocked = blocked;
    }

    pub(crate) fn set_reading(&mut self, reading: Duration) {
        self.lane(Way::Down).reading = reading;
    }

    pub(crate) fn is_stalled(&self, now: Instant, way: Way) -> bool {
        self.lanes[way as usize].queue.is_stalled(now)
    }

    /// Frames that wait or travel.
    pub(crate) fn load(&self) -> usize {
        self.lanes
            .iter()
            .map(|lane| lane.queue.len() + lane.flying.len())
            .sum()
    }

    /// Everything in flight is lost.
    pub(crate) fn lose_all(&mut self) {
        self.generation += 1;
        for lane in &mut self.lanes {
            lane.queue = EgressQueue::new(self.budget);
            lane.flying.clear();
        }
    }

    fn lane(&mut self, way: Way) -> &mut Lane {
        &mut self.lanes[way as usize]
    }
}
