//! Whom the client believes: CAs given as text, the system's list, or both.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::client::HttpOptions;
use crate::error::HttpSetupError;

/// Settings for TLS 1.2 and 1.3: issuers are other people's servers, unlike nodes.
pub(crate) fn settings(options: &HttpOptions) -> Result<Arc<ClientConfig>, HttpSetupError> {
    let mut settings = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(HttpSetupError::Tls)?
        .with_root_certificates(roots(options)?)
        .with_no_client_auth();
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(settings))
}

fn roots(options: &HttpOptions) -> Result<RootCertStore, HttpSetupError> {
    let mut roots = RootCertStore::empty();
    if let Some(text) = &options.ca {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
            let certificate = certificate.map_err(HttpSetupError::Pem)?;
            roots.add(certificate).map_err(HttpSetupError::Ca)?;
            found = true;
        }
        if !found {
            return Err(HttpSetupError::NoCertificate);
        }
    }
    if options.system_roots {
        let loaded = rustls_native_certs::load_native_certs();
        for error in &loaded.errors {
            tracing::debug!(%error, "a CA certificate of the system cannot be read");
        }
        roots.add_parsable_certificates(loaded.certs);
    }
    // Plain text to this machine needs nobody's trust.
    if roots.is_empty() && !options.plain_text_only {
        return Err(HttpSetupError::NoRoots);
    }
    Ok(roots)
}
