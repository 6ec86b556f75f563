//! The `auth` block: how the two ends of a link prove who they are.
//!
//! Here are only the values; certificates are the `tls` block's. Files are named here and read elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::SecretText;

mod client;
mod jwt;
mod server;
mod shared;

pub(crate) use client::CLIENT_AUTH;
use jwt::{CHECKING_KEY, SIGNING_KEY};
pub use jwt::{
    ClientJwtAuth, JwtAlgorithm, JwtClaims, JwtKey, JwtKeyFormat, JwtServerAuth, JwtSource, JwtVerification,
    StaticJwtAuth,
};
pub(crate) use server::SERVER_AUTH;
pub(crate) use shared::{AGENT, BASIC, OWN_ID, SPIRE};
use shared::{CLAIM_POLICY, PROVIDER_TIMEOUT, auth, web_url};

/// What a listener demands before it opens a link; checked once per link (wire-routing A12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerAuth {
    /// A name and a password.
    Basic(BasicAuth),
    /// A JSON Web Token, checked with configured keys or with those of its issuer.
    Jwt(JwtServerAuth),
    /// A token of one OpenID Connect provider.
    Oidc(OidcServerAuth),
    /// A JWT-SVID, checked with the bundles of the local SPIRE agent.
    Spire(SpireConfig),
}

/// What a dialler shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// A name and a password.
    Basic(BasicAuth),
    /// A token from a file that somebody else keeps fresh.
    StaticJwt(StaticJwtAuth),
    /// A token that is signed here.
    Jwt(ClientJwtAuth),
    /// A token of an OpenID Connect provider.
    Oidc(OidcClientAuth),
    /// A JWT-SVID of the local SPIRE agent.
    Spire(SpireConfig),
}

/// A name and a password (RFC 7617).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// Without a colon, not empty.
    pub username: String,
    /// Not empty.
    pub password: SecretText,
}

/// Tokens of one provider, as a listener checks them. The keys come from the provider's discovery document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcServerAuth {
    /// The provider; `iss` of every token.
    pub issuer_url: String,
    /// A token must be for one of these; at least one.
    pub audiences: Vec<String>,
    /// The age at which fetched keys are fetched again, from a minute to an hour.
    pub jwks_ttl: Duration,
    /// How long the verdict on one token is remembered, at most until the token expires; zero means not at all.
    pub claim_cache_ttl: Duration,
    /// A CEL expression over the claims; false is a refusal.
    pub policy: Option<String>,
    /// Limit for one request to the provider.
    pub timeout: Duration,
}

/// How a dialler gets its token from a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcClientAuth {
    /// The provider.
    pub issuer_url: String,
    /// Where the token comes from.
    pub grant: OidcGrant,
    /// Sent as `audience`.
    pub audience: Option<String>,
    /// Sent as `scope`: words with blanks between.
    pub scope: Option<String>,
    /// Limit for one request to the provider.
    pub timeout: Duration,
}

/// Where a dialler's token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OidcGrant {
    /// The process is a client of the provider (RFC 6749 §4.4).
    ClientCredentials {
        /// `client_id`.
        client_id: String,
        /// `client_secret`.
        client_secret: SecretText,
    },
    /// Somebody logged in before (RFC 6749 §6).
    RefreshToken {
        /// `client_id`.
        client_id: String,
        /// `client_secret`; public clients have none.
        client_secret: Option<SecretText>,
        /// The token, or the file that holds it and gets a rotated one.
        token: RefreshToken,
    },
    /// A file with an access token that somebody else keeps fresh.
    AccessTokenFile(PathBuf),
}

/// A refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshToken {
    /// The token itself; a rotated one lives in memory only.
    Text(SecretText),
    /// Read before each use.
    File(PathBuf),
}

/// The local SPIRE agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpireConfig {
    /// The Workload API's socket; absent means `SPIFFE_ENDPOINT_SOCKET`.
    pub socket_path: Option<PathBuf>,
    /// Which of several identities to use; absent means the agent's first.
    pub target_spiffe_id: Option<String>,
    /// Audiences of tokens: asked for by a dialler, demanded (one of them) by a listener. Never empty.
    pub jwt_audiences: Vec<String>,
    /// Whose identities a listener believes; empty means the trust domain of its own identity.
    pub trust_domains: Vec<String>,
}

/// Without a written `jwt_audiences` (upstream's default too).
pub(crate) const SPIRE_AUDIENCE: &str = "slim";

impl Default for SpireConfig {
    fn default() -> Self {
        Self {
            socket_path: None,
            target_spiffe_id: None,
            jwt_audiences: vec![SPIRE_AUDIENCE.to_owned()],
            trust_domains: Vec::new(),
        }
    }
}
