//! What the claims of a JSON Web Token must say (wire-session §1.5).
//!
//! Differences from upstream, all towards refusing more: `nbf` and an `iat` of the future are looked at, and
//! subjects can be restricted. A missing `aud` is accepted unless it is required, as upstream has it.

use serde_json::Value;
use slim_proto::UnixTime;
use slim_proto::limits::{JWT_LEEWAY_SECS, TOKEN_LIFE_SECS};

use crate::error::{IdentityError, TokenPart};
use crate::jwt::Object;
use crate::token::public_key_claim;
use crate::verifier::Verified;

/// What a verifier demands of a token beside the signature and the time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwtRules {
    /// The issuers that are accepted; if empty, any. A token without `iss` is accepted either way.
    pub issuers: Vec<String>,
    /// Who we are: a token that names audiences must name one of these, so if there are none, no token with an
    /// audience is accepted. A token without `aud` is.
    pub audiences: Vec<String>,
    /// The subjects that are accepted; if empty, any. Our own must be among them, because own tokens are checked
    /// like those of others. This is not upstream's single `subject`, which has no effect (wire-session §1.5).
    pub subjects: Vec<String>,
    /// Refuse tokens without `iss`.
    pub require_issuer: bool,
    /// Refuse tokens without `aud`.
    pub require_audience: bool,
    /// Refuse tokens whose subject is not in `sub` (but in `id`).
    pub require_subject: bool,
    /// Refuse tokens whose subject is not that of the key that signed them: the key's `kid`, or its `did:key` if it is
    /// Ed25519 (wire-session §1.5, `subject_binding: enforce`). For key sets in which each member has a key of its
    /// own: without it each of them can sign tokens in the name of every other.
    pub bind_subject: bool,
}

impl JwtRules {
    /// Judges claims whose signature is verified; the time is left to [`Lifetime::check`].
    pub(crate) fn check(&self, claims: &Object) -> Result<Verified, IdentityError> {
        let issuer = self.check_origin(claims)?;
        let subject = self.check_subject(claims)?;
        let lifetime = Lifetime::read(claims)?;
        Ok(Verified {
            subject: subject.to_owned(),
            issuer: issuer.map(str::to_owned),
            public_key: public_key_claim(claims.get("pubkey"), claims.get("custom_claims"))?,
            issued_at: lifetime.issued_at,
            expires_at: lifetime.expires_at,
        })
    }

    /// Who made the token, and for whom; gives the issuer.
    pub(crate) fn check_origin<'a>(&self, claims: &'a Object) -> Result<Option<&'a str>, IdentityError> {
        let issuer = self.check_issuer(claims)?;
        self.check_audience(claims)?;
        Ok(issuer)
    }

    /// Who the token is about.
    pub(crate) fn check_subject<'a>(&self, claims: &'a Object) -> Result<&'a str, IdentityError> {
        if self.require_subject && !claims.contains_key("sub") {
            return Err(IdentityError::MissingClaim(TokenPart::Subject));
        }
        let subject = subject(claims)?;
        if !self.subjects.is_empty() && !self.subjects.iter().any(|accepted| accepted == subject) {
            return Err(IdentityError::WrongSubject);
        }
        Ok(subject)
    }

    /// True if a token without subject would be refused.
    pub(crate) fn wants_subject(&self) -> bool {
        self.require_subject || !self.subjects.is_empty()
    }

    fn check_issuer<'a>(&self, claims: &'a Object) -> Result<Option<&'a str>, IdentityError> {
        match issuer(claims)? {
            Some(issuer) if !self.accepts_issuer(issuer) => Err(IdentityError::WrongIssuer),
            None if self.require_issuer => Err(IdentityError::MissingClaim(TokenPart::Issuer)),
            issuer => Ok(issuer),
        }
    }

    fn accepts_issuer(&self, issuer: &str) -> bool {
        self.issuers.is_empty() || self.issuers.iter().any(|accepted| accepted == issuer)
    }

    fn check_audience(&self, claims: &Object) -> Result<(), IdentityError> {
        let malformed = IdentityError::Malformed(TokenPart::Audience);
        let common = match claims.get("aud") {
            None if self.require_audience => {
                return Err(IdentityError::MissingClaim(TokenPart::Audience));
            }
            None => true,
            Some(Value::String(one)) => self.audiences.contains(one),
            Some(Value::Array(several)) => {
                if !several.iter().all(Value::is_string) {
                    return Err(malformed);
                }
                let mut named = several.iter().filter_map(Value::as_str);
                named.any(|name| self.audiences.iter().any(|audience| audience == name))
            }
            Some(_) => return Err(malformed),
        };
        common.then_some(()).ok_or(IdentityError::WrongAudience)
    }
}

/// The claim `iss`.
pub(crate) fn issuer(claims: &Object) -> Result<Option<&str>, IdentityError> {
    match claims.get("iss") {
        None => Ok(None),
        Some(Value::String(issuer)) => Ok(Some(issuer)),
        Some(_) => Err(IdentityError::Malformed(TokenPart::Issuer)),
    }
}

/// The claim `sub`, or `id` if there is none (wire-session §1.1).
pub(crate) fn subject(claims: &Object) -> Result<&str, IdentityError> {
    let subject = claims
        .get("sub")
        .or_else(|| claims.get("id"))
        .ok_or(IdentityError::MissingClaim(TokenPart::Subject))?;
    subject
        .as_str()
        .filter(|subject| !subject.is_empty())
        .ok_or(IdentityError::Malformed(TokenPart::Subject))
}

/// When a token is good.
pub(crate) struct Lifetime {
    /// `iat`; if missing `nbf`, and if that is missing too, upstream's lifetime before the end.
    pub(crate) issued_at: UnixTime,
    /// The last second in which it is accepted: `exp` and the leeway.
    pub(crate) expires_at: UnixTime,
    /// The later of `iat` and `nbf`.
    starts_at: UnixTime,
}

impl Lifetime {
    pub(crate) fn read(claims: &Object) -> Result<Self, IdentityError> {
        let expiry =
            time(claims, "exp", TokenPart::Expiry)?.ok_or(IdentityError::MissingClaim(TokenPart::Expiry))?;
        let issued = time(claims, "iat", TokenPart::Time)?;
        let not_before = time(claims, "nbf", TokenPart::NotBefore)?;
        let issued_at = issued
            .or(not_before)
            .unwrap_or_else(|| UnixTime(expiry.0.saturating_sub(TOKEN_LIFE_SECS)));
        Ok(Self {
            issued_at,
            expires_at: UnixTime(expiry.0.saturating_add(JWT_LEEWAY_SECS)),
            starts_at: issued_at.max(not_before.unwrap_or_default()),
        })
    }

    pub(crate) fn check(&self, now: UnixTime) -> Result<(), IdentityError> {
        if self.starts_at.0 > now.0.saturating_add(JWT_LEEWAY_SECS) {
            return Err(IdentityError::NotYetValid {
                issued_at: self.starts_at,
                now,
            });
        }
        if now > self.expires_at {
            return Err(IdentityError::Expired {
                issued_at: self.issued_at,
                now,
            });
        }
        Ok(())
    }
}

/// A NumericDate (RFC 7519 §2), which may have a fraction; the fraction is dropped.
fn time(claims: &Object, name: &str, part: TokenPart) -> Result<Option<UnixTime>, IdentityError> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let fractional = || value.as_f64().filter(|secs| *secs >= 0.0).map(|secs| secs as u64);
    match value.as_u64().or_else(fractional) {
        Some(secs) => Ok(Some(UnixTime(secs))),
        None => Err(IdentityError::Malformed(part)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Object {
        value.as_object().unwrap().clone()
    }

    fn lifetime(value: Value) -> Result<(u64, u64), IdentityError> {
        let lifetime = Lifetime::read(&object(value))?;
        Ok((lifetime.issued_at.0, lifetime.expires_at.0))
    }

    #[test]
    fn times_may_be_missing_or_fractional_but_not_nonsense() {
        assert_eq!(
            lifetime(json!({"exp": 10_000, "iat": 7000, "nbf": 6000})),
            Ok((7000, 10_060))
        );
        assert_eq!(
            lifetime(json!({"exp": 10_000.9, "iat": 7000.5})),
            Ok((7000, 10_060))
        );
        assert_eq!(lifetime(json!({"exp": 10_000, "nbf": 6000})), Ok((6000, 10_060)));
        assert_eq!(lifetime(json!({"exp": 10_000})), Ok((6400, 10_060)));
        assert_eq!(lifetime(json!({"exp": 5})), Ok((0, 65)));
        assert_eq!(
            lifetime(json!({"exp": u64::MAX})),
            Ok((u64::MAX - 3600, u64::MAX))
        );
        assert_eq!(lifetime(json!({"exp": 1e300, "iat": 0})), Ok((0, u64::MAX)));
        let malformed = |part| Err(IdentityError::Malformed(part));
        assert_eq!(lifetime(json!({"exp": -1})), malformed(TokenPart::Expiry));
        assert_eq!(lifetime(json!({"exp": "10"})), malformed(TokenPart::Expiry));
        assert_eq!(lifetime(json!({"exp": null})), malformed(TokenPart::Expiry));
        assert_eq!(
            lifetime(json!({"exp": 10, "iat": []})),
            malformed(TokenPart::Time)
        );
        assert_eq!(
            lifetime(json!({"exp": 10, "nbf": {}})),
            malformed(TokenPart::NotBefore)
        );
        assert_eq!(
            lifetime(json!({})),
            Err(IdentityError::MissingClaim(TokenPart::Expiry))
        );
    }

    #[test]
    fn a_minute_of_clock_difference_is_accepted_in_both_directions() {
        let lifetime = Lifetime::read(&object(json!({"exp": 10_000, "iat": 7000, "nbf": 8000}))).unwrap();
        assert_eq!(lifetime.check(UnixTime(7940)), Ok(()));
        assert!(matches!(
            lifetime.check(UnixTime(7939)),
            Err(IdentityError::NotYetValid {
                issued_at: UnixTime(8000),
                ..
            })
        ));
        assert_eq!(lifetime.check(UnixTime(10_060)), Ok(()));
        assert!(matches!(
            lifetime.check(UnixTime(10_061)),
            Err(IdentityError::Expired { .. })
        ));
    }

    #[test]
    fn audiences_follow_the_table_of_the_wire_document() {
        let rules = |audiences: &[&str], require_audience| JwtRules {
            audiences: audiences.iter().map(|audience| (*audience).to_owned()).collect(),
            require_audience,
            ..JwtRules::default()
        };
        let none = json!({});
        let one = json!({"aud": "a"});
        let two = json!({"aud": ["x", "a"]});
        let wrong = Err(IdentityError::WrongAudience);
        let malformed = Err(IdentityError::Malformed(TokenPart::Audience));
        let missing = Err(IdentityError::MissingClaim(TokenPart::Audience));
        for (claims, audiences, required, expected) in [
            (&none, &[][..], false, Ok(())),
            (&none, &["a"], false, Ok(())),
            (&none, &["a"], true, missing),
            (&one, &[], false, wrong.clone()),
            (&two, &[], false, wrong.clone()),
            (&one, &["b", "a"], true, Ok(())),
            (&two, &["a"], false, Ok(())),
            (&two, &["b"], false, wrong.clone()),
            (&json!({"aud": []}), &["a"], false, wrong),
            (&json!({"aud": ["a", 7]}), &["a"], false, malformed.clone()),
            (&json!({"aud": {"a": 1}}), &["a"], false, malformed),
        ] {
            let result = rules(audiences, required).check_audience(&object(claims.clone()));
            assert_eq!(result, expected, "{claims} for {audiences:?}");
        }
    }

    #[test]
    fn the_subject_is_sub_or_else_id() {
        let subject = |value| subject(&object(value)).map(str::to_owned);
        assert_eq!(subject(json!({"sub": "a", "id": "b"})), Ok("a".into()));
        assert_eq!(subject(json!({"id": "b"})), Ok("b".into()));
        assert_eq!(
            subject(json!({})),
            Err(IdentityError::MissingClaim(TokenPart::Subject))
        );
        for value in [
            json!({"sub": "", "id": "b"}),
            json!({"sub": 7, "id": "b"}),
            json!({"id": null}),
        ] {
            assert_eq!(subject(value), Err(IdentityError::Malformed(TokenPart::Subject)));
        }
    }
}
