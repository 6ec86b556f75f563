//! One outgoing link: an entry of `clients[]`, and what an application gives to `connect`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::Loaded;
use crate::auth::{CLIENT_AUTH, ClientAuth};
use crate::backoff::{BACKOFF, Backoff};
use crate::endpoint::Endpoint;
use crate::error::{ConfigError, Problem};
use crate::field::Field;
use crate::keepalive::{CLIENT_KEEPALIVE, ClientKeepalive};
use crate::load;
use crate::plain::Plain;
use crate::proxy::{PROXY, Proxy};
use crate::rate_limit::RateLimit;
use crate::secret::SecretText;
use crate::section::Section;
use crate::server::{ENFORCE_PQC, NO_EFFECT, parse_endpoint, parse_enforce_pqc};
use crate::table::{Block, Key, Kind, Status};
use crate::tls::{self, CLIENT_TLS, ClientTls};

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

/// wire-routing A4: link ids are texts of a peer's choice; ours are UUIDs of 36 bytes.
const LINK_ID_BYTES_MAX: i64 = 128;

pub(crate) static CLIENT: Block = Block {
    name: "clients[]",
    doc: "One outgoing link: an entry of `clients`, and what the SDK's and the Python package's `connect` take.",
    keys: &[
        Key::new(
            "endpoint",
            Kind::Endpoint,
            "where to dial: `host:port`, `http://…` or `https://…` for gRPC, `ws://host:port/path` or `wss://…` for \
             WebSocket, `unix:///path` for a socket file",
        )
        .required(),
        Key::new(
            "tls",
            Kind::Block(&CLIENT_TLS),
            "whom to believe, or `{insecure: true}` for plain text",
        )
        .without("TLS under the system's CAs"),
        Key::new(
            "server_name",
            Kind::Text,
            "the name to ask for, and to find in the node's certificate",
        )
        .without("the endpoint's host"),
        Key::new("auth", CLIENT_AUTH, "what is shown to the node").or("{type: none}"),
        Key::new(
            "proxy",
            Kind::BlockOr(&PROXY, "direct"),
            "through whom the node is reached; `direct`: through nobody, whatever the environment says",
        )
        .without("`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say it"),
        Key::new(
            "rate_limit",
            Kind::Rate,
            "messages in so many seconds, as in `20/60`: so many at once, then evenly; who publishes more waits",
        )
        .without("any number"),
        ENFORCE_PQC,
        Key::new("origin", Kind::Text, "the HTTP authority to claim").without("that of the endpoint"),
        Key::new(
            "headers",
            Kind::Map(&Kind::Secret),
            "HTTP headers of the call, by lower-case name",
        )
        .or("{}"),
        Key::new(
            "connect_timeout",
            Kind::Duration { zero: true },
            "longest time to reach the node's socket; `0s`: the dialling side's own",
        )
        .or("0s"),
        Key::new(
            "keepalive",
            Kind::Block(&CLIENT_KEEPALIVE),
            "when a silent link is dead",
        )
        .without("dead within 15 s"),
        Key::new("backoff", BACKOFF, "pauses between attempts to dial")
            .without("a node dials every 2 s for ever; the SDK has its own way"),
        Key::new("link_id", Kind::Text, "the link's id, 1 to 128 bytes").without("a random UUID"),
        Key::new(
            "connection_type",
            Kind::Choice(&["edge", "remote"]),
            "what the link is to the node: of an application, or of a node of another domain",
        )
        .or("edge"),
        Key::new(
            "require_header_mac",
            Kind::Bool,
            "refuse a node that cannot prove its frames",
        )
        .or("true"),
        Key::other("connection_timeout", Status::Wrong("connect_timeout")),
        Key::other(
            "permit_without_stream",
            Status::Wrong("keepalive.keep_alive_while_idle"),
        ),
        // A link is one call that never ends, so a limit on calls would cut every link.
        Key::other("request_timeout", Status::Later(Some("0s"))),
        Key::other("metadata", Status::Later(None)),
        Key::other(
            "compression",
            Status::RefusedUnless(&["None", "Empty"], NO_EFFECT),
        ),
        Key::other("buffer_size", Status::Refused(NO_EFFECT)),
    ],
};

impl ClientConfig {
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
        load::from_json(text, |field| Self::parse(field, false))
    }

    pub(crate) fn parse(field: &Field<'_>, enforce_pqc: bool) -> Result<Self, ConfigError> {
        let section = Section::open(field, &CLIENT)?;
        let endpoint = parse_endpoint(section.required("endpoint")?)?;
        let tls = tls::client(&section, &endpoint)?;
        let enforce_pqc = parse_enforce_pqc(&section, enforce_pqc, tls.as_ref().map(|tls| tls.version))?;
        let connect_timeout = section.duration("connect_timeout")?;
        let rate_limit = section.field("rate_limit");
        Ok(Self {
            tls,
            auth: ClientAuth::parse(&section)?,
            proxy: Proxy::parse(&section, &endpoint)?,
            rate_limit: rate_limit
                .map(|field| field.parsed(str::parse, Problem::Rate))
                .transpose()?,
            enforce_pqc,
            origin: section.field("origin").map(authority).transpose()?,
            headers: section
                .field("headers")
                .map_or_else(|| Ok(BTreeMap::new()), headers)?,
            connect_timeout: Some(connect_timeout).filter(|timeout| !timeout.is_zero()),
            keepalive: ClientKeepalive::parse(section.section("keepalive")?)?,
            backoff: section
                .typed("backoff")?
                .as_ref()
                .map(Backoff::parse)
                .transpose()?,
            link_id: section.field("link_id").map(link_id).transpose()?,
            connection_type: connection_type(&section)?,
            require_header_mac: section.bool("require_header_mac")?,
            ..Self::insecure(endpoint)
        })
    }

    pub(crate) fn normal(&self) -> Plain {
        let server_name = self.tls.as_ref().and_then(|tls| tls.server_name.as_ref());
        let headers = self.headers.keys();
        let headers = headers
            .map(|name| (name.clone(), SecretText::new("")))
            .collect::<BTreeMap<_, _>>();
        Plain::map()
            .with("endpoint", self.endpoint.to_string())
            .with("tls", ClientTls::normal(self.tls.as_ref()))
            .with_some("server_name", server_name)
            .with(
                "auth",
                self.auth.as_ref().map_or_else(Plain::none, ClientAuth::normal),
            )
            .with_some("proxy", self.proxy.normal())
            .with_some("rate_limit", self.rate_limit.map(|limit| limit.to_string()))
            .with("enforce_pqc", self.enforce_pqc)
            .with_some("origin", self.origin.as_ref())
            .with("headers", &headers)
            .with("connect_timeout", self.connect_timeout.unwrap_or_default())
            .with("keepalive", self.keepalive.normal())
            .with_some("backoff", self.backoff.as_ref().map(Backoff::normal))
            .with_some("link_id", self.link_id.as_ref())
            .with("connection_type", self.connection_type.name())
            .with("require_header_mac", self.require_header_mac)
    }
}

impl ConnectionType {
    /// Its word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Remote => "remote",
        }
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

/// HTTP headers by lower-case name, without those that the transport sets.
pub(crate) fn headers(field: &Field<'_>) -> Result<BTreeMap<String, String>, ConfigError> {
    let mut headers = BTreeMap::new();
    for (name, field) in field.entries()? {
        let value = field.text()?;
        let token = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        let printable = |c: char| c == ' ' || c.is_ascii_graphic();
        if name.is_empty() || !name.chars().all(token) || !value.chars().all(printable) {
            return Err(field.error(Problem::Header));
        }
        let own = [
            "content-type",
            "te",
            "host",
            "connection",
            "upgrade",
            "content-length",
            "transfer-encoding",
        ];
        if own.contains(&name) || name.starts_with("grpc-") || name.starts_with("sec-websocket-") {
            return Err(field.error(Problem::ReservedHeader));
        }
        headers.insert(name.to_owned(), value.to_owned());
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

fn connection_type(section: &Section<'_>) -> Result<ConnectionType, ConfigError> {
    if let Some(field) = section.field("connection_type")
        && field.text()?.eq_ignore_ascii_case("peer")
    {
        return Err(field.error(Problem::NotYet {
            neutral: Some("edge"),
        }));
    }
    section.choice("connection_type", &[ConnectionType::Edge, ConnectionType::Remote])
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
