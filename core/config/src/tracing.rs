//! What is logged and how a log line looks.

use crate::Loaded;
use crate::error::{ConfigError, Problem};
use crate::field::Field;
use crate::load;
use crate::plain::Plain;
use crate::section::Section;
use crate::table::{Block, Key, Kind, Status};

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

pub(crate) static TRACING: Block = Block {
    name: "tracing",
    doc: "What is logged, and how a line looks. The log goes to standard output.",
    keys: &[
        Key::new("log_level", Kind::Choice(LogLevel::NAMES), "least important level that is printed").or("info"),
        Key::new("display_thread_names", Kind::Bool, "print the name of the thread").or("true"),
        Key::new("display_thread_ids", Kind::Bool, "print the number of the thread").or("false"),
        Key::new(
            "filters",
            Kind::List(&Kind::Text),
            "`TARGET`, `TARGET=LEVEL` or `LEVEL`; later ones win. The variable `RUST_LOG` replaces everything",
        )
        .or("[]"),
        Key::other("filter", Status::OldShape("filters")),
        Key::new("opentelemetry", Kind::Block(&OPENTELEMETRY), "export of traces; must be off").without("off"),
    ],
};

static OPENTELEMETRY: Block = Block {
    name: "tracing.opentelemetry",
    doc: "Export of traces comes with a later release; a block that switches it off is accepted.",
    keys: &[
        Key::other("enabled", Status::Later(Some("false"))),
        // Switched off, the other keys ask for nothing.
        Key::other("grpc", Status::Unused),
        Key::other("service_name", Status::Unused),
        Key::other("service_version", Status::Unused),
        Key::other("environment", Status::Unused),
        Key::other("metrics_interval_secs", Status::Unused),
    ],
};

impl TracingConfig {
    /// Parses a tracing block from JSON, as strictly as from a file.
    pub fn from_json_text(text: &str) -> Result<Loaded<Self>, ConfigError> {
        load::from_json(text, |field| Self::parse(Some(Section::open(field, &TRACING)?)))
    }

    pub(crate) fn parse(section: Option<Section<'_>>) -> Result<Self, ConfigError> {
        let Some(section) = section else {
            return Ok(Self::default());
        };
        section.section("opentelemetry")?;
        Ok(Self {
            log_level: section.choice("log_level", LogLevel::ALL)?,
            display_thread_names: section.bool("display_thread_names")?,
            display_thread_ids: section.bool("display_thread_ids")?,
            filters: filters(&section)?,
        })
    }

    pub(crate) fn normal(&self) -> Plain {
        Plain::map()
            .with("log_level", self.log_level.name())
            .with("display_thread_names", self.display_thread_names)
            .with("display_thread_ids", self.display_thread_ids)
            .with("filters", &self.filters)
    }
}

/// `filters` is a list; the old `filter` is one text, parts separated by commas.
fn filters(section: &Section<'_>) -> Result<Vec<String>, ConfigError> {
    let mut parts: Vec<(Field<'_>, &str)> = Vec::new();
    if let Some(field) = section.old_shape("filter") {
        parts.extend(field.text()?.split(',').map(|part| (field.clone(), part.trim())));
    } else if let Some(field) = section.field("filters") {
        for field in field.list()? {
            let text = field.text()?;
            parts.push((field, text));
        }
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
