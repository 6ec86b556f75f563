//! TLS on both sides: what is configured becomes rustls's settings, and what goes wrong becomes one sentence.
//!
//! One cryptography library (aws-lc-rs, given to each settings object, never as a process-wide default) and one
//! TLS version per side. Every link is verified anew: sessions are not resumed, so that a certificate that expired
//! or a CA that was taken away counts at the next link. Certificates are read when a listener starts, when their files
//! change, and at each dial; links that are up stay as they are.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{InvalidMessage, SupportedProtocolVersion};
use slim_config::{Endpoint, Scheme, TlsVersion, Transport};

mod accept;
mod certificate;
mod connect;
mod expiry;
mod failure;
mod files;
mod material;
mod probe;
mod signatures;
mod spiffe;
mod subject;

pub use accept::{AcceptTlsError, Secured, TlsAcceptor};
pub use certificate::ClientCertificate;
pub use connect::TlsConnector;
pub use expiry::ExpiryNote;
pub use failure::TlsFailure;
pub use material::{Origin, TlsSetupError};
pub use spiffe::SpiffePeerError;

pub(crate) use probe::Probe;

/// The one protocol that is spoken under TLS: a listener selects it; a dialer offers it and accepts listeners that
/// select none (wire-routing A12). For WebSocket there is nothing to select, and a listener that insisted would refuse
/// dialers that offer something else.
fn alpn(transport: Transport) -> Vec<Vec<u8>> {
    match transport {
        Transport::Grpc => vec![b"h2".to_vec()],
        Transport::WebSocket => Vec::new(),
    }
}

/// The TLS settings of an endpoint, if its link is to have TLS. A scheme that says the opposite of them is an error.
fn agreed<Tls>(endpoint: &Endpoint, tls: Option<Tls>) -> Result<Option<Tls>, TlsSetupError> {
    let written = || match endpoint.scheme() {
        Some(scheme @ (Scheme::Http | Scheme::Https)) => format!("{}{endpoint}", scheme.prefix()),
        Some(Scheme::Ws | Scheme::Wss | Scheme::Unix) | None => endpoint.to_string(),
    };
    match (endpoint.scheme(), &tls) {
        (Some(Scheme::Https | Scheme::Wss), None) => Err(TlsSetupError::SchemeIsTls { endpoint: written() }),
        (Some(Scheme::Http | Scheme::Ws), Some(_)) => {
            Err(TlsSetupError::SchemeIsPlain { endpoint: written() })
        }
        (Some(Scheme::Unix), Some(_)) => Err(TlsSetupError::SocketTls { endpoint: written() }),
        (Some(Scheme::Http | Scheme::Ws | Scheme::Unix), None)
        | (Some(Scheme::Https | Scheme::Wss) | None, _) => Ok(tls),
    }
}

/// The algorithms of every side. The hybrid X25519MLKEM768 comes first where TLS 1.3 allows it.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// The algorithms of a side that may accept only key exchanges that resist quantum computers: there is one, and it
/// needs TLS 1.3 (wire-routing A12).
fn provider_of(version: TlsVersion, enforce_pqc: bool) -> Result<Arc<CryptoProvider>, TlsSetupError> {
    match (enforce_pqc, version) {
        (false, _) => Ok(provider()),
        (true, TlsVersion::Tls12) => Err(TlsSetupError::PqcNeedsTls13),
        (true, TlsVersion::Tls13) => Ok(Arc::new(CryptoProvider {
            kx_groups: vec![aws_lc_rs::kx_group::X25519MLKEM768],
            ..aws_lc_rs::default_provider()
        })),
    }
}

fn versions(version: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static TLS12: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS12];
    static TLS13: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
    match version {
        TlsVersion::Tls12 => &TLS12,
        TlsVersion::Tls13 => &TLS13,
    }
}

/// What TLS says, if it is the reason why a byte stream failed.
fn library_error(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// True if the other side sent something that is no TLS.
fn is_plain_text(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion
        )
    )
}

/// Reads and parses on a thread that may wait for a disk.
async fn in_background<T: Send + 'static>(
    load: impl FnOnce() -> Result<T, TlsSetupError> + Send + 'static,
) -> Result<T, TlsSetupError> {
    tokio::task::spawn_blocking(load)
        .await
        .unwrap_or(Err(TlsSetupError::Stopping))
}
