//! The opening of a WebSocket at the accepting side: what the request must say, and how it is answered.

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use tungstenite::error::ProtocolError;
use tungstenite::handshake::server::create_response;

use crate::auth::Denial;

/// Why a request opens no link. Each is an HTTP answer with one sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("this is a WebSocket endpoint; send an upgrade request (RFC 6455)")]
    NoUpgrade,
    #[error("the version of the WebSocket protocol is 13")]
    Version,
    #[error("no such path")]
    Path,
    #[error("the head of the request is too long")]
    TooLong,
    #[error("web pages of other origins may not connect to a listener without authentication")]
    Origin,
    #[error("credentials are missing or not accepted")]
    Unauthenticated { basic: bool },
    #[error("permission denied")]
    Forbidden,
    #[error("the keys of the token's issuer cannot be had")]
    KeysMissing,
    #[error("too many connections")]
    TooMany,
    #[error("the node is stopping")]
    Stopping,
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Unauthenticated { basic } => Self::Unauthenticated { basic },
            Denial::Forbidden => Self::Forbidden,
            Denial::Unavailable => Self::KeysMissing,
        }
    }
}

/// A request that may open a link, if its dialer may.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// The answer to a dialer that may.
    pub(super) answer: Vec<u8>,
    /// What the dialer shows: its header, or a token in the query (A13).
    pub(super) authorization: Option<HeaderValue>,
    /// The request is a web page's, of another origin than this listener.
    pub(super) is_foreign_page: bool,
}

/// Checks a request against the listener's path.
pub(super) fn check(request: &mut Request<()>, path: &str) -> Result<Upgrade, Refusal> {
    let response = create_response(request).map_err(|error| {
        let version = ProtocolError::MissingSecWebSocketVersionHeader;
        if matches!(error, tungstenite::Error::Protocol(error) if error == version) {
            Refusal::Version
        } else {
            Refusal::NoUpgrade
        }
    })?;
    if request.uri().path() != path {
        return Err(Refusal::Path);
    }
    let mut answer = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
    for (name, value) in response.headers() {
        answer.extend_from_slice(name.as_str().as_bytes());
        answer.extend_from_slice(b": ");
        answer.extend_from_slice(value.as_bytes());
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"\r\n");
    let shown = request.headers_mut().remove(AUTHORIZATION);
    Ok(Upgrade {
        answer,
        authorization: shown.or_else(|| bearer(request.uri())),
        is_foreign_page: is_foreign_page(request.headers()),
    })
}

/// `?token=`, which is for dialers that cannot set headers: web pages. There is no such form for passwords.
fn bearer(uri: &Uri) -> Option<HeaderValue> {
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let token = pairs
        .into_iter()
        .find_map(|(key, value)| (key == "token").then_some(value))?;
    let mut value = b"Bearer ".to_vec();
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        value.push(if byte == b'%' {
            let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    let mut value = HeaderValue::from_bytes(&value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Browsers say whose page it is that connects; other programs have nothing to say.
fn is_foreign_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let own = headers.get(HOST).and_then(|host| host.to_str().ok());
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    own.is_none() || authority.map(|(_, authority)| authority) != own
}

impl Refusal {
    fn status(self) -> StatusCode {
        match self {
            Self::NoUpgrade => StatusCode::BAD_REQUEST,
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            Self::Path => StatusCode::NOT_FOUND,
            Self::TooLong => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Unauthenticated { .. } => StatusCode::UNAUTHORIZED,
            Self::Origin | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::KeysMissing | Self::TooMany | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The whole answer.
    pub(super) fn answer(self) -> String {
        let (status, body) = (self.status(), format!("{self}\n"));
        let extra = match self {
            Self::Version => "sec-websocket-version: 13\r\n",
            Self::Unauthenticated { basic: true } => "www-authenticate: Basic\r\n",
            Self::NoUpgrade
            | Self::Path
            | Self::TooLong
            | Self::Origin
            | Self::Unauthenticated { basic: false }
            | Self::Forbidden
            | Self::KeysMissing
            | Self::TooMany
            | Self::Stopping => "",
        };
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n{extra}connection: close\r\n\r\n{body}",
            body.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(target: &str, headers: &[(&'static str, &str)]) -> Request<()> {
        let mut request = Request::builder()
            .uri(target)
            .header("host", "node:1")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        request
    }

    #[test]
    fn a_request_is_answered_with_the_key_of_the_rfc() {
        let upgrade = check(&mut request("/slim?x=y", &[]), "/slim").unwrap();
        let answer = String::from_utf8(upgrade.answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 Switching Protocols\r\n") && answer.ends_with("\r\n\r\n"));
        assert!(
            answer.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
            "{answer}"
        );
        assert_eq!(upgrade.authorization, None);
        assert!(!upgrade.is_foreign_page);
    }

    #[test]
    fn what_is_missing_decides_the_answer() {
        let refused = |target: &str, headers: &[(&'static str, &str)]| {
            check(&mut request(target, headers), "/slim").unwrap_err()
        };
        assert_eq!(refused("/", &[]), Refusal::Path);
        assert_eq!(refused("/slim/", &[]), Refusal::Path);
        assert_eq!(refused("/slim", &[("upgrade", "h2c")]), Refusal::NoUpgrade);
        assert_eq!(refused("/slim", &[("connection", "close")]), Refusal::NoUpgrade);
        assert_eq!(
            refused("/slim", &[("sec-websocket-key", "short")]),
            Refusal::NoUpgrade
        );
        assert_eq!(
            refused("/slim", &[("sec-websocket-version", "8")]),
            Refusal::Version
        );
        let answer = Refusal::Version.answer();
        assert!(
            answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"),
            "{answer}"
        );
        assert!(answer.contains("sec-websocket-version: 13\r\n"), "{answer}");
        let challenge = Refusal::Unauthenticated { basic: true }.answer();
        assert!(challenge.contains("401 Unauthorized") && challenge.contains("www-authenticate: Basic"));
    }

    #[test]
    fn a_token_may_stand_in_the_query_if_there_is_no_header() {
        let shown = |target: &str, headers: &[(&'static str, &str)]| {
            let upgrade = check(&mut request(target, headers), "/").unwrap();
            upgrade
                .authorization
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(
            shown("/?a=b&token=a%2Eb%2ec", &[]).as_deref(),
            Some("Bearer a.b.c")
        );
        assert_eq!(
            shown("/?token=query", &[("authorization", "Bearer header")]).as_deref(),
            Some("Bearer header")
        );
        for broken in ["/?token=%", "/?token=%0a", "/?token=%zz", "/?tokens=a", "/"] {
            assert_eq!(shown(broken, &[]), None, "{broken}");
        }
    }

    #[test]
    fn pages_of_this_listener_are_told_from_others() {
        for (origin, is_foreign) in [
            ("http://node:1", false),
            ("https://evil.example", true),
            ("null", true),
        ] {
            let upgrade = check(&mut request("/", &[("origin", origin)]), "/").unwrap();
            assert_eq!(upgrade.is_foreign_page, is_foreign, "{origin}");
        }
    }
}
