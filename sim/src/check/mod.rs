//! What must never happen, checked after every step; what must have happened, checked at rest.
//!
//! The letters are those of the invariants that the project promises: I1 accounting, I2 order, I3 equal epochs,
//! I4 rest, I5 removal, I7 secrecy, I9 deadlines, I13 one member set, I14 one committer. `docs/simulator.md` lists them.

mod delivery;
mod epochs;
mod rest;
mod secrecy;
mod tickets;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use slim_proto::{Instant, Message, MessageKind, NameId, SessionKind};
use slim_session::{Event, Outcome, Reliability, SessionId, SessionSnapshot, Ticket};

use crate::app::App;
use crate::trace::Trace;

use delivery::Delivery;
use epochs::Epochs;
use secrecy::Secrecy;
use tickets::Tickets;

pub(crate) use rest::{converged, nothing_left};
pub(crate) use tickets::Intent;

/// What is known of a session beforehand.
#[derive(Clone, Debug)]
pub(crate) struct SessionFacts {
    pub(crate) label: String,
    pub(crate) kind: SessionKind,
    pub(crate) moderator: usize,
    pub(crate) mls: bool,
    pub(crate) reliability: Option<Reliability>,
}

/// Ids of the applications' names, and their identity subjects.
#[derive(Debug, Default)]
pub(crate) struct Who {
    by_id: BTreeMap<NameId, usize>,
    subjects: Vec<String>,
    labels: Vec<String>,
    crashed: BTreeSet<usize>,
}

impl Who {
    fn of(&self, id: NameId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }
}

/// All checkers of one run.
#[derive(Debug, Default)]
pub(crate) struct Check {
    sessions: BTreeMap<SessionId, SessionFacts>,
    who: Who,
    /// Sessions that applications are in: how many times each was opened there, and whether it is open.
    open: BTreeMap<(usize, SessionId), (u32, bool)>,
    tickets: Tickets,
    delivery: Delivery,
    epochs: Epochs,
    secrecy: Secrecy,
    /// Things that happened at least once and that a long run should have seen.
    sights: BTreeMap<&'static str, u64>,
    /// True once a hostile node or a full queue may have lost, repeated or reordered messages.
    pub(crate) lossy: bool,
    /// Tickets that failed for another reason than what other members did; without faults there must be none.
    pub(crate) failures: Vec<String>,
    violation: Option<String>,
    closed: BTreeSet<(usize, SessionId)>,
    /// Who announced its absence, or is about to.
    away: BTreeSet<(usize, SessionId)>,
    /// Data messages sent so far, repeated ones included.
    pub(crate) data_sent: u64,
}

impl Check {
    // ----- what the world tells -----

    pub(crate) fn session(&mut self, id: SessionId, facts: SessionFacts) {
        self.sessions.insert(id, facts);
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = (&SessionId, &SessionFacts)> {
        self.sessions.iter()
    }

    pub(crate) fn facts(&self, id: SessionId) -> Option<&SessionFacts> {
        self.sessions.get(&id)
    }

    pub(crate) fn app_started(&mut self, id: NameId, label: &str, subject: &str) {
        self.who.by_id.insert(id, self.who.subjects.len());
        self.who.subjects.push(subject.to_owned());
        self.who.labels.push(label.to_owned());
    }

    pub(crate) fn app_crashed(&mut self, app: usize) {
        self.who.crashed.insert(app);
        self.tickets.forget(app);
        for ((of, _), (_, open)) in &mut self.open {
            *open &= *of != app;
        }
    }

    pub(crate) fn frozen(&mut self, now: Instant, app: usize) {
        self.tickets.pause(now, app);
    }

    pub(crate) fn thawed(&mut self, now: Instant, app: usize) {
        self.tickets.resume(now, app);
    }

    /// Time has advanced: no ticket may be past its deadline (I9).
    pub(crate) fn time(&mut self, now: Instant) {
        if let Some(late) = self.tickets.overdue(now) {
            self.fail(format!("I9: {late}"));
        }
    }

    pub(crate) fn issued(&mut self, now: Instant, app: usize, ticket: Ticket, intent: Intent) {
        if let (Some(session), "offline") = (intent.session, intent.verb()) {
            self.away.insert((app, session));
        }
        let reliability = intent
            .session
            .and_then(|session| self.sessions.get(&session))
            .and_then(|facts| facts.reliability);
        if let Err(violation) = self
            .tickets
            .issue(now, app, ticket, intent, reliability.unwrap_or_default())
        {
            self.fail(violation);
        }
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.delivery.next_number()
    }

    /// What a message carries: its number behind a marker that must not be seen on any link if the session is
    /// encrypted.
    pub(crate) fn payload(&self, session: SessionId, number: u64) -> Bytes {
        let sealed = self.sessions.get(&session).is_some_and(|facts| facts.mls);
        let marker = if sealed { secrecy::CANARY } else { secrecy::OPEN };
        format!("{marker}{number:08}").into()
    }

    pub(crate) fn publishing(
        &mut self,
        number: u64,
        session: SessionId,
        sender: usize,
        to: Option<usize>,
        snapshot: &SessionSnapshot,
    ) {
        let reliable = snapshot.info.reliability.is_some();
        let expected: BTreeMap<usize, u32> = snapshot
            .members
            .iter()
            .filter(|member| member.online)
            .filter_map(|member| self.who.of(member.name.id()))
            .filter(|app| *app != sender && to.is_none_or(|to| to == *app))
            .filter(|app| !self.is_being_invited(sender, session, *app))
            .filter_map(|app| {
                let (run, open) = self.open.get(&(app, session))?;
                open.then_some((app, *run))
            })
            .collect();
        self.delivery
            .publishing(number, session, sender, to, reliable, snapshot.epoch, expected);
    }

    /// The message waits at the moderator until its invitations have ended: who gets it, and in which epoch, is
    /// decided then.
    pub(crate) fn held_back(&mut self, number: u64) {
        self.delivery.held_back(number);
    }

    pub(crate) fn not_published(&mut self, number: u64) {
        self.delivery.not_published(number);
    }

    /// A frame is on a link: neither secrets nor sealed plaintext may be seen in it (I7).
    pub(crate) fn frame_seen(&mut self, sender: &str, bytes: &[u8]) {
        if let Err(violation) = self.secrecy.look(bytes) {
            self.fail(format!("I7: {violation} in a frame of {sender}"));
        }
    }

    /// An application sent a message.
    pub(crate) fn message_sent(&mut self, now: Instant, app: usize, message: &Message) {
        let session = SessionId(message.session_id);
        if message.kind == MessageKind::Msg {
            self.data_sent += 1;
        }
        if matches!(message.kind, MessageKind::Msg | MessageKind::RtxReply)
            && self.sessions.get(&session).is_some_and(|facts| facts.mls)
            && let Err(violation) = self.secrecy.sealed(&message.blob())
        {
            self.fail(format!("I6: {violation}"));
        }
        if message.kind == MessageKind::RejoinRequest {
            self.epochs.rejoining(now, app, session);
            self.saw("rejoin");
        }
    }

    pub(crate) fn event(&mut self, now: Instant, app: usize, label: &str, event: Event, trace: &mut Trace) {
        match event {
            Event::SessionOpened(info) => {
                self.opened(app, info.id);
                let session = self.label(info.id);
                trace.note(now, "opened", format!("{label}: opened {session}"));
            }
            Event::Received { session, message } => {
                let text = String::from_utf8_lossy(&message.payload).into_owned();
                let from = self.who.of(message.source.id());
                let checked = self.delivery.received(
                    app,
                    from,
                    session,
                    self.open.get(&(app, session)).map_or(0, |(run, _)| *run),
                    &message,
                    !self.lossy,
                );
                let sender = message.source.components()[2].to_owned();
                trace.note(
                    now,
                    "received",
                    format!(
                        "{label}: received {text} from {sender} in {}",
                        self.label(session)
                    ),
                );
                let facts = self.sessions.get(&session);
                let checked = checked.and_then(|published| {
                    let Some(epoch) = published.epoch else {
                        return Ok(());
                    };
                    let subject = self.who.subjects.get(app).map_or("", String::as_str);
                    match facts {
                        Some(facts) if facts.mls => self.epochs.may_read(session, epoch, subject),
                        Some(_) | None => Ok(()),
                    }
                });
                if let Err(violation) = checked {
                    self.fail(format!("{label} received {text} of {sender}: {violation}"));
                }
            }
            Event::Lost {
                session,
                sender,
                first,
                last,
            } => {
                self.saw("gap reported");
                let sender = sender.components()[2];
                let text = format!(
                    "{label}: lost {first}..={last} of {sender} in {}",
                    self.label(session)
                );
                trace.note(now, "lost", text);
            }
            Event::Completed { ticket, result } => self.completed(now, app, label, ticket, &result, trace),
            Event::Membership {
                session,
                member,
                change,
            } => {
                let member = member.components()[2];
                let session = self.label(session);
                trace.note(
                    now,
                    "member",
                    format!("{label}: {member} {change:?} in {session}"),
                );
            }
            Event::EpochChanged { session, epoch } => {
                if self.facts(session).is_some_and(|facts| facts.moderator == app) {
                    self.epochs.made(session, epoch);
                }
                let session = self.label(session);
                trace.note(now, "epoch", format!("{label}: epoch {epoch} in {session}"));
            }
            // Applications of the simulator accept every invitation.
            Event::Invited(_) | Event::InvitationRefused { .. } => {
                self.saw("invitation questioned");
            }
            Event::IdentityRefused { peer, .. } => {
                self.saw("identity refused");
                trace.note(
                    now,
                    "refused",
                    format!("{label}: identity of {} refused", peer.components()[2]),
                );
            }
            Event::Closed { session, reason } => {
                if let Some((_, open)) = self.open.get_mut(&(app, session)) {
                    *open = false;
                }
                self.closed.insert((app, session));
                trace.note(
                    now,
                    "closed",
                    format!("{label}: {} {reason}", self.label(session)),
                );
            }
        }
    }

    fn completed(
        &mut self,
        now: Instant,
        app: usize,
        label: &str,
        ticket: Ticket,
        result: &Result<Outcome, slim_session::OperationError>,
        trace: &mut Trace,
    ) {
        let intent = match self.tickets.complete(app, ticket) {
            Ok(intent) => intent,
            Err(violation) => return self.fail(format!("{label}: {violation}")),
        };
        let text = match result {
            Ok(_) => format!("{label}: {} done", intent.text),
            Err(error) => {
                let text = format!("{label}: {} failed: {}", intent.text, short(error));
                if !self.is_consequence(app, error) {
                    self.failures.push(text.clone());
                }
                text
            }
        };
        trace.note(now, "completed", text);
        if let (Some(session), true) = (intent.session, intent.verb() == "online" && result.is_ok()) {
            self.away.remove(&(app, session));
        }
        if let Ok(Outcome::Opened(info)) = result {
            self.opened(app, info.id);
        }
        if let Some(number) = intent.number
            && let Err(violation) = self.delivery.completed(number, result, &self.who)
        {
            self.fail(format!("I1: {label}: {}: {violation}", intent.text));
        }
    }

    fn opened(&mut self, app: usize, session: SessionId) {
        let (run, open) = self.open.entry((app, session)).or_default();
        *run += 1;
        *open = true;
    }

    /// After each input of an application.
    pub(crate) fn step(&mut self, now: Instant, app: usize, state: &App) {
        for (app, session) in std::mem::take(&mut self.closed) {
            let live = state.session_ids().contains(&session);
            let timers = state.timer_count(Some(session));
            if !live && timers > 0 {
                let label = self.label(session);
                self.fail(format!("{}: {timers} timers of the closed session {label}", app));
            }
        }
        for session in state.session_ids() {
            let (Some(snapshot), Some(facts)) = (state.snapshot(session), self.sessions.get(&session)) else {
                continue;
            };
            let is_moderator = app == facts.moderator;
            let checked = self.epochs.look(now, app, is_moderator, &state.label, &snapshot);
            if let Err(violation) = checked {
                let label = self.label(session);
                self.fail(format!("{} in {label}: {violation}", state.label));
            }
        }
    }

    // ----- what others ask -----

    /// True if the application was told that it is in the session and not that it is out.
    pub(crate) fn is_open(&self, app: usize, session: SessionId) -> bool {
        self.open.get(&(app, session)).is_some_and(|(_, open)| *open)
    }

    /// Commands that have not ended.
    pub(crate) fn pending(&self) -> Vec<String> {
        self.tickets.pending()
    }

    /// Commands of one application for one session that have not ended.
    pub(crate) fn is_pending(&self, app: usize, session: SessionId, verb: &str) -> bool {
        self.tickets.is_pending(app, session, verb)
    }

    /// Membership changes of a session that have not ended.
    pub(crate) fn changes(&self, session: SessionId) -> usize {
        self.tickets.changes(session)
    }

    /// The moderator does not count on a member whose welcome is not confirmed.
    fn is_being_invited(&self, moderator: usize, session: SessionId, app: usize) -> bool {
        let label = self.who.labels.get(app).map_or("", String::as_str);
        self.tickets
            .is_pending_text(moderator, session, &format!("invite {label}"))
    }

    /// At rest: who was reported to have a message has it (I1).
    pub(crate) fn accounts(&self) -> Result<(), String> {
        self.delivery.accounts(|app, session, run| {
            !self.who.crashed.contains(&app) && self.open.get(&(app, session)) == Some(&(run, true))
        })
    }

    /// Messages of one session that applications received.
    pub(crate) fn delivered_in(&self, session: SessionId) -> u64 {
        self.delivery.delivered_in(session)
    }

    /// Messages that applications received.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivery.delivered()
    }

    pub(crate) fn saw(&mut self, what: &'static str) {
        *self.sights.entry(what).or_default() += 1;
    }

    pub(crate) fn sights(&self) -> &BTreeMap<&'static str, u64> {
        &self.sights
    }

    pub(crate) fn fail(&mut self, text: String) {
        self.violation.get_or_insert(text);
    }

    pub(crate) fn violation(&self) -> Option<&str> {
        self.violation.as_deref()
    }

    /// True for failures that follow from what members do, without any fault: they leave, close, are members
    /// already, or are away.
    fn is_consequence(&self, app: usize, error: &slim_session::OperationError) -> bool {
        use slim_session::{MissReason, OperationError as E};
        match error {
            E::AlreadyMember(_) | E::NotMember(_) | E::NoMembers(_) | E::SessionClosed(_) => true,
            // The commit that removes this member was applied; the request to leave is on its way.
            E::Mls(_) => true,
            E::PublishIncomplete { session, outcome, .. } => outcome.missed.iter().all(|(name, reason)| {
                let away = self
                    .who
                    .of(name.id())
                    .is_some_and(|app| self.away.contains(&(app, *session)) || !self.is_open(app, *session));
                away || matches!(reason, MissReason::Left | MissReason::Offline)
            }),
            // The moderator is away, too.
            E::RejoinFailed(_) => !self.away.is_empty(),
            // Whoever goes away while it invites hears no answers.
            E::InviteFailed { session, .. } => self.away.contains(&(app, *session)),
            E::Subscription { .. } => false,
        }
    }

    fn label(&self, session: SessionId) -> String {
        self.sessions
            .get(&session)
            .map_or_else(|| session.to_string(), |facts| facts.label.clone())
    }
}

/// An error without the advice and the times in it.
fn short(error: &slim_session::OperationError) -> String {
    use slim_session::OperationError as E;
    match error {
        E::InviteFailed { step, detail, .. } if detail.is_empty() => format!("no success at {step}"),
        E::InviteFailed { step, detail, .. } => format!("no success at {step}: {detail}"),
        E::PublishIncomplete { outcome, .. } => outcome
            .missed
            .iter()
            .map(|(name, reason)| format!("{} {reason:?}", name.components()[2]))
            .collect::<Vec<_>>()
            .join(", "),
        E::AlreadyMember(_)
        | E::NotMember(_)
        | E::NoMembers(_)
        | E::Subscription { .. }
        | E::SessionClosed(_)
        | E::RejoinFailed(_)
        | E::Mls(_) => error.to_string(),
    }
}
