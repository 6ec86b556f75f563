//! Keys that check the signatures of tokens.

use std::fmt;

use aws_lc_rs::hmac;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    VerificationAlgorithm,
};

use super::{Algorithm, KeyKind, TokenKeyError, pem};

/// Bytes of the modulus of the shortest and of the longest RSA key.
const RSA_MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// DER of an RSAPublicKey with a modulus of 2048 bits and the shortest exponent; nothing shorter can be enough.
const RSA_DER_BYTES_MIN: usize = 268;

/// A public key, or a shared secret, that checks tokens of one algorithm.
pub struct TokenVerificationKey {
    algorithm: Algorithm,
    key: Public,
}

enum Public {
    Hmac(Box<hmac::Key>),
    Asymmetric(ParsedPublicKey),
}

impl TokenVerificationKey {
    /// Reads a key from text: for HS256, HS384 and HS512 the text is the secret itself, for all others a PEM text
    /// with a public key (SubjectPublicKeyInfo, or PKCS#1 for RSA).
    pub fn from_text(algorithm: Algorithm, text: &str) -> Result<Self, TokenKeyError> {
        if algorithm.key_kind() == KeyKind::Secret {
            return Self::from_secret(algorithm, text.as_bytes());
        }
        let section = pem::read(text)?;
        if !matches!(section.label, "PUBLIC KEY" | "RSA PUBLIC KEY") {
            return Err(TokenKeyError::WrongSection { expected: "public" });
        }
        Self::from_der(algorithm, &section.der)
    }

    /// The shared secret of an HMAC algorithm.
    pub fn from_secret(algorithm: Algorithm, secret: &[u8]) -> Result<Self, TokenKeyError> {
        let hash = hmac_hash(algorithm).ok_or(TokenKeyError::Rejected { algorithm })?;
        check_secret(algorithm, secret)?;
        Ok(Self::of_hmac(algorithm, Box::new(hmac::Key::new(hash, secret))))
    }

    /// A public key in DER, or as the bytes of a SEC1 point or of an Ed25519 key.
    pub fn from_der(algorithm: Algorithm, der: &[u8]) -> Result<Self, TokenKeyError> {
        let rejected = TokenKeyError::Rejected { algorithm };
        let verification = asymmetric(algorithm).ok_or(rejected)?;
        if algorithm.key_kind() == KeyKind::Rsa {
            // The library looks at the length only when it verifies; a short key should be known earlier.
            let key = rsa::PublicKey::from_der(der).map_err(|_| rejected)?;
            if key.as_ref().len() < RSA_DER_BYTES_MIN {
                return Err(rejected);
            }
        }
        let key = ParsedPublicKey::new(verification, der).map_err(|_| rejected)?;
        Ok(Self {
            algorithm,
            key: Public::Asymmetric(key),
        })
    }

    /// An RSA key from modulus and exponent, big-endian (RFC 7518 §6.3.1).
    pub fn from_rsa(algorithm: Algorithm, modulus: &[u8], exponent: &[u8]) -> Result<Self, TokenKeyError> {
        let rejected = TokenKeyError::Rejected { algorithm };
        let parameters = rsa_parameters(algorithm).ok_or(rejected)?;
        let (n, e) = (without_zeros(modulus), without_zeros(exponent));
        // An even or tiny exponent is no RSA key; a long one only costs time.
        let sound = e.len() <= 8 && e.last().is_some_and(|low| low & 1 == 1) && e != [1];
        if !RSA_MODULUS_BYTES.contains(&n.len()) || !sound {
            return Err(rejected);
        }
        let key = RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(parameters)
            .map_err(|_| rejected)?;
        Ok(Self {
            algorithm,
            key: Public::Asymmetric(key),
        })
    }

    /// A point of the curve of ES256 or ES384 from its coordinates, big-endian (RFC 7518 §6.2.1).
    pub fn from_point(algorithm: Algorithm, x: &[u8], y: &[u8]) -> Result<Self, TokenKeyError> {
        let rejected = TokenKeyError::Rejected { algorithm };
        let length = match algorithm.key_kind() {
            KeyKind::P256 => 32,
            KeyKind::P384 => 48,
            KeyKind::Secret | KeyKind::Rsa | KeyKind::Ed25519 => return Err(rejected),
        };
        let mut point = vec![4];
        for coordinate in [x, y] {
            // Some issuers leave out leading zeros, which happens to one key in 128.
            let zeros = length - coordinate.len().min(length);
            point.extend(std::iter::repeat_n(0, zeros));
            point.extend_from_slice(coordinate);
        }
        if point.len() != 1 + 2 * length {
            return Err(rejected);
        }
        Self::from_der(algorithm, &point)
    }

    pub(super) fn of_hmac(algorithm: Algorithm, key: Box<hmac::Key>) -> Self {
        Self {
            algorithm,
            key: Public::Hmac(key),
        }
    }

    /// The only algorithm that it is for.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// True if the signature is one of this message.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Public::Hmac(key) => hmac::verify(key, message, signature).is_ok(),
            Public::Asymmetric(key) => key.verify_sig(message, signature).is_ok(),
        }
    }

    /// What may be published of the key: a SEC1 point, 32 bytes of Ed25519, or DER as it was read; nothing of a
    /// secret.
    pub fn public_bytes(&self) -> Option<&[u8]> {
        match &self.key {
            Public::Hmac(_) => None,
            Public::Asymmetric(key) => Some(key.as_ref()),
        }
    }
}

impl fmt::Debug for TokenVerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenVerificationKey({})", self.algorithm)
    }
}

pub(super) fn hmac_hash(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::Hs256 => Some(hmac::HMAC_SHA256),
        Algorithm::Hs384 => Some(hmac::HMAC_SHA384),
        Algorithm::Hs512 => Some(hmac::HMAC_SHA512),
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512
        | Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::EdDsa => None,
    }
}

/// A secret must be one: neither empty nor the text of somebody's public key (algorithm confusion).
pub(super) fn check_secret(algorithm: Algorithm, secret: &[u8]) -> Result<(), TokenKeyError> {
    if secret.is_empty() {
        return Err(TokenKeyError::EmptySecret);
    }
    if std::str::from_utf8(secret).is_ok_and(pem::is_pem) {
        return Err(TokenKeyError::PemAsSecret(algorithm));
    }
    Ok(())
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
        Algorithm::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
        Algorithm::Hs256
        | Algorithm::Hs384
        | Algorithm::Hs512
        | Algorithm::Es256
        | Algorithm::Es384
        | Algorithm::EdDsa => None,
    }
}

fn asymmetric(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    match algorithm.key_kind() {
        KeyKind::Secret => None,
        KeyKind::Rsa => rsa_parameters(algorithm).map(|parameters| parameters as _),
        KeyKind::P256 => Some(&ECDSA_P256_SHA256_FIXED),
        KeyKind::P384 => Some(&ECDSA_P384_SHA384_FIXED),
        KeyKind::Ed25519 => Some(&ED25519),
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.split_at(zeros).1
}

#[cfg(test)]
mod tests {
    use super::super::TokenSigningKey;
    use super::*;

    #[test]
    fn a_key_of_one_algorithm_is_refused_for_every_other_kind() {
        for from in [
            Algorithm::Rs256,
            Algorithm::Es256,
            Algorithm::Es384,
            Algorithm::EdDsa,
        ] {
            let public = TokenSigningKey::generate(from).unwrap().verification_key();
            let bytes = public.public_bytes().unwrap();
            for to in Algorithm::ALL {
                let result = TokenVerificationKey::from_der(to, bytes).map(drop);
                if to.key_kind() == from.key_kind() {
                    assert_eq!(result, Ok(()), "{from} as {to}");
                } else {
                    let expected = Err(TokenKeyError::Rejected { algorithm: to });
                    assert_eq!(result, expected, "{from} as {to}");
                }
            }
        }
    }

    #[test]
    fn signatures_of_one_rsa_padding_are_not_those_of_the_other() {
        let pkcs1 = TokenSigningKey::generate(Algorithm::Rs256).unwrap();
        let public = pkcs1.verification_key();
        let signature = pkcs1.sign(b"message");
        for other in [Algorithm::Ps256, Algorithm::Rs384, Algorithm::Ps512] {
            let key = TokenVerificationKey::from_der(other, public.public_bytes().unwrap()).unwrap();
            assert!(!key.verify(b"message", &signature), "{other}");
        }
    }

    #[test]
    fn points_are_taken_with_and_without_leading_zeros_and_must_be_on_the_curve() {
        let key = std::iter::repeat_with(|| TokenSigningKey::generate(Algorithm::Es256).unwrap())
            .find(|key| key.verification_key().public_bytes().unwrap()[1] == 0)
            .unwrap();
        let public = key.verification_key();
        let (x, y) = public.public_bytes().unwrap()[1..].split_at(32);
        let signature = key.sign(b"message");
        for x in [x, &x[1..]] {
            let read = TokenVerificationKey::from_point(Algorithm::Es256, x, y).unwrap();
            assert!(read.verify(b"message", &signature));
        }
        let rejected = |algorithm, x: &[u8], y: &[u8]| {
            let error = TokenVerificationKey::from_point(algorithm, x, y).err();
            assert_eq!(error, Some(TokenKeyError::Rejected { algorithm }));
        };
        rejected(Algorithm::Es256, y, x);
        rejected(Algorithm::Es256, &[0; 33], y);
        rejected(Algorithm::Es256, &[], &[]);
        rejected(Algorithm::Es384, x, y);
        rejected(Algorithm::EdDsa, x, y);
    }

    #[test]
    fn unsound_rsa_numbers_are_refused() {
        let modulus = [0xff; 256];
        for (n, e) in [
            (&modulus[..128], &[1, 0, 1][..]),
            (&[0; 300], &[1, 0, 1]),
            (&modulus, &[]),
            (&modulus, &[1]),
            (&modulus, &[1, 0, 0]),
            (&modulus, &[1; 9]),
        ] {
            assert_eq!(
                TokenVerificationKey::from_rsa(Algorithm::Rs256, n, e).err(),
                Some(TokenKeyError::Rejected {
                    algorithm: Algorithm::Rs256
                })
            );
        }
        assert!(TokenVerificationKey::from_rsa(Algorithm::Es256, &modulus, &[1, 0, 1]).is_err());
    }
}
