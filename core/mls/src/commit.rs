//! What only the moderator does: changes of membership, one commit each, applied at once (wire-session §3.2).

use bytes::Bytes;
use mls_rs::MlsMessage;
use mls_rs::error::MlsError as LibraryError;
use mls_rs::group::CommitBuilder;
use slim_proto::Now;
use slim_proto::limits::MEMBERS_MAX;

use crate::client::check_own_token;
use crate::config::{Config, secret_key, time};
use crate::credential::identity_with;
use crate::error::MlsError;
use crate::group::Group;
use crate::key_package::{parse, subject_of};

/// A commit that its maker has applied already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// For all members of the epoch before, as an MLSMessage.
    pub commit: Bytes,
    /// For the member that was added, if one was.
    pub welcome: Option<Bytes>,
    /// The epoch that the commit starts.
    pub epoch: u64,
}

impl Group {
    /// Adds the owner of a key package; its token is judged at `now`. The commit has no update path.
    pub fn add(&mut self, now: Now, key_package: &[u8]) -> Result<Commit, MlsError> {
        let (key_package, subject) = self.read_key_package(key_package)?;
        if self.contains(&subject) {
            return Err(MlsError::AlreadyMember { subject });
        }
        if self.roster.len() >= MEMBERS_MAX {
            return Err(MlsError::TooManyMembers);
        }
        self.commit(now, |builder| builder.add_member(key_package))
    }

    /// Removes a member. The commit renews the moderator's path, so the removed one learns no later secret.
    pub fn remove(&mut self, now: Now, subject: &str) -> Result<Commit, MlsError> {
        let index = self.index_of(subject)?;
        self.commit(now, |builder| builder.remove_member(index))
    }

    /// Removes a member and adds it again with a new key package, in one commit.
    pub fn rejoin(&mut self, now: Now, subject: &str, key_package: &[u8]) -> Result<Commit, MlsError> {
        let index = self.index_of(subject)?;
        let (key_package, got) = self.read_key_package(key_package)?;
        if got != subject {
            return Err(MlsError::WrongSubject {
                expected: subject.to_owned(),
                got,
            });
        }
        self.commit(now, |builder| {
            builder.remove_member(index)?.add_member(key_package)
        })
    }

    /// Puts a fresh token into our own leaf, with fresh keys on its path (wire-session §9.3 item 1).
    pub fn refresh(&mut self, now: Now, token: String) -> Result<Commit, MlsError> {
        check_own_token(&self.identity, &self.verifier, &token, now.unix)?;
        let public_key = self.identity.signing_key().public_key();
        let signing_identity = identity_with(&token, public_key);
        let signer = secret_key(&self.identity);
        self.commit(now, |builder| {
            Ok(builder.set_new_signing_identity(signer, signing_identity))
        })
    }

    fn commit(
        &mut self,
        now: Now,
        fill: impl FnOnce(CommitBuilder<'_, Config>) -> Result<CommitBuilder<'_, Config>, LibraryError>,
    ) -> Result<Commit, MlsError> {
        if self.removed {
            return Err(MlsError::Removed);
        }
        // The moderator of a session is the only committer; anybody else would be refused everywhere.
        if self.moderator != self.identity.subject() {
            return Err(MlsError::NotModerator {
                committer: self.identity.subject().to_owned(),
            });
        }
        let mut next = self.inner.clone();
        let output = fill(next.commit_builder().commit_time(time(now)))?.build()?;
        next.apply_pending_commit()?;
        let commit = output.commit_message().to_bytes()?.into();
        let welcome = output
            .welcome_messages()
            .first()
            .map(MlsMessage::to_bytes)
            .transpose()?;
        self.advance(next)?;
        Ok(Commit {
            commit,
            welcome: welcome.map(Bytes::from),
            epoch: self.epoch(),
        })
    }

    fn index_of(&self, subject: &str) -> Result<u32, MlsError> {
        self.roster.index_of(subject).ok_or_else(|| MlsError::NotMember {
            subject: subject.to_owned(),
        })
    }

    /// A key package for this group and whom it claims to add.
    fn read_key_package(&self, bytes: &[u8]) -> Result<(MlsMessage, String), MlsError> {
        let message = parse(bytes).ok_or(MlsError::Malformed)?;
        let subject = subject_of(&message)?;
        let (expected, got) = (self.inner.cipher_suite(), message.cipher_suite());
        match got {
            Some(got) if got != expected => Err(MlsError::OtherSuite {
                expected: expected.raw_value(),
                got: got.raw_value(),
            }),
            // A message with a subject is a key package, and those have a suite.
            Some(_) | None => Ok((message, subject)),
        }
    }
}
