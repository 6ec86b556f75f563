//! Signatures: ECDSA P-256 with SHA-256, and Ed25519 for groups with post-quantum encryption (wire-session §1.1,
//! §2.1, §3.1).

use std::fmt;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, UnparsedPublicKey,
};
use zeroize::Zeroizing;

use crate::jwa::{Algorithm, TokenKeyError, pem};

/// A signature key pair.
pub struct SigningKey(Pair);

enum Pair {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// What a key signs with. It also decides the MLS suite of its owner's groups (wire-session §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureKind {
    /// ECDSA on P-256 with SHA-256.
    P256,
    /// Ed25519.
    Ed25519,
}

/// Why a signature is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The length of the public key belongs to no algorithm that the protocol knows.
    #[error("a public key of {0} bytes is neither Ed25519 (32) nor P-256 (33 or 65)")]
    UnknownKey(usize),
    /// The signature does not fit message and key, or the key is not a point of its curve.
    #[error("the signature does not verify")]
    Invalid,
}

impl SigningKey {
    /// A fresh key from the system's randomness.
    pub fn generate_p256() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .expect("P-256 keys need nothing but randomness");
        Self(Pair::P256(pair))
    }

    /// A fresh Ed25519 key from the system's randomness.
    pub fn generate_ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().expect("Ed25519 keys need nothing but randomness");
        Self(Pair::Ed25519(pair))
    }

    /// Reads a P-256 private key from a PEM text (PKCS#8 or SEC1, not encrypted).
    pub fn from_pem_p256(text: &str) -> Result<Self, TokenKeyError> {
        let section = pem::read(text)?;
        EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, &section.der)
            .map(|pair| Self(Pair::P256(pair)))
            .map_err(|_| TokenKeyError::Rejected {
                algorithm: Algorithm::Es256,
            })
    }

    /// What the key signs with.
    pub fn kind(&self) -> SignatureKind {
        match &self.0 {
            Pair::P256(_) => SignatureKind::P256,
            Pair::Ed25519(_) => SignatureKind::Ed25519,
        }
    }

    /// The public key: an uncompressed SEC1 point of 65 bytes, or the 32 bytes of Ed25519.
    pub fn public_key(&self) -> &[u8] {
        match &self.0 {
            Pair::P256(pair) => pair.public_key().as_ref(),
            Pair::Ed25519(pair) => pair.public_key().as_ref(),
        }
    }

    /// The private key, wiped when dropped: a P-256 scalar of 32 bytes, big-endian with leading zeros; or the 32
    /// bytes of an Ed25519 seed and the public key after them.
    ///
    /// Only the MLS library needs it, because it signs leaves itself.
    pub fn secret_bytes(&self) -> Zeroizing<Vec<u8>> {
        const CAN_BE_ENCODED: &str = "a private key that exists can be encoded";
        match &self.0 {
            Pair::P256(pair) => {
                let scalar = pair.private_key().as_be_bytes().expect(CAN_BE_ENCODED);
                Zeroizing::new(scalar.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => {
                let seed = pair.seed().and_then(|seed| seed.as_be_bytes());
                let seed = seed.expect(CAN_BE_ENCODED);
                Zeroizing::new([seed.as_ref(), pair.public_key().as_ref()].concat())
            }
        }
    }

    /// Signs a message; the result is ASN.1 DER, 70 to 72 bytes in general, or the 64 bytes of Ed25519.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Pair::P256(pair) => pair
                .sign(&SystemRandom::new(), message)
                .expect("signing with a valid P-256 key needs nothing but randomness")
                .as_ref()
                .to_vec(),
            Pair::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey([redacted])")
    }
}

/// Checks a signature; the algorithm follows from the length of the public key (wire-session §1.1).
pub fn verify(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let verified = match public_key.len() {
        32 => UnparsedPublicKey::new(&ED25519, public_key).verify(message, signature),
        33 | 65 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public_key).verify(message, signature),
        length => return Err(SignatureError::UnknownKey(length)),
    };
    verified.map_err(|_| SignatureError::Invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_signatures_verify_and_any_change_is_noticed() {
        // Leading zero bytes in scalars, coordinates and signature halves appear once in 256 or so.
        for _ in 0..600 {
            let key = SigningKey::generate_p256();
            assert_eq!(key.public_key().len(), 65);
            assert_eq!(key.secret_bytes().len(), 32);
            let signature = key.sign(b"message");
            assert_eq!(verify(key.public_key(), b"message", &signature), Ok(()));
            assert_eq!(
                verify(key.public_key(), b"massage", &signature),
                Err(SignatureError::Invalid)
            );
        }
    }

    #[test]
    fn a_compressed_key_verifies_like_the_full_one() {
        let key = SigningKey::generate_p256();
        let full = key.public_key();
        let mut compressed = vec![2 + (full[64] & 1)];
        compressed.extend_from_slice(&full[1..33]);
        let signature = key.sign(b"message");
        assert_eq!(verify(&compressed, b"message", &signature), Ok(()));
        compressed[0] ^= 1;
        assert_eq!(
            verify(&compressed, b"message", &signature),
            Err(SignatureError::Invalid)
        );
    }

    #[test]
    fn ed25519_signatures_verify_by_key_length() {
        let key = SigningKey::generate_ed25519();
        assert_eq!((key.public_key().len(), key.secret_bytes().len()), (32, 64));
        assert_eq!(&key.secret_bytes()[32..], key.public_key());
        let signature = key.sign(b"message");
        assert_eq!(verify(key.public_key(), b"message", &signature), Ok(()));
        assert_eq!(
            verify(key.public_key(), b"other", &signature),
            Err(SignatureError::Invalid)
        );
    }

    #[test]
    fn nonsense_is_refused_without_a_panic() {
        for length in [0, 31, 34, 64, 66, 97] {
            assert_eq!(
                verify(&vec![4; length], b"", &[]),
                Err(SignatureError::UnknownKey(length))
            );
        }
        let key = SigningKey::generate_p256();
        for signature in [&[][..], &[0x30], &[0; 64], &[0xff; 72]] {
            assert_eq!(
                verify(key.public_key(), b"", signature),
                Err(SignatureError::Invalid)
            );
        }
        // 65 bytes that are no point of the curve.
        assert_eq!(
            verify(&[4; 65], b"", &key.sign(b"")),
            Err(SignatureError::Invalid)
        );
    }
}
