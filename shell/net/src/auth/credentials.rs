//! What a dialler shows: the value of the `authorization` header, made anew for each dial.
//!
//! Upstream sends the call without the header when its token cannot be had (wire-routing A12), and the user reads of
//! a refusal. Here nothing is sent, and the error says what is missing.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderValue;
use slim_auth::{IdentityError, JwtSigner, LinkSigner};
use slim_config::{ClientAuth, ClientConfig, ClientJwtAuth, JwtSource};
use slim_crypto::{Rng, os_seed};
use slim_spiffe::SpiffeError;
use zeroize::Zeroizing;

use super::basic::basic_credential;
use super::files::{self, FileError};
use super::oidc::{OidcError, OidcTokens};
use super::static_token::StaticToken;
use super::svid::SvidTokens;
use crate::clock::Clock;
use crate::configured_key::{SigningKeyError, signing_key};
use crate::tls::{TlsConnector, TlsSetupError};

/// How one configured link proves who it is. Clones share what was fetched, so keep it from dial to dial.
#[derive(Clone)]
pub struct Credentials(Arc<Inner>);

struct Inner {
    kind: Kind,
    clock: Clock,
    /// Where to, if everybody on the way can read the credential.
    exposed_to: Option<String>,
    warned: AtomicBool,
    /// The TLS settings of the last dial.
    connector: Mutex<Option<TlsConnector>>,
    warned_of_files: AtomicBool,
}

enum Kind {
    None,
    Basic(HeaderValue),
    StaticJwt(StaticToken),
    Jwt(ClientJwtAuth),
    Oidc(Box<OidcTokens>),
    Svid(Box<SvidTokens>),
}

/// Why there is nothing to show. Nothing was sent to the node.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file with a key or a token.
    #[error(transparent)]
    File(#[from] FileError),
    /// The signing key is no good.
    #[error("the signing key of the link cannot be used: {0}")]
    Key(#[from] SigningKeyError),
    /// The claims cannot be signed.
    #[error("no token for the link can be made: {0}")]
    Claims(IdentityError),
    /// The provider gives no token.
    #[error(transparent)]
    Oidc(#[from] OidcError),
    /// The token cannot stand in a header.
    #[error("the token is empty or has characters that no token has; check the file")]
    NotSendable,
    /// The SPIFFE agent gives no token.
    #[error("auth: {0}")]
    Spiffe(#[from] SpiffeError),
}

impl CredentialError {
    /// True if the next dial may succeed without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Oidc(error) => error.is_transient(),
            Self::Spiffe(error) => error.is_transient(),
            Self::File(_) | Self::Key(_) | Self::Claims(_) | Self::NotSendable => false,
        }
    }
}

impl Credentials {
    /// As configured. Nothing is read or fetched before the first dial.
    pub fn of(config: &ClientConfig) -> Self {
        let clock = Clock::start();
        let kind = match &config.auth {
            None => Kind::None,
            Some(ClientAuth::Basic(basic)) => {
                Kind::Basic(sensitive(&basic_credential(basic)).expect("base64 is plain text"))
            }
            Some(ClientAuth::StaticJwt(config)) => Kind::StaticJwt(StaticToken::new(config, clock)),
            Some(ClientAuth::Jwt(config)) => Kind::Jwt(config.clone()),
            Some(ClientAuth::Oidc(config)) => Kind::Oidc(Box::new(OidcTokens::new(config.clone(), clock))),
            Some(ClientAuth::Spire(config)) => Kind::Svid(Box::new(SvidTokens::new(config.clone()))),
        };
        let is_exposed = config.tls.is_none() && !config.endpoint.is_loopback();
        Self(Arc::new(Inner {
            exposed_to: (is_exposed && config.auth.is_some()).then(|| config.endpoint.to_string()),
            kind,
            clock,
            warned: AtomicBool::new(false),
            connector: Mutex::default(),
            warned_of_files: AtomicBool::new(false),
        }))
    }

    /// True if there is something to show.
    pub fn is_some(&self) -> bool {
        !matches!(self.0.kind, Kind::None)
    }

    /// The TLS settings of the next dial, read again; if their files cannot be used, those of the last dial.
    pub(crate) async fn connector(
        &self,
        config: &ClientConfig,
    ) -> Result<Option<TlsConnector>, TlsSetupError> {
        match TlsConnector::load(config).await {
            Ok(connector) => {
                self.last_connector().clone_from(&connector);
                self.0.warned_of_files.store(false, Ordering::Relaxed);
                Ok(connector)
            }
            Err(error) => {
                let Some(last) = self.last_connector().clone() else {
                    return Err(error);
                };
                if !self.0.warned_of_files.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        endpoint = %config.endpoint,
                        %error,
                        "the changed certificates cannot be used; the old ones stay in use"
                    );
                }
                Ok(Some(last))
            }
        }
    }

    /// Resolves when the files of the last dial's TLS settings were replaced by others that can be used; a link of
    /// that dial may then be made anew, to show the new certificate.
    pub async fn renewed(&self, config: &ClientConfig) {
        let last = self.last_connector().clone();
        match last {
            Some(connector) => connector.renewed(config).await,
            None => std::future::pending().await,
        }
    }

    fn last_connector(&self) -> MutexGuard<'_, Option<TlsConnector>> {
        self.0.connector.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The header of the next dial.
    pub(crate) async fn authorization(&self) -> Result<Option<HeaderValue>, CredentialError> {
        self.warn_if_exposed();
        let token = match &self.0.kind {
            Kind::None => return Ok(None),
            Kind::Basic(header) => return Ok(Some(header.clone())),
            Kind::StaticJwt(token) => token.token().await?,
            Kind::Jwt(config) => self.sign(config).await?,
            Kind::Oidc(tokens) => tokens.token().await?,
            Kind::Svid(tokens) => tokens.token().await?,
        };
        let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
        let bearer = Zeroizing::new(format!("Bearer {}", &*token));
        let header = sensitive(&bearer).filter(|_| is_token);
        header.map(Some).ok_or(CredentialError::NotSendable)
    }

    /// A fresh token; the key is read again, so that it can be replaced while the process runs.
    async fn sign(&self, config: &ClientJwtAuth) -> Result<Zeroizing<String>, CredentialError> {
        let text = match &config.key.source {
            JwtSource::Data(text) => Zeroizing::new(text.expose().to_owned()),
            JwtSource::File(path) => files::read(path).await?.0,
        };
        let claims = &config.claims;
        let custom = match claims.custom.is_empty() {
            true => String::new(),
            false => serde_json::Value::from_iter(claims.custom.clone()).to_string(),
        };
        let signer = LinkSigner::new(JwtSigner {
            key: signing_key(&config.key, &text)?,
            key_id: None,
            issuer: claims.issuers.first().cloned(),
            audiences: claims.audiences.clone(),
            subject: claims.subjects.first().cloned().unwrap_or_default(),
            custom_claims: custom,
            lifetime: config.duration,
        });
        let signer = signer.map_err(CredentialError::Claims)?;
        let mut rng = Rng::from_seed(os_seed());
        Ok(Zeroizing::new(signer.mint(self.0.clock.now().unix, &mut rng)))
    }

    /// Plain text must have been asked for with `insecure: true`, so it is not refused; but who wrote that may not
    /// have thought of the password.
    fn warn_if_exposed(&self) {
        if let Some(endpoint) = &self.0.exposed_to
            && !self.0.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %endpoint,
                "the credentials of this link travel in plain text beyond this machine: everybody on the path can \
                 read and use them; remove tls.insecure"
            );
        }
    }
}

/// A header value that HTTP/2 does not keep in its compression table, and that no log shows.
fn sensitive(credential: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(credential).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0.kind {
            Kind::None => "Credentials(none)",
            Kind::Basic(_) => "Credentials(basic, [redacted])",
            Kind::StaticJwt(_) => "Credentials(static_jwt, [redacted])",
            Kind::Jwt(_) => "Credentials(jwt, [redacted])",
            Kind::Oidc(_) => "Credentials(oidc, [redacted])",
            Kind::Svid(_) => "Credentials(spire, [redacted])",
        })
    }
}

#[cfg(test)]
mod tests {
    use slim_config::{BasicAuth, SecretText};

    use super::*;

    fn basic(endpoint: &str) -> ClientConfig {
        ClientConfig {
            auth: Some(ClientAuth::Basic(BasicAuth {
                username: "Aladdin".to_owned(),
                password: SecretText::new("open sesame"),
            })),
            ..ClientConfig::insecure(endpoint.parse().unwrap())
        }
    }

    #[tokio::test]
    async fn a_name_and_a_password_are_sent_as_rfc_7617_says_and_never_shown() {
        let credentials = Credentials::of(&basic("localhost:1"));
        let header = credentials.authorization().await.unwrap().unwrap();
        assert_eq!(header.as_bytes(), b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(header.is_sensitive());
        assert_eq!(
            format!("{header:?} {credentials:?}"),
            "Sensitive Credentials(basic, [redacted])"
        );
    }

    #[tokio::test]
    async fn without_auth_nothing_is_sent() {
        let credentials = Credentials::of(&ClientConfig::insecure("localhost:1".parse().unwrap()));
        assert!(!credentials.is_some());
        assert!(credentials.authorization().await.unwrap().is_none());
    }

    #[test]
    fn only_credentials_that_leave_the_machine_in_plain_text_are_worth_a_warning() {
        assert!(Credentials::of(&basic("127.0.0.1:1")).0.exposed_to.is_none());
        let exposed = Credentials::of(&basic("node.example:1"));
        assert_eq!(exposed.0.exposed_to.as_deref(), Some("node.example:1"));
        let nothing = Credentials::of(&ClientConfig::insecure("node.example:1".parse().unwrap()));
        assert!(nothing.0.exposed_to.is_none());
    }
}
