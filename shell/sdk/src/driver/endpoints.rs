//! One application inside the driver: its endpoint, who waits for its tickets, and how it closes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use slim_proto::{FullName, Instant};
use slim_router::LinkId;
use slim_session::{CommandError, Endpoint, Event, Outcome, SessionId, SessionInfo, Ticket};
use tokio::sync::OwnedSemaphorePermit;

use crate::app::AppShared;
use crate::error::Error;
use crate::identity::KeyQuestions;
use crate::inbox::{End, Item};
use crate::refusal::Refusal;
use crate::request::{NewApp, Reply};
use crate::session::SessionShared;
use crate::warnings::Refusals;

/// Longest wait for the sessions of a closing application to end; dead peers must not hold it.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// One application.
pub(super) struct LocalApp {
    pub(super) endpoint: Endpoint,
    pub(super) shared: Arc<AppShared>,
    pub(super) link: LinkId,
    /// Names that its nodes must know: its own and the further ones.
    pub(super) names: BTreeSet<FullName>,
    pending: BTreeMap<Ticket, Pending>,
    /// Who fetches the keys of issuers, if somebody has to.
    pub(super) keys: Option<KeyQuestions>,
    /// Set while the application closes.
    closing: Option<Closing>,
    refusals: Refusals,
}

/// Who waits for a ticket. A caller that went away does not matter: the send into its channel fails.
pub(super) enum Pending {
    /// A call of a handle; the permit is given back when the command ends.
    Outcome {
        reply: Reply<Outcome>,
        permit: Option<OwnedSemaphorePermit>,
        effect: Effect,
    },
    /// `App::open`.
    Opened(Reply<Arc<SessionShared>>),
    /// `Service::create_app`, waiting for its own name.
    Created(Reply<NewApp>, NewApp),
    /// Nobody waits.
    Nobody,
}

/// What the success of a command changes in the driver.
pub(super) enum Effect {
    /// Nothing.
    None,
    /// The nodes are told of this name from now on.
    AddName(FullName),
    /// And no longer.
    RemoveName(FullName),
}

struct Closing {
    replies: Vec<Reply<()>>,
    deadline: Instant,
}

/// A session that nobody will accept.
pub(super) struct Unwanted(pub(super) SessionId);

impl LocalApp {
    pub(super) fn new(endpoint: Endpoint, shared: Arc<AppShared>, link: LinkId) -> Self {
        let names = BTreeSet::from([shared.name.clone()]);
        Self {
            endpoint,
            shared,
            link,
            names,
            pending: BTreeMap::new(),
            keys: None,
            closing: None,
            refusals: Refusals::default(),
        }
    }

    /// Remembers who waits for the result of a command, or tells them at once that it was refused.
    pub(super) fn await_result(&mut self, result: Result<Ticket, CommandError>, pending: Pending) {
        match result {
            Ok(ticket) => {
                let previous = self.pending.insert(ticket, pending);
                debug_assert!(previous.is_none(), "the core gives each ticket once");
            }
            Err(error) => self.finish(pending, Err(error.into())),
        }
    }

    /// True if a call waits for a result.
    pub(super) fn is_busy(&self) -> bool {
        self.pending
            .values()
            .any(|pending| !matches!(pending, Pending::Nobody))
    }

    /// Hands one event over. A session that too many others wait before is returned, to be left again.
    pub(super) fn handle_event(&mut self, now: Instant, event: Event) -> Option<Unwanted> {
        match event {
            Event::SessionOpened(info) => {
                let id = info.id;
                let session = self.session_of(info);
                if !self.shared.offer(session) {
                    tracing::warn!(app = %self.shared.name, session = %id, "too many sessions wait for accept; leaving");
                    return Some(Unwanted(id));
                }
            }
            Event::Received { session, message } => self.deliver(session, Item::Message(message)),
            Event::Lost {
                session,
                sender,
                first,
                last,
            } => {
                self.deliver(session, Item::Lost { sender, first, last });
            }
            Event::Membership {
                session,
                member,
                change,
            } => {
                self.deliver(session, Item::Membership { member, change });
            }
            Event::Completed { ticket, result } => match self.pending.remove(&ticket) {
                Some(pending) => self.finish(pending, result.map_err(Error::from)),
                None => debug_assert!(false, "a ticket that was never given out ended"),
            },
            Event::EpochChanged { session, epoch } => {
                tracing::debug!(app = %self.shared.name, %session, epoch, "the group has a new epoch");
            }
            Event::IdentityRefused { peer, error } => {
                self.refusals.log(now, &self.shared.name, &peer, &error);
                self.shared.refused(Refusal { peer, error });
            }
            Event::Invited(invitation) => self.shared.ask(invitation),
            Event::InvitationRefused {
                session,
                inviter,
                subject,
                reason,
            } => {
                tracing::info!(app = %self.shared.name, %session, %inviter, subject, %reason, "invitation refused");
            }
            Event::Closed { session, reason } => {
                if let Some(shared) = self.shared.remove(session) {
                    shared.end(End::Session(reason));
                }
            }
        }
        None
    }

    /// Begins to close; `deadline` bounds what the sessions may take. Returns true the first time.
    pub(super) fn begin_close(&mut self, now: Instant, reply: Option<Reply<()>>) -> bool {
        let is_first = self.closing.is_none();
        let closing = self.closing.get_or_insert_with(|| Closing {
            replies: Vec::new(),
            deadline: now + CLOSE_MAX,
        });
        closing.replies.extend(reply);
        is_first
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// When the close ends at the latest.
    pub(super) fn close_deadline(&self) -> Option<Instant> {
        self.closing.as_ref().map(|closing| closing.deadline)
    }

    /// True if the application closes and nothing is left to wait for.
    pub(super) fn is_closed(&self, now: Instant) -> bool {
        let Some(closing) = &self.closing else {
            return false;
        };
        closing.deadline <= now || (self.endpoint.session_ids().is_empty() && !self.is_leaving())
    }

    /// True while a close of a session is not confirmed.
    fn is_leaving(&self) -> bool {
        self.pending
            .values()
            .any(|pending| matches!(pending, Pending::Nobody))
    }

    /// Ends everything that waits for this application.
    pub(super) fn end(mut self) {
        for session in self.shared.close() {
            session.end(End::Closed);
        }
        for pending in std::mem::take(&mut self.pending).into_values() {
            self.finish(pending, Err(Error::Closed));
        }
        for reply in self
            .closing
            .take()
            .map(|closing| closing.replies)
            .unwrap_or_default()
        {
            let _ = reply.send(Ok(()));
        }
    }

    /// Sends failing means that the caller dropped its future, which is its right.
    fn finish(&mut self, pending: Pending, result: Result<Outcome, Error>) {
        match pending {
            Pending::Outcome {
                reply,
                permit,
                effect,
            } => {
                match (&result, effect) {
                    (Ok(_), Effect::AddName(name)) => {
                        self.names.insert(name);
                    }
                    (Ok(_), Effect::RemoveName(name)) => {
                        self.names.remove(&name);
                    }
                    (Ok(_), Effect::None) | (Err(_), _) => {}
                }
                drop(permit);
                let _ = reply.send(result);
            }
            Pending::Opened(reply) => {
                let _ = reply.send(result.and_then(|outcome| self.opened(outcome)));
            }
            Pending::Created(reply, app) => {
                let _ = reply.send(result.map(|_| app));
            }
            Pending::Nobody => {
                if let Err(error) = result {
                    tracing::debug!(app = %self.shared.name, %error, "a background operation failed");
                }
            }
        }
    }

    fn opened(&self, outcome: Outcome) -> Result<Arc<SessionShared>, Error> {
        let Outcome::Opened(info) = outcome else {
            debug_assert!(false, "open ended with {outcome:?}");
            return Err(Error::Closed);
        };
        Ok(self.session_of(info))
    }

    /// The session with these facts, new or known.
    fn session_of(&self, info: SessionInfo) -> Arc<SessionShared> {
        if let Some(session) = self.shared.session(info.id) {
            session.update(info);
            return session;
        }
        let session = Arc::new(SessionShared::new(info));
        self.shared.insert(Arc::clone(&session));
        session
    }

    fn deliver(&self, session: SessionId, item: Item) {
        // A one-to-one peer may speak before the own `open` has completed.
        let known = self.shared.session(session);
        let shared = known.or_else(|| Some(self.session_of(self.endpoint.snapshot(session)?.info)));
        match shared {
            Some(shared) => shared.inbox.push(item),
            None => tracing::debug!(app = %self.shared.name, %session, "an event for a session that is gone"),
        }
    }
}
