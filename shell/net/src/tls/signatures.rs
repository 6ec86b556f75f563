//! The part of a certificate verifier that is always the same: that the peer has the key of its certificate.
//!
//! Whom to believe is for each verifier to say; signatures of the handshake are checked by the cryptography library.

/// Writes the three methods about signatures that [`ServerCertVerifier`] and [`ClientCertVerifier`] both demand, for a
/// type that has its `CryptoProvider` in the field of this name. rustls has two unrelated traits and no default for
/// these methods.
///
/// [`ServerCertVerifier`]: rustls::client::danger::ServerCertVerifier
/// [`ClientCertVerifier`]: rustls::server::danger::ClientCertVerifier
macro_rules! signatures_checked_by {
    ($provider:ident) => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.$provider.signature_verification_algorithms;
            rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &rustls::pki_types::CertificateDer<'_>,
            signature: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            let algorithms = &self.$provider.signature_verification_algorithms;
            rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            self.$provider
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}

pub(super) use signatures_checked_by;
