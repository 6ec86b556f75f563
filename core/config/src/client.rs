//! One outgoing link: an entry of `clients[]`, and what an application gives to `connect`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::Loaded;
use crate::auth::ClientAuth;
use crate::endpoint::Endpoint;
use crate::error::{ConfigError, Problem, Warning};
use crate::keepalive::ClientKeepalive;
use crate::later;
use crate::proxy::Proxy;
use crate::rate_limit::RateLimit;
use crate::section::{Field, Section};
use crate::server::parse_endpoint;
use crate::tls::{self, ClientTls};
use crate::tree;

/// A link to a node.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// Where to dial.
    pub endpoint: Endpoint,
    /// How the link is protected; absent means plain text.
    pub tls: Option<ClientTls>,
    /// What is shown to the node; absent means nothing.
    pub auth: Option<ClientAuth>,
    /// Through whom the node is reached.
    pub proxy: Proxy,
    /// How many messages may be sent; absent means any number.
    pub rate_limit: Option<RateLimit>,
    /// Only key exchanges that also resist quantum computers, in TLS and in the link negotiation.
    pub enforce_pqc: bool,
    /// The HTTP authority to claim instead of the endpoint's.
    pub origin: Option<String>,
    /// HTTP headers sent with the call, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Limit for reaching the peer over TCP; absent means the dialling side's own.
    pub connect_timeout: Option<Duration>,
    /// When a silent link is dead.
    pub keepalive: ClientKeepalive,
    /// How to repeat a failed dial; absent means that the dialling side has its own way.
    pub backoff: Option<Backoff>,
    /// The link's id; absent means a random one.
    pub link_id: Option<String>,
    /// What the link is to the peer.
    pub connection_type: ConnectionType,
    /// Refuse a peer that cannot prove its frames with a header MAC (wire-routing A4.5).
    pub require_header_mac: bool,
}

/// What a link is (wire-routing A10); links between peers come with a later release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionType {
    /// An application, or a node that acts for some, and its node.
    Edge,
    /// A node of another domain.
    Remote,
}

/// Pauses between attempts to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// Always the same pause.
    FixedInterval {
        /// The pause.
        interval: Duration,
        /// Attempts; absent means no limit.
        max_attempts: Option<u32>,
    },
    /// `base * factor * 2^n` after attempt n, at most `max_delay`.
    Exponential {
        /// The first pause at factor 1.
        base: Duration,
        /// Multiplies every pause.
        factor: u32,
        /// The longest pause.
        max_delay: Duration,
        /// Takes a random part, one half to the whole, of each pause.
        jitter: bool,
        /// Attempts; absent means no limit.
        max_attempts: Option<u32>,
    },
}

/// wire-routing A4: link ids are texts of a peer's choice; ours are UUIDs of 36 bytes.
const LINK_ID_BYTES_MAX: i64 = 128;

impl ClientConfig {
    const KEYS: &[&str] = &[
        "endpoint",
        "origin",
        "server_name",
        "compression",
        "rate_limit",
        "keepalive",
        "connect_timeout",
        "request_timeout",
        "buffer_size",
        "headers",
        "tls",
        "auth",
        "proxy",
        "backoff",
        "metadata",
        "link_id",
        "connection_type",
        "require_header_mac",
    ];

    /// A plain-text link with every default.
    pub fn insecure(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            tls: None,
            auth: None,
            proxy: Proxy::default(),
            rate_limit: None,
            enforce_pqc: false,
            origin: None,
            headers: BTreeMap::new(),
            connect_timeout: None,
            keepalive: ClientKeepalive::default(),
            backoff: None,
            link_id: None,
            connection_type: ConnectionType::Edge,
            require_header_mac: true,
        }
    }

    /// Parses one client entry from JSON, as strictly as from a file.
    pub fn from_json_text(text: &str) -> Result<Loaded<Self>, ConfigError> {
        let node = tree::from_json(text)?;
        let mut warnings = Vec::new();
        let config = Self::parse(&Field::root(&node), &mut warnings)?;
        Ok(Loaded { config, warnings })
    }

    pub(crate) fn parse(field: &Field<'_>, warnings: &mut Vec<Warning>) -> Result<Self, ConfigError> {
        let section = Section::open(field, Self::KEYS)?;
        later::refuse_auth(&section)?;
        later::refuse(&section, &["proxy", "rate_limit", "metadata"])?;
        later::refuse_without_effect(&section, &["buffer_size"])?;
        refuse_compression(&section)?;
        if let Some(timeout) = section.field("request_timeout")
            && !timeout.duration()?.is_zero()
        {
            // A link is one call that never ends, so a limit on calls would cut every link.
            return Err(timeout.error(Problem::NotYet { neutral: Some("0s") }));
        }
        let endpoint = parse_endpoint(section.required("endpoint")?)?;
        let tls = tls::client(&section, &endpoint, warnings)?;
        let connect_timeout = section.duration_or("connect_timeout", Duration::ZERO)?;
        Ok(Self {
            tls,
            origin: section.field("origin").map(authority).transpose()?,
            headers: headers(&section)?,
            connect_timeout: Some(connect_timeout).filter(|timeout| !timeout.is_zero()),
            keepalive: ClientKeepalive::parse(section.field("keepalive"))?,
            backoff: section.field("backoff").map(backoff).transpose()?,
            link_id: section.field("link_id").map(link_id).transpose()?,
            connection_type: section
                .field("connection_type")
                .map_or(Ok(ConnectionType::Edge), connection_type)?,
            require_header_mac: section.bool_or("require_header_mac", true)?,
            ..Self::insecure(endpoint)
        })
    }
}

/// `None` and `Empty` are the two spellings of no compression.
fn refuse_compression(section: &Section<'_>) -> Result<(), ConfigError> {
    match section.field("compression") {
        Some(field) if !["None", "Empty"].contains(&field.text()?) => Err(field.error(Problem::NoEffect)),
        _ => Ok(()),
    }
}

/// The authority of an origin, which may be written as a URL.
fn authority(field: &Field<'_>) -> Result<String, ConfigError> {
    let text = field.text()?;
    let authority = ["http://", "https://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let authority = authority.unwrap_or(text);
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if authority.is_empty() || !authority.chars().all(letter) {
        return Err(field.error(Problem::Header));
    }
    Ok(authority.to_owned())
}

fn headers(section: &Section<'_>) -> Result<BTreeMap<String, String>, ConfigError> {
    let Some(field) = section.field("headers") else {
        return Ok(BTreeMap::new());
    };
    let mut headers = BTreeMap::new();
    for (name, field) in Section::open_any(field)?.fields() {
        let value = field.text()?;
        let token = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let printable = |c: char| c == ' ' || c.is_ascii_graphic();
        if name.is_empty() || !name.chars().all(token) || !value.chars().all(printable) {
            return Err(field.error(Problem::Header));
        }
        let own = ["content-type", "te", "host", "connection", "transfer-encoding"];
        if own.contains(name) || name.starts_with("grpc-") {
            return Err(field.error(Problem::ReservedHeader));
        }
        headers.insert((*name).to_owned(), value.to_owned());
    }
    Ok(headers)
}

fn link_id(field: &Field<'_>) -> Result<String, ConfigError> {
    let text = field.text()?;
    let bytes = i64::try_from(text.len()).unwrap_or(i64::MAX);
    if !(1..=LINK_ID_BYTES_MAX).contains(&bytes) {
        return Err(field.error(Problem::Range {
            value: bytes,
            min: 1,
            max: LINK_ID_BYTES_MAX,
        }));
    }
    Ok(text.to_owned())
}

fn connection_type(field: &Field<'_>) -> Result<ConnectionType, ConfigError> {
    if field.text()?.eq_ignore_ascii_case("peer") {
        return Err(field.error(Problem::NotYet {
            neutral: Some("edge"),
        }));
    }
    field.choice(
        &["edge", "remote"],
        &[ConnectionType::Edge, ConnectionType::Remote],
    )
}

fn backoff(field: &Field<'_>) -> Result<Backoff, ConfigError> {
    const KINDS: &[&str] = &["fixed_interval", "exponential"];
    let all = [
        "type",
        "interval",
        "base",
        "factor",
        "max_delay",
        "jitter",
        "max_attempts",
    ];
    let exponential = Section::open(field, &all)?
        .required("type")?
        .choice(KINDS, &[false, true])?;
    let attempts = |section: &Section<'_>| -> Result<Option<u32>, ConfigError> {
        let attempts = section.integer("max_attempts", 1, i64::from(u32::MAX))?;
        Ok(attempts.and_then(|attempts| u32::try_from(attempts).ok()))
    };
    if !exponential {
        let section = Section::open(field, &["type", "interval", "max_attempts"])?;
        return Ok(Backoff::FixedInterval {
            interval: section.positive_duration_or("interval", Duration::from_secs(2))?,
            max_attempts: attempts(&section)?,
        });
    }
    let section = Section::open(
        field,
        &["type", "base", "factor", "max_delay", "jitter", "max_attempts"],
    )?;
    let factor = section.integer("factor", 1, 1_000_000)?.unwrap_or(1);
    Ok(Backoff::Exponential {
        base: section.positive_duration_or("base", Duration::from_millis(100))?,
        factor: u32::try_from(factor).unwrap_or(1),
        max_delay: section.positive_duration_or("max_delay", Duration::from_secs(1))?,
        jitter: section.bool_or("jitter", true)?,
        max_attempts: attempts(&section)?,
    })
}

/// Header values may be credentials, so only their names are shown.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: BTreeMap<_, _> = self.headers.keys().map(|name| (name, "[redacted]")).collect();
        f.debug_struct("ClientConfig")
            .field("endpoint", &self.endpoint)
            .field("tls", &self.tls)
            .field("auth", &self.auth)
            .field("proxy", &self.proxy)
            .field("rate_limit", &self.rate_limit)
            .field("enforce_pqc", &self.enforce_pqc)
            .field("origin", &self.origin)
            .field("headers", &headers)
            .field("connect_timeout", &self.connect_timeout)
            .field("keepalive", &self.keepalive)
            .field("backoff", &self.backoff)
            .field("link_id", &self.link_id)
            .field("connection_type", &self.connection_type)
            .field("require_header_mac", &self.require_header_mac)
            .finish()
    }
}
