//! Bearer tokens at a listener: with configured keys, keys from a file that may change, or keys of their issuer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use serde_json::Value;
use slim_auth::{IdentityError, JwtRules, LinkClaims, LinkVerdicts, LinkVerifier};
use slim_config::{JwtServerAuth, JwtSource, JwtVerification, OidcServerAuth, SpireConfig};
use slim_crypto::os_seed;
use slim_policy::{AuthMethod, ClaimPolicy, LinkIdentity};
use slim_proto::UnixTime;
use slim_proto::limits::{HTTP_REQUEST_TIMEOUT, ISSUER_KEYS_LIFE};

use super::authenticator::{AuthSetupError, Reason};
use super::basic::credential;
use super::issuer_keys::IssuerKeys;
use super::key_file::KeyFile;
use super::svid::SvidKeys;
use crate::clock::Clock;
use crate::configured_key::checking_keys;

/// Signature, claims, policy.
pub(super) struct BearerCheck {
    method: AuthMethod,
    keys: Keys,
    policy: Option<ClaimPolicy>,
    verdicts: Mutex<LinkVerdicts>,
    clock: Clock,
}

enum Keys {
    Fixed(LinkVerifier),
    File(KeyFile),
    Issuers(IssuerKeys),
    Svids(SvidKeys),
}

impl BearerCheck {
    pub(super) async fn jwt(config: &JwtServerAuth, clock: Clock) -> Result<Self, AuthSetupError> {
        let claims = &config.claims;
        let rules = JwtRules {
            issuers: claims.issuers.clone(),
            audiences: claims.audiences.clone(),
            subjects: claims.subjects.clone(),
            require_issuer: !claims.issuers.is_empty(),
            require_audience: !claims.audiences.is_empty(),
            require_subject: !claims.subjects.is_empty(),
            bind_subject: config.bind_subject,
        };
        let keys = match &config.verification {
            JwtVerification::Keys(key) => match &key.source {
                JwtSource::Data(text) => {
                    let keys = checking_keys(key, text.expose())?;
                    Keys::Fixed(LinkVerifier::fixed(keys, rules))
                }
                JwtSource::File(path) => Keys::File(KeyFile::load(key, path, rules, clock).await?),
            },
            JwtVerification::Autoresolve => {
                let verifier = LinkVerifier::per_issuer(rules).map_err(AuthSetupError::Rules)?;
                let (limit, life) = (HTTP_REQUEST_TIMEOUT, ISSUER_KEYS_LIFE);
                Keys::Issuers(IssuerKeys::start(verifier, limit, life, clock).await?)
            }
        };
        let verdicts = Duration::ZERO;
        Self::with(AuthMethod::Jwt, keys, config.policy.as_deref(), verdicts, clock)
    }

    pub(super) async fn oidc(config: &OidcServerAuth, clock: Clock) -> Result<Self, AuthSetupError> {
        let verifier = LinkVerifier::per_issuer(JwtRules {
            issuers: vec![config.issuer_url.clone()],
            audiences: config.audiences.clone(),
            require_issuer: true,
            require_audience: true,
            ..JwtRules::default()
        });
        let verifier = verifier.map_err(AuthSetupError::Rules)?;
        let keys = IssuerKeys::start(verifier, config.timeout, config.jwks_ttl, clock).await?;
        let (policy, life) = (config.policy.as_deref(), config.claim_cache_ttl);
        Self::with(AuthMethod::Oidc, Keys::Issuers(keys), policy, life, clock)
    }

    pub(super) async fn spire(config: &SpireConfig, clock: Clock) -> Result<Self, AuthSetupError> {
        let keys = Keys::Svids(SvidKeys::start(config, clock).await?);
        Self::with(AuthMethod::Spire, keys, None, Duration::ZERO, clock)
    }

    fn with(
        method: AuthMethod,
        keys: Keys,
        policy: Option<&str>,
        verdict_life: Duration,
        clock: Clock,
    ) -> Result<Self, AuthSetupError> {
        Ok(Self {
            method,
            keys,
            policy: policy.map(ClaimPolicy::compile).transpose()?,
            verdicts: Mutex::new(LinkVerdicts::new(verdict_life, os_seed())),
            clock,
        })
    }

    pub(super) fn method(&self) -> AuthMethod {
        self.method
    }

    pub(super) async fn judge(
        &self,
        authorization: Option<&HeaderValue>,
    ) -> Result<(LinkIdentity, Option<UnixTime>), Reason> {
        let token = credential(authorization, "Bearer")?;
        let claims = self.verify(token).await.map_err(Reason::Token)?;
        let identity = LinkIdentity {
            subject: claims.subject.clone(),
            issuer: claims.issuer.clone(),
            method: self.method,
            claims: Value::Object(claims.claims.clone()),
        };
        if let Some(policy) = &self.policy {
            match policy.evaluate_for(&identity) {
                Ok(true) => {}
                Ok(false) => return Err(Reason::Policy),
                Err(error) => return Err(Reason::PolicyFailed(error)),
            }
        }
        Ok((identity, Some(claims.expires_at)))
    }

    async fn verify(&self, token: &str) -> Result<Arc<LinkClaims>, IdentityError> {
        let remembered = self.verdicts().find(token, self.clock.now());
        if let Some(claims) = remembered {
            return Ok(claims);
        }
        let verified = match &self.keys {
            Keys::Fixed(verifier) => verifier.verify(token, self.clock.now().unix),
            Keys::File(keys) => keys.verifier().await.verify(token, self.clock.now().unix),
            Keys::Issuers(keys) => keys.verify(token).await,
            Keys::Svids(keys) => keys.verify(token),
        };
        let claims = Arc::new(verified?);
        self.verdicts()
            .insert(token, Arc::clone(&claims), self.clock.now());
        Ok(claims)
    }

    fn verdicts(&self) -> std::sync::MutexGuard<'_, LinkVerdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
