//! Reading keys and tokens from where they are.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use slim_auth::{IdentityError, KeySet, KeySetError};
use slim_config::{JwtKey, JwtKeyFormat, JwtSource, SecretText};
use slim_crypto::jwa::{TokenKeyError, TokenSigningKey};
use slim_http::HttpSetupError;
use slim_net::{CheckingKeyError, SigningKeyError};
use slim_proto::limits::KEY_SET_BYTES_MAX;
use slim_spiffe::SpiffeError;

/// Why an identity or a verifier cannot be made of its settings. Nothing was sent. No key or token is in the text.
#[derive(Debug, thiserror::Error)]
pub enum IdentitySetupError {
    /// A file that cannot be read.
    #[error("the file {} of the {what} cannot be read: {error}", .path.display())]
    Read {
        /// What is in it.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file that is no text, or too large for what it should be.
    #[error("the file {} of the {what} is no text of at most {KEY_SET_BYTES_MAX} bytes", .path.display())]
    NoText {
        /// What should be in it.
        what: &'static str,
        /// Which file.
        path: PathBuf,
    },
    /// A private key that cannot sign.
    #[error("the private key{} cannot be used: {error}", in_file(.path))]
    PrivateKey {
        /// Where it is, if it is in a file.
        path: Option<PathBuf>,
        /// What is wrong.
        error: TokenKeyError,
    },
    /// Public keys that cannot check.
    #[error("the public key{} cannot be used: {error}", in_file(.path))]
    PublicKey {
        /// Where it is, if it is in a file.
        path: Option<PathBuf>,
        /// What is wrong.
        error: KeySetError,
    },
    /// The key is one of another kind than post-quantum groups need.
    #[error(
        "pqc needs an identity with an Ed25519 key for messages, and this one has a P-256 key; use a shared secret, \
         a JWT key or SPIRE, which get a fresh key"
    )]
    NotPostQuantum,
    /// A private key in a format that only public keys have here.
    #[error("a private key must be a PEM text; convert the {} with a tool of your choice", .format.name())]
    PrivateKeyFormat {
        /// The format given.
        format: JwtKeyFormat,
    },
    /// A key that does not say what it is for.
    #[error("the algorithm of the {what} is missing; name one such as ES256, RS256 or EdDSA")]
    NoAlgorithm {
        /// Which key.
        what: &'static str,
    },
    /// The settings make no identity or verifier.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The issuers of tokens cannot be asked for their keys.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
    /// The SPIFFE agent has nothing for this application.
    #[error(transparent)]
    Spiffe(Box<SpiffeError>),
    /// An agent is asked by a service.
    #[error("an identity or verifier of a SPIFFE agent is made by Service::create_app_from")]
    NeedsService,
    /// The service ends.
    #[error("the service stops")]
    Stopping,
}

fn in_file(path: &Option<PathBuf>) -> String {
    path.as_ref()
        .map(|path| format!(" in {}", path.display()))
        .unwrap_or_default()
}

pub(super) fn path_of(source: &JwtSource) -> Option<&Path> {
    match source {
        JwtSource::File(path) => Some(path),
        JwtSource::Data(_) => None,
    }
}

/// The text, from wherever it is. Waits for a disk.
pub(super) fn read(what: &'static str, source: &JwtSource) -> Result<SecretText, IdentitySetupError> {
    let path = match source {
        JwtSource::Data(text) => return Ok(text.clone()),
        JwtSource::File(path) => path,
    };
    let limit = u64::try_from(KEY_SET_BYTES_MAX).unwrap_or(u64::MAX);
    let mut text = String::new();
    let no_text = || IdentitySetupError::NoText {
        what,
        path: path.clone(),
    };
    match File::open(path).and_then(|file| file.take(limit + 1).read_to_string(&mut text)) {
        Ok(length) if length > KEY_SET_BYTES_MAX => Err(no_text()),
        Ok(_) => Ok(SecretText::new(text)),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => Err(no_text()),
        Err(error) => Err(IdentitySetupError::Read {
            what,
            path: path.clone(),
            error,
        }),
    }
}

/// A key that signs tokens.
pub(super) fn signing_key(key: &JwtKey) -> Result<TokenSigningKey, IdentitySetupError> {
    let text = read("private key", &key.source)?;
    slim_net::signing_key(key, text.expose()).map_err(|error| match error {
        SigningKeyError::Format(format) => IdentitySetupError::PrivateKeyFormat { format },
        SigningKeyError::NoAlgorithm => IdentitySetupError::NoAlgorithm { what: "private key" },
        SigningKeyError::Key(error) => IdentitySetupError::PrivateKey {
            path: path_of(&key.source).map(Path::to_owned),
            error,
        },
    })
}

/// Keys that check tokens.
pub(super) fn key_set(key: &JwtKey) -> Result<KeySet, IdentitySetupError> {
    let text = read("public key", &key.source)?;
    slim_net::checking_keys(key, text.expose()).map_err(|error| match error {
        CheckingKeyError::NoAlgorithm => IdentitySetupError::NoAlgorithm { what: "public key" },
        CheckingKeyError::Keys(error) => IdentitySetupError::PublicKey {
            path: path_of(&key.source).map(Path::to_owned),
            error,
        },
    })
}

#[cfg(test)]
mod tests {
    use slim_config::JwtAlgorithm;

    use super::*;

    #[test]
    fn a_key_that_cannot_be_read_is_named_with_its_file() {
        let key = |source| JwtKey {
            algorithm: JwtAlgorithm::from_name("ES256"),
            format: JwtKeyFormat::Pem,
            source,
        };
        let missing = key(JwtSource::File("no/such/key.pem".into()));
        let text = signing_key(&missing).unwrap_err().to_string();
        assert!(
            text.contains("no/such/key.pem") && text.contains("private key"),
            "{text}"
        );
        let broken = key(JwtSource::Data(SecretText::new("canary")));
        let text = signing_key(&broken).unwrap_err().to_string();
        assert!(text.contains("private key") && !text.contains("canary"), "{text}");
        let text = key_set(&broken).unwrap_err().to_string();
        assert!(text.contains("public key") && !text.contains("canary"), "{text}");
    }

    #[test]
    fn a_private_key_is_pem_and_says_its_algorithm() {
        let key = |algorithm, format| JwtKey {
            algorithm,
            format,
            source: JwtSource::Data(SecretText::new("{}")),
        };
        assert!(matches!(
            signing_key(&key(JwtAlgorithm::from_name("ES256"), JwtKeyFormat::Jwk)),
            Err(IdentitySetupError::PrivateKeyFormat { .. })
        ));
        assert!(matches!(
            signing_key(&key(None, JwtKeyFormat::Pem)),
            Err(IdentitySetupError::NoAlgorithm { .. })
        ));
    }
}
