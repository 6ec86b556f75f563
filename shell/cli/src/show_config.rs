//! `slim config check FILE` and `slim config schema`: configurations to look at.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use slim_node::Node;
use slim_node::config_file::{self, LoadError};
use slim_node::node::StartError;

/// Why there is nothing to show; one line each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShowError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{}: {error}", path.display())]
    Refused { path: PathBuf, error: StartError },
    #[error("cannot write to standard output: {0}")]
    Write(#[from] io::Error),
}

/// Prints what the file means; what should be written differently goes to standard error.
pub(crate) fn check(path: &Path) -> Result<(), ShowError> {
    let loaded = config_file::load(path)?;
    Node::check(&loaded.config).map_err(|error| ShowError::Refused {
        path: path.to_owned(),
        error,
    })?;
    for warning in &loaded.warnings {
        writeln!(io::stderr(), "slim: warning: {}: {warning}", path.display())?;
    }
    io::stdout().write_all(loaded.config.to_normal_yaml().as_bytes())?;
    Ok(())
}

/// Prints the JSON schema of such files.
pub(crate) fn schema() -> Result<(), ShowError> {
    io::stdout().write_all(slim_config::json_schema().as_bytes())?;
    Ok(())
}
