//! The accepting side of TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{InvalidMessage, RootCertStore, ServerConfig as Settings};
use slim_config::{Scheme, ServerConfig, TlsVersion};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::certificate::ClientCertificate;
use super::material::{Believed, Own, TlsSetupError, add_roots, certified_key};
use super::{ALPN, in_background, provider, versions};

/// Time that a refused client has to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// What a refused client may still send in that time: its HTTP/2 preface and then some.
const FAREWELL_BYTES_MAX: u64 = 64 * 1024;

/// What a listener needs for its handshakes: what it shows, and whom it lets in.
#[derive(Clone, Debug)]
pub struct TlsAcceptor {
    settings: Arc<Settings>,
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
        let endpoint = config.endpoint.to_string();
        let Some(tls) = config.tls.clone() else {
            return if config.endpoint.scheme() == Some(Scheme::Https) {
                Err(TlsSetupError::SchemeIsTls { endpoint })
            } else {
                Ok(None)
            };
        };
        if config.endpoint.scheme() == Some(Scheme::Http) {
            return Err(TlsSetupError::SchemeIsPlain { endpoint });
        }
        let own = Own::of(tls.source).await?;
        let believed = match tls.client_ca {
            Some(ca) => Some(Believed::of("tls.client_ca", ca).await?),
            None => None,
        };
        let version = tls.version;
        let settings = in_background(move || settings(version, &own, believed.as_ref())).await?;
        Ok(Some(Self {
            settings: Arc::new(settings),
        }))
    }

    /// One handshake within `limit`. A client that fails it is told why and sent away.
    pub async fn accept<Io>(&self, io: Io, limit: Duration) -> Result<Secured<Io>, AcceptTlsError>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&self.settings));
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
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
        )) => AcceptTlsError::PlainText,
        Some(error) => AcceptTlsError::Tls(error.clone()),
        None => AcceptTlsError::Broken(error),
    }
}

fn settings(version: TlsVersion, own: &Own, believed: Option<&Believed>) -> Result<Settings, TlsSetupError> {
    let provider = provider();
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
    settings.alpn_protocols = vec![ALPN.to_vec()];
    settings.session_storage = Arc::new(NoServerSessionStorage {});
    settings.send_tls13_tickets = 0;
    Ok(settings)
}
