//! Keys from the text of their configuration or of their file: the same for links and for identities.

use slim_auth::{KeySet, KeySetError};
use slim_config::{JwtKey, JwtKeyFormat, JwtSource};
use slim_crypto::jwa::{Algorithm, KeyKind, TokenKeyError, TokenSigningKey};

/// Why keys that check tokens cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CheckingKeyError {
    /// PEM text does not say what it is for.
    #[error("a key as PEM text needs its algorithm, such as ES256")]
    NoAlgorithm,
    /// The text is no such key.
    #[error(transparent)]
    Keys(#[from] KeySetError),
}

/// Why a key that signs tokens cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// A form that holds no private key here.
    #[error("a key that signs tokens must be PEM text (format: pem), not a {}", .0.name())]
    Format(JwtKeyFormat),
    /// It does not say what it is for.
    #[error("a key that signs tokens needs its algorithm, such as ES256")]
    NoAlgorithm,
    /// The text is no such key.
    #[error(transparent)]
    Key(#[from] TokenKeyError),
}

/// The keys that this text is to this configuration.
pub fn checking_keys(key: &JwtKey, text: &str) -> Result<KeySet, CheckingKeyError> {
    let algorithm = algorithm(key);
    Ok(match key.format {
        JwtKeyFormat::Pem => {
            let algorithm = algorithm.ok_or(CheckingKeyError::NoAlgorithm)?;
            KeySet::from_pem(algorithm, key_text(key, algorithm, text))?
        }
        JwtKeyFormat::Jwk => KeySet::from_jwk(text, algorithm)?,
        JwtKeyFormat::Jwks => KeySet::from_jwks(text, algorithm)?,
    })
}

/// The key that this text is to this configuration.
pub fn signing_key(key: &JwtKey, text: &str) -> Result<TokenSigningKey, SigningKeyError> {
    if key.format != JwtKeyFormat::Pem {
        return Err(SigningKeyError::Format(key.format));
    }
    let algorithm = algorithm(key).ok_or(SigningKeyError::NoAlgorithm)?;
    Ok(TokenSigningKey::from_text(
        algorithm,
        key_text(key, algorithm, text),
    )?)
}

/// Configuration and cryptography know the same twelve names; a test says so.
fn algorithm(key: &JwtKey) -> Option<Algorithm> {
    key.algorithm.and_then(|name| Algorithm::from_name(name.name()))
}

/// The last line end of a file is no part of a secret: every editor writes one.
fn key_text<'a>(key: &JwtKey, algorithm: Algorithm, text: &'a str) -> &'a str {
    match (&key.source, algorithm.key_kind()) {
        (JwtSource::File(_), KeyKind::Secret) => text.trim_end(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use slim_auth::{JwtRules, JwtSigner, LinkSigner, LinkVerifier};
    use slim_config::{JwtAlgorithm, SecretText};
    use slim_crypto::Rng;
    use slim_proto::UnixTime;

    use super::*;

    fn key(algorithm: &str, source: JwtSource) -> JwtKey {
        JwtKey {
            algorithm: JwtAlgorithm::from_name(algorithm),
            format: JwtKeyFormat::Pem,
            source,
        }
    }

    #[test]
    fn every_configurable_algorithm_is_one_of_the_cryptography() {
        for name in [
            "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
            "ES384", "EdDSA",
        ] {
            let configured = key(name, JwtSource::File("key".into()));
            assert_eq!(algorithm(&configured).unwrap().name(), name);
        }
        assert!(JwtAlgorithm::from_name("none").is_none());
    }

    #[test]
    fn a_secret_in_a_file_fits_the_same_secret_in_a_configuration() {
        let secret = "the secret of all who may dial here";
        let in_file = key("HS256", JwtSource::File("secret".into()));
        let inline = key("HS256", JwtSource::Data(SecretText::new(secret)));
        let signer = LinkSigner::new(JwtSigner {
            key: signing_key(&in_file, &format!("{secret}\n")).unwrap(),
            key_id: None,
            issuer: None,
            audiences: Vec::new(),
            subject: "alice".to_owned(),
            custom_claims: String::new(),
            lifetime: std::time::Duration::from_secs(60),
        });
        let now = UnixTime(1_800_000_000);
        let token = signer.unwrap().mint(now, &mut Rng::from_seed([1; 32]));
        let verifier = |keys| LinkVerifier::fixed(keys, JwtRules::default());
        let inline = checking_keys(&inline, secret).unwrap();
        assert!(verifier(inline).verify(&token, now).is_ok());
        let in_file = checking_keys(&in_file, &format!("{secret}\r\n")).unwrap();
        assert!(verifier(in_file).verify(&token, now).is_ok());
    }
}
