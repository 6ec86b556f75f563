//! The `tls` block: who proves what to whom, or that plain text is wanted.
//!
//! TLS is on unless `insecure: true` says otherwise. The two never mix: a block that asks for both, or an endpoint
//! whose scheme says the opposite, is an error and not a choice of ours. Files are named here and read elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use crate::auth::SpireConfig;
use crate::plain::Plain;
use crate::secret::SecretText;

mod parse;
mod tables;

pub(crate) use parse::{client, proxy, server};
pub(crate) use tables::{CLIENT_TLS, SERVER_TLS};

/// A look is one `stat` for each file. Certificates are replaced long before they expire, so a minute would do; ten
/// seconds are what somebody who replaced a file is willing to watch the log.
pub(crate) const RELOAD_INTERVAL_DEFAULT: Duration = Duration::from_secs(10);

/// What a listener that speaks TLS shows and demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerTls {
    /// The listener's certificate and key.
    pub source: CertificateSource,
    /// Who must have signed the certificate that a client then has to show; absent means that none is asked for.
    pub client_ca: Option<CaSource>,
    /// The one version that is spoken.
    pub version: TlsVersion,
    /// Pause between two looks at the files, which are read again when they changed.
    pub reload_interval: Duration,
}

impl ServerTls {
    /// This certificate and every default.
    pub fn new(source: CertificateSource) -> Self {
        Self {
            source,
            client_ca: None,
            version: TlsVersion::default(),
            reload_interval: RELOAD_INTERVAL_DEFAULT,
        }
    }
}

/// What a client that speaks TLS believes and shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {
    /// The client's own certificate and key, for listeners that demand one.
    pub source: Option<CertificateSource>,
    /// Who may sign the node's certificate, beside the system's own list.
    pub ca: Option<CaSource>,
    /// The system's list counts too.
    pub system_roots: bool,
    /// The name that is asked for and that the node's certificate must have; absent means the endpoint's host.
    pub server_name: Option<String>,
    /// Whoever answers is believed. For tests only.
    pub skip_verify: bool,
    /// The one version that is spoken.
    pub version: TlsVersion,
    /// Pause between two looks at the files, which are read again when they changed.
    pub reload_interval: Duration,
}

/// An empty block: whom the system trusts, under the endpoint's name.
impl Default for ClientTls {
    fn default() -> Self {
        Self {
            source: None,
            ca: None,
            system_roots: true,
            server_name: None,
            skip_verify: false,
            version: TlsVersion::default(),
            reload_interval: RELOAD_INTERVAL_DEFAULT,
        }
    }
}

/// Exactly one version is enabled on each side (wire-routing A12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2, for peers that know nothing newer.
    Tls12,
    /// TLS 1.3.
    #[default]
    Tls13,
}

impl TlsVersion {
    const NAMES: &[&str] = &["tls1.2", "tls1.3"];
    const ALL: &[Self] = &[Self::Tls12, Self::Tls13];

    /// The version's name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tls12 => "tls1.2",
            Self::Tls13 => "tls1.3",
        }
    }
}

/// A certificate with its chain, and its private key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateSource {
    /// PEM files.
    File {
        /// The certificate, then what leads from it to the CA.
        cert: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// PEM text.
    Pem {
        /// The certificate, then what leads from it to the CA.
        cert: String,
        /// Its private key.
        key: SecretText,
    },
    /// An X.509-SVID of the local SPIRE agent; `target_spiffe_id` says which. Renewed by the agent, without a reload.
    Spire(SpireConfig),
}

/// Certificates of CAs; all of a bundle count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaSource {
    /// A PEM file.
    File {
        /// Where.
        path: PathBuf,
    },
    /// PEM text.
    Pem {
        /// The text.
        data: String,
    },
    /// The bundles of the local SPIRE agent; a peer is then judged by its SPIFFE id, not by its host name, and the
    /// system's list does not count. `trust_domains` says whose identities are believed (none: those of the own trust
    /// domain), `target_spiffe_id` that the peer must be this one.
    Spire(SpireConfig),
}

impl CertificateSource {
    fn normal(&self) -> Plain {
        match self {
            Self::File { cert, key } => Plain::typed("file")
                .with("cert", cert.as_path())
                .with("key", key.as_path()),
            Self::Pem { cert, key } => Plain::typed("pem").with("cert", cert).with("key", key),
            Self::Spire(spire) => Plain::typed("spire")
                .with_some("socket_path", spire.socket_path.as_deref())
                .with_some("target_spiffe_id", spire.target_spiffe_id.as_ref()),
        }
    }
}

impl CaSource {
    fn normal(&self) -> Plain {
        match self {
            Self::File { path } => Plain::typed("file").with("path", path.as_path()),
            Self::Pem { data } => Plain::typed("pem").with("data", data),
            Self::Spire(spire) => Plain::typed("spire")
                .with_some("socket_path", spire.socket_path.as_deref())
                .with_some("target_spiffe_id", spire.target_spiffe_id.as_ref())
                .with_any("trust_domains", &spire.trust_domains),
        }
    }
}

/// Plain text as a block.
fn insecure() -> Plain {
    Plain::map().with("insecure", true)
}

impl ServerTls {
    pub(crate) fn normal(tls: Option<&Self>) -> Plain {
        let Some(tls) = tls else {
            return insecure();
        };
        Plain::map()
            .with("insecure", false)
            .with("source", tls.source.normal())
            .with(
                "client_ca",
                tls.client_ca.as_ref().map_or_else(Plain::none, CaSource::normal),
            )
            .with("tls_version", tls.version.name())
            .with("reload_interval", tls.reload_interval)
    }
}

impl ClientTls {
    /// Without `server_name`, which is a key of the entry around the block.
    pub(crate) fn normal(tls: Option<&Self>) -> Plain {
        let Some(tls) = tls else {
            return insecure();
        };
        let source = tls
            .source
            .as_ref()
            .map_or_else(Plain::none, CertificateSource::normal);
        Plain::map()
            .with("insecure", false)
            .with("insecure_skip_verify", tls.skip_verify)
            .with("source", source)
            .with(
                "ca_source",
                tls.ca.as_ref().map_or_else(Plain::none, CaSource::normal),
            )
            .with("include_system_ca_certs_pool", tls.system_roots)
            .with("tls_version", tls.version.name())
            .with("reload_interval", tls.reload_interval)
    }
}
