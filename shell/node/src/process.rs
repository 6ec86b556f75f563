//! The node as a process: from a parsed configuration to the exit after a signal.

use std::io;
use std::time::Duration;

use slim_config::{Loaded, NodeConfig};
use tracing::{Instrument as _, info, info_span};

use crate::node::{DrainError, Node, StartError};
use crate::runtime;
use crate::signals::StopSignals;

/// After the node is drained nothing is left to wait for; a blocked thread must not keep the process.
const RUNTIME_FAREWELL: Duration = Duration::from_millis(200);

/// Why a node process ends with an error.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No threads.
    #[error("cannot start the runtime: {0}")]
    Runtime(io::Error),
    /// No signal handlers.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
    /// No node.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Not done in time.
    #[error(transparent)]
    Drain(#[from] DrainError),
    /// A second signal came while the node was draining.
    #[error("interrupted by {0} while draining")]
    Interrupted(&'static str),
}

/// Runs a node until SIGINT or SIGTERM, then drains it. Logging must have been started.
pub fn run(loaded: &Loaded<NodeConfig>) -> Result<(), RunError> {
    let (runtime, clamped) = runtime::build(&loaded.config.runtime).map_err(RunError::Runtime)?;
    let mut notes: Vec<String> = clamped.iter().map(ToString::to_string).collect();
    notes.extend(loaded.warnings.iter().map(ToString::to_string));
    let result = runtime.block_on(async {
        let mut signals = StopSignals::install().map_err(RunError::Signals)?;
        live(&loaded.config, notes, &mut signals).await
    });
    runtime.shutdown_timeout(RUNTIME_FAREWELL);
    result
}

async fn live(config: &NodeConfig, notes: Vec<String>, signals: &mut StopSignals) -> Result<(), RunError> {
    let span = info_span!(target: "slim", "application_lifecycle");
    let start = async {
        info!(target: "slim", "Runtime started");
        Node::start(config, notes).await
    };
    let node = start.instrument(span.clone()).await?;
    let signal = signals.next().await;
    let drain = async {
        info!(target: "slim", "{signal} received, shutting down");
        let drained = tokio::select! {
            drained = node.drain(config.runtime.drain_timeout) => drained.map_err(RunError::Drain),
            signal = signals.next() => Err(RunError::Interrupted(signal)),
        };
        if drained.is_ok() {
            info!(target: "slim", "shutdown complete");
        }
        drained
    };
    drain.instrument(span).await
}
