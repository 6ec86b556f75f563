//! ML-KEM-768 for hybrid link handshakes (FIPS 203, wire-routing A5.1).
//!
//! Beside X25519, never instead of it: a link's key needs both secrets, so that breaking one of the two is not
//! enough. Keys and encapsulations draw from the system's randomness; the library takes no seed.

use std::fmt;

use aws_lc_rs::kem::{AlgorithmId, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_768};

/// Length of an ML-KEM-768 encapsulation key.
pub const KEM_PUBLIC_KEY_BYTES: usize = 1184;
/// Length of an ML-KEM-768 ciphertext.
pub const KEM_CIPHERTEXT_BYTES: usize = 1088;
/// Length of the secret that both sides get.
const SECRET_BYTES: usize = 32;

/// Why a peer's part of the encapsulation gives no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KemError {
    /// Not a key of ML-KEM-768.
    #[error("a KEM key has {0} bytes; ML-KEM-768 needs {KEM_PUBLIC_KEY_BYTES}")]
    KeyLength(usize),
    /// Of the right length, but no key: a coefficient is out of range (FIPS 203 §7.2).
    #[error("the KEM key is not a key of ML-KEM-768")]
    Key,
    /// Not a ciphertext of ML-KEM-768.
    #[error("a KEM ciphertext has {0} bytes; ML-KEM-768 needs {KEM_CIPHERTEXT_BYTES}")]
    CiphertextLength(usize),
}

/// A key pair that is used for one handshake; [`decapsulate`](Self::decapsulate) consumes it.
pub struct KemKey {
    private: DecapsulationKey<AlgorithmId>,
    public: Vec<u8>,
}

impl KemKey {
    /// A fresh key from the system's randomness.
    pub fn generate() -> Self {
        let private =
            DecapsulationKey::generate(&ML_KEM_768).expect("ML-KEM keys need nothing but randomness");
        let public = private
            .encapsulation_key()
            .and_then(|key| Ok(key.key_bytes()?.as_ref().to_vec()))
            .expect("a private key has a public key");
        Self { private, public }
    }

    /// The public half, to be sent to the peer.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The secret in a peer's ciphertext. One that was made for another key, or changed on the way, gives a
    /// secret that nobody shares, as the standard wants it.
    pub fn decapsulate(self, ciphertext: &[u8]) -> Result<[u8; 32], KemError> {
        let wrong_length = KemError::CiphertextLength(ciphertext.len());
        if ciphertext.len() != KEM_CIPHERTEXT_BYTES {
            return Err(wrong_length);
        }
        let secret = self.private.decapsulate(Ciphertext::from(ciphertext));
        // The length is the only thing that can be wrong with a ciphertext.
        fixed(secret.map_err(|_| wrong_length)?.as_ref()).ok_or(wrong_length)
    }
}

impl fmt::Debug for KemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemKey([redacted])")
    }
}

/// A fresh secret for the owner of a public key: the ciphertext to send, and the secret.
pub fn encapsulate(public: &[u8]) -> Result<(Vec<u8>, [u8; 32]), KemError> {
    if public.len() != KEM_PUBLIC_KEY_BYTES {
        return Err(KemError::KeyLength(public.len()));
    }
    let key = EncapsulationKey::new(&ML_KEM_768, public).map_err(|_| KemError::Key)?;
    let (ciphertext, secret) = key.encapsulate().map_err(|_| KemError::Key)?;
    let secret = fixed(secret.as_ref()).ok_or(KemError::Key)?;
    Ok((ciphertext.as_ref().to_vec(), secret))
}

fn fixed(secret: &[u8]) -> Option<[u8; SECRET_BYTES]> {
    secret.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_get_the_same_secret_and_each_handshake_another() {
        let (key, other) = (KemKey::generate(), KemKey::generate());
        assert_eq!(key.public().len(), KEM_PUBLIC_KEY_BYTES);
        assert_ne!(key.public(), other.public());
        let (ciphertext, secret) = encapsulate(key.public()).unwrap();
        let (_, another) = encapsulate(key.public()).unwrap();
        assert_eq!(ciphertext.len(), KEM_CIPHERTEXT_BYTES);
        assert_ne!(secret, another);
        assert_eq!(key.decapsulate(&ciphertext), Ok(secret));
    }

    #[test]
    fn a_changed_ciphertext_gives_another_secret() {
        let key = KemKey::generate();
        let (mut ciphertext, secret) = encapsulate(key.public()).unwrap();
        ciphertext[7] ^= 1;
        assert_ne!(key.decapsulate(&ciphertext).unwrap(), secret);
    }

    #[test]
    fn keys_and_ciphertexts_of_wrong_length_or_range_are_refused() {
        for length in [0, 800, 1183, 1185, 1568] {
            assert_eq!(encapsulate(&vec![1; length]), Err(KemError::KeyLength(length)));
        }
        // Twelve bits of ones are above the modulus 3329 in every coefficient.
        assert_eq!(encapsulate(&[0xFF; KEM_PUBLIC_KEY_BYTES]), Err(KemError::Key));
        for length in [0, 1087, 1089] {
            let refused = KemKey::generate().decapsulate(&vec![1; length]);
            assert_eq!(refused, Err(KemError::CiphertextLength(length)));
        }
    }

    #[test]
    fn debug_does_not_show_the_key() {
        assert_eq!(format!("{:?}", KemKey::generate()), "KemKey([redacted])");
    }
}
