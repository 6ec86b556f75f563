//! Log lines in the form of the tutorial, and what gets logged.
//!
//! `2025-07-31T09:07:45.859161Z  INFO main ThreadId(01) application_lifecycle: slim: Runtime started`

use std::fmt;
use std::io::IsTerminal as _;

use slim_config::TracingConfig;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer as _, Registry};

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `RUST_LOG` is set to something else than a filter.
    #[error("RUST_LOG={text:?} is no log filter: {reason}")]
    Environment {
        /// Its value.
        text: String,
        /// What is wrong.
        reason: tracing_subscriber::filter::ParseError,
    },
    /// A filter of the configuration.
    #[error("{text:?} is no log filter: {reason}")]
    Filter {
        /// The filters together.
        text: String,
        /// What is wrong.
        reason: tracing_subscriber::filter::ParseError,
    },
    /// This process already logs.
    #[error("logging was started before: {0}")]
    Started(#[from] TryInitError),
}

/// Changes what is logged by a process that logs.
#[derive(Clone, Debug)]
pub struct LogControl {
    filter: reload::Handle<Targets, Registry>,
    /// What `RUST_LOG` says holds until the end.
    is_fixed: bool,
}

impl LogControl {
    /// From now on the level and the filters of this configuration hold; the columns stay as they are. False if
    /// `RUST_LOG` says what is logged.
    pub fn apply(&self, config: &TracingConfig) -> Result<bool, LogError> {
        let filter = filter(config)?;
        if self.is_fixed {
            return Ok(false);
        }
        // It fails if the subscriber is gone, and then there is nothing to filter.
        Ok(self.filter.reload(filter).is_ok())
    }
}

/// Starts logging to standard output for the whole process. `RUST_LOG` wins over the configuration.
pub fn start(config: &TracingConfig) -> Result<LogControl, LogError> {
    let (filter, is_fixed) = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => {
            let parsed = text.parse();
            (
                parsed.map_err(|reason| LogError::Environment { text, reason })?,
                true,
            )
        }
        _ => (filter(config)?, false),
    };
    let (filter, handle) = reload::Layer::new(filter);
    let colour =
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    let layer = tracing_subscriber::fmt::layer()
        .event_format(LineFormat::from(config))
        .with_ansi(colour)
        .with_writer(std::io::stdout)
        .with_filter(filter);
    tracing_subscriber::registry().with(layer).try_init()?;
    Ok(LogControl {
        filter: handle,
        is_fixed,
    })
}

/// The filter of a configuration: our own code at `log_level`, libraries from `warn` on, then the written filters.
pub fn filter(config: &TracingConfig) -> Result<Targets, LogError> {
    let level = config.log_level.name();
    // The one prefix of all our targets.
    let mut parts = vec![
        format!("{}", LevelFilter::WARN.min(level_filter(config))),
        format!("slim={level}"),
    ];
    parts.extend(config.filters.iter().map(|filter| {
        let is_level = filter.parse::<LevelFilter>().is_ok();
        if is_level || filter.contains('=') {
            filter.clone()
        } else {
            format!("{filter}={level}")
        }
    }));
    let text = parts.join(",");
    text.parse().map_err(|reason| LogError::Filter { text, reason })
}

fn level_filter(config: &TracingConfig) -> LevelFilter {
    config.log_level.name().parse().unwrap_or(LevelFilter::INFO)
}

/// One event, one line.
#[derive(Clone, Copy, Debug)]
pub struct LineFormat {
    thread_names: bool,
    thread_ids: bool,
}

impl From<&TracingConfig> for LineFormat {
    fn from(config: &TracingConfig) -> Self {
        Self {
            thread_names: config.display_thread_names,
            thread_ids: config.display_thread_ids,
        }
    }
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let paint = Paint(line.has_ansi_escapes());
        let metadata = event.metadata();
        paint.start(&mut line, DIM)?;
        SystemTime.format_time(&mut line)?;
        paint.end(&mut line)?;
        line.write_char(' ')?;
        paint.start(&mut line, level_colour(*metadata.level()))?;
        write!(line, "{:>5}", metadata.level().as_str())?;
        paint.end(&mut line)?;
        line.write_char(' ')?;
        let thread = std::thread::current();
        if self.thread_names {
            write!(line, "{} ", thread.name().unwrap_or("unnamed"))?;
        }
        if self.thread_ids {
            write!(line, "{:0>2?} ", thread.id())?;
        }
        if let Some(scope) = context.event_scope() {
            let mut written = false;
            for span in scope.from_root() {
                written = true;
                write!(line, "{}:", span.name())?;
            }
            if written {
                line.write_char(' ')?;
            }
        }
        paint.start(&mut line, DIM)?;
        write!(line, "{}:", metadata.target())?;
        paint.end(&mut line)?;
        line.write_char(' ')?;
        context.format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}

const DIM: u8 = 2;

fn level_colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}

/// Escape sequences, only for terminals.
struct Paint(bool);

impl Paint {
    fn start(&self, line: &mut Writer<'_>, code: u8) -> fmt::Result {
        if self.0 {
            write!(line, "\x1b[{code}m")
        } else {
            Ok(())
        }
    }

    fn end(&self, line: &mut Writer<'_>) -> fmt::Result {
        if self.0 { line.write_str("\x1b[0m") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slim_config::LogLevel;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Ok(mut lines) = self.0.lock() {
                lines.extend_from_slice(bytes);
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is printed for a configuration, the time cut off and checked.
    fn printed(config: &TracingConfig, colour: bool, log: impl FnOnce()) -> Vec<String> {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(LineFormat::from(config))
            .with_ansi(colour)
            .with_writer(move || writer.clone())
            .with_filter(filter(config).expect("a good filter"));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        let text = String::from_utf8(lines.0.lock().expect("one thread").clone()).expect("text");
        text.lines()
            .map(|line| {
                if colour {
                    return line.to_owned();
                }
                let (time, rest) = line.split_at("2025-07-31T09:07:45.859161Z".len());
                let shape: String = time
                    .chars()
                    .map(|c| if c.is_ascii_digit() { '0' } else { c })
                    .collect();
                assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
                rest.to_owned()
            })
            .collect()
    }

    #[test]
    fn a_line_has_the_tutorials_columns() {
        let config = TracingConfig {
            display_thread_ids: true,
            ..TracingConfig::default()
        };
        let thread = std::thread::Builder::new().name("main".into());
        let lines = thread
            .spawn(move || {
                printed(&config, false, || {
                    let span = tracing::info_span!(target: "slim", "application_lifecycle");
                    span.in_scope(
                        || tracing::info!(target: "slim_service", config = %"X { a: 1 }", "set up"),
                    );
                    tracing::warn!(target: "slim_service", "careful");
                })
            })
            .unwrap()
            .join()
            .unwrap();
        let (before, after) = lines[0].split_once("ThreadId(").unwrap();
        assert_eq!(before, "  INFO main ");
        let (number, rest) = after.split_once(')').unwrap();
        assert!(number.len() >= 2 && number.parse::<u32>().is_ok(), "{number}");
        assert_eq!(
            rest,
            " application_lifecycle: slim_service: set up config=X { a: 1 }"
        );
        assert!(lines[1].starts_with("  WARN main ThreadId("), "{}", lines[1]);
        assert!(lines[1].ends_with(") slim_service: careful"), "{}", lines[1]);
    }

    #[test]
    fn columns_can_be_switched_off() {
        let config = TracingConfig {
            display_thread_names: false,
            ..TracingConfig::default()
        };
        let lines = printed(&config, false, || tracing::info!(target: "slim", "hello"));
        assert_eq!(lines, ["  INFO slim: hello"]);
    }

    #[test]
    fn colour_is_for_terminals_only() {
        let lines = printed(&TracingConfig::default(), true, || {
            tracing::info!(target: "slim", "hello");
        });
        assert!(lines[0].contains("\x1b[32m INFO\x1b[0m"), "{:?}", lines[0]);
    }

    #[test]
    fn the_level_holds_for_our_code_and_libraries_speak_from_warn_on() {
        let log = || {
            tracing::debug!(target: "slim_node", "ours debug");
            tracing::info!(target: "slim_router::router", "ours info");
            tracing::info!(target: "h2", "library info");
            tracing::warn!(target: "h2", "library warn");
        };
        let texts = |config: &TracingConfig| -> Vec<String> {
            printed(config, false, log)
                .iter()
                .map(|line| line.rsplit(": ").next().unwrap_or_default().to_owned())
                .collect()
        };
        let mut config = TracingConfig::default();
        assert_eq!(texts(&config), ["ours info", "library warn"]);
        config.log_level = LogLevel::Debug;
        assert_eq!(texts(&config), ["ours debug", "ours info", "library warn"]);
        config.log_level = LogLevel::Error;
        assert!(texts(&config).is_empty());
        config.log_level = LogLevel::Info;
        config.filters = vec!["h2".into(), "slim_router=off".into(), "slim_node=debug".into()];
        assert_eq!(texts(&config), ["ours debug", "library info", "library warn"]);
        config.filters = vec!["off".into(), "slim=off".into()];
        assert!(texts(&config).is_empty());
    }
}
