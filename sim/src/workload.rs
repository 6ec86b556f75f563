//! What the applications do: open, invite, publish, remove, leave, close, go offline and come back, at random.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slim_crypto::Rng;
use slim_proto::{FullName, SessionKind};
use slim_session::{Command, Direction, SessionConfig, SessionId};

use crate::check::{Intent, SessionFacts};
use crate::plan::SessionPlan;
use crate::world::World;

/// Membership changes that wait at a moderator.
const CHANGES_MAX: usize = 3;

/// The applications' intentions.
pub(crate) struct Workload {
    sessions: Vec<SessionPlan>,
    opened: BTreeSet<SessionId>,
    /// Who went offline where.
    offline: BTreeSet<(usize, SessionId)>,
    rng: Rng,
}

impl Workload {
    pub(crate) fn new(world: &mut World, sessions: Vec<SessionPlan>, rng: Rng) -> Self {
        for plan in &sessions {
            register(world, plan);
        }
        Self {
            sessions,
            opened: BTreeSet::new(),
            offline: BTreeSet::new(),
            rng,
        }
    }

    pub(crate) fn sessions(&self) -> &[SessionPlan] {
        &self.sessions
    }

    /// One action of somebody, if there is something to do.
    pub(crate) fn act(&mut self, world: &mut World) {
        self.open_what_is_due(world);
        let index = self.draw(self.sessions.len());
        let plan = match self.sessions.get(index) {
            Some(plan) if self.opened.contains(&plan.id) => plan.clone(),
            Some(_) | None => return,
        };
        match plan.kind {
            SessionKind::PointToPoint => self.act_in_pair(world, &plan),
            SessionKind::Group => self.act_in_group(world, &plan),
        }
    }

    /// Whoever is offline comes back, as far as it can by now.
    pub(crate) fn all_come_back(&mut self, world: &mut World) {
        for (app, session) in self.offline.clone() {
            if !world.check.is_open(app, session) || !world.apps[app].is_alive {
                self.offline.remove(&(app, session));
            } else if world.apps[app].is_running()
                && !world.check.is_pending(app, session, "offline")
                && !world.check.is_pending(app, session, "online")
            {
                let back = world.issue(
                    app,
                    Intent::of("online", session, ""),
                    Command::GoOnline { session },
                );
                let moderator = world.check.facts(session).map(|facts| facts.moderator);
                let moderated = moderator.is_some_and(|app| world.check.is_open(app, session));
                // Refused: it is online already, or the session is closing. And without a moderator nobody can
                // bring it into the group's epoch: it has tried.
                if back.is_err() || !moderated {
                    self.offline.remove(&(app, session));
                }
            }
        }
    }

    /// Each member of each session publishes once.
    pub(crate) fn all_publish(&self, world: &mut World) {
        for plan in &self.sessions {
            for app in members(world, plan.id) {
                let others = members(world, plan.id).len() > 1;
                if others && world.apps[app].is_running() {
                    let _refused = world.publish(app, plan.id, None);
                }
            }
        }
    }

    /// Moderators close their sessions; whoever is left behind without a moderator leaves.
    pub(crate) fn all_close(&self, world: &mut World) {
        for plan in &self.sessions {
            if world.check.is_open(plan.moderator, plan.id) {
                close(world, plan.moderator, plan.id);
            }
        }
    }

    /// See [`Self::all_close`].
    pub(crate) fn all_leave(&self, world: &mut World) {
        for plan in &self.sessions {
            for app in members(world, plan.id) {
                close(world, app, plan.id);
            }
        }
    }

    fn open_what_is_due(&mut self, world: &mut World) {
        for plan in self.sessions.clone() {
            let due = world.now.since_start() >= plan.opens_at;
            if due && !self.opened.contains(&plan.id) && world.apps[plan.moderator].is_running() {
                self.opened.insert(plan.id);
                open(world, &plan);
            }
        }
    }

    fn act_in_pair(&mut self, world: &mut World, plan: &SessionPlan) {
        let present = running_members(world, plan.id);
        match self.rng.below(30) {
            0 => {
                if let Some(app) = self.one_of(&present) {
                    close(world, app, plan.id);
                }
            }
            _ => {
                if let Some(app) = self.one_of(&present) {
                    let _refused = world.publish(app, plan.id, None);
                }
            }
        }
    }

    fn act_in_group(&mut self, world: &mut World, plan: &SessionPlan) {
        let present = running_members(world, plan.id);
        let session = plan.id;
        // A queue of invitations to somebody who is away takes longer than the rest at the end allows for.
        let moderates = present.contains(&plan.moderator) && world.check.changes(session) < CHANGES_MAX;
        match self.rng.below(40) {
            0..8 if moderates => {
                let outside: Vec<usize> = (0..world.apps.len())
                    .filter(|app| !world.check.is_open(*app, session))
                    .collect();
                if let Some(app) = self.one_of(&outside) {
                    invite(world, plan.moderator, session, app);
                }
            }
            8..10 if moderates => {
                if let Some(app) = self.one_of(&participants(&present, plan)) {
                    remove(world, plan.moderator, session, app);
                }
            }
            10 => {
                if let Some(app) = self.one_of(&participants(&present, plan)) {
                    close(world, app, session);
                }
            }
            11 | 12 => {
                if let Some(app) = self.one_of(&present) {
                    let intent = Intent::of("offline", session, "");
                    if world.issue(app, intent, Command::GoOffline { session }).is_ok() {
                        self.offline.insert((app, session));
                    }
                }
            }
            13..16 => self.all_come_back(world),
            16..20 => {
                if let Some(app) = self.one_of(&present)
                    && let Some(to) = self.one_of(&members(world, session))
                    && to != app
                {
                    let _refused = world.publish(app, session, Some(to));
                }
            }
            20 if moderates && self.rng.below(20) == 0 => close(world, plan.moderator, session),
            _ => {
                if let Some(app) = self.one_of(&present) {
                    let _refused = world.publish(app, session, None);
                }
            }
        }
    }

    fn one_of(&mut self, apps: &[usize]) -> Option<usize> {
        apps.get(self.draw(apps.len())).copied()
    }

    fn draw(&mut self, length: usize) -> usize {
        usize::try_from(self.rng.below(length as u64)).unwrap_or(0)
    }
}

/// Tells the checkers what a session will be.
pub(crate) fn register(world: &mut World, plan: &SessionPlan) {
    let facts = SessionFacts {
        label: plan.label.clone(),
        kind: plan.kind,
        moderator: plan.moderator,
        mls: plan.mls,
        reliability: plan.reliability,
    };
    world.check.session(plan.id, facts);
}

pub(crate) fn open(world: &mut World, plan: &SessionPlan) {
    let destination = match plan.kind {
        SessionKind::Group => {
            let channel = FullName::new("org", "sim", &plan.label).expect("labels are short words");
            let subject = &world.apps[plan.moderator].subject;
            let (data, control) = slim_proto::name::channel_names(&channel, subject);
            world.trace.name(data.id(), &plan.label);
            world.trace.name(control.id(), format!("{}/control", plan.label));
            channel
        }
        SessionKind::PointToPoint => world.apps[plan.peer].name.without_id(),
    };
    let config = SessionConfig {
        kind: plan.kind,
        destination,
        reliability: plan.reliability,
        mls: plan.mls,
        direction: Direction::Bidirectional,
        metadata: BTreeMap::new(),
    };
    let intent = Intent::of("open", plan.id, &plan.label);
    let id = Some(plan.id);
    let _refused = world.issue(plan.moderator, intent, Command::Open { config, id });
}

pub(crate) fn invite(world: &mut World, moderator: usize, session: SessionId, app: usize) {
    let name = world.apps[app].name.without_id();
    let intent = Intent::of("invite", session, &world.apps[app].label);
    let _refused = world.issue(moderator, intent, Command::Invite { session, name });
}

pub(crate) fn remove(world: &mut World, moderator: usize, session: SessionId, app: usize) {
    let name = world.apps[app].name.without_id();
    let intent = Intent::of("remove", session, &world.apps[app].label);
    let _refused = world.issue(moderator, intent, Command::Remove { session, name });
}

pub(crate) fn close(world: &mut World, app: usize, session: SessionId) {
    let verb = match world.check.facts(session) {
        Some(facts) if facts.moderator == app => "close",
        Some(_) | None => "leave",
    };
    let _refused = world.issue(app, Intent::of(verb, session, ""), Command::Close { session });
}

/// Applications that are in a session as far as they know.
pub(crate) fn members(world: &World, session: SessionId) -> Vec<usize> {
    (0..world.apps.len())
        .filter(|app| world.apps[*app].is_alive && world.check.is_open(*app, session))
        .collect()
}

fn running_members(world: &World, session: SessionId) -> Vec<usize> {
    members(world, session)
        .into_iter()
        .filter(|app| world.apps[*app].is_running())
        .collect()
}

fn participants(present: &[usize], plan: &SessionPlan) -> Vec<usize> {
    present
        .iter()
        .copied()
        .filter(|app| *app != plan.moderator)
        .collect()
}

/// A pause with this mean.
pub(crate) fn pause(rng: &mut Rng, mean: Duration) -> Duration {
    let micros = u64::try_from(mean.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(rng.below(micros.saturating_mul(2)).max(1))
}
