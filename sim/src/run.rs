//! One seed from start to end: faults and work, healing, rest, and the end of everything.

use std::collections::BTreeMap;
use std::time::Duration;

use slim_crypto::Rng;
use slim_proto::{Instant, SessionKind};
use slim_router::egress::EgressBudget;
use slim_session::{Reliability, SessionId};

use crate::check::{converged, nothing_left};
use crate::intruder;
use crate::net::Speed;
use crate::plan::{Plan, SessionPlan};
use crate::trace::Trace;
use crate::workload::{self, Workload, pause};
use crate::world::{Happening, World};

/// Groups come together in this time after the last fault (verification, I4).
const REST_MAX: Duration = Duration::from_secs(60);
/// After everything was closed, ended sessions are remembered for a minute; a router's last requests end before.
const AFTERMATH: Duration = Duration::from_secs(75);

/// A run without a violation.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Equal for equal runs: a hash of the times and kinds of all events.
    pub fingerprint: u64,
    /// Events.
    pub events: u64,
    /// Messages that applications received.
    pub delivered: u64,
    /// Virtual time that passed.
    pub virtual_time: Duration,
    /// Rare things that happened, and how often.
    pub sights: BTreeMap<&'static str, u64>,
    /// The whole trace, if it was asked for.
    pub trace: Vec<String>,
}

/// A violation.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What was violated.
    pub violation: String,
    /// The last lines of the trace, or all if they were asked for.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {}: {}", self.seed, self.violation)?;
        write!(f, "again: cargo run -p sim -- --seed {} --trace", self.seed)
    }
}

/// Runs one seed. With `keep_trace` every line is kept, otherwise the last ones.
///
/// # Errors
/// The first violation of an invariant.
pub fn run_seed(seed: u64, keep_trace: bool) -> Result<Report, Box<Failure>> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = Rng::from_seed(bytes);
    let plan = Plan::draw(seed, &mut rng);
    let mut world = World::new(Rng::from_seed(rng.derive()), plan.budget, Trace::new(keep_trace));
    let result = Run {
        rng,
        world: &mut world,
        faultless: plan.faultless,
    }
    .run(&plan);
    finish(seed, world, result)
}

fn finish(seed: u64, mut world: World, result: Result<(), String>) -> Result<Report, Box<Failure>> {
    let mut sights = world.check.sights().clone();
    for app in &world.apps {
        for (what, count) in app.counters().entries() {
            *sights.entry(what).or_default() += count;
        }
    }
    sights.retain(|_, count| *count > 0);
    let trace = world.trace.take();
    match result {
        Ok(()) => Ok(Report {
            seed,
            fingerprint: world.trace.fingerprint(),
            events: world.trace.count(),
            delivered: world.check.delivered(),
            virtual_time: world.now.since_start(),
            sights,
            trace,
        }),
        Err(violation) => Err(Box::new(Failure {
            seed,
            violation: format!("{violation} (at {:.3} s)", world.now.since_start().as_secs_f64()),
            trace,
        })),
    }
}

struct Run<'a> {
    rng: Rng,
    world: &'a mut World,
    faultless: bool,
}

impl Run<'_> {
    fn run(&mut self, plan: &Plan) -> Result<(), String> {
        if plan.rules {
            let moderators = plan
                .sessions
                .iter()
                .map(|session| format!("a{}", session.moderator));
            let groups = plan.sessions.iter().map(|session| session.label.clone());
            let rules = intruder::rules(&moderators.collect::<Vec<_>>(), &groups.collect::<Vec<_>>());
            // Seeded apart, so that a seed is the same with rules and without.
            self.world.set_rules(rules);
            self.world.intrude_with(Rng::from_seed([7; 32]));
        }
        for app in 0..plan.apps {
            self.world.start_app(&format!("a{app}"), plan.speeds[app]);
        }
        for (at, fault) in &plan.faults {
            self.world
                .plan(Instant::from_start(*at), Happening::Fault(fault.clone()));
        }
        let seed = self.rng.derive();
        let mut workload = Workload::new(self.world, plan.sessions.clone(), Rng::from_seed(seed));
        self.work(&mut workload, plan)?;
        self.world.heal();
        self.come_to_rest(&mut workload)?;
        self.prove_life(&workload)?;
        self.end(&workload)
    }

    /// Phase 1: work under faults.
    fn work(&mut self, workload: &mut Workload, plan: &Plan) -> Result<(), String> {
        let end = Instant::from_start(plan.heals_at);
        while self.world.now < end {
            let next = (self.world.now + pause(&mut self.rng, plan.pace)).min(end);
            self.until(next)?;
            workload.act(self.world);
            self.safe()?;
        }
        Ok(())
    }

    /// Phase 2: no more faults and no more work; within a minute all agree.
    fn come_to_rest(&mut self, workload: &mut Workload) -> Result<(), String> {
        let end = self.world.now + self.rest_max(workload);
        loop {
            workload.all_come_back(self.world);
            self.safe()?;
            match converged(self.world) {
                Ok(()) => break,
                Err(missing) if self.world.now >= end => {
                    return Err(format!("I4: long after the last fault, {missing}"));
                }
                Err(_) => {}
            }
            let next = self.world.now + Duration::from_secs(1);
            self.until(next)?;
        }
        // What is waited for in vain, a gap or a half-joined session, ends in this time.
        self.run_for(REST_MAX)?;
        self.world.check.accounts()
    }

    /// A minute, and the time in which what was begun before may fail: changes that wait at a moderator, each for
    /// somebody who does not answer any more.
    fn rest_max(&self, workload: &Workload) -> Duration {
        let waiting = workload.sessions().iter().map(|plan| {
            let total = plan.reliability.unwrap_or_default().total();
            let changes = u32::try_from(self.world.check.changes(plan.id)).unwrap_or(0);
            total * (changes * 3 + 2)
        });
        REST_MAX + waiting.max().unwrap_or_default()
    }

    /// At rest a message of anybody reaches everybody.
    fn prove_life(&mut self, workload: &Workload) -> Result<(), String> {
        let failures = self.world.check.failures.len();
        // Unreliable messages may be lost in a full queue even now.
        let promised: Vec<(SessionId, u64)> = workload
            .sessions()
            .iter()
            .filter(|plan| plan.reliability.is_some() && self.world.check.is_open(plan.moderator, plan.id))
            .map(|plan| {
                let members = workload::members(self.world, plan.id).len() as u64;
                let before = self.world.check.delivered_in(plan.id);
                (plan.id, before + members * members.saturating_sub(1))
            })
            .collect();
        workload.all_publish(self.world);
        let end = self.world.now + REST_MAX;
        while !self.world.check.pending().is_empty() && self.world.now < end {
            self.run_for(Duration::from_secs(1))?;
        }
        self.run_for(Duration::from_secs(5))?;
        for (session, expected) in promised {
            let received = self.world.check.delivered_in(session);
            if received < expected {
                let missing = expected - received;
                return Err(format!(
                    "I4: at rest, {missing} messages of session {session} never arrived"
                ));
            }
        }
        if self.faultless
            && let Some(failure) = self.world.check.failures.first()
        {
            return Err(format!("without any fault, {failure}"));
        }
        let new = self.world.check.failures.get(failures);
        let moderated = workload
            .sessions()
            .iter()
            .all(|plan| self.world.check.is_open(plan.moderator, plan.id));
        match new {
            Some(failure) if moderated => Err(format!("I4: at rest, {failure}")),
            Some(_) | None => Ok(()),
        }
    }

    /// Everything is closed; nothing may be left.
    fn end(&mut self, workload: &Workload) -> Result<(), String> {
        workload.all_close(self.world);
        self.run_for(Duration::from_secs(5))?;
        workload.all_leave(self.world);
        self.run_for(AFTERMATH)?;
        if let Some(pending) = self.world.check.pending().first() {
            return Err(format!("{pending} never ended"));
        }
        self.world.dismiss_intruder();
        nothing_left(self.world)
    }

    fn until(&mut self, at: Instant) -> Result<(), String> {
        self.world.run_until(at);
        self.safe()
    }

    fn run_for(&mut self, time: Duration) -> Result<(), String> {
        let at = self.world.now + time;
        self.until(at)
    }

    fn safe(&self) -> Result<(), String> {
        self.world
            .check
            .violation()
            .map_or(Ok(()), |violation| Err(violation.to_owned()))
    }
}

/// A group of three talks for a day: every hour all credentials are renewed, and no message is lost.
///
/// # Errors
/// The first violation of an invariant, or any command that failed.
pub fn run_day(keep_trace: bool) -> Result<Report, Box<Failure>> {
    let trace = Trace::new(keep_trace);
    let mut world = World::new(Rng::from_seed([24; 32]), EgressBudget::default(), trace);
    let result = day(&mut world);
    finish(0, world, result)
}

fn day(world: &mut World) -> Result<(), String> {
    let speed = Speed {
        latency: Duration::from_millis(10),
        jitter: Duration::from_millis(5),
    };
    for label in ["alice", "bob", "carol"] {
        world.start_app(label, speed);
    }
    world.run_for(Duration::from_secs(1));
    let plan = SessionPlan {
        id: SessionId(1),
        label: "chat".to_owned(),
        kind: SessionKind::Group,
        moderator: 0,
        peer: 0,
        mls: true,
        reliability: Some(Reliability::default()),
        opens_at: Duration::ZERO,
    };
    workload::register(world, &plan);
    workload::open(world, &plan);
    workload::invite(world, 0, plan.id, 1);
    workload::invite(world, 0, plan.id, 2);
    let mut published: u64 = 0;
    for minute in 0..24 * 60 {
        world.run_until(Instant::from_start(Duration::from_secs(60 * (minute + 1))));
        if let Some(violation) = world.check.violation() {
            return Err(violation.to_owned());
        }
        if minute % 7 == 0 {
            let speaker = usize::try_from(minute).unwrap_or(0) % 3;
            let accepted = world.publish(speaker, plan.id, None);
            accepted.map_err(|error| format!("minute {minute}: {error}"))?;
            published += 1;
        }
    }
    world.run_for(Duration::from_secs(30));
    if let Some(failure) = world.check.failures.first() {
        return Err(failure.clone());
    }
    if world.check.delivered() != published * 2 {
        return Err(format!(
            "{} of {} messages arrived",
            world.check.delivered(),
            published * 2
        ));
    }
    converged(world)
}
