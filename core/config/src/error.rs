//! What can be wrong with a configuration, and where.

use std::fmt;

use crate::endpoint::EndpointError;

/// Where in the text something stands: `services.slim/0.pubsub.servers[0].tls`, line 14.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Keys from the top, joined by dots; list entries as `[index]`. Empty for the document itself.
    pub path: String,
    /// Line in the text, from 1; absent when the value did not come from a file (JSON, Python).
    pub line: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() {
            "configuration"
        } else {
            &self.path
        };
        match self.line {
            Some(line) => write!(f, "{path} (line {line})"),
            None => f.write_str(path),
        }
    }
}

/// One problem of a configuration at its place.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The text is not YAML (or not JSON).
    #[error("{reason}")]
    Syntax {
        /// The parser's own words.
        reason: String,
    },
    /// No release has this key here.
    #[error("unknown key{}", hint(*nearest))]
    UnknownKey {
        /// The known key that looks most like it.
        nearest: Option<&'static str>,
    },
    /// A key whose function comes with a later release.
    #[error("not supported yet; remove the key{}", neutral.map(|value| format!(" or set it to {value}")).unwrap_or_default())]
    NotYet {
        /// The value that asks for nothing, if there is one.
        neutral: Option<&'static str>,
    },
    /// A key that never had an effect in any release.
    #[error("this key has no effect in any release; remove it")]
    NoEffect,
    /// A key that must be there.
    #[error("the key {key:?} is missing")]
    Missing {
        /// Its name.
        key: &'static str,
    },
    /// Old and new spelling of one key in the same block.
    #[error("{old:?} is the old name of {new:?}; keep only {new:?}")]
    OldAndNew {
        /// The old name.
        old: &'static str,
        /// Today's name.
        new: &'static str,
    },
    /// The value has the wrong type.
    #[error("expected {expected}, got {got}")]
    Type {
        /// What belongs here.
        expected: &'static str,
        /// What stands there.
        got: &'static str,
    },
    /// A whole number outside its range.
    #[error("{value} is outside {min}..={max}")]
    Range {
        /// What stands there.
        value: i64,
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A word outside its list.
    #[error("{value:?} is none of {}", choices.join(", "))]
    Choice {
        /// What stands there.
        value: String,
        /// What may stand there.
        choices: &'static [&'static str],
    },
    /// Not a duration.
    #[error("{0}")]
    Duration(DurationError),
    /// A duration that must not be zero.
    #[error("must be longer than zero")]
    ZeroDuration,
    /// Not an endpoint.
    #[error("{0}")]
    Endpoint(EndpointError),
    /// A service id with a kind that does not exist.
    #[error("the kind of a service is \"slim\" (slim/NAME), not {kind:?}")]
    ServiceKind {
        /// The part before the slash.
        kind: String,
    },
    /// A service id without a name.
    #[error("a service id is slim/NAME with a non-empty name")]
    ServiceName,
    /// The `services` block is empty.
    #[error("no service is configured; name at least one, as slim/0")]
    NoServices,
    /// A service that would do nothing.
    #[error("no dataplane server or client is configured")]
    NothingToRun,
    /// TLS is on (its default) but there is no certificate.
    #[error(
        "TLS is on and no certificate is configured (tls.source is missing); \
         set it, or tls.insecure: true for a plain-text listener"
    )]
    CertificateMissing,
    /// A plain-text scheme under TLS.
    #[error(
        "the endpoint says http:// and TLS is on (its default); write https://, or set tls.insecure: true for \
         plain text"
    )]
    SchemeIsPlain,
    /// A TLS scheme over plain text.
    #[error(
        "the endpoint says https:// and tls.insecure: true asks for plain text; write http://, or remove \
         tls.insecure"
    )]
    SchemeIsTls,
    /// A key about certificates beside `insecure: true`.
    #[error("tls.insecure: true asks for plain text, and this key for TLS; keep one of the two")]
    PlainTextAndTls,
    /// The key of clients on a listener.
    #[error("a listener does not use this key; set tls.client_ca to demand certificates of clients")]
    ServerCa,
    /// A client that would believe no node at all.
    #[error(
        "no CA is trusted; set tls.ca_source, or tls.include_system_ca_certs_pool: true for those of the system"
    )]
    NobodyTrusted,
    /// Two keys for the same thing.
    #[error("{first:?} and {second:?} exclude each other; keep one of them")]
    Both {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// Not the name of a host.
    #[error("{text:?} is no host name or address")]
    ServerName {
        /// What stands there.
        text: String,
    },
    /// A text without letters.
    #[error("must not be empty")]
    EmptyText,
    /// A log filter that cannot be understood.
    #[error("{text:?} is no log filter; write TARGET, TARGET=LEVEL or LEVEL")]
    Filter {
        /// What stands there.
        text: String,
    },
    /// A header name or value that HTTP does not allow.
    #[error("not an HTTP header: names are lower-case tokens, values are printable ASCII")]
    Header,
    /// A header that the transport itself sets.
    #[error("this header belongs to the transport and cannot be configured")]
    ReservedHeader,
    /// A thread name that the operating system refuses.
    #[error("a thread name is 1 to {max} bytes without NUL")]
    ThreadName {
        /// Longest name.
        max: usize,
    },
}

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

/// Something the user should know although it works.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// An old key was used.
    #[error("{place}: {old:?} is the old name of this key; write {new:?}")]
    OldKey {
        /// Where.
        place: Place,
        /// The old name.
        old: &'static str,
        /// Today's name.
        new: &'static str,
    },
    /// A client does not check whom it talks to.
    #[error(
        "{place}: whoever answers is believed to be the node, and can read and change what passes; for tests only"
    )]
    Unverified {
        /// Where.
        place: Place,
    },
}

fn hint(nearest: Option<&'static str>) -> String {
    nearest
        .map(|key| format!("; did you mean {key:?}?"))
        .unwrap_or_default()
}
