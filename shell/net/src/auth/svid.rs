//! JWT-SVIDs on links (wire-routing A12): a dialler shows one of the local SPIRE agent, a listener checks it with the
//! agent's bundles.

use slim_auth::{IdentityError, LinkClaims, LinkVerifier};
use slim_config::SpireConfig;
use slim_spiffe::{BundleSource, SpiffeError, TokenSource};
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::clock::Clock;

/// Tokens for the dials of one link. Nothing is asked before the first dial; from then on the token is kept fresh.
pub(super) struct SvidTokens {
    config: SpireConfig,
    source: OnceCell<TokenSource>,
}

impl SvidTokens {
    pub(super) fn new(config: SpireConfig) -> Self {
        Self {
            config,
            source: OnceCell::new(),
        }
    }

    /// The token of now. Without an agent there is none, and the next dial asks again.
    pub(super) async fn token(&self) -> Result<Zeroizing<String>, SpiffeError> {
        let start = || TokenSource::of(&self.config, &[]);
        let source = self.source.get_or_try_init(start).await?;
        Ok(Zeroizing::new(source.newest().token().to_owned()))
    }
}

/// Bundles of the trust domains that a listener believes.
pub(super) struct SvidKeys {
    source: BundleSource,
    audiences: Vec<String>,
    clock: Clock,
}

impl SvidKeys {
    /// Asks the agent; a listener that can check nobody does not start.
    pub(super) async fn start(config: &SpireConfig, clock: Clock) -> Result<Self, SpiffeError> {
        Ok(Self {
            source: BundleSource::of(config).await?,
            audiences: config.jwt_audiences.clone(),
            clock,
        })
    }

    /// Judges a token with the bundles of now. The agent says by itself when they change, so there is nothing to ask.
    pub(super) fn verify(&self, token: &str) -> Result<LinkClaims, IdentityError> {
        let verifier = LinkVerifier::spiffe(self.source.newest(), self.audiences.clone());
        verifier.verify(token, self.clock.now().unix)
    }
}
