//! Where to listen or dial, and how: `host:port`, `http://`, `https://`, `ws://`, `wss://`, `unix://`.
//!
//! Nothing is looked up here: whether the host exists or the file is a socket is the shell's business.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

mod parse;

/// A place to reach, and what is spoken there.
///
/// Equal endpoints are the same place with the same transport. Whether TLS is written into the scheme does not count:
/// it only claims what the `tls` block says, and is checked against it.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Place);

#[derive(Clone, PartialEq, Eq)]
enum Place {
    Network {
        /// A name or an address, IPv6 without brackets.
        host: String,
        port: u16,
        speaks: Speaks,
        tls: Claim,
    },
    /// The absolute path of a socket file.
    Socket(String),
}

#[derive(Clone, PartialEq, Eq)]
enum Speaks {
    Grpc,
    /// With the path of the request, which begins with a slash.
    WebSocket(String),
}

/// What the scheme says about TLS; equal whatever it says.
#[derive(Clone, Copy)]
struct Claim(Option<bool>);

impl PartialEq for Claim {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Claim {}

/// The scheme of an endpoint that was written as a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// gRPC in plain text.
    Http,
    /// gRPC under TLS.
    Https,
    /// WebSocket in plain text.
    Ws,
    /// WebSocket under TLS.
    Wss,
    /// gRPC on a Unix socket, which has no TLS.
    Unix,
}

/// How the frames of a link travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One gRPC call over HTTP/2 (wire-routing A1).
    Grpc,
    /// One WebSocket connection (wire-routing A13).
    WebSocket,
}

/// Longest path of a socket file, in bytes: Linux's `sockaddr_un` has 108 with the NUL that ends it, others have 104.
pub const SOCKET_PATH_BYTES_MAX: usize = 103;

/// Longest path of a WebSocket endpoint, in bytes: a request line with it stays far below what any server reads.
pub const REQUEST_PATH_BYTES_MAX: usize = 1024;

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// A scheme that is none of ours.
    #[error("unknown scheme {scheme:?}; write host:port, or a URL with http, https, ws, wss or unix")]
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
    /// A path, query or user where the service's own path is the only one.
    #[error("{text:?} has more than host and port; the path of the service is fixed")]
    Extra {
        /// The text.
        text: String,
    },
    /// A query, fragment or user in the URL of a WebSocket. The text may have a token in it and is not shown.
    #[error("a WebSocket endpoint is ws://host:port/path and no more; credentials belong into `auth`")]
    WebSocketExtra,
    /// A path that no request can have.
    #[error(
        "{path:?} is no path of a WebSocket endpoint; write up to {REQUEST_PATH_BYTES_MAX} printable ASCII characters, \
         others percent-encoded"
    )]
    Path {
        /// The path.
        path: String,
    },
    /// A socket without absolute path.
    #[error("{text:?} names no socket file; write unix:///absolute/path")]
    RelativeSocket {
        /// The text.
        text: String,
    },
    /// A socket that no system can open.
    #[error("{path:?} has {} bytes; the path of a socket has at most {SOCKET_PATH_BYTES_MAX}", path.len())]
    SocketPath {
        /// The path.
        path: String,
    },
}

impl Endpoint {
    /// Host name or address; IPv6 without brackets. What a Unix socket has in the place of a host is this machine.
    pub fn host(&self) -> &str {
        match &self.0 {
            Place::Network { host, .. } => host,
            Place::Socket(_) => "localhost",
        }
    }

    /// Port; 0 lets the system choose when listening. A Unix socket has none, which is 0 too.
    pub fn port(&self) -> u16 {
        match &self.0 {
            Place::Network { port, .. } => *port,
            Place::Socket(_) => 0,
        }
    }

    /// Address and port of the network, if the host is written as an address.
    pub fn socket_address(&self) -> Option<SocketAddr> {
        let Place::Network { host, port, .. } = &self.0 else {
            return None;
        };
        Some(SocketAddr::new(host.parse().ok()?, *port))
    }

    /// The scheme, if one was written.
    pub fn scheme(&self) -> Option<Scheme> {
        let Place::Network { speaks, tls, .. } = &self.0 else {
            return Some(Scheme::Unix);
        };
        match (speaks, tls.0) {
            (Speaks::Grpc, None) => None,
            (Speaks::Grpc, Some(false)) => Some(Scheme::Http),
            (Speaks::Grpc, Some(true)) => Some(Scheme::Https),
            (Speaks::WebSocket(_), Some(true)) => Some(Scheme::Wss),
            (Speaks::WebSocket(_), Some(false) | None) => Some(Scheme::Ws),
        }
    }

    /// What is spoken there.
    pub fn transport(&self) -> Transport {
        match self.request_path() {
            Some(_) => Transport::WebSocket,
            None => Transport::Grpc,
        }
    }

    /// The path of the requests that open a WebSocket; `None` for gRPC, whose path is fixed.
    pub fn request_path(&self) -> Option<&str> {
        match &self.0 {
            Place::Network {
                speaks: Speaks::WebSocket(path),
                ..
            } => Some(path),
            Place::Network {
                speaks: Speaks::Grpc, ..
            }
            | Place::Socket(_) => None,
        }
    }

    /// The socket file of a Unix socket.
    pub fn socket_path(&self) -> Option<&Path> {
        match &self.0 {
            Place::Network { .. } => None,
            Place::Socket(path) => Some(Path::new(path)),
        }
    }

    /// `host:port` as an HTTP authority.
    pub fn authority(&self) -> String {
        match &self.0 {
            Place::Network { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Network { host, port, .. } => format!("{host}:{port}"),
            Place::Socket(_) => self.host().to_owned(),
        }
    }

    /// True if only this machine can reach a listener here.
    pub fn is_loopback(&self) -> bool {
        let Place::Network { host, .. } = &self.0 else {
            return true;
        };
        match host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        }
    }

    /// True if one socket serves both, whatever is spoken on it.
    pub fn is_same_socket(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Place::Socket(one), Place::Socket(other)) => one == other,
            (Place::Network { .. }, Place::Network { .. }) => {
                (self.host(), self.port()) == (other.host(), other.port())
            }
            (Place::Socket(_), Place::Network { .. }) | (Place::Network { .. }, Place::Socket(_)) => false,
        }
    }

    /// The same transport at the address that a listener was bound to. A Unix socket stays what it is.
    #[must_use]
    pub fn bound_to(mut self, address: SocketAddr) -> Self {
        if let Place::Network { host, port, .. } = &mut self.0 {
            *host = address.ip().to_string();
            *port = address.port();
        }
        self
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        parse::endpoint(text)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self(Place::Network {
            host: address.ip().to_string(),
            port: address.port(),
            speaks: Speaks::Grpc,
            tls: Claim(None),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Socket(path) => write!(f, "unix://{path}"),
            Place::Network {
                speaks: Speaks::WebSocket(path),
                tls,
                ..
            } => {
                let scheme = if tls.0 == Some(true) { "wss" } else { "ws" };
                write!(f, "{scheme}://{}", self.authority())?;
                f.write_str(if path == "/" { "" } else { path })
            }
            Place::Network {
                speaks: Speaks::Grpc, ..
            } => f.write_str(&self.authority()),
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Scheme {
    /// As it is written, with what follows it.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Http => "http://",
            Self::Https => "https://",
            Self::Ws => "ws://",
            Self::Wss => "wss://",
            Self::Unix => "unix://",
        }
    }
}
