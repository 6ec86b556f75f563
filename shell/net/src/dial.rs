//! Reaching a node: one attempt, or attempts under a policy.

use std::time::Duration;

use slim_config::{Backoff, ClientConfig};
use tokio::time::sleep;

use crate::auth::{CredentialError, Credentials};
use crate::grpc::client::{CallHeaders, Dialed, OPENING_TIMEOUT, open};
use crate::grpc::status::{Code, Status};
use crate::proxy::ProxyError;
use crate::reach::reach;
use crate::tls::{Probe, TlsFailure, TlsSetupError};

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
    /// Every attempt of the policy failed.
    #[error("gave up after {attempts} attempts; the last one: {last}")]
    GaveUp {
        /// How many.
        attempts: u32,
        /// The error of the last one.
        last: Box<Self>,
    },
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
            Self::Refused(status) => [Code::UNAVAILABLE, Code::RESOURCE_EXHAUSTED].contains(&status.code),
            Self::Unauthenticated { .. }
            | Self::PermissionDenied { .. }
            | Self::Authority(_)
            | Self::GaveUp { .. } => false,
        }
    }

    /// True if certificates, credentials or settings have to change before an attempt can succeed. Who waits for a link should
    /// hear of it; a node that keeps a link up tries on.
    pub fn is_about_trust(&self) -> bool {
        match self {
            Self::TlsSetup(_) | Self::Unauthenticated { .. } | Self::PermissionDenied { .. } => true,
            Self::Credentials { error, .. } => !error.is_transient(),
            Self::Tls { failure, .. } => failure.needs_other_settings(),
            Self::GaveUp { last, .. } => last.is_about_trust(),
            Self::Proxy { error, .. } => error.needs_other_settings(),
            Self::ProxyUnreachable { .. }
            | Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Handshake(_)
            | Self::Call(_)
            | Self::NoAnswer(_)
            | Self::Refused(_)
            | Self::Authority(_) => false,
        }
    }
}

/// When to try again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialPolicy {
    backoff: Backoff,
}

impl DialPolicy {
    /// One attempt.
    pub fn once() -> Self {
        Self::fixed(Duration::ZERO, Some(1))
    }

    /// Attempts with a fixed pause; `None` means for ever.
    pub fn fixed(interval: Duration, max_attempts: Option<u32>) -> Self {
        Self {
            backoff: Backoff::FixedInterval {
                interval,
                max_attempts,
            },
        }
    }

    /// As configured.
    pub fn configured(backoff: Backoff) -> Self {
        Self { backoff }
    }

    /// The pause after `attempt` (from 1) failed; `None` when it was the last. `random` chooses the jitter.
    pub fn pause_after(&self, attempt: u32, random: u64) -> Option<Duration> {
        match &self.backoff {
            Backoff::FixedInterval {
                interval,
                max_attempts,
            } => max_attempts.is_none_or(|max| attempt < max).then_some(*interval),
            Backoff::Exponential {
                base,
                factor,
                max_delay,
                jitter,
                max_attempts,
            } => {
                if max_attempts.is_some_and(|max| attempt >= max) {
                    return None;
                }
                let doublings = attempt.saturating_sub(1).min(31);
                let pause = base
                    .saturating_mul(*factor)
                    .saturating_mul(1 << doublings)
                    .min(*max_delay);
                if !*jitter {
                    return Some(pause);
                }
                // Half of the pause is kept, so that jitter never makes a hot loop.
                let half = pause / 2;
                let nanoseconds = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
                Some(half + Duration::from_nanos(random % nanoseconds.max(1)))
            }
        }
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
        let opened = open(socket, peer, &call, &config.keepalive).await;
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
        let opened = open(secured, peer, &call, &config.keepalive).await;
        opened.map_err(|error| match seen.error() {
            Some(error) => failed(connector.explain(error)),
            None => refused(error),
        })
    })
    .await
}

/// Attempts until one succeeds, the policy ends, or the peer's refusal is final. `on_failure` hears of each
/// failure that another attempt follows, with that attempt's pause.
pub async fn dial_with_policy(
    config: &ClientConfig,
    credentials: &Credentials,
    policy: &DialPolicy,
    mut random: impl FnMut() -> u64,
    mut on_failure: impl FnMut(u32, &DialError, Duration),
) -> Result<Dialed, DialError> {
    let mut attempt = 1;
    loop {
        let error = match dial_as(config, credentials).await {
            Ok(dialed) => return Ok(dialed),
            Err(error) if !error.is_transient() => return Err(error),
            Err(error) => error,
        };
        let Some(pause) = policy.pause_after(attempt, random()) else {
            return Err(match attempt {
                1 => error,
                attempts => DialError::GaveUp {
                    attempts,
                    last: Box::new(error),
                },
            });
        };
        on_failure(attempt, &error, pause);
        sleep(pause).await;
        attempt = attempt.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_policy_pauses_equally_and_ends() {
        let policy = DialPolicy::fixed(Duration::from_secs(1), Some(3));
        let pauses: Vec<_> = (1..=3).map(|attempt| policy.pause_after(attempt, 7)).collect();
        let second = Some(Duration::from_secs(1));
        assert_eq!(pauses, [second, second, None]);
        assert_eq!(DialPolicy::once().pause_after(1, 0), None);
        let forever = DialPolicy::fixed(Duration::from_secs(2), None);
        assert_eq!(forever.pause_after(u32::MAX, 0), Some(Duration::from_secs(2)));
    }

    #[test]
    fn an_exponential_policy_doubles_up_to_its_limit_and_jitters_in_the_upper_half() {
        let backoff = |jitter| Backoff::Exponential {
            base: Duration::from_millis(100),
            factor: 2,
            max_delay: Duration::from_secs(1),
            jitter,
            max_attempts: Some(100),
        };
        let policy = DialPolicy::configured(backoff(false));
        let pauses: Vec<_> = [1, 2, 3, 4, 99]
            .map(|attempt| policy.pause_after(attempt, 0).unwrap().as_millis())
            .into();
        assert_eq!(pauses, [200, 400, 800, 1000, 1000]);
        assert_eq!(policy.pause_after(100, 0), None);
        let jittered = DialPolicy::configured(backoff(true));
        for random in [0, 1, 12_345_678_901, u64::MAX] {
            let pause = jittered.pause_after(1, random).unwrap().as_millis();
            assert!((100..200).contains(&pause), "{pause}");
        }
    }
}
