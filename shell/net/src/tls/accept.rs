//! The accepting side of TLS.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig as Settings};
use slim_config::{ServerConfig, TlsVersion, Transport};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::certificate::ClientCertificate;
use super::expiry::{ExpiryNote, note};
use super::files::{Files, Stamps};
use super::material::{Believed, Own, TlsSetupError, add_roots, certified_key, leaf};
use super::{agreed, alpn, in_background, is_plain_text, library_error, provider_of, versions};

/// Time that a refused client has to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// What a refused client may still send in that time: its HTTP/2 preface and then some.
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;
/// How often certificates are looked at for their end.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// What a listener needs for its handshakes: what it shows, and whom it lets in. Clones are the same: what one reads
/// again, all use.
#[derive(Clone, Debug)]
pub struct TlsAcceptor(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: String,
    transport: Transport,
    version: TlsVersion,
    enforce_pqc: bool,
    own: Own,
    believed: Option<Believed>,
    files: Files,
    /// How the files were when the settings were read.
    stamps: Mutex<Stamps>,
    settings: RwLock<Arc<Settings>>,
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct Secured<Io> {
    /// The protected bytes.
    pub io: TlsStream<Io>,
    /// The certificate that the client proved to have; present on every connection if the listener demands one.
    pub certificate: Option<Arc<ClientCertificate>>,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum AcceptTlsError {
    /// It stood still.
    #[error("no TLS handshake within {0:?}")]
    Timeout(Duration),
    /// The client speaks something else.
    #[error("the client speaks plain text at a TLS port")]
    PlainText,
    /// The client is refused, or refuses.
    #[error("{0}")]
    Tls(rustls::Error),
    /// The connection broke.
    #[error("the connection broke during the TLS handshake: {0}")]
    Broken(std::io::Error),
}

impl TlsAcceptor {
    /// Reads what is configured; `None` for a plain-text listener. An endpoint whose scheme says the opposite is an
    /// error.
    pub async fn load(config: &ServerConfig) -> Result<Option<Self>, TlsSetupError> {
        let Some(tls) = agreed(&config.endpoint, config.tls.clone())? else {
            return Ok(None);
        };
        let own = Own::of(tls.source).await?;
        let believed = match tls.client_ca {
            Some(ca) => Some(Believed::of("tls.client_ca", ca).await?),
            None => None,
        };
        let files = Files::of(Some(&own), believed.as_ref(), tls.reload_interval);
        let stamps = files.stamps().await?;
        let (version, enforce_pqc) = (tls.version, config.enforce_pqc);
        let transport = config.endpoint.transport();
        let material = (own.clone(), believed.clone());
        let settings = read(transport, version, enforce_pqc, material).await?;
        Ok(Some(Self(Arc::new(Inner {
            endpoint: config.endpoint.to_string(),
            transport,
            version,
            enforce_pqc,
            own,
            believed,
            files,
            stamps: Mutex::new(stamps),
            settings: RwLock::new(settings),
        }))))
    }

    /// Reads the files again; the next handshakes use them. Links that are up stay. What cannot be used changes
    /// nothing.
    pub async fn reload(&self) -> Result<(), TlsSetupError> {
        let Inner {
            transport,
            version,
            enforce_pqc,
            ..
        } = *self.0;
        let stamps = self.0.files.stamps().await?;
        // Also if they cannot be used: they are read again when they change again.
        *self.0.stamps.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
        let material = (self.0.own.clone(), self.0.believed.clone());
        let settings = read(transport, version, enforce_pqc, material).await?;
        *self.0.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        Ok(())
    }

    /// Reads the files again whenever they change, and warns of certificates that expire. Never returns by itself;
    /// run it beside the listener.
    pub async fn keep_fresh(&self) {
        let mut said = None;
        self.warn_of_expiry().await;
        loop {
            let before = self
                .0
                .stamps
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let changed = tokio::select! {
                changed = self.0.files.changed(&before) => changed,
                () = sleep(EXPIRY_INTERVAL) => {
                    self.warn_of_expiry().await;
                    continue;
                }
            };
            let endpoint = &self.0.endpoint;
            let reloaded = match changed {
                Ok(()) => self.reload().await,
                Err(error) => Err(error),
            };
            match reloaded {
                Ok(()) => {
                    said = None;
                    tracing::info!(%endpoint, "the certificates were replaced; links that are up stay");
                    self.warn_of_expiry().await;
                }
                Err(TlsSetupError::Stopping) => return,
                Err(error) => {
                    let text = error.to_string();
                    if said.as_ref() != Some(&text) {
                        tracing::warn!(%endpoint, error = text, "the changed certificates cannot be used; the old ones stay in use");
                    }
                    said = Some(text);
                }
            }
        }
    }

    /// What there is to say about the end of the own certificate.
    pub async fn expiry_note(&self) -> Option<ExpiryNote> {
        let own = self.0.own.clone();
        let leaf = in_background(move || leaf(&own)).await.ok().flatten()?;
        note(&leaf, UnixTime::now())
    }

    async fn warn_of_expiry(&self) {
        let endpoint = &self.0.endpoint;
        match self.expiry_note().await {
            Some(note @ ExpiryNote::Expired { .. }) => tracing::error!(%endpoint, "{note}"),
            Some(note @ ExpiryNote::Soon { .. }) => tracing::warn!(%endpoint, "{note}"),
            None => {}
        }
    }

    fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.0.settings.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// One handshake within `limit`. A client that fails it is told why and sent away.
    pub async fn accept<Io>(&self, io: Io, limit: Duration) -> Result<Secured<Io>, AcceptTlsError>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = tokio_rustls::TlsAcceptor::from(self.settings());
        match timeout(limit, acceptor.accept(io).into_fallible()).await {
            Err(_) => Err(AcceptTlsError::Timeout(limit)),
            Ok(Err((error, io))) => {
                // The outcome is the handshake's, however the farewell goes.
                let _ = timeout(FAREWELL, say_goodbye(io)).await;
                Err(explain(error))
            }
            Ok(Ok(stream)) => {
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                let certificate = chain.first().and_then(ClientCertificate::of).map(Arc::new);
                Ok(Secured {
                    io: stream,
                    certificate,
                })
            }
        }
    }
}

/// The alert is written. A socket that closes with unread bytes would take it back, so what the client sent
/// meanwhile is read.
async fn say_goodbye<Io: AsyncRead + AsyncWrite + Unpin>(mut io: Io) -> std::io::Result<()> {
    io.shutdown().await?;
    tokio::io::copy(&mut io.take(FAREWELL_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}

fn explain(error: std::io::Error) -> AcceptTlsError {
    match library_error(&error) {
        Some(error) if is_plain_text(error) => AcceptTlsError::PlainText,
        Some(error) => AcceptTlsError::Tls(error.clone()),
        None => AcceptTlsError::Broken(error),
    }
}

async fn read(
    transport: Transport,
    version: TlsVersion,
    enforce_pqc: bool,
    (own, believed): (Own, Option<Believed>),
) -> Result<Arc<Settings>, TlsSetupError> {
    let read = move || {
        settings(
            provider_of(version, enforce_pqc)?,
            transport,
            version,
            &own,
            believed.as_ref(),
        )
    };
    in_background(read).await.map(Arc::new)
}

fn settings(
    provider: Arc<CryptoProvider>,
    transport: Transport,
    version: TlsVersion,
    own: &Own,
    believed: Option<&Believed>,
) -> Result<Settings, TlsSetupError> {
    let builder = Settings::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(version))
        .map_err(TlsSetupError::Settings)?;
    let builder = match believed {
        Some(Believed::Spiffe(peers)) => builder.with_client_cert_verifier(Arc::clone(peers) as Arc<_>),
        Some(Believed::Cas(ca)) => {
            let mut roots = RootCertStore::empty();
            add_roots(&mut roots, "tls.client_ca", ca)?;
            // A client without certificate is refused (wire-routing A12).
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(TlsSetupError::ClientVerifier)?)
        }
        None => builder.with_no_client_auth(),
    };
    let mut settings = builder.with_cert_resolver(match own {
        Own::Pair { cert, key } => certified_key(cert, key)?,
        Own::Svid(svid) => Arc::clone(svid) as Arc<_>,
    });
    settings.alpn_protocols = alpn(transport);
    settings.session_storage = Arc::new(NoServerSessionStorage {});
    settings.send_tls13_tickets = 0;
    Ok(settings)
}
