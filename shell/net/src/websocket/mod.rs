//! One link over WebSocket, in both roles (wire-routing A13, RFC 6455).
//!
//! One protobuf message in each binary message; no subprotocol, no extension. The opening is HTTP/1.1, and refusals
//! are HTTP answers as long as they can be. The syntax of frame headers and of HTTP heads is tungstenite's; what is
//! allowed when is decided here, because a link needs what ready-made connections do not give: a frame limit that is
//! raised after the negotiation, an end in which one side still writes while the other has finished, and one future
//! that serves the connection and its link.

pub mod close;
pub mod deframer;

mod client;
mod connection;
mod halves;
mod head;
mod server;
mod upgrade;

pub use client::UpgradeError;

pub(crate) use client::open;
pub(crate) use halves::{Incoming, Outgoing};
pub(crate) use server::serve;

/// What an acceptor says, in a Pong that nobody asked for, when its dialer should come with another connection: HTTP/2
/// has GOAWAY for it. RFC 6455 §5.5.3 has peers that do not know it read on.
const LEAVE: &[u8] = b"slim:leave";

/// After the last word of both sides: time for the last bytes to leave and for the peer to close.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(2);
