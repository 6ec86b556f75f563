//! When a silent or old connection ends.

use std::time::Duration;

use crate::error::ConfigError;
use crate::section::{Field, Section};

/// Keepalive of a listener's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerKeepalive {
    /// A connection without any open stream for this long is closed.
    pub max_connection_idle: Duration,
    /// A connection this old is asked to leave (GOAWAY); its client dials a new one first.
    pub max_connection_age: Duration,
    /// Time that an old connection gets to leave before it is cut.
    pub max_connection_age_grace: Duration,
    /// A PING is sent after this long without one.
    pub time: Duration,
    /// A connection that leaves a PING unanswered this long is dead.
    pub timeout: Duration,
}

/// The defaults of every release (configuration reference, server entry).
impl Default for ServerKeepalive {
    fn default() -> Self {
        Self {
            max_connection_idle: Duration::from_secs(3600),
            max_connection_age: Duration::from_secs(7200),
            max_connection_age_grace: Duration::from_secs(300),
            time: Duration::from_secs(120),
            timeout: Duration::from_secs(20),
        }
    }
}

impl ServerKeepalive {
    const KEYS: &[&str] = &[
        "max_connection_idle",
        "max_connection_age",
        "max_connection_age_grace",
        "time",
        "timeout",
    ];

    pub(crate) fn parse(field: Option<&Field<'_>>) -> Result<Self, ConfigError> {
        let default = Self::default();
        let Some(field) = field else {
            return Ok(default);
        };
        let section = Section::open(field, Self::KEYS)?;
        Ok(Self {
            max_connection_idle: section
                .positive_duration_or("max_connection_idle", default.max_connection_idle)?,
            max_connection_age: section
                .positive_duration_or("max_connection_age", default.max_connection_age)?,
            max_connection_age_grace: section
                .duration_or("max_connection_age_grace", default.max_connection_age_grace)?,
            time: section.positive_duration_or("time", default.time)?,
            timeout: section.positive_duration_or("timeout", default.timeout)?,
        })
    }
}

/// Keepalive of a dialled connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKeepalive {
    /// The operating system probes a silent socket after this long; zero switches the probes off.
    pub tcp_keepalive: Duration,
    /// A PING is sent after this long without one, also on a quiet link.
    pub http2_keepalive: Duration,
    /// A link that leaves a PING unanswered this long is dead.
    pub timeout: Duration,
}

/// Without a `keepalive` block: a dead path is noticed within 15 s (lessons, AT-16).
impl Default for ClientKeepalive {
    fn default() -> Self {
        Self {
            tcp_keepalive: Duration::from_secs(60),
            http2_keepalive: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
        }
    }
}

impl ClientKeepalive {
    const KEYS: &[&str] = &[
        "tcp_keepalive",
        "http2_keepalive",
        "timeout",
        "keep_alive_while_idle",
    ];

    pub(crate) fn parse(field: Option<&Field<'_>>) -> Result<Self, ConfigError> {
        let Some(field) = field else {
            return Ok(Self::default());
        };
        let section = Section::open(field, Self::KEYS)?;
        // "Idle" means without an open stream. A link is one open stream, so it never is, and both
        // values mean the same; the key is read only so that existing files keep working.
        section.bool_or("keep_alive_while_idle", false)?;
        // Inside a written block the documented defaults hold.
        Ok(Self {
            tcp_keepalive: section.duration_or("tcp_keepalive", Duration::from_secs(60))?,
            http2_keepalive: section.positive_duration_or("http2_keepalive", Duration::from_secs(60))?,
            timeout: section.positive_duration_or("timeout", Duration::from_secs(10))?,
        })
    }
}
