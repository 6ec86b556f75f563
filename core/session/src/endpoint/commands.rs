//! What the application wants: each command to the session it is for, and the opening of sessions.

use slim_proto::limits::SESSIONS_MAX;
use slim_proto::name::channel_names;
use slim_proto::{Now, SessionKind};

use super::Endpoint;
use crate::api::{Command, Outcome, SessionConfig, SessionId, Ticket};
use crate::epochs::Epochs;
use crate::error::CommandError;
use crate::invite::Invite;
use crate::send::Draft;
use crate::session::{Change, Role, Session, Start};
use crate::shared::{Shared, SubscriptionOwner};

/// Session numbers are below this (wire-session §0.5).
const SESSION_ID_COUNT: u64 = (1 << 32) - 1001;

impl Endpoint {
    pub(super) fn command(&mut self, now: Now, ticket: Ticket, command: Command) -> Result<(), CommandError> {
        match command {
            Command::Subscribe { name } => {
                let full = name.with_id(self.shared.name.id());
                let id = self
                    .shared
                    .subscribe(now, &full, SubscriptionOwner::Application(ticket));
                // Said again, for instance to a further node, it replaces the earlier one when it is confirmed.
                let earlier = self.names.insert(name.without_id(), id);
                if let Some(pending) = self.shared.subscriptions.get_mut(&id) {
                    pending.replaces = earlier;
                }
                Ok(())
            }
            Command::Unsubscribe { name } => {
                let Some(id) = self.names.remove(&name.without_id()) else {
                    return Err(CommandError::NotServed(name));
                };
                let full = name.with_id(self.shared.name.id());
                self.shared
                    .unsubscribe(now, &full, id, Some(SubscriptionOwner::Application(ticket)));
                Ok(())
            }
            Command::Open { config, id } => self.open(now, ticket, config, id),
            Command::OpenAnycast { config, id } => self.open_anycast(ticket, config, id),
            Command::Reconfigure { session, reliability } => {
                self.reconfigure(session, reliability)?;
                self.shared.complete(ticket, Ok(Outcome::Done));
                Ok(())
            }
            Command::SetDefaults { kind, defaults } => {
                self.defaults.set(kind, defaults);
                self.shared.complete(ticket, Ok(Outcome::Done));
                Ok(())
            }
            Command::AnswerInvitation { invitation, accept } => {
                self.answer_invitation(now, invitation, accept)?;
                self.shared.complete(ticket, Ok(Outcome::Done));
                Ok(())
            }
            Command::Invite { session, name } => self.on_session(session, |session, shared| {
                session.invite(shared, now, ticket, name)
            }),
            Command::Remove { session, name } => self.on_session(session, |session, shared| {
                session.remove(shared, now, ticket, name)
            }),
            Command::Publish {
                session,
                payload,
                payload_type,
                metadata,
                to,
            } => {
                let payload_type = payload_type.unwrap_or_else(|| "msg".to_owned());
                let draft = Draft {
                    payload,
                    payload_type,
                    metadata,
                    to,
                    ticket,
                };
                if self.anycasts.contains(session.0) {
                    return self.publish_anycast(now, session, draft);
                }
                self.on_session(session, |session, shared| session.publish(shared, now, draft))
            }
            Command::GoOffline { session } => {
                self.on_session(session, |session, shared| session.go_offline(shared, now, ticket))
            }
            Command::GoOnline { session } => {
                self.on_session(session, |session, shared| session.go_online(shared, now, ticket))
            }
            Command::Close { session } if self.anycasts.contains(session.0) => {
                self.close_anycast(now, session, ticket)
            }
            Command::Close { session } => {
                self.on_session(session, |session, shared| session.close(shared, now, ticket))
            }
        }
    }

    fn on_session(
        &mut self,
        id: SessionId,
        act: impl FnOnce(&mut Session, &mut Shared) -> Result<(), CommandError>,
    ) -> Result<(), CommandError> {
        if self.anycasts.contains(id.0) {
            return Err(CommandError::NotGroup(id));
        }
        let session = self
            .sessions
            .get_mut(&id.0)
            .ok_or(CommandError::SessionUnknown(id))?;
        act(session, &mut self.shared)
    }

    /// A number for a session: the wanted one, if it is free.
    pub(crate) fn new_session_id(&mut self, wanted: Option<SessionId>) -> Result<SessionId, CommandError> {
        if self.sessions.len() + self.anycasts.len() >= SESSIONS_MAX {
            return Err(CommandError::TooManySessions);
        }
        match wanted {
            Some(id) if u64::from(id.0) >= SESSION_ID_COUNT => Err(CommandError::ReservedSessionId(id)),
            Some(id) if self.sessions.contains_key(&id.0) => Err(CommandError::SessionExists(id)),
            Some(id) => Ok(id),
            None => Ok(self.free_session_id()),
        }
    }

    pub(crate) fn open(
        &mut self,
        now: Now,
        ticket: Ticket,
        config: SessionConfig,
        id: Option<SessionId>,
    ) -> Result<(), CommandError> {
        let id = self.new_session_id(id)?;
        let shared = &mut self.shared;
        let epochs = if config.mls {
            let epochs = Epochs::new(&shared.identity, &shared.verifier, &mut shared.rng, now);
            Some(epochs.map_err(|error| CommandError::Mls(error.to_string()))?)
        } else {
            None
        };
        let subject = shared.identity.subject().to_owned();
        let (data, control) = match config.kind {
            SessionKind::Group => channel_names(&config.destination, &subject),
            SessionKind::PointToPoint => (config.destination.clone(), config.destination.clone()),
        };
        let start = Start {
            id,
            kind: config.kind,
            role: Role::Moderator,
            local: shared.name.clone(),
            moderator: shared.name.clone(),
            moderator_subject: subject,
            data,
            control,
            reliability: config.reliability,
            direction: config.direction,
            metadata: config.metadata,
            epochs,
        };
        let mut session = Session::new(now, start);
        match config.kind {
            SessionKind::Group => shared.complete(ticket, Ok(Outcome::Opened(session.info()))),
            SessionKind::PointToPoint => {
                session
                    .queue
                    .push_back(Change::Invite(Invite::new(Some(ticket), config.destination, now)));
                session.next_change(shared, now);
            }
        }
        self.sessions.insert(id.0, session);
        Ok(())
    }

    /// True if a session of this number ended here a moment ago.
    pub(crate) fn was_session(&self, id: u32) -> bool {
        self.tombstones.contains_key(&id)
    }

    pub(crate) fn free_session_id(&mut self) -> SessionId {
        loop {
            let id = u32::try_from(self.shared.rng.below(SESSION_ID_COUNT)).unwrap_or(0);
            let used = self.sessions.contains_key(&id) || self.anycasts.contains(id);
            if !used && !self.tombstones.contains_key(&id) {
                return SessionId(id);
            }
        }
    }
}
