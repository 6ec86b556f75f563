//! Addresses of requests, taken apart once and for all.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;

use crate::error::{HttpError, UrlProblem};

/// An `https://` or `http://` address: a scheme, a host, a port, a path with query. It has no user name, no
/// password and no fragment.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    path: PathAndQuery,
}

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// TLS.
    Https,
    /// Plain text.
    Http,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }
}

impl HttpUrl {
    /// Reads an absolute address.
    pub fn parse(text: &str) -> Result<Self, HttpError> {
        let refuse = |problem| HttpError::Url {
            text: without_secrets(text),
            problem,
        };
        let uri: Uri = text.parse().map_err(|_| refuse(UrlProblem::Syntax))?;
        let scheme = match uri.scheme_str() {
            Some("https") => Scheme::Https,
            Some("http") => Scheme::Http,
            Some(_) | None => return Err(refuse(UrlProblem::Scheme)),
        };
        let authority = uri.authority().ok_or_else(|| refuse(UrlProblem::Host))?;
        if authority.as_str().contains('@') {
            return Err(refuse(UrlProblem::UserInfo));
        }
        if authority.host().is_empty() {
            return Err(refuse(UrlProblem::Host));
        }
        let port = match authority.port_u16() {
            Some(0) => return Err(refuse(UrlProblem::Port)),
            Some(port) => port,
            // `host:` and `host:99999` have a colon after the host and no port.
            None if authority.as_str().len() != authority.host().len() => {
                return Err(refuse(UrlProblem::Port));
            }
            None => scheme.default_port(),
        };
        Ok(Self {
            scheme,
            host: authority.host().to_ascii_lowercase(),
            port,
            path: uri
                .path_and_query()
                .cloned()
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
        })
    }

    /// Where a redirect leads: another address, or another path here.
    pub(crate) fn join(&self, location: &str) -> Result<Self, HttpError> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Self::parse(&format!("{}{location}", self.origin()));
        }
        Self::parse(location)
    }

    /// How the bytes travel.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        self.host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&self.host)
    }

    /// The port, written or not.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path and query, as the request line has them.
    pub(crate) fn path_and_query(&self) -> &str {
        self.path.as_str()
    }

    /// Host and port as the `Host` header has them: without the port that follows from the scheme.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.clone()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Scheme, host and port as text. Equal texts mean the same server.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme.name(), self.authority())
    }

    /// True for a host that is this machine by its very name.
    pub fn is_loopback(&self) -> bool {
        match self.host().parse::<std::net::IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => self.host == "localhost",
        }
    }
}

/// Without the query, which may hold what is nobody's business.
impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path.path())
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What may be said of an address that cannot be read: no password, no query.
fn without_secrets(text: &str) -> String {
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let Some((scheme, rest)) = text.split_once("://") else {
        return text.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://[redacted]@{host}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        let url = HttpUrl::parse("https://Issuer.example/realm/keys?a=b").unwrap();
        assert_eq!(url.origin(), "https://issuer.example");
        assert_eq!((url.host(), url.port()), ("issuer.example", 443));
        assert_eq!(url.path_and_query(), "/realm/keys?a=b");
        assert_eq!(url.to_string(), "https://issuer.example/realm/keys");
        let url = HttpUrl::parse("http://[::1]:8080").unwrap();
        assert_eq!((url.host(), url.port()), ("::1", 8080));
        assert_eq!(url.authority(), "[::1]:8080");
        assert_eq!(url.path_and_query(), "/");
        assert_eq!(HttpUrl::parse("https://a:443/x").unwrap().origin(), "https://a");
    }

    #[test]
    fn addresses_that_are_none_are_refused_by_what_is_wrong_with_them() {
        let problem = |text| match HttpUrl::parse(text) {
            Err(HttpError::Url { problem, .. }) => problem,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(problem("issuer.example"), UrlProblem::Scheme);
        assert_eq!(problem("/path"), UrlProblem::Scheme);
        assert_eq!(problem("ftp://a/b"), UrlProblem::Scheme);
        assert_eq!(problem("file:///etc/passwd"), UrlProblem::Syntax);
        assert_eq!(problem("https://a b/"), UrlProblem::Syntax);
        assert_eq!(problem("https://user:secret@a/"), UrlProblem::UserInfo);
        assert_eq!(problem("https://a:0/"), UrlProblem::Port);
        assert_eq!(problem("https://a:/"), UrlProblem::Port);
    }

    #[test]
    fn errors_show_no_password_and_no_query() {
        let text = HttpUrl::parse("https://user:secret@a/p?token=secret")
            .unwrap_err()
            .to_string();
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let loopback = |text| HttpUrl::parse(text).unwrap().is_loopback();
        assert!(loopback("http://localhost:1"));
        assert!(loopback("http://127.8.0.1"));
        assert!(loopback("http://[::1]"));
        assert!(!loopback("http://localhost.example"));
        assert!(!loopback("http://10.0.0.1"));
    }

    #[test]
    fn a_redirect_leads_to_a_path_here_or_to_an_address() {
        let url = HttpUrl::parse("https://a/one").unwrap();
        assert_eq!(url.join("/two").unwrap().to_string(), "https://a/two");
        assert_eq!(url.join("https://b/").unwrap().origin(), "https://b");
        assert!(url.join("//b/").is_err());
        assert!(url.join("two").is_err());
    }
}
