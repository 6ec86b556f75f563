//! Durations as text: `10s`, `500ms`, `1h30m`, `1d 2h`, `1m+30s`.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Nothing there.
    #[error("a duration cannot be empty; write for example 10s, 500ms, 1h30m")]
    Empty,
    /// A number without unit.
    #[error("{text:?} has no unit; write for example 10s, 500ms, 1h30m")]
    NoUnit {
        /// The whole text.
        text: String,
    },
    /// A unit without number, or other text.
    #[error("{text:?} is no duration; write for example 10s, 500ms, 1h30m")]
    Malformed {
        /// The whole text.
        text: String,
    },
    /// A unit that is not known.
    #[error("{unit:?} is no unit of time; use y, w, d, h, m, s, ms, us or ns")]
    Unit {
        /// The unit.
        unit: String,
    },
    /// Longer than can be counted.
    #[error("{text:?} is too long")]
    TooLong {
        /// The whole text.
        text: String,
    },
}

/// Parses a sum of whole numbers with units; the units are those of all releases together.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let malformed = || DurationError::Malformed {
        text: text.to_owned(),
    };
    let too_long = || DurationError::TooLong {
        text: text.to_owned(),
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        if number.is_empty() {
            return Err(malformed());
        }
        let tail = tail.trim_start();
        let letters = tail
            .find(|c: char| c.is_ascii_digit() || c.is_whitespace() || c == '+')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        if unit.is_empty() {
            return Err(DurationError::NoUnit {
                text: text.to_owned(),
            });
        }
        // Only digits are left, so the one way to fail is a number that is too large.
        let number: u64 = number.parse().map_err(|_| too_long())?;
        let part = unit_nanoseconds(unit)
            .ok_or_else(|| DurationError::Unit {
                unit: unit.to_owned(),
            })?
            .checked_mul(u128::from(number))
            .and_then(|nanoseconds| u64::try_from(nanoseconds).ok())
            .ok_or_else(too_long)?;
        total = total
            .checked_add(Duration::from_nanos(part))
            .ok_or_else(too_long)?;
        rest = tail.trim_start();
        if let Some(after) = rest.strip_prefix('+') {
            rest = after.trim_start();
            if rest.is_empty() {
                return Err(malformed());
            }
        }
    }
    Ok(total)
}

/// The shortest sum that [`parse_duration`] reads as this duration: `1h30m`, `0s`.
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    let mut text = String::new();
    for unit in ["h", "m", "s", "ms", "us", "ns"] {
        let size = unit_nanoseconds(unit).expect("units of our own table");
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

fn unit_nanoseconds(unit: &str) -> Option<u128> {
    const SECOND: u128 = 1_000_000_000;
    Some(match unit {
        "ns" | "nsec" | "nanosecond" | "nanoseconds" => 1,
        "us" | "µs" | "usec" | "microsecond" | "microseconds" => 1_000,
        "ms" | "msec" | "millisecond" | "milliseconds" => 1_000_000,
        "s" | "sec" | "secs" | "second" | "seconds" => SECOND,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * SECOND,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600 * SECOND,
        "d" | "day" | "days" => 86_400 * SECOND,
        "w" | "week" | "weeks" => 7 * 86_400 * SECOND,
        "y" | "year" | "years" => 365 * 86_400 * SECOND,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seconds in 0..18_000_000_000u64, nanoseconds in 0..1_000_000_000u32) {
            let duration = Duration::new(seconds, nanoseconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = parse_duration(&text);
        }
    }

    #[test]
    fn the_largest_unit_comes_first_and_empty_parts_are_left_out() {
        for (duration, text) in [
            (Duration::ZERO, "0s"),
            (Duration::from_millis(5_400_500), "1h30m500ms"),
            (Duration::from_secs(86_400), "24h"),
        ] {
            assert_eq!(format_duration(duration), text);
        }
    }

    #[test]
    fn s_08_the_union_of_both_generations_is_understood() {
        for (text, milliseconds) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1d", 86_400_000),
            ("1w", 604_800_000),
            ("1y", 31_536_000_000),
            ("1h30m", 5_400_000),
            ("1h 30m", 5_400_000),
            ("1m+30s", 90_000),
            ("1 min + 30 sec", 90_000),
            (" 3 hours ", 10_800_000),
            ("0s", 0),
            ("1000us", 1),
            ("1000µs", 1),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
    }

    #[test]
    fn a_text_without_unit_or_number_says_what_is_wrong() {
        for (text, message) in [
            (
                "",
                "a duration cannot be empty; write for example 10s, 500ms, 1h30m",
            ),
            ("10", "\"10\" has no unit; write for example 10s, 500ms, 1h30m"),
            ("s", "\"s\" is no duration; write for example 10s, 500ms, 1h30m"),
            (
                "-1s",
                "\"-1s\" is no duration; write for example 10s, 500ms, 1h30m",
            ),
            (
                "1s+",
                "\"1s+\" is no duration; write for example 10s, 500ms, 1h30m",
            ),
            (
                "1.5s",
                "\".\" is no unit of time; use y, w, d, h, m, s, ms, us or ns",
            ),
            (
                "1parsec",
                "\"parsec\" is no unit of time; use y, w, d, h, m, s, ms, us or ns",
            ),
            ("99999999999999999999s", "\"99999999999999999999s\" is too long"),
            ("600y", "\"600y\" is too long"),
        ] {
            assert_eq!(parse_duration(text).unwrap_err().to_string(), message, "{text}");
        }
    }
}
