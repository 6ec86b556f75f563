//! The keys of JWT-SVIDs, always the newest.

use std::fmt;

use slim_auth::{JwtBundles, TrustDomain};
use slim_config::SpireConfig;
use tokio::sync::watch;

use crate::address::target;
use crate::error::SpiffeError;
use crate::keeper::{Keeper, Outage};
use crate::workload_api::{JwtBundleStream, WorkloadApi};

/// Keeps the bundles of the trust domains that are believed. The agent says when they change.
pub struct BundleSource(Keeper<JwtBundles>);

impl BundleSource {
    /// Bundles of the configured trust domains, or of that of the own identity: then a token is fetched to know it.
    pub async fn of(config: &SpireConfig) -> Result<Self, SpiffeError> {
        let api = WorkloadApi::of(config)?;
        let trust_domains = if config.trust_domains.is_empty() {
            let id = target(config)?;
            let own = api.fetch_jwt_svid(&config.jwt_audiences, id.as_ref()).await?;
            vec![own.id.trust_domain().clone()]
        } else {
            trust_domains(config)?
        };
        Self::start(api, trust_domains).await
    }

    /// Fetches the first bundles; one of each trust domain must be there. Belongs to the current runtime.
    pub async fn start(api: WorkloadApi, trust_domains: Vec<TrustDomain>) -> Result<Self, SpiffeError> {
        let (all, stream) = api.jwt_bundles().await?;
        let first = all.only(&trust_domains);
        for wanted in &trust_domains {
            if !first.trust_domains().any(|present| present == wanted) {
                return Err(SpiffeError::NoBundle(wanted.clone()));
            }
        }
        Ok(Self(Keeper::start(first, |values| {
            follow(api, stream, trust_domains, values)
        })))
    }

    /// The bundles of now. When the agent is lost they stay what they were: a restart of the agent ends nothing.
    pub fn newest(&self) -> JwtBundles {
        self.0.newest()
    }

    /// The bundles of now and all that follow.
    pub fn subscribe(&self) -> watch::Receiver<JwtBundles> {
        self.0.subscribe()
    }
}

async fn follow(
    api: WorkloadApi,
    mut stream: JwtBundleStream,
    trust_domains: Vec<TrustDomain>,
    values: watch::Sender<JwtBundles>,
) {
    let mut outage = Outage::new("JWT bundles");
    loop {
        let lost = match stream.next().await {
            Ok(bundles) => {
                values.send_replace(bundles.only(&trust_domains));
                continue;
            }
            Err(error) => error,
        };
        outage.wait(&lost).await;
        stream = loop {
            match api.jwt_bundles().await {
                Ok((bundles, stream)) => {
                    values.send_replace(bundles.only(&trust_domains));
                    break stream;
                }
                Err(error) => outage.wait(&error).await,
            }
        };
        outage.over();
    }
}

/// The configured trust domains; none means that of the own identity.
pub fn trust_domains(config: &SpireConfig) -> Result<Vec<TrustDomain>, SpiffeError> {
    let parse = |text: &String| {
        text.parse().map_err(|error| SpiffeError::Configured {
            key: "trust_domains",
            text: text.clone(),
            error,
        })
    };
    config.trust_domains.iter().map(parse).collect()
}

impl fmt::Debug for BundleSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BundleSource").field(&self.newest()).finish()
    }
}
