//! Scenarios: commands and the trace that they cause, in a text that people can read and correct.
//!
//! A block is some commands, a line `----`, and the expected trace up to an empty line. Lines with `#` are comments.
//! In the trace, `alice->bob Kind` is a message that alice sent, `=>bob Kind lost` one that a hostile node took away
//! before bob got it, and `bob: …` what bob's application saw.

use std::time::Duration;

use slim_crypto::Rng;
use slim_proto::{MessageKind, SessionKind};
use slim_router::egress::EgressBudget;
use slim_session::{Command, Reliability, SessionId};

use crate::adversary::{Deed, Order};
use crate::check::{Intent, converged};
use crate::faults::Fault;
use crate::intruder;
use crate::net::{Speed, Way};
use crate::plan::SessionPlan;
use crate::trace::Trace;
use crate::workload;
use crate::world::World;

/// Ends the commands of a block.
const SEPARATOR: &str = "----";
/// All links of scenarios; without jitter, so that traces repeat.
const LATENCY: Duration = Duration::from_millis(10);
/// `settle` waits no longer than this.
const SETTLE_MAX: Duration = Duration::from_secs(120);

/// Why a scenario cannot be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScenarioError {
    /// A command that does not exist, or with wrong words behind it.
    Command {
        /// Line in the file, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// An invariant was violated.
    Violation {
        /// Line of the command.
        line: usize,
        /// Which.
        violation: String,
    },
}

impl std::fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Command { line, text } => write!(f, "line {line}: not a command: {text}"),
            Self::Violation { line, violation } => write!(f, "line {line}: {violation}"),
        }
    }
}

impl std::error::Error for ScenarioError {}

/// Runs a scenario and returns its text with the traces that really happened.
///
/// # Errors
/// See [`ScenarioError`].
pub fn run_scenario(text: &str) -> Result<String, ScenarioError> {
    let mut stage = Stage::new();
    let mut output = String::new();
    let mut in_trace = false;
    for (index, line) in text.lines().enumerate() {
        if in_trace {
            // The old trace is replaced by the new one.
            in_trace = !line.trim().is_empty();
            if !in_trace {
                output.push('\n');
            }
            continue;
        }
        output.push_str(line.trim_end());
        output.push('\n');
        let command = line.trim();
        if command == SEPARATOR {
            in_trace = true;
            for line in stage.world.trace.take() {
                output.push_str(&line);
                output.push('\n');
            }
        } else if !command.is_empty() && !command.starts_with('#') {
            let words: Vec<&str> = command.split_whitespace().collect();
            stage.run(&words).ok_or_else(|| ScenarioError::Command {
                line: index + 1,
                text: command.to_owned(),
            })?;
            if let Some(violation) = stage.world.check.violation() {
                return Err(ScenarioError::Violation {
                    line: index + 1,
                    violation: violation.to_owned(),
                });
            }
        }
    }
    Ok(output)
}

struct Stage {
    world: World,
    sessions: Vec<SessionPlan>,
}

impl Stage {
    fn new() -> Self {
        let mut world = World::new(Rng::from_seed([1; 32]), EgressBudget::default(), Trace::new(true));
        world.behind_hostile_nodes = true;
        Self {
            world,
            sessions: Vec::new(),
        }
    }

    /// `None` if these words are no command.
    fn run(&mut self, words: &[&str]) -> Option<()> {
        match words {
            ["app", labels @ ..] => {
                for label in labels {
                    let speed = Speed {
                        latency: LATENCY,
                        jitter: Duration::ZERO,
                    };
                    self.world.start_app(label, speed);
                }
                self.world.run_for(Duration::from_millis(100));
            }
            ["rules", moderator, groups @ ..] => {
                let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
                let rules = intruder::rules(&[(*moderator).to_owned()], &groups);
                self.world.set_rules(rules);
            }
            ["open", moderator, label, settings @ ..] => {
                self.open(SessionKind::Group, moderator, moderator, label, settings)?;
            }
            ["pair", moderator, label, peer, settings @ ..] => {
                self.open(SessionKind::PointToPoint, moderator, peer, label, settings)?;
            }
            ["invite", moderator, label, whom] => {
                let (moderator, session, whom) =
                    (self.app(moderator)?, self.session(label)?, self.app(whom)?);
                workload::invite(&mut self.world, moderator, session, whom);
            }
            ["remove", moderator, label, whom] => {
                let (moderator, session, whom) =
                    (self.app(moderator)?, self.session(label)?, self.app(whom)?);
                workload::remove(&mut self.world, moderator, session, whom);
            }
            ["publish", who, label] => {
                let (who, session) = (self.app(who)?, self.session(label)?);
                let _refused = self.world.publish(who, session, None);
            }
            ["publish-to", who, label, whom] => {
                let (who, session, whom) = (self.app(who)?, self.session(label)?, self.app(whom)?);
                let _refused = self.world.publish(who, session, Some(whom));
            }
            ["close" | "leave", who, label] => {
                let (who, session) = (self.app(who)?, self.session(label)?);
                workload::close(&mut self.world, who, session);
            }
            ["offline", who, label] => {
                let (who, session) = (self.app(who)?, self.session(label)?);
                let intent = Intent::of("offline", session, "");
                let _refused = self.world.issue(who, intent, Command::GoOffline { session });
            }
            ["online", who, label] => {
                let (who, session) = (self.app(who)?, self.session(label)?);
                let intent = Intent::of("online", session, "");
                let _refused = self.world.issue(who, intent, Command::GoOnline { session });
            }
            ["show", label] => self.show(label)?,
            _ => return self.disturb(words),
        }
        Some(())
    }

    /// Time, and what goes wrong in it.
    fn disturb(&mut self, words: &[&str]) -> Option<()> {
        match words {
            ["wait", time] => self.world.run_for(duration(time)?),
            ["settle"] => self.settle(),
            ["finish"] => self.finish(),
            ["mute", kinds @ ..] => {
                for word in kinds {
                    match kind(word) {
                        Some(kind) => self.world.trace.muted.push(kind),
                        None if matches!(*word, "epoch" | "subscription") => {
                            self.world.trace.muted_notes.push((*word).to_owned())
                        }
                        None => return None,
                    }
                }
            }
            ["lose", who, way, of, times @ ..] => {
                let times = times.first().map_or(Some(1), |times| times.parse().ok())?;
                self.order(who, way, of, times, Deed::Lose)?;
            }
            ["repeat", who, way, of] => self.order(who, way, of, 1, Deed::Repeat)?,
            ["delay", who, way, of, time] => self.order(who, way, of, 1, Deed::Delay(duration(time)?))?,
            ["freeze", who, time] => {
                let (app, time) = (self.app(who)?, duration(time)?);
                self.world.inflict(Fault::Freeze { app, time });
            }
            ["cut", who] => {
                let app = self.app(who)?;
                self.world.inflict(Fault::Cut {
                    app,
                    node_notices_after: Duration::ZERO,
                });
            }
            ["partition", who, time] => {
                let (app, time) = (self.app(who)?, duration(time)?);
                let ways = Way::BOTH.to_vec();
                self.world.inflict(Fault::Partition { app, ways, time });
            }
            ["crash", who] => {
                let app = self.app(who)?;
                self.world.inflict(Fault::Crash { app });
            }
            ["crash-node", time] => {
                let down = duration(time)?;
                self.world.inflict(Fault::NodeCrash { down });
            }
            _ => return None,
        }
        Some(())
    }

    fn open(
        &mut self,
        kind: SessionKind,
        moderator: &str,
        peer: &str,
        label: &str,
        settings: &[&str],
    ) -> Option<()> {
        let mut plan = SessionPlan {
            id: SessionId(u32::try_from(self.sessions.len() + 1).ok()?),
            label: label.to_owned(),
            kind,
            moderator: self.app(moderator)?,
            peer: self.app(peer)?,
            mls: false,
            reliability: Some(Reliability::default()),
            opens_at: Duration::ZERO,
        };
        let mut settings = settings.iter();
        while let Some(setting) = settings.next() {
            match *setting {
                "mls" => plan.mls = true,
                "unreliable" => plan.reliability = None,
                "interval" => plan.reliability.as_mut()?.interval = duration(settings.next()?)?,
                "retries" => plan.reliability.as_mut()?.max_retries = settings.next()?.parse().ok()?,
                _ => return None,
            }
        }
        workload::register(&mut self.world, &plan);
        workload::open(&mut self.world, &plan);
        self.sessions.push(plan);
        Some(())
    }

    /// Runs until nothing is pending and all agree.
    fn settle(&mut self) {
        let end = self.world.now + SETTLE_MAX;
        while let Err(missing) = converged(&self.world) {
            if self.world.now >= end {
                self.world.check.fail(format!("not settled: {missing}"));
            }
            if self.world.check.violation().is_some() {
                return;
            }
            self.world.run_for(Duration::from_millis(50));
        }
        // What was sent last arrives.
        self.world.run_for(LATENCY * 4);
    }

    /// Runs until every command has ended, whether or not the members agree.
    fn finish(&mut self) {
        let end = self.world.now + SETTLE_MAX;
        while !self.world.check.pending().is_empty()
            && self.world.now < end
            && self.world.check.violation().is_none()
        {
            self.world.run_for(Duration::from_millis(50));
        }
        self.world.run_for(LATENCY * 4);
    }

    fn show(&mut self, label: &str) -> Option<()> {
        let session = self.session(label)?;
        for app in workload::members(&self.world, session) {
            let Some(snapshot) = self.world.apps[app].snapshot(session) else {
                continue;
            };
            let members: Vec<String> = snapshot
                .members
                .iter()
                .map(|member| {
                    let mark = if member.online { "" } else { " (offline)" };
                    format!("{}{mark}", member.name.components()[2])
                })
                .collect();
            let mut members = members;
            members.sort();
            let epoch = snapshot
                .epoch
                .map_or_else(|| "no epochs".to_owned(), |epoch| format!("epoch {epoch}"));
            let text = format!("{}: {epoch}, {}", self.world.apps[app].label, members.join(", "));
            self.world.trace.note(self.world.now, "show", text);
        }
        Some(())
    }

    fn order(&mut self, who: &str, way: &str, of: &str, times: u32, deed: Deed) -> Option<()> {
        let way = match way {
            "from" => Way::Up,
            "to" => Way::Down,
            _ => return None,
        };
        let (app, kind) = (self.app(who)?, kind(of)?);
        let adversary = self.world.links[app].adversary.as_mut()?;
        adversary.orders.push(Order {
            way,
            kind,
            times,
            deed,
        });
        Some(())
    }

    fn app(&self, label: &str) -> Option<usize> {
        self.world.apps.iter().position(|app| app.label == label)
    }

    fn session(&self, label: &str) -> Option<SessionId> {
        self.sessions
            .iter()
            .find(|session| session.label == label)
            .map(|session| session.id)
    }
}

fn duration(word: &str) -> Option<Duration> {
    if let Some(millis) = word.strip_suffix("ms") {
        return Some(Duration::from_millis(millis.parse().ok()?));
    }
    if let Some(minutes) = word.strip_suffix("min") {
        return Some(Duration::from_secs(60 * minutes.parse::<u64>().ok()?));
    }
    if let Some(hours) = word.strip_suffix('h') {
        return Some(Duration::from_secs(3600 * hours.parse::<u64>().ok()?));
    }
    Some(Duration::from_secs(word.strip_suffix('s')?.parse().ok()?))
}

fn kind(word: &str) -> Option<MessageKind> {
    MessageKind::ALL
        .into_iter()
        .find(|kind| format!("{kind:?}") == word)
}
