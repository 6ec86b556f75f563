//! Who somebody else is: from a token to verified claims.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use slim_crypto::HmacKey;
use slim_proto::limits::{TOKEN_LIFE_SECS, TOKEN_SKEW_SECS};
use slim_proto::{NameId, UnixTime};

use crate::claims::{self, JwtRules};
use crate::error::IdentityError;
use crate::jwt;
use crate::jwt_verifier::JwtVerifier;
use crate::key_resolution::{HoldsKeys, KeyFetchFailure};
use crate::key_set::KeySet;
use crate::svid::JwtBundles;
use crate::token;

/// Checks tokens. Cheap to clone; holds no state besides its keys, so it may be asked anything in any order.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

enum Inner {
    SharedSecret(Box<HmacKey>),
    Jwt(JwtVerifier),
}

/// The claims of a token that verified.
///
/// Whoever holds the shared secret can claim any subject (wire-session §1.3), and so can whoever holds a trusted
/// signing key: the subject is trusted as far as these are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who the holder is.
    pub subject: String,
    /// Who says so, if it is a JWT that tells.
    pub issuer: Option<String>,
    /// The holder's signature key: 32 bytes Ed25519, or 33 or 65 bytes P-256.
    pub public_key: Vec<u8>,
    /// When the token was made.
    pub issued_at: UnixTime,
    /// The last second in which the token is accepted.
    pub expires_at: UnixTime,
}

impl Verifier {
    /// A verifier for tokens made with this shared secret.
    pub fn shared_secret(secret: &str) -> Self {
        Self(Arc::new(Inner::SharedSecret(Box::new(HmacKey::new(
            secret.as_bytes(),
        )))))
    }

    /// A verifier for JSON Web Tokens that are signed with one of these keys (wire-session §1.5).
    ///
    /// Keys that are read again are a new verifier.
    pub fn jwt(keys: KeySet, rules: JwtRules) -> Self {
        Self(Arc::new(Inner::Jwt(JwtVerifier::fixed(keys, rules))))
    }

    /// A verifier for JSON Web Tokens of the issuers in the rules, whose keys somebody has to fetch.
    ///
    /// Until [`with_keys`](Self::with_keys) has brought an issuer's keys, its tokens give
    /// [`IdentityError::KeysUnavailable`]. The issuers must be named, one at least: whoever may choose the issuer
    /// of a token chooses the keys, and would be everybody.
    pub fn jwt_autoresolve(rules: JwtRules) -> Result<Self, IdentityError> {
        Ok(Self(Arc::new(Inner::Jwt(JwtVerifier::per_issuer(rules)?))))
    }

    /// A verifier for JWT-SVIDs of the trust domains in `bundles` that name one of these audiences (wire-session §1.6).
    ///
    /// Bundles change while a trust domain lives: [`with_bundles`](Self::with_bundles) gives the next verifier.
    pub fn spiffe(bundles: JwtBundles, audiences: Vec<String>) -> Self {
        Self(Arc::new(Inner::Jwt(JwtVerifier::spiffe(bundles, audiences))))
    }

    /// A verifier with these bundles in place of older ones; this one stays as it is. One that is not for JWT-SVIDs
    /// takes none.
    pub fn with_bundles(&self, bundles: JwtBundles) -> Result<Self, IdentityError> {
        match &*self.0 {
            Inner::Jwt(jwt) => Ok(Self(Arc::new(Inner::Jwt(jwt.with_bundles(bundles)?)))),
            Inner::SharedSecret(_) => Err(IdentityError::WrongTrustDomain),
        }
    }

    /// A verifier with these keys of an issuer in place of older ones; this one stays as it is.
    ///
    /// The keys should be from [`KeySet::from_published_jwks`]. Give the result to everybody who holds a clone of
    /// this verifier; nothing is shared that could change behind their back.
    pub fn with_keys(&self, issuer: &str, keys: KeySet) -> Result<Self, IdentityError> {
        match &*self.0 {
            Inner::Jwt(jwt) => Ok(Self(Arc::new(Inner::Jwt(jwt.with_keys(issuer, keys)?)))),
            Inner::SharedSecret(_) => Err(IdentityError::UnknownIssuer),
        }
    }

    /// A verifier that knows why it has no keys of this issuer: its tokens give
    /// [`IdentityError::IssuerUnavailable`] until [`with_keys`](Self::with_keys) brings some.
    pub fn without_keys(&self, issuer: &str, failure: KeyFetchFailure) -> Result<Self, IdentityError> {
        match &*self.0 {
            Inner::Jwt(jwt) => Ok(Self(Arc::new(Inner::Jwt(jwt.without_keys(issuer, failure)?)))),
            Inner::SharedSecret(_) => Err(IdentityError::UnknownIssuer),
        }
    }

    /// The issuers whose keys are to be fetched, and fetched again from time to time; empty if keys are fixed.
    pub fn resolved_issuers(&self) -> Vec<Arc<str>> {
        match &*self.0 {
            Inner::Jwt(jwt) => jwt.resolved_issuers(),
            Inner::SharedSecret(_) => Vec::new(),
        }
    }

    /// The issuer that may have new keys, if a refused token is not made with one that is known: its keys may have
    /// been rotated. Ask it at most once a minute, since everybody can make such a token.
    pub fn issuer_to_ask_again(&self, token: &str) -> Option<Arc<str>> {
        match &*self.0 {
            Inner::Jwt(jwt) => jwt.issuer_to_ask_again(token),
            Inner::SharedSecret(_) => None,
        }
    }

    /// The issuers whose keys are not known; fetch these before the first token comes.
    pub fn issuers_without_keys(&self) -> Vec<Arc<str>> {
        match &*self.0 {
            Inner::Jwt(jwt) => jwt.issuers_without_keys(),
            Inner::SharedSecret(_) => Vec::new(),
        }
    }

    /// Checks a token at a time: format, signature or authentication code, claims, age, and public key.
    pub fn verify(&self, token: &str, now: UnixTime) -> Result<Verified, IdentityError> {
        match &*self.0 {
            Inner::SharedSecret(mac) => at_time(verify_shared_secret(mac, token)?, now),
            Inner::Jwt(jwt) => jwt.verify(token, Some(now)),
        }
    }

    /// Checks everything but the age.
    ///
    /// Only for credentials that were judged in time by somebody else: the leaves that a joiner finds in an MLS
    /// tree (architecture, "A joiner meets expired leaves"). Compare `expires_at` with the present to flag them.
    pub fn verify_at_any_time(&self, token: &str) -> Result<Verified, IdentityError> {
        match &*self.0 {
            Inner::SharedSecret(mac) => verify_shared_secret(mac, token),
            Inner::Jwt(jwt) => jwt.verify(token, None),
        }
    }
}

fn at_time(verified: Verified, now: UnixTime) -> Result<Verified, IdentityError> {
    let issued_at = verified.issued_at;
    if issued_at.0 > now.0.saturating_add(TOKEN_SKEW_SECS) {
        return Err(IdentityError::NotYetValid { issued_at, now });
    }
    if now.saturating_since(issued_at) > TOKEN_LIFE_SECS {
        return Err(IdentityError::Expired { issued_at, now });
    }
    Ok(verified)
}

fn verify_shared_secret(mac: &HmacKey, token: &str) -> Result<Verified, IdentityError> {
    let authentic = token::parse(mac, token)?;
    Ok(Verified {
        public_key: authentic.public_key()?,
        subject: authentic.subject.to_owned(),
        issuer: None,
        issued_at: authentic.issued_at,
        expires_at: UnixTime(authentic.issued_at.0.saturating_add(TOKEN_LIFE_SECS)),
    })
}

impl HoldsKeys for Verifier {
    fn resolved_issuers(&self) -> Vec<Arc<str>> {
        Self::resolved_issuers(self)
    }

    fn with_keys(&self, issuer: &str, keys: KeySet) -> Result<Self, IdentityError> {
        Self::with_keys(self, issuer, keys)
    }

    fn without_keys(&self, issuer: &str, failure: KeyFetchFailure) -> Result<Self, IdentityError> {
        Self::without_keys(self, issuer, failure)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier([redacted])")
    }
}

/// The subject that a token claims, without any check; `None` if it is no token at all.
///
/// Good for looking up whom a message is about before it is verified, never for a decision.
pub fn claimed_subject(token: &str) -> Option<Cow<'_, str>> {
    // A JWT has dots and no colons, a shared-secret token four colons at least.
    if token.contains(':') {
        return token::claimed_subject(token).map(Cow::Borrowed);
    }
    let claims = jwt::read_claims(token).ok()?;
    claims::subject(&claims)
        .ok()
        .map(|subject| Cow::Owned(subject.to_owned()))
}

impl Verified {
    /// The name id of the subject's application (wire-session §1.2).
    pub fn name_id(&self) -> NameId {
        NameId::of_subject(&self.subject)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::TokenPart;

    /// The token of wire-session §10 and its secret.
    const SECRET: &str = "secret-0123456789-0123456789-abcdef";
    const TOKEN: &str = "org/ns/cli_tu9uY08V:1795356032:hALn9m-Ir96tglL5:eyJwdWJrZXkiOiJCTG1DTlN5UVZXb2dNanRNUFdsV1JYckRZTEU3OU9qV3JwS3EwaFZNMExnS3VMQkh5dnVML0VpTGFrcmIwQytwTVA1VHR1ZGVDMnZFTHMzbUU1L2xPQzQ9In0:TxO6EFMODQMjP2qnnFHyxiDToiHfATEDUu6WI7W_Qvg";
    const ISSUED: UnixTime = UnixTime(1_795_356_032);

    fn at(seconds: i64) -> UnixTime {
        UnixTime(ISSUED.0.checked_add_signed(seconds).unwrap())
    }

    #[test]
    fn the_token_of_the_wire_document_verifies_with_its_clock() {
        let verified = Verifier::shared_secret(SECRET).verify(TOKEN, ISSUED).unwrap();
        assert_eq!(verified.subject, "org/ns/cli_tu9uY08V");
        assert_eq!(verified.public_key.len(), 65);
        assert_eq!(verified.issued_at, ISSUED);
        assert_eq!(verified.expires_at, at(3600));
        assert_eq!(verified.name_id(), NameId::of_subject("org/ns/cli_tu9uY08V"));
    }

    #[test]
    fn the_claimed_subject_is_read_without_a_check() {
        assert_eq!(claimed_subject(TOKEN).as_deref(), Some("org/ns/cli_tu9uY08V"));
        assert_eq!(claimed_subject("nonsense"), None);
        assert_eq!(claimed_subject(":1:n:c:m"), None);
    }

    #[test]
    fn a_token_lives_from_five_seconds_before_its_time_to_an_hour_after() {
        let verifier = Verifier::shared_secret(SECRET);
        assert!(verifier.verify(TOKEN, at(-5)).is_ok());
        assert!(verifier.verify(TOKEN, at(3600)).is_ok());
        assert_eq!(
            verifier.verify(TOKEN, at(-6)),
            Err(IdentityError::NotYetValid {
                issued_at: ISSUED,
                now: at(-6)
            })
        );
        assert_eq!(
            verifier.verify(TOKEN, at(3601)),
            Err(IdentityError::Expired {
                issued_at: ISSUED,
                now: at(3601)
            })
        );
        assert!(verifier.verify_at_any_time(TOKEN).is_ok());
        // The ends of time overflow nothing.
        assert!(verifier.verify(TOKEN, UnixTime(0)).is_err());
        assert!(verifier.verify(TOKEN, UnixTime(u64::MAX)).is_err());
    }

    #[test]
    fn another_secret_or_any_changed_character_is_refused() {
        assert_eq!(
            Verifier::shared_secret("another-secret-0123456789-abcdefgh").verify(TOKEN, ISSUED),
            Err(IdentityError::WrongMac)
        );
        let verifier = Verifier::shared_secret(SECRET);
        for at in 0..TOKEN.len() {
            let mut changed = TOKEN.as_bytes().to_vec();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert!(verifier.verify(&changed, ISSUED).is_err(), "byte {at}");
        }
    }

    #[test]
    fn malformed_tokens_are_named_as_such() {
        let verifier = Verifier::shared_secret("s");
        let sealed = |signed: &str| {
            use base64::Engine as _;
            let tag = slim_crypto::hmac_sha256(b"s", signed.as_bytes());
            let tag = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(tag);
            format!("{signed}:{tag}")
        };
        let claims = |json: &str| {
            use base64::Engine as _;
            sealed(&format!(
                "a:1:n:{}",
                base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json)
            ))
        };
        let part = |part| Err(IdentityError::Malformed(part));
        for (token, expected) in [
            (String::new(), part(TokenPart::Shape)),
            ("a:1:n:c:short".into(), part(TokenPart::Mac)),
            (format!("a:1:n:c:{}", "!".repeat(43)), part(TokenPart::Mac)),
            (sealed("a:1:n"), part(TokenPart::Shape)),
            (sealed("a:1:n:c:more"), part(TokenPart::Shape)),
            (sealed(":1:n:c"), part(TokenPart::Subject)),
            (sealed("a:1::c"), part(TokenPart::Nonce)),
            (sealed("a:+1:n:c"), part(TokenPart::Time)),
            (sealed("a::n:c"), part(TokenPart::Time)),
            (sealed("a:99999999999999999999:n:c"), part(TokenPart::Time)),
            (sealed("a:1:n:***"), part(TokenPart::Claims)),
            (claims("{"), part(TokenPart::Claims)),
            (sealed("a:1:n:"), Err(IdentityError::NoKey)),
            (claims("{}"), Err(IdentityError::NoKey)),
            (claims("[1]"), Err(IdentityError::NoKey)),
            (claims(r#"{"pubkey":7}"#), part(TokenPart::PublicKey)),
            (claims(r#"{"pubkey":"BA"}"#), part(TokenPart::PublicKey)),
            (claims(r#"{"pubkey":"BAQ="}"#), Err(IdentityError::UnknownKey(2))),
            ("a".repeat(9000), Err(IdentityError::TooLong(9000))),
        ] {
            assert_eq!(verifier.verify(&token, UnixTime(1)), expected, "{token}");
        }
        let nested = claims(&format!(
            r#"{{"custom_claims":{{"pubkey":"{}="}}}}"#,
            "A".repeat(43)
        ));
        assert_eq!(
            verifier.verify(&nested, UnixTime(1)).unwrap().public_key,
            vec![0; 32]
        );
    }
}
