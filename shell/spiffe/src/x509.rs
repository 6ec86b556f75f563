//! X.509-SVIDs as the agent gives them: DER certificates, one after the other (X.509-SVID, SPIFFE Workload API §5.2).
//!
//! They are cut apart here and judged where a handshake uses them.

use std::collections::BTreeMap;
use std::fmt;

use slim_auth::{IdentityError, SpiffeId, TrustDomain};
use slim_proto::limits::SPIFFE_TRUST_DOMAINS_MAX;
use zeroize::Zeroizing;

use crate::error::SpiffeError;
use crate::wire::X509SvidResponse;

/// One identity as certificate.
#[derive(Clone)]
pub struct X509Svid {
    /// Whose it is.
    pub id: SpiffeId,
    /// The certificate and what leads from it to the CA, each in DER.
    pub chain: Vec<Vec<u8>>,
    /// The private key, PKCS #8 in DER.
    pub key: Zeroizing<Vec<u8>>,
    /// CAs of its own trust domain.
    bundle: Vec<Vec<u8>>,
}

/// What a handshake needs: an own certificate, and the CAs of all trust domains.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The own one.
    pub svid: X509Svid,
    /// CAs by trust domain, each in DER. Those of one domain vouch for its own ids only.
    pub bundles: BTreeMap<TrustDomain, Vec<Vec<u8>>>,
}

impl Certificates {
    pub(crate) fn new(mut svid: X509Svid, federated: BTreeMap<TrustDomain, Vec<Vec<u8>>>) -> Self {
        let mut bundles = federated;
        // The own domain's CAs are the agent's word, whatever a federated domain calls itself.
        bundles.insert(svid.id.trust_domain().clone(), std::mem::take(&mut svid.bundle));
        Self { svid, bundles }
    }
}

type Bundles = BTreeMap<TrustDomain, Vec<Vec<u8>>>;

pub(crate) fn read(answer: X509SvidResponse) -> Result<(Vec<X509Svid>, Bundles), SpiffeError> {
    let mut svids = Vec::new();
    for mut message in answer.svids {
        let key = Zeroizing::new(std::mem::take(&mut message.x509_svid_key));
        let damaged = |problem| SpiffeError::Certificates {
            id: message.spiffe_id.clone(),
            problem,
        };
        let chain = split(&message.x509_svid).ok_or_else(|| damaged("the chain is no DER"))?;
        let bundle = split(&message.bundle).ok_or_else(|| damaged("the bundle is no DER"))?;
        if chain.is_empty() || bundle.is_empty() || key.is_empty() {
            return Err(damaged("chain, bundle or key is missing"));
        }
        svids.push(X509Svid {
            id: message.spiffe_id.parse().map_err(SpiffeError::Id)?,
            chain,
            key,
            bundle,
        });
    }
    if answer.federated_bundles.len() >= SPIFFE_TRUST_DOMAINS_MAX {
        let count = answer.federated_bundles.len();
        return Err(SpiffeError::Token(IdentityError::TooManyTrustDomains(count)));
    }
    let mut federated = BTreeMap::new();
    for (name, bytes) in &answer.federated_bundles {
        // What is wrong with somebody else's bundle costs their trust only.
        match (name.parse(), split(bytes)) {
            (Ok(trust_domain), Some(bundle)) => {
                federated.insert(trust_domain, bundle);
            }
            (Err(_), _) | (_, None) => tracing::warn!(trust_domain = %name, "a damaged bundle is left out"),
        }
    }
    Ok((svids, federated))
}

/// Cuts DER elements apart by their lengths (X.690 §8.1.3, definite form).
fn split(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut elements = Vec::new();
    while !bytes.is_empty() {
        let (first, after) = match bytes {
            // A certificate is a SEQUENCE.
            [0x30, first, after @ ..] => (*first, after),
            _ => return None,
        };
        let (length, header) = match first {
            0..=0x7F => (usize::from(first), 2),
            0x81..=0x83 => {
                let digits = usize::from(first - 0x80);
                let length = after.get(..digits)?;
                let length = length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
                (length, 2 + digits)
            }
            _ => return None,
        };
        let (element, rest) = bytes.split_at_checked(header + length)?;
        elements.push(element.to_vec());
        bytes = rest;
    }
    Some(elements)
}

impl fmt::Debug for X509Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Svid")
            .field("id", &self.id)
            .field("chain", &self.chain.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_are_cut_apart_by_their_lengths() {
        let short = [0x30, 2, 1, 2];
        let mut long = vec![0x30, 0x82, 1, 0];
        long.extend([7; 256]);
        let both = [&short[..], &long].concat();
        assert_eq!(split(&both).unwrap(), [short.to_vec(), long.clone()]);
        assert_eq!(split(&[]).unwrap(), Vec::<Vec<u8>>::new());
        for broken in [
            &both[..both.len() - 1],
            &[0x31, 0],
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0x84, 0, 0, 0, 1, 9],
            &[0x30, 0x81],
        ] {
            assert!(split(broken).is_none(), "{broken:?}");
        }
    }
}
