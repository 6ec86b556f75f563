//! One listener.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::Loaded;
use crate::auth::ServerAuth;
use crate::endpoint::Endpoint;
use crate::error::{ConfigError, Problem, Warning};
use crate::keepalive::ServerKeepalive;
use crate::later;
use crate::section::{Field, Section};
use crate::tls::{self, CaSource, CertificateSource, ServerTls, TlsVersion};
use crate::tree;

/// An HTTP/2 listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where to listen.
    pub endpoint: Endpoint,
    /// How its links are protected; absent means plain text.
    pub tls: Option<ServerTls>,
    /// What a dialler must prove before its link opens; absent means nothing.
    pub auth: Option<ServerAuth>,
    /// Only key exchanges that also resist quantum computers, in TLS and in the link negotiation.
    pub enforce_pqc: bool,
    /// Largest HTTP/2 frame that the peer may send, in MiB; absent means 64 KiB.
    pub max_frame_size: Option<u32>,
    /// Streams that one connection may have open; absent means 100.
    pub max_concurrent_streams: Option<u32>,
    /// Largest header list of a request, in bytes; absent means 16 KiB.
    pub max_header_list_size: Option<u32>,
    /// When connections end.
    pub keepalive: ServerKeepalive,
    /// Links must prove their frames with a header MAC (wire-routing A4.5).
    pub require_header_mac: bool,
    /// Time that a dialer has to open its stream and to negotiate.
    pub negotiation_timeout: Duration,
}

/// wire-routing A4.3 and A14.
const NEGOTIATION_TIMEOUT_SECS_DEFAULT: u64 = 5;
/// An hour is certainly not meant; a typing mistake must not keep half-open links for ever.
const NEGOTIATION_TIMEOUT_SECS_MAX: i64 = 3600;

impl ServerConfig {
    const KEYS: &[&str] = &[
        "endpoint",
        "tls",
        "http2_only",
        "max_frame_size",
        "max_concurrent_streams",
        "max_header_list_size",
        "read_buffer_size",
        "write_buffer_size",
        "keepalive",
        "auth",
        "metadata",
        "require_header_mac",
        "negotiation_timeout_secs",
        "link_hmac_timeout_secs",
        "link_hmac_poll_interval_ms",
    ];

    /// A plain-text listener with every default.
    pub fn insecure(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            tls: None,
            auth: None,
            enforce_pqc: false,
            max_frame_size: None,
            max_concurrent_streams: None,
            max_header_list_size: None,
            keepalive: ServerKeepalive::default(),
            require_header_mac: true,
            negotiation_timeout: Duration::from_secs(NEGOTIATION_TIMEOUT_SECS_DEFAULT),
        }
    }

    /// Parses one server entry from JSON, as strictly as from a file.
    pub fn from_json_text(text: &str) -> Result<Loaded<Self>, ConfigError> {
        let node = tree::from_json(text)?;
        let mut warnings = Vec::new();
        let config = Self::parse(&Field::root(&node), &mut warnings)?;
        Ok(Loaded { config, warnings })
    }

    pub(crate) fn parse(field: &Field<'_>, warnings: &mut Vec<Warning>) -> Result<Self, ConfigError> {
        let section = Section::open(field, Self::KEYS)?;
        later::refuse_auth(&section)?;
        later::refuse(&section, &["metadata"])?;
        later::refuse_without_effect(
            &section,
            &[
                "read_buffer_size",
                "write_buffer_size",
                "link_hmac_poll_interval_ms",
            ],
        )?;
        if let Some(http2_only) = section.field("http2_only")
            && !http2_only.bool()?
        {
            return Err(http2_only.error(Problem::NotYet {
                neutral: Some("true"),
            }));
        }
        let endpoint = parse_endpoint(section.required("endpoint")?)?;
        let tls = tls::server(&section, &endpoint, warnings)?;
        Ok(Self {
            tls,
            // 16 MiB is what the three length bytes of an HTTP/2 frame can say.
            max_frame_size: unsigned(&section, "max_frame_size", 1, 16)?,
            max_concurrent_streams: unsigned(&section, "max_concurrent_streams", 1, 10_000)?,
            max_header_list_size: unsigned(&section, "max_header_list_size", 1024, 16 * 1024 * 1024)?,
            keepalive: ServerKeepalive::parse(section.field("keepalive"))?,
            require_header_mac: section.bool_or("require_header_mac", true)?,
            negotiation_timeout: negotiation_timeout(&section)?,
            ..Self::insecure(endpoint)
        })
    }
}

pub(crate) fn parse_endpoint(field: &Field<'_>) -> Result<Endpoint, ConfigError> {
    field
        .text()?
        .parse()
        .map_err(|error| field.error(Problem::Endpoint(error)))
}

fn unsigned(section: &Section<'_>, key: &str, min: i64, max: i64) -> Result<Option<u32>, ConfigError> {
    Ok(section
        .integer(key, min, max)?
        .and_then(|value| u32::try_from(value).ok()))
}

fn negotiation_timeout(section: &Section<'_>) -> Result<Duration, ConfigError> {
    let (new, old) = ("negotiation_timeout_secs", "link_hmac_timeout_secs");
    if let (Some(_), Some(field)) = (section.field(new), section.field(old)) {
        return Err(field.error(Problem::OldAndNew { old, new }));
    }
    let key = if section.field(old).is_some() { old } else { new };
    let seconds = section.integer(key, 1, NEGOTIATION_TIMEOUT_SECS_MAX)?;
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Ok(Duration::from_secs(
        seconds.unwrap_or(NEGOTIATION_TIMEOUT_SECS_DEFAULT),
    ))
}

/// The TLS values as the tutorial's generation had them: a key for each file. Texts are too long for a log line,
/// and one is a secret.
#[derive(Default)]
struct ShownTls<'a> {
    cert_file: Option<&'a Path>,
    cert_pem: Option<&'a str>,
    key_file: Option<&'a Path>,
    key_pem: Option<&'a str>,
    client_ca_file: Option<&'a Path>,
    client_ca_pem: Option<&'a str>,
    version: TlsVersion,
}

impl<'a> ShownTls<'a> {
    fn of(tls: Option<&'a ServerTls>) -> Self {
        let mut shown = Self::default();
        let Some(tls) = tls else {
            return shown;
        };
        shown.version = tls.version;
        match &tls.source {
            CertificateSource::File { cert, key } => {
                shown.cert_file = Some(cert);
                shown.key_file = Some(key);
            }
            CertificateSource::Pem { .. } => {
                shown.cert_pem = Some("[PEM]");
                shown.key_pem = Some("[redacted]");
            }
        }
        match &tls.client_ca {
            Some(CaSource::File { path }) => shown.client_ca_file = Some(path),
            Some(CaSource::Pem { .. }) => shown.client_ca_pem = Some("[PEM]"),
            None => {}
        }
        shown
    }
}

/// The effective values in the order and the form of the tutorial's log line; what the tutorial's
/// generation did not have is appended only when it differs from its default.
impl fmt::Display for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keepalive = &self.keepalive;
        let tls = ShownTls::of(self.tls.as_ref());
        write!(
            f,
            "ServerConfig {{ endpoint: {}, tls_setting: TlsServerConfig {{ config: Config {{ ca_file: None, \
             ca_pem: None, include_system_ca_certs_pool: false, cert_file: {:?}, cert_pem: {:?}, \
             key_file: {:?}, key_pem: {:?}, tls_version: {:?}, reload_interval: None }}, \
             insecure: {}, client_ca_file: {:?}, client_ca_pem: {:?}, reload_client_ca_file: false }}, \
             http2_only: true, max_frame_size: {:?}, max_concurrent_streams: {:?}, \
             max_header_list_size: {:?}, read_buffer_size: None, write_buffer_size: None, \
             keepalive: KeepaliveServerParameters {{ max_connection_idle: {:?}, max_connection_age: {:?}, \
             max_connection_age_grace: {:?}, time: {:?}, timeout: {:?} }}, auth: None",
            self.endpoint,
            tls.cert_file,
            tls.cert_pem,
            tls.key_file,
            tls.key_pem,
            tls.version.name(),
            self.tls.is_none(),
            tls.client_ca_file,
            tls.client_ca_pem,
            self.max_frame_size,
            self.max_concurrent_streams,
            self.max_header_list_size,
            keepalive.max_connection_idle,
            keepalive.max_connection_age,
            keepalive.max_connection_age_grace,
            keepalive.time,
            keepalive.timeout,
        )?;
        if !self.require_header_mac {
            f.write_str(", require_header_mac: false")?;
        }
        if self.negotiation_timeout.as_secs() != NEGOTIATION_TIMEOUT_SECS_DEFAULT {
            write!(f, ", negotiation_timeout: {:?}", self.negotiation_timeout)?;
        }
        f.write_str(" }")
    }
}
