//! `slim --config FILE`: file, configuration, log, node.

use std::path::Path;

use slim_node::config_file::{self, LoadError};
use slim_node::log::{self, LogError};
use slim_node::process::{self, Reload, RunError};

/// Why the process ends with an error; one line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Run(#[from] RunError),
}

pub(crate) fn run(path: &Path) -> Result<(), NodeError> {
    let loaded = config_file::load(path)?;
    let log = log::start(&loaded.config.tracing)?;
    let reload = Reload {
        path: path.to_owned(),
        log,
    };
    process::run(loaded, &reload)?;
    Ok(())
}
