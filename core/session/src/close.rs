//! Ending and leaving sessions (wire-session §4.7, §4.8, §4.13). Both are bounded: a dead peer delays them by
//! [`CLOSE_MAX`] at most, and published data that is still unacknowledged by [`FLUSH_MAX`].

use std::time::Duration;

use slim_proto::message::metadata::{LEAVING_SESSION, TRUE};
use slim_proto::{Command as Payload, Message, Now};

use crate::api::{CloseReason, Reliability, Ticket};
use crate::error::CommandError;
use crate::exchange::{Awaiting, Exchange, Purpose};
use crate::session::{Session, State};
use crate::shared::Shared;
use crate::timers::TimerKey;

/// A close or leave waits this long for answers (lessons, AT-18).
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// Before it starts, unacknowledged data gets this long.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// Repetition of the closing message.
const CLOSE_INTERVAL: Duration = Duration::from_millis(400);

impl Session {
    /// The application's command.
    pub(crate) fn close(
        &mut self,
        shared: &mut Shared,
        now: Now,
        ticket: Ticket,
    ) -> Result<(), CommandError> {
        if self.state != State::Active {
            return Err(CommandError::Closing(self.id));
        }
        self.close_ticket = Some(ticket);
        self.state = State::Closing(CloseReason::Local);
        if self.window.is_idle() && self.held.is_empty() {
            self.say_goodbye(shared, now);
        } else {
            shared
                .timers
                .set(self.id.0, TimerKey::Close, now.mono + FLUSH_MAX);
        }
        Ok(())
    }

    /// The last acknowledgement came while the close was waiting for it.
    pub(crate) fn continue_close(&mut self, shared: &mut Shared, now: Now) {
        if self.state != State::Closing(CloseReason::Local) || self.said_goodbye() {
            return;
        }
        self.release_held(shared, now);
        if self.window.is_idle() && self.held.is_empty() {
            self.say_goodbye(shared, now);
        }
    }

    fn said_goodbye(&self) -> bool {
        self.exchange_with(Purpose::Close)
            .or_else(|| self.exchange_with(Purpose::Leave))
            .is_some()
    }

    fn say_goodbye(&mut self, shared: &mut Shared, now: Now) {
        for key in self.exchanges.keys().copied().collect::<Vec<_>>() {
            self.take_exchange(shared, key);
        }
        shared
            .timers
            .set(self.id.0, TimerKey::Close, now.mono + CLOSE_MAX);
        let timing = Reliability {
            interval: CLOSE_INTERVAL,
            max_retries: 10,
        };
        let (message, purpose, awaiting) = if self.is_moderator() {
            let waiting_for = self.roster.online_others();
            let participants = self.roster.names();
            if waiting_for.is_empty() {
                if participants.len() > 1 {
                    // Whoever is away may still hear it; nobody is waited for.
                    let control = self.control.clone();
                    self.tell(shared, now, &control, Payload::GroupClose { participants });
                }
                return self.end(shared, now, CloseReason::Local);
            }
            // One to one: to the peer alone; upstream's close reaches every instance of the name (W12).
            let mut message = Message::new(
                self.local.clone(),
                self.control.clone(),
                self.kind,
                self.id.0,
                shared.message_id(),
                Payload::GroupClose { participants },
            );
            if self.is_group() {
                message.fanout = crate::session::FANOUT_ALL;
            }
            (message, Purpose::Close, Awaiting::All(waiting_for))
        } else {
            // Unsubscribed first: nothing of the group arrives any more (wire-session §4.7).
            self.unsubscribe_channel(shared, now);
            let moderator = self.roster.moderator().clone();
            let mut message = Message::new(
                self.local.clone(),
                moderator.clone(),
                self.kind,
                self.id.0,
                shared.message_id(),
                Payload::LeaveRequest,
            );
            message
                .metadata
                .insert(LEAVING_SESSION.to_owned(), TRUE.to_owned());
            (message, Purpose::Leave, Awaiting::AnyOf(moderator))
        };
        shared.send_command(now, &message);
        let exchange = shared.exchange_id();
        shared
            .timers
            .set(self.id.0, TimerKey::Exchange(exchange), now.mono + CLOSE_INTERVAL);
        let ids = vec![message.message_id];
        self.exchanges.insert(
            exchange,
            Exchange {
                purpose,
                message,
                ids,
                awaiting,
                timing,
                repeats: 0,
            },
        );
    }

    pub(crate) fn on_close_timeout(&mut self, shared: &mut Shared, now: Now) {
        if self.said_goodbye() {
            self.end(shared, now, CloseReason::Local);
        } else {
            self.say_goodbye(shared, now);
        }
    }
}
