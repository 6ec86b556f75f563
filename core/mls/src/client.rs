//! A session's way into a group: key packages, creating, joining.

use std::fmt;

use bytes::Bytes;
use mls_rs::ExtensionList;
use mls_rs::storage_provider::in_memory::InMemoryKeyPackageStorage;
use slim_auth::{Identity, Verifier};
use slim_proto::limits::{KEY_PACKAGE_LIFE_SECS, KEY_PACKAGES_MAX};
use slim_proto::{Now, UnixTime};

use crate::config::{client, lifetime_start, made_at};
use crate::credential::Accepted;
use crate::error::{CredentialError, MessageName, MlsError};
use crate::group::Group;
use crate::key_package::parse;

/// One session's MLS credential and unused key packages.
pub struct MlsClient {
    identity: Identity,
    verifier: Verifier,
    token: String,
    key_packages: InMemoryKeyPackageStorage,
}

impl MlsClient {
    /// A client whose first credential is `token`, a token of `identity` that `verifier` accepts at `now`.
    pub fn new(identity: &Identity, verifier: &Verifier, token: String, now: Now) -> Result<Self, MlsError> {
        check_own_token(identity, verifier, &token, now.unix)?;
        Ok(Self {
            identity: identity.clone(),
            verifier: verifier.clone(),
            token,
            key_packages: InMemoryKeyPackageStorage::new(),
        })
    }

    /// A fresh key package with a fresh token, as an MLSMessage.
    ///
    /// Several may be under way at once: each is remembered until a welcome uses it, for ten minutes at most, and
    /// the oldest is forgotten beyond 16.
    pub fn key_package(&mut self, now: Now, token: String) -> Result<Bytes, MlsError> {
        check_own_token(&self.identity, &self.verifier, &token, now.unix)?;
        self.token = token;
        self.forget_old_key_packages(now, KEY_PACKAGES_MAX - 1);
        let message = self
            .library_client(&Accepted::default())
            .generate_key_package_message(
                ExtensionList::new(),
                ExtensionList::new(),
                Some(lifetime_start(now)),
            )?;
        Ok(message.to_bytes()?.into())
    }

    /// A group in epoch 0 with this member alone, who is its moderator.
    pub fn create_group(&mut self, now: Now) -> Result<Group, MlsError> {
        check_own_token(&self.identity, &self.verifier, &self.token, now.unix)?;
        let accepted = Accepted::default();
        // The library judges the first leaf at the start of its lifetime, before the token was made.
        accepted.replace([self.token.as_str().into()].into());
        let inner = self.library_client(&accepted).create_group(
            ExtensionList::new(),
            ExtensionList::new(),
            Some(lifetime_start(now)),
        )?;
        let index = inner.current_member_index();
        Group::new(inner, &self.identity, &self.verifier, accepted, index)
    }

    /// Joins the group of a welcome to one of the unused key packages, and takes the committer as moderator.
    ///
    /// The tree comes with the welcome. Every leaf in it must be valid, but its token may have expired meanwhile;
    /// see [`Group::expired_members`].
    pub fn join(&mut self, now: Now, welcome: &[u8]) -> Result<Group, MlsError> {
        self.forget_old_key_packages(now, KEY_PACKAGES_MAX);
        let message = parse(welcome).ok_or(MlsError::Malformed)?;
        if !matches!(
            message.description(),
            mls_rs::MlsMessageDescription::Welcome { .. }
        ) {
            return Err(MlsError::Unexpected(MessageName::Welcome));
        }
        let accepted = Accepted::default();
        let (mut inner, info) = self.library_client(&accepted).join_group(None, &message, None)?;
        if !inner.context().extensions().is_empty() {
            return Err(MlsError::ForbiddenProposal);
        }
        // Deletes the key package (threat T-K1: none is used twice).
        inner.write_to_storage()?;
        Group::new(inner, &self.identity, &self.verifier, accepted, info.sender)
    }

    fn library_client(&self, accepted: &Accepted) -> mls_rs::Client<crate::config::Config> {
        client(
            &self.identity,
            &self.verifier,
            &self.token,
            &self.key_packages,
            accepted,
        )
    }

    fn forget_old_key_packages(&self, now: Now, keep: usize) {
        let mut kept: Vec<(UnixTime, Vec<u8>)> = Vec::new();
        for (id, data) in self.key_packages.key_packages() {
            let made_at = made_at(data.expiration);
            if now.unix.saturating_since(made_at) > KEY_PACKAGE_LIFE_SECS {
                self.key_packages.delete(&id);
            } else {
                kept.push((made_at, id));
            }
        }
        kept.sort_unstable();
        let surplus = kept.len().saturating_sub(keep);
        for (_, id) in kept.drain(..surplus) {
            self.key_packages.delete(&id);
        }
    }
}

/// Our own token must be what everybody else will demand of it.
pub(crate) fn check_own_token(
    identity: &Identity,
    verifier: &Verifier,
    token: &str,
    now: UnixTime,
) -> Result<(), MlsError> {
    let verified = verifier.verify(token, now).map_err(CredentialError::Identity)?;
    if verified.subject != identity.subject() {
        return Err(MlsError::WrongSubject {
            expected: identity.subject().to_owned(),
            got: verified.subject,
        });
    }
    if verified.public_key != identity.signing_key().public_key() {
        return Err(CredentialError::KeyMismatch.into());
    }
    Ok(())
}

impl fmt::Debug for MlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlsClient")
            .field("subject", &self.identity.subject())
            .finish_non_exhaustive()
    }
}
