//! What is measured.

use std::fmt;

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// One sender, as fast as its receivers count.
    Stream {
        /// Receivers; each gets every message.
        receivers: usize,
        /// Application payload of a message.
        payload_bytes: usize,
    },
    /// One message at a time: there and back.
    RoundTrip {
        /// Application payload in both directions.
        payload_bytes: usize,
    },
}

impl Scenario {
    /// Every scenario, in the order of the report.
    pub(crate) const ALL: [Self; 5] = [
        Self::stream(1, 64),
        Self::stream(1, 1024),
        Self::stream(1, 16 * 1024),
        Self::stream(8, 1024),
        Self::RoundTrip { payload_bytes: 64 },
    ];

    const fn stream(receivers: usize, payload_bytes: usize) -> Self {
        Self::Stream {
            receivers,
            payload_bytes,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, bytes) = match self {
            Self::Stream {
                receivers,
                payload_bytes,
            } => (format!("1 to {receivers}"), payload_bytes),
            Self::RoundTrip { payload_bytes } => ("round trip".to_owned(), payload_bytes),
        };
        if bytes % 1024 == 0 {
            write!(f, "{text}, {} KiB", bytes / 1024)
        } else {
            write!(f, "{text}, {bytes} B")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_named_by_shape_and_size() {
        let names = Scenario::ALL.map(|scenario| scenario.to_string());
        assert_eq!(
            names,
            [
                "1 to 1, 64 B",
                "1 to 1, 1 KiB",
                "1 to 1, 16 KiB",
                "1 to 8, 1 KiB",
                "round trip, 64 B"
            ]
        );
    }
}
