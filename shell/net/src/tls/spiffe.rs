//! Certificates and CAs of the local SPIRE agent: `tls.source`, `tls.ca_source` and `tls.client_ca` of type `spire`.
//!
//! Nothing is reloaded here: each handshake takes what the agent gave last. A peer is who its SPIFFE id says (X.509-SVID
//! §5); host names mean nothing, and the CAs of one trust domain vouch for ids of that domain only.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DistinguishedName, OtherError, RootCertStore, SignatureScheme};
use slim_auth::{SpiffeId, TrustDomain};
use slim_config::SpireConfig;
use slim_spiffe::{Certificates, SpiffeError, X509Source, target, trust_domains};
use webpki::EndEntityCert;

use super::material::TlsSetupError;
use super::provider;
use super::signatures::signatures_checked_by;

/// Why the certificate of a peer is refused, beside what is wrong with certificates of any kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffePeerError {
    /// It is no X.509-SVID.
    #[error("its certificate has no SPIFFE id, or more than one; it must be issued by a SPIFFE server")]
    NoId,
    /// Nobody here believes its trust domain.
    #[error("its identity {id} is of a trust domain that is not trusted here; see trust_domains")]
    TrustDomain {
        /// Who it is.
        id: SpiffeId,
    },
    /// Believed, but somebody else was expected.
    #[error("it is {id}, not {expected} as target_spiffe_id demands")]
    OtherId {
        /// Who it is.
        id: SpiffeId,
        /// Who was expected.
        expected: SpiffeId,
    },
}

/// The own certificate, as the agent gave it last.
pub(super) struct OwnSvid(Arc<X509Source>);

/// Judges peers by their SPIFFE ids.
pub(super) struct SpiffePeers {
    source: Arc<X509Source>,
    /// Empty for that of the own identity.
    trust_domains: Vec<TrustDomain>,
    expected: Option<SpiffeId>,
    provider: Arc<CryptoProvider>,
}

/// Asks the agent and waits for its first answer; `key` is the place in the configuration.
pub(super) async fn own(key: &'static str, config: &SpireConfig) -> Result<Arc<OwnSvid>, TlsSetupError> {
    let explain = |error| TlsSetupError::Spiffe { key, error };
    let source = X509Source::of(config).await.map_err(explain)?;
    let own = OwnSvid(Arc::new(source));
    // What cannot be used now is told now.
    own.certified()
        .map_err(|error| TlsSetupError::SpiffeKey { key, error })?;
    Ok(Arc::new(own))
}

/// Asks the agent for the CAs of the trust domains. Here `target_spiffe_id` is the peer's id, not the own one.
pub(super) async fn peers(
    key: &'static str,
    config: &SpireConfig,
) -> Result<Arc<SpiffePeers>, TlsSetupError> {
    let explain = |error| TlsSetupError::Spiffe { key, error };
    let expected = target(config).map_err(explain)?;
    let trust_domains = trust_domains(config).map_err(explain)?;
    let any_own = SpireConfig {
        target_spiffe_id: None,
        ..config.clone()
    };
    let source = X509Source::of(&any_own).await.map_err(explain)?;
    let newest = source.newest();
    if let Some(missing) = trust_domains
        .iter()
        .find(|name| !newest.bundles.contains_key(*name))
    {
        return Err(explain(SpiffeError::NoBundle(missing.clone())));
    }
    Ok(Arc::new(SpiffePeers {
        source: Arc::new(source),
        trust_domains,
        expected,
        provider: provider(),
    }))
}

impl OwnSvid {
    fn certified(&self) -> Result<Arc<CertifiedKey>, rustls::Error> {
        let svid = &self.0.newest().svid;
        let chain = svid.chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(svid.key.to_vec()));
        CertifiedKey::from_der(chain, key, &provider()).map(Arc::new)
    }

    fn resolve(&self) -> Option<Arc<CertifiedKey>> {
        match self.certified() {
            Ok(certified) => Some(certified),
            Err(error) => {
                tracing::warn!(%error, "the X.509-SVID of the SPIFFE agent cannot be used");
                None
            }
        }
    }
}

impl ResolvesServerCert for OwnSvid {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Self::resolve(self)
    }
}

impl ResolvesClientCert for OwnSvid {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Self::resolve(self)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl SpiffePeers {
    /// Who a certificate claims to be, if that may be believed, and the CAs that must have signed it.
    fn roots_for(&self, certificate: &CertificateDer<'_>) -> Result<RootCertStore, rustls::Error> {
        let id = id_of(certificate)?;
        let newest = self.source.newest();
        let domain = id.trust_domain();
        let is_trusted = match self.trust_domains.is_empty() {
            true => domain == newest.svid.id.trust_domain(),
            false => self.trust_domains.contains(domain),
        };
        let Some(bundle) = newest.bundles.get(domain).filter(|_| is_trusted) else {
            return Err(refused(SpiffePeerError::TrustDomain { id }));
        };
        if let Some(expected) = &self.expected
            && id != *expected
        {
            let expected = expected.clone();
            return Err(refused(SpiffePeerError::OtherId { id, expected }));
        }
        Ok(roots(bundle))
    }
}

fn roots(bundle: &[Vec<u8>]) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(bundle.iter().cloned().map(CertificateDer::from));
    if ignored > 0 {
        tracing::debug!(ignored, "CAs of a SPIFFE bundle cannot be read");
    }
    roots
}

/// The one SPIFFE id of a certificate (X.509-SVID §2): a second URI would make it somebody else to another reader.
fn id_of(certificate: &CertificateDer<'_>) -> Result<SpiffeId, rustls::Error> {
    let parsed = EndEntityCert::try_from(certificate)
        .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let mut uris = parsed.valid_uri_names();
    let (Some(uri), None) = (uris.next(), uris.next()) else {
        return Err(refused(SpiffePeerError::NoId));
    };
    uri.parse().map_err(|_| refused(SpiffePeerError::NoId))
}

fn refused(error: SpiffePeerError) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

impl ServerCertVerifier for SpiffePeers {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let roots = self.roots_for(end_entity)?;
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &roots, intermediates, now, algorithms)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures_checked_by!(provider);
}

impl ClientCertVerifier for SpiffePeers {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // The names of CAs change; a client with one identity needs no hint.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let roots = self.roots_for(end_entity)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider));
        // Without a CA nobody is believed.
        let verifier = verifier.build().map_err(|_| CertificateError::UnknownIssuer)?;
        verifier.verify_client_cert(end_entity, intermediates, now)
    }

    signatures_checked_by!(provider);
}

impl fmt::Debug for OwnSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let newest: Arc<Certificates> = self.0.newest();
        f.debug_tuple("OwnSvid").field(&newest.svid.id).finish()
    }
}

impl fmt::Debug for SpiffePeers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpiffePeers")
            .field("trust_domains", &self.trust_domains)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}
