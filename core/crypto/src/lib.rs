//! The one door to cryptography: MAC, key agreement, signatures, randomness.
//!
//! Everything here is a thin, typed layer over aws-lc-rs. Nothing is cached, nothing reads a clock, and nothing
//! else under `core/` calls aws-lc (the MLS library's own provider excepted). What this crate deliberately does
//! not do: encryption (that is MLS's) and password hashing (there are no passwords).
//!
//! Two kinds of randomness exist. [`Rng`] is seeded and reproducible; the core draws every number from one.
//! Key pairs ([`SigningKey`], [`EphemeralKey`], [`KemKey`]) come from the operating system through aws-lc, so runs that
//! make keys are not byte-for-byte repeatable.

mod agreement;
pub mod jwa;
mod kem;
mod mac;
mod random;
mod sign;

pub use agreement::{AgreementError, EphemeralKey};
pub use kem::{KEM_CIPHERTEXT_BYTES, KEM_PUBLIC_KEY_BYTES, KemError, KemKey, encapsulate};
pub use mac::{HmacKey, hkdf_sha256, hmac_sha256, verify};
pub use random::{Rng, os_seed};
pub use sign::{SignatureError, SignatureKind, SigningKey, verify as verify_signature};
