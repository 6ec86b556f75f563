//! A session's way into a group: key packages, creating, joining.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use mls_rs::ExtensionList;
use mls_rs::storage_provider::in_memory::InMemoryKeyPackageStorage;
use slim_auth::{Identity, Verified, Verifier};
use slim_proto::limits::{KEY_PACKAGE_LIFE_SECS, KEY_PACKAGES_MAX};
use slim_proto::{Now, UnixTime};

use crate::config::{client, lifetime_start, made_at};
use crate::credential::Credentials;
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
            .library_client(&Credentials::new(&self.verifier))
            .generate_key_package_message(
                ExtensionList::new(),
                ExtensionList::new(),
                Some(lifetime_start(now)),
            )?;
        Ok(message.to_bytes()?.into())
    }

    /// A group in epoch 0 with this member alone, who is its moderator.
    pub fn create_group(&mut self, now: Now) -> Result<Group, MlsError> {
        let own = check_own_token(&self.identity, &self.verifier, &self.token, now.unix)?;
        let credentials = Credentials::new(&self.verifier);
        // The library judges the first leaf at the start of its lifetime, before the token was made.
        credentials.accept([(self.token.as_str().into(), Arc::new(own))].into());
        let inner = self.library_client(&credentials).create_group(
            ExtensionList::new(),
            ExtensionList::new(),
            Some(lifetime_start(now)),
        )?;
        let index = inner.current_member_index();
        Group::new(inner, &self.identity, &self.verifier, credentials, index)
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
        let credentials = Credentials::new(&self.verifier);
        let (mut inner, info) = self
            .library_client(&credentials)
            .join_group(None, &message, None)?;
        if !inner.context().extensions().is_empty() {
            return Err(MlsError::ForbiddenProposal);
        }
        // Deletes the key package (threat T-K1: none is used twice).
        inner.write_to_storage()?;
        Group::new(inner, &self.identity, &self.verifier, credentials, info.sender)
    }

    /// Judges tokens with this verifier from now on, when keys of issuers were fetched or replaced; groups that
    /// exist have their own, see [`Group::use_verifier`].
    pub fn use_verifier(&mut self, verifier: &Verifier) {
        self.verifier = verifier.clone();
    }

    fn library_client(&self, credentials: &Credentials) -> mls_rs::Client<crate::config::Config> {
        client(&self.identity, &self.token, &self.key_packages, credentials)
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
) -> Result<Verified, MlsError> {
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
    Ok(verified)
}

impl fmt::Debug for MlsClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MlsClient")
            .field("subject", &self.identity.subject())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use slim_auth::IdentityError;
    use slim_crypto::Rng;
    use slim_proto::Instant;

    use super::*;

    const NOW: Now = Now {
        mono: Instant::ZERO,
        unix: UnixTime(1_795_356_032),
    };

    fn client(base: &str, rng: &mut Rng) -> MlsClient {
        let identity = Identity::shared_secret(base, "secret-0123456789-0123456789-abcdef", rng).unwrap();
        let token = identity.token(NOW.unix, rng);
        MlsClient::new(&identity, &identity.verifier(), token, NOW).unwrap()
    }

    #[test]
    fn a_joiner_refuses_a_group_whose_members_hold_another_secret() {
        let mut rng = Rng::from_seed([1; 32]);
        let (mut alice, mut bob) = (client("a", &mut rng), client("b", &mut rng));
        let token = bob.identity.token(NOW.unix, &mut rng);
        let key_package = bob.key_package(NOW, token).unwrap();
        let mut group = alice.create_group(NOW).unwrap();
        let welcome = group.add(NOW, &key_package).unwrap().welcome.unwrap();

        let right = std::mem::replace(
            &mut bob.verifier,
            Verifier::shared_secret("another secret of 32 bytes or so"),
        );
        assert!(matches!(
            bob.join(NOW, &welcome),
            Err(MlsError::Credential(CredentialError::Identity(
                IdentityError::WrongMac
            )))
        ));
        bob.verifier = right;
        assert!(bob.join(NOW, &welcome).is_ok());
    }

    #[test]
    fn a_stolen_token_does_not_fit_the_thiefs_key() {
        let mut rng = Rng::from_seed([2; 32]);
        let (mut alice, mut thief) = (client("a", &mut rng), client("thief", &mut rng));
        let victim = client("victim", &mut rng);
        // Tokens travel in clear: whoever sees one can put it into a leaf, but cannot sign the leaf with its key.
        thief.token = victim.token;
        let credentials = Credentials::new(&thief.verifier);
        let forged = thief
            .library_client(&credentials)
            .generate_key_package_message(
                ExtensionList::new(),
                ExtensionList::new(),
                Some(lifetime_start(NOW)),
            )
            .unwrap()
            .to_bytes()
            .unwrap();
        let mut group = alice.create_group(NOW).unwrap();
        assert!(matches!(
            group.add(NOW, &forged),
            Err(MlsError::Credential(CredentialError::KeyMismatch))
        ));
        assert_eq!(group.epoch(), 0);
    }

    #[test]
    fn commits_with_unused_kinds_of_proposals_are_refused() {
        let mut rng = Rng::from_seed([3; 32]);
        let (mut alice, mut bob) = (client("a", &mut rng), client("b", &mut rng));
        let token = bob.identity.token(NOW.unix, &mut rng);
        let key_package = bob.key_package(NOW, token).unwrap();
        let mut group = alice.create_group(NOW).unwrap();
        let welcome = group.add(NOW, &key_package).unwrap().welcome.unwrap();
        let mut member = bob.join(NOW, &welcome).unwrap();

        let mut evil = group.inner.clone();
        let proposal = evil.propose_remove(1, Vec::new()).unwrap().to_bytes().unwrap();
        assert!(matches!(
            member.apply(NOW, &proposal),
            Err(MlsError::Unexpected(MessageName::Commit))
        ));
        let by_reference = evil
            .commit(Vec::new())
            .unwrap()
            .commit_message()
            .to_bytes()
            .unwrap();
        assert!(member.apply(NOW, &by_reference).is_err());

        let mut evil = group.inner.clone();
        let reinit = evil
            .commit_builder()
            .reinit(
                None,
                mls_rs::ProtocolVersion::MLS_10,
                mls_rs::CipherSuite::P256_AES128,
                ExtensionList::new(),
            )
            .unwrap()
            .build()
            .unwrap();
        assert!(matches!(
            member.apply(NOW, &reinit.commit_message().to_bytes().unwrap()),
            Err(MlsError::ForbiddenProposal)
        ));
        let sealed = group.seal(b"still here", Vec::new()).unwrap();
        assert_eq!(&member.open(&sealed).unwrap().plaintext[..], b"still here");
    }

    #[test]
    fn debug_shows_names_and_numbers_only() {
        let mut rng = Rng::from_seed([4; 32]);
        let mut alice = client("a", &mut rng);
        let text = format!("{alice:?} {:?}", alice.create_group(NOW).unwrap());
        assert!(text.len() < 200, "{text}");
        assert!(!text.contains(&alice.token), "{text}");
    }
}
