//! One listener.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::Loaded;
use crate::auth::{SERVER_AUTH, ServerAuth};
use crate::endpoint::{Endpoint, Transport};
use crate::error::{ConfigError, Problem};
use crate::field::Field;
use crate::keepalive::{SERVER_KEEPALIVE, ServerKeepalive};
use crate::load;
use crate::plain::Plain;
use crate::section::Section;
use crate::table::{Block, Key, Kind, Status};
use crate::tls::{self, CaSource, CertificateSource, SERVER_TLS, ServerTls, TlsVersion};

/// A listener, for gRPC over HTTP/2 or for WebSocket.
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
    /// Streams that one connection may have open, absent means 100; WebSocket connections that the listener may have
    /// open, absent means as many as the node.
    pub max_concurrent_streams: Option<u32>,
    /// Largest header list of a request, in bytes; absent means 16 KiB.
    pub max_header_list_size: Option<u32>,
    /// When connections end.
    pub keepalive: ServerKeepalive,
    /// Links must prove their frames with a header MAC (wire-routing A4.5).
    pub require_header_mac: bool,
    /// Time that a dialer has to open its stream and to negotiate.
    pub negotiation_timeout: Duration,
    /// Applications of 0.4 and 1.x are served too.
    pub legacy: bool,
}

/// wire-routing A4.3 and A14.
const NEGOTIATION_TIMEOUT_SECS_DEFAULT: u64 = 5;
/// An hour is certainly not meant; a typing mistake must not keep half-open links for ever.
const NEGOTIATION_TIMEOUT_SECS_MAX: i64 = 3600;

pub(crate) static SERVER: Block = Block {
    name: "servers[]",
    doc: "One listener.",
    keys: &[
        Key::new(
            "endpoint",
            Kind::Endpoint,
            "where to listen: `host:port`, `[v6]:port`, `http://…` or `https://…` for gRPC, `ws://host:port/path` or \
             `wss://…` for WebSocket, `unix:///path` for a socket file; port 0: any free port",
        )
        .required(),
        Key::new(
            "tls",
            Kind::Block(&SERVER_TLS),
            "certificates, or `{insecure: true}` for plain text; a Unix socket needs none",
        )
        .required(),
        Key::new(
            "auth",
            SERVER_AUTH,
            "what a dialler must prove before its link opens",
        )
        .or("{type: none}"),
        ENFORCE_PQC,
        Key::new(
            "max_frame_size",
            Kind::Integer { min: 1, max: 16 },
            "largest HTTP/2 frame that is accepted, in MiB; not under `ws://` and `wss://`",
        )
        .without("64 KiB"),
        Key::new(
            "max_concurrent_streams",
            Kind::Integer { min: 1, max: 10_000 },
            "calls that one connection may have open; under `ws://` and `wss://`, connections of the listener",
        )
        .without("100 calls; as many connections as the node has"),
        Key::new(
            "max_header_list_size",
            Kind::Integer {
                min: 1024,
                max: 16 * 1024 * 1024,
            },
            "largest header list of a request, in bytes",
        )
        .without("16 KiB"),
        Key::new(
            "keepalive",
            Kind::Block(&SERVER_KEEPALIVE),
            "when connections end",
        )
        .without("its defaults"),
        Key::new(
            "require_header_mac",
            Kind::Bool,
            "refuse links that cannot prove their frames",
        )
        .or("true"),
        Key::new(
            "negotiation_timeout_secs",
            Kind::Integer {
                min: 1,
                max: NEGOTIATION_TIMEOUT_SECS_MAX,
            },
            "time that a dialler has for each of TLS, opening its call and negotiating, in seconds",
        )
        .or("5"),
        Key::new(
            "legacy",
            Kind::Bool,
            "serve applications of 0.4 and 1.x too; with `enforce_pqc` they are refused anyway",
        )
        .or("true"),
        Key::old("link_hmac_timeout_secs", "negotiation_timeout_secs"),
        Key::other("max_recv_msg_size", Status::Wrong("max_frame_size")),
        Key::other("http2_only", Status::Later(Some("true"))),
        Key::other("metadata", Status::Later(None)),
        Key::other("read_buffer_size", Status::Refused(NO_EFFECT)),
        Key::other("write_buffer_size", Status::Refused(NO_EFFECT)),
        Key::other("link_hmac_poll_interval_ms", Status::Refused(NO_EFFECT)),
    ],
};

/// Of listeners and clients alike.
pub(crate) const ENFORCE_PQC: Key = Key::new(
    "enforce_pqc",
    Kind::Bool,
    "only key exchanges that also resist quantum computers, in TLS and in the negotiation of links",
)
.without("as `dataplane.enforce_pqc` says");

/// What upstream parses and ignores.
pub(crate) const NO_EFFECT: &str = "this key has no effect in any release; remove it";

impl ServerConfig {
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
            legacy: true,
        }
    }

    /// Whether applications of 0.4 and 1.x are served: their links know no key exchange at all, so none that resists
    /// quantum computers.
    pub fn serves_older_wires(&self) -> bool {
        self.legacy && !self.enforce_pqc
    }

    /// Parses one server entry from JSON, as strictly as from a file.
    pub fn from_json_text(text: &str) -> Result<Loaded<Self>, ConfigError> {
        load::from_json(text, |field| Self::parse(field, false))
    }

    pub(crate) fn parse(field: &Field<'_>, enforce_pqc: bool) -> Result<Self, ConfigError> {
        let section = Section::open(field, &SERVER)?;
        let endpoint = parse_endpoint(section.required("endpoint")?)?;
        let tls = tls::server(&section, &endpoint)?;
        let seconds = section.integer("negotiation_timeout_secs")?;
        let enforce_pqc = parse_enforce_pqc(&section, enforce_pqc, tls.as_ref().map(|tls| tls.version))?;
        if endpoint.transport() == Transport::WebSocket
            && let Some(field) = section.field("max_frame_size")
        {
            return Err(field.error(Problem::Http2Only));
        }
        Ok(Self {
            tls,
            auth: ServerAuth::parse(&section)?,
            enforce_pqc,
            // 16 MiB is what the three length bytes of an HTTP/2 frame can say.
            max_frame_size: section.integer_if("max_frame_size")?,
            max_concurrent_streams: section.integer_if("max_concurrent_streams")?,
            max_header_list_size: section.integer_if("max_header_list_size")?,
            keepalive: ServerKeepalive::parse(section.section("keepalive")?)?,
            require_header_mac: section.bool("require_header_mac")?,
            negotiation_timeout: Duration::from_secs(seconds.into()),
            legacy: section.bool("legacy")?,
            ..Self::insecure(endpoint)
        })
    }

    pub(crate) fn normal(&self) -> Plain {
        Plain::map()
            .with("endpoint", self.endpoint.to_string())
            .with("tls", ServerTls::normal(self.tls.as_ref()))
            .with(
                "auth",
                self.auth.as_ref().map_or_else(Plain::none, ServerAuth::normal),
            )
            .with("enforce_pqc", self.enforce_pqc)
            .with_some("max_frame_size", self.max_frame_size)
            .with_some("max_concurrent_streams", self.max_concurrent_streams)
            .with_some("max_header_list_size", self.max_header_list_size)
            .with("keepalive", self.keepalive.normal())
            .with("require_header_mac", self.require_header_mac)
            .with("negotiation_timeout_secs", self.negotiation_timeout.as_secs())
            .with("legacy", self.legacy)
    }
}

pub(crate) fn parse_endpoint(field: &Field<'_>) -> Result<Endpoint, ConfigError> {
    field.parsed(str::parse, Problem::Endpoint)
}

/// Its own word, or what holds around it. TLS 1.2 knows no such key exchange.
pub(crate) fn parse_enforce_pqc(
    section: &Section<'_>,
    inherited: bool,
    version: Option<TlsVersion>,
) -> Result<bool, ConfigError> {
    let field = section.field("enforce_pqc");
    let enforced = field.map_or(Ok(inherited), Field::bool)?;
    if enforced && version == Some(TlsVersion::Tls12) {
        return Err(field.map_or_else(
            || section.error(Problem::PostQuantumVersion),
            |field| field.error(Problem::PostQuantumVersion),
        ));
    }
    Ok(enforced)
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
            // The line is in the form of a generation that knew no agent.
            CertificateSource::Spire(_) => {}
        }
        match &tls.client_ca {
            Some(CaSource::File { path }) => shown.client_ca_file = Some(path),
            Some(CaSource::Pem { .. }) => shown.client_ca_pem = Some("[PEM]"),
            Some(CaSource::Spire(_)) | None => {}
        }
        shown
    }
}

/// Which kind of authentication, and nothing of its values.
struct ShownAuth<'a>(&'a ServerAuth);

impl fmt::Debug for ShownAuth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
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
             key_file: {:?}, key_pem: {:?}, tls_version: {:?}, reload_interval: {:?} }}, \
             insecure: {}, client_ca_file: {:?}, client_ca_pem: {:?}, reload_client_ca_file: false }}, \
             http2_only: true, max_frame_size: {:?}, max_concurrent_streams: {:?}, \
             max_header_list_size: {:?}, read_buffer_size: None, write_buffer_size: None, \
             keepalive: KeepaliveServerParameters {{ max_connection_idle: {:?}, max_connection_age: {:?}, \
             max_connection_age_grace: {:?}, time: {:?}, timeout: {:?} }}, auth: {:?}",
            self.endpoint,
            tls.cert_file,
            tls.cert_pem,
            tls.key_file,
            tls.key_pem,
            tls.version.name(),
            self.tls.as_ref().map(|tls| tls.reload_interval),
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
            self.auth.as_ref().map(ShownAuth),
        )?;
        if self.enforce_pqc {
            f.write_str(", enforce_pqc: true")?;
        }
        if !self.require_header_mac {
            f.write_str(", require_header_mac: false")?;
        }
        if self.negotiation_timeout.as_secs() != NEGOTIATION_TIMEOUT_SECS_DEFAULT {
            write!(f, ", negotiation_timeout: {:?}", self.negotiation_timeout)?;
        }
        if !self.legacy {
            f.write_str(", legacy: false")?;
        }
        f.write_str(" }")
    }
}
