//! Reaching a node: one attempt, and how failures and configurations look to who decides about the next.

use std::time::Duration;

use slim_config::{Backoff, ClientConfig};
use slim_router::dialer::{Pauses, RedialPolicy};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::auth::{CredentialError, Credentials};
use crate::dialed::Dialed;
use crate::grpc::client::{CallHeaders, OPENING_TIMEOUT};
use crate::grpc::status::{Code, Status};
use crate::proxy::ProxyError;
use crate::reach::reach;
use crate::socket::PeerAddress;
use crate::tls::{Probe, TlsFailure, TlsSetupError};
use crate::websocket::UpgradeError;
use crate::{grpc, websocket};

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No TCP connection.
    #[error("cannot connect to {endpoint}: {error}")]
    Connect {
        /// Where to.
        endpoint: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// No TCP connection in time.
    #[error("cannot connect to {endpoint}: no answer within {limit:?}")]
    ConnectTimeout {
        /// Where to.
        endpoint: String,
        /// The limit.
        limit: Duration,
    },
    /// The proxy that leads to the node cannot be reached.
    #[error("the proxy {proxy} cannot be used: {error}")]
    ProxyUnreachable {
        /// Which.
        proxy: String,
        /// Why not.
        error: Box<Self>,
    },
    /// The proxy does not lead to the node.
    #[error("no way to {endpoint} through the proxy {proxy}: {error}")]
    Proxy {
        /// Where to.
        endpoint: String,
        /// Through whom; no credentials are in it.
        proxy: String,
        /// Why not.
        error: ProxyError,
    },
    /// The configured certificates cannot be used.
    #[error("{0}")]
    TlsSetup(#[from] TlsSetupError),
    /// The two sides do not come to trust each other.
    #[error("no TLS with {endpoint}: {failure}")]
    Tls {
        /// Who it was to be.
        endpoint: String,
        /// Why not.
        failure: TlsFailure,
    },
    /// Something answers, but not HTTP/2.
    #[error("no HTTP/2 on the other side: {0}")]
    Handshake(h2::Error),
    /// The call broke off before its headers came.
    #[error("the call failed: {0}")]
    Call(h2::Error),
    /// The other side opens no WebSocket.
    #[error("no WebSocket: {0}")]
    WebSocket(UpgradeError),
    /// No response headers in time.
    #[error("no answer to the call within {0:?}")]
    NoAnswer(Duration),
    /// The peer refused the call.
    #[error("the peer refused the call: {0}")]
    Refused(Status),
    /// There are no credentials to show; the node was not asked.
    #[error("{endpoint} was not dialled: {error}")]
    Credentials {
        /// Where to.
        endpoint: String,
        /// What is missing.
        error: CredentialError,
    },
    /// The node does not believe the credentials, or wants some (HTTP 401).
    #[error("{endpoint} refuses the link as unauthenticated (401): {}", unauthenticated_hint(*.shown))]
    Unauthenticated {
        /// Who refuses.
        endpoint: String,
        /// Credentials were sent.
        shown: bool,
    },
    /// The node believes who we are, and its policy does not let us in (HTTP 403).
    #[error(
        "{endpoint} refuses the link: permission denied (403); its policy does not admit this identity{}",
        said(.message)
    )]
    PermissionDenied {
        /// Who refuses.
        endpoint: String,
        /// What it says beside; mostly nothing.
        message: String,
    },
    /// The configured origin is no authority.
    #[error("{0:?} is no HTTP authority")]
    Authority(String),
}

impl DialError {
    /// True if another attempt makes sense: the node may just be starting. A node that answers and refuses will
    /// refuse again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::ProxyUnreachable { .. }
            // A proxy may know the node's name later, and its rules change.
            | Self::Proxy { .. }
            // Certificates are renewed without anybody telling the other side.
            | Self::TlsSetup(_)
            | Self::Tls { .. }
            // So are keys and tokens.
            | Self::Credentials { .. }
            | Self::Handshake(_)
            | Self::Call(_)
            | Self::NoAnswer(_) => true,
            Self::WebSocket(error) => error.is_transient(),
            Self::Refused(status) => [Code::UNAVAILABLE, Code::RESOURCE_EXHAUSTED].contains(&status.code),
            Self::Unauthenticated { .. }
            | Self::PermissionDenied { .. }
            | Self::Authority(_) => false,
        }
    }

    /// True if certificates, credentials or settings have to change before an attempt can succeed. Who waits for a link should
    /// hear of it; a node that keeps a link up tries on.
    pub fn is_about_trust(&self) -> bool {
        match self {
            Self::TlsSetup(_) | Self::Unauthenticated { .. } | Self::PermissionDenied { .. } => true,
            Self::Credentials { error, .. } => !error.is_transient(),
            Self::Tls { failure, .. } => failure.needs_other_settings(),
            Self::Proxy { error, .. } => error.needs_other_settings(),
            Self::ProxyUnreachable { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Handshake(_)
            | Self::Call(_)
            | Self::WebSocket(_)
            | Self::NoAnswer(_)
            | Self::Refused(_)
            | Self::Authority(_) => false,
        }
    }
}

/// How a link with this configuration is dialled again.
pub fn redial_policy(configured: Option<&Backoff>, default: RedialPolicy) -> RedialPolicy {
    let (pauses, attempts_max) = match configured {
        None => return default,
        Some(Backoff::FixedInterval {
            interval,
            max_attempts,
        }) => (Pauses::Fixed(*interval), *max_attempts),
        Some(Backoff::Exponential {
            base,
            factor,
            max_delay,
            jitter,
            max_attempts,
        }) => {
            let pauses = Pauses::Exponential {
                base: *base,
                factor: *factor,
                longest: *max_delay,
                jitter: *jitter,
            };
            (pauses, *max_attempts)
        }
    };
    RedialPolicy {
        eager: pauses.clone(),
        patient: pauses,
        attempts_max,
    }
}

fn unauthenticated_hint(shown: bool) -> &'static str {
    match shown {
        true => "it does not accept the credentials of `auth`; check them, and the clocks of both machines",
        false => "it wants credentials; set `auth`",
    }
}

/// What a peer said, if it did.
fn said(message: &str) -> String {
    match message.is_empty() {
        true => String::new(),
        false => format!(": {message}"),
    }
}

/// One attempt.
pub async fn dial(config: &ClientConfig) -> Result<Dialed, DialError> {
    dial_as(config, &Credentials::of(config)).await
}

/// One attempt with credentials that last longer than it: what was fetched for one dial serves the next.
pub async fn dial_as(config: &ClientConfig, credentials: &Credentials) -> Result<Dialed, DialError> {
    let endpoint = || config.endpoint.to_string();
    // Before anything leaves: a file that is missing is no reason to bother the node.
    let connector = credentials.connector(config).await?;
    let authorization = credentials
        .authorization()
        .await
        .map_err(|error| DialError::Credentials {
            endpoint: endpoint(),
            error,
        })?;
    let shown = authorization.is_some();
    let (socket, peer) = reach(config).await?;
    let authority = config.endpoint.authority();
    let call = CallHeaders {
        scheme: if connector.is_some() { "https" } else { "http" },
        authority: config.origin.as_deref().unwrap_or(&authority),
        extra: &config.headers,
        authorization,
    };
    let refused = |error| {
        let DialError::Refused(status) = error else {
            return error;
        };
        match status.code {
            Code::UNAUTHENTICATED => DialError::Unauthenticated {
                endpoint: endpoint(),
                shown,
            },
            Code::PERMISSION_DENIED => DialError::PermissionDenied {
                endpoint: endpoint(),
                message: status.message,
            },
            _ => DialError::Refused(status),
        }
    };
    let failed = |failure| DialError::Tls {
        endpoint: endpoint(),
        failure,
    };
    let Some(connector) = connector else {
        let (socket, seen) = Probe::new(socket);
        let opened = open(socket, peer, &call, config).await;
        return opened.map_err(|error| {
            if seen.is_tls() {
                failed(TlsFailure::TlsExpected)
            } else {
                refused(error)
            }
        });
    };
    // Boxed: the state of a handshake has kilobytes, and callers hold this future inside theirs.
    Box::pin(async {
        let secured = connector.connect(socket, OPENING_TIMEOUT).await.map_err(failed)?;
        let (secured, seen) = Probe::new(secured);
        let opened = open(secured, peer, &call, config).await;
        opened.map_err(|error| match seen.error() {
            Some(error) => failed(connector.explain(error)),
            None => refused(error),
        })
    })
    .await
}

/// Opens a link on a byte stream, in the transport of the endpoint.
async fn open<Io>(
    io: Io,
    peer: PeerAddress,
    call: &CallHeaders<'_>,
    config: &ClientConfig,
) -> Result<Dialed, DialError>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    match config.endpoint.request_path() {
        Some(path) => websocket::open(io, peer, path, call, &config.keepalive).await,
        None => grpc::client::open(io, peer, call, &config.keepalive).await,
    }
}
