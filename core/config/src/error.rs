//! What can be wrong with a configuration, and where.

use slim_policy::{PatternError, PolicyError};

use crate::duration::DurationError;
use crate::endpoint::EndpointError;
use crate::place::Place;
use crate::rate_limit::RateLimitError;

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
    /// A key that is understood and not accepted.
    #[error("{reason}")]
    Refused {
        /// Why, and what to write instead.
        reason: &'static str,
    },
    /// `type: none` beside other keys.
    #[error("type: none goes without other keys; remove them, or name the type that they belong to")]
    NoneWithKeys,
    /// A `type` that does not exist.
    #[error("{value:?} is none of {}", types.join(", "))]
    Variant {
        /// What stands there.
        value: String,
        /// What may stand there.
        types: Vec<&'static str>,
    },
    /// A placeholder for something that is not there.
    #[error("${{env:{name}}}: the environment variable {name} is not set")]
    VariableMissing {
        /// The variable.
        name: String,
    },
    /// A placeholder for a file that cannot be read.
    #[error("${{file:{path}}}: cannot read the file: {reason}")]
    FileMissing {
        /// The file.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// A placeholder where nothing can be put in its place.
    #[error("placeholders (${{env:…}}, ${{file:…}}) are understood in configuration files only")]
    NoPlaceholders,
    /// Something that looks like a placeholder.
    #[error("a placeholder is a whole value: ${{env:NAME}} or ${{file:PATH}} and nothing else")]
    Placeholder,
    /// The value behind a placeholder does not fit; it is not shown.
    #[error("the value of {placeholder} is not valid here{}", expected.as_ref().map(|text| format!("; expected {text}")).unwrap_or_default())]
    Filled {
        /// The placeholder.
        placeholder: String,
        /// What belongs here.
        expected: Option<String>,
    },
    /// An environment variable whose value is not YAML; it is not shown.
    #[error("the value is not YAML; write it as it would stand in the file")]
    OverrideValue,
    /// An environment variable that names no place in the configuration.
    #[error("{part:?} leads nowhere: {reason}")]
    Override {
        /// The part of the variable's name.
        part: String,
        /// Why.
        reason: &'static str,
    },
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
    /// Two equal spellings of one key in the same block.
    #[error("{alias:?} is another name of {key:?}; keep only {key:?}")]
    Twice {
        /// The other name.
        alias: &'static str,
        /// The name.
        key: &'static str,
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
    /// Not a rate limit.
    #[error("{0}")]
    Rate(RateLimitError),
    /// A name with a colon, where the colon ends the name (RFC 7617).
    #[error("a user name has no colon")]
    UserName,
    /// Several where one is meant.
    #[error("expected one value, got {count}")]
    OneValue {
        /// How many.
        count: usize,
    },
    /// Whoever publishes keys could sign tokens for this listener.
    #[error(
        "with key: {{type: autoresolve}} claims.issuer must name the issuers that are believed: anybody can \
         publish keys"
    )]
    IssuerMissing,
    /// An algorithm that the key does not say itself.
    #[error("the key \"algorithm\" is missing; a PEM key or a secret does not say what it is for")]
    AlgorithmMissing,
    /// A set of keys where one must sign.
    #[error("a token is signed with one key; write it as pem or jwk")]
    SigningKeySet,
    /// None of several keys of which one must be there.
    #[error("one of {} must be there", keys.join(", "))]
    OneOf {
        /// Their names.
        keys: &'static [&'static str],
    },
    /// Not a pattern of names.
    #[error("{0}")]
    Pattern(PatternError),
    /// Not an expression.
    #[error("{0}")]
    Policy(PolicyError),
    /// Not the URL of a web server.
    #[error("{text:?} is no URL of a web server; write https://HOST or https://HOST/PATH")]
    Url {
        /// What stands there.
        text: String,
    },
    /// TLS 1.2 knows no key exchange that resists quantum computers.
    #[error("enforce_pqc needs tls_version: tls1.3")]
    PostQuantumVersion,
    /// A password in a URL.
    #[error("write the user and the password of a proxy as the keys username and password")]
    ProxyCredentials,
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
        "the endpoint says {written} and TLS is on (its default); write {other}, or set tls.insecure: true for \
         plain text"
    )]
    SchemeIsPlain {
        /// The scheme that stands there.
        written: &'static str,
        /// The one that says TLS.
        other: &'static str,
    },
    /// A TLS scheme over plain text.
    #[error(
        "the endpoint says {written} and tls.insecure: true asks for plain text; write {other}, or remove \
         tls.insecure"
    )]
    SchemeIsTls {
        /// The scheme that stands there.
        written: &'static str,
        /// The one that says plain text.
        other: &'static str,
    },
    /// TLS where no network is.
    #[error("a Unix socket has no TLS; remove this key, or set it to {{insecure: true}}")]
    SocketTls,
    /// A key that is about HTTP/2, under a WebSocket endpoint.
    #[error("this key is about HTTP/2 and has no effect on a WebSocket listener; remove it")]
    Http2Only,
    /// A proxy in front of a Unix socket.
    #[error("a Unix socket is on this machine and is never reached through a proxy; remove this key")]
    SocketProxy,
    /// A proxy that is not asked over HTTP.
    #[error("a proxy is http://host:port or https://host:port")]
    ProxyScheme,
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

impl Problem {
    /// True if the message repeats what was written.
    pub(crate) fn quotes_the_value(&self) -> bool {
        matches!(
            self,
            Self::Range { .. }
                | Self::Choice { .. }
                | Self::Variant { .. }
                | Self::Duration(_)
                | Self::Rate(_)
                | Self::Endpoint(_)
                | Self::ServerName { .. }
                | Self::Filter { .. }
                | Self::Pattern(_)
                | Self::Policy(_)
                | Self::Url { .. }
                | Self::Type { .. }
        )
    }

    /// What would have been right, without what was written.
    pub(crate) fn expected(&self) -> Option<String> {
        if let Self::Range { min, max, .. } = self {
            return Some(format!("a whole number of {min}..={max}"));
        }
        if let Self::Choice { choices, .. } = self {
            return Some(format!("one of {}", choices.join(", ")));
        }
        if let Self::Type { expected, .. } = self {
            return Some((*expected).to_owned());
        }
        let form = [
            (matches!(self, Self::Duration(_)), "a duration such as 10s"),
            (matches!(self, Self::Endpoint(_)), "host:port or a URL"),
            (matches!(self, Self::Rate(_)), "COUNT/SECONDS"),
        ];
        let (_, form) = form.into_iter().find(|(applies, _)| *applies)?;
        Some(form.to_owned())
    }
}

fn hint(nearest: Option<&'static str>) -> String {
    nearest
        .map(|key| format!("; did you mean {key:?}?"))
        .unwrap_or_default()
}
