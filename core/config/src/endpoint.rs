//! Where to listen or dial: `0.0.0.0:46357`, `[::]:46357`, `localhost:46357`, `http://host:46357`, `https://host:46357`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// A host and a port to reach over TCP.
///
/// Equal endpoints are the same place. The scheme that was written does not count: it only claims what the `tls`
/// block says, and is checked against it.
#[derive(Clone)]
pub struct Endpoint {
    /// A name or an address, IPv6 without brackets.
    host: String,
    port: u16,
    scheme: Option<Scheme>,
}

/// The scheme of an endpoint that was written as a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain text.
    Http,
    /// TLS.
    Https,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// A transport that comes with a later release.
    #[error(
        "{scheme}:// endpoints are not supported yet; write host:port, http://host:port or https://host:port"
    )]
    NotYet {
        /// The scheme.
        scheme: String,
    },
    /// A scheme that is none of ours.
    #[error("unknown scheme {scheme:?}; write host:port, http://host:port or https://host:port")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// No port.
    #[error("{text:?} names no port; write host:port")]
    NoPort {
        /// The text.
        text: String,
    },
    /// A port that is no number from 0 to 65535.
    #[error("{port:?} is no port; a port is a number from 0 to 65535")]
    Port {
        /// The text after the last colon.
        port: String,
    },
    /// No host, or one with letters that no host has.
    #[error("{text:?} names no host; write host:port, an IPv6 address in brackets")]
    Host {
        /// The text.
        text: String,
    },
    /// A path, query or user.
    #[error("{text:?} has more than host and port; the path of the service is fixed")]
    Extra {
        /// The text.
        text: String,
    },
}

impl Endpoint {
    /// Host name or address; IPv6 without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port; 0 lets the system choose when listening.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The scheme, if one was written.
    pub fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// `host:port` as an HTTP authority.
    pub fn authority(&self) -> String {
        self.to_string()
    }

    /// True if only this machine can reach a listener here.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let owned = || text.to_owned();
        let trimmed = text.trim();
        let mut scheme_of_text = None;
        let rest = match trimmed.split_once("://") {
            None if trimmed.starts_with("unix:") => {
                return Err(EndpointError::NotYet {
                    scheme: "unix".into(),
                });
            }
            None => trimmed,
            Some((scheme @ ("http" | "https"), after)) => {
                let is_tls = scheme == "https";
                scheme_of_text = Some(if is_tls { Scheme::Https } else { Scheme::Http });
                after.strip_suffix('/').unwrap_or(after)
            }
            Some((scheme @ ("ws" | "wss" | "unix"), _)) => {
                return Err(EndpointError::NotYet {
                    scheme: scheme.to_owned(),
                });
            }
            Some((scheme, _)) => {
                return Err(EndpointError::Scheme {
                    scheme: scheme.to_owned(),
                });
            }
        };
        if rest.contains(['/', '?', '#', '@']) {
            return Err(EndpointError::Extra { text: owned() });
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(bracketed) => {
                let (host, after) = bracketed
                    .split_once(']')
                    .ok_or_else(|| EndpointError::Host { text: owned() })?;
                // Inside brackets only an address makes sense.
                host.parse::<Ipv6Addr>()
                    .map_err(|_| EndpointError::Host { text: owned() })?;
                let port = after
                    .strip_prefix(':')
                    .ok_or_else(|| EndpointError::NoPort { text: owned() })?;
                (host, port)
            }
            None => rest
                .rsplit_once(':')
                .ok_or_else(|| EndpointError::NoPort { text: owned() })?,
        };
        let host_character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let bracketed = rest.starts_with('[');
        if host.is_empty() || (!bracketed && !host.chars().all(host_character)) {
            return Err(EndpointError::Host { text: owned() });
        }
        // `parse` would accept a plus sign.
        let number = port.parse::<u16>().ok().filter(|_| !port.starts_with('+'));
        let Some(port) = number else {
            return Err(if port.is_empty() {
                EndpointError::NoPort { text: owned() }
            } else {
                EndpointError::Port {
                    port: port.to_owned(),
                }
            });
        };
        Ok(Self {
            host: host.to_owned(),
            port,
            scheme: scheme_of_text,
        })
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        (&self.host, self.port) == (&other.host, other.port)
    }
}

impl Eq for Endpoint {}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
            scheme: None,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_11_all_tcp_spellings_are_understood() {
        for (text, shown, loopback) in [
            ("0.0.0.0:46357", "0.0.0.0:46357", false),
            ("127.0.0.1:0", "127.0.0.1:0", true),
            ("[::]:1", "[::]:1", false),
            ("[::1]:1", "[::1]:1", true),
            ("[::ffff:127.0.0.1]:9", "[::ffff:127.0.0.1]:9", true),
            ("localhost:1", "localhost:1", true),
            ("node-1.example.org:46357", "node-1.example.org:46357", false),
            ("http://127.0.0.1:46357", "127.0.0.1:46357", true),
            ("http://host:80/", "host:80", false),
            ("http://[::1]:80", "[::1]:80", true),
            ("https://host:443/", "host:443", false),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.is_loopback(), loopback, "{text}");
        }
    }

    #[test]
    fn the_scheme_is_kept_and_makes_no_other_place() {
        let parse = |text: &str| text.parse::<Endpoint>().unwrap();
        assert_eq!(parse("https://a:1").scheme(), Some(Scheme::Https));
        assert_eq!(parse("http://a:1").scheme(), Some(Scheme::Http));
        assert_eq!(parse("a:1").scheme(), None);
        assert_eq!(parse("https://a:1"), parse("a:1"));
    }

    #[test]
    fn everything_else_says_what_is_wrong() {
        for (text, message) in [
            (
                "wss://a:1",
                "wss:// endpoints are not supported yet; write host:port, http://host:port or https://host:port",
            ),
            (
                "ws://a:1",
                "ws:// endpoints are not supported yet; write host:port, http://host:port or https://host:port",
            ),
            (
                "unix:///tmp/s",
                "unix:// endpoints are not supported yet; write host:port, http://host:port or https://host:port",
            ),
            (
                "unix:/tmp/s",
                "unix:// endpoints are not supported yet; write host:port, http://host:port or https://host:port",
            ),
            (
                "ftp://a:1",
                "unknown scheme \"ftp\"; write host:port, http://host:port or https://host:port",
            ),
            ("localhost", "\"localhost\" names no port; write host:port"),
            (
                "http://localhost",
                "\"http://localhost\" names no port; write host:port",
            ),
            ("localhost:", "\"localhost:\" names no port; write host:port"),
            (
                "a:65536",
                "\"65536\" is no port; a port is a number from 0 to 65535",
            ),
            ("a:+1", "\"+1\" is no port; a port is a number from 0 to 65535"),
            (
                ":46357",
                "\":46357\" names no host; write host:port, an IPv6 address in brackets",
            ),
            (
                "::1:46357",
                "\"::1:46357\" names no host; write host:port, an IPv6 address in brackets",
            ),
            (
                "[localhost]:1",
                "\"[localhost]:1\" names no host; write host:port, an IPv6 address in brackets",
            ),
            (
                "http://a:1/path",
                "\"http://a:1/path\" has more than host and port; the path of the service is fixed",
            ),
            ("", "\"\" names no port; write host:port"),
        ] {
            assert_eq!(
                text.parse::<Endpoint>().unwrap_err().to_string(),
                message,
                "{text}"
            );
        }
    }
}
