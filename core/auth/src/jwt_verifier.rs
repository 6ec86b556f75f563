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
use crate::jwt::{self, Object};
use crate::key_resolution::KeyFetchFailure;
use crate::key_set::KeySet;
use crate::svid::{self, JwtBundles};
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
    /// Each issuer has its own: nobody can sign tokens in the name of another.
    PerIssuer(BTreeMap<Arc<str>, IssuerKeys>),
    /// Each SPIFFE trust domain has its own, and signs for ids of its own.
    PerTrustDomain(JwtBundles),
}

/// What is known of one issuer's keys.
#[derive(Clone)]
enum IssuerKeys {
    /// Not fetched yet.
    Unknown,
    /// Not to be had, for now.
    Unavailable(KeyFetchFailure),
    /// Fetched.
    Known(KeySet),
}

impl JwtVerifier {
    pub(crate) fn fixed(keys: KeySet, rules: JwtRules) -> Self {
        Self {
            keys: Keys::Fixed(keys),
            rules,
        }
    }

    pub(crate) fn per_issuer(rules: JwtRules) -> Result<Self, IdentityError> {
        let keys: BTreeMap<Arc<str>, IssuerKeys> = rules
            .issuers
            .iter()
            .map(|issuer| (issuer.as_str().into(), IssuerKeys::Unknown))
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

    /// JWT-SVIDs of these trust domains for one of these audiences. Unlike other tokens they must name one.
    pub(crate) fn spiffe(bundles: JwtBundles, audiences: Vec<String>) -> Self {
        Self {
            keys: Keys::PerTrustDomain(bundles),
            rules: JwtRules {
                audiences,
                require_audience: true,
                require_subject: true,
                ..JwtRules::default()
            },
        }
    }

    pub(crate) fn with_bundles(&self, bundles: JwtBundles) -> Result<Self, IdentityError> {
        match &self.keys {
            Keys::PerTrustDomain(_) => Ok(Self {
                keys: Keys::PerTrustDomain(bundles),
                rules: self.rules.clone(),
            }),
            Keys::Fixed(_) | Keys::PerIssuer(_) => Err(IdentityError::WrongTrustDomain),
        }
    }

    pub(crate) fn with_keys(&self, issuer: &str, keys: KeySet) -> Result<Self, IdentityError> {
        self.with(issuer, IssuerKeys::Known(keys))
    }

    pub(crate) fn without_keys(&self, issuer: &str, failure: KeyFetchFailure) -> Result<Self, IdentityError> {
        self.with(issuer, IssuerKeys::Unavailable(failure))
    }

    fn with(&self, issuer: &str, keys: IssuerKeys) -> Result<Self, IdentityError> {
        let mut changed = self.clone();
        let entry = match &mut changed.keys {
            Keys::PerIssuer(issuers) => issuers.get_mut(issuer),
            Keys::Fixed(_) | Keys::PerTrustDomain(_) => None,
        };
        *entry.ok_or(IdentityError::UnknownIssuer)? = keys;
        Ok(changed)
    }

    pub(crate) fn issuers_without_keys(&self) -> Vec<Arc<str>> {
        match &self.keys {
            Keys::Fixed(_) | Keys::PerTrustDomain(_) => Vec::new(),
            Keys::PerIssuer(issuers) => issuers
                .iter()
                .filter(|(_, keys)| !matches!(keys, IssuerKeys::Known(_)))
                .map(|(issuer, _)| Arc::clone(issuer))
                .collect(),
        }
    }

    pub(crate) fn resolved_issuers(&self) -> Vec<Arc<str>> {
        match &self.keys {
            Keys::Fixed(_) | Keys::PerTrustDomain(_) => Vec::new(),
            Keys::PerIssuer(issuers) => issuers.keys().cloned().collect(),
        }
    }

    /// The issuer whose newer keys might accept a token that the present ones do not: the token names none of
    /// them, and none has made it.
    pub(crate) fn issuer_to_ask_again(&self, token: &str) -> Option<Arc<str>> {
        let Keys::PerIssuer(issuers) = &self.keys else {
            return None;
        };
        let token = jwt::read(token).ok()?;
        let issuer = claims::issuer(&token.claims).ok()??;
        match issuers.get_key_value(issuer)? {
            (issuer, IssuerKeys::Known(keys)) if keys.may_be_outdated_for(&token) => Some(Arc::clone(issuer)),
            _ => None,
        }
    }

    pub(crate) fn is_spiffe(&self) -> bool {
        matches!(self.keys, Keys::PerTrustDomain(_))
    }

    pub(crate) fn rules(&self) -> &JwtRules {
        &self.rules
    }

    /// Everything that an identity's token must be.
    pub(crate) fn verify(&self, token: &str, now: Option<UnixTime>) -> Result<Verified, IdentityError> {
        self.rules.check(&self.authentic(token, now)?)
    }

    /// Signature first: of an unverified token only the issuer or the trust domain is believed, and only to choose keys
    /// that must then fit. The claims come in the form that all tokens share.
    pub(crate) fn authentic(&self, token: &str, now: Option<UnixTime>) -> Result<Object, IdentityError> {
        let token = jwt::read(token)?;
        let keys = match &self.keys {
            Keys::Fixed(keys) => keys,
            Keys::PerTrustDomain(bundles) => bundles.keys_for(&token.claims)?,
            Keys::PerIssuer(issuers) => {
                let issuer =
                    claims::issuer(&token.claims)?.ok_or(IdentityError::MissingClaim(TokenPart::Issuer))?;
                let (issuer, keys) = issuers.get_key_value(issuer).ok_or(IdentityError::WrongIssuer)?;
                match keys {
                    IssuerKeys::Known(keys) => keys,
                    IssuerKeys::Unknown => {
                        return Err(IdentityError::KeysUnavailable {
                            issuer: Arc::clone(issuer),
                        });
                    }
                    IssuerKeys::Unavailable(failure) => {
                        return Err(IdentityError::IssuerUnavailable {
                            issuer: Arc::clone(issuer),
                            failure: failure.clone(),
                        });
                    }
                }
            }
        };
        let signed_by = keys.check(&token)?;
        if self.rules.bind_subject && !signed_by.is_of(claims::subject(&token.claims)?) {
            return Err(IdentityError::SubjectNotBound);
        }
        if let Some(now) = now {
            Lifetime::read(&token.claims)?.check(now)?;
        }
        let mut claims = token.claims;
        if let Keys::PerTrustDomain(_) = &self.keys {
            svid::normalise(&mut claims)?;
        }
        Ok(claims)
    }
}
