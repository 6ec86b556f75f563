//! From handshake secrets to the key of the header MAC (wire-routing A5.1).

use std::fmt;

use slim_crypto::{AgreementError, EphemeralKey};
use slim_crypto::{HmacKey, hkdf_sha256};

/// Info string of the classical derivation.
const INFO_CLASSICAL: &[u8] = b"SLIM-DP-inter-node-hmac-v1";
/// Info string of the hybrid derivation.
const INFO_HYBRID: &[u8] = b"SLIM-DP-inter-node-hmac-v1-pq";

/// The header MAC key of one link, the same in both directions.
#[derive(Clone)]
pub struct MacKey(HmacKey);

impl MacKey {
    /// A key of these bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(HmacKey::new(bytes))
    }

    /// Agrees on a key with the owner of `peer_public`. Fails if that key contributes nothing.
    pub fn agree(own: EphemeralKey, peer_public: &[u8], link_id: &str) -> Result<Self, AgreementError> {
        Ok(Self::new(&derive(&own.agree(peer_public)?, link_id)))
    }

    /// Like [`agree`](Self::agree), with the secret of a key encapsulation beside it: both must be known to know
    /// the key.
    pub fn agree_hybrid(
        own: EphemeralKey,
        peer_public: &[u8],
        kem_secret: &[u8; 32],
        link_id: &str,
    ) -> Result<Self, AgreementError> {
        Ok(Self::new(&derive_hybrid(
            &own.agree(peer_public)?,
            kem_secret,
            link_id,
        )))
    }

    pub(crate) fn sign(&self, preimage: &[u8]) -> [u8; 32] {
        self.0.sign(preimage)
    }

    /// Compares in constant time.
    pub(crate) fn verify(&self, preimage: &[u8], tag: &[u8]) -> bool {
        self.0.verify(preimage, tag)
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey([redacted])")
    }
}

/// The link id is the salt as text, not as UUID bytes (wire-routing C43).
fn derive(shared_secret: &[u8; 32], link_id: &str) -> [u8; 32] {
    hkdf_sha256(shared_secret, link_id.as_bytes(), INFO_CLASSICAL)
}

/// X25519's secret first.
fn derive_hybrid(shared_secret: &[u8; 32], kem_secret: &[u8; 32], link_id: &str) -> [u8; 32] {
    let secrets = [*shared_secret, *kem_secret].concat();
    hkdf_sha256(&secrets, link_id.as_bytes(), INFO_HYBRID)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header_mac::vector;

    #[test]
    fn keys_match_the_vectors_of_part_d() {
        let dialer: [u8; 32] = std::array::from_fn(|index| index as u8 + 1);
        let acceptor: [u8; 32] = std::array::from_fn(|index| index as u8 + 0x21);
        let dialer_public = EphemeralKey::from_private(&dialer).public();
        let acceptor_public = EphemeralKey::from_private(&acceptor).public();
        let expected = vector::unhex("522f3caf1d201db029a8fc33cc0fa00315c52210c18bb0bc37e06a2c6be1dae8");
        for (own, peer_public) in [(dialer, acceptor_public), (acceptor, dialer_public)] {
            let secret = EphemeralKey::from_private(&own).agree(&peer_public).unwrap();
            assert_eq!(derive(&secret, vector::LINK_ID).to_vec(), expected);
        }
    }

    #[test]
    fn hybrid_keys_match_the_vector_of_part_d() {
        let dialer: [u8; 32] = std::array::from_fn(|index| index as u8 + 1);
        let acceptor: [u8; 32] = std::array::from_fn(|index| index as u8 + 0x21);
        let kem_secret: [u8; 32] = std::array::from_fn(|index| index as u8 + 0x40);
        let public = EphemeralKey::from_private(&acceptor).public();
        let secret = EphemeralKey::from_private(&dialer).agree(&public).unwrap();
        let expected = vector::unhex("cfb7b7456cf8e09b0ae83d4361047995b35b414ec49e6c53cf892b9334137dd0");
        assert_eq!(
            derive_hybrid(&secret, &kem_secret, vector::LINK_ID).to_vec(),
            expected
        );
    }

    #[test]
    fn a_key_that_contributes_nothing_is_refused() {
        assert!(MacKey::agree(EphemeralKey::from_private(&[7; 32]), &[0; 32], "x").is_err());
        assert!(MacKey::agree(EphemeralKey::from_private(&[7; 32]), &[9; 31], "x").is_err());
    }

    #[test]
    fn debug_does_not_show_the_key() {
        assert_eq!(format!("{:?}", MacKey::new(&[7; 32])), "MacKey([redacted])");
    }
}
