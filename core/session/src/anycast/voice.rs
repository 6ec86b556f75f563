//! What the application hears of messages to any one instance: one session, whatever number of one-to-one sessions
//! stands behind it.

use slim_proto::SessionKind;

use super::Anycasts;
use crate::api::{CloseReason, Event, Outcome, SessionId, SessionInfo, SessionSnapshot, Ticket};
use crate::endpoint::Endpoint;
use crate::error::OperationError;
use crate::session::Session;

impl Endpoint {
    /// Tells the application of one-to-one sessions under the number that it knows.
    pub(crate) fn translate_events(&mut self) {
        if self.anycasts.owners.is_empty() {
            return;
        }
        for event in self.shared.take_events() {
            if let Some(event) = self.translate(event) {
                self.shared.event(event);
            }
        }
    }

    fn translate(&mut self, event: Event) -> Option<Event> {
        let owner = |session: SessionId| self.anycasts.owner(session.0).map_or(session, SessionId);
        Some(match event {
            Event::Received { session, message } => {
                if let Some(id) = self.anycasts.owner(session.0) {
                    self.count_waiting(id, session.0, message.payload.len());
                    let session = SessionId(id);
                    return Some(Event::Received { session, message });
                }
                Event::Received { session, message }
            }
            Event::Lost {
                session,
                sender,
                first,
                last,
            } => Event::Lost {
                session: owner(session),
                sender,
                first,
                last,
            },
            Event::Membership {
                session,
                member,
                change,
            } => Event::Membership {
                session: owner(session),
                member,
                change,
            },
            Event::EpochChanged { session, epoch } => Event::EpochChanged {
                session: owner(session),
                epoch,
            },
            Event::Completed { ticket, result } => return self.translate_result(ticket, result),
            // The others behind the same number are still there.
            Event::Closed { session, .. } if self.anycasts.owner(session.0).is_some() => return None,
            Event::SessionOpened(_)
            | Event::IdentityRefused { .. }
            | Event::Invited(_)
            | Event::InvitationRefused { .. }
            | Event::Closed { .. } => event,
        })
    }

    fn translate_result(&mut self, ticket: Ticket, result: Result<Outcome, OperationError>) -> Option<Event> {
        let is_internal = self.anycasts.internal.remove(&ticket);
        let mut cause = None;
        for anycast in self.anycasts.sessions.values_mut() {
            for contact in anycast.contacts.values_mut() {
                if is_internal && contact.opening == Some(ticket) {
                    contact.opening = None;
                    match &result {
                        Ok(Outcome::Opened(info)) => {
                            contact.name = info.destination.clone();
                            contact.carried.clear();
                        }
                        Ok(_) => {}
                        Err(error) => contact.failure = Some(error.clone()),
                    }
                } else if contact.carried.remove(&ticket)
                    && let (Some(failure), Err(OperationError::SessionClosed(_))) =
                        (&contact.failure, &result)
                {
                    // It ended because nobody joined, which says more.
                    cause = Some(failure.clone());
                }
            }
        }
        let result = result.map_err(|error| self.anycasts.owners_words(cause.unwrap_or(error)));
        (!is_internal).then_some(Event::Completed { ticket, result })
    }

    /// All contacts share one inbox, so each counts what came from any of them.
    fn count_waiting(&mut self, id: u32, session: u32, bytes: usize) {
        let Some(anycast) = self.anycasts.sessions.get_mut(&id) else {
            return;
        };
        anycast.waiting.0 += 1;
        anycast.waiting.1 += bytes;
        for other in anycast.contacts.keys().filter(|other| **other != session) {
            if let Some(other) = self.sessions.get_mut(other) {
                other.inbox_messages += 1;
                other.inbox_bytes += bytes;
            }
        }
    }

    /// The application took messages out of the shared inbox.
    pub(crate) fn consumed_anycast(&mut self, id: SessionId, messages: usize, bytes: usize) {
        let Some(anycast) = self.anycasts.sessions.get_mut(&id.0) else {
            return;
        };
        anycast.waiting.0 = anycast.waiting.0.saturating_sub(messages);
        anycast.waiting.1 = anycast.waiting.1.saturating_sub(bytes);
        for session in anycast.contacts.keys() {
            if let Some(session) = self.sessions.get_mut(session) {
                session.consumed(messages, bytes);
            }
        }
    }

    /// Forgets contacts whose session is gone, and ends what was waiting for the last one.
    pub(crate) fn finish_anycasts(&mut self) {
        let sessions = &self.sessions;
        self.anycasts
            .owners
            .retain(|session, _| sessions.contains_key(session));
        let mut finished = Vec::new();
        for (id, anycast) in &mut self.anycasts.sessions {
            anycast
                .contacts
                .retain(|session, _| sessions.contains_key(session));
            if anycast.contacts.is_empty()
                && let Some(ticket) = anycast.closing
            {
                finished.push((*id, ticket));
            }
        }
        for (id, ticket) in finished {
            self.anycasts.sessions.remove(&id);
            self.shared.event(Event::Closed {
                session: SessionId(id),
                reason: CloseReason::Local,
            });
            self.shared.complete(ticket, Ok(Outcome::Done));
        }
    }

    // ----- views -----

    pub(super) fn anycast_info(&self, id: u32) -> Option<SessionInfo> {
        let anycast = self.anycasts.sessions.get(&id)?;
        Some(SessionInfo {
            id: SessionId(id),
            kind: SessionKind::PointToPoint,
            source: self.shared.name.clone(),
            destination: self.shared.name.clone(),
            is_initiator: true,
            reliability: anycast.config.reliability,
            mls: anycast.config.mls,
            metadata: anycast.config.metadata.clone(),
            anycast: true,
        })
    }

    /// The session as the application sees it: itself and the instances that it speaks to.
    pub(crate) fn anycast_snapshot(&self, id: u32) -> Option<SessionSnapshot> {
        let info = self.anycast_info(id)?;
        let anycast = self.anycasts.sessions.get(&id)?;
        let snapshots: Vec<SessionSnapshot> = anycast
            .usable()
            .filter_map(|(session, _)| self.sessions.get(&session))
            .map(Session::snapshot)
            .collect();
        let mut members = Vec::new();
        for member in snapshots.iter().flat_map(|snapshot| &snapshot.members) {
            if !members.contains(member) {
                members.push(member.clone());
            }
        }
        members.sort_by(|one, other| one.name.cmp(&other.name));
        let only = match snapshots.as_slice() {
            [only] => Some(only),
            _ => None,
        };
        Some(SessionSnapshot {
            info,
            members,
            epoch: only.and_then(|only| only.epoch),
            epoch_authenticator: only.and_then(|only| only.epoch_authenticator.clone()),
            mls_members: only.map(|only| only.mls_members.clone()).unwrap_or_default(),
        })
    }
}

impl Anycasts {
    /// The error with the session's number that the application knows.
    fn owners_words(&self, error: OperationError) -> OperationError {
        let owner = |session: SessionId| self.owner(session.0).map_or(session, SessionId);
        match error {
            OperationError::InviteFailed {
                session,
                invitee,
                step,
                after,
                detail,
            } => OperationError::InviteFailed {
                session: owner(session),
                invitee,
                step,
                after,
                detail,
            },
            OperationError::PublishIncomplete {
                session,
                message_id,
                outcome,
            } => OperationError::PublishIncomplete {
                session: owner(session),
                message_id,
                outcome,
            },
            OperationError::NoMembers(session) => OperationError::NoMembers(owner(session)),
            OperationError::AlreadyMember(_)
            | OperationError::NotMember(_)
            | OperationError::Subscription { .. }
            | OperationError::SessionClosed(_)
            | OperationError::RejoinFailed(_)
            | OperationError::Mls(_) => error,
        }
    }
}
