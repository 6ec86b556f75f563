//! Threads of the process and the time it takes to stop.

use std::time::Duration;

use crate::error::{ConfigError, Problem};
use crate::section::{Field, Section};

/// The `runtime` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// Worker threads; 0 means one per available CPU.
    pub n_cores: u32,
    /// Name of the worker threads.
    pub thread_name: String,
    /// Longest time that stopping may take.
    pub drain_timeout: Duration,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            n_cores: 0,
            thread_name: "slim".into(),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Linux shows 15 bytes; a log column of more than 64 is a mistake.
const THREAD_NAME_BYTES_MAX: usize = 64;

impl RuntimeConfig {
    const KEYS: &[&str] = &["n_cores", "thread_name", "drain_timeout"];

    pub(crate) fn parse(field: Option<&Field<'_>>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let Some(field) = field else {
            return Ok(default);
        };
        let section = Section::open(field, Self::KEYS)?;
        let n_cores = section.integer("n_cores", 0, i64::from(u32::MAX))?.unwrap_or(0);
        let thread_name = match section.field("thread_name") {
            None => default.thread_name,
            Some(field) => {
                let name = field.text()?;
                if name.is_empty() || name.len() > THREAD_NAME_BYTES_MAX || name.contains('\0') {
                    return Err(field.error(Problem::ThreadName {
                        max: THREAD_NAME_BYTES_MAX,
                    }));
                }
                name.to_owned()
            }
        };
        Ok(Self {
            n_cores: u32::try_from(n_cores).unwrap_or(u32::MAX),
            thread_name,
            drain_timeout: section.duration_or("drain_timeout", default.drain_timeout)?,
        })
    }
}
