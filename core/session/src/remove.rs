//! Removing members, at the moderator (wire-session §4.6, §4.7): by command, because they left, or because
//! their invitation failed half-way.
//!
//! ```text
//! for each target: MLS commit → Updating ─acks→ Evicting (unless it left by itself) ─reply→ next
//! ```

use std::collections::{BTreeSet, VecDeque};

use slim_proto::command::MlsContent;
use slim_proto::{Command as Payload, FullName, GroupUpdate, GroupUpdateOp, Now};

use crate::api::{Outcome, Ticket};
use crate::error::{CommandError, OperationError};
use crate::exchange::{Awaiting, Purpose};
use crate::session::{Change, Session};
use crate::shared::Shared;

/// Why members are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    Command,
    Departure,
    FailedInvite,
}

/// One removal, of one name: all its instances, one commit each.
#[derive(Debug)]
pub(crate) struct Remove {
    pub(crate) ticket: Option<Ticket>,
    cause: Cause,
    name: FullName,
    targets: VecDeque<FullName>,
    done: Vec<FullName>,
    unreachable: Vec<FullName>,
    was_online: bool,
}

impl Remove {
    fn new(ticket: Option<Ticket>, cause: Cause, name: FullName) -> Self {
        Self {
            ticket,
            cause,
            name,
            targets: VecDeque::new(),
            done: Vec::new(),
            unreachable: Vec::new(),
            was_online: false,
        }
    }

    /// A member that left by itself.
    pub(crate) fn departure(name: FullName) -> Self {
        Self::new(None, Cause::Departure, name)
    }

    /// An invitee that is in the tree but never confirmed its welcome.
    pub(crate) fn roll_back(name: FullName) -> Self {
        Self::new(None, Cause::FailedInvite, name)
    }

    pub(crate) fn is_of(&self, name: &FullName) -> bool {
        self.name == *name
    }
}

impl Session {
    /// The application's command.
    pub(crate) fn remove(
        &mut self,
        shared: &mut Shared,
        now: Now,
        ticket: Ticket,
        name: FullName,
    ) -> Result<(), CommandError> {
        self.check_may_change_members()?;
        if self
            .roster
            .matching(&name)
            .iter()
            .all(|member| *member == self.local)
            && !self.is_inviting()
        {
            return Err(CommandError::NotMember(name));
        }
        self.queue
            .push_back(Change::Remove(Remove::new(Some(ticket), Cause::Command, name)));
        self.next_change(shared, now);
        Ok(())
    }

    pub(crate) fn start_remove(&mut self, shared: &mut Shared, now: Now, mut remove: Remove) {
        remove.targets = self
            .roster
            .matching(&remove.name)
            .into_iter()
            .filter(|member| *member != self.local)
            .collect();
        self.current = Some(Change::Remove(remove));
        self.remove_next_target(shared, now);
    }

    fn remove_next_target(&mut self, shared: &mut Shared, now: Now) {
        let Some(Change::Remove(remove)) = &mut self.current else {
            return;
        };
        let Some(target) = remove.targets.pop_front() else {
            return self.finish_remove(shared, now);
        };
        let roster_before = self.roster.participants();
        let Some(entry) = self.roster.get(&target) else {
            return self.remove_next_target(shared, now);
        };
        remove.was_online = entry.participant.online && entry.joined;
        let participant = entry.participant.clone();
        let subject = entry.subject.clone().unwrap_or_default();
        remove.done.push(target.clone());

        let mut mls = None;
        if let Some(epochs) = &mut self.epochs
            && epochs.contains(&subject)
        {
            match epochs.commit(|group| group.remove(now, &subject)) {
                Ok(commit) => {
                    mls = Some(MlsContent {
                        commit_id: epochs.commit_id,
                        content: commit.commit,
                    })
                }
                Err(error) => {
                    // The tree and the roster disagree: ours to look at, and the caller must know.
                    tracing::error!(member = %target, %error, "cannot remove a member from the encrypted group");
                    return self.fail_remove(shared, now, OperationError::Mls(error.to_string()));
                }
            }
        }
        self.forget_member(shared, now, &target);
        self.epoch_event(shared);
        if roster_before.len() > 2 && (mls.is_some() || self.epochs.is_none()) {
            let update = GroupUpdate {
                op: GroupUpdateOp::Remove,
                participant,
                participants: roster_before,
                mls,
            };
            let waiting_for = self.roster.online_others();
            self.broadcast_update(shared, now, update, waiting_for);
        } else {
            self.evict(shared, now);
        }
    }

    /// The remaining members acknowledged, or some were silent; the removed one is told in any case (R11).
    pub(crate) fn on_remove_update_end(&mut self, shared: &mut Shared, now: Now, silent: BTreeSet<FullName>) {
        for name in &silent {
            self.mark_offline(shared, now, name);
        }
        if let Some(Change::Remove(remove)) = &mut self.current {
            remove.unreachable.extend(silent);
        }
        self.evict(shared, now);
    }

    fn evict(&mut self, shared: &mut Shared, now: Now) {
        let Some(Change::Remove(remove)) = &self.current else {
            return;
        };
        let Some(target) = remove.done.last().cloned() else {
            return;
        };
        if remove.cause == Cause::Departure {
            return self.remove_next_target(shared, now);
        }
        if remove.cause == Cause::FailedInvite || !remove.was_online {
            // Told once, in case it is listening after all; nobody waits for the dead.
            self.tell(shared, now, &target, Payload::LeaveRequest);
            if let Some(Change::Remove(remove)) = &mut self.current
                && remove.cause == Cause::Command
            {
                remove.unreachable.push(target);
            }
            return self.remove_next_target(shared, now);
        }
        let awaiting = Awaiting::All([target.clone()].into());
        self.request(
            shared,
            now,
            Purpose::Evict,
            &target,
            Payload::LeaveRequest,
            awaiting,
        );
    }

    pub(crate) fn on_evict_end(&mut self, shared: &mut Shared, now: Now, answered: bool) {
        let Some(Change::Remove(remove)) = &mut self.current else {
            return;
        };
        if !answered {
            remove.unreachable.extend(remove.done.last().cloned());
        }
        self.remove_next_target(shared, now);
    }

    fn finish_remove(&mut self, shared: &mut Shared, now: Now) {
        let Some(Change::Remove(remove)) = self.current.take() else {
            return;
        };
        if let Some(ticket) = remove.ticket {
            let result = if remove.done.is_empty() {
                Err(OperationError::NotMember(remove.name))
            } else {
                Ok(Outcome::Removed {
                    members: remove.done,
                    unreachable: remove.unreachable,
                })
            };
            shared.complete(ticket, result);
        }
        self.next_change(shared, now);
    }

    fn fail_remove(&mut self, shared: &mut Shared, now: Now, error: OperationError) {
        let Some(Change::Remove(remove)) = self.current.take() else {
            return;
        };
        if let Some(ticket) = remove.ticket {
            shared.complete(ticket, Err(error));
        }
        self.next_change(shared, now);
    }

    /// A group update ended: it belongs to the change that is running.
    pub(crate) fn on_update_end(&mut self, shared: &mut Shared, now: Now, silent: BTreeSet<FullName>) {
        match &self.current {
            Some(Change::Invite(_)) => self.on_invite_update_end(shared, now, silent),
            Some(Change::Remove(_)) => self.on_remove_update_end(shared, now, silent),
            Some(Change::Rejoin(_)) => self.on_rejoin_update_end(shared, now, silent),
            None => {}
        }
    }
}
