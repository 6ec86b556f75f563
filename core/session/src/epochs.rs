//! The MLS side of a session: the group, commits in order, and data of other epochs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use slim_auth::{Identity, Verified, Verifier};
use slim_crypto::Rng;
use slim_mls::{Applied, Commit, Group, MlsClient, MlsError, OpenError, Opened};
use slim_proto::limits::PARKED_COMMITS_MAX;
use slim_proto::{FullName, GroupUpdate, Message, Now, UnixTime};

/// Group states kept after a rejoin, for data that was under way (architecture, "Old epochs after a rejoin").
const PREVIOUS_GROUPS_MAX: usize = 2;

/// MLS state of one session.
pub(crate) struct Epochs {
    client: MlsClient,
    group: Option<Group>,
    previous: VecDeque<Group>,
    /// Id of the last commit applied here (participant) or made here (moderator).
    pub(crate) commit_id: u32,
    /// Participant: updates that came before their turn.
    early: BTreeMap<u32, Message>,
    /// Moderator: recent updates, for members that missed them.
    log: VecDeque<(u32, GroupUpdate)>,
    /// The issuer of a token that the group met and that only newer keys may accept.
    wanted_keys: Option<Arc<str>>,
}

impl Epochs {
    pub(crate) fn new(
        identity: &Identity,
        verifier: &Verifier,
        rng: &mut Rng,
        now: Now,
    ) -> Result<Self, MlsError> {
        let token = identity.token(now.unix, rng);
        Ok(Self {
            client: MlsClient::new(identity, verifier, token, now)?,
            group: None,
            previous: VecDeque::new(),
            commit_id: 0,
            early: BTreeMap::new(),
            log: VecDeque::new(),
            wanted_keys: None,
        })
    }

    /// Judges newcomers with this verifier from now on.
    pub(crate) fn use_verifier(&mut self, verifier: &Verifier) {
        self.client.use_verifier(verifier);
        for group in self.group.iter_mut().chain(&mut self.previous) {
            group.use_verifier(verifier);
        }
    }

    /// Moderator: epoch 0 with oneself alone.
    pub(crate) fn create(&mut self, now: Now, own_subject: &str) -> Result<(), MlsError> {
        let mut group = self.client.create_group(now)?;
        group.set_moderator(own_subject);
        self.group = Some(group);
        Ok(())
    }

    /// Invitee: a key package with a fresh token.
    pub(crate) fn key_package(&mut self, now: Now, token: String) -> Result<Bytes, MlsError> {
        self.client.key_package(now, token)
    }

    /// Invitee, or a member that rejoins: the group of a welcome replaces the current one.
    pub(crate) fn join(
        &mut self,
        now: Now,
        welcome: &[u8],
        commit_id: u32,
        moderator_subject: &str,
    ) -> Result<(), MlsError> {
        let mut group = match self.client.join(now, welcome) {
            Ok(group) => group,
            Err(error) => return Err(self.noted(error)),
        };
        group.set_moderator(moderator_subject);
        if let Some(old) = self.group.replace(group) {
            self.previous.push_front(old);
            self.previous.truncate(PREVIOUS_GROUPS_MAX);
        }
        self.commit_id = commit_id;
        self.early = self.early.split_off(&commit_id.saturating_add(1));
        Ok(())
    }

    pub(crate) fn is_member(&self) -> bool {
        self.group.is_some()
    }

    pub(crate) fn epoch(&self) -> Option<u64> {
        self.group.as_ref().map(Group::epoch)
    }

    pub(crate) fn authenticator(&self) -> Option<Vec<u8>> {
        self.group.as_ref().map(Group::epoch_authenticator)
    }

    /// Subjects in the tree, ordered.
    pub(crate) fn subjects(&self) -> Vec<String> {
        let mut subjects = self.group.as_ref().map(Group::members).unwrap_or_default();
        subjects.sort();
        subjects
    }

    pub(crate) fn contains(&self, subject: &str) -> bool {
        self.group.as_ref().is_some_and(|group| group.contains(subject))
    }

    /// False if the subject is in the tree with another key: a holder of the shared secret can mint a token for
    /// any subject, but has not the member's key (W1).
    pub(crate) fn key_fits(&self, verified: &Verified) -> bool {
        let leaf = self
            .group
            .as_ref()
            .and_then(|group| group.signature_key(&verified.subject));
        leaf.is_none_or(|key| key == verified.public_key)
    }

    /// Moderator: one commit; its id is the new `commit_id`.
    pub(crate) fn commit(
        &mut self,
        make: impl FnOnce(&mut Group) -> Result<Commit, MlsError>,
    ) -> Result<Commit, MlsError> {
        let group = self.group.as_mut().ok_or(MlsError::NoGroup)?;
        let commit = match make(group) {
            Ok(commit) => commit,
            Err(error) => return Err(self.noted(error)),
        };
        self.commit_id += 1;
        Ok(commit)
    }

    /// Participant: the next commit.
    pub(crate) fn apply(&mut self, now: Now, commit_id: u32, commit: &[u8]) -> Result<Applied, MlsError> {
        debug_assert_eq!(commit_id, self.commit_id + 1, "commits are applied in order");
        let group = self.group.as_mut().ok_or(MlsError::NoGroup)?;
        let applied = match group.apply(now, commit) {
            Ok(applied) => applied,
            Err(error) => return Err(self.noted(error)),
        };
        self.commit_id = commit_id;
        Ok(applied)
    }

    /// The issuer whose keys an operation lacked since the last call.
    pub(crate) fn take_wanted_keys(&mut self) -> Option<Arc<str>> {
        self.wanted_keys.take()
    }

    fn noted(&mut self, error: MlsError) -> MlsError {
        if let Some(issuer) = error.wanted_keys() {
            self.wanted_keys = Some(Arc::clone(issuer));
        }
        error
    }

    pub(crate) fn seal(&mut self, plaintext: &[u8], aad: Vec<u8>) -> Result<Bytes, MlsError> {
        self.group.as_mut().ok_or(MlsError::NoGroup)?.seal(plaintext, aad)
    }

    /// Opens with the current group, else with those before a rejoin.
    pub(crate) fn open(&mut self, ciphertext: &[u8]) -> Result<Opened, OpenError> {
        let Some(group) = self.group.as_mut() else {
            return Err(OpenError::FutureEpoch { epoch: 0 });
        };
        let error = match group.open(ciphertext) {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        for old in &mut self.previous {
            if let Ok(opened) = old.open(ciphertext) {
                return Ok(opened);
            }
        }
        Err(error)
    }

    /// Participant: keeps an update until its turn; false if there is no room.
    pub(crate) fn park(&mut self, commit_id: u32, message: Message) -> bool {
        if self.early.len() >= PARKED_COMMITS_MAX && !self.early.contains_key(&commit_id) {
            return false;
        }
        self.early.insert(commit_id, message);
        true
    }

    /// Participant: the update whose turn it is, if it came early.
    pub(crate) fn take_next(&mut self) -> Option<Message> {
        self.early.remove(&(self.commit_id + 1))
    }

    /// Moderator: remembers an update for members that miss it.
    pub(crate) fn remember(&mut self, update: GroupUpdate) {
        self.log.push_back((self.commit_id, update));
        if self.log.len() > PARKED_COMMITS_MAX {
            self.log.pop_front();
        }
    }

    /// Moderator: the updates behind an epoch, if none of them is forgotten. Epochs and commit ids agree, since
    /// each commit makes one epoch.
    pub(crate) fn updates_after(&self, epoch: u64) -> Vec<(u32, GroupUpdate)> {
        let complete = self
            .log
            .front()
            .is_some_and(|(first, _)| u64::from(*first) <= epoch + 1);
        if !complete {
            return Vec::new();
        }
        self.log
            .iter()
            .filter(|(id, _)| u64::from(*id) > epoch)
            .cloned()
            .collect()
    }

    /// Subjects whose leaf has a token that is no longer valid.
    pub(crate) fn expired_members(&self, now: UnixTime) -> Vec<String> {
        self.group
            .as_ref()
            .map(|group| group.expired_members(now))
            .unwrap_or_default()
    }

    /// True if the tree holds exactly the identities that these names belong to.
    pub(crate) fn agrees_with(&self, names: &[FullName]) -> bool {
        let mut in_tree: Vec<_> = self
            .subjects()
            .iter()
            .map(|subject| slim_proto::NameId::of_subject(subject))
            .collect();
        let mut in_roster: Vec<_> = names.iter().map(FullName::id).collect();
        in_tree.sort_unstable();
        in_roster.sort_unstable();
        in_tree == in_roster
    }
}
