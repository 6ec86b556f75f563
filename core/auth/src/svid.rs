//! JWT-SVIDs: tokens that a SPIFFE trust domain issues to its workloads (JWT-SVID §3, wire-session §1.6).
//!
//! The claims of such a token are the issuer's, so our own (`pubkey`) travel in an audience that is asked for beside
//! the real ones. [`normalise`] brings claims that are verified into the form of every other token; nothing behind it
//! knows of the difference. Which keys may sign for whom is fixed by the id: those of its own trust domain.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use slim_proto::UnixTime;
use slim_proto::limits::{JWT_LEEWAY_SECS, SPIFFE_TRUST_DOMAINS_MAX};

use crate::claims::{self, Lifetime};
use crate::error::{IdentityError, TokenPart};
use crate::jwt::{self, Object};
use crate::key_set::KeySet;
use crate::spiffe_id::{SpiffeId, TrustDomain};

/// What the audience with our own claims begins with; the claims follow as JSON in base64 with padding.
const CLAIMS_AUDIENCE: &str = "slim-claims:";

/// The audience of identities unless they are told otherwise, here and upstream (wire-session §1.6).
const IDENTITY_AUDIENCE: &str = "slim";

/// The keys that sign JWT-SVIDs, by trust domain. Cheap to clone; a newer set is a new value.
#[derive(Clone, Debug, Default)]
pub struct JwtBundles(Arc<BTreeMap<TrustDomain, KeySet>>);

/// What a JWT-SVID says of itself. Nothing is verified: this is for the one who fetched it from the local agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SvidClaims {
    /// Whose it is.
    pub id: SpiffeId,
    /// When it was made.
    pub issued_at: UnixTime,
    /// `exp`, without leeway.
    pub expires_at: UnixTime,
}

impl JwtBundles {
    /// Bundles by trust domain; those beyond the limit are an error, since the own one may be among them.
    pub fn new(bundles: BTreeMap<TrustDomain, KeySet>) -> Result<Self, IdentityError> {
        if bundles.len() > SPIFFE_TRUST_DOMAINS_MAX {
            return Err(IdentityError::TooManyTrustDomains(bundles.len()));
        }
        Ok(Self(Arc::new(bundles)))
    }

    /// Those of these trust domains only: nobody else's tokens are believed.
    #[must_use]
    pub fn only(&self, trust_domains: &[TrustDomain]) -> Self {
        let kept = self.0.iter().filter(|(name, _)| trust_domains.contains(name));
        Self(Arc::new(
            kept.map(|(name, keys)| (name.clone(), keys.clone())).collect(),
        ))
    }

    /// The trust domains, in order.
    pub fn trust_domains(&self) -> impl Iterator<Item = &TrustDomain> {
        self.0.keys()
    }

    /// True if there is no bundle, so that no token verifies.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys for a token, by the trust domain of its subject. The token is not believed by that: it must be
    /// signed with one of them.
    pub(crate) fn keys_for(&self, claims: &Object) -> Result<&KeySet, IdentityError> {
        let id = id(claims)?;
        self.0
            .get(id.trust_domain().as_str())
            .ok_or(IdentityError::WrongTrustDomain)
    }
}

/// The audience that binds a JWT-SVID to a signature key: ask for it beside the real ones.
pub fn claims_audience(public_key: &[u8]) -> String {
    // Base64 needs no JSON escaping.
    let json = format!(r#"{{"pubkey":"{}"}}"#, STANDARD.encode(public_key));
    format!("{CLAIMS_AUDIENCE}{}", STANDARD.encode(json))
}

/// Reads a JWT-SVID that the local agent handed out.
pub fn read_svid(token: &str) -> Result<SvidClaims, IdentityError> {
    let claims = jwt::read_claims(token)?;
    let lifetime = Lifetime::read(&claims)?;
    Ok(SvidClaims {
        id: id(&claims)?,
        issued_at: lifetime.issued_at,
        expires_at: UnixTime(lifetime.expires_at.0.saturating_sub(JWT_LEEWAY_SECS)),
    })
}

fn id(claims: &Object) -> Result<SpiffeId, IdentityError> {
    // Not `id`, which other tokens may have in its place (JWT-SVID §3.1).
    if !claims.contains_key("sub") {
        return Err(IdentityError::MissingClaim(TokenPart::Subject));
    }
    claims::subject(claims)?.parse().map_err(IdentityError::SpiffeId)
}

/// True if verified claims are those of an application's identity, as far as one can tell: a signature key, and the
/// audience that identities have unless they are told otherwise.
pub(crate) fn may_be_identity(claims: &Object) -> bool {
    let names_it = |audience: &Value| audience == IDENTITY_AUDIENCE;
    claims.contains_key("custom_claims")
        && match claims.get("aud") {
            Some(Value::Array(audiences)) => audiences.iter().any(names_it),
            Some(audience) => names_it(audience),
            None => false,
        }
}

/// Brings the claims of a JWT-SVID into the form of every other token: our own claims out of their audience into
/// `custom_claims`, where nothing else may stand.
pub(crate) fn normalise(claims: &mut Object) -> Result<(), IdentityError> {
    for name in ["pubkey", "custom_claims", "id"] {
        claims.remove(name);
    }
    let Some(Value::Array(audiences)) = claims.get_mut("aud") else {
        // A single text is a real audience; without any the token is refused later.
        return Ok(());
    };
    let carries_claims = |audience: &Value| {
        audience
            .as_str()
            .is_some_and(|text| text.starts_with(CLAIMS_AUDIENCE))
    };
    let mut carriers = audiences.extract_if(.., |audience| carries_claims(audience));
    let carrier = carriers.next();
    let is_ambiguous = carriers.count() > 0;
    let malformed = IdentityError::Malformed(TokenPart::Audience);
    if is_ambiguous {
        return Err(malformed);
    }
    if let Some(Value::String(text)) = carrier {
        let encoded = text.strip_prefix(CLAIMS_AUDIENCE).unwrap_or_default();
        let json = STANDARD.decode(encoded).map_err(|_| malformed.clone())?;
        let own: Map<String, Value> = serde_json::from_slice(&json).map_err(|_| malformed)?;
        claims.insert("custom_claims".to_owned(), Value::Object(own));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn normalised(value: Value) -> Result<Value, IdentityError> {
        let mut claims = value.as_object().unwrap().clone();
        normalise(&mut claims)?;
        Ok(Value::Object(claims))
    }

    #[test]
    fn own_claims_come_out_of_their_audience() {
        let audience = claims_audience(&[7; 32]);
        let claims = normalised(json!({"aud": ["slim", audience], "sub": "spiffe://a/b"})).unwrap();
        let key = STANDARD.encode([7; 32]);
        assert_eq!(
            claims,
            json!({"aud": ["slim"], "sub": "spiffe://a/b", "custom_claims": {"pubkey": key}})
        );
    }

    #[test]
    fn claims_that_stand_elsewhere_do_not_count() {
        let claims = normalised(json!({
            "aud": ["slim"], "pubkey": "x", "custom_claims": {"pubkey": "y"}, "id": "z"
        }));
        assert_eq!(claims.unwrap(), json!({"aud": ["slim"]}));
    }

    #[test]
    fn audiences_that_can_be_read_in_two_ways_are_refused() {
        let audience = claims_audience(&[7; 32]);
        let malformed = Err(IdentityError::Malformed(TokenPart::Audience));
        let other = claims_audience(&[8; 32]);
        assert_eq!(normalised(json!({"aud": [audience, other]})), malformed);
        for broken in ["slim-claims:", "slim-claims:!", "slim-claims:W10="] {
            assert_eq!(
                normalised(json!({"aud": ["slim", broken]})),
                malformed,
                "{broken}"
            );
        }
    }
}
