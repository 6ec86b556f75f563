//! Bytes in and out: TCP, gRPC over HTTP/2, dial and accept.
//!
//! A link is one `OpenChannel` call. This crate opens such calls in both roles and gives out their two halves:
//! a [`FrameReader`] and a [`FrameWriter`]. What the frames mean is the router's business; nothing here decides
//! where one goes. Plain text for now; everything is generic over the byte stream, so TLS fits in below.

pub mod clock;
pub mod dial;
pub mod egress;
pub mod grpc;
pub mod keepalive;
pub mod listen;
pub mod rope;

pub use clock::Clock;
pub use dial::{DialError, DialPolicy, dial, dial_with_policy};
pub use egress::{EgressReceiver, EgressSender};
pub use grpc::client::Dialed;
pub use grpc::server::{Accepted, ConnectionEnd, ConnectionSettings, serve_connection};
pub use grpc::status::{Code, Status};
pub use grpc::stream::{FrameReader, FrameWriter, LinkEnd};
pub use listen::{ListenError, Listener};
