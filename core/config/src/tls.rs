//! The `tls` block: only plain text for now, which must be asked for.

use crate::error::{ConfigError, Problem};
use crate::later;
use crate::section::{Field, Section};

const SERVER_KEYS: &[&str] = &[
    "insecure",
    "source",
    "ca_source",
    "client_ca",
    "include_system_ca_certs_pool",
    "tls_version",
    "reload_interval",
    "cert_file",
    "cert_pem",
    "key_file",
    "key_pem",
    "ca_file",
    "ca_pem",
    "client_ca_file",
    "client_ca_pem",
    "reload_client_ca_file",
];

const CLIENT_KEYS: &[&str] = &[
    "insecure",
    "insecure_skip_verify",
    "source",
    "ca_source",
    "include_system_ca_certs_pool",
    "tls_version",
    "reload_interval",
    "cert_file",
    "cert_pem",
    "key_file",
    "key_pem",
    "ca_file",
    "ca_pem",
];

/// Certificates and trust, in both spellings.
const LATER: &[&str] = &[
    "cert_file",
    "cert_pem",
    "key_file",
    "key_pem",
    "ca_file",
    "ca_pem",
    "client_ca_file",
    "client_ca_pem",
    "reload_interval",
];

/// Checks that a listener asks for plain text; `entry` is the block that should hold `tls`.
pub(crate) fn server_is_insecure(entry: &Section<'_>) -> Result<(), ConfigError> {
    match entry.field("tls") {
        Some(field) if insecure(field, SERVER_KEYS)? => Ok(()),
        Some(field) => Err(field.error(Problem::CertificateMissing)),
        None => Err(entry.error(Problem::CertificateMissing)),
    }
}

/// Checks that a client asks for plain text.
pub(crate) fn client_is_insecure(entry: &Section<'_>) -> Result<(), ConfigError> {
    match entry.field("tls") {
        Some(field) if insecure(field, CLIENT_KEYS)? => Ok(()),
        Some(field) => Err(field.error(Problem::ClientTls)),
        None => Err(entry.error(Problem::ClientTls)),
    }
}

fn insecure(field: &Field<'_>, keys: &[&'static str]) -> Result<bool, ConfigError> {
    let section = Section::open(field, keys)?;
    later::refuse(&section, LATER)?;
    for key in ["source", "ca_source", "client_ca"] {
        later::refuse_source(&section, key)?;
    }
    for key in [
        "include_system_ca_certs_pool",
        "insecure_skip_verify",
        "reload_client_ca_file",
    ] {
        later::refuse_true(&section, key)?;
    }
    if let Some(version) = section.field("tls_version")
        && version.text()? != "tls1.3"
    {
        return Err(version.error(Problem::NotYet {
            neutral: Some("tls1.3"),
        }));
    }
    section.bool_or("insecure", false)
}
