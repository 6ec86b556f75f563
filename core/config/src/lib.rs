//! Typed configuration, parsed from text; no files, no defaults hidden in code paths.
//!
//! Text becomes a tree that knows its lines, the tree is checked key by key, and only then typed values
//! come out. A key that this release does not know, or knows but gives no effect, is an error: a misspelt
//! `auth:` must never leave a listener open without a word. Reading the file is the caller's business.

mod auth;
mod authorization;
mod backoff;
mod client;
mod duration;
mod endpoint;
mod error;
mod field;
mod json_schema;
mod keepalive;
mod load;
mod nearest;
mod neutral;
mod node;
mod overrides;
mod place;
mod placeholders;
mod plain;
mod proxy;
mod rate_limit;
mod runtime;
mod secret;
mod section;
mod server;
mod table;
mod tls;
mod tracing;
mod tree;
mod warning;

pub use auth::{
    BasicAuth, ClientAuth, ClientJwtAuth, JwtAlgorithm, JwtClaims, JwtKey, JwtKeyFormat, JwtServerAuth,
    JwtSource, JwtVerification, OidcClientAuth, OidcGrant, OidcServerAuth, RefreshToken, ServerAuth,
    SpireConfig, StaticJwtAuth,
};
pub use authorization::{AuthorizationConfig, DefaultAccess};
pub use backoff::Backoff;
pub use client::{ClientConfig, ConnectionType};
pub use duration::{DurationError, format_duration, parse_duration};
pub use endpoint::{
    Endpoint, EndpointError, REQUEST_PATH_BYTES_MAX, SOCKET_PATH_BYTES_MAX, Scheme, Transport,
};
pub use error::{ConfigError, Problem};
pub use json_schema::json_schema;
pub use keepalive::{ClientKeepalive, ServerKeepalive};
pub use node::{NodeConfig, ServiceConfig, ServiceId, file_table};
pub use overrides::OVERRIDE_PREFIX;
pub use place::{Origin, Place};
pub use placeholders::Sources;
pub use proxy::{Proxy, ProxyConfig};
pub use rate_limit::{RateLimit, RateLimitError};
pub use runtime::RuntimeConfig;
pub use secret::SecretText;
pub use server::ServerConfig;
pub use table::{Absence, Block, Key, Kind, Status};
pub use tls::{CaSource, CertificateSource, ClientTls, ServerTls, TlsVersion};
pub use tracing::{LogLevel, TracingConfig};
pub use warning::Warning;

pub use slim_policy::{AuthMethod, RuleSource};

/// A parsed value and what the user should be told about its text.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded<T> {
    /// The value.
    pub config: T,
    /// Old spellings that were understood; each is worth one line on the log.
    pub warnings: Vec<Warning>,
}
