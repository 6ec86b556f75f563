//! When a silent or old connection ends.

use std::time::Duration;

use crate::error::ConfigError;
use crate::plain::Plain;
use crate::section::Section;
use crate::table::{Block, Key, Kind, Status};

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

/// A duration that must be longer than zero.
const POSITIVE: Kind = Kind::Duration { zero: false };

pub(crate) static SERVER_KEEPALIVE: Block = Block {
    name: "keepalive",
    doc: "When connections to a listener end.",
    keys: &[
        Key::new(
            "max_connection_idle",
            POSITIVE,
            "a connection without any open call is closed after this long",
        )
        .or("1h"),
        Key::new(
            "max_connection_age",
            POSITIVE,
            "a connection this old is asked to leave; its client dials a new one first",
        )
        .or("2h"),
        Key::new(
            "max_connection_age_grace",
            Kind::Duration { zero: true },
            "after this long more it is cut",
        )
        .or("5m"),
        Key::new("time", POSITIVE, "pause between two PINGs").or("2m"),
        Key::new(
            "timeout",
            POSITIVE,
            "a connection that leaves a PING unanswered this long is dead",
        )
        .or("20s"),
    ],
};

impl ServerKeepalive {
    pub(crate) fn parse(section: Option<Section<'_>>) -> Result<Self, ConfigError> {
        let Some(section) = section else {
            return Ok(Self::default());
        };
        Ok(Self {
            max_connection_idle: section.duration("max_connection_idle")?,
            max_connection_age: section.duration("max_connection_age")?,
            max_connection_age_grace: section.duration("max_connection_age_grace")?,
            time: section.duration("time")?,
            timeout: section.duration("timeout")?,
        })
    }

    pub(crate) fn normal(&self) -> Plain {
        Plain::map()
            .with("max_connection_idle", self.max_connection_idle)
            .with("max_connection_age", self.max_connection_age)
            .with("max_connection_age_grace", self.max_connection_age_grace)
            .with("time", self.time)
            .with("timeout", self.timeout)
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

pub(crate) static CLIENT_KEEPALIVE: Block = Block {
    name: "keepalive",
    doc: "When a silent link is dead. The defaults are those inside a written block; without the block a PING is sent \
          every 10 s and has 5 s to be answered.",
    keys: &[
        Key::new(
            "tcp_keepalive",
            Kind::Duration { zero: true },
            "the operating system probes a silent socket after this long; `0s`: never",
        )
        .or("60s"),
        Key::new(
            "http2_keepalive",
            POSITIVE,
            "pause between two PINGs, also on a quiet link",
        )
        .or("60s"),
        Key::new(
            "timeout",
            POSITIVE,
            "a link that leaves a PING unanswered this long is dead",
        )
        .or("10s"),
        // "Idle" means without an open call. A link is one open call, so it never is, and both values mean the same.
        Key::other("keep_alive_while_idle", Status::Unused),
        Key::other("permit_without_stream", Status::Wrong("keep_alive_while_idle")),
    ],
};

impl ClientKeepalive {
    pub(crate) fn parse(section: Option<Section<'_>>) -> Result<Self, ConfigError> {
        let Some(section) = section else {
            return Ok(Self::default());
        };
        // Inside a written block the documented defaults hold.
        Ok(Self {
            tcp_keepalive: section.duration("tcp_keepalive")?,
            http2_keepalive: section.duration("http2_keepalive")?,
            timeout: section.duration("timeout")?,
        })
    }

    pub(crate) fn normal(&self) -> Plain {
        Plain::map()
            .with("tcp_keepalive", self.tcp_keepalive)
            .with("http2_keepalive", self.http2_keepalive)
            .with("timeout", self.timeout)
    }
}
