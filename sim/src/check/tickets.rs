//! Every ticket gets exactly one completion (Invariant 18), by its deadline (I9).

use std::collections::BTreeMap;
use std::time::Duration;

use slim_proto::Instant;
use slim_session::{Reliability, SessionId, Ticket};

/// Data gets a second to be acknowledged, the goodbye two to be answered; and one to spare.
const CLOSE_MAX: Duration = Duration::from_secs(4);
/// For what the network takes.
const SPARE: Duration = Duration::from_secs(1);

/// What a command is for.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    /// As the trace shows it: verb first.
    pub(crate) text: String,
    pub(crate) session: Option<SessionId>,
    /// Of a published message.
    pub(crate) number: Option<u64>,
}

impl Intent {
    pub(crate) fn subscribe() -> Self {
        Self {
            text: "subscribe".to_owned(),
            session: None,
            number: None,
        }
    }

    pub(crate) fn of(verb: &str, session: SessionId, whom: &str) -> Self {
        let text = format!("{verb} {whom}");
        Self {
            text: text.trim_end().to_owned(),
            session: Some(session),
            number: None,
        }
    }

    pub(crate) fn publish(session: SessionId, number: u64, to: Option<&str>) -> Self {
        let text = match to {
            Some(to) => format!("publish {number} to {to}"),
            None => format!("publish {number}"),
        };
        Self {
            text,
            session: Some(session),
            number: Some(number),
        }
    }

    pub(super) fn verb(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }
}

#[derive(Debug)]
struct Open {
    intent: Intent,
    deadline: Instant,
    /// It was allowed to wait for others before it.
    may_wait: bool,
}

/// Tickets that have not completed.
#[derive(Debug, Default)]
pub(crate) struct Tickets {
    open: BTreeMap<(usize, Ticket), Open>,
    /// Since when applications are frozen: they cannot complete anything.
    paused: BTreeMap<usize, Instant>,
    /// No ticket is due before this.
    next: Option<Instant>,
}

impl Tickets {
    pub(super) fn issue(
        &mut self,
        now: Instant,
        app: usize,
        ticket: Ticket,
        intent: Intent,
        reliability: Reliability,
    ) -> Result<(), String> {
        if matches!(intent.verb(), "close" | "leave") {
            // It ends everything that is under way, and has its own time for that.
            for ((of, _), open) in &mut self.open {
                if *of == app && open.intent.session == intent.session {
                    open.deadline = open.deadline.max(now + CLOSE_MAX);
                }
            }
        }
        let allowed = self.time_allowed(app, &intent, reliability);
        let deadline = now + allowed;
        let may_wait = allowed > reliability.total() + SPARE;
        self.next = Some(self.next.map_or(deadline, |next| next.min(deadline)));
        match self.open.insert(
            (app, ticket),
            Open {
                intent,
                deadline,
                may_wait,
            },
        ) {
            None => Ok(()),
            Some(old) => Err(format!(
                "{ticket:?} was given out twice, first for {}",
                old.intent.text
            )),
        }
    }

    pub(super) fn complete(&mut self, app: usize, ticket: Ticket) -> Result<Intent, String> {
        match self.open.remove(&(app, ticket)) {
            Some(open) => Ok(open.intent),
            None => Err(format!("{ticket:?} completed twice, or was never given out")),
        }
    }

    pub(super) fn forget(&mut self, app: usize) {
        self.open.retain(|(of, _), _| *of != app);
        self.paused.remove(&app);
    }

    pub(super) fn pause(&mut self, now: Instant, app: usize) {
        self.paused.insert(app, now);
    }

    pub(super) fn resume(&mut self, now: Instant, app: usize) {
        let Some(since) = self.paused.remove(&app) else {
            return;
        };
        let frozen = now.saturating_since(since);
        for ((of, _), open) in &mut self.open {
            if *of == app {
                open.deadline = open.deadline + frozen;
            }
        }
    }

    pub(super) fn overdue(&mut self, now: Instant) -> Option<String> {
        if self.next.is_none_or(|next| next >= now) {
            return None;
        }
        let running = || {
            self.open
                .iter()
                .filter(|((app, _), _)| !self.paused.contains_key(app))
        };
        let late = running()
            .find(|(_, open)| open.deadline < now)
            .map(|((app, _), open)| {
                let by = now.saturating_since(open.deadline).as_secs_f64();
                format!(
                    "\"{}\" of application {app} has not ended {by:.1} s after its deadline",
                    open.intent.text
                )
            });
        self.next = running().map(|(_, open)| open.deadline).min();
        late
    }

    pub(super) fn pending(&self) -> Vec<String> {
        self.open
            .iter()
            .map(|((app, _), open)| format!("\"{}\" of application {app}", open.intent.text))
            .collect()
    }

    /// True if a command of exactly this text has not ended.
    pub(super) fn is_pending_text(&self, app: usize, session: SessionId, text: &str) -> bool {
        self.open.iter().any(|((of, _), open)| {
            *of == app && open.intent.session == Some(session) && open.intent.text == text
        })
    }

    /// Membership changes of a session that have not ended.
    pub(super) fn changes(&self, session: SessionId) -> usize {
        self.open
            .values()
            .filter(|open| open.intent.session == Some(session))
            .filter(|open| matches!(open.intent.verb(), "invite" | "remove"))
            .count()
    }

    pub(super) fn is_pending(&self, app: usize, session: SessionId, verb: &str) -> bool {
        self.open.iter().any(|((of, _), open)| {
            *of == app && open.intent.session == Some(session) && open.intent.verb() == verb
        })
    }

    fn waits(&self, app: usize, intent: &Intent) -> bool {
        self.open.iter().any(|((of, _), open)| {
            *of == app
                && open.intent.session == intent.session
                && open.may_wait
                && open.intent.number.is_some()
        })
    }

    /// The promise for each command, with a second to spare. A membership change waits for those before it, and
    /// each of them may need all retransmissions of each of its steps.
    fn time_allowed(&self, app: usize, intent: &Intent, reliability: Reliability) -> Duration {
        let total = reliability.total();
        let change = total * 6 + Duration::from_secs(12);
        let others = self
            .open
            .iter()
            .filter(|((of, _), open)| *of == app && open.intent.session == intent.session)
            .filter(|(_, open)| matches!(open.intent.verb(), "invite" | "remove"))
            .count();
        // Besides those, members leave and rejoin.
        let queue = change * (u32::try_from(others).unwrap_or(u32::MAX) + 8);
        match intent.verb() {
            "subscribe" => Duration::from_secs(11),
            "open" => total * 3 + SPARE,
            "invite" | "remove" => queue,
            // Published while the first member is invited, it waits for the end of that, and later ones behind it.
            "publish" if others > 0 || self.waits(app, intent) => total + queue,
            "publish" | "offline" => total + SPARE,
            // A member that missed an epoch rejoins, and is patient with a busy moderator.
            "online" => total + total.max(Duration::from_secs(30)) + SPARE,
            "close" | "leave" => CLOSE_MAX,
            verb => panic!("no deadline for {verb}"),
        }
    }
}
