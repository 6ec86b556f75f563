//! What is logged and how a log line looks.

use crate::Loaded;
use crate::error::{ConfigError, Problem, Warning};
use crate::later;
use crate::section::{Field, Section};
use crate::tree;

/// The `tracing` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracingConfig {
    /// Least important level that is printed.
    pub log_level: LogLevel,
    /// Print the thread name.
    pub display_thread_names: bool,
    /// Print the thread id.
    pub display_thread_ids: bool,
    /// More filters, each `TARGET`, `TARGET=LEVEL` or `LEVEL`; later ones win.
    pub filters: Vec<String>,
}

impl Default for TracingConfig {
    fn default() -> Self {
        Self {
            log_level: LogLevel::Info,
            display_thread_names: true,
            display_thread_ids: false,
            filters: Vec::new(),
        }
    }
}

/// Importance of a log line, most talkative first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Every frame.
    Trace,
    /// Every change of state.
    Debug,
    /// What an operator acts on.
    Info,
    /// What an operator should change.
    Warn,
    /// Bugs and lost data.
    Error,
}

impl LogLevel {
    const NAMES: &[&str] = &["trace", "debug", "info", "warn", "error"];
    const ALL: &[Self] = &[Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The level's name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

impl TracingConfig {
    const KEYS: &[&str] = &[
        "log_level",
        "display_thread_names",
        "display_thread_ids",
        "filters",
        "filter",
        "opentelemetry",
    ];
    const OPENTELEMETRY_KEYS: &[&str] = &[
        "enabled",
        "grpc",
        "service_name",
        "service_version",
        "environment",
        "metrics_interval_secs",
    ];

    /// Parses a tracing block from JSON, as strictly as from a file.
    pub fn from_json_text(text: &str) -> Result<Loaded<Self>, ConfigError> {
        let node = tree::from_json(text)?;
        let mut warnings = Vec::new();
        let config = Self::parse(Some(&Field::root(&node)), &mut warnings)?;
        Ok(Loaded { config, warnings })
    }

    pub(crate) fn parse(field: Option<&Field<'_>>, warnings: &mut Vec<Warning>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let Some(field) = field else {
            return Ok(default);
        };
        let section = Section::open(field, Self::KEYS)?;
        if let Some(field) = section.field("opentelemetry") {
            let telemetry = Section::open(field, Self::OPENTELEMETRY_KEYS)?;
            // Switched off, its other keys ask for nothing.
            later::refuse_true(&telemetry, "enabled")?;
        }
        Ok(Self {
            log_level: section
                .field("log_level")
                .map_or(Ok(default.log_level), |field| {
                    field.choice(LogLevel::NAMES, LogLevel::ALL)
                })?,
            display_thread_names: section.bool_or("display_thread_names", default.display_thread_names)?,
            display_thread_ids: section.bool_or("display_thread_ids", default.display_thread_ids)?,
            filters: filters(&section, warnings)?,
        })
    }
}

/// `filters` is a list; the old `filter` is one text, parts separated by commas.
fn filters(section: &Section<'_>, warnings: &mut Vec<Warning>) -> Result<Vec<String>, ConfigError> {
    let (old, new) = ("filter", "filters");
    let mut parts: Vec<(Field<'_>, &str)> = Vec::new();
    match (section.field(old), section.field(new)) {
        (Some(field), Some(_)) => return Err(field.error(Problem::OldAndNew { old, new })),
        (Some(field), None) => {
            warnings.push(Warning::OldKey {
                place: field.place(),
                old,
                new,
            });
            parts.extend(field.text()?.split(',').map(|part| (field.clone(), part.trim())));
        }
        (None, Some(field)) => {
            for field in field.list()? {
                let text = field.text()?;
                parts.push((field, text));
            }
        }
        (None, None) => {}
    }
    parts
        .into_iter()
        .map(|(field, text)| {
            if is_filter(text) {
                Ok(text.to_owned())
            } else {
                Err(field.error(Problem::Filter {
                    text: text.to_owned(),
                }))
            }
        })
        .collect()
}

fn is_filter(text: &str) -> bool {
    let target = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.'))
    };
    match text.split_once('=') {
        Some((name, level)) => {
            target(name)
                && (level == "off"
                    || LogLevel::NAMES
                        .iter()
                        .any(|name| name.eq_ignore_ascii_case(level)))
        }
        None => target(text),
    }
}
