//! Certificates and keys from files or text.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{InconsistentKeys, RootCertStore};
use slim_config::{CaSource, CertificateSource, SecretText};
use slim_proto::limits::TLS_FILE_BYTES_MAX;
use slim_spiffe::SpiffeError;

use super::provider;
use super::spiffe::{self, OwnSvid, SpiffePeers};

/// Why the configured certificates cannot be used. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// A file that cannot be read.
    #[error("{origin} cannot be read: {error}; check the path and its permissions")]
    Read {
        /// Which.
        origin: Origin,
        /// What the system says.
        error: std::io::Error,
    },
    /// A file too large to be what it should be.
    #[error("{origin} has more than {TLS_FILE_BYTES_MAX} bytes and cannot be a PEM file")]
    TooLarge {
        /// Which.
        origin: Origin,
    },
    /// Broken PEM.
    #[error("{origin} is no PEM text: {error}")]
    Pem {
        /// Which.
        origin: Origin,
        /// What is wrong.
        error: pem::Error,
    },
    /// PEM without certificate.
    #[error("{origin} holds no certificate; a PEM file with BEGIN CERTIFICATE belongs there")]
    NoCertificate {
        /// Which.
        origin: Origin,
    },
    /// PEM without private key.
    #[error("{origin} holds no private key; a PEM file with BEGIN PRIVATE KEY belongs there")]
    NoKey {
        /// Which.
        origin: Origin,
    },
    /// A certificate that cannot be parsed, or cannot be a CA.
    #[error("certificate {number} of {origin} cannot be used: {error}")]
    Certificate {
        /// Which.
        origin: Origin,
        /// From 1.
        number: usize,
        /// What is wrong.
        error: rustls::Error,
    },
    /// A private key of an unknown kind.
    #[error("the private key of {origin} cannot be used: {error}")]
    Key {
        /// Which.
        origin: Origin,
        /// What is wrong.
        error: rustls::Error,
    },
    /// The key of another certificate.
    #[error(
        "the private key of {key} does not belong to the first certificate of {certificate}; configure a pair \
         that was made together"
    )]
    KeyMismatch {
        /// The certificate.
        certificate: Origin,
        /// The key.
        key: Origin,
    },
    /// The system trusts nobody.
    #[error("the system has no CA certificates; set tls.ca_source")]
    NoSystemRoots,
    /// A name that no certificate can have.
    #[error("no certificate can be for {name:?}; set server_name")]
    ServerName {
        /// The name.
        name: String,
    },
    /// The endpoint's scheme says the opposite of the settings.
    #[error("the endpoint {endpoint} needs TLS settings, and there are none")]
    SchemeIsTls {
        /// The endpoint.
        endpoint: String,
    },
    /// The endpoint's scheme says the opposite of the settings.
    #[error("the endpoint {endpoint} is plain text, and there are TLS settings")]
    SchemeIsPlain {
        /// The endpoint.
        endpoint: String,
    },
    /// TLS where no network is.
    #[error("the endpoint {endpoint} is a Unix socket, which has no TLS, and there are TLS settings")]
    SocketTls {
        /// The endpoint.
        endpoint: String,
    },
    /// The library refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Settings(rustls::Error),
    /// The library refuses the CAs of clients.
    #[error("client certificates cannot be verified: {0}")]
    ClientVerifier(rustls::server::VerifierBuilderError),
    /// The SPIFFE agent has nothing for us.
    #[error("{key}: {error}")]
    Spiffe {
        /// The key of the configuration.
        key: &'static str,
        /// Why.
        error: SpiffeError,
    },
    /// The agent's certificate or key is of no use.
    #[error("{key}: the X.509-SVID of the SPIFFE agent cannot be used: {error}")]
    SpiffeKey {
        /// The key of the configuration.
        key: &'static str,
        /// What is wrong.
        error: rustls::Error,
    },
    /// Two settings that exclude each other.
    #[error("enforce_pqc needs TLS 1.3; remove tls.tls_version: tls1.2")]
    PqcNeedsTls13,
    /// The runtime ends.
    #[error("the runtime stops")]
    Stopping,
}

/// Which key of the configuration, and which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The key.
    pub key: &'static str,
    /// The file, unless the text itself was configured.
    pub path: Option<PathBuf>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} ({})", self.key, path.display()),
            None => f.write_str(self.key),
        }
    }
}

/// What a side shows: a pair that stays, or what the SPIFFE agent gave last.
#[derive(Clone, Debug)]
pub(super) enum Own {
    Pair { cert: Written, key: Written },
    Svid(Arc<OwnSvid>),
}

/// Whom a side believes.
#[derive(Clone, Debug)]
pub(super) enum Believed {
    Cas(Written),
    Spiffe(Arc<SpiffePeers>),
}

/// PEM text, or the file that it is in.
#[derive(Clone, Debug)]
pub(super) enum Written {
    File(PathBuf),
    Text(SecretText),
}

impl Own {
    /// Asks the agent, if the certificate is one of its.
    pub(super) async fn of(source: CertificateSource) -> Result<Self, TlsSetupError> {
        Ok(match source {
            CertificateSource::Spire(config) => Self::Svid(spiffe::own("tls.source", &config).await?),
            CertificateSource::File { cert, key } => Self::Pair {
                cert: Written::File(cert),
                key: Written::File(key),
            },
            CertificateSource::Pem { cert, key } => Self::Pair {
                cert: Written::Text(SecretText::new(cert)),
                key: Written::Text(key),
            },
        })
    }
}

impl Believed {
    /// Asks the agent, if the CAs are its bundles; `key` is the place in the configuration.
    pub(super) async fn of(key: &'static str, source: CaSource) -> Result<Self, TlsSetupError> {
        Ok(match source {
            CaSource::Spire(config) => Self::Spiffe(spiffe::peers(key, &config).await?),
            CaSource::File { path } => Self::Cas(Written::File(path)),
            CaSource::Pem { data } => Self::Cas(Written::Text(SecretText::new(data))),
        })
    }
}

/// The certificate that a side shows, without what leads to its CA; `None` if it comes from an agent.
pub(super) fn leaf(own: &Own) -> Result<Option<CertificateDer<'static>>, TlsSetupError> {
    let Own::Pair { cert, .. } = own else {
        return Ok(None);
    };
    Ok(Text::of("tls.source.cert", cert)?
        .certificates()?
        .into_iter()
        .next())
}

/// A certificate with its key, checked to belong together.
pub(super) fn certified_key(cert: &Written, key: &Written) -> Result<Arc<SingleCertAndKey>, TlsSetupError> {
    let (cert, key) = (
        Text::of("tls.source.cert", cert)?,
        Text::of("tls.source.key", key)?,
    );
    let chain = cert.certificates()?;
    let private_key = match PrivateKeyDer::from_pem_slice(&key.bytes) {
        Ok(private_key) => private_key,
        Err(pem::Error::NoItemsFound) => return Err(TlsSetupError::NoKey { origin: key.origin }),
        Err(error) => {
            return Err(TlsSetupError::Pem {
                origin: key.origin,
                error,
            });
        }
    };
    let certified = CertifiedKey::from_der(chain, private_key, &provider()).map_err(|error| {
        if error == rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
            TlsSetupError::KeyMismatch {
                certificate: cert.origin.clone(),
                key: key.origin,
            }
        } else if matches!(error, rustls::Error::InvalidCertificate(_)) {
            TlsSetupError::Certificate {
                origin: cert.origin.clone(),
                number: 1,
                error,
            }
        } else {
            TlsSetupError::Key {
                origin: key.origin,
                error,
            }
        }
    })?;
    Ok(Arc::new(SingleCertAndKey::from(certified)))
}

/// Every certificate of a bundle; one that cannot be used is an error, not a CA less.
pub(super) fn add_roots(
    roots: &mut RootCertStore,
    key: &'static str,
    source: &Written,
) -> Result<(), TlsSetupError> {
    let text = Text::of(key, source)?;
    for (index, certificate) in text.certificates()?.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|error| TlsSetupError::Certificate {
                origin: text.origin.clone(),
                number: index + 1,
                error,
            })?;
    }
    Ok(())
}

/// The system's CAs; those that cannot be used are passed over, since nobody chose them here.
pub(super) fn add_system_roots(roots: &mut RootCertStore) {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "a CA certificate of the system cannot be read");
    }
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, "CA certificates of the system");
}

struct Text {
    origin: Origin,
    bytes: Vec<u8>,
}

impl Text {
    fn of(key: &'static str, written: &Written) -> Result<Self, TlsSetupError> {
        match written {
            Written::File(path) => Self::read(key, path),
            Written::Text(text) => Ok(Self::given(key, text.expose())),
        }
    }

    fn given(key: &'static str, text: &str) -> Self {
        Self {
            origin: Origin { key, path: None },
            bytes: text.as_bytes().to_vec(),
        }
    }

    fn read(key: &'static str, path: &Path) -> Result<Self, TlsSetupError> {
        let origin = Origin {
            key,
            path: Some(path.to_owned()),
        };
        let mut bytes = Vec::new();
        let limit = u64::try_from(TLS_FILE_BYTES_MAX).unwrap_or(u64::MAX);
        let read = File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes));
        match read {
            Err(error) => Err(TlsSetupError::Read { origin, error }),
            Ok(length) if length > TLS_FILE_BYTES_MAX => Err(TlsSetupError::TooLarge { origin }),
            Ok(_) => Ok(Self { origin, bytes }),
        }
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
        let certificates = CertificateDer::pem_slice_iter(&self.bytes)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsSetupError::Pem {
                origin: self.origin.clone(),
                error,
            })?;
        if certificates.is_empty() {
            return Err(TlsSetupError::NoCertificate {
                origin: self.origin.clone(),
            });
        }
        Ok(certificates)
    }
}
