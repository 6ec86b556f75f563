//! Links over a socket file.
#![cfg(unix)]

use slim_config::{ClientConfig, Proxy, ProxyConfig, ServerConfig};
use slim_net::listen::ConnectionLimits;
use slim_net::{DialError, Listener, PeerAddress, dial};
use slim_proto::{Egress, Frame};

mod common;
#[path = "common/server.rs"]
mod server;

use common::{Directory, within};
use server::Server;

fn frame(text: &'static str) -> Frame {
    Frame::new(text).expect("a small frame")
}

#[tokio::test]
async fn a_link_goes_over_a_socket_file_and_through_no_proxy() {
    let directory = Directory::new("unix-link");
    let endpoint = format!("unix://{}", directory.path("s").display())
        .parse()
        .unwrap();
    let mut server = Server::start_with(ServerConfig::insecure(endpoint)).await;
    let nobody = ProxyConfig {
        endpoint: "127.0.0.1:1".parse().unwrap(),
        credentials: None,
        headers: Default::default(),
        tls: None,
    };
    let config = ClientConfig {
        proxy: Proxy::Through(Box::new(nobody)),
        ..ClientConfig::insecure(server.endpoint.clone())
    };
    let mut dialed = within(dial(&config)).await.unwrap();
    let mut accepted = server.next_call().await;
    assert_eq!(accepted.peer, PeerAddress::ThisMachine);
    assert_eq!(dialed.peer, PeerAddress::ThisMachine);
    dialed.writer.send(Egress::verbatim(frame("up"))).await.unwrap();
    assert_eq!(within(accepted.reader.next()).await.unwrap(), frame("up"));
    accepted
        .writer
        .send(Egress::verbatim(frame("down")))
        .await
        .unwrap();
    assert_eq!(within(dialed.reader.next()).await.unwrap(), frame("down"));
}

#[tokio::test]
async fn a_file_that_is_missing_or_taken_is_named() {
    let directory = Directory::new("unix-refused");
    let path = directory.write("file", "precious");
    let endpoint = format!("unix://{}", path.display());
    let error = Listener::bind(&endpoint.parse().unwrap(), ConnectionLimits::default())
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot listen on {endpoint}: there is a file that is no socket; remove it, or choose another path"
        )
    );
    let endpoint = format!("unix://{}", directory.path("missing").display());
    let error = within(dial(&ClientConfig::insecure(endpoint.parse().unwrap())))
        .await
        .unwrap_err();
    assert!(
        matches!(error, DialError::Connect { .. }) && error.is_transient(),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .starts_with(&format!("cannot connect to {endpoint}: ")),
        "{error}"
    );
}
