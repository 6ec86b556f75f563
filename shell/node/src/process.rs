//! The node as a process: from a parsed configuration to the exit after a signal.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use slim_config::{Loaded, NodeConfig};
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::config_file;
use crate::log::LogControl;
use crate::node::{DrainError, Node, StartError};
use crate::runtime;
use crate::signals::{ReloadSignal, StopSignals};

/// After the node is drained nothing is left to wait for; a blocked thread must not keep the process.
const RUNTIME_FAREWELL: Duration = Duration::from_millis(200);

/// What a process needs to change while it runs.
#[derive(Debug)]
pub struct Reload {
    /// The file that it was started with.
    pub path: PathBuf,
    /// What it logs.
    pub log: LogControl,
}

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

/// Runs a node until SIGINT or SIGTERM, then drains it; with SIGHUP it reads its file again. Logging must have been
/// started.
pub fn run(loaded: Loaded<NodeConfig>, reload: &Reload) -> Result<(), RunError> {
    let (runtime, clamped) = runtime::build(&loaded.config.runtime).map_err(RunError::Runtime)?;
    let mut notes: Vec<String> = clamped.iter().map(ToString::to_string).collect();
    notes.extend(loaded.warnings.iter().map(ToString::to_string));
    let result = runtime.block_on(async {
        let mut signals = StopSignals::install().map_err(RunError::Signals)?;
        let hang_up = ReloadSignal::install().map_err(RunError::Signals)?;
        live(loaded.config, notes, &mut signals, hang_up, reload).await
    });
    runtime.shutdown_timeout(RUNTIME_FAREWELL);
    result
}

async fn live(
    mut config: NodeConfig,
    notes: Vec<String>,
    signals: &mut StopSignals,
    mut hang_up: ReloadSignal,
    reload: &Reload,
) -> Result<(), RunError> {
    let span = info_span!(target: "slim", "application_lifecycle");
    let start = async {
        info!(target: "slim", "Runtime started");
        Node::start(&config, notes).await
    };
    let mut node = start.instrument(span.clone()).await?;
    let signal = loop {
        tokio::select! {
            signal = signals.next() => break signal,
            () = hang_up.next() => {
                let reloaded = change(&mut node, &config, reload).instrument(span.clone()).await;
                config = reloaded.unwrap_or(config);
            }
        }
    };
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

/// Reads the file again and changes what can be changed. The configuration that holds now, if it is another one.
async fn change(node: &mut Node, old: &NodeConfig, reload: &Reload) -> Option<NodeConfig> {
    let path = reload.path.display();
    info!(target: "slim", "SIGHUP received, reading {path} again");
    let loaded = match config_file::load(&reload.path) {
        Ok(loaded) => loaded,
        Err(error) => {
            error!(target: "slim", "the configuration stays as it was: {error}");
            return None;
        }
    };
    for warning in &loaded.warnings {
        warn!(target: "slim", "{warning}");
    }
    let new = loaded.config;
    let changes = match node.change(old, &new).await {
        Ok(changes) => changes,
        Err(error) => {
            error!(target: "slim", "the configuration stays as it was: {path}: {error}");
            return None;
        }
    };
    for change in &changes.done {
        info!(target: "slim", "{change}");
    }
    for note in &changes.notes {
        warn!(target: "slim", "{note}");
    }
    for key in &changes.needs_restart {
        warn!(target: "slim", "{key} changed, which takes effect when the node is started again");
    }
    change_log(old, &new, &reload.log);
    info!(target: "slim", "configuration read again; certificates and keys too");
    Some(new)
}

fn change_log(old: &NodeConfig, new: &NodeConfig, log: &LogControl) {
    let is_same =
        (old.tracing.log_level, &old.tracing.filters) == (new.tracing.log_level, &new.tracing.filters);
    if is_same {
        return;
    }
    match log.apply(&new.tracing) {
        Ok(true) => info!(target: "slim", "the log is at level {} now", new.tracing.log_level.name()),
        Ok(false) => {
            warn!(target: "slim", "RUST_LOG says what is logged; tracing.log_level and tracing.filters do not count")
        }
        Err(error) => error!(target: "slim", "the log stays as it was: {error}"),
    }
}
