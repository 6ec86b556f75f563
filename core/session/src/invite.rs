//! Inviting a member, at the moderator, from discovery to the last acknowledgement (wire-session §4.5).
//!
//! ```text
//! Discovering ─reply→ Subscribing (first time, groups) ─acks→ Joining ─reply→ Admitting ─acks→ done
//! ```
//! Opening a one-to-one session is the same flow with one invitee and no channel.

use std::collections::BTreeSet;

use slim_proto::command::MlsContent;
use slim_proto::{
    Command as Payload, FullName, GroupUpdate, GroupUpdateOp, Instant, JoinReply, JoinRequest, Message,
    NameId, Now, Participant, SessionKind,
};

use crate::api::{CloseReason, MembershipChange, Outcome, Ticket};
use crate::epochs::Epochs;
use crate::error::{CommandError, InviteStep, OperationError};
use crate::exchange::{Awaiting, Purpose};
use crate::remove::Remove;
use crate::roster::Seniority;
use crate::session::{Change, Session};
use crate::shared::Shared;
use crate::timers::TimerKey;

/// Discovery may find an instance that is a member already; so often another one is asked for.
const OTHER_INSTANCE_TRIES: u32 = 3;

/// One invitation.
#[derive(Debug)]
pub(crate) struct Invite {
    pub(crate) ticket: Option<Ticket>,
    pub(crate) name: FullName,
    started: Instant,
    tries: u32,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Discovering,
    Subscribing {
        peer: FullName,
    },
    Joining {
        peer: FullName,
    },
    Admitting {
        peer: FullName,
        welcomed: bool,
        updated: bool,
        unreachable: Vec<FullName>,
    },
}

impl Invite {
    pub(crate) fn new(ticket: Option<Ticket>, name: FullName, now: Now) -> Self {
        Self {
            ticket,
            name,
            started: now.mono,
            tries: 0,
            phase: Phase::Discovering,
        }
    }
}

impl Session {
    /// The application's command.
    pub(crate) fn invite(
        &mut self,
        shared: &mut Shared,
        now: Now,
        ticket: Ticket,
        name: FullName,
    ) -> Result<(), CommandError> {
        self.check_may_change_members()?;
        if name.id().is_concrete() && self.roster.contains(&name) {
            return Err(CommandError::AlreadyMember(name));
        }
        self.queue
            .push_back(Change::Invite(Invite::new(Some(ticket), name, now)));
        self.next_change(shared, now);
        Ok(())
    }

    pub(crate) fn start_invite(&mut self, shared: &mut Shared, now: Now, mut invite: Invite) {
        invite.started = now.mono;
        invite.phase = Phase::Discovering;
        let name = invite.name.clone();
        self.current = Some(Change::Invite(invite));
        self.discover(shared, now, &name);
    }

    fn discover(&mut self, shared: &mut Shared, now: Now, name: &FullName) {
        let awaiting = Awaiting::AnyOf(name.clone());
        self.request(
            shared,
            now,
            Purpose::Discovery,
            name,
            Payload::DiscoveryRequest,
            awaiting,
        );
    }

    /// Discovery ended. The first reply counts, whoever else answers (R3).
    pub(crate) fn on_discovered(&mut self, shared: &mut Shared, now: Now, answer: Option<(&Message, &str)>) {
        let Some(Change::Invite(invite)) = &mut self.current else {
            return;
        };
        let Some((reply, _)) = answer else {
            // Members of upstream do not answer discovery for a session that they are in (wire-session §4.4).
            if self.roster.is_online(&invite.name) {
                let name = invite.name.clone();
                return self.finish_invite(shared, now, Err(OperationError::AlreadyMember(name)));
            }
            return self.fail_invite(shared, now, InviteStep::Discovery, "");
        };
        let peer = reply.source.clone();
        if self.roster.contains(&peer) {
            invite.tries += 1;
            if invite.tries >= OTHER_INSTANCE_TRIES {
                let name = invite.name.clone();
                return self.finish_invite(shared, now, Err(OperationError::AlreadyMember(name)));
            }
            let name = invite.name.clone();
            return self.discover(shared, now, &name);
        }
        if let Err(error) = self.become_moderator(shared, now) {
            return self.fail_invite(shared, now, InviteStep::KeyPackage, &error);
        }
        if self.kind == SessionKind::PointToPoint {
            self.data = peer.clone();
            self.control = peer.clone();
        } else if self.channel.ids.is_none() || !self.channel.pending.is_empty() {
            self.set_invite_phase(Phase::Subscribing { peer });
            return self.subscribe_channel(shared, now);
        }
        self.ask_to_join(shared, now, peer);
    }

    /// The first discovered invitee makes the session real: roster, MLS group, heartbeats.
    fn become_moderator(&mut self, shared: &mut Shared, now: Now) -> Result<(), String> {
        if self.roster.contains(&self.local.clone()) {
            return Ok(());
        }
        let subject = shared.identity.subject().to_owned();
        if let Some(epochs) = &mut self.epochs {
            epochs.create(now, &subject).map_err(|error| error.to_string())?;
        }
        self.roster
            .insert(self.own_participant(), Some(subject), Seniority::Older);
        self.start_heartbeats(shared, now);
        self.schedule_refresh(shared, now);
        Ok(())
    }

    pub(crate) fn on_channel_subscribed(&mut self, shared: &mut Shared, now: Now) {
        let Some(Change::Invite(Invite {
            phase: Phase::Subscribing { peer },
            ..
        })) = &self.current
        else {
            return;
        };
        let peer = peer.clone();
        self.ask_to_join(shared, now, peer);
    }

    pub(crate) fn on_channel_refused(&mut self, shared: &mut Shared, now: Now, reason: &str) {
        if matches!(
            &self.current,
            Some(Change::Invite(Invite {
                phase: Phase::Subscribing { .. },
                ..
            }))
        ) {
            self.fail_invite(shared, now, InviteStep::ChannelSubscription, reason);
        }
    }

    fn ask_to_join(&mut self, shared: &mut Shared, now: Now, peer: FullName) {
        let group = self.is_group();
        let payload = Payload::JoinRequest(JoinRequest {
            timer_settings: self.reliability.map(|reliability| reliability.to_wire()),
            channel: group.then(|| self.data.clone()),
            control: group.then(|| self.control.clone()),
            mls_header_check_percent: self.epochs.is_some().then_some(100),
        });
        let mut message = Message::new(
            self.local.clone(),
            peer.clone(),
            self.kind,
            self.id.0,
            shared.message_id(),
            payload,
        );
        message.metadata = self.metadata.clone();
        self.request_with(shared, now, Purpose::Join, message, Awaiting::AnyOf(peer.clone()));
        self.set_invite_phase(Phase::Joining { peer });
    }

    /// The invitee answered the join request, or did not.
    pub(crate) fn on_join_reply(&mut self, shared: &mut Shared, now: Now, answer: Option<(&Message, &str)>) {
        let Some(Change::Invite(Invite {
            phase: Phase::Joining { peer },
            ..
        })) = &self.current
        else {
            return;
        };
        let peer = peer.clone();
        let Some((message, subject)) = answer else {
            return self.fail_invite(shared, now, InviteStep::Join, "");
        };
        let Some(Payload::JoinReply(reply)) = message.command() else {
            return;
        };
        if reply.participant.name != peer {
            return self.fail_invite(
                shared,
                now,
                InviteStep::Join,
                "the reply names another participant",
            );
        }
        if let Some(reason) = self.cannot_enter(now, message) {
            return self.fail_invite(shared, now, InviteStep::KeyPackage, &reason);
        }
        match self.add_to_tree(now, reply, subject) {
            Ok(mls) => self.admit(shared, now, reply.participant.clone(), subject, mls),
            Err(detail) => self.fail_invite(shared, now, InviteStep::KeyPackage, &detail),
        }
    }

    fn add_to_tree(
        &mut self,
        now: Now,
        reply: &JoinReply,
        subject: &str,
    ) -> Result<Option<(MlsContent, MlsContent)>, String> {
        let Some(epochs) = &mut self.epochs else {
            return Ok(None);
        };
        let key_package = reply.key_package.as_ref().ok_or("the reply has no key package")?;
        let leaf = slim_mls::key_package_subject(key_package).map_err(|error| error.to_string())?;
        if leaf != subject {
            return Err("the key package belongs to another identity than the reply".to_owned());
        }
        let commit = epochs
            .commit(|group| group.add(now, key_package))
            .map_err(|error| error.to_string())?;
        let welcome = commit.welcome.ok_or("the commit has no welcome")?;
        let commit_id = epochs.commit_id;
        Ok(Some((
            MlsContent {
                commit_id,
                content: commit.commit,
            },
            MlsContent {
                commit_id,
                content: welcome,
            },
        )))
    }

    /// Tells the others first, then welcomes the new member (wire-session §9.4 item 15).
    fn admit(
        &mut self,
        shared: &mut Shared,
        now: Now,
        participant: Participant,
        subject: &str,
        mls: Option<(MlsContent, MlsContent)>,
    ) {
        let peer = participant.name.clone();
        let others = self.roster.online_others();
        let participant = Participant {
            online: true,
            ..participant
        };
        if !self
            .roster
            .insert(participant.clone(), Some(subject.to_owned()), Seniority::Newer)
        {
            return self.fail_invite(
                shared,
                now,
                InviteStep::KeyPackage,
                "the group has its maximum of members",
            );
        }
        self.roster.set_joined(&peer, false);
        let (commit, welcome) = mls.unzip();
        let participants = self.roster.participants();
        let mut updated = true;
        if self.is_group() && self.roster.len() > 2 {
            let update = GroupUpdate {
                op: GroupUpdateOp::Add,
                participant,
                participants: participants.clone(),
                mls: commit,
            };
            self.broadcast_update(shared, now, update, others);
            updated = false;
        }
        let payload = Payload::GroupWelcome {
            participants,
            mls: welcome,
        };
        self.request(
            shared,
            now,
            Purpose::Welcome,
            &peer,
            payload,
            Awaiting::All([peer.clone()].into()),
        );
        self.set_invite_phase(Phase::Admitting {
            peer,
            welcomed: false,
            updated,
            unreachable: Vec::new(),
        });
        self.epoch_event(shared);
    }

    /// Sends a membership change to the control channel and waits for these members.
    pub(crate) fn broadcast_update(
        &mut self,
        shared: &mut Shared,
        now: Now,
        update: GroupUpdate,
        waiting_for: BTreeSet<FullName>,
    ) {
        if let Some(epochs) = &mut self.epochs {
            epochs.remember(update.clone());
        }
        let control = self.control.clone();
        let payload = Payload::GroupUpdate(update);
        self.request(
            shared,
            now,
            Purpose::Update,
            &control,
            payload,
            Awaiting::All(waiting_for),
        );
    }

    /// The welcome was acknowledged, or not: then the invitee is taken out again (R5).
    pub(crate) fn on_welcome_end(&mut self, shared: &mut Shared, now: Now, acknowledged: bool) {
        let Some(Change::Invite(Invite {
            phase: Phase::Admitting { peer, welcomed, .. },
            ..
        })) = &mut self.current
        else {
            return;
        };
        if acknowledged && self.roster.contains(peer) {
            *welcomed = true;
            let peer = peer.clone();
            self.roster.set_joined(&peer, true);
            self.membership_event(shared, &peer, MembershipChange::Joined);
            return self.finish_if_admitted(shared, now);
        }
        let peer = peer.clone();
        if let Some(key) = self.exchange_with(Purpose::Update) {
            self.take_exchange(shared, key);
        }
        if self.is_group() {
            // Before the failure is told, which starts the next change.
            self.queue.push_front(Change::Remove(Remove::roll_back(peer)));
        }
        self.fail_invite(shared, now, InviteStep::Welcome, "");
        self.next_change(shared, now);
    }

    /// The existing members acknowledged the addition, or some were silent: they count as offline.
    pub(crate) fn on_invite_update_end(&mut self, shared: &mut Shared, now: Now, silent: BTreeSet<FullName>) {
        for name in &silent {
            self.mark_offline(shared, now, name);
        }
        if let Some(Change::Invite(Invite {
            phase: Phase::Admitting {
                updated, unreachable, ..
            },
            ..
        })) = &mut self.current
        {
            *updated = true;
            unreachable.extend(silent);
            self.finish_if_admitted(shared, now);
        }
    }

    fn finish_if_admitted(&mut self, shared: &mut Shared, now: Now) {
        let Some(Change::Invite(Invite {
            phase:
                Phase::Admitting {
                    peer,
                    welcomed: true,
                    updated: true,
                    unreachable,
                },
            ..
        })) = &mut self.current
        else {
            return;
        };
        let (member, unreachable) = (peer.clone(), std::mem::take(unreachable));
        let outcome = match self.kind {
            SessionKind::PointToPoint => Outcome::Opened(self.info()),
            SessionKind::Group => Outcome::Invited { member, unreachable },
        };
        self.finish_invite(shared, now, Ok(outcome));
    }

    fn fail_invite(&mut self, shared: &mut Shared, now: Now, step: InviteStep, detail: &str) {
        let Some(Change::Invite(invite)) = &self.current else {
            return;
        };
        let error = OperationError::InviteFailed {
            session: self.id,
            invitee: invite.name.clone(),
            step,
            after: now.mono.saturating_since(invite.started),
            detail: detail.to_owned(),
        };
        self.finish_invite(shared, now, Err(error));
    }

    fn finish_invite(&mut self, shared: &mut Shared, now: Now, result: Result<Outcome, OperationError>) {
        let Some(Change::Invite(invite)) = self.current.take() else {
            return;
        };
        let failed = result.is_err();
        if let Some(ticket) = invite.ticket {
            shared.complete(ticket, result);
        }
        if failed && self.kind == SessionKind::PointToPoint {
            // A one-to-one session without peer does not exist; its opening has just been reported.
            self.roster.remove(&self.data.clone());
            self.end_unannounced(shared, now, CloseReason::JoinFailed);
            return;
        }
        self.next_change(shared, now);
    }

    fn set_invite_phase(&mut self, phase: Phase) {
        if let Some(Change::Invite(invite)) = &mut self.current {
            invite.phase = phase;
        }
    }

    /// True while an invitation is running or waiting, so that publishing may wait for its end.
    pub(crate) fn is_inviting(&self) -> bool {
        self.current
            .iter()
            .chain(&self.queue)
            .any(|change| matches!(change, Change::Invite(_)))
    }

    pub(crate) fn start_heartbeats(&self, shared: &mut Shared, now: Now) {
        shared.timers.set(
            self.id.0,
            TimerKey::Heartbeat,
            now.mono + slim_proto::limits::HEARTBEAT_INTERVAL,
        );
    }

    /// Group-only, moderator-only, and within the queue's limit.
    pub(crate) fn check_may_change_members(&self) -> Result<(), CommandError> {
        if !self.is_group() {
            return Err(CommandError::NotGroup(self.id));
        }
        if !self.is_moderator() {
            return Err(CommandError::NotModerator(self.id));
        }
        self.check_active()?;
        if self.queue.len() >= slim_proto::limits::PENDING_CHANGES_MAX {
            return Err(CommandError::TooManyChanges(self.id));
        }
        Ok(())
    }

    pub(crate) fn check_active(&self) -> Result<(), CommandError> {
        match (&self.state, self.presence) {
            (crate::session::State::Active, crate::session::Presence::Online) => Ok(()),
            (crate::session::State::Active, _) => Err(CommandError::Offline(self.id)),
            _ => Err(CommandError::Closing(self.id)),
        }
    }

    /// The MLS subjects belong to the roster's names: at every change of the tree.
    pub(crate) fn tree_agrees(&self) -> bool {
        self.epochs
            .as_ref()
            .is_none_or(|epochs: &Epochs| epochs.agrees_with(&self.roster.names()))
    }
}

/// True if a subject's application id is this name's id.
pub(crate) fn is_bound(name: &FullName, subject: &str) -> bool {
    NameId::of_subject(subject) == name.id()
}
