//! The calls of the Workload API, from and to values that mean something.

use std::collections::BTreeMap;

use slim_auth::{JwtBundles, KeySet, SpiffeId, TrustDomain, read_svid};
use slim_config::SpireConfig;

use crate::address::WorkloadAddress;
use crate::call::{self, Answers};
use crate::error::SpiffeError;
use crate::token_source::Svid;
use crate::wire::{Empty, JwtBundlesResponse, JwtSvidRequest, JwtSvidResponse, X509SvidResponse};
use crate::x509::Certificates;

const JWT_SVID: &str = "FetchJWTSVID";
const JWT_BUNDLES: &str = "FetchJWTBundles";
const X509_SVID: &str = "FetchX509SVID";

/// A client of one agent. Clones are the same client; each call has a connection of its own.
#[derive(Clone, Debug)]
pub struct WorkloadApi {
    address: WorkloadAddress,
}

impl WorkloadApi {
    /// Nothing is asked before the first call.
    pub fn new(address: WorkloadAddress) -> Self {
        Self { address }
    }

    /// The configured agent.
    pub fn of(config: &SpireConfig) -> Result<Self, SpiffeError> {
        Ok(Self::new(WorkloadAddress::of(config)?))
    }

    /// A token for these audiences, of the identity `id` or of the agent's first.
    pub async fn fetch_jwt_svid(
        &self,
        audiences: &[String],
        id: Option<&SpiffeId>,
    ) -> Result<Svid, SpiffeError> {
        let request = JwtSvidRequest {
            audience: audiences.to_vec(),
            spiffe_id: id.map(ToString::to_string).unwrap_or_default(),
        };
        let answer: JwtSvidResponse = call::unary(self.address.path(), JWT_SVID, &request).await?;
        let mut svids = Vec::new();
        for message in answer.svids {
            let claims = read_svid(&message.svid).map_err(SpiffeError::Token)?;
            svids.push(Svid::new(message.svid, claims));
        }
        choose(svids, id, |svid| &svid.id)
    }

    /// The keys that JWT-SVIDs are checked with, now and whenever they change.
    pub async fn jwt_bundles(&self) -> Result<(JwtBundles, JwtBundleStream), SpiffeError> {
        let (first, answers) = call::stream(self.address.path(), JWT_BUNDLES, &Empty {}).await?;
        Ok((jwt_bundles(&first)?, JwtBundleStream(answers)))
    }

    /// The caller's certificates, now and whenever they change. See [`fetch_jwt_svid`](Self::fetch_jwt_svid) for `id`.
    pub async fn x509_svids(&self, id: Option<SpiffeId>) -> Result<(Certificates, X509Stream), SpiffeError> {
        let (first, answers) = call::stream(self.address.path(), X509_SVID, &Empty {}).await?;
        Ok((certificates(first, id.as_ref())?, X509Stream { answers, id }))
    }
}

/// Changes of JWT bundles.
pub struct JwtBundleStream(Answers<JwtBundlesResponse>);

impl JwtBundleStream {
    /// All bundles, after the next change.
    pub async fn next(&mut self) -> Result<JwtBundles, SpiffeError> {
        jwt_bundles(&self.0.next().await?)
    }
}

/// Changes of certificates.
pub struct X509Stream {
    answers: Answers<X509SvidResponse>,
    id: Option<SpiffeId>,
}

impl X509Stream {
    /// The caller's certificates, after the next change.
    pub async fn next(&mut self) -> Result<Certificates, SpiffeError> {
        certificates(self.answers.next().await?, self.id.as_ref())
    }
}

/// A bundle that cannot be read costs its trust domain, not the others: anybody who is federated with could else take
/// away everybody's keys.
fn jwt_bundles(answer: &JwtBundlesResponse) -> Result<JwtBundles, SpiffeError> {
    let mut bundles: BTreeMap<TrustDomain, KeySet> = BTreeMap::new();
    for (name, document) in &answer.bundles {
        let read = name
            .parse()
            .map_err(SpiffeError::Id)
            .and_then(|trust_domain: TrustDomain| {
                let keys = KeySet::from_jwt_bundle(&String::from_utf8_lossy(document));
                match keys {
                    Ok(keys) => Ok((trust_domain, keys)),
                    Err(error) => Err(SpiffeError::Bundle { trust_domain, error }),
                }
            });
        match read {
            Ok((trust_domain, keys)) => {
                bundles.insert(trust_domain, keys);
            }
            Err(error) => tracing::warn!(%error, "a JWT bundle is left out"),
        }
    }
    JwtBundles::new(bundles).map_err(SpiffeError::Token)
}

fn certificates(answer: X509SvidResponse, id: Option<&SpiffeId>) -> Result<Certificates, SpiffeError> {
    let (svids, federated) = crate::x509::read(answer)?;
    let svid = choose(svids, id, |svid| &svid.id)?;
    Ok(Certificates::new(svid, federated))
}

/// The wanted identity, or the first.
fn choose<T>(
    issued: Vec<T>,
    id: Option<&SpiffeId>,
    id_of: impl Fn(&T) -> &SpiffeId,
) -> Result<T, SpiffeError> {
    let Some(wanted) = id else {
        return issued.into_iter().next().ok_or_else(|| SpiffeError::NoIdentity {
            message: "its answer is empty".to_owned(),
        });
    };
    let names = issued.iter().map(|svid| id_of(svid).to_string()).collect();
    issued
        .into_iter()
        .find(|svid| id_of(svid) == wanted)
        .ok_or_else(|| SpiffeError::NotIssued {
            wanted: wanted.clone(),
            issued: names,
        })
}
