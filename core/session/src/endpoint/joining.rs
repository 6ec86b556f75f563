//! An invitation that is followed: checked against its channel, admitted by `invitations.rs`, and made a session.

use slim_auth::Verified;
use slim_proto::name::channel_names;
use slim_proto::{JoinRequest, Message, Now, SessionKind};

use super::Endpoint;
use crate::api::{Reliability, SessionId};
use crate::epochs::Epochs;
use crate::send::SendWindow;
use crate::session::{Role, Session, Start, State};

impl Endpoint {
    /// The moderator of a session that this endpoint is in invites again: it has removed us and we were not
    /// told. Younger than the welcome, so it is not a repetition of the first invitation.
    pub(super) fn is_new_invitation(&self, message: &Message, verified: &Verified) -> bool {
        self.sessions.get(&message.session_id).is_some_and(|session| {
            session.role == Role::Participant
                && session.state == State::Active
                && session.roster.moderator() == &message.source
                && session.moderator_subject == verified.subject
                && verified.issued_at > session.welcomed_at
                && session.replay.seen(&message.source, message.message_id).is_none()
        })
    }

    /// An invitation from a verified peer, which `invitations.rs` admits or not. Nothing is kept for one that is refused (W8).
    pub(crate) fn on_join_request(
        &mut self,
        now: Now,
        message: &Message,
        join: &JoinRequest,
        verified: &Verified,
    ) {
        if message.message_id == 0 || !self.serves(&message.destination) {
            self.shared.counters.unexpected += 1;
            return;
        }
        let group = message.session_kind == SessionKind::Group;
        let (data, control) = match (&join.channel, &join.control) {
            (Some(data), Some(control)) if group => {
                if channel_names(data, &verified.subject) != (data.clone(), control.clone()) {
                    self.shared.counters.binding_refused += 1;
                    return;
                }
                (data.clone(), control.clone())
            }
            (None, None) if !group => (message.source.clone(), message.source.clone()),
            _ => {
                self.shared.counters.unexpected += 1;
                return;
            }
        };
        if !self.admits(now, message, join, verified) {
            return;
        }
        let tombstone = self.tombstones.remove(&message.session_id);
        let mut delivered = tombstone.map(|ended| ended.delivered).unwrap_or_default();
        if let Some(mut old) = self.sessions.remove(&message.session_id) {
            old.end(&mut self.shared, now, crate::api::CloseReason::Removed);
            self.remember_position(&old);
            delivered = old.delivered;
        }
        let shared = &mut self.shared;
        let epochs = match join.mls_header_check_percent {
            Some(_) => match Epochs::new(&shared.identity, &shared.verifier, &mut shared.rng, now) {
                Ok(epochs) => Some(epochs),
                Err(error) => return tracing::error!(%error, "cannot join an encrypted session"),
            },
            None => None,
        };
        let start = Start {
            id: SessionId(message.session_id),
            kind: message.session_kind,
            role: Role::Participant,
            local: message.destination.with_id(shared.name.id()),
            moderator: message.source.clone(),
            moderator_subject: verified.subject.clone(),
            data,
            control,
            reliability: self.defaults.timing(
                message.session_kind,
                join.timer_settings.map(Reliability::from_wire),
            ),
            direction: self
                .defaults
                .direction(message.session_kind, shared.config.direction),
            metadata: message.metadata.clone(),
            epochs,
        };
        let mut session = Session::new(now, start);
        if let Some(position) = self.positions.get(&message.session_id).filter(|_| group) {
            session.window = SendWindow::starting_at(*position);
        }
        session.delivered = delivered.next_stay();
        session.reply_to_join(shared, now, message);
        self.sessions.insert(message.session_id, session);
    }
}
