//! What the endpoint does for messages to any one instance: discover, open, publish, close.

use slim_proto::{Command as Payload, FullName, Message, Now, SessionKind};

use super::{Anycast, AnycastConfig, Ask, Choice, Contact};
use crate::api::{CloseReason, Direction, Outcome, Reliability, SessionConfig, SessionId, Ticket};
use crate::endpoint::Endpoint;
use crate::error::{CommandError, InviteStep, OperationError};
use crate::publish::check_draft;
use crate::send::Draft;
use crate::timers::{ENDPOINT, TimerKey};

impl Endpoint {
    // ----- commands -----

    /// Nothing is sent before the first message, so it opens at once.
    pub(crate) fn open_anycast(
        &mut self,
        ticket: Ticket,
        config: AnycastConfig,
        id: Option<SessionId>,
    ) -> Result<(), CommandError> {
        let id = self.new_session_id(id)?;
        self.anycasts.sessions.insert(id.0, Anycast::new(config));
        let info = self.anycast_info(id.0);
        if let Some(info) = info {
            self.shared.complete(ticket, Ok(Outcome::Opened(info)));
        }
        Ok(())
    }

    /// Sends a message to the instance that is bound, named or, after a discovery, next.
    pub(crate) fn publish_anycast(
        &mut self,
        now: Now,
        id: SessionId,
        mut draft: Draft,
    ) -> Result<(), CommandError> {
        check_draft(&draft)?;
        let anycast = self
            .anycasts
            .sessions
            .get(&id.0)
            .ok_or(CommandError::SessionUnknown(id))?;
        if anycast.closing.is_some() {
            return Err(CommandError::Closing(id));
        }
        let named = draft.to.take().or_else(|| anycast.only_receiver());
        let to = named.ok_or(CommandError::NoReceiver(id))?;
        if let Some(session) = self.live_contact(now, id.0, &to) {
            return self.carry(now, id.0, session, draft);
        }
        let anycast = self.anycasts.sessions.get(&id.0);
        if to.id().is_concrete() || anycast.is_some_and(|anycast| anycast.config.is_sticky()) {
            // The only session of a sticky one has its number, as both ends then see the same.
            let wanted = (!self.sessions.contains_key(&id.0) && !self.was_session(id.0)).then_some(id);
            let session = self.open_contact(now, id.0, &to, wanted)?;
            return self.carry(now, id.0, session, draft);
        }
        if let Some(anycast) = anycast {
            anycast.check_room(id)?;
        }
        self.ask(now, id.0, draft, to);
        Ok(())
    }

    /// Closes every one-to-one session; `finish_anycasts` reports when the last one is gone.
    pub(crate) fn close_anycast(
        &mut self,
        now: Now,
        id: SessionId,
        ticket: Ticket,
    ) -> Result<(), CommandError> {
        let anycast = self
            .anycasts
            .sessions
            .get_mut(&id.0)
            .ok_or(CommandError::SessionUnknown(id))?;
        if anycast.closing.is_some() {
            return Err(CommandError::Closing(id));
        }
        anycast.closing = Some(ticket);
        let contacts: Vec<u32> = anycast.contacts.keys().copied().collect();
        for (request, ask) in std::mem::take(&mut anycast.asks) {
            self.shared.timers.cancel(ENDPOINT, &TimerKey::Ask(request));
            let closed = OperationError::SessionClosed(CloseReason::Local);
            self.shared.complete(ask.draft.ticket, Err(closed));
        }
        for session in contacts {
            self.retire(now, id.0, session);
        }
        Ok(())
    }

    /// New timers, for the sessions that there are and those to come.
    pub(crate) fn reconfigure_anycast(
        &mut self,
        id: SessionId,
        reliability: Reliability,
    ) -> Result<(), CommandError> {
        let anycast = self
            .anycasts
            .sessions
            .get_mut(&id.0)
            .ok_or(CommandError::SessionUnknown(id))?;
        if anycast.config.reliability.is_none() {
            return Err(CommandError::NotReliable(id));
        }
        anycast.config.reliability = Some(reliability);
        for session in anycast.contacts.keys() {
            if let Some(session) = self.sessions.get_mut(session) {
                session.reliability = Some(reliability);
            }
        }
        Ok(())
    }

    // ----- discovery -----

    fn ask(&mut self, now: Now, id: u32, draft: Draft, name: FullName) {
        // A discovery leads to a session of its number: members of upstream do not answer for one that they are in.
        let session = self.free_session_id();
        let request = Message::new(
            self.shared.name.clone(),
            name,
            SessionKind::PointToPoint,
            session.0,
            self.shared.message_id(),
            Payload::DiscoveryRequest,
        );
        let ask = Ask {
            draft,
            request,
            started: now.mono,
            repeats: 0,
            tries: 0,
            candidate: None,
        };
        self.send_ask(now, id, ask);
    }

    fn send_ask(&mut self, now: Now, id: u32, ask: Ask) {
        let Some(anycast) = self.anycasts.sessions.get_mut(&id) else {
            return;
        };
        let due = now.mono + anycast.timing().interval;
        let number = ask.request.message_id;
        self.shared.timers.set(ENDPOINT, TimerKey::Ask(number), due);
        self.shared.send_command(now, &ask.request);
        anycast.asks.insert(number, ask);
    }

    /// An instance answered a discovery.
    pub(crate) fn on_instance_answer(&mut self, now: Now, reply: &Message) {
        let Some(id) = self.anycasts.asking(reply) else {
            return;
        };
        if self.shared.authenticate(now, reply).is_none() {
            return;
        }
        let Some(anycast) = self.anycasts.sessions.get_mut(&id) else {
            return;
        };
        let Some(mut ask) = anycast.asks.remove(&reply.message_id) else {
            return;
        };
        self.shared
            .timers
            .cancel(ENDPOINT, &TimerKey::Ask(reply.message_id));
        match anycast.choose(&reply.source, ask.tries, ask.candidate.as_ref()) {
            Choice::Take(instance) => self.give(now, id, ask, &instance),
            Choice::AskAgain(best) => {
                anycast.has_looked_around(&best);
                ask.tries += 1;
                ask.candidate = Some(best);
                ask.request.message_id = self.shared.message_id();
                self.send_ask(now, id, ask);
            }
        }
    }

    /// A discovery was not answered in time: asked again, until the retries are used up.
    pub(crate) fn on_ask_timeout(&mut self, now: Now, request: u32) {
        let found = self.anycasts.sessions.iter_mut().find_map(|(id, anycast)| {
            let ask = anycast.asks.remove(&request)?;
            Some((*id, anycast.timing(), ask))
        });
        let Some((id, timing, mut ask)) = found else {
            return;
        };
        if let Some(candidate) = ask.candidate.take() {
            return self.give(now, id, ask, &candidate);
        }
        if ask.repeats >= timing.max_retries {
            let error = OperationError::InviteFailed {
                session: SessionId(id),
                invitee: ask.request.destination,
                step: InviteStep::Discovery,
                after: now.mono.saturating_since(ask.started),
                detail: String::new(),
            };
            return self.shared.complete(ask.draft.ticket, Err(error));
        }
        ask.repeats += 1;
        self.shared.counters.retransmitted += 1;
        self.send_ask(now, id, ask);
    }

    /// The instance is found: over its session, or a new one.
    fn give(&mut self, now: Now, id: u32, ask: Ask, instance: &FullName) {
        let ticket = ask.draft.ticket;
        let session = match self.live_contact(now, id, instance) {
            Some(session) => Ok(session),
            None => {
                let wanted = SessionId(ask.request.session_id);
                let free = !self.sessions.contains_key(&wanted.0) && !self.anycasts.contains(wanted.0);
                self.open_contact(now, id, instance, free.then_some(wanted))
            }
        };
        let result = session.and_then(|session| self.carry(now, id, session, ask.draft));
        if let Err(refused) = result {
            let error = OperationError::InviteFailed {
                session: SessionId(id),
                invitee: instance.clone(),
                step: InviteStep::Join,
                after: now.mono.saturating_since(ask.started),
                detail: refused.to_string(),
            };
            self.shared.complete(ticket, Err(error));
        }
    }

    // ----- contacts -----

    /// The session of a receiver that is there or being opened. One that went silent or is ending is given up, so that
    /// a new one is made.
    fn live_contact(&mut self, now: Now, id: u32, to: &FullName) -> Option<u32> {
        let anycast = self.anycasts.sessions.get(&id)?;
        let number = anycast.contact(to)?;
        let session = self.sessions.get(&number);
        let is_live = session.is_some_and(|session| {
            session.check_active().is_ok()
                && (session.is_inviting() || !session.roster.online_others().is_empty())
        });
        if is_live {
            return Some(number);
        }
        self.retire(now, id, number);
        None
    }

    fn open_contact(
        &mut self,
        now: Now,
        id: u32,
        to: &FullName,
        number: Option<SessionId>,
    ) -> Result<u32, CommandError> {
        let anycast = self.anycasts.sessions.get(&id);
        let anycast = anycast.ok_or(CommandError::SessionUnknown(SessionId(id)))?;
        let (surplus, waiting) = (anycast.surplus(), anycast.waiting);
        let config = SessionConfig {
            kind: SessionKind::PointToPoint,
            destination: to.clone(),
            reliability: anycast.config.reliability,
            mls: anycast.config.mls,
            direction: Direction::Bidirectional,
            metadata: anycast.config.metadata.clone(),
        };
        if let Some(surplus) = surplus {
            self.retire(now, id, surplus);
        }
        let number = number.unwrap_or_else(|| self.free_session_id());
        let ticket = self.shared.ticket();
        self.open(now, ticket, config, Some(number))?;
        if let Some(session) = self.sessions.get_mut(&number.0) {
            (session.inbox_messages, session.inbox_bytes) = waiting;
        }
        self.anycasts.internal.insert(ticket);
        self.anycasts.owners.insert(number.0, id);
        let contact = Contact {
            name: to.clone(),
            last_turn: 0,
            looked_around: None,
            opening: Some(ticket),
            carried: [].into(),
            failure: None,
            retired: false,
        };
        if let Some(anycast) = self.anycasts.sessions.get_mut(&id) {
            anycast.contacts.insert(number.0, contact);
        }
        Ok(number.0)
    }

    fn carry(&mut self, now: Now, id: u32, session: u32, draft: Draft) -> Result<(), CommandError> {
        let ticket = draft.ticket;
        let Some(one_to_one) = self.sessions.get_mut(&session) else {
            return Err(CommandError::SessionUnknown(SessionId(id)));
        };
        one_to_one
            .publish(&mut self.shared, now, draft)
            .map_err(|error| under(error, id))?;
        if let Some(anycast) = self.anycasts.sessions.get_mut(&id) {
            anycast.take_turn(session);
            if let Some(contact) = anycast.contacts.get_mut(&session)
                && contact.opening.is_some()
            {
                contact.carried.insert(ticket);
            }
        }
        Ok(())
    }

    fn retire(&mut self, now: Now, id: u32, session: u32) {
        let contact = self
            .anycasts
            .sessions
            .get_mut(&id)
            .and_then(|anycast| anycast.contacts.get_mut(&session));
        let Some(contact) = contact.filter(|contact| !contact.retired) else {
            return;
        };
        contact.retired = true;
        let ticket = self.shared.ticket();
        if let Some(one_to_one) = self.sessions.get_mut(&session)
            && one_to_one.close(&mut self.shared, now, ticket).is_ok()
        {
            self.anycasts.internal.insert(ticket);
        }
    }
}

/// A refusal with the session's number that the application knows.
fn under(error: CommandError, id: u32) -> CommandError {
    if matches!(error, CommandError::WindowFull(_)) {
        CommandError::WindowFull(SessionId(id))
    } else if matches!(error, CommandError::NoMembers(_)) {
        CommandError::NoMembers(SessionId(id))
    } else {
        error
    }
}
