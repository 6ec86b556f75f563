//! Threads of the process and the time it takes to stop.

use std::time::Duration;

use crate::error::{ConfigError, Problem};
use crate::plain::Plain;
use crate::section::Section;
use crate::table::{Block, Key, Kind};

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

pub(crate) static RUNTIME: Block = Block {
    name: "runtime",
    doc: "Threads of the process and the time it takes to stop.",
    keys: &[
        Key::new(
            "n_cores",
            Kind::Integer {
                min: 0,
                max: u32::MAX as i64,
            },
            "worker threads; 0: one for each CPU. More than there are CPUs: a warning, and one for each",
        )
        .or("0"),
        Key::new("thread_name", Kind::Text, "name of the worker threads").or("slim"),
        Key::new(
            "drain_timeout",
            Kind::Duration { zero: true },
            "longest time that stopping may take",
        )
        .or("10s"),
    ],
};

impl RuntimeConfig {
    pub(crate) fn parse(section: Option<Section<'_>>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let Some(section) = section else {
            return Ok(default);
        };
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
            n_cores: section.integer("n_cores")?,
            thread_name,
            drain_timeout: section.duration("drain_timeout")?,
        })
    }

    pub(crate) fn normal(&self) -> Plain {
        Plain::map()
            .with("n_cores", self.n_cores)
            .with("thread_name", &self.thread_name)
            .with("drain_timeout", self.drain_timeout)
    }
}
