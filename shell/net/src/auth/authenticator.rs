//! What a listener demands of each call before it opens a link (wire-routing A12).
//!
//! Checked once per call. When a token expires later, its connection has reached its age: it is asked to leave and
//! cut after the grace (`keepalive.max_connection_age_grace`), so nobody stays on a token that is over.

use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use slim_auth::IdentityError;
use slim_config::{ServerAuth, ServerConfig};
use slim_crypto::jwa::TokenKeyError;
use slim_http::HttpSetupError;
use slim_policy::{AuthMethod, LinkIdentity, PolicyError};
use slim_proto::UnixTime;
use slim_spiffe::SpiffeError;

use super::basic::BasicCheck;
use super::bearer::BearerCheck;
use super::files::FileError;
use super::refusals::Refusals;
use crate::clock::Clock;
use crate::configured_key::CheckingKeyError;
use crate::grpc::server::Peer;
use crate::tls::ClientCertificate;

/// Checks the calls of one listener.
pub struct Authenticator {
    check: Check,
    refusals: Refusals,
}

enum Check {
    Basic(Box<BasicCheck>),
    Bearer(Box<BearerCheck>),
}

/// A call that was let in.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission {
    /// Who it is.
    pub identity: Arc<LinkIdentity>,
    /// The last second of its token.
    pub expires_at: Option<UnixTime>,
}

/// How a call is turned away. The peer learns no more than this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denial {
    /// HTTP 401, for `Basic` with a challenge.
    Unauthenticated { basic: bool },
    /// HTTP 403.
    Forbidden,
    /// The token may be good, but nobody can tell now: gRPC's UNAVAILABLE, after which dialers try again.
    Unavailable,
}

/// Why a call is turned away, for the log of the node.
#[derive(Debug, thiserror::Error)]
pub(super) enum Reason {
    #[error("no credentials")]
    Missing,
    #[error("credentials of another kind than the listener takes")]
    Scheme,
    #[error("wrong user name or password")]
    Password,
    #[error("{0}")]
    Token(IdentityError),
    #[error("the policy says no")]
    Policy,
    #[error("the policy failed: {0}")]
    PolicyFailed(PolicyError),
}

/// Why a listener cannot check anybody. It does not start then.
#[derive(Debug, thiserror::Error)]
pub enum AuthSetupError {
    /// A file with keys.
    #[error(transparent)]
    File(#[from] FileError),
    /// Keys that are none.
    #[error("the keys that check tokens cannot be used: {0}")]
    Keys(#[from] CheckingKeyError),
    /// The rules for tokens contradict each other.
    #[error("tokens cannot be checked: {0}")]
    Rules(IdentityError),
    /// The policy cannot be understood.
    #[error("auth.policy: {0}")]
    Policy(#[from] PolicyError),
    /// Keys cannot be fetched.
    #[error(transparent)]
    Http(#[from] HttpSetupError),
    /// The SPIFFE agent gives no bundles.
    #[error("auth: {0}")]
    Spiffe(#[from] SpiffeError),
    /// A secret that everybody knows.
    #[error("the secret that checks tokens cannot be used: {0}")]
    Secret(TokenKeyError),
}

impl Authenticator {
    /// As configured; `None` if the listener takes everybody. Reads the keys that are configured; keys of issuers
    /// are fetched from now on.
    pub async fn load(server: &ServerConfig) -> Result<Option<Self>, AuthSetupError> {
        let clock = Clock::start();
        let check = match &server.auth {
            None => return Ok(None),
            Some(ServerAuth::Basic(config)) => Check::Basic(Box::new(BasicCheck::new(config))),
            Some(ServerAuth::Jwt(config)) => Check::Bearer(Box::new(BearerCheck::jwt(config, clock).await?)),
            Some(ServerAuth::Oidc(config)) => {
                Check::Bearer(Box::new(BearerCheck::oidc(config, clock).await?))
            }
            Some(ServerAuth::Spire(config)) => {
                Check::Bearer(Box::new(BearerCheck::spire(config, clock).await?))
            }
        };
        Ok(Some(Self {
            check,
            refusals: Refusals::new(server.endpoint.to_string(), clock),
        }))
    }

    /// Judges one call. Ends in less than the time that a call has to be opened.
    pub(crate) async fn admit(
        &self,
        peer: &Peer,
        authorization: Option<&HeaderValue>,
    ) -> Result<Admission, Denial> {
        let (judged, basic) = match &self.check {
            Check::Basic(check) => (check.judge(authorization), true),
            Check::Bearer(check) => (check.judge(authorization).await, false),
        };
        let (identity, expires_at) = judged.map_err(|reason| {
            self.refusals.log(peer.address, &reason);
            match reason {
                Reason::Token(error) if error.is_about_missing_keys() => Denial::Unavailable,
                Reason::Policy | Reason::PolicyFailed(_) => Denial::Forbidden,
                Reason::Missing | Reason::Scheme | Reason::Password | Reason::Token(_) => {
                    Denial::Unauthenticated { basic }
                }
            }
        })?;
        let certificate = peer.certificate.as_ref().map(|certificate| certificate.claims());
        let identity = identity.beside_certificate(certificate);
        Ok(Admission {
            identity: Arc::new(identity),
            expires_at,
        })
    }

    /// How identities are proven here.
    pub fn method(&self) -> AuthMethod {
        match &self.check {
            Check::Basic(_) => AuthMethod::Basic,
            Check::Bearer(check) => check.method(),
        }
    }

    /// Calls turned away since the last time that somebody asked; for whoever keeps the counts.
    pub fn take_refused(&self) -> u64 {
        self.refusals.take_count()
    }
}

/// The identity of a link whose listener demands nothing in the call: that of its certificate, or none.
pub fn identity_below(certificate: Option<&ClientCertificate>) -> LinkIdentity {
    match certificate {
        Some(certificate) => LinkIdentity {
            subject: certificate.name(),
            issuer: None,
            method: AuthMethod::Certificate,
            claims: certificate.claims(),
        },
        None => LinkIdentity::default(),
    }
}

impl fmt::Debug for Authenticator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authenticator({})", self.method().name())
    }
}
