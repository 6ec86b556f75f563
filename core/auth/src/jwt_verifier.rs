//! Checking JSON Web Tokens with keys that are fixed, or that are learnt issuer by issuer.
//!
//! The core fetches nothing and locks nothing: the keys of a verifier never change. Whoever owns a verifier and
//! has fetched new keys makes a new verifier with [`Verifier::with_keys`](crate::Verifier::with_keys), which
//! shares everything else, and passes it to the endpoints. So a verdict depends on values alone, and a fetch can
//! never change it halfway through a group operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use slim_proto::UnixTime;
use slim_proto::limits::ISSUERS_MAX;

use crate::claims::{self, JwtRules, Lifetime};
use crate::error::{IdentityError, TokenPart};
use crate::jwt;
use crate::key_set::KeySet;
use crate::verifier::Verified;

/// Keys and rules.
#[derive(Clone)]
pub(crate) struct JwtVerifier {
    keys: Keys,
    rules: JwtRules,
}

#[derive(Clone)]
enum Keys {
    /// The same for all tokens.
    Fixed(KeySet),
    /// Each issuer has its own: nobody can sign tokens in the name of another. Without keys: not fetched yet.
    PerIssuer(BTreeMap<Arc<str>, Option<KeySet>>),
}

impl JwtVerifier {
    pub(crate) fn fixed(keys: KeySet, rules: JwtRules) -> Self {
        Self {
            keys: Keys::Fixed(keys),
            rules,
        }
    }

    pub(crate) fn per_issuer(rules: JwtRules) -> Result<Self, IdentityError> {
        let keys: BTreeMap<Arc<str>, Option<KeySet>> = rules
            .issuers
            .iter()
            .map(|issuer| (issuer.as_str().into(), None))
            .collect();
        match keys.len() {
            0 => Err(IdentityError::NoIssuer),
            1..=ISSUERS_MAX => Ok(Self {
                keys: Keys::PerIssuer(keys),
                rules,
            }),
            more => Err(IdentityError::TooManyIssuers(more)),
        }
    }

    pub(crate) fn with_keys(&self, issuer: &str, keys: KeySet) -> Result<Self, IdentityError> {
        let mut changed = self.clone();
        let entry = match &mut changed.keys {
            Keys::PerIssuer(issuers) => issuers.get_mut(issuer),
            Keys::Fixed(_) => None,
        };
        *entry.ok_or(IdentityError::UnknownIssuer)? = Some(keys);
        Ok(changed)
    }

    pub(crate) fn issuers_without_keys(&self) -> Vec<Arc<str>> {
        match &self.keys {
            Keys::Fixed(_) => Vec::new(),
            Keys::PerIssuer(issuers) => issuers
                .iter()
                .filter(|(_, keys)| keys.is_none())
                .map(|(issuer, _)| Arc::clone(issuer))
                .collect(),
        }
    }

    /// Signature first: of an unverified token only the issuer is believed, and only to choose keys that must then
    /// fit.
    pub(crate) fn verify(&self, token: &str, now: Option<UnixTime>) -> Result<Verified, IdentityError> {
        let token = jwt::read(token)?;
        let keys = match &self.keys {
            Keys::Fixed(keys) => keys,
            Keys::PerIssuer(issuers) => {
                let issuer =
                    claims::issuer(&token.claims)?.ok_or(IdentityError::MissingClaim(TokenPart::Issuer))?;
                let (issuer, keys) = issuers.get_key_value(issuer).ok_or(IdentityError::WrongIssuer)?;
                keys.as_ref().ok_or_else(|| IdentityError::KeysUnavailable {
                    issuer: Arc::clone(issuer),
                })?
            }
        };
        keys.check(&token)?;
        if let Some(now) = now {
            Lifetime::read(&token.claims)?.check(now)?;
        }
        self.rules.check(&token.claims)
    }
}
