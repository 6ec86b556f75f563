//! Coming back into the current epoch (wire-session §4.12), and keeping credentials fresh (§9.3 item 1).
//!
//! A participant that missed a commit, or whose credential gets old, asks with a fresh key package; the
//! moderator removes and adds it in one commit. A moderator refreshes its own leaf with a commit of its own,
//! told to the members as a rejoin of itself.

use std::collections::BTreeSet;
use std::time::Duration;

use slim_proto::command::MlsContent;
use slim_proto::{Command as Payload, FullName, GroupUpdate, GroupUpdateOp, Message, Now};

use crate::api::MembershipChange;
use crate::exchange::{Awaiting, Purpose};
use crate::session::{Change, Session, State};
use crate::shared::Shared;
use crate::timers::TimerKey;

/// Rejoins a participant asks for at most in one minute (threat T-N7).
const REJOINS_PER_MINUTE_MAX: u32 = 3;
/// Refreshes are spread over this many seconds before the limit, so that a group does not rejoin at once.
const REFRESH_SPREAD_SECS: u64 = 300;
/// Missed updates repeated to a member at once.
const REPAIR_UPDATES_MAX: usize = 16;

/// A member's rejoin, or the moderator's own refresh.
#[derive(Debug)]
pub(crate) struct Rejoin {
    /// The member's request; `None` is the moderator's own refresh.
    request: Option<Message>,
    replied: bool,
    updated: bool,
}

impl Session {
    // ----- moderator -----

    /// A member asks to be added anew. Asked while busy, it waits its turn (R2); asked twice, the latest counts.
    /// A repetition of one that is being served, or was, is recognised by its key package (T-K1): the reply has
    /// its own timer, and a second commit for the same package would put the member out of the tree.
    pub(crate) fn on_rejoin_request(&mut self, shared: &mut Shared, now: Now, message: Message) {
        let Some(Payload::RejoinRequest { key_package, .. }) = message.command() else {
            return;
        };
        if self.used_key_packages.get(&message.source) == Some(key_package) {
            shared.counters.replayed += 1;
            return;
        }
        self.queue.retain(|change| {
            !matches!(change, Change::Rejoin(Rejoin { request: Some(old), .. }) if old.source == message.source)
        });
        self.queue.push_back(Change::Rejoin(Rejoin {
            request: Some(message),
            replied: false,
            updated: false,
        }));
        self.next_change(shared, now);
    }

    pub(crate) fn start_rejoin(&mut self, shared: &mut Shared, now: Now, rejoin: Rejoin) {
        match rejoin.request.clone() {
            Some(request) => self.readmit(shared, now, rejoin, &request),
            None => self.refresh_own_leaf(shared, now, rejoin),
        }
    }

    fn readmit(&mut self, shared: &mut Shared, now: Now, mut rejoin: Rejoin, request: &Message) {
        let member = request.source.clone();
        let Some(Payload::RejoinRequest { key_package, .. }) = request.command() else {
            return;
        };
        let (Some(entry), Some(epochs)) = (self.roster.get(&member), &mut self.epochs) else {
            return;
        };
        let participant = entry.participant.clone();
        let subject = entry.subject.clone().unwrap_or_default();
        let same = slim_mls::key_package_subject(key_package).is_ok_and(|leaf| leaf == subject);
        if !same {
            shared.counters.binding_refused += 1;
            return;
        }
        let commit = match epochs.commit(|group| group.rejoin(now, &subject, key_package)) {
            Ok(commit) => commit,
            Err(error) => {
                tracing::warn!(%member, %error, "a member cannot rejoin the encrypted group");
                return;
            }
        };
        let commit_id = epochs.commit_id;
        let Some(welcome) = commit.welcome else { return };
        self.used_key_packages.insert(member.clone(), key_package.clone());
        shared.counters.rejoins += 1;
        if self.roster.set_online(&member, true) {
            self.heartbeat_forced = true;
            self.membership_event(shared, &member, MembershipChange::Online);
        }
        // With the member itself: its roster comes with the update.
        let waiting_for = self.roster.online_others();
        self.epoch_event(shared);

        let mut reply = Message::new(
            self.local.clone(),
            member.clone(),
            self.kind,
            self.id.0,
            request.message_id,
            Payload::RejoinReply {
                commit_id,
                mls_content: welcome,
            },
        );
        reply.fanout = 1;
        // With a timer, since upstream's moderator waits for ever without one (R19).
        self.request_with(
            shared,
            now,
            Purpose::RejoinReply,
            reply,
            Awaiting::All([member].into()),
        );
        let update = GroupUpdate {
            op: GroupUpdateOp::Rejoin,
            participant,
            participants: self.roster.participants(),
            mls: Some(MlsContent {
                commit_id,
                content: commit.commit,
            }),
        };
        self.broadcast_update(shared, now, update, waiting_for);
        rejoin.replied = false;
        self.current = Some(Change::Rejoin(rejoin));
    }

    fn refresh_own_leaf(&mut self, shared: &mut Shared, now: Now, mut rejoin: Rejoin) {
        let token = shared.identity.token(now.unix, &mut shared.rng);
        let Some(epochs) = &mut self.epochs else { return };
        let commit = match epochs.commit(|group| group.refresh(now, token)) {
            Ok(commit) => commit,
            Err(error) => {
                tracing::error!(%error, "cannot refresh the own credential in the encrypted group");
                return;
            }
        };
        let mls = Some(MlsContent {
            commit_id: epochs.commit_id,
            content: commit.commit,
        });
        self.epoch_event(shared);
        let waiting_for = self.roster.online_others();
        let update = GroupUpdate {
            op: GroupUpdateOp::Rejoin,
            participant: self.own_participant(),
            participants: self.roster.participants(),
            mls,
        };
        self.broadcast_update(shared, now, update, waiting_for);
        rejoin.replied = true;
        self.current = Some(Change::Rejoin(rejoin));
    }

    pub(crate) fn on_rejoin_reply_end(&mut self, shared: &mut Shared, now: Now) {
        if let Some(Change::Rejoin(rejoin)) = &mut self.current {
            rejoin.replied = true;
        }
        self.finish_rejoin(shared, now);
    }

    pub(crate) fn on_rejoin_update_end(&mut self, shared: &mut Shared, now: Now, silent: BTreeSet<FullName>) {
        for name in &silent {
            self.mark_offline(shared, now, name);
        }
        if let Some(Change::Rejoin(rejoin)) = &mut self.current {
            rejoin.updated = true;
        }
        self.finish_rejoin(shared, now);
    }

    fn finish_rejoin(&mut self, shared: &mut Shared, now: Now) {
        if matches!(
            &self.current,
            Some(Change::Rejoin(Rejoin {
                replied: true,
                updated: true,
                ..
            }))
        ) {
            self.current = None;
            self.next_change(shared, now);
        }
    }

    /// Moderator: a member is back in the current epoch, but an update may have gone by unheard, and in a group
    /// without encryption no epoch shows that. It gets the roster as the named member of a rejoin does (wire-session
    /// §4.12 item 4); a commit with an id that it has is nothing to apply.
    pub(crate) fn retell_roster(&mut self, shared: &mut Shared, now: Now, member: &FullName) {
        if !self.untold.remove(member) {
            return;
        }
        let Some(participant) = self.roster.get(member).map(|entry| entry.participant.clone()) else {
            return;
        };
        let mls = self.epochs.as_ref().map(|epochs| MlsContent {
            commit_id: epochs.commit_id,
            content: bytes::Bytes::new(),
        });
        let update = GroupUpdate {
            op: GroupUpdateOp::Rejoin,
            participant,
            participants: self.roster.participants(),
            mls,
        };
        let awaiting = Awaiting::All([member.clone()].into());
        self.request(
            shared,
            now,
            Purpose::Repair,
            member,
            Payload::GroupUpdate(update),
            awaiting,
        );
    }

    /// A member showed an old epoch: repeat what it missed, to it alone, under new message ids (§9.3 item 6).
    pub(crate) fn repair_member(&mut self, shared: &mut Shared, now: Now, member: &FullName, epoch: u64) {
        let busy = self.current.is_some()
            || self.exchanges.values().any(|exchange| {
                exchange.purpose == Purpose::Repair && exchange.message.destination == *member
            });
        let Some(epochs) = &self.epochs else { return };
        if busy {
            return;
        }
        for (_, update) in epochs.updates_after(epoch).into_iter().take(REPAIR_UPDATES_MAX) {
            let awaiting = Awaiting::All([member.clone()].into());
            self.request(
                shared,
                now,
                Purpose::Repair,
                member,
                Payload::GroupUpdate(update),
                awaiting,
            );
        }
    }

    // ----- participant -----

    /// Somebody is in a later epoch. Its commit may still be on its way, so wait a little before rejoining.
    pub(crate) fn notice_epoch(&mut self, shared: &mut Shared, now: Now, epoch: u64) {
        let own = self.epochs.as_ref().and_then(crate::epochs::Epochs::epoch);
        if self.is_moderator() || own.is_none_or(|own| epoch <= own) {
            return;
        }
        self.seen_epoch = self.seen_epoch.max(epoch);
        if !shared.timers.is_set(self.id.0, &TimerKey::Repair) {
            shared
                .timers
                .set(self.id.0, TimerKey::Repair, now.mono + self.timing().interval * 2);
        }
    }

    pub(crate) fn on_repair_due(&mut self, shared: &mut Shared, now: Now) {
        let own = self.epochs.as_ref().and_then(crate::epochs::Epochs::epoch);
        if self.state == State::Active && own.is_some_and(|own| own < self.seen_epoch) {
            self.ask_to_rejoin(shared, now);
        }
    }

    /// Asks the moderator for a new welcome; false if that has been done too often.
    pub(crate) fn ask_to_rejoin(&mut self, shared: &mut Shared, now: Now) -> bool {
        if self.exchange_with(Purpose::Rejoin).is_some() {
            return true;
        }
        let (since, count) = self.rejoins_since;
        if now.mono.saturating_since(since) >= Duration::from_secs(60) {
            self.rejoins_since = (now.mono, 0);
        } else if count >= REJOINS_PER_MINUTE_MAX {
            shared
                .timers
                .set(self.id.0, TimerKey::Repair, since + Duration::from_secs(60));
            return false;
        }
        self.rejoins_since.1 += 1;
        let token = shared.identity.token(now.unix, &mut shared.rng);
        let Some(epochs) = &mut self.epochs else {
            return false;
        };
        let key_package = match epochs.key_package(now, token) {
            Ok(key_package) => key_package,
            Err(error) => {
                tracing::error!(%error, "cannot make a key package to rejoin with");
                return false;
            }
        };
        shared.counters.rejoins += 1;
        let moderator = self.roster.moderator().clone();
        let payload = Payload::RejoinRequest {
            participant: self.local.clone(),
            key_package,
        };
        self.request(
            shared,
            now,
            Purpose::Rejoin,
            &moderator,
            payload,
            Awaiting::AnyOf(moderator.clone()),
        );
        true
    }

    /// The moderator's welcome came, or did not.
    pub(crate) fn on_rejoin_end(&mut self, shared: &mut Shared, now: Now, answer: Option<(&Message, &str)>) {
        let Some((message, _)) = answer else {
            return self.on_rejoin_failed(shared, "no answer from the moderator");
        };
        let Some(Payload::RejoinReply {
            commit_id,
            mls_content,
        }) = message.command()
        else {
            return;
        };
        let moderator = self.moderator_subject.clone();
        let joined = match &mut self.epochs {
            Some(epochs) => epochs.join(now, mls_content, *commit_id, &moderator),
            None => return,
        };
        // Acknowledged either way, or an upstream moderator stays busy for ever (R19).
        self.acknowledge_rejoin(shared, now, message);
        match joined {
            Ok(()) => {
                shared.timers.cancel(self.id.0, &TimerKey::Repair);
                self.schedule_refresh(shared, now);
                self.epoch_event(shared);
                // It answered, so it is there; the others follow with its update of the roster. Without this a
                // publication right after coming back would find nobody to send to.
                let moderator = self.roster.moderator().clone();
                self.mark_online(shared, now, &moderator);
                self.on_rejoined(shared);
                self.apply_early_updates(shared, now);
                self.release_parked(shared, now);
            }
            Err(error) => {
                tracing::warn!(%error, "the welcome of a rejoin does not open");
                self.on_rejoin_failed(shared, "the welcome does not open");
            }
        }
    }

    // ----- both -----

    /// Sets the time at which the own credential is replaced: before its life is over, not all members at once.
    pub(crate) fn schedule_refresh(&self, shared: &mut Shared, now: Now) {
        if self.epochs.is_some() {
            let latest = shared.identity.credential_refresh_secs();
            // A tenth of a shorter life, or most of it would go into refreshing.
            let early = shared.rng.below(REFRESH_SPREAD_SECS.min(latest / 10 + 1));
            let after = Duration::from_secs(latest.saturating_sub(early).max(1));
            shared.timers.set(self.id.0, TimerKey::Refresh, now.mono + after);
        }
    }

    pub(crate) fn on_refresh_due(&mut self, shared: &mut Shared, now: Now) {
        self.schedule_refresh(shared, now);
        if self.is_moderator() {
            let pending = |change: &Change| matches!(change, Change::Rejoin(Rejoin { request: None, .. }));
            if !self.current.iter().chain(&self.queue).any(pending) {
                self.queue.push_back(Change::Rejoin(Rejoin {
                    request: None,
                    replied: false,
                    updated: false,
                }));
            }
        } else if self.state == State::Active && !self.ask_to_rejoin(shared, now) {
            shared
                .timers
                .set(self.id.0, TimerKey::Refresh, now.mono + Duration::from_secs(60));
        }
    }
}
