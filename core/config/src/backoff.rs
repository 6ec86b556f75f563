//! Pauses between attempts to dial.

use std::time::Duration;

use crate::error::ConfigError;
use crate::plain::Plain;
use crate::section::Section;
use crate::table::{Block, Key, Kind};

/// Pauses between attempts to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backoff {
    /// Always the same pause.
    FixedInterval {
        /// The pause.
        interval: Duration,
        /// Attempts; absent means no limit.
        max_attempts: Option<u32>,
    },
    /// `base * factor * 2^n` after attempt n, at most `max_delay`.
    Exponential {
        /// The first pause at factor 1.
        base: Duration,
        /// Multiplies every pause.
        factor: u32,
        /// The longest pause.
        max_delay: Duration,
        /// Takes a random part, one half to the whole, of each pause.
        jitter: bool,
        /// Attempts; absent means no limit.
        max_attempts: Option<u32>,
    },
}

static FIXED_INTERVAL: Block = Block {
    name: "fixed_interval",
    doc: "Always the same pause.",
    keys: &[
        Key::new("interval", Kind::Duration { zero: false }, "the pause").or("2s"),
        MAX_ATTEMPTS,
    ],
};

static EXPONENTIAL: Block = Block {
    name: "exponential",
    doc: "After attempt n a pause of `base * factor * 2^n`.",
    keys: &[
        Key::new(
            "base",
            Kind::Duration { zero: false },
            "the first pause at factor 1",
        )
        .or("100ms"),
        Key::new(
            "factor",
            Kind::Integer {
                min: 1,
                max: 1_000_000,
            },
            "multiplies every pause",
        )
        .or("1"),
        Key::new("max_delay", Kind::Duration { zero: false }, "the longest pause").or("1s"),
        Key::new(
            "jitter",
            Kind::Bool,
            "take a random part, one half to the whole, of each pause",
        )
        .or("true"),
        MAX_ATTEMPTS,
    ],
};

/// `backoff` of a client.
pub(crate) const BACKOFF: Kind = Kind::Typed(&[&FIXED_INTERVAL, &EXPONENTIAL]);
const MAX_ATTEMPTS: Key = Key::new(
    "max_attempts",
    Kind::Integer {
        min: 1,
        max: u32::MAX as i64,
    },
    "give up after so many",
)
.without("never");

impl Backoff {
    pub(crate) fn parse(section: &Section<'_>) -> Result<Self, ConfigError> {
        let max_attempts = section.integer_if("max_attempts")?;
        if section.block().name == FIXED_INTERVAL.name {
            return Ok(Self::FixedInterval {
                interval: section.duration("interval")?,
                max_attempts,
            });
        }
        Ok(Self::Exponential {
            base: section.duration("base")?,
            factor: section.integer("factor")?,
            max_delay: section.duration("max_delay")?,
            jitter: section.bool("jitter")?,
            max_attempts,
        })
    }

    pub(crate) fn normal(&self) -> Plain {
        match self {
            Self::FixedInterval {
                interval,
                max_attempts,
            } => Plain::typed("fixed_interval")
                .with("interval", *interval)
                .with_some("max_attempts", *max_attempts),
            Self::Exponential {
                base,
                factor,
                max_delay,
                jitter,
                max_attempts,
            } => Plain::typed("exponential")
                .with("base", *base)
                .with("factor", *factor)
                .with("max_delay", *max_delay)
                .with("jitter", *jitter)
                .with_some("max_attempts", *max_attempts),
        }
    }
}
