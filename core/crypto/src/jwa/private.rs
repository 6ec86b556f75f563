//! Keys that sign tokens.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};

use super::{Algorithm, TokenKeyError, TokenVerificationKey, pem, public};

/// A private key, or a shared secret, that signs tokens with one algorithm.
pub struct TokenSigningKey {
    algorithm: Algorithm,
    key: Private,
    secret_bytes: Option<usize>,
}

enum Private {
    Hmac(Box<hmac::Key>),
    Rsa(rsa::KeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl TokenSigningKey {
    /// Reads a key from text: for HS256, HS384 and HS512 the text is the secret itself, for all others a PEM text
    /// with an unencrypted private key (PKCS#8, PKCS#1 for RSA, or SEC1 for elliptic curves).
    pub fn from_text(algorithm: Algorithm, text: &str) -> Result<Self, TokenKeyError> {
        if let Some(hash) = public::hmac_hash(algorithm) {
            public::check_secret(algorithm, text.as_bytes())?;
            return Ok(Self {
                algorithm,
                key: Private::Hmac(Box::new(hmac::Key::new(hash, text.as_bytes()))),
                secret_bytes: Some(text.len()),
            });
        }
        let section = pem::read(text)?;
        if section.label == "ENCRYPTED PRIVATE KEY" {
            return Err(TokenKeyError::DamagedPem);
        }
        if !section.label.ends_with("PRIVATE KEY") {
            return Err(TokenKeyError::WrongSection { expected: "private" });
        }
        let rejected = TokenKeyError::Rejected { algorithm };
        let der = section.der.as_slice();
        let key = if let Some(encoding) = rsa_encoding(algorithm) {
            let key = rsa::KeyPair::from_pkcs8(der).or_else(|_| rsa::KeyPair::from_der(der));
            Private::Rsa(key.map_err(|_| rejected)?, encoding)
        } else if let Some(curve) = ecdsa(algorithm) {
            Private::Ecdsa(EcdsaKeyPair::from_private_key_der(curve, der).map_err(|_| rejected)?)
        } else {
            Private::Ed25519(Ed25519KeyPair::from_pkcs8(der).map_err(|_| rejected)?)
        };
        Self::proven(algorithm, key)
    }

    /// A fresh key from the system's randomness; the secret of an HMAC algorithm cannot be told to anybody then.
    pub fn generate(algorithm: Algorithm) -> Result<Self, TokenKeyError> {
        let rejected = TokenKeyError::Rejected { algorithm };
        let key = if let Some(hash) = public::hmac_hash(algorithm) {
            Private::Hmac(Box::new(
                hmac::Key::generate(hash, &SystemRandom::new()).map_err(|_| rejected)?,
            ))
        } else if let Some(encoding) = rsa_encoding(algorithm) {
            let key = rsa::KeyPair::generate(rsa::KeySize::Rsa2048).map_err(|_| rejected)?;
            Private::Rsa(key, encoding)
        } else if let Some(curve) = ecdsa(algorithm) {
            Private::Ecdsa(EcdsaKeyPair::generate(curve).map_err(|_| rejected)?)
        } else {
            Private::Ed25519(Ed25519KeyPair::generate().map_err(|_| rejected)?)
        };
        Self::proven(algorithm, key)
    }

    /// Signs once, so that a key that cannot is refused when it is read and never fails later.
    fn proven(algorithm: Algorithm, key: Private) -> Result<Self, TokenKeyError> {
        let key = Self {
            algorithm,
            key,
            secret_bytes: None,
        };
        key.try_sign(b"probe")
            .ok_or(TokenKeyError::Rejected { algorithm })?;
        Ok(key)
    }

    /// The algorithm of its signatures.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Length of a shared secret that was given as text.
    pub fn secret_bytes(&self) -> Option<usize> {
        self.secret_bytes
    }

    /// Signs a message, in the format of RFC 7518 §3: ECDSA signatures are the two numbers side by side.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.try_sign(message)
            .expect("the key has signed when it was read, and signing depends on nothing else")
    }

    fn try_sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.key {
            Private::Hmac(key) => Some(hmac::sign(key, message).as_ref().to_vec()),
            Private::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(*encoding, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Private::Ecdsa(key) => Some(key.sign(&random, message).ok()?.as_ref().to_vec()),
            Private::Ed25519(key) => Some(key.try_sign(message).ok()?.as_ref().to_vec()),
        }
    }

    /// The key that checks its signatures: the public half, or the same secret.
    pub fn verification_key(&self) -> TokenVerificationKey {
        let public = match &self.key {
            Private::Hmac(key) => return TokenVerificationKey::of_hmac(self.algorithm, key.clone()),
            Private::Rsa(key, _) => key.public_key().as_ref(),
            Private::Ecdsa(key) => key.public_key().as_ref(),
            Private::Ed25519(key) => key.public_key().as_ref(),
        };
        TokenVerificationKey::from_der(self.algorithm, public)
            .expect("the public half of a valid key is a valid key")
    }
}

impl fmt::Debug for TokenSigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenSigningKey({}, [redacted])", self.algorithm)
    }
}

fn rsa_encoding(algorithm: Algorithm) -> Option<&'static dyn RsaEncoding> {
    Some(match algorithm {
        Algorithm::Rs256 => &RSA_PKCS1_SHA256,
        Algorithm::Rs384 => &RSA_PKCS1_SHA384,
        Algorithm::Rs512 => &RSA_PKCS1_SHA512,
        Algorithm::Ps256 => &RSA_PSS_SHA256,
        Algorithm::Ps384 => &RSA_PSS_SHA384,
        Algorithm::Ps512 => &RSA_PSS_SHA512,
        Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::EdDsa => return None,
    })
}

fn ecdsa(algorithm: Algorithm) -> Option<&'static EcdsaSigningAlgorithm> {
    match algorithm {
        Algorithm::Es256 => Some(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::Es384 => Some(&ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512
        | Algorithm::EdDsa => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_algorithm_signs_what_its_other_half_verifies() {
        for algorithm in Algorithm::ALL {
            let key = TokenSigningKey::generate(algorithm).unwrap();
            let signature = key.sign(b"message");
            let public = key.verification_key();
            assert_eq!(public.algorithm(), algorithm);
            assert!(public.verify(b"message", &signature), "{algorithm}");
            assert!(!public.verify(b"massage", &signature), "{algorithm}");
            assert!(!public.verify(b"message", &[]), "{algorithm}");
            assert!(
                !public.verify(b"message", &signature[..signature.len() - 1]),
                "{algorithm}"
            );
            let mut changed = signature.clone();
            changed[signature.len() / 2] ^= 1;
            assert!(!public.verify(b"message", &changed), "{algorithm}");
        }
    }

    #[test]
    fn elliptic_signatures_have_the_fixed_length_of_rfc_7518() {
        for (algorithm, length) in [(Algorithm::Es256, 64), (Algorithm::Es384, 96)] {
            let key = TokenSigningKey::generate(algorithm).unwrap();
            // Leading zero bytes in either half appear once in 128 or so.
            for number in 0..400_u32 {
                let message = number.to_be_bytes();
                let signature = key.sign(&message);
                assert_eq!(signature.len(), length);
                assert!(key.verification_key().verify(&message, &signature));
            }
        }
    }

    #[test]
    fn secrets_are_no_pem_and_not_empty() {
        let hs = |text| TokenSigningKey::from_text(Algorithm::Hs256, text).err();
        assert_eq!(hs(""), Some(TokenKeyError::EmptySecret));
        assert_eq!(
            hs("-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----"),
            Some(TokenKeyError::PemAsSecret(Algorithm::Hs256))
        );
        assert!(hs("secret").is_none());
        assert_eq!(
            TokenSigningKey::from_text(Algorithm::Es256, "secret").err(),
            Some(TokenKeyError::NotPem)
        );
    }

    #[test]
    fn debug_does_not_show_the_key() {
        let key = TokenSigningKey::from_text(Algorithm::Hs256, "canary").unwrap();
        assert_eq!(format!("{key:?}"), "TokenSigningKey(HS256, [redacted])");
        assert!(!format!("{:?}", key.verification_key()).contains("canary"));
    }
}
