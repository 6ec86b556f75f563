//! Bytes in and out: TCP, Unix sockets, TLS, gRPC over HTTP/2, WebSocket, dial and accept.
//!
//! A link is one `OpenChannel` call, or one WebSocket connection. This crate opens them in both roles and gives out their two halves:
//! a [`FrameReader`] and a [`FrameWriter`]. What the frames mean is the router's business; nothing here decides
//! where one goes. Both transports are generic over the byte stream below it, which is a socket or TLS on one.

pub mod auth;
mod batch;
pub mod clock;
pub mod configured_key;
pub mod dial;
pub mod dialed;
pub mod egress;
pub mod frames;
pub mod grpc;
pub mod keepalive;
pub mod listen;
pub mod open;
pub mod proxy;
mod reach;
pub mod rope;
pub mod socket;
#[cfg(unix)]
mod socket_file;
pub mod sparse_log;
pub mod tls;
pub mod websocket;

pub use auth::{Admission, AuthSetupError, Authenticator, CredentialError, Credentials, identity_below};
pub use clock::Clock;
pub use configured_key::{CheckingKeyError, SigningKeyError, checking_keys, signing_key};
pub use dial::{DialError, dial, dial_as, redial_policy};
pub use dialed::{Dialed, DialedConnection};
pub use egress::{EgressReceiver, EgressSender};
pub use frames::{FrameReader, FrameWriter, LinkEnd};
pub use grpc::Service;
pub use grpc::server::{Accepted, ConnectionEnd, ConnectionSettings, Peer, serve_connection};
pub use grpc::status::{Code, Status};
pub use listen::{ListenError, Listener};
pub use open::{LinkDialer, OpenError, OpenedLink, failure_after};
pub use proxy::ProxyError;
pub use socket::{PeerAddress, Socket};
pub use sparse_log::SparseLog;
pub use tls::{ClientCertificate, SpiffePeerError, TlsAcceptor, TlsConnector, TlsFailure, TlsSetupError};
pub use websocket::UpgradeError;
