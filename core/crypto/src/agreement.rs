//! X25519 key agreement for link handshakes (RFC 7748).

use std::fmt;

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};

/// Length of X25519 keys and of the agreed secret.
const KEY_BYTES: usize = 32;

/// A private key that is used for one agreement; [`agree`](Self::agree) consumes it.
pub struct EphemeralKey {
    private: PrivateKey,
    public: [u8; KEY_BYTES],
}

/// Why a peer's key gives no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgreementError {
    /// Not a 32-byte key.
    #[error("a public key has {0} bytes; X25519 needs {KEY_BYTES}")]
    Length(usize),
    /// The key is of small order: the result would be the same for everyone.
    #[error("the public key does not contribute to the secret")]
    NonContributory,
}

impl EphemeralKey {
    /// A fresh key from the system's randomness.
    pub fn generate() -> Self {
        let private = PrivateKey::generate(&X25519).expect("X25519 keys need nothing but randomness");
        Self::from_key(private)
    }

    /// A key from its 32 private bytes; for test vectors and for keys that the caller drew itself.
    pub fn from_private(private: &[u8; 32]) -> Self {
        let private =
            PrivateKey::from_private_key(&X25519, private).expect("any 32 bytes are an X25519 private key");
        Self::from_key(private)
    }

    fn from_key(private: PrivateKey) -> Self {
        let mut public = [0; KEY_BYTES];
        let computed = private
            .compute_public_key()
            .expect("a private key has a public key");
        // X25519 public keys have exactly this length.
        public.copy_from_slice(computed.as_ref());
        Self { private, public }
    }

    /// The public half, to be sent to the peer.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// The raw shared secret with a peer's public key; feed it to a KDF, never use it as a key itself.
    pub fn agree(self, peer_public: &[u8]) -> Result<[u8; 32], AgreementError> {
        if peer_public.len() != KEY_BYTES {
            return Err(AgreementError::Length(peer_public.len()));
        }
        let mut secret = [0; KEY_BYTES];
        agreement::agree(
            &self.private,
            UnparsedPublicKey::new(&X25519, peer_public),
            AgreementError::NonContributory,
            |agreed| {
                secret.copy_from_slice(agreed);
                Ok(())
            },
        )?;
        Ok(secret)
    }
}

impl fmt::Debug for EphemeralKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EphemeralKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hex: &str) -> [u8; 32] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap())
    }

    #[test]
    fn agreement_matches_rfc_7748_section_6_1() {
        let alice = EphemeralKey::from_private(&key(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        ));
        let bob = EphemeralKey::from_private(&key(
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ));
        let alice_public = key("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let bob_public = key("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let secret = key("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(alice.public(), alice_public);
        assert_eq!(bob.public(), bob_public);
        assert_eq!(alice.agree(&bob_public), Ok(secret));
        assert_eq!(bob.agree(&alice_public), Ok(secret));
    }

    #[test]
    fn fresh_keys_agree_and_differ() {
        let (one, other) = (EphemeralKey::generate(), EphemeralKey::generate());
        let (one_public, other_public) = (one.public(), other.public());
        assert_ne!(one_public, other_public);
        assert_eq!(
            one.agree(&other_public).unwrap(),
            other.agree(&one_public).unwrap()
        );
    }

    #[test]
    fn keys_of_small_order_and_of_wrong_length_are_refused() {
        // The points 0, 1 and p-1, and one of order 8 (RFC 7748 §6.1 asks for the check; the points are well known).
        let one = key("0100000000000000000000000000000000000000000000000000000000000000");
        let minus_one = key("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f");
        let order_8 = key("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
        for point in [[0; 32], one, minus_one, order_8] {
            assert_eq!(
                EphemeralKey::generate().agree(&point),
                Err(AgreementError::NonContributory)
            );
        }
        for length in [0, 31, 33] {
            assert_eq!(
                EphemeralKey::generate().agree(&vec![9; length]),
                Err(AgreementError::Length(length))
            );
        }
    }
}
