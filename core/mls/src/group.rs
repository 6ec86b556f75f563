//! One member's state of an MLS group.

use std::collections::VecDeque;
use std::fmt;

use mls_rs::identity::SigningIdentity;
use slim_auth::{Identity, Verified, Verifier};
use slim_proto::UnixTime;
use slim_proto::limits::PAST_EPOCHS_MAX;

use crate::config::Config;
use crate::credential::Credentials;
use crate::error::MlsError;
use crate::roster::Roster;

/// A group as one member sees it.
///
/// Independent of the client that made it: a member that rejoins has the old and the new state side by side and
/// may open late messages with the old one.
pub struct Group {
    pub(crate) inner: mls_rs::Group<Config>,
    pub(crate) identity: Identity,
    pub(crate) verifier: Verifier,
    pub(crate) moderator: String,
    /// Set once a commit removed this member.
    pub(crate) removed: bool,
    /// The roster of the current epoch.
    pub(crate) roster: Roster,
    /// Rosters of the past epochs that can still be opened, oldest first.
    past_rosters: VecDeque<Roster>,
    credentials: Credentials,
    authenticator: Vec<u8>,
}

impl Group {
    pub(crate) fn new(
        inner: mls_rs::Group<Config>,
        identity: &Identity,
        verifier: &Verifier,
        credentials: Credentials,
        moderator_index: u32,
    ) -> Result<Self, MlsError> {
        let roster = Roster::read(&inner, &credentials, None)?;
        credentials.accept(roster.accepted());
        let moderator = subject_at(&roster, moderator_index);
        let authenticator = inner.epoch_authenticator()?.as_bytes().to_vec();
        Ok(Self {
            inner,
            identity: identity.clone(),
            verifier: verifier.clone(),
            moderator,
            removed: false,
            roster,
            past_rosters: VecDeque::new(),
            credentials,
            authenticator,
        })
    }

    /// The only member whose commits are applied; at first the one who created the group or sent the welcome.
    ///
    /// The session knows better whom it deals with: the subject that signed the JOIN_REQUEST.
    pub fn set_moderator(&mut self, subject: &str) {
        subject.clone_into(&mut self.moderator);
    }

    /// Judges newcomers with this verifier from now on, when keys of issuers were fetched or replaced. Members stay
    /// who they are, whatever became of the keys that signed their tokens.
    pub fn use_verifier(&mut self, verifier: &Verifier) {
        self.verifier = verifier.clone();
        self.credentials.use_verifier(verifier);
    }

    /// The member whose commits are applied.
    pub fn moderator(&self) -> &str {
        &self.moderator
    }

    /// The current epoch; 0 when created, one more for each commit.
    pub fn epoch(&self) -> u64 {
        self.roster.epoch
    }

    /// A value that all members of an epoch share and nobody else knows; equal values mean equal groups.
    pub fn epoch_authenticator(&self) -> Vec<u8> {
        self.authenticator.clone()
    }

    /// The subjects of all members in the order of their leaves.
    pub fn members(&self) -> Vec<String> {
        self.roster
            .members()
            .map(|member| member.subject.clone())
            .collect()
    }

    /// True if the subject has a leaf.
    pub fn contains(&self, subject: &str) -> bool {
        self.roster.index_of(subject).is_some()
    }

    /// The signature key in a member's leaf.
    pub fn signature_key(&self, subject: &str) -> Option<&[u8]> {
        let mut members = self.roster.members();
        members
            .find(|member| member.subject == subject)
            .map(|member| member.public_key.as_slice())
    }

    /// The members whose leaf tokens are expired at `now`, in the order of their leaves.
    ///
    /// This implementation lives with them; upstream members cannot open their messages and upstream joiners
    /// refuse a group that contains them (wire-session §3.4). Refresh or remove them before inviting.
    pub fn expired_members(&self, now: UnixTime) -> Vec<String> {
        let expired = |member: &&Verified| member.expires_at < now;
        let members = self.roster.members().filter(expired);
        members.map(|member| member.subject.clone()).collect()
    }

    /// When the token in our own leaf was made; at an age of 50 minutes it is time for a refresh or rejoin.
    pub fn own_credential_issued_at(&self) -> UnixTime {
        let own = self.roster.at(self.inner.current_member_index());
        own.map_or(UnixTime(0), |member| member.issued_at)
    }

    /// Takes over the state after a commit; on error nothing has changed.
    pub(crate) fn advance(&mut self, mut next: mls_rs::Group<Config>) -> Result<(), MlsError> {
        let roster = Roster::read(&next, &self.credentials, Some(&self.roster))?;
        let authenticator = next.epoch_authenticator()?.as_bytes().to_vec();
        // Moves the past epoch into our bounded storage.
        next.write_to_storage()?;

        self.inner = next;
        self.authenticator = authenticator;
        self.credentials.accept(roster.accepted());
        self.past_rosters
            .push_back(std::mem::replace(&mut self.roster, roster));
        while self.past_rosters.len() > PAST_EPOCHS_MAX {
            self.past_rosters.pop_front();
        }
        Ok(())
    }

    /// The subject of a leaf that the library has accepted.
    pub(crate) fn read_subject(&self, identity: &SigningIdentity) -> Result<String, MlsError> {
        Ok(self.credentials.read(identity)?.subject.clone())
    }

    /// Who had a leaf in a current or past epoch.
    pub(crate) fn member_in(&self, epoch: u64, index: u32) -> Option<&Verified> {
        if epoch == self.roster.epoch {
            return self.roster.at(index);
        }
        let roster = self.past_rosters.iter().find(|roster| roster.epoch == epoch)?;
        roster.at(index)
    }
}

pub(crate) fn subject_at(roster: &Roster, index: u32) -> String {
    roster
        .at(index)
        .map(|member| member.subject.clone())
        .unwrap_or_default()
}

/// Shows what anybody may know: keys and secrets of the library's group stay inside.
impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group")
            .field("epoch", &self.epoch())
            .field("members", &self.roster.len())
            .field("removed", &self.removed)
            .finish_non_exhaustive()
    }
}
