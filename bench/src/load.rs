//! The load: speaks the wire as an application's process does, and counts.
//!
//! One thread does everything, so that a machine with two cores has the other one for the server.

mod client;
mod message;
mod round_trip;
mod stream;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::timeout;

use crate::measurement::Measurement;
use crate::scenario::Scenario;

/// What is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A node: links are negotiated, names are subscribed to.
    Node,
    /// A forwarder: a stream is enough. The messages are those that a node would get, tags included.
    Forwarder,
}

/// How long to load and to count.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Phases {
    /// Load that is not counted.
    pub(crate) warm_up: Duration,
    /// Load that is.
    pub(crate) measured: Duration,
}

/// A loaded server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// Whose processor time counts.
    pub(crate) process: u32,
    pub(crate) peer: Peer,
}

/// Longest wait for anything that is expected at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Loads a server, on the calling thread.
pub(crate) fn run(server: Server, scenario: Scenario, phases: Phases) -> Result<Measurement> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        match scenario {
            Scenario::Stream {
                receivers,
                payload_bytes,
            } => stream::run(server, receivers, payload_bytes, phases).await,
            Scenario::RoundTrip { payload_bytes } => round_trip::run(server, payload_bytes, phases).await,
        }
    })
}

/// The result, unless it takes longer than [`PATIENCE`].
async fn within<T>(what: &str, future: impl Future<Output = Result<T>>) -> Result<T> {
    let result = timeout(PATIENCE, future).await;
    result.with_context(|| format!("{what}: nothing within {PATIENCE:?}"))?
}
