//! Identity tokens as MLS credentials: the library asks this module whether a leaf is who it says.
//!
//! A token is judged against the time that the library passes along, which is the `now` of the operation. While
//! a token stays in the tree it is not judged again: an update path repeats the committer's token, which may
//! have expired since. A joiner passes no time, so expired leaves are accepted while their signatures and keys
//! are checked all the same (architecture, "A joiner meets expired leaves").

#![allow(
    clippy::disallowed_types,
    reason = "the one lock of the core, see Credentials"
)]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mls_rs::crypto::SignaturePublicKey;
use mls_rs::identity::basic::BasicCredential;
use mls_rs::identity::{Credential, CredentialType, SigningIdentity};
use mls_rs::time::MlsTime;
use mls_rs::{ExtensionList, IdentityProvider};
use mls_rs_core::identity::MemberValidationContext;
use slim_auth::{Verified, Verifier};
use slim_proto::UnixTime;

use crate::error::CredentialError;

/// Tokens in the tree of one group, with what they said when they were judged.
///
/// A member stays who it is when the key that signed its token is retired (key rotation).
pub(crate) type Accepted = BTreeMap<Arc<str>, Arc<Verified>>;

/// Judges leaf credentials for one group; clones are the same judge.
///
/// This is the one lock in the core: mls-rs takes `&self` and demands `Send + Sync` of its providers, and copies
/// them into the groups that it makes. The lock is never contended (a group has one owner) and never held across
/// a call into the library.
#[derive(Clone)]
pub(crate) struct Credentials(Arc<Mutex<Judge>>);

struct Judge {
    verifier: Verifier,
    accepted: Accepted,
}

impl Credentials {
    pub(crate) fn new(verifier: &Verifier) -> Self {
        Self(Arc::new(Mutex::new(Judge {
            verifier: verifier.clone(),
            accepted: Accepted::new(),
        })))
    }

    /// Replaces the accepted tokens after an epoch change.
    pub(crate) fn accept(&self, tokens: Accepted) {
        self.judge().accepted = tokens;
    }

    /// Judges with this verifier from now on; tokens in the tree stay accepted.
    pub(crate) fn use_verifier(&self, verifier: &Verifier) {
        self.judge().verifier = verifier.clone();
    }

    fn judge(&self) -> MutexGuard<'_, Judge> {
        // Each field is valid whatever a panicking owner did: it is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything about a leaf but the age of its token.
    pub(crate) fn read(&self, identity: &SigningIdentity) -> Result<Arc<Verified>, CredentialError> {
        self.verified(identity, None)
    }

    /// With a time, a token that is not in the tree yet must be good at that time.
    fn verified(
        &self,
        identity: &SigningIdentity,
        now: Option<UnixTime>,
    ) -> Result<Arc<Verified>, CredentialError> {
        let token = token_of(identity)?;
        let judge = self.judge();
        let verified = match (judge.accepted.get(token), now) {
            (Some(accepted), _) => Arc::clone(accepted),
            (None, now) => {
                let result = match now {
                    Some(now) => judge.verifier.verify(token, now),
                    None => judge.verifier.verify_at_any_time(token),
                };
                let explain = |error| match judge.verifier.issuer_to_ask_again(token) {
                    Some(issuer) => CredentialError::OtherKeys { issuer, error },
                    None => CredentialError::Identity(error),
                };
                Arc::new(result.map_err(explain)?)
            }
        };
        if verified.public_key != identity.signature_key.as_bytes() {
            return Err(CredentialError::KeyMismatch);
        }
        Ok(verified)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
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

impl IdentityProvider for Credentials {
    type Error = CredentialError;

    fn validate_member(
        &self,
        signing_identity: &SigningIdentity,
        timestamp: Option<MlsTime>,
        _context: MemberValidationContext<'_>,
    ) -> Result<(), Self::Error> {
        let now = timestamp.map(|now| UnixTime(now.seconds_since_epoch()));
        self.verified(signing_identity, now).map(drop)
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
        Ok(self.read(signing_identity)?.subject.clone().into_bytes())
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
