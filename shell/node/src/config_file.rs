//! A configuration file, with the environment and the files that it asks for.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use slim_config::{ConfigError, Loaded, NodeConfig, Sources};

/// A configuration is a page or two; a file of megabytes is a wrong path.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why there is no configuration; one line each.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file is no configuration.
    #[error("{}: {error}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        error: Box<ConfigError>,
    },
}

/// Reads a configuration as a node means it: with the variables over it and what its placeholders stand for.
pub fn load(path: &Path) -> Result<Loaded<NodeConfig>, LoadError> {
    let text = read(path).map_err(|error| LoadError::Read {
        path: path.to_owned(),
        error,
    })?;
    // A variable that is no text can be no part of a configuration.
    let variables: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let sources = Sources {
        variables: &variables,
        read_file: &|path| read(Path::new(path)).map_err(|error| error.to_string()),
    };
    NodeConfig::load(&text, &sources).map_err(|error| LoadError::Config {
        path: path.to_owned(),
        error: Box::new(error),
    })
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it has more than {FILE_BYTES_MAX} bytes"),
        ));
    }
    Ok(text)
}
