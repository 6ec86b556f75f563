//! An X.509-SVID and the CAs of all trust domains, always the newest.

use std::fmt;
use std::sync::Arc;

use slim_auth::SpiffeId;
use slim_config::SpireConfig;
use tokio::sync::watch;

use crate::address::target;
use crate::error::SpiffeError;
use crate::keeper::{Keeper, Outage};
use crate::workload_api::{WorkloadApi, X509Stream};
use crate::x509::Certificates;

/// Keeps the certificates of one identity. The agent renews them long before they expire, and says so.
pub struct X509Source(Keeper<Arc<Certificates>>);

impl X509Source {
    /// Certificates of the configured identity.
    pub async fn of(config: &SpireConfig) -> Result<Self, SpiffeError> {
        Self::start(WorkloadApi::of(config)?, target(config)?).await
    }

    /// Fetches the first certificates; without them there is no source. Belongs to the current runtime.
    pub async fn start(api: WorkloadApi, id: Option<SpiffeId>) -> Result<Self, SpiffeError> {
        let (first, stream) = api.x509_svids(id).await?;
        // Whoever was first stays it: the agent may be given more identities for this process.
        let id = first.svid.id.clone();
        Ok(Self(Keeper::start(Arc::new(first), |values| {
            follow(api, stream, id, values)
        })))
    }

    /// The certificates of now. During an outage of the agent they may have expired.
    pub fn newest(&self) -> Arc<Certificates> {
        self.0.newest()
    }

    /// The certificates of now and all that follow.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Certificates>> {
        self.0.subscribe()
    }
}

async fn follow(
    api: WorkloadApi,
    mut stream: X509Stream,
    id: SpiffeId,
    values: watch::Sender<Arc<Certificates>>,
) {
    let mut outage = Outage::new("X.509-SVID");
    loop {
        let lost = match stream.next().await {
            Ok(certificates) => {
                // The stream was opened for the first identity, which may not be the first any more.
                if certificates.svid.id == id {
                    values.send_replace(Arc::new(certificates));
                    continue;
                }
                SpiffeError::NotIssued {
                    wanted: id.clone(),
                    issued: vec![certificates.svid.id.to_string()],
                }
            }
            Err(error) => error,
        };
        outage.wait(&lost).await;
        stream = loop {
            match api.x509_svids(Some(id.clone())).await {
                Ok((certificates, stream)) => {
                    values.send_replace(Arc::new(certificates));
                    break stream;
                }
                Err(error) => outage.wait(&error).await,
            }
        };
        outage.over();
    }
}

impl fmt::Debug for X509Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("X509Source").field(&self.newest()).finish()
    }
}
