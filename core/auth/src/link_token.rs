//! Bearer tokens of links: what a dialler shows to the node and what a listener makes of it (wire-routing A12).
//!
//! Such a token is no identity of an application: it needs no `pubkey`, signs nothing, and is seen by one node only.
//! Signature, time, issuer and audience are judged as those of identities are (wire-session §1.5); a subject is
//! needed only if the rules ask for one, since access tokens of some providers name a client and no subject.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use slim_crypto::Rng;
use slim_proto::UnixTime;

use crate::claims::{JwtRules, Lifetime};
use crate::error::IdentityError;
use crate::jwt_signer::{JwtSigner, Minter};
use crate::jwt_verifier::JwtVerifier;
use crate::key_resolution::{HoldsKeys, KeyFetchFailure};
use crate::key_set::KeySet;
use crate::svid::{self, JwtBundles};

/// Checks bearer tokens of links. Cheap to clone; its keys never change.
#[derive(Clone)]
pub struct LinkVerifier(Arc<JwtVerifier>);

/// What a good token says.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkClaims {
    /// `sub`, else `id`, if there is one.
    pub subject: Option<String>,
    /// `iss`, if there is one.
    pub issuer: Option<String>,
    /// The last second in which the token is accepted: `exp` and the leeway.
    pub expires_at: UnixTime,
    /// Every claim.
    pub claims: Map<String, Value>,
}

impl LinkVerifier {
    /// Tokens that are signed with one of these keys.
    pub fn fixed(keys: KeySet, rules: JwtRules) -> Self {
        Self(Arc::new(JwtVerifier::fixed(keys, rules)))
    }

    /// Tokens of the issuers in the rules, whose keys come later; see [`with_keys`](Self::with_keys).
    pub fn per_issuer(rules: JwtRules) -> Result<Self, IdentityError> {
        Ok(Self(Arc::new(JwtVerifier::per_issuer(rules)?)))
    }

    /// JWT-SVIDs of the trust domains in `bundles` that name one of these audiences.
    ///
    /// One for the audience `slim` that carries a signature key is refused: applications show such tokens to all their
    /// peers, so it proves nothing. Upstream's links carry a key, too; they need an audience of their own.
    pub fn spiffe(bundles: JwtBundles, audiences: Vec<String>) -> Self {
        Self(Arc::new(JwtVerifier::spiffe(bundles, audiences)))
    }

    /// A verifier for JWT-SVIDs with these bundles in place of older ones; this one stays as it is.
    pub fn with_bundles(&self, bundles: JwtBundles) -> Result<Self, IdentityError> {
        Ok(Self(Arc::new(self.0.with_bundles(bundles)?)))
    }

    /// A verifier with these keys of an issuer in place of older ones; this one stays as it is.
    pub fn with_keys(&self, issuer: &str, keys: KeySet) -> Result<Self, IdentityError> {
        Ok(Self(Arc::new(self.0.with_keys(issuer, keys)?)))
    }

    /// The issuer that may have new keys, if a refused token is not made with one that is known; see
    /// [`Verifier::issuer_to_ask_again`](crate::Verifier::issuer_to_ask_again).
    pub fn issuer_to_ask_again(&self, token: &str) -> Option<Arc<str>> {
        self.0.issuer_to_ask_again(token)
    }

    /// The issuers whose keys are not known.
    pub fn issuers_without_keys(&self) -> Vec<Arc<str>> {
        self.0.issuers_without_keys()
    }

    /// Judges a token at a time.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<LinkClaims, IdentityError> {
        let claims = self.0.authentic(token, Some(now))?;
        if self.0.is_spiffe() && svid::may_be_identity(&claims) {
            return Err(IdentityError::IdentityAsProof);
        }
        let rules = self.0.rules();
        let issuer = rules.check_origin(&claims)?.map(str::to_owned);
        let has_subject = claims.contains_key("sub") || claims.contains_key("id");
        let subject = if has_subject || rules.wants_subject() {
            Some(rules.check_subject(&claims)?.to_owned())
        } else {
            None
        };
        let expires_at = Lifetime::read(&claims)?.expires_at;
        Ok(LinkClaims {
            subject,
            issuer,
            expires_at,
            claims,
        })
    }
}

impl HoldsKeys for LinkVerifier {
    fn resolved_issuers(&self) -> Vec<Arc<str>> {
        self.0.resolved_issuers()
    }

    fn with_keys(&self, issuer: &str, keys: KeySet) -> Result<Self, IdentityError> {
        Self::with_keys(self, issuer, keys)
    }

    fn without_keys(&self, issuer: &str, failure: KeyFetchFailure) -> Result<Self, IdentityError> {
        Ok(Self(Arc::new(self.0.without_keys(issuer, failure)?)))
    }
}

impl fmt::Debug for LinkVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkVerifier([redacted])")
    }
}

/// Makes bearer tokens for links: a fresh one for each dial.
pub struct LinkSigner(Minter);

impl LinkSigner {
    /// Unlike that of an identity, the subject may be empty; the token then has none.
    pub fn new(signer: JwtSigner) -> Result<Self, IdentityError> {
        Ok(Self(Minter::unbound(signer)?))
    }

    /// A token of now.
    pub fn mint(&self, now: UnixTime, rng: &mut Rng) -> String {
        self.0.mint(now, rng)
    }
}

impl fmt::Debug for LinkSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSigner([redacted])")
    }
}
