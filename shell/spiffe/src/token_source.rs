//! A JWT-SVID that is always fresh.

use std::fmt;

use slim_auth::{SpiffeId, SvidClaims};
use slim_config::SpireConfig;
use slim_proto::UnixTime;
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::address::target;
use crate::error::SpiffeError;
use crate::keeper::{Keeper, Outage, unix_time};
use crate::schedule::use_time;
use crate::workload_api::WorkloadApi;

/// One identity as token. Prints without the token.
#[derive(Clone)]
pub struct Svid {
    /// Whose it is.
    pub id: SpiffeId,
    /// When it was made.
    pub issued_at: UnixTime,
    /// The last second of its life.
    pub expires_at: UnixTime,
    token: Zeroizing<String>,
}

impl Svid {
    pub(crate) fn new(token: String, claims: SvidClaims) -> Self {
        Self {
            id: claims.id,
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            token: Zeroizing::new(token),
        }
    }

    /// The token.
    pub fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Keeps a JWT-SVID for fixed audiences: a new one is fetched when two thirds of its life are over.
pub struct TokenSource(Keeper<Svid>);

impl TokenSource {
    /// Tokens of the configured identity for the configured audiences and these further ones.
    pub async fn of(config: &SpireConfig, further: &[String]) -> Result<Self, SpiffeError> {
        let audiences = [&config.jwt_audiences, further].concat();
        Self::start(WorkloadApi::of(config)?, audiences, target(config)?).await
    }

    /// Fetches the first token; without one there is no source. Belongs to the current runtime.
    pub async fn start(
        api: WorkloadApi,
        audiences: Vec<String>,
        id: Option<SpiffeId>,
    ) -> Result<Self, SpiffeError> {
        let first = api.fetch_jwt_svid(&audiences, id.as_ref()).await?;
        // Whoever was first stays it: the agent may be given more identities for this process.
        let id = first.id.clone();
        let mut current = first.clone();
        Ok(Self(Keeper::start(first, |values| async move {
            let mut outage = Outage::new("JWT-SVID");
            loop {
                let wait = use_time(unix_time(), current.issued_at, current.expires_at);
                tokio::time::sleep(wait).await;
                current = loop {
                    match api.fetch_jwt_svid(&audiences, Some(&id)).await {
                        Ok(svid) => break svid,
                        Err(error) => outage.wait(&error).await,
                    }
                };
                outage.over();
                values.send_replace(current.clone());
            }
        })))
    }

    /// The token of now. During an outage of the agent it may have expired.
    pub fn newest(&self) -> Svid {
        self.0.newest()
    }

    /// The token of now and all that follow.
    pub fn subscribe(&self) -> watch::Receiver<Svid> {
        self.0.subscribe()
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TokenSource").field(&self.newest()).finish()
    }
}
