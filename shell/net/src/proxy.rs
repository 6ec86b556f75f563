//! Reaching a node through an HTTP proxy: which proxy, and the CONNECT request that opens the way.
//!
//! TLS with the node runs inside the tunnel, so a proxy sees names and sizes, not content. Credentials of the proxy
//! are sent to the proxy only and stand in no log and no error.

use std::env;
use std::net::IpAddr;

use slim_config::{BasicAuth, ClientConfig, ClientTls, Endpoint, Proxy, ProxyConfig, SecretText};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

use crate::auth::basic_credential;

/// Longest answer to CONNECT that is read; proxies add a few headers.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// What is shown of an answer that is no HTTP.
const SHOWN_BYTES_MAX: usize = 60;

/// Why a proxy does not lead to the node.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The environment names a proxy that cannot be used.
    #[error("the environment variable {variable} names no proxy: {problem}; write http://HOST:PORT")]
    Variable {
        /// Which.
        variable: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The proxy wants to know who we are.
    #[error("it demands credentials (407); {}", if *.shown { "those that were sent are not accepted" } else { "set username and password" })]
    Credentials {
        /// Some were sent.
        shown: bool,
    },
    /// The proxy does not let us through.
    #[error("it refuses the way to the node ({status})")]
    Refused {
        /// Its answer: a number and a few words.
        status: String,
    },
    /// Something else answers.
    #[error("it is no HTTP proxy: it answered {start:?}")]
    NoProxy {
        /// How its answer begins.
        start: String,
    },
    /// It hung up.
    #[error("it broke off: {0}")]
    Broken(std::io::Error),
}

impl ProxyError {
    /// True if another attempt with the same settings cannot succeed.
    pub fn needs_other_settings(&self) -> bool {
        match self {
            Self::Variable { .. } | Self::Credentials { .. } | Self::NoProxy { .. } => true,
            Self::Refused { .. } | Self::Broken(_) => false,
        }
    }
}

/// The proxy for a node; `None` if the node is reached directly.
///
/// A proxy that is configured is used for every node but those behind a socket file. Those of the environment are not used for this machine itself
/// and for what `NO_PROXY` names; `HTTPS_PROXY` is for links with TLS, `HTTP_PROXY` for others, `ALL_PROXY` for both.
pub(crate) fn choose(config: &ClientConfig) -> Result<Option<ProxyConfig>, ProxyError> {
    choose_by(config, |name| env::var(name).ok())
}

fn choose_by(
    config: &ClientConfig,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<ProxyConfig>, ProxyError> {
    if config.endpoint.socket_path().is_some() {
        return Ok(None);
    }
    match &config.proxy {
        Proxy::Direct => return Ok(None),
        Proxy::Through(proxy) => return Ok(Some((**proxy).clone())),
        Proxy::Environment => {}
    }
    if config.endpoint.is_loopback() {
        return Ok(None);
    }
    // Lower case first, as everybody does; a variable that is set and empty means no proxy.
    let read = |name: &str| {
        let lower = name.to_ascii_lowercase();
        let found = variable(&lower).map(|value| (lower, value));
        found.or_else(|| variable(name).map(|value| (name.to_owned(), value)))
    };
    if let Some((_, exempt)) = read("NO_PROXY")
        && is_exempt(&exempt, config.endpoint.host(), config.endpoint.port())
    {
        return Ok(None);
    }
    let own = if config.tls.is_some() {
        "HTTPS_PROXY"
    } else {
        "HTTP_PROXY"
    };
    let Some((name, value)) = read(own).or_else(|| read("ALL_PROXY")) else {
        return Ok(None);
    };
    let value = value.trim();
    if value.is_empty() {
        return Ok(None);
    }
    parse(value).map(Some).map_err(|problem| ProxyError::Variable {
        variable: name,
        problem,
    })
}

/// `[http://][USER:PASSWORD@]HOST[:PORT]`.
fn parse(text: &str) -> Result<ProxyConfig, &'static str> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let tls = match scheme {
        "http" => None,
        "https" => Some(ClientTls::default()),
        _ => return Err("only http:// and https:// proxies can be used"),
    };
    let rest = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let (credentials, address) = match rest.rsplit_once('@') {
        Some((credentials, address)) => (Some(credentials), address),
        None => (None, rest),
    };
    let credentials = credentials.map(|text| {
        let (username, password) = text.split_once(':').unwrap_or((text, ""));
        Ok::<_, &'static str>(BasicAuth {
            username: decoded(username)?,
            password: SecretText::new(decoded(password)?),
        })
    });
    let has_port = address
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && !port.contains(']'));
    let port = if tls.is_some() { 443 } else { 80 };
    let address = if has_port {
        address.to_owned()
    } else {
        format!("{address}:{port}")
    };
    Ok(ProxyConfig {
        endpoint: address.parse().map_err(|_| "its host or port cannot be read")?,
        credentials: credentials.transpose()?,
        headers: Default::default(),
        tls,
    })
}

/// Percent encoding, which passwords in URLs need.
fn decoded(text: &str) -> Result<String, &'static str> {
    const BROKEN: &str = "its credentials are not percent-encoded properly";
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            rest.next()
                .and_then(|digit| char::from(digit).to_digit(16))
                .ok_or(BROKEN)
        };
        let value = digit()? * 16 + digit()?;
        bytes.push(u8::try_from(value).map_err(|_| BROKEN)?);
    }
    String::from_utf8(bytes).map_err(|_| BROKEN)
}

/// `NO_PROXY`: hosts, domains, addresses and networks, with or without port, or `*`.
fn is_exempt(list: &str, host: &str, port: u16) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    list.split([',', ' '])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .any(|entry| {
            let entry = entry.to_ascii_lowercase();
            if entry == "*" {
                return true;
            }
            if let (Some(address), Some((network, bits))) = (address, entry.split_once('/')) {
                return in_network(address, network, bits);
            }
            let (name, wanted) = match entry.rsplit_once(':') {
                Some((name, wanted)) if !name.contains(':') || name.ends_with(']') => {
                    (name, wanted.parse().ok())
                }
                _ => (entry.as_str(), None::<u16>),
            };
            if wanted.is_some_and(|wanted| wanted != port) {
                return false;
            }
            let name = name.trim_matches(['[', ']']);
            let domain = name.trim_start_matches("*.").trim_start_matches('.');
            let is_below = host
                .strip_suffix(domain)
                .is_some_and(|above| above.ends_with('.'));
            host == domain || (address.is_none() && !domain.is_empty() && is_below)
        })
}

fn in_network(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (
        network.trim_matches(['[', ']']).parse::<IpAddr>(),
        bits.parse::<u32>(),
    ) else {
        return false;
    };
    let (own, other, width) = match (address, network) {
        (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits().into(), other.to_bits().into(), 32),
        (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => return false,
    };
    let different: u128 = own ^ other;
    bits <= width && different.checked_shr(width - bits).unwrap_or(0) == 0
}

/// Asks the proxy for the way to `target` (RFC 9110 §9.3.6). On success the next byte is the node's.
pub(crate) async fn open_tunnel<Io>(
    io: &mut Io,
    proxy: &ProxyConfig,
    target: &Endpoint,
) -> Result<(), ProxyError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let request = connect_request(proxy, target);
    io.write_all(request.as_bytes())
        .await
        .map_err(ProxyError::Broken)?;
    io.flush().await.map_err(ProxyError::Broken)?;
    let mut answer = Vec::new();
    // Byte by byte: what follows the empty line belongs to the node.
    while !answer.ends_with(b"\r\n\r\n") {
        let byte = io.read_u8().await.map_err(ProxyError::Broken)?;
        answer.push(byte);
        if answer.len() >= ANSWER_BYTES_MAX || (answer.len() == 5 && answer != b"HTTP/") {
            return Err(no_proxy(&answer));
        }
    }
    let status = status_line(&answer).ok_or_else(|| no_proxy(&answer))?;
    match status.split(' ').next() {
        Some(code) if code.len() == 3 && code.starts_with('2') => Ok(()),
        Some("407") => Err(ProxyError::Credentials {
            shown: proxy.credentials.is_some(),
        }),
        _ => Err(ProxyError::Refused { status }),
    }
}

fn connect_request(proxy: &ProxyConfig, target: &Endpoint) -> Zeroizing<String> {
    let authority = target.authority();
    let mut request = Zeroizing::new(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"));
    if let Some(credentials) = &proxy.credentials {
        request.push_str("Proxy-Authorization: ");
        request.push_str(&basic_credential(credentials));
        request.push_str("\r\n");
    }
    for (name, value) in &proxy.headers {
        request.push_str(name);
        request.push_str(": ");
        request.push_str(value.expose());
        request.push_str("\r\n");
    }
    request.push_str("\r\n");
    request
}

/// `200 OK` of `HTTP/1.1 200 OK`, without characters that would play tricks in a log.
fn status_line(answer: &[u8]) -> Option<String> {
    let line = answer.split(|byte| *byte == b'\r').next()?;
    let line = std::str::from_utf8(line).ok()?;
    let (_, status) = line.split_once(' ')?;
    Some(
        status
            .chars()
            .filter(|c| !c.is_control())
            .take(SHOWN_BYTES_MAX)
            .collect(),
    )
}

fn no_proxy(answer: &[u8]) -> ProxyError {
    let start = answer
        .get(..answer.len().min(SHOWN_BYTES_MAX))
        .unwrap_or_default();
    ProxyError::NoProxy {
        start: String::from_utf8_lossy(start).into_owned(),
    }
}

/// The proxy's endpoint with its scheme, for errors: without credentials.
pub(crate) fn shown(proxy: &ProxyConfig) -> String {
    let scheme = if proxy.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", proxy.endpoint)
}

#[cfg(test)]
mod tests;
