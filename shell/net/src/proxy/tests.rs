//! Which proxy the environment means, and what a proxy answers.

use std::collections::BTreeMap;

use tokio::io::duplex;

use super::*;

fn client(endpoint: &str, tls: bool) -> ClientConfig {
    ClientConfig {
        tls: tls.then(ClientTls::default),
        ..ClientConfig::insecure(endpoint.parse().unwrap())
    }
}

/// The proxy for a client, with these variables.
fn chosen(config: &ClientConfig, variables: &[(&str, &str)]) -> Option<String> {
    let variables: BTreeMap<_, _> = variables.iter().copied().collect();
    let proxy = choose_by(config, |name| {
        variables.get(name).map(|value| (*value).to_owned())
    });
    proxy.unwrap().map(|proxy| shown(&proxy))
}

#[test]
fn the_variable_follows_from_the_kind_of_link() {
    let all = [
        ("HTTP_PROXY", "http://plain:1"),
        ("HTTPS_PROXY", "tls:2"),
        ("ALL_PROXY", "https://all"),
    ];
    let (plain, tls) = (client("node:46357", false), client("node:46357", true));
    assert_eq!(chosen(&plain, &all).unwrap(), "http://plain:1");
    assert_eq!(chosen(&tls, &all).unwrap(), "http://tls:2");
    assert_eq!(chosen(&plain, &all[1..]).unwrap(), "https://all:443");
    assert_eq!(chosen(&tls, &[]), None);
    // Lower case wins; empty means none.
    assert_eq!(
        chosen(&tls, &[("https_proxy", "low:3"), all[1]]).unwrap(),
        "http://low:3"
    );
    assert_eq!(chosen(&tls, &[("https_proxy", ""), all[1]]), None);
}

#[test]
fn this_machine_and_exempt_hosts_are_reached_directly() {
    let proxy = ("all_proxy", "proxy:1");
    for endpoint in ["127.0.0.1:1", "localhost:1", "[::1]:1"] {
        assert_eq!(chosen(&client(endpoint, true), &[proxy]), None, "{endpoint}");
    }
    for (exempt, endpoint, is_exempt) in [
        ("*", "node:1", true),
        ("node", "node:1", true),
        ("other,NODE", "Node:1", true),
        (".example.com", "a.example.com:1", true),
        ("*.example.com", "a.example.com:1", true),
        ("example.com", "a.example.com:1", true),
        ("example.com", "badexample.com:1", false),
        ("node:2", "node:1", false),
        ("node:1", "node:1", true),
        ("10.1.0.0/16", "10.1.2.3:1", true),
        ("10.1.0.0/16", "10.2.2.3:1", false),
        ("0.0.0.0/0", "10.2.2.3:1", true),
        ("10.2.2.3", "10.2.2.3:1", true),
        ("fd00::/8", "[fd12::1]:1", true),
        ("fd00::/8", "[fe12::1]:1", false),
        ("", "node:1", false),
    ] {
        let found = chosen(&client(endpoint, true), &[proxy, ("NO_PROXY", exempt)]);
        assert_eq!(found.is_none(), is_exempt, "{exempt} {endpoint}");
    }
}

#[test]
fn a_configured_proxy_is_used_for_every_node_and_direct_means_none() {
    let through = Proxy::Through(Box::new(parse("http://proxy:8080").unwrap()));
    for (proxy, expected) in [
        (through, Some("http://proxy:8080".to_owned())),
        (Proxy::Direct, None),
    ] {
        let config = ClientConfig {
            proxy,
            ..client("127.0.0.1:1", false)
        };
        let found = chosen(&config, &[("all_proxy", "other:1"), ("no_proxy", "*")]);
        assert_eq!(found, expected);
    }
}

#[test]
fn credentials_of_a_variable_are_decoded_and_never_shown() {
    let proxy = parse("http://al%69ce:p%40ss%3Aword@proxy:3128/path").unwrap();
    let credentials = proxy.credentials.as_ref().unwrap();
    assert_eq!(credentials.username, "alice");
    assert_eq!(credentials.password.expose(), "p@ss:word");
    assert_eq!(shown(&proxy), "http://proxy:3128");
    assert!(!format!("{proxy:?}").contains("p@ss"));
    let target = "node.example:46357".parse().unwrap();
    let request = connect_request(&proxy, &target);
    assert!(request.starts_with("CONNECT node.example:46357 HTTP/1.1\r\nHost: node.example:46357\r\n"));
    assert!(
        request.contains("Proxy-Authorization: Basic YWxpY2U6cEBzczp3b3Jk\r\n"),
        "{}",
        *request
    );
    for broken in [
        "socks5://proxy:1",
        "http://a:%4@proxy:1",
        "http://:1",
        "http://proxy:port",
    ] {
        let problem = choose_by(&client("node:1", true), |name| {
            (name == "https_proxy").then(|| broken.to_owned())
        });
        let text = problem.unwrap_err().to_string();
        assert!(text.contains("https_proxy") && !text.contains("%4"), "{text}");
    }
}

#[tokio::test]
async fn answers_are_told_apart_and_nothing_of_the_node_is_swallowed() {
    let proxy = parse("http://proxy:1").unwrap();
    let target = "node:1".parse().unwrap();
    for (answer, expected) in [
        ("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nnode", ""),
        (
            "HTTP/1.0 407 Who?\r\n\r\n",
            "demands credentials (407); set username and password",
        ),
        (
            "HTTP/1.1 403 Forbidden\r\n\r\n",
            "refuses the way to the node (403 Forbidden)",
        ),
        ("HTTP/1.1 2000 Odd\r\n\r\n", "refuses the way"),
        ("SSH-2.0-OpenSSH", "no HTTP proxy: it answered \"SSH-2\""),
        ("HTTP/1.1 200 OK\r\n", "broke off"),
    ] {
        let (mut ours, mut theirs) = duplex(64 * 1024);
        theirs.write_all(answer.as_bytes()).await.unwrap();
        let half = answer.ends_with("OK\r\n");
        if half {
            drop(theirs);
        }
        let opened = open_tunnel(&mut ours, &proxy, &target).await;
        match opened {
            Ok(()) => {
                assert_eq!(expected, "");
                let mut rest = [0; 4];
                ours.read_exact(&mut rest).await.unwrap();
                assert_eq!(&rest, b"node");
            }
            Err(error) => assert!(
                !expected.is_empty() && error.to_string().contains(expected),
                "{error}"
            ),
        }
    }
    let (mut ours, mut theirs) = duplex(64 * 1024);
    theirs.write_all(b"HTTP/1.1 200 ").await.unwrap();
    theirs.write_all(&[b'x'; 20_000]).await.unwrap();
    let endless = open_tunnel(&mut ours, &proxy, &target).await;
    assert!(matches!(endless, Err(ProxyError::NoProxy { .. })));
}
