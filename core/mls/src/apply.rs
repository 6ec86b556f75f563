//! What everybody but the moderator does with a commit.

use mls_rs::MlsMessageDescription;
use mls_rs::group::proposal::Proposal;
use mls_rs::group::{CommitEffect, ContentType, NewEpoch, ReceivedMessage, Sender};
use mls_rs::mls_rules::ProposalSource;
use slim_proto::Now;

use crate::config::time;
use crate::error::{MessageName, MlsError};
use crate::group::{Group, subject_at};
use crate::key_package::parse;
use crate::roster::Roster;

/// What a commit did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The epoch that the commit starts; our own epoch unless we were removed.
    pub epoch: u64,
    /// Who made the commit: the moderator.
    pub committer: String,
    /// Subjects that were added.
    pub added: Vec<String>,
    /// Subjects that were removed; who rejoins is in both lists.
    pub removed: Vec<String>,
    /// True if we are among the removed: this group stays in its epoch and only opens what was sent before.
    pub self_removed: bool,
}

impl Group {
    /// Applies the moderator's next commit; new tokens in it are judged at `now`.
    ///
    /// Commits of anybody else are refused, as are those with anything but adds, removes and an update path.
    pub fn apply(&mut self, now: Now, commit: &[u8]) -> Result<Applied, MlsError> {
        if self.removed {
            return Err(MlsError::Removed);
        }
        let message = parse(commit).ok_or(MlsError::Malformed)?;
        self.check_committer(&message.description())?;

        let mut next = self.inner.clone();
        let received = next.process_incoming_message_with_time(message, time(now))?;
        let ReceivedMessage::Commit(commit) = received else {
            return Err(MlsError::Unexpected(MessageName::Commit));
        };
        let committer = subject_at(&self.roster, commit.committer);
        // Checked above from the sender field; the library has verified that field since.
        if commit.is_external || committer != self.moderator {
            return Err(MlsError::NotModerator { committer });
        }
        let (change, self_removed) = match &commit.effect {
            CommitEffect::NewEpoch(change) => (change, false),
            CommitEffect::Removed { new_epoch, .. } => (new_epoch, true),
            CommitEffect::ReInit(_) => return Err(MlsError::ForbiddenProposal),
        };
        let (added, removed) = membership_change(change, &self.roster, self)?;
        if self_removed {
            self.removed = true;
        } else {
            self.advance(next)?;
        }
        Ok(Applied {
            epoch: change.epoch(),
            committer,
            added,
            removed,
            self_removed,
        })
    }

    /// Refuses cheaply what cannot be the moderator's next commit.
    fn check_committer(&self, message: &MlsMessageDescription<'_>) -> Result<(), MlsError> {
        let MlsMessageDescription::PublicProtocolMessage {
            group_id,
            epoch_id,
            content_type: ContentType::Commit,
            sender,
            ..
        } = message
        else {
            return Err(MlsError::Unexpected(MessageName::Commit));
        };
        if *group_id != self.inner.group_id() {
            return Err(MlsError::WrongGroup);
        }
        if *epoch_id != self.epoch() {
            return Err(MlsError::WrongEpoch {
                expected: self.epoch(),
                got: *epoch_id,
            });
        }
        let committer = if let Sender::Member(index) = sender {
            subject_at(&self.roster, *index)
        } else {
            String::new()
        };
        if committer != self.moderator {
            return Err(MlsError::NotModerator { committer });
        }
        Ok(())
    }
}

/// The subjects that a commit adds and removes.
fn membership_change(
    change: &NewEpoch,
    before: &Roster,
    group: &Group,
) -> Result<(Vec<String>, Vec<String>), MlsError> {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for info in change.applied_proposals() {
        if info.source != ProposalSource::ByValue {
            return Err(MlsError::ForbiddenProposal);
        }
        if let Proposal::Add(add) = &info.proposal {
            added.push(group.read_subject(add.signing_identity())?);
        } else if let Proposal::Remove(remove) = &info.proposal {
            removed.push(subject_at(before, remove.to_remove()));
        } else {
            return Err(MlsError::ForbiddenProposal);
        }
    }
    Ok((added, removed))
}
