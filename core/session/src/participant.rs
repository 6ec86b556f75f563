//! What a participant does with the moderator's messages: join, welcome, updates, removal, end
//! (wire-session §4.5 i–m, §4.6, §4.8, §3.3). Who may send what was checked by `control.rs`.

use std::time::Duration;

use slim_proto::command::MlsContent;
use slim_proto::limits::HALF_JOINED_TIMEOUT;
use slim_proto::{
    Command as Payload, FullName, GroupUpdate, GroupUpdateOp, JoinReply, Message, Now, Participant,
    SessionKind,
};

use crate::api::{CloseReason, Event, MembershipChange};
use crate::invite::is_bound;
use crate::roster::Seniority;
use crate::session::{Session, State};
use crate::shared::Shared;
use crate::timers::TimerKey;

/// A removed member waits this long for the request to leave before it ends the session by itself (R11).
const EVICTION_MAX: Duration = Duration::from_secs(10);

impl Session {
    // ----- joining -----

    /// Answers the invitation that created this session; also its repetitions, while the welcome is not there.
    pub(crate) fn reply_to_join(&mut self, shared: &mut Shared, now: Now, message: &Message) {
        if !matches!(&self.state, State::Joining { welcomes } if welcomes.is_empty()) {
            // A late reply would kill an upstream moderator's session (R4).
            shared.counters.unexpected += 1;
            return;
        }
        let token = shared.identity.token(now.unix, &mut shared.rng);
        let key_package = match self
            .epochs
            .as_mut()
            .map(|epochs| epochs.key_package(now, token))
            .transpose()
        {
            Ok(key_package) => key_package,
            Err(error) => {
                tracing::error!(%error, "cannot make a key package to join with");
                return;
            }
        };
        let participant = self.own_participant();
        shared
            .timers
            .set(self.id.0, TimerKey::HalfJoined, now.mono + HALF_JOINED_TIMEOUT);
        self.answer(
            shared,
            now,
            message,
            Payload::JoinReply(JoinReply {
                key_package,
                participant,
            }),
        );
    }

    /// The welcome: enter the tree, take the roster, subscribe the channel. Its acknowledgement follows when the
    /// node has confirmed both subscriptions.
    pub(crate) fn on_welcome(
        &mut self,
        shared: &mut Shared,
        now: Now,
        message: &Message,
        participants: &[Participant],
        mls: Option<&MlsContent>,
        issued_at: slim_proto::UnixTime,
    ) -> bool {
        match &mut self.state {
            State::Joining { welcomes } if welcomes.is_empty() => {}
            State::Joining { welcomes } => {
                welcomes.push(message.message_id);
                return true;
            }
            State::Active => {
                // Our acknowledgement was lost; the moderator asked under a new id (R1).
                self.answer(shared, now, message, Payload::GroupAck);
                return true;
            }
            State::Closing(_) | State::Ended => return false,
        }
        if let Err(reason) = self.enter(shared, now, participants, mls) {
            tracing::warn!(session = %self.id, moderator = %message.source, reason, "welcome refused");
            shared.counters.unexpected += 1;
            self.roster = crate::roster::Roster::new(self.local.clone(), message.source.clone());
            return false;
        }
        self.welcomed_at = issued_at;
        self.state = State::Joining {
            welcomes: vec![message.message_id],
        };
        match self.kind {
            SessionKind::Group => self.subscribe_channel(shared, now),
            SessionKind::PointToPoint => self.finish_join(shared, now),
        }
        true
    }

    fn enter(
        &mut self,
        shared: &Shared,
        now: Now,
        participants: &[Participant],
        mls: Option<&MlsContent>,
    ) -> Result<(), String> {
        if !participants
            .iter()
            .any(|participant| participant.name == self.local)
        {
            return Err("the roster does not name this application".to_owned());
        }
        if !participants
            .iter()
            .any(|participant| participant.name == *self.roster.moderator())
        {
            return Err("the roster does not name the moderator".to_owned());
        }
        if let Some(epochs) = &mut self.epochs {
            let mls = mls.ok_or("no MLS content in an encrypted session")?;
            epochs
                .join(now, &mls.content, mls.commit_id, &self.moderator_subject)
                .map_err(|error| error.to_string())?;
            // Membership is what the tree says; a roster that hides or invents a member is refused (T-G1).
            let names: Vec<FullName> = participants
                .iter()
                .map(|participant| participant.name.clone())
                .collect();
            if !epochs.agrees_with(&names) {
                return Err("the roster and the encrypted group have different members".to_owned());
            }
        }
        for participant in participants {
            if !self.roster.insert(
                participant.clone(),
                self.subject_of(&participant.name),
                Seniority::Older,
            ) {
                return Err("the group is larger than this application accepts".to_owned());
            }
        }
        let own = shared.identity.subject().to_owned();
        let moderator = self.roster.moderator().clone();
        let (moderator_subject, local) = (self.moderator_subject.clone(), self.local.clone());
        self.roster.set_subject(&moderator, &moderator_subject);
        self.roster.set_subject(&local, &own);
        Ok(())
    }

    /// The subject in the tree that this name belongs to.
    fn subject_of(&self, name: &FullName) -> Option<String> {
        self.epochs
            .as_ref()?
            .subjects()
            .into_iter()
            .find(|subject| is_bound(name, subject))
    }

    /// The channel is subscribed (or there is none): the endpoint is a member now.
    pub(crate) fn finish_join(&mut self, shared: &mut Shared, now: Now) {
        let State::Joining { welcomes } = &mut self.state else {
            return;
        };
        let welcomes = std::mem::take(welcomes);
        self.state = State::Active;
        shared.timers.cancel(self.id.0, &TimerKey::HalfJoined);
        self.start_heartbeats(shared, now);
        self.schedule_refresh(shared, now);
        shared.event(Event::SessionOpened(self.info()));
        self.epoch_event(shared);
        let moderator = self.roster.moderator().clone();
        for id in welcomes {
            let mut ack = Message::new(
                self.local.clone(),
                moderator.clone(),
                self.kind,
                self.id.0,
                id,
                Payload::GroupAck,
            );
            ack.fanout = 1;
            shared.send_command(now, &ack);
            self.replay.record(&moderator, id, Some(ack));
        }
        self.apply_early_updates(shared, now);
        self.release_parked(shared, now);
    }

    // ----- membership changes -----

    /// An update, in the order of commits (wire-session §3.3). False: not acted upon, may come again.
    pub(crate) fn on_group_update(
        &mut self,
        shared: &mut Shared,
        now: Now,
        message: &Message,
        update: &GroupUpdate,
    ) -> bool {
        let Some(epochs) = &mut self.epochs else {
            if self.state != State::Active {
                return false;
            }
            self.change_roster(shared, now, update, true);
            self.answer(shared, now, message, Payload::GroupAck);
            return true;
        };
        let Some(mls) = &update.mls else {
            shared.counters.unexpected += 1;
            return false;
        };
        if !epochs.is_member() {
            // Before our welcome: the commit is part of it.
            return false;
        }
        if mls.commit_id <= epochs.commit_id {
            // Applied already; the acknowledgement was lost, or it is our own rejoin.
            if update.op == GroupUpdateOp::Rejoin && update.participant.name == self.local {
                self.rebuild_roster(shared, now, &update.participants);
            }
            self.answer(shared, now, message, Payload::GroupAck);
            return true;
        }
        if mls.commit_id > epochs.commit_id + 1 || self.state != State::Active {
            if !epochs.park(mls.commit_id, message.clone()) {
                shared.counters.park_overflow += 1;
            }
            self.notice_epoch(shared, now, u64::from(mls.commit_id));
            return false;
        }
        if update.op == GroupUpdateOp::Rejoin && update.participant.name == self.local {
            // The commit removes our old leaf; our way into its epoch is the welcome in the rejoin reply.
            self.notice_epoch(shared, now, u64::from(mls.commit_id));
            return false;
        }
        let applied = match epochs.apply(now, mls.commit_id, &mls.content) {
            Ok(applied) => applied,
            Err(error) if error.wanted_keys().is_some() => {
                // Its turn comes again with the keys; without them, the rejoin is the way on.
                epochs.park(mls.commit_id, message.clone());
                shared.counters.awaiting_keys += 1;
                self.notice_epoch(shared, now, u64::from(mls.commit_id));
                return false;
            }
            Err(error) => {
                shared.counters.not_authorised += 1;
                tracing::warn!(session = %self.id, %error, "a commit was refused");
                self.notice_epoch(shared, now, u64::from(mls.commit_id));
                return false;
            }
        };
        let names_the_added = applied
            .added
            .iter()
            .all(|subject| is_bound(&update.participant.name, subject));
        self.change_roster(shared, now, update, names_the_added);
        if !applied.self_removed && !self.tree_agrees() {
            tracing::warn!(session = %self.id, "roster and encrypted group differ after an update");
            shared.counters.binding_refused += 1;
        }
        if !applied.self_removed {
            self.epoch_event(shared);
        }
        self.answer(shared, now, message, Payload::GroupAck);
        true
    }

    /// Updates that came early and are due now, then data that waited for their epochs.
    pub(crate) fn apply_early_updates(&mut self, shared: &mut Shared, now: Now) {
        while let Some(message) = self.epochs.as_mut().and_then(crate::epochs::Epochs::take_next) {
            let Some(Payload::GroupUpdate(update)) = message.command() else {
                return;
            };
            let update = update.clone();
            if !self.on_group_update(shared, now, &message, &update) {
                return;
            }
        }
    }

    fn change_roster(&mut self, shared: &mut Shared, now: Now, update: &GroupUpdate, bound: bool) {
        let name = update.participant.name.clone();
        match update.op {
            GroupUpdateOp::Add => {
                if !bound {
                    shared.counters.binding_refused += 1;
                    return;
                }
                let known = self.roster.contains(&name);
                let participant = Participant {
                    online: true,
                    ..update.participant.clone()
                };
                let subject = self.subject_of(&name);
                if !known && self.roster.insert(participant, subject, Seniority::Newer) {
                    self.membership_event(shared, &name, MembershipChange::Joined);
                }
            }
            GroupUpdateOp::Remove if name == self.local => {
                shared
                    .timers
                    .set(self.id.0, TimerKey::Evicted, now.mono + EVICTION_MAX);
            }
            GroupUpdateOp::Remove => self.forget_member(shared, now, &name),
            GroupUpdateOp::Rejoin if name == self.local => {
                self.rebuild_roster(shared, now, &update.participants);
            }
            GroupUpdateOp::Rejoin => self.mark_online(shared, now, &name),
        }
    }

    /// After the own rejoin: members may have come and gone meanwhile.
    ///
    /// Where there is a tree it decides who is a member, since this may be a late copy; the participants say how the
    /// members are called.
    fn rebuild_roster(&mut self, shared: &mut Shared, now: Now, participants: &[Participant]) {
        let is_member = |name: &FullName| match &self.epochs {
            Some(_) => self.subject_of(name).is_some(),
            None => participants.iter().any(|participant| participant.name == *name),
        };
        let gone: Vec<FullName> = self
            .roster
            .names()
            .into_iter()
            .filter(|name| *name != self.local && !is_member(name))
            .collect();
        let participants: Vec<&Participant> = participants
            .iter()
            .filter(|participant| is_member(&participant.name))
            .collect();
        for name in gone {
            self.forget_member(shared, now, &name);
        }
        for participant in participants {
            let name = &participant.name;
            if self.roster.contains(name) {
                if participant.online {
                    self.mark_online(shared, now, name);
                } else if *name != self.local {
                    self.mark_offline(shared, now, name);
                }
            } else if self
                .roster
                .insert(participant.clone(), self.subject_of(name), Seniority::Older)
            {
                self.membership_event(shared, name, MembershipChange::Joined);
            }
        }
    }

    // ----- the end -----

    /// The moderator removed us.
    pub(crate) fn on_evicted(&mut self, shared: &mut Shared, now: Now, message: &Message) {
        self.answer(shared, now, message, Payload::LeaveReply);
        self.end(shared, now, CloseReason::Removed);
    }

    /// The moderator ended the session.
    pub(crate) fn on_closed(&mut self, shared: &mut Shared, now: Now, message: &Message) {
        self.answer(shared, now, message, Payload::GroupAck);
        self.end(shared, now, CloseReason::ByModerator);
    }
}
