//! Who an application is.

use std::path::PathBuf;
use std::time::Duration;

use slim_auth::{Identity, IdentityError, JwtSigner};
use slim_config::{JwtKey, JwtSource, SecretText, SpireConfig};
use slim_crypto::{Rng, SignatureKind, SigningKey, os_seed};

use super::source::{self, IdentitySetupError};

/// How an application proves who it is.
#[derive(Clone, Debug)]
pub enum IdentityProvider {
    /// With a secret that everybody shares who may take part. It makes a circle of trust and tells nobody in it apart.
    SharedSecret {
        /// The subject is this, an underscore and eight random characters. No `:` and no white space.
        base: String,
        /// At least 32 bytes are recommended, and demanded by other implementations.
        secret: SecretText,
    },
    /// With tokens that it signs itself.
    Jwt(JwtProvider),
    /// With a token that somebody else signs and writes into a file, or hands over.
    StaticJwt {
        /// Where the token is. A file is read again when it changes; subject and `pubkey` have to stay.
        token: JwtSource,
        /// The private key of the token's `pubkey` claim: P-256 in PEM. Without it the application can sign no
        /// message, so it opens and joins no session (wire-session §1.6).
        private_key: Option<JwtSource>,
    },
    /// With JWT-SVIDs of the local SPIRE agent, which issues new ones in time. The subject is the SPIFFE id. Only with
    /// [`Service::create_app_from`](crate::Service::create_app_from), which asks the agent.
    Spire(SpireConfig),
}

/// Tokens that an application signs itself (wire-session §1.4).
#[derive(Clone, Debug)]
pub struct JwtProvider {
    /// The private key in PEM, or for HS256, HS384 and HS512 the secret. A file is read again when it changes.
    pub key: JwtKey,
    /// The name of the key in the key set of the others; without one the subject is written, as upstream does.
    pub key_id: Option<String>,
    /// The claim `iss`. Verifiers that fetch keys need it.
    pub issuer: Option<String>,
    /// The claim `aud`.
    pub audiences: Vec<String>,
    /// The claim `sub`: who this application is. Applications with one subject are one to their peers.
    pub subject: String,
    /// More claims, as the text of a JSON object; empty for none.
    pub custom_claims: String,
    /// How long a token is good for: a second to an hour.
    pub lifetime: Duration,
}

impl IdentityProvider {
    /// The identity as it is configured now. Reads files, so it may wait for a disk.
    pub fn identity(&self) -> Result<Identity, IdentitySetupError> {
        self.identity_with(SignatureKind::P256)
    }

    /// The identity as it is configured now, for groups with post-quantum encryption: all their members must have
    /// such identities. Reads files, so it may wait for a disk.
    pub fn post_quantum_identity(&self) -> Result<Identity, IdentitySetupError> {
        self.identity_with(SignatureKind::Ed25519)
    }

    /// The kind of the key for messages and MLS leaves decides the MLS suite (wire-session §3.1).
    pub(super) fn identity_with(&self, kind: SignatureKind) -> Result<Identity, IdentitySetupError> {
        Ok(match self {
            Self::SharedSecret { base, secret } => {
                let mut rng = Rng::from_seed(os_seed());
                Identity::shared_secret_with_key(base, secret.expose(), fresh_key(kind), &mut rng)?
            }
            Self::Jwt(provider) => Identity::jwt_with_key(provider.signer()?, fresh_key(kind))?,
            // The key belongs to the token, so nobody here can choose its kind.
            Self::StaticJwt { .. } if kind == SignatureKind::Ed25519 => {
                return Err(IdentitySetupError::NotPostQuantum);
            }
            Self::StaticJwt { token, private_key } => {
                let token = source::read("token", token)?;
                let key = private_key.as_ref().map(message_key).transpose()?;
                Identity::static_jwt(token.expose(), key)?
            }
            Self::Spire(_) => return Err(IdentitySetupError::NeedsService),
        })
    }

    /// The identity that follows `old` when a file has changed.
    pub(super) fn renewed(&self, old: &Identity) -> Result<Identity, IdentitySetupError> {
        Ok(match self {
            Self::SharedSecret { .. } | Self::Spire(_) => old.clone(),
            Self::Jwt(provider) => old.with_signer(provider.signer()?)?,
            Self::StaticJwt { token, .. } => old.with_token(source::read("token", token)?.expose())?,
        })
    }

    /// The files that matter while the application runs.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let source = match self {
            Self::SharedSecret { .. } | Self::Spire(_) => None,
            Self::Jwt(provider) => Some(&provider.key.source),
            Self::StaticJwt { token, .. } => Some(token),
        };
        source
            .and_then(source::path_of)
            .map(PathBuf::from)
            .into_iter()
            .collect()
    }
}

impl JwtProvider {
    fn signer(&self) -> Result<JwtSigner, IdentitySetupError> {
        Ok(JwtSigner {
            key: source::signing_key(&self.key)?,
            key_id: self.key_id.clone(),
            issuer: self.issuer.clone(),
            audiences: self.audiences.clone(),
            subject: self.subject.clone(),
            custom_claims: self.custom_claims.clone(),
            lifetime: self.lifetime,
        })
    }
}

/// A fresh key for messages and MLS leaves.
pub(super) fn fresh_key(kind: SignatureKind) -> SigningKey {
    match kind {
        SignatureKind::P256 => SigningKey::generate_p256(),
        SignatureKind::Ed25519 => SigningKey::generate_ed25519(),
    }
}

fn message_key(key: &JwtSource) -> Result<SigningKey, IdentitySetupError> {
    let text = source::read("private key", key)?;
    SigningKey::from_pem_p256(text.expose()).map_err(|error| IdentitySetupError::PrivateKey {
        path: source::path_of(key).map(PathBuf::from),
        error,
    })
}

/// For whoever has an identity already.
impl From<IdentityError> for crate::Error {
    fn from(error: IdentityError) -> Self {
        IdentitySetupError::Identity(error).into()
    }
}
