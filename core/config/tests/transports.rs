//! Endpoints of every transport, and the keys that do not go with each.

use slim_config::{ClientConfig, ServerConfig, Transport};

fn server(entry: &str) -> Result<ServerConfig, String> {
    match ServerConfig::from_json_text(&format!("{{{entry}}}")) {
        Ok(loaded) => Ok(loaded.config),
        Err(error) => Err(error.to_string()),
    }
}

fn client(entry: &str) -> Result<ClientConfig, String> {
    match ClientConfig::from_json_text(&format!("{{{entry}}}")) {
        Ok(loaded) => Ok(loaded.config),
        Err(error) => Err(error.to_string()),
    }
}

const PLAIN: &str = r#""tls": {"insecure": true}"#;
const SECURED: &str = r#""tls": {"source": {"type": "file", "cert": "c", "key": "k"}}"#;

#[test]
fn web_sockets_are_plain_or_secured_as_the_scheme_and_the_block_both_say() {
    let plain = server(&format!(r#""endpoint": "ws://0.0.0.0:1/slim", {PLAIN}"#)).unwrap();
    assert_eq!(plain.endpoint.transport(), Transport::WebSocket);
    assert!(plain.tls.is_none());
    let secured = server(&format!(r#""endpoint": "wss://0.0.0.0:1", {SECURED}"#)).unwrap();
    assert!(secured.tls.is_some());
    assert!(client(r#""endpoint": "wss://a""#).unwrap().tls.is_some());
    assert!(
        client(&format!(r#""endpoint": "ws://a", {PLAIN}"#))
            .unwrap()
            .tls
            .is_none()
    );
    for (refused, message) in [
        (
            server(&format!(r#""endpoint": "ws://a", {SECURED}"#)),
            "endpoint: the endpoint says ws:// and TLS is on (its default); write wss://, or set tls.insecure: true \
             for plain text",
        ),
        (
            server(&format!(r#""endpoint": "wss://a", {PLAIN}"#)),
            "endpoint: the endpoint says wss:// and tls.insecure: true asks for plain text; write ws://, or remove \
             tls.insecure",
        ),
        (
            server(&format!(r#""endpoint": "ws://a", {PLAIN}, "max_frame_size": 1"#)),
            "max_frame_size: this key is about HTTP/2 and has no effect on a WebSocket listener; remove it",
        ),
    ] {
        assert_eq!(refused.unwrap_err(), message);
    }
    assert_eq!(
        client(r#""endpoint": "ws://a""#).unwrap_err(),
        "endpoint: the endpoint says ws:// and TLS is on (its default); write wss://, or set tls.insecure: true for \
         plain text"
    );
}

#[test]
fn a_unix_socket_needs_no_tls_block_and_takes_no_tls() {
    for tls in ["", r#", "tls": {"insecure": true}"#] {
        let listener = server(&format!(r#""endpoint": "unix:///run/s"{tls}"#)).unwrap();
        assert!(listener.tls.is_none() && listener.endpoint.is_loopback());
        assert!(
            client(&format!(r#""endpoint": "unix:///run/s"{tls}"#))
                .unwrap()
                .tls
                .is_none()
        );
    }
    const NO_TLS: &str = "a Unix socket has no TLS; remove this key, or set it to {insecure: true}";
    let secured = server(&format!(r#""endpoint": "unix:///run/s", {SECURED}"#));
    assert_eq!(secured.unwrap_err(), format!("tls: {NO_TLS}"));
    let secured = client(r#""endpoint": "unix:///run/s", "tls": {"insecure_skip_verify": true}"#);
    assert_eq!(secured.unwrap_err(), format!("tls: {NO_TLS}"));
    let named = client(r#""endpoint": "unix:///run/s", "server_name": "a""#);
    assert_eq!(named.unwrap_err(), format!("server_name: {NO_TLS}"));
    let proxied = client(r#""endpoint": "unix:///run/s", "proxy": {"url": "http://p:1"}"#);
    assert_eq!(
        proxied.unwrap_err(),
        "proxy: a Unix socket is on this machine and is never reached through a proxy; remove this key"
    );
}

#[test]
fn a_proxy_is_asked_over_http() {
    for url in ["ws://p:1", "wss://p:1", "unix:///p", "unix:/p"] {
        let refused = client(&format!(
            r#""endpoint": "a:1", {PLAIN}, "proxy": {{"url": "{url}"}}"#
        ));
        assert_eq!(
            refused.unwrap_err(),
            "proxy.url: a proxy is http://host:port or https://host:port"
        );
    }
}

#[test]
fn headers_of_the_upgrade_belong_to_the_transport() {
    for name in ["upgrade", "sec-websocket-protocol", "content-length"] {
        let refused = client(&format!(
            r#""endpoint": "ws://a", {PLAIN}, "headers": {{"{name}": "x"}}"#
        ));
        assert_eq!(
            refused.unwrap_err(),
            format!("headers.{name}: this header belongs to the transport and cannot be configured")
        );
    }
}
