//! Identity tokens as MLS credentials: the library asks this module whether a leaf is who it says.
//!
//! A token is judged against the time that the library passes along, which is the `now` of the operation. While
//! a token stays in the tree it is not judged again: an update path repeats the committer's token, which may
//! have expired since. A joiner passes no time, so expired leaves are accepted while their signatures and keys
//! are checked all the same (architecture, "A joiner meets expired leaves").

#![allow(clippy::disallowed_types, reason = "the one lock of the core, see Accepted")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use mls_rs::crypto::SignaturePublicKey;
use mls_rs::identity::basic::BasicCredential;
use mls_rs::identity::{Credential, CredentialType, SigningIdentity};
use mls_rs::time::MlsTime;
use mls_rs::{ExtensionList, IdentityProvider};
use mls_rs_core::identity::MemberValidationContext;
use slim_auth::{Verified, Verifier};
use slim_proto::UnixTime;

use crate::error::CredentialError;

/// Judges leaf credentials for one group.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    verifier: Verifier,
    accepted: Accepted,
}

/// The tokens that are in the tree of one group.
///
/// This is the one lock in the core: mls-rs takes `&self` and demands `Send + Sync` of its providers, and copies
/// them into the groups that it makes. The lock is never contended (a group has one owner) and never held across
/// a call into the library.
#[derive(Clone, Default)]
pub(crate) struct Accepted(Arc<Mutex<BTreeSet<Arc<str>>>>);

impl Accepted {
    /// Replaces the set after an epoch change.
    pub(crate) fn replace(&self, tokens: BTreeSet<Arc<str>>) {
        // The set is valid whatever a panicking owner did: it is replaced as a whole.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tokens;
    }

    fn contains(&self, token: &str) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(token)
    }
}

impl std::fmt::Debug for Accepted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Accepted(..)")
    }
}

impl Credentials {
    pub(crate) fn new(verifier: Verifier, accepted: Accepted) -> Self {
        Self { verifier, accepted }
    }

    /// Everything about a leaf but the age of its token.
    pub(crate) fn read(&self, identity: &SigningIdentity) -> Result<Verified, CredentialError> {
        let verified = self.verifier.verify_at_any_time(token_of(identity)?)?;
        with_key(verified, identity)
    }

    fn judge(&self, identity: &SigningIdentity, now: UnixTime) -> Result<Verified, CredentialError> {
        let token = token_of(identity)?;
        if self.accepted.contains(token) {
            return self.read(identity);
        }
        with_key(self.verifier.verify(token, now)?, identity)
    }
}

/// The token in a leaf.
pub(crate) fn token_of(identity: &SigningIdentity) -> Result<&str, CredentialError> {
    let Credential::Basic(basic) = &identity.credential else {
        return Err(CredentialError::NotToken);
    };
    std::str::from_utf8(&basic.identifier).map_err(|_| CredentialError::NotToken)
}

/// The leaf identity for a token.
pub(crate) fn identity_with(token: &str, public_key: &[u8]) -> SigningIdentity {
    let credential = BasicCredential::new(token.as_bytes().to_vec()).into_credential();
    SigningIdentity::new(credential, SignaturePublicKey::from(public_key.to_vec()))
}

fn with_key(verified: Verified, identity: &SigningIdentity) -> Result<Verified, CredentialError> {
    if verified.public_key != identity.signature_key.as_bytes() {
        return Err(CredentialError::KeyMismatch);
    }
    Ok(verified)
}

impl IdentityProvider for Credentials {
    type Error = CredentialError;

    fn validate_member(
        &self,
        signing_identity: &SigningIdentity,
        timestamp: Option<MlsTime>,
        _context: MemberValidationContext<'_>,
    ) -> Result<(), Self::Error> {
        match timestamp {
            Some(now) => self.judge(signing_identity, UnixTime(now.seconds_since_epoch())),
            None => self.read(signing_identity),
        }
        .map(drop)
    }

    fn validate_external_sender(
        &self,
        _signing_identity: &SigningIdentity,
        _timestamp: Option<MlsTime>,
        _extensions: Option<&ExtensionList>,
    ) -> Result<(), Self::Error> {
        Err(CredentialError::ExternalSender)
    }

    fn identity(
        &self,
        signing_identity: &SigningIdentity,
        _extensions: &ExtensionList,
    ) -> Result<Vec<u8>, Self::Error> {
        Ok(self.read(signing_identity)?.subject.into_bytes())
    }

    fn valid_successor(
        &self,
        predecessor: &SigningIdentity,
        successor: &SigningIdentity,
        _extensions: &ExtensionList,
    ) -> Result<bool, Self::Error> {
        Ok(self.read(predecessor)?.subject == self.read(successor)?.subject)
    }

    fn supported_types(&self) -> Vec<CredentialType> {
        vec![BasicCredential::credential_type()]
    }
}
