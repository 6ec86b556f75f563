//! Access tokens of an OpenID Connect provider: asked for when the one at hand has lived two thirds of its life, by
//! one of those who need it, for all of them.

use std::time::Duration;

use slim_auth::{AccessToken, GrantError, TokenEndpoint, read_grant, read_refusal, read_token_endpoint};
use slim_config::{OidcClientAuth, OidcGrant, RefreshToken, SecretText};
use slim_http::{Form, HttpClient, HttpError, HttpOptions, HttpSetupError, HttpUrl, basic_authorization};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use super::files::{self, FileError};
use crate::clock::Clock;

/// A provider that just failed is not asked again for so long: dials come in bursts.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Why a provider gave no token.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// No request can be made.
    #[error(transparent)]
    Setup(#[from] HttpSetupError),
    /// The provider cannot be asked.
    #[error("no token from the provider: {0}")]
    Http(#[from] HttpError),
    /// The provider refuses.
    #[error("the provider {issuer} refuses the token request: {code}; check client id, secret and scope")]
    Refused {
        /// Which.
        issuer: String,
        /// Its code, such as `invalid_client`.
        code: String,
    },
    /// Its answer is of no use.
    #[error("no token from the provider {issuer}: {error}")]
    Answer {
        /// Which.
        issuer: String,
        /// What is wrong with it.
        error: GrantError,
    },
    /// It failed a moment ago.
    #[error("no token from the provider: it failed less than {PAUSE_AFTER_FAILURE:?} ago")]
    FailedJustNow,
    /// A token in a file.
    #[error(transparent)]
    File(#[from] FileError),
}

impl OidcError {
    /// True if the provider may answer better in a while.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Http(error) => error.is_transient(),
            Self::FailedJustNow => true,
            Self::Setup(_) | Self::Refused { .. } | Self::Answer { .. } | Self::File(_) => false,
        }
    }
}

/// Tokens of one configured provider.
pub(super) struct OidcTokens {
    config: OidcClientAuth,
    clock: Clock,
    /// Held while asking, so that nobody else asks meanwhile; each request has its deadline.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    provider: Option<Provider>,
    token: Option<AccessToken>,
    /// A refresh token that came in place of the configured one.
    rotated: Option<Zeroizing<String>>,
    failed: Option<slim_proto::Instant>,
}

/// What is known of the provider after its discovery.
struct Provider {
    http: HttpClient,
    endpoint: TokenEndpoint,
    url: HttpUrl,
}

impl OidcTokens {
    pub(super) fn new(config: OidcClientAuth, clock: Clock) -> Self {
        Self {
            config,
            clock,
            state: Mutex::default(),
        }
    }

    /// A token that lives for a while yet.
    pub(super) async fn token(&self) -> Result<Zeroizing<String>, OidcError> {
        if let OidcGrant::AccessTokenFile(path) = &self.config.grant {
            let text = files::read(path).await?.0;
            return Ok(Zeroizing::new(text.trim().to_owned()));
        }
        let mut state = self.state.lock().await;
        let now = self.clock.monotonic();
        if let Some(token) = state.token.as_ref().and_then(|token| token.fresh(now)) {
            return Ok(Zeroizing::new(token.to_owned()));
        }
        let is_paused = state
            .failed
            .is_some_and(|failed| now.saturating_since(failed) < PAUSE_AFTER_FAILURE);
        let error = if is_paused {
            OidcError::FailedJustNow
        } else {
            match self.ask(&mut state).await {
                Ok(token) => {
                    state.failed = None;
                    return Ok(token);
                }
                Err(error) => {
                    state.failed = Some(self.clock.monotonic());
                    error
                }
            }
        };
        match state
            .token
            .as_ref()
            .and_then(|token| token.alive(self.clock.monotonic()))
        {
            Some(token) => {
                tracing::warn!(%error, "using the token of before while it lives");
                Ok(Zeroizing::new(token.to_owned()))
            }
            None => Err(error),
        }
    }

    async fn ask(&self, state: &mut State) -> Result<Zeroizing<String>, OidcError> {
        if state.provider.is_none() {
            state.provider = Some(self.discover().await?);
        }
        let Some(provider) = &state.provider else {
            return Err(OidcError::FailedJustNow);
        };
        let (mut form, client_id, client_secret) = match &self.config.grant {
            OidcGrant::ClientCredentials {
                client_id,
                client_secret,
            } => {
                let form = Form::new().field("grant_type", "client_credentials");
                (form, client_id, Some(client_secret))
            }
            OidcGrant::RefreshToken {
                client_id,
                client_secret,
                token,
            } => {
                let token = refresh_token(token, state.rotated.as_ref()).await?;
                let form = Form::new().field("grant_type", "refresh_token");
                (
                    form.field("refresh_token", &token),
                    client_id,
                    client_secret.as_ref(),
                )
            }
            // Answered before.
            OidcGrant::AccessTokenFile(_) => return Err(OidcError::FailedJustNow),
        };
        if let Some(scope) = &self.config.scope {
            form = form.field("scope", scope);
        }
        if let Some(audience) = &self.config.audience {
            form = form.field("audience", audience);
        }
        let (form, authorization) =
            authenticate(form, provider.endpoint.secret_in_form, client_id, client_secret);
        let posted = provider.http.post_form(
            &provider.url,
            form,
            authorization.as_ref().map(|text| text.as_str()),
        );
        let answer = posted.await.map_err(|error| self.explain(error))?;
        let now = self.clock.monotonic();
        let grant = read_grant(&answer.body, now).map_err(|error| self.no_use(error))?;
        if let Some(rotated) = grant.rotated {
            state.rotated = self.keep(rotated).await;
        }
        // A token that is never fresh is good for one dial.
        let token = grant.access.text();
        state.token = Some(grant.access);
        Ok(token)
    }

    /// Writes a rotated refresh token to where the old one was; gives it back if it can be kept in memory only.
    async fn keep(&self, rotated: Zeroizing<String>) -> Option<Zeroizing<String>> {
        let OidcGrant::RefreshToken {
            token: RefreshToken::File(path),
            ..
        } = &self.config.grant
        else {
            return Some(rotated);
        };
        match files::replace(path, rotated.clone()).await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "a rotated refresh token is kept in memory only");
                Some(rotated)
            }
        }
    }

    async fn discover(&self) -> Result<Provider, OidcError> {
        let issuer = self.config.issuer_url.trim_end_matches('/');
        let url = HttpUrl::parse(&format!("{issuer}/.well-known/openid-configuration"))?;
        let options = HttpOptions {
            timeout: self.config.timeout,
            // Then nobody needs to be trusted; to other machines it is refused at the request.
            plain_text_only: issuer.starts_with("http://"),
            ..HttpOptions::default()
        };
        let http = build(options).await?;
        let document = http.fetch(&url).await?;
        let endpoint = read_token_endpoint(&document.body, issuer).map_err(|error| self.no_use(error))?;
        let url = HttpUrl::parse(&endpoint.url)?;
        Ok(Provider { http, endpoint, url })
    }

    fn explain(&self, error: HttpError) -> OidcError {
        if let HttpError::Status { body, .. } = &error
            && let Some(code) = read_refusal(body)
        {
            let issuer = self.config.issuer_url.clone();
            return OidcError::Refused { issuer, code };
        }
        OidcError::Http(error)
    }

    fn no_use(&self, error: GrantError) -> OidcError {
        OidcError::Answer {
            issuer: self.config.issuer_url.clone(),
            error,
        }
    }
}

/// Reads the system's CAs where waiting for a disk is allowed.
pub(super) async fn build(options: HttpOptions) -> Result<HttpClient, HttpSetupError> {
    match tokio::task::spawn_blocking(move || HttpClient::new(&options)).await {
        Ok(result) => result,
        // The task is only lost when the runtime stops; nobody reads this.
        Err(_) => Err(HttpSetupError::NoRoots),
    }
}

/// The client's own proof, where the provider wants it (RFC 6749 §2.3.1).
fn authenticate(
    form: Form,
    secret_in_form: bool,
    client_id: &str,
    client_secret: Option<&SecretText>,
) -> (Form, Option<Zeroizing<String>>) {
    match client_secret {
        None => (form.field("client_id", client_id), None),
        Some(secret) if secret_in_form => {
            let form = form.field("client_id", client_id);
            (form.field("client_secret", secret.expose()), None)
        }
        Some(secret) => {
            let header = basic_authorization(client_id, secret.expose());
            (form, Some(Zeroizing::new(header)))
        }
    }
}

/// The refresh token of now.
async fn refresh_token(
    configured: &RefreshToken,
    rotated: Option<&Zeroizing<String>>,
) -> Result<Zeroizing<String>, OidcError> {
    match (rotated, configured) {
        (Some(rotated), _) => Ok(rotated.clone()),
        (None, RefreshToken::Text(text)) => Ok(Zeroizing::new(text.expose().to_owned())),
        (None, RefreshToken::File(path)) => {
            let text = files::read(path).await?.0;
            Ok(Zeroizing::new(text.trim().to_owned()))
        }
    }
}
