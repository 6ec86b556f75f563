//! Which server an address means: as much of RFC 3986 as is needed to refuse everything doubtful.

/// Scheme, host in small letters, and port.
#[derive(Debug, PartialEq, Eq)]
struct Origin<'a> {
    https: bool,
    host: String,
    port: &'a str,
}

/// True if both are addresses on one server.
pub(super) fn same_origin(one: &str, other: &str) -> bool {
    match (origin(one), origin(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// True if keys may be fetched there.
pub(super) fn has_usable_address(issuer: &str, plain_text: bool) -> bool {
    // A query or fragment would swallow the path that is put behind it.
    if issuer.contains(['?', '#']) {
        return false;
    }
    origin(issuer).is_some_and(|origin| origin.https || plain_text || origin.is_loopback())
}

fn origin(address: &str) -> Option<Origin<'_>> {
    // What browsers and libraries read differently is no address here.
    let doubtful = |character: char| !character.is_ascii_graphic() || character == '\\';
    if address.contains(doubtful) {
        return None;
    }
    let (https, rest) = match address.strip_prefix("https://") {
        Some(rest) => (true, rest),
        None => (false, address.strip_prefix("http://")?),
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    if authority.contains('@') {
        return None;
    }
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address are inside its brackets.
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, if https { "443" } else { "80" }),
    };
    if host.is_empty() || !port.parse::<u16>().is_ok_and(|number| number.to_string() == port) {
        return None;
    }
    Some(Origin {
        https,
        host: host.to_ascii_lowercase(),
        port,
    })
}

impl Origin<'_> {
    fn is_loopback(&self) -> bool {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        match host.parse::<std::net::IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => host == "localhost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_server_is_known_by_scheme_host_and_port() {
        for (one, other, same) in [
            ("https://a.example/x", "https://A.example:443", true),
            ("https://a.example", "http://a.example", false),
            ("https://a.example", "https://b.example", false),
            ("https://a.example", "https://a.example:8443", false),
            ("https://a.example", "https://a.example.evil", false),
            ("https://a.example", "https://a.example@evil/", false),
            ("https://a.example", "https://a.example\\.evil/", false),
            ("https://a.example", "//a.example/keys", false),
            ("https://a.example", "/keys", false),
            ("https://a.example", "https://a.example:/", false),
            ("https://a.example", "https://a.example:0443/", false),
            ("http://[::1]:8080", "http://[::1]:8080/keys", true),
            ("http://[::1]", "http://[::1]:80/keys", true),
        ] {
            assert_eq!(same_origin(one, other), same, "{one} {other}");
        }
    }

    #[test]
    fn keys_are_fetched_over_https_or_from_this_machine() {
        for (issuer, usable) in [
            ("https://a.example/realm", true),
            ("http://localhost:8080", true),
            ("http://127.0.0.1/x", true),
            ("http://[::1]:9", true),
            ("http://a.example", false),
            ("http://127.0.0.1.evil", false),
            ("a.example", false),
            ("file:///keys", false),
            ("https://a.example/?x=", false),
            ("https://a.example/#", false),
        ] {
            assert_eq!(has_usable_address(issuer, false), usable, "{issuer}");
        }
        assert!(has_usable_address("http://a.example", true));
        assert!(!has_usable_address("ftp://a.example", true));
    }
}
