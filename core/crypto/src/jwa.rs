//! Signatures of JSON Web Tokens: the twelve algorithms of wire-session §1.4 (RFC 7518 §3.1, RFC 8037).
//!
//! A key is bound to one [`Algorithm`] when it is read, so nothing that arrives later (a token's header, say) can
//! choose another one for it. What this module deliberately does not do: JSON, key sets, claims; those are
//! slim-auth's. The other signatures of the protocol are in [`crate::SigningKey`].

pub(crate) mod pem;
mod private;
mod public;

use std::fmt;

pub use private::TokenSigningKey;
pub use public::TokenVerificationKey;

/// A signature algorithm of JSON Web Tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256: one secret both signs and verifies.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// RSA PKCS#1 v1.5 with SHA-384.
    Rs384,
    /// RSA PKCS#1 v1.5 with SHA-512.
    Rs512,
    /// RSA PSS with SHA-256.
    Ps256,
    /// RSA PSS with SHA-384.
    Ps384,
    /// RSA PSS with SHA-512.
    Ps512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// What a key must be for an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// A secret that signer and verifier share.
    Secret,
    /// RSA, 2048 to 8192 bits.
    Rsa,
    /// A point of P-256.
    P256,
    /// A point of P-384.
    P384,
    /// Ed25519.
    Ed25519,
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenKeyError {
    /// A secret without a byte.
    #[error("the secret is empty")]
    EmptySecret,
    /// A PEM text was given as the secret of an HMAC algorithm. A public key is no secret: whoever knows it could
    /// sign tokens.
    #[error("{0} needs a secret, got a PEM text")]
    PemAsSecret(Algorithm),
    /// No section between BEGIN and END lines, or more than one key.
    #[error("expected a PEM text with one key in it")]
    NotPem,
    /// A PEM section whose content is not base64; an encrypted key is one of these.
    #[error("the PEM text is damaged or encrypted")]
    DamagedPem,
    /// A PEM section of another kind: a certificate, or a private key where a public one belongs.
    #[error("expected a PEM text of a {expected} key, got another kind of section")]
    WrongSection {
        /// "public" or "private".
        expected: &'static str,
    },
    /// The key is not one for this algorithm, or is too short for it.
    #[error("the key is not a valid {} for {algorithm}", algorithm.key_kind())]
    Rejected {
        /// The algorithm that the key was read for.
        algorithm: Algorithm,
    },
}

impl Algorithm {
    /// All of them, in the order of the wire document.
    pub const ALL: [Self; 12] = [
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name in the `alg` of a token's header and of a JWK.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of a name; names are case-sensitive (RFC 7515 §4.1.1). `none` is not among them.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The kind of key that it needs.
    pub fn key_kind(self) -> KeyKind {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => KeyKind::Secret,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => KeyKind::Rsa,
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::EdDsa => KeyKind::Ed25519,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "secret",
            Self::Rsa => "RSA key of 2048 bits or more",
            Self::P256 => "P-256 key",
            Self::P384 => "P-384 key",
            Self::Ed25519 => "Ed25519 key",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact_and_none_is_no_algorithm() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::from_name(algorithm.name()), Some(algorithm));
        }
        for name in ["none", "None", "", "hs256", "EDDSA", "ES512", "ES256K", "HS1"] {
            assert_eq!(Algorithm::from_name(name), None, "{name}");
        }
    }
}
