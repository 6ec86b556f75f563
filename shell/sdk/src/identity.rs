//! Who an application is and whom it believes, as it is configured: secrets, keys and tokens, as text or in files.
//!
//! An [`IdentityProvider`] and an [`IdentityVerifier`] are settings. [`Service::create_app_from`] makes the values of
//! `slim-auth` of them, and keeps these up to date while the application runs: files are read again when they change,
//! keys of issuers are fetched, and a SPIRE agent is listened to.
//!
//! [`Service::create_app_from`]: crate::Service::create_app_from

mod files;
mod keys;
mod provider;
mod source;
mod spire;
mod verifier;

pub(crate) use files::Followed;
pub(crate) use keys::{KeyFetcher, KeyQuestions};
pub use provider::{IdentityProvider, JwtProvider};
pub use source::IdentitySetupError;
pub(crate) use spire::FromAgent;
pub use verifier::{IdentityVerifier, JwtVerifierSettings};

pub use slim_auth::{
    AuthenticationError, Identity, IdentityError, JwtRules, JwtSigner, KeyFetchFailure, KeySet, KeySetError,
    SignatureFailure, Verified, Verifier,
};
pub use slim_config::{
    JwtAlgorithm, JwtKey, JwtKeyFormat, JwtSource, JwtVerification, SecretText, SpireConfig,
};
pub use slim_crypto::jwa::{Algorithm, TokenKeyError, TokenSigningKey};
pub use slim_crypto::{SigningKey, os_seed};
pub use slim_http::HttpOptions;
pub use slim_spiffe::SpiffeError;
