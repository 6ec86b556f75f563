//! The `proxy` key of a client: through whom the node is reached.

use std::collections::BTreeMap;

use crate::auth::BasicAuth;
use crate::client::headers;
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{ConfigError, Problem};
use crate::field::Field;
use crate::neutral::{is_none, says_nothing, says_only};
use crate::plain::Plain;
use crate::secret::SecretText;
use crate::section::Section;
use crate::server::parse_endpoint;
use crate::table::{Block, Key, Kind};
use crate::tls::{self, CLIENT_TLS, ClientTls};

/// Through whom the node is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Proxy {
    /// Whom the environment names: `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`.
    #[default]
    Environment,
    /// Nobody, whatever the environment says (`proxy: direct`).
    Direct,
    /// This one, also for endpoints that `NO_PROXY` or loopback would exempt.
    Through(Box<ProxyConfig>),
}

/// An HTTP proxy that is asked with CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Sent as `Proxy-Authorization`.
    pub credentials: Option<BasicAuth>,
    /// Further headers of the CONNECT request, by lower-case name.
    pub headers: BTreeMap<String, SecretText>,
    /// How the way to the proxy itself is protected; absent means plain text (`http://`).
    pub tls: Option<ClientTls>,
}

/// The one word that may stand in the place of the block.
const DIRECT: &str = "direct";

pub(crate) static PROXY: Block = Block {
    name: "proxy",
    doc: "An HTTP proxy, which is asked with CONNECT. A block without `url` leaves the choice to the environment.",
    keys: &[
        Key::new(
            "url",
            Kind::Endpoint,
            "`http://host:port`, or `https://host:port` for TLS on the way to the proxy",
        )
        .without("the environment says it"),
        Key::new("username", Kind::Text, "who we are to the proxy").without("nobody"),
        Key::new("password", Kind::Secret, "the proof of it").without("empty"),
        Key::new(
            "headers",
            Kind::Map(&Kind::Secret),
            "further headers of the request, by lower-case name",
        )
        .or("{}"),
        Key::new(
            "tls",
            Kind::Block(&CLIENT_TLS),
            "whom to believe on the way to the proxy, with `https://`",
        )
        .without("the system's CAs"),
    ],
};

impl Proxy {
    pub(crate) fn parse(entry: &Section<'_>, target: &Endpoint) -> Result<Self, ConfigError> {
        let Some(field) = entry.field("proxy") else {
            return Ok(Self::Environment);
        };
        if says_only(field.value(), DIRECT) {
            return Ok(Self::Direct);
        }
        if is_none(field.value()) {
            return Ok(Self::Environment);
        }
        let section = Section::open(field, &PROXY)?;
        let Some(url) = section.field("url") else {
            // Keys about a proxy that is not named would be without effect.
            return match section.fields().find(|(_, field)| !says_nothing(field.value())) {
                Some((name, _)) if !["tls", "headers"].contains(&name) => {
                    Err(section.error(Problem::Missing { key: "url" }))
                }
                Some(_) | None => Ok(Self::Environment),
            };
        };
        if url.text()?.contains('@') {
            return Err(url.error(Problem::ProxyCredentials));
        }
        let scheme = url.text()?.split_once("://").map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| !["http", "https"].contains(&scheme)) {
            return Err(url.error(Problem::ProxyScheme));
        }
        let endpoint = parse_endpoint(url)?;
        let written = section.section("tls")?;
        let tls = match endpoint.scheme() {
            Some(Scheme::Https) => Some(tls::proxy(written.as_ref())?),
            Some(Scheme::Http) | None => None,
            Some(Scheme::Ws | Scheme::Wss | Scheme::Unix) => return Err(url.error(Problem::ProxyScheme)),
        };
        if target.socket_path().is_some() {
            return Err(field.error(Problem::SocketProxy));
        }
        Ok(Self::Through(Box::new(ProxyConfig {
            endpoint,
            credentials: credentials(&section)?,
            headers: section
                .field("headers")
                .map_or_else(|| Ok(BTreeMap::new()), secret_headers)?,
            tls,
        })))
    }

    /// `None` leaves it to the environment.
    pub(crate) fn normal(&self) -> Option<Plain> {
        let config = match self {
            Self::Environment => return None,
            Self::Direct => return Some(DIRECT.into()),
            Self::Through(config) => config,
        };
        let scheme = if config.tls.is_some() { "https" } else { "http" };
        let credentials = config.credentials.as_ref();
        let plain = Plain::map()
            .with("url", format!("{scheme}://{}", config.endpoint))
            .with_some("username", credentials.map(|credentials| &credentials.username))
            .with_some("password", credentials.map(|credentials| &credentials.password))
            .with("headers", &config.headers);
        Some(match &config.tls {
            Some(tls) => plain.with("tls", ClientTls::normal(Some(tls))),
            None => plain,
        })
    }
}

fn credentials(section: &Section<'_>) -> Result<Option<BasicAuth>, ConfigError> {
    let Some(username) = section.text_if("username")? else {
        return match section.field("password") {
            Some(_) => Err(section.error(Problem::Missing { key: "username" })),
            None => Ok(None),
        };
    };
    if username.contains(':') {
        return Err(section.required("username")?.error(Problem::UserName));
    }
    let password = section
        .field("password")
        .map(Field::text)
        .transpose()?
        .unwrap_or_default();
    Ok(Some(BasicAuth {
        username,
        password: SecretText::new(password),
    }))
}

fn secret_headers(field: &Field<'_>) -> Result<BTreeMap<String, SecretText>, ConfigError> {
    let headers = headers(field)?.into_iter();
    Ok(headers
        .map(|(name, value)| (name, SecretText::new(value)))
        .collect())
}
