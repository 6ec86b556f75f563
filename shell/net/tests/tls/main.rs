//! TLS between both roles, against bare TLS stacks, and every way to be refused.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod handshakes;
mod links;
mod refusals;
mod reload;
#[path = "../common/server.rs"]
mod server;
mod setup;

use std::net::SocketAddr;

use common::{Ca, Pair};
use slim_config::{ClientConfig, ClientTls, ServerTls};

const NAMES: &[&str] = &["localhost", "127.0.0.1"];

fn server_tls(pair: &Pair) -> ServerTls {
    ServerTls::new(pair.source())
}

/// A client that trusts this CA and nobody else.
fn client_tls(ca: &Ca) -> ClientTls {
    ClientTls {
        ca: Some(ca.source()),
        system_roots: false,
        ..ClientTls::default()
    }
}

fn client(address: SocketAddr, tls: ClientTls) -> ClientConfig {
    ClientConfig {
        tls: Some(tls),
        ..ClientConfig::insecure(address.into())
    }
}
