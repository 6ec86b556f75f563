//! `slim --config FILE`: file, configuration, log, node.

use std::io;
use std::path::{Path, PathBuf};

use slim_config::{ConfigError, NodeConfig};
use slim_node::log::{self, LogError};
use slim_node::process::{self, RunError};

/// Why the process ends with an error; one line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error("cannot read {}: {error}", path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{}: {error}", path.display())]
    Config { path: PathBuf, error: ConfigError },
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Run(#[from] RunError),
}

pub(crate) fn run(path: &Path) -> Result<(), NodeError> {
    let text = std::fs::read_to_string(path).map_err(|error| NodeError::Read {
        path: path.to_owned(),
        error,
    })?;
    let loaded = NodeConfig::from_yaml_text(&text).map_err(|error| NodeError::Config {
        path: path.to_owned(),
        error,
    })?;
    log::start(&loaded.config.tracing)?;
    process::run(&loaded)?;
    Ok(())
}
