//! The files that TLS settings come from: whether they changed since they were read.
//!
//! Looking is one `stat` for each file, repeated: watchers of the operating system miss what matters most, the
//! links that orchestrators swap under mounted secrets.

use std::fs::metadata;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::in_background;
use super::material::{Believed, Own, TlsSetupError, Written};

/// Between two files that belong together: whoever replaces them writes one after the other.
const SETTLING: Duration = Duration::from_secs(1);

/// Some files and how often to look at them.
#[derive(Clone, Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    interval: Duration,
}

/// How the files were at one moment; equal if nobody replaced or wrote any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<Stamp>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
    file: u64,
}

impl Files {
    pub(super) fn of(own: Option<&Own>, believed: Option<&Believed>, interval: Duration) -> Self {
        let mut written: Vec<&Written> = Vec::new();
        if let Some(Own::Pair { cert, key }) = own {
            written.extend([cert, key]);
        }
        if let Some(Believed::Cas(cas)) = believed {
            written.push(cas);
        }
        let path = |written: &Written| match written {
            Written::File(path) => Some(path.clone()),
            Written::Text(_) => None,
        };
        Self {
            paths: written.into_iter().filter_map(path).collect(),
            interval,
        }
    }

    /// Takes the stamps; call it before the files are read, so that a change in between is seen as one.
    pub(super) async fn stamps(&self) -> Result<Stamps, TlsSetupError> {
        let paths = self.paths.clone();
        in_background(move || Ok(Stamps(paths.iter().map(stamp).collect()))).await
    }

    /// Returns when the files are not as they were and stay so for a moment; never without files.
    pub(super) async fn changed(&self, before: &Stamps) -> Result<(), TlsSetupError> {
        if self.paths.is_empty() {
            std::future::pending::<()>().await;
        }
        loop {
            sleep(self.interval).await;
            let mut now = self.stamps().await?;
            if now == *before {
                continue;
            }
            loop {
                sleep(SETTLING.min(self.interval)).await;
                let later = self.stamps().await?;
                if later == now {
                    return Ok(());
                }
                now = later;
            }
        }
    }
}

/// A file that is not there is a state like any other.
fn stamp(path: &PathBuf) -> Option<Stamp> {
    let found = metadata(path).ok()?;
    Some(Stamp {
        modified: found.modified().ok(),
        bytes: found.len(),
        file: file_number(&found),
    })
}

/// A file that was put in the place of another may have the same time and length.
#[cfg(unix)]
fn file_number(found: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(found)
}

#[cfg(not(unix))]
fn file_number(_: &std::fs::Metadata) -> u64 {
    0
}
