//! Whom an application believes.

use std::path::PathBuf;

use slim_auth::{JwtRules, Verifier};
use slim_config::{JwtVerification, SecretText, SpireConfig};

use super::source::{self, IdentitySetupError};

/// How an application checks who others are.
#[derive(Clone, Debug)]
pub enum IdentityVerifier {
    /// Whoever has the secret is believed.
    SharedSecret {
        /// The secret.
        secret: SecretText,
    },
    /// Tokens are believed that somebody trusted has signed.
    Jwt(JwtVerifierSettings),
    /// JWT-SVIDs are believed that name one of the audiences and are of one of the trust domains, or of that of the
    /// own identity if none is configured. Only with [`Service::create_app_from`](crate::Service::create_app_from).
    Spire(SpireConfig),
}

/// Which tokens are believed (wire-session §1.5).
#[derive(Clone, Debug)]
pub struct JwtVerifierSettings {
    /// Keys that are given, of which a file is read again when it changes, or those that the issuers publish. These
    /// are fetched; the issuers must then be named in the rules.
    pub keys: JwtVerification,
    /// What a token must say.
    pub rules: JwtRules,
}

impl IdentityVerifier {
    /// The verifier as it is configured now; keys that issuers publish are not known to it yet. Reads files, so it may
    /// wait for a disk.
    pub fn verifier(&self) -> Result<Verifier, IdentitySetupError> {
        Ok(match self {
            Self::SharedSecret { secret } => Verifier::shared_secret(secret.expose()),
            Self::Jwt(JwtVerifierSettings { keys, rules }) => match keys {
                JwtVerification::Keys(key) => Verifier::jwt(source::key_set(key)?, rules.clone()),
                JwtVerification::Autoresolve => Verifier::jwt_autoresolve(rules.clone())?,
            },
            Self::Spire(_) => return Err(IdentitySetupError::NeedsService),
        })
    }

    /// The files that matter while the application runs.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let source = match self {
            Self::Jwt(JwtVerifierSettings {
                keys: JwtVerification::Keys(key),
                ..
            }) => source::path_of(&key.source),
            Self::Jwt(_) | Self::SharedSecret { .. } | Self::Spire(_) => None,
        };
        source.map(PathBuf::from).into_iter().collect()
    }
}
