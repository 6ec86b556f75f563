//! What ended sessions leave behind: answers for those who ask again, and where the next stay goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use slim_proto::{Command as Payload, Message, MessageKind, Now};

use super::Endpoint;
use crate::delivered::Delivered;
use crate::replay::Replay;
use crate::session::Session;
use crate::timers::{ENDPOINT, TimerKey};

/// An ended session still answers repeated requests so long.
const TOMBSTONE_LIFE: Duration = Duration::from_secs(60);
/// Ended sessions remembered.
const TOMBSTONES_MAX: usize = 256;
/// Left groups of which the last sequence number is remembered; one forgotten costs what upstream always pays.
const POSITIONS_MAX: usize = 1024;

/// What is left of an ended session for a while.
#[derive(Debug)]
pub(super) struct Tombstone {
    /// What it answered last.
    pub(super) replay: Replay,
    /// What it delivered, should the next stay hear it again.
    pub(super) delivered: Delivered,
}

impl Endpoint {
    /// A moderator repeats its last request under a new id after the session ended here.
    pub(super) fn answer_for_the_dead(&mut self, now: Now, message: &Message) {
        let payload = if message.kind == MessageKind::LeaveRequest {
            Payload::LeaveReply
        } else if message.kind == MessageKind::GroupClose {
            Payload::GroupAck
        } else {
            self.shared.counters.unknown_session += 1;
            return;
        };
        let answer = Message::new(
            self.shared.name.clone(),
            message.source.clone(),
            message.session_kind,
            message.session_id,
            message.message_id,
            payload,
        );
        self.shared.send_command(now, &answer);
    }

    /// A member asks its silent moderator, by name, about a group that is none of ours any more: it did not hear the
    /// end, or this process started anew. Who is no member of the group does not believe this message.
    pub(super) fn tell_the_end(&mut self, now: Now, message: &Message) {
        self.shared.counters.unknown_session += 1;
        let participants = vec![self.shared.name.clone(), message.source.clone()];
        let close = Message::new(
            self.shared.name.clone(),
            message.source.clone(),
            message.session_kind,
            message.session_id,
            self.shared.message_id(),
            Payload::GroupClose { participants },
        );
        self.shared.send_command(now, &close);
    }

    pub(super) fn remember_position(&mut self, session: &Session) {
        if session.is_group() && session.window.next_position() > 1 {
            if self.positions.len() >= POSITIONS_MAX {
                self.positions.pop_first();
            }
            self.positions
                .insert(session.id.0, session.window.next_position());
        }
    }

    /// Buries sessions that ended; they answer repeated requests for a while.
    pub(super) fn sweep(&mut self, now: Now) {
        self.translate_events();
        let ended: BTreeSet<u32> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.is_ended())
            .map(|(id, _)| *id)
            .collect();
        for id in ended {
            let Some(session) = self.sessions.remove(&id) else {
                continue;
            };
            self.shared.timers.cancel_all(id);
            self.remember_position(&session);
            if self.tombstones.len() >= TOMBSTONES_MAX
                && let Some((oldest, _)) = self.tombstones.pop_first()
            {
                self.shared.timers.cancel(ENDPOINT, &TimerKey::Tombstone(oldest));
            }
            let tombstone = Tombstone {
                replay: session.replay,
                delivered: session.delivered,
            };
            self.tombstones.insert(id, tombstone);
            self.shared
                .timers
                .set(ENDPOINT, TimerKey::Tombstone(id), now.mono + TOMBSTONE_LIFE);
        }
        self.finish_anycasts();
    }
}
