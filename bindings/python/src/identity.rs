//! Identities as Python describes them: dicts from `_identity.py`, taken apart into the SDK's settings.

use std::path::PathBuf;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use slim::identity::{
    AuthenticationError, IdentityError, IdentityProvider, IdentityVerifier, JwtAlgorithm, JwtKey,
    JwtKeyFormat, JwtProvider, JwtRules, JwtSource, JwtVerification, JwtVerifierSettings, SecretText,
};

/// Text, or the file that holds it; exactly one of the two.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct SourceArgument {
    file: Option<PathBuf>,
    content: Option<String>,
}

/// A key.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct KeyArgument {
    algorithm: String,
    format: String,
    source: SourceArgument,
}

/// `kind` says which of the others are there.
#[derive(FromPyObject)]
pub(crate) enum ProviderArgument {
    #[pyo3(from_item_all)]
    SharedSecret { base: String, shared_secret: String },
    #[pyo3(from_item_all)]
    Jwt {
        private_key: KeyArgument,
        key_id: Option<String>,
        seconds: f64,
        issuer: Option<String>,
        audience: Vec<String>,
        subject: String,
        custom_claims: String,
    },
    #[pyo3(from_item_all)]
    StaticJwt {
        token: SourceArgument,
        message_key: Option<SourceArgument>,
    },
}

/// Like [`ProviderArgument`].
#[derive(FromPyObject)]
pub(crate) enum VerifierArgument {
    #[pyo3(from_item_all)]
    Jwt {
        public_key: Option<KeyArgument>,
        issuers: Vec<String>,
        audience: Vec<String>,
        subjects: Vec<String>,
        require_iss: bool,
        require_aud: bool,
        require_sub: bool,
        bind_subject: bool,
    },
    #[pyo3(from_item_all)]
    SharedSecret { shared_secret: String },
}

impl SourceArgument {
    fn source(self) -> PyResult<JwtSource> {
        match (self.file, self.content) {
            (Some(path), None) => Ok(JwtSource::File(path)),
            (None, Some(text)) => Ok(JwtSource::Data(SecretText::new(text))),
            _ => Err(PyValueError::new_err("a file or a content, and not both")),
        }
    }
}

impl KeyArgument {
    fn key(self) -> PyResult<JwtKey> {
        let algorithm = JwtAlgorithm::from_name(&self.algorithm);
        let unknown = || PyValueError::new_err(format!("{:?} is no algorithm", self.algorithm));
        let format = match self.format.as_str() {
            "pem" => JwtKeyFormat::Pem,
            "jwk" => JwtKeyFormat::Jwk,
            "jwks" => JwtKeyFormat::Jwks,
            other => return Err(PyValueError::new_err(format!("{other:?} is no key format"))),
        };
        Ok(JwtKey {
            algorithm: Some(algorithm.ok_or_else(unknown)?),
            format,
            source: self.source.source()?,
        })
    }
}

impl ProviderArgument {
    pub(crate) fn settings(self) -> PyResult<IdentityProvider> {
        Ok(match self {
            Self::SharedSecret { base, shared_secret } => IdentityProvider::SharedSecret {
                base,
                secret: SecretText::new(shared_secret),
            },
            Self::Jwt {
                private_key,
                key_id,
                seconds,
                issuer,
                audience,
                subject,
                custom_claims,
            } => IdentityProvider::Jwt(JwtProvider {
                key: private_key.key()?,
                key_id,
                issuer,
                audiences: audience,
                subject,
                custom_claims,
                lifetime: Duration::try_from_secs_f64(seconds)
                    .map_err(|error| PyValueError::new_err(format!("duration: {error}")))?,
            }),
            Self::StaticJwt { token, message_key } => IdentityProvider::StaticJwt {
                token: token.source()?,
                private_key: message_key.map(SourceArgument::source).transpose()?,
            },
        })
    }
}

impl VerifierArgument {
    pub(crate) fn settings(self) -> PyResult<IdentityVerifier> {
        Ok(match self {
            Self::SharedSecret { shared_secret } => IdentityVerifier::SharedSecret {
                secret: SecretText::new(shared_secret),
            },
            Self::Jwt {
                public_key,
                issuers,
                audience,
                subjects,
                require_iss,
                require_aud,
                require_sub,
                bind_subject,
            } => IdentityVerifier::Jwt(JwtVerifierSettings {
                keys: match public_key {
                    Some(key) => JwtVerification::Keys(key.key()?),
                    None => JwtVerification::Autoresolve,
                },
                rules: JwtRules {
                    issuers,
                    audiences: audience,
                    subjects,
                    require_issuer: require_iss,
                    require_audience: require_aud,
                    require_subject: require_sub,
                    bind_subject,
                },
            }),
        })
    }
}

/// Why an identity was not believed, as a word for `_refusals.py`.
pub(crate) fn reason(error: &AuthenticationError) -> &'static str {
    match error {
        AuthenticationError::Signature(_) => "foreign",
        AuthenticationError::Identity(error) => match error {
            IdentityError::Expired { .. } => "expired",
            IdentityError::NotYetValid { .. } => "not_yet_valid",
            IdentityError::TooLong(_)
            | IdentityError::Malformed(_)
            | IdentityError::NoKey
            | IdentityError::UnknownKey(_)
            | IdentityError::SpiffeId(_)
            | IdentityError::MissingClaim(_) => "malformed",
            IdentityError::WrongAudience => "audience",
            IdentityError::WrongIssuer | IdentityError::WrongTrustDomain => "issuer",
            IdentityError::WrongSubject | IdentityError::SubjectNotBound => "subject",
            IdentityError::AlgorithmNotAllowed => "algorithm",
            IdentityError::NoMatchingKey { .. } => "key",
            IdentityError::WrongSignature | IdentityError::WrongMac => "signature",
            IdentityError::KeysUnavailable { .. } | IdentityError::IssuerUnavailable { .. } => {
                "issuer_unavailable"
            }
            // These are the fault of whoever makes an identity or a verifier.
            IdentityError::EmptyBase
            | IdentityError::BaseCharacter { .. }
            | IdentityError::EmptySecret
            | IdentityError::EmptySubject
            | IdentityError::CustomClaims
            | IdentityError::ReservedClaim { .. }
            | IdentityError::Lifetime { .. }
            | IdentityError::NoPrivateKey
            | IdentityError::OtherPrivateKey
            | IdentityError::NoIssuer
            | IdentityError::TooManyIssuers(_)
            | IdentityError::UnknownIssuer
            | IdentityError::IdentityAsProof
            | IdentityError::TooManyTrustDomains(_)
            | IdentityError::OtherIdentity
            | IdentityError::OwnTokens
            | IdentityError::IssuerAddress { .. } => "other",
        },
    }
}
