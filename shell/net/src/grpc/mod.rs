//! One `OpenChannel` call over HTTP/2, in both roles (wire-routing A1).
//!
//! h2 directly: keepalive, connection age, drain and header limits are ours, and frames need no second framing
//! layer between the socket and the router.

mod call;
pub mod client;
pub(crate) mod life;
pub mod server;
pub mod status;
pub mod stream;

/// The one path of the service.
pub const PATH: &str = "/dataplane.proto.v1.DataPlaneService/OpenChannel";

/// The path of 0.4 (wire-routing B1). Otherwise its call is the same.
pub const PATH_0_4: &str = "/pubsub.proto.v1.PubSubService/OpenChannel";

/// Whose call it is. Generations after 0.4 share a service and are told apart by what they say first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `dataplane.proto.v1.DataPlaneService`: today's, and those of 0.6 and 1.x.
    DataPlane,
    /// `pubsub.proto.v1.PubSubService`: that of 0.4.
    PubSub,
}

impl Service {
    /// The service whose call has this path.
    pub(crate) fn of(path: &str) -> Option<Self> {
        match path {
            PATH => Some(Self::DataPlane),
            PATH_0_4 => Some(Self::PubSub),
            _ => None,
        }
    }
}

/// What a gRPC message stream says it is.
pub(crate) const CONTENT_TYPE: &str = "application/grpc";

/// Receive window of a stream. 1 MiB keeps a path of 10 Gbit/s and 0.8 ms full (lessons, row 23).
pub const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Receive window of a connection once its link is negotiated.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// HTTP/2's own window, which no endpoint can make smaller: what a connection may send before its link is
/// negotiated.
pub(crate) const CONNECTION_WINDOW_BYTES_EARLY: u32 = 65_535;

/// Largest DATA frame that either side of ours takes, unless configured. HTTP/2's own 16 KiB mean a socket read
/// and a socket write each, and a message of 16 KiB in two frames is copied; a whole batch fits into one of these
/// (docs/performance.md).
pub const DATA_FRAME_BYTES_MAX: u32 = 64 * 1024;

/// Streams of one connection (threat model, hard limits).
pub const STREAMS_MAX: u32 = 100;

/// Header list of one request or response (T-O2).
pub const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;

/// h2 charges every unread DATA frame below 256 bytes and closes the connection when this is used up. While a
/// link is held back, a peer that writes one small frame per DATA may have a whole stream window of them under
/// way: 1 MiB / 32 B * 256 B.
pub(crate) const SMALL_DATA_BUDGET_BYTES: usize = 8 * 1024 * 1024;
