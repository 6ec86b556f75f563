//! Who a verified client is, by its certificate.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::subject::subject;

/// Names in a client's certificate, for deciding what it may do. The certificate was verified before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The distinguished name as of RFC 4514, such as `CN=alice,O=Example`; empty if there is none.
    pub subject: String,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// URIs, such as a SPIFFE id.
    pub uris: Vec<String>,
}

impl ClientCertificate {
    /// The names of a verified certificate; `None` if it cannot be parsed, which the verification excludes.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = EndEntityCert::try_from(certificate).ok()?;
        Some(Self {
            subject: subject(parsed.subject()),
            dns_names: parsed.valid_dns_names().map(str::to_owned).collect(),
            uris: parsed.valid_uri_names().map(str::to_owned).collect(),
        })
    }
}
