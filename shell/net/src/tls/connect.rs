//! The dialling side of TLS.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig as Settings, RootCertStore};
use slim_config::{ClientConfig, ClientTls, TlsVersion, Transport};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::failure::TlsFailure;
use super::files::{Files, Stamps};
use super::material::{Believed, Own, TlsSetupError, Written, add_roots, add_system_roots, certified_key};
use super::signatures::signatures_checked_by;
use super::{agreed, alpn, in_background, library_error, provider_of, versions};

/// What a dialer needs for its handshakes: whom it believes, and what it shows.
#[derive(Clone, Debug)]
pub struct TlsConnector {
    settings: Arc<Settings>,
    name: ServerName<'static>,
    version: TlsVersion,
    enforce_pqc: bool,
    files: Files,
    /// How the files were when they were read.
    stamps: Stamps,
}

impl TlsConnector {
    /// Reads what is configured; `None` for a plain-text link. An endpoint whose scheme says the opposite is an error.
    pub async fn load(config: &ClientConfig) -> Result<Option<Self>, TlsSetupError> {
        let Some(tls) = agreed(&config.endpoint, config.tls.clone())? else {
            return Ok(None);
        };
        let name = tls
            .server_name
            .as_deref()
            .unwrap_or_else(|| config.endpoint.host());
        let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsSetupError::ServerName {
            name: name.to_owned(),
        })?;
        let version = tls.version;
        let own = match &tls.source {
            Some(source) => Some(Own::of(source.clone()).await?),
            None => None,
        };
        let believed = match &tls.ca {
            Some(ca) => Some(Believed::of("tls.ca_source", ca.clone()).await?),
            None => None,
        };
        let files = Files::of(own.as_ref(), believed.as_ref(), tls.reload_interval);
        let stamps = files.stamps().await?;
        let provider = provider_of(version, config.enforce_pqc)?;
        let transport = config.endpoint.transport();
        let settings =
            in_background(move || settings(provider, transport, &tls, own.as_ref(), believed.as_ref()))
                .await?;
        Ok(Some(Self {
            files,
            stamps,
            enforce_pqc: config.enforce_pqc,
            settings: Arc::new(settings),
            name,
            version,
        }))
    }

    /// Resolves when the files that this was read from have changed and can be used: a link that is made anew then
    /// shows the new certificate. Never resolves without files.
    pub async fn renewed(&self, config: &ClientConfig) {
        let mut seen = self.stamps.clone();
        let mut said = None;
        loop {
            let (Ok(()), Ok(stamps)) = (self.files.changed(&seen).await, self.files.stamps().await) else {
                // The runtime that stops ends whoever waits here.
                return std::future::pending().await;
            };
            seen = stamps;
            let Err(error) = Self::load(config).await else {
                return;
            };
            let text = error.to_string();
            if said.as_ref() != Some(&text) {
                tracing::warn!(
                    endpoint = %config.endpoint,
                    error = text,
                    "the changed certificates cannot be used; the link stays as it is"
                );
            }
            said = Some(text);
        }
    }

    /// One handshake within `limit`.
    pub(crate) async fn connect<Io>(&self, io: Io, limit: Duration) -> Result<TlsStream<Io>, TlsFailure>
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.settings));
        match timeout(limit, connector.connect(self.name.clone(), io)).await {
            Err(_) => Err(TlsFailure::Timeout { limit }),
            Ok(Err(error)) => Err(self.explain_io(error)),
            Ok(Ok(stream)) => Ok(stream),
        }
    }

    fn explain_io(&self, error: std::io::Error) -> TlsFailure {
        match library_error(&error) {
            Some(error) => self.explain(error),
            None => TlsFailure::Broken { error },
        }
    }

    /// What a failure of the library means. Some come after the handshake: a listener that refuses the client's
    /// certificate says so when the client believes to be done.
    pub(crate) fn explain(&self, error: &rustls::Error) -> TlsFailure {
        TlsFailure::of(error, self.version, self.enforce_pqc)
    }
}

fn settings(
    provider: Arc<CryptoProvider>,
    transport: Transport,
    tls: &ClientTls,
    own: Option<&Own>,
    believed: Option<&Believed>,
) -> Result<Settings, TlsSetupError> {
    let builder = Settings::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions(tls.version))
        .map_err(TlsSetupError::Settings)?;
    let builder = match believed {
        _ if tls.skip_verify => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(BelieveEverybody { provider })),
        Some(Believed::Spiffe(peers)) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(peers) as Arc<_>),
        Some(Believed::Cas(ca)) => builder.with_root_certificates(roots(Some(ca), tls.system_roots)?),
        None => builder.with_root_certificates(roots(None, tls.system_roots)?),
    };
    let mut settings = match own {
        Some(Own::Pair { cert, key }) => builder.with_client_cert_resolver(certified_key(cert, key)?),
        Some(Own::Svid(svid)) => builder.with_client_cert_resolver(Arc::clone(svid) as Arc<_>),
        None => builder.with_no_client_auth(),
    };
    settings.alpn_protocols = alpn(transport);
    settings.resumption = Resumption::disabled();
    Ok(settings)
}

fn roots(ca: Option<&Written>, system_roots: bool) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    if let Some(ca) = ca {
        add_roots(&mut roots, "tls.ca_source", ca)?;
    }
    if system_roots {
        add_system_roots(&mut roots);
    }
    if roots.is_empty() {
        return Err(TlsSetupError::NoSystemRoots);
    }
    Ok(roots)
}

/// `insecure_skip_verify`: only the signature of the handshake is checked, which everybody can make.
#[derive(Debug)]
struct BelieveEverybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for BelieveEverybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    signatures_checked_by!(provider);
}
