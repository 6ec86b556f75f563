//! Who is there: heartbeats and silence (wire-session §4.10), announced absence and return (§4.11).

use std::collections::BTreeSet;

use slim_proto::{Command as Payload, FullName, Message, MessageKind, Now};

use crate::api::{Outcome, Ticket};
use crate::epochs::Epochs;
use crate::error::{CommandError, OperationError};
use crate::exchange::{Awaiting, Purpose};
use crate::session::{Presence, Session, State};
use crate::shared::Shared;

/// Epoch in the heartbeats of sessions without MLS.
const NO_EPOCH: u64 = u64::MAX;

impl Session {
    // ----- heartbeats -----

    pub(crate) fn on_heartbeat_tick(&mut self, shared: &mut Shared, now: Now) {
        self.start_heartbeats(shared, now);
        for name in self.roster.count_silence() {
            self.mark_offline(shared, now, &name);
        }
        self.ask_silent_moderator(shared, now);
        let due = !self.active_since_tick || self.heartbeat_forced;
        self.active_since_tick = false;
        self.heartbeat_forced = false;
        if due && self.presence == Presence::Online && self.state == State::Active && self.roster.len() > 1 {
            let epoch = self.heartbeat_epoch();
            let control = self.control.clone();
            self.tell(shared, now, &control, Payload::Heartbeat { epoch });
        }
    }

    /// A group ends with its moderator's GROUP_CLOSE, which may have been lost, or with its process, which said
    /// nothing. So a participant whose moderator is silent asks it by its own name: one that knows the session takes
    /// it for the heartbeat that it is, one of ours that does not says that the group is over.
    fn ask_silent_moderator(&self, shared: &mut Shared, now: Now) {
        let moderator = self.roster.moderator();
        let is_silent = self
            .roster
            .get(moderator)
            .is_some_and(|entry| !entry.participant.online);
        if is_silent
            && self.is_group()
            && !self.is_moderator()
            && self.state == State::Active
            && self.presence == Presence::Online
        {
            let moderator = moderator.clone();
            let epoch = self.heartbeat_epoch();
            self.tell(shared, now, &moderator, Payload::Heartbeat { epoch });
        }
    }

    fn heartbeat_epoch(&self) -> u64 {
        let epochs = self.epochs.as_ref();
        epochs.map_or(NO_EPOCH, |epochs| epochs.epoch().unwrap_or(NO_EPOCH))
    }

    /// A member is alive, in this epoch.
    pub(crate) fn on_heartbeat(&mut self, shared: &mut Shared, now: Now, source: &FullName, epoch: u64) {
        let Some(own) = self.epochs.as_ref().map(|epochs| epochs.epoch().unwrap_or(0)) else {
            return self.mark_online(shared, now, source);
        };
        if epoch == NO_EPOCH {
            return self.take_out_without_group(source);
        }
        if epoch == own {
            self.mark_online(shared, now, source);
            self.epoch_confirmed(shared, now, source);
            self.retell_roster(shared, now, source);
        } else if epoch > own {
            self.notice_epoch(shared, now, epoch);
        } else if self.is_moderator() {
            self.heartbeat_forced = true;
            self.repair_member(shared, now, source, epoch);
        }
    }

    /// A member shows the current epoch: that is as good as the acknowledgement of the update (R1).
    fn epoch_confirmed(&mut self, shared: &mut Shared, now: Now, member: &FullName) {
        let waiting: Vec<u64> = self
            .exchanges
            .iter()
            .filter(|(_, exchange)| matches!(exchange.purpose, Purpose::Update | Purpose::Repair))
            .map(|(key, _)| *key)
            .collect();
        for key in waiting {
            let complete = self
                .exchanges
                .get_mut(&key)
                .is_some_and(|exchange| exchange.forget(member));
            if complete && let Some(exchange) = self.take_exchange(shared, key) {
                let silent = exchange.silent();
                if exchange.purpose == Purpose::Update {
                    self.on_update_end(shared, now, silent);
                }
            }
        }
    }

    // ----- announced absence -----

    /// The application goes offline and stays a member.
    pub(crate) fn go_offline(
        &mut self,
        shared: &mut Shared,
        now: Now,
        ticket: Ticket,
    ) -> Result<(), CommandError> {
        self.check_presence_change(Presence::Online)?;
        self.presence = Presence::GoingOffline(ticket);
        let waiting_for = self.roster.online_others();
        self.announce(shared, now, false, Purpose::Offline, waiting_for);
        Ok(())
    }

    pub(crate) fn on_offline_end(&mut self, shared: &mut Shared, _now: Now) {
        if let Presence::GoingOffline(ticket) = self.presence {
            self.presence = Presence::Offline;
            shared.complete(ticket, Ok(Outcome::Done));
        }
    }

    /// The application comes back. Everybody counts as offline until heard.
    pub(crate) fn go_online(
        &mut self,
        shared: &mut Shared,
        now: Now,
        ticket: Ticket,
    ) -> Result<(), CommandError> {
        self.check_presence_change(Presence::Offline)?;
        self.presence = Presence::GoingOnline(ticket);
        let others: BTreeSet<FullName> = self.roster.others().map(|(name, _)| name.clone()).collect();
        for name in &others {
            self.mark_offline(shared, now, name);
        }
        self.announce(shared, now, true, Purpose::Online, others);
        Ok(())
    }

    /// A member acknowledged the return, or says that the group has moved on.
    pub(crate) fn on_online_answer(&mut self, shared: &mut Shared, now: Now, message: &Message, key: u64) {
        if message.kind == MessageKind::GroupNack {
            self.take_exchange(shared, key);
            if self.is_moderator() {
                // Only the moderator makes epochs, so this member is behind, not we.
                return self.on_online_end(shared, now);
            }
            if !self.ask_to_rejoin(shared, now) {
                self.on_rejoin_failed(shared, "too many rejoins in one minute");
            }
            return;
        }
        self.mark_online(shared, now, &message.source);
        let complete = self
            .exchanges
            .get(&key)
            .is_some_and(|exchange| exchange.silent().is_empty());
        if complete {
            self.take_exchange(shared, key);
            self.on_online_end(shared, now);
        }
    }

    /// Everybody answered, or time is up: the application is online either way.
    pub(crate) fn on_online_end(&mut self, shared: &mut Shared, now: Now) {
        if let Presence::GoingOnline(ticket) = self.presence {
            self.presence = Presence::Online;
            self.heartbeat_forced = true;
            shared.complete(ticket, Ok(Outcome::Done));
            self.apply_early_updates(shared, now);
            self.release_parked(shared, now);
        }
    }

    /// The rejoin that followed a negative answer succeeded.
    pub(crate) fn on_rejoined(&mut self, shared: &mut Shared) {
        if let Presence::GoingOnline(ticket) = self.presence {
            self.presence = Presence::Online;
            shared.complete(ticket, Ok(Outcome::Done));
        }
        self.heartbeat_forced = true;
    }

    pub(crate) fn on_rejoin_failed(&mut self, shared: &mut Shared, reason: &'static str) {
        if let Presence::GoingOnline(ticket) = self.presence {
            self.presence = Presence::Offline;
            shared.complete(ticket, Err(OperationError::RejoinFailed(reason)));
        }
    }

    /// A member announces its absence or return. Returns false if there is nothing to do or to answer.
    pub(crate) fn on_state_update(
        &mut self,
        shared: &mut Shared,
        now: Now,
        message: &Message,
        online: bool,
        epoch: u64,
    ) -> bool {
        let source = &message.source;
        if !online {
            let was_online = self
                .roster
                .get(source)
                .is_some_and(|entry| entry.participant.online);
            if was_online {
                self.mark_offline(shared, now, source);
            }
            self.answer(shared, now, message, Payload::GroupAck);
            return true;
        }
        let own = self.epochs.as_ref().and_then(Epochs::epoch);
        if own.is_some_and(|own| own != epoch) {
            self.answer(shared, now, message, Payload::GroupNack);
            return true;
        }
        self.mark_online(shared, now, source);
        self.answer(shared, now, message, Payload::GroupAck);
        self.retell_roster(shared, now, source);
        true
    }

    fn announce(
        &mut self,
        shared: &mut Shared,
        now: Now,
        online: bool,
        purpose: Purpose,
        waiting_for: BTreeSet<FullName>,
    ) {
        let epoch = self.epochs.as_ref().and_then(Epochs::epoch).unwrap_or(0);
        let payload = Payload::UpdateParticipantState {
            participant: self.local.clone(),
            online,
            epoch,
        };
        let control = self.control.clone();
        self.request(
            shared,
            now,
            purpose,
            &control,
            payload,
            Awaiting::All(waiting_for),
        );
    }

    fn check_presence_change(&self, from: Presence) -> Result<(), CommandError> {
        if !self.is_group() {
            return Err(CommandError::NotGroup(self.id));
        }
        if self.state != State::Active {
            return Err(CommandError::Closing(self.id));
        }
        if self.presence != from {
            return Err(CommandError::StatusChangeInProgress(self.id));
        }
        Ok(())
    }
}
