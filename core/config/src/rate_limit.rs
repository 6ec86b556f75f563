//! `rate_limit` of a client: `COUNT/SECONDS`, as in `20/60`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// At most so many messages in so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many; at least one.
    pub count: u32,
    /// In how long; whole seconds, at least one.
    pub per: Duration,
}

/// Not a rate limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no rate limit; write COUNT/SECONDS, for example 20/60 for 20 messages a minute")]
pub struct RateLimitError {
    /// What stands there.
    pub text: String,
}

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, RateLimitError> {
        // `parse` would accept a plus sign.
        let number = |text: &str| -> Option<u32> {
            let digits = text.trim();
            let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
            all_digits.then(|| digits.parse().ok()).flatten()
        };
        text.split_once('/')
            .and_then(|(count, seconds)| Some((number(count)?, number(seconds)?)))
            .filter(|(count, seconds)| *count > 0 && *seconds > 0)
            .map(|(count, seconds)| Self {
                count,
                per: Duration::from_secs(u64::from(seconds)),
            })
            .ok_or_else(|| RateLimitError {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, self.per.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_and_seconds() {
        let limit: RateLimit = "20/60".parse().unwrap();
        assert_eq!((limit.count, limit.per), (20, Duration::from_secs(60)));
        assert_eq!(" 1 / 1 ".parse::<RateLimit>().unwrap().to_string(), "1/1");
        for text in [
            "",
            "20",
            "20/",
            "/60",
            "0/60",
            "20/0",
            "-1/2",
            "+1/2",
            "1/1s",
            "99999999999/1",
            "1/2/3",
        ] {
            let error = text.parse::<RateLimit>().unwrap_err().to_string();
            assert!(error.contains("COUNT/SECONDS"), "{error}");
        }
    }
}
