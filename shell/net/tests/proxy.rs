//! Nodes behind an HTTP proxy: the tunnel, what a proxy may answer, and TLS inside.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use common::{Ca, Life, within};
use server::Server;
use slim_config::{BasicAuth, ClientConfig, ClientTls, Proxy, ProxyConfig, SecretText, ServerTls};
use slim_net::{DialError, ProxyError, dial};
use slim_proto::{Egress, Frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const PASSWORD: &str = "open-sesame";

/// A proxy that lets `alice` with [`PASSWORD`] through; it tells each request that it got.
async fn proxy() -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(socket.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                tell.send(head.clone()).unwrap();
                let target = head.split(' ').nth(1).unwrap().to_owned();
                // "alice:open-sesame"
                if !head.contains("Proxy-Authorization: Basic YWxpY2U6b3Blbi1zZXNhbWU=") {
                    socket.write_all(b"HTTP/1.1 407 Who?\r\n\r\n").await.unwrap();
                    return;
                }
                match TcpStream::connect(target).await {
                    Ok(mut node) => {
                        socket
                            .write_all(b"HTTP/1.1 200 OK\r\nVia: test\r\n\r\n")
                            .await
                            .unwrap();
                        let _ = copy_bidirectional(&mut socket, &mut node).await;
                    }
                    Err(_) => socket
                        .write_all(b"HTTP/1.1 502 No such node\r\n\r\n")
                        .await
                        .unwrap(),
                }
            });
        }
    });
    (address, told)
}

fn through(address: SocketAddr, password: Option<&str>) -> Proxy {
    Proxy::Through(Box::new(ProxyConfig {
        endpoint: address.into(),
        credentials: password.map(|password| BasicAuth {
            username: "alice".to_owned(),
            password: SecretText::new(password),
        }),
        headers: [("x-team".to_owned(), SecretText::new("blue"))].into(),
        tls: None,
    }))
}

#[tokio::test]
async fn links_pass_through_a_proxy_with_and_without_tls() {
    let ca = Ca::new("ca");
    let (proxy, mut requests) = proxy().await;
    for tls in [false, true] {
        let server = tls.then(|| ServerTls::new(ca.server(&["127.0.0.1"], Life::Valid).source()));
        let mut node = Server::start(server).await;
        let address = node.address;
        let config = ClientConfig {
            tls: tls.then(|| ClientTls {
                ca: Some(ca.source()),
                system_roots: false,
                ..ClientTls::default()
            }),
            proxy: through(proxy, Some(PASSWORD)),
            ..ClientConfig::insecure(address.into())
        };
        let mut dialed = within(dial(&config)).await.unwrap();
        let mut accepted = node.next_call().await;
        let frame = Frame::new(vec![7; 300]).unwrap();
        let (sent, received) = tokio::join!(
            dialed.writer.send(Egress::verbatim(frame.clone())),
            within(accepted.reader.next())
        );
        sent.unwrap();
        assert_eq!(received.unwrap().bytes(), frame.bytes());
        let request = requests.recv().await.unwrap();
        assert!(request.starts_with(&format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n")));
        assert!(request.contains("x-team: blue\r\n"), "{request}");
    }
}

#[tokio::test]
async fn each_refusal_of_a_proxy_is_its_own_error_and_shows_no_password() {
    let (proxy, _requests) = proxy().await;
    let node = Server::start(None).await;
    let address = node.address;
    // A port that was free a moment ago.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let to = |node: SocketAddr, proxy| ClientConfig {
        proxy,
        ..ClientConfig::insecure(node.into())
    };
    let missing = within(dial(&to(address, through(proxy, None))))
        .await
        .unwrap_err();
    let wrong = within(dial(&to(address, through(proxy, Some("swordfish")))))
        .await
        .unwrap_err();
    for (error, was_shown) in [(&missing, false), (&wrong, true)] {
        let DialError::Proxy {
            error: ProxyError::Credentials { shown },
            ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(*shown, was_shown);
        assert!(error.is_about_trust());
        let text = format!("{error} {error:?}");
        assert!(text.contains("407") && !text.contains("swordfish"), "{text}");
    }
    let refused = within(dial(&to(nobody, through(proxy, Some(PASSWORD)))))
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("refuses the way to the node (502 No such node)"),
        "{refused}"
    );
    assert!(refused.is_transient() && !refused.is_about_trust());
    let unreachable = within(dial(&to(address, through(nobody, Some(PASSWORD)))))
        .await
        .unwrap_err();
    assert!(
        matches!(unreachable, DialError::ProxyUnreachable { .. }),
        "{unreachable}"
    );
    assert!(
        unreachable.to_string().contains(&nobody.to_string()),
        "{unreachable}"
    );
    // A node where a proxy is expected.
    let none = within(dial(&to(address, through(address, Some(PASSWORD)))))
        .await
        .unwrap_err();
    assert!(
        matches!(
            none,
            DialError::Proxy {
                error: ProxyError::NoProxy { .. } | ProxyError::Broken(_),
                ..
            }
        ),
        "{none}"
    );
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ClientConfig {
        proxy: through(listener.local_addr().unwrap(), None),
        connect_timeout: Some(Duration::from_millis(100)),
        ..ClientConfig::insecure("node.example:46357".parse().unwrap())
    };
    let error = within(dial(&config)).await.unwrap_err();
    assert!(matches!(error, DialError::ConnectTimeout { .. }), "{error}");
    assert!(error.to_string().contains("through the proxy"), "{error}");
}
