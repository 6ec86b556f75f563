//! Reading an endpoint from text.

use std::net::Ipv6Addr;

use super::{Claim, Endpoint, EndpointError, Place, REQUEST_PATH_BYTES_MAX, SOCKET_PATH_BYTES_MAX, Speaks};

pub(super) fn endpoint(text: &str) -> Result<Endpoint, EndpointError> {
    let trimmed = text.trim();
    // RFC 3986 has `unix:/path` as well, and gRPC's own naming too.
    if let Some(path) = trimmed.strip_prefix("unix:") {
        return socket(path.strip_prefix("//").unwrap_or(path), text);
    }
    match trimmed.split_once("://") {
        None => grpc(trimmed, None, text),
        Some((scheme @ ("http" | "https"), after)) => {
            let rest = after.strip_suffix('/').unwrap_or(after);
            grpc(rest, Some(scheme == "https"), text)
        }
        Some((scheme @ ("ws" | "wss"), after)) => web_socket(after, scheme == "wss", text),
        Some((scheme, _)) => Err(EndpointError::Scheme {
            scheme: scheme.to_owned(),
        }),
    }
}

fn socket(path: &str, text: &str) -> Result<Endpoint, EndpointError> {
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(EndpointError::RelativeSocket {
            text: text.to_owned(),
        });
    }
    if path.len() > SOCKET_PATH_BYTES_MAX {
        return Err(EndpointError::SocketPath {
            path: path.to_owned(),
        });
    }
    Ok(Endpoint(Place::Socket(path.to_owned())))
}

fn grpc(rest: &str, tls: Option<bool>, text: &str) -> Result<Endpoint, EndpointError> {
    if rest.contains(['/', '?', '#', '@']) {
        return Err(EndpointError::Extra {
            text: text.to_owned(),
        });
    }
    let (host, port) = host_and_port(rest, None, text)?;
    Ok(Endpoint(Place::Network {
        host,
        port,
        speaks: Speaks::Grpc,
        tls: Claim(tls),
    }))
}

fn web_socket(rest: &str, is_tls: bool, text: &str) -> Result<Endpoint, EndpointError> {
    if rest.contains(['?', '#', '@']) {
        return Err(EndpointError::WebSocketExtra);
    }
    let (authority, path) = match rest.find('/') {
        Some(start) => rest.split_at(start),
        None => (rest, "/"),
    };
    if path.len() > REQUEST_PATH_BYTES_MAX || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(EndpointError::Path {
            path: path.to_owned(),
        });
    }
    let default_port = if is_tls { 443 } else { 80 };
    let (host, port) = host_and_port(authority, Some(default_port), text)?;
    Ok(Endpoint(Place::Network {
        host,
        port,
        speaks: Speaks::WebSocket(path.to_owned()),
        tls: Claim(Some(is_tls)),
    }))
}

/// `text` is what errors quote.
fn host_and_port(
    authority: &str,
    default_port: Option<u16>,
    text: &str,
) -> Result<(String, u16), EndpointError> {
    let no_host = || EndpointError::Host {
        text: text.to_owned(),
    };
    let no_port = || EndpointError::NoPort {
        text: text.to_owned(),
    };
    let (host, port, is_bracketed) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']').ok_or_else(no_host)?;
            // Inside brackets only an address makes sense.
            host.parse::<Ipv6Addr>().map_err(|_| no_host())?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port), true),
                None if after.is_empty() => (host, None, true),
                None => return Err(no_port()),
            }
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port), false),
            None => (authority, None, false),
        },
    };
    let Some(port) = port else {
        let port = default_port.ok_or_else(no_port)?;
        return match is_host(host, is_bracketed) {
            true => Ok((host.to_owned(), port)),
            false => Err(no_host()),
        };
    };
    if !is_host(host, is_bracketed) {
        return Err(no_host());
    }
    // `parse` would accept a plus sign.
    let number = port.parse::<u16>().ok().filter(|_| !port.starts_with('+'));
    match number {
        Some(number) => Ok((host.to_owned(), number)),
        None if port.is_empty() => Err(no_port()),
        None => Err(EndpointError::Port {
            port: port.to_owned(),
        }),
    }
}

fn is_host(host: &str, is_bracketed: bool) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !host.is_empty() && (is_bracketed || host.chars().all(letter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::{Scheme, Transport};

    fn parse(text: &str) -> Endpoint {
        text.parse().unwrap()
    }

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
            let endpoint = parse(text);
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.is_loopback(), loopback, "{text}");
            assert_eq!(endpoint.transport(), Transport::Grpc, "{text}");
        }
    }

    #[test]
    fn web_sockets_have_a_path_and_the_ports_of_http() {
        for (text, shown, authority, path) in [
            ("ws://host:1/a/b", "ws://host:1/a/b", "host:1", "/a/b"),
            ("ws://host", "ws://host:80", "host:80", "/"),
            ("wss://host/", "wss://host:443", "host:443", "/"),
            (
                "wss://[::1]/x%20y",
                "wss://[::1]:443/x%20y",
                "[::1]:443",
                "/x%20y",
            ),
            (
                "ws://127.0.0.1:0/slim/",
                "ws://127.0.0.1:0/slim/",
                "127.0.0.1:0",
                "/slim/",
            ),
        ] {
            let endpoint = parse(text);
            assert_eq!(endpoint.to_string(), shown);
            assert_eq!(endpoint.authority(), authority);
            assert_eq!(endpoint.request_path(), Some(path), "{text}");
            assert_eq!(endpoint.transport(), Transport::WebSocket);
            assert_eq!(parse(shown), endpoint);
        }
        let bound = parse("wss://0.0.0.0:0/x").bound_to("127.0.0.1:7".parse().unwrap());
        assert_eq!(bound.to_string(), "wss://127.0.0.1:7/x");
    }

    #[test]
    fn unix_sockets_have_an_absolute_path_and_are_of_this_machine() {
        for text in ["unix:///run/slim.sock", "unix:/run/slim.sock"] {
            let endpoint = parse(text);
            assert_eq!(endpoint.to_string(), "unix:///run/slim.sock");
            assert_eq!(endpoint.socket_path().unwrap().to_str(), Some("/run/slim.sock"));
            assert_eq!(endpoint.authority(), "localhost");
            assert!(endpoint.is_loopback());
        }
        let longest = format!("unix:///{}", "x".repeat(SOCKET_PATH_BYTES_MAX - 1));
        parse(&longest);
        let error = format!("{longest}y").parse::<Endpoint>().unwrap_err().to_string();
        assert!(
            error.ends_with("has 104 bytes; the path of a socket has at most 103"),
            "{error}"
        );
    }

    #[test]
    fn tls_in_the_scheme_makes_no_other_place_and_the_transport_does() {
        assert_eq!(parse("https://a:1").scheme(), Some(Scheme::Https));
        assert_eq!(parse("http://a:1").scheme(), Some(Scheme::Http));
        assert_eq!(parse("ws://a:1").scheme(), Some(Scheme::Ws));
        assert_eq!(parse("wss://a:1").scheme(), Some(Scheme::Wss));
        assert_eq!(parse("unix:///a").scheme(), Some(Scheme::Unix));
        assert_eq!(parse("a:1").scheme(), None);
        assert_eq!(parse("https://a:1"), parse("a:1"));
        assert_eq!(parse("wss://a:1"), parse("ws://a:1/"));
        assert_ne!(parse("ws://a:1"), parse("a:1"));
        assert_ne!(parse("ws://a:1/x"), parse("ws://a:1/y"));
        assert!(parse("ws://a:1/x").is_same_socket(&parse("a:1")));
        assert!(!parse("unix:///a").is_same_socket(&parse("localhost:0")));
    }

    #[test]
    fn everything_else_says_what_is_wrong() {
        for (text, message) in [
            (
                "ftp://a:1",
                "unknown scheme \"ftp\"; write host:port, or a URL with http, https, ws, wss or unix",
            ),
            ("localhost", "\"localhost\" names no port; write host:port"),
            (
                "http://localhost",
                "\"http://localhost\" names no port; write host:port",
            ),
            ("localhost:", "\"localhost:\" names no port; write host:port"),
            ("[::1]", "\"[::1]\" names no port; write host:port"),
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
            (
                "ws:///path",
                "\"ws:///path\" names no host; write host:port, an IPv6 address in brackets",
            ),
            (
                "wss://a/?token=secret",
                "a WebSocket endpoint is ws://host:port/path and no more; credentials belong into `auth`",
            ),
            (
                "wss://user:secret@a/",
                "a WebSocket endpoint is ws://host:port/path and no more; credentials belong into `auth`",
            ),
            (
                "ws://a/ö",
                "\"/ö\" is no path of a WebSocket endpoint; write up to 1024 printable ASCII characters, others \
                 percent-encoded",
            ),
            (
                "unix://run/s",
                "\"unix://run/s\" names no socket file; write unix:///absolute/path",
            ),
            (
                "unix:///run/",
                "\"unix:///run/\" names no socket file; write unix:///absolute/path",
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
