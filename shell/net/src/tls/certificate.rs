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

    /// Whom the certificate names: the SPIFFE id if there is one, else the distinguished name.
    pub fn name(&self) -> Option<String> {
        let spiffe = self.uris.iter().find(|uri| uri.starts_with("spiffe://"));
        let name = spiffe.unwrap_or(&self.subject);
        (!name.is_empty()).then(|| name.clone())
    }

    /// Its names in the form of claims, for rules.
    pub fn claims(&self) -> serde_json::Value {
        serde_json::json!({ "dn": self.subject, "dns": self.dns_names, "uris": self.uris })
    }
}
