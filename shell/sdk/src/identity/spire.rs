//! Identities of the local SPIRE agent: fetched before the application starts, and kept fresh while it runs
//! (wire-session §1.6).

use std::sync::Weak;
use std::time::Duration;

use slim_auth::{Identity, Verifier, claims_audience};
use slim_config::SpireConfig;
use slim_crypto::SignatureKind;
use slim_spiffe::{BundleSource, SpiffeError, TokenSource};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::provider::{IdentityProvider, fresh_key};
use super::source::IdentitySetupError;
use super::verifier::IdentityVerifier;
use crate::app::AppHandle;
use crate::error::Error;

/// How often it is looked whether the application still exists.
const INTERVAL: Duration = Duration::from_secs(1);

/// What the agent gives to one application: nothing, if its settings ask for nothing.
#[derive(Default)]
pub(crate) struct FromAgent {
    own: Option<Own>,
    others: Option<Others>,
}

struct Own {
    identity: Identity,
    tokens: TokenSource,
}

struct Others {
    verifier: Verifier,
    bundles: BundleSource,
}

impl FromAgent {
    /// Asks the agent for what the settings say, on the service's runtime, which then keeps it fresh.
    pub(crate) async fn fetch(
        runtime: &Handle,
        provider: &IdentityProvider,
        verifier: &IdentityVerifier,
        kind: SignatureKind,
    ) -> Result<Self, IdentitySetupError> {
        let own = match provider {
            IdentityProvider::Spire(config) => Some(config.clone()),
            IdentityProvider::SharedSecret { .. }
            | IdentityProvider::Jwt(_)
            | IdentityProvider::StaticJwt { .. } => None,
        };
        let others = match verifier {
            IdentityVerifier::Spire(config) => Some(config.clone()),
            IdentityVerifier::SharedSecret { .. } | IdentityVerifier::Jwt(_) => None,
        };
        if own.is_none() && others.is_none() {
            return Ok(Self::default());
        }
        let fetched = runtime.spawn(async move {
            let own = match own {
                Some(config) => Some(Own::fetch(&config, kind).await?),
                None => None,
            };
            let others = match others {
                Some(config) => Some(Others::fetch(&config).await?),
                None => None,
            };
            Ok(Self { own, others })
        });
        fetched.await.unwrap_or(Err(IdentitySetupError::Stopping))
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.own.as_ref().map(|own| own.identity.clone())
    }

    pub(crate) fn verifier(&self) -> Option<Verifier> {
        self.others.as_ref().map(|others| others.verifier.clone())
    }

    /// Hands everything newer to the application until that is gone.
    pub(crate) fn follow(self, runtime: &Handle, app: &Weak<AppHandle>) {
        if let Some(own) = self.own {
            runtime.spawn(own.follow(app.clone()));
        }
        if let Some(others) = self.others {
            runtime.spawn(others.follow(app.clone()));
        }
    }
}

impl Own {
    async fn fetch(config: &SpireConfig, kind: SignatureKind) -> Result<Self, IdentitySetupError> {
        let key = fresh_key(kind);
        let audience = claims_audience(key.public_key());
        let tokens = TokenSource::of(config, &[audience]).await?;
        Ok(Self {
            identity: Identity::spiffe(tokens.newest().token(), key)?,
            tokens,
        })
    }

    async fn follow(mut self, app: Weak<AppHandle>) {
        let mut tokens = self.tokens.subscribe();
        loop {
            tokio::select! {
                changed = tokens.changed() => if changed.is_err() { return },
                () = sleep(INTERVAL) => {
                    if app.strong_count() == 0 { return }
                    continue;
                }
            }
            let svid = tokens.borrow_and_update().clone();
            let Some(app) = app.upgrade() else { return };
            let renewed = match self.identity.with_token(svid.token()) {
                Ok(renewed) => renewed,
                Err(error) => {
                    tracing::warn!(%error, "the new JWT-SVID is not used");
                    continue;
                }
            };
            match app.use_identity(renewed.clone()).await {
                Ok(()) => self.identity = renewed,
                Err(Error::Closed) => return,
                Err(error) => tracing::warn!(%error, "the new JWT-SVID is not used"),
            }
        }
    }
}

impl Others {
    async fn fetch(config: &SpireConfig) -> Result<Self, IdentitySetupError> {
        let bundles = BundleSource::of(config).await?;
        Ok(Self {
            verifier: Verifier::spiffe(bundles.newest(), config.jwt_audiences.clone()),
            bundles,
        })
    }

    async fn follow(self, app: Weak<AppHandle>) {
        let mut bundles = self.bundles.subscribe();
        loop {
            tokio::select! {
                changed = bundles.changed() => if changed.is_err() { return },
                () = sleep(INTERVAL) => {
                    if app.strong_count() == 0 { return }
                    continue;
                }
            }
            let newest = bundles.borrow_and_update().clone();
            let Some(app) = app.upgrade() else { return };
            let Ok(verifier) = self.verifier.with_bundles(newest) else {
                return;
            };
            if matches!(app.use_verifier(verifier).await, Err(Error::Closed)) {
                return;
            }
        }
    }
}

impl From<SpiffeError> for IdentitySetupError {
    fn from(error: SpiffeError) -> Self {
        Self::Spiffe(Box::new(error))
    }
}
