//! Reading the `tls` block in both spellings: today's sources, and a key for each file as before 0.5.

use std::path::PathBuf;

use super::tables::{CA_FILE, CA_SPIRE, SOURCE_FILE, SOURCE_SPIRE};
use super::{CaSource, CertificateSource, ClientTls, ServerTls, TlsVersion};
use crate::auth::SpireConfig;
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{ConfigError, Problem};
use crate::field::Field;
use crate::neutral::is_none;
use crate::secret::SecretText;
use crate::section::Section;
use crate::warning::Warning;

/// Keys that make no sense in plain text: who writes one believes to be protected.
const TLS_ONLY: [&str; 11] = [
    "source",
    "ca_source",
    "client_ca",
    "cert_file",
    "cert_pem",
    "key_file",
    "key_pem",
    "ca_file",
    "ca_pem",
    "client_ca_file",
    "client_ca_pem",
];

/// What a listener speaks; `None` is plain text. `entry` is the block that should hold `tls`.
pub(crate) fn server(entry: &Section<'_>, endpoint: &Endpoint) -> Result<Option<ServerTls>, ConfigError> {
    let Some(section) = entry.section("tls")? else {
        return match endpoint.socket_path() {
            Some(_) => Ok(None),
            None => Err(entry.error(Problem::CertificateMissing)),
        };
    };
    let version = section.choice("tls_version", TlsVersion::ALL)?;
    if is_plain_text(entry, &section, endpoint)? {
        return Ok(None);
    }
    check_scheme(entry, endpoint, true)?;
    let Some(source) = certificate(&section)? else {
        return Err(section.error(Problem::CertificateMissing));
    };
    let client_ca = ca(&section, ["client_ca", "client_ca_file", "client_ca_pem"])?;
    Ok(Some(ServerTls {
        source,
        client_ca,
        version,
        reload_interval: section.duration("reload_interval")?,
    }))
}

/// What a client speaks; `None` is plain text. `entry` is the block that may hold `tls` and `server_name`.
pub(crate) fn client(entry: &Section<'_>, endpoint: &Endpoint) -> Result<Option<ClientTls>, ConfigError> {
    let server_name = entry.field("server_name").map(server_name).transpose()?;
    if endpoint.socket_path().is_some()
        && let Some(field) = entry.field("server_name")
    {
        return Err(field.error(Problem::SocketTls));
    }
    let Some(section) = entry.section("tls")? else {
        if endpoint.socket_path().is_some() {
            return Ok(None);
        }
        check_scheme(entry, endpoint, true)?;
        return Ok(Some(ClientTls {
            server_name,
            ..ClientTls::default()
        }));
    };
    if is_plain_text(entry, &section, endpoint)? {
        return match entry.field("server_name") {
            Some(field) => Err(field.error(Problem::PlainTextAndTls)),
            None => Ok(None),
        };
    }
    check_scheme(entry, endpoint, true)?;
    verified_client(&section, server_name).map(Some)
}

/// What the way to a proxy speaks, whose scheme alone says whether it is TLS.
pub(crate) fn proxy(section: Option<&Section<'_>>) -> Result<ClientTls, ConfigError> {
    section.map_or_else(
        || Ok(ClientTls::default()),
        |section| verified_client(section, None),
    )
}

fn verified_client(section: &Section<'_>, server_name: Option<String>) -> Result<ClientTls, ConfigError> {
    let tls = ClientTls {
        source: certificate(section)?,
        ca: ca(section, ["ca_source", "ca_file", "ca_pem"])?,
        system_roots: section.bool("include_system_ca_certs_pool")?,
        server_name,
        skip_verify: section.bool("insecure_skip_verify")?,
        version: section.choice("tls_version", TlsVersion::ALL)?,
        reload_interval: section.duration("reload_interval")?,
    };
    if let Some(field) = section.field("insecure_skip_verify").filter(|_| tls.skip_verify) {
        field.warn(|place| Warning::Unverified { place });
    } else if tls.ca.is_none() && !tls.system_roots {
        return Err(section.error(Problem::NobodyTrusted));
    }
    Ok(tls)
}

/// True if `insecure: true` stands there, alone and under a fitting endpoint.
fn is_plain_text(
    entry: &Section<'_>,
    section: &Section<'_>,
    endpoint: &Endpoint,
) -> Result<bool, ConfigError> {
    if !section.bool("insecure")? {
        return Ok(false);
    }
    for (key, field) in section.fields() {
        if TLS_ONLY.contains(&key) && !is_none(field.value()) {
            return Err(field.error(Problem::PlainTextAndTls));
        }
    }
    check_scheme(entry, endpoint, false)?;
    Ok(true)
}

fn check_scheme(entry: &Section<'_>, endpoint: &Endpoint, is_tls: bool) -> Result<(), ConfigError> {
    let Some(scheme) = endpoint.scheme() else {
        return Ok(());
    };
    let (written, key) = (scheme.prefix(), "endpoint");
    let is_plain = |other: Scheme| Problem::SchemeIsPlain {
        written,
        other: other.prefix(),
    };
    let is_secured = |other: Scheme| Problem::SchemeIsTls {
        written,
        other: other.prefix(),
    };
    let (key, problem) = match (scheme, is_tls) {
        (Scheme::Http, true) => (key, is_plain(Scheme::Https)),
        (Scheme::Ws, true) => (key, is_plain(Scheme::Wss)),
        (Scheme::Https, false) => (key, is_secured(Scheme::Http)),
        (Scheme::Wss, false) => (key, is_secured(Scheme::Ws)),
        (Scheme::Unix, true) => ("tls", Problem::SocketTls),
        (Scheme::Http | Scheme::Ws | Scheme::Unix, false) | (Scheme::Https | Scheme::Wss, true) => {
            return Ok(());
        }
    };
    Err(match entry.field(key) {
        Some(field) => field.error(problem),
        None => entry.error(problem),
    })
}

fn server_name(field: &Field<'_>) -> Result<String, ConfigError> {
    let text = field.text()?;
    let character = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    if text.is_empty() || !text.chars().all(character) {
        return Err(field.error(Problem::ServerName {
            text: text.to_owned(),
        }));
    }
    Ok(text.to_owned())
}

/// Certificate and key: `source`, or a pair of old keys with one warning.
fn certificate(section: &Section<'_>) -> Result<Option<CertificateSource>, ConfigError> {
    if section.field("source").is_some() {
        let Some(source) = section.typed("source")? else {
            return Ok(None);
        };
        if source.block().name == SOURCE_SPIRE.name {
            return Ok(Some(CertificateSource::Spire(agent(&source)?)));
        }
        let (cert, key) = (source.text("cert")?, source.text("key")?);
        return Ok(Some(if source.block().name == SOURCE_FILE.name {
            CertificateSource::File {
                cert: cert.into(),
                key: key.into(),
            }
        } else {
            CertificateSource::Pem {
                cert,
                key: SecretText::new(key),
            }
        }));
    }
    let [file, pem] = [["cert_file", "key_file"], ["cert_pem", "key_pem"]];
    let old = |keys: [&'static str; 2]| keys.into_iter().find(|key| section.field(key).is_some());
    let (keys, is_file) = match (old(file), old(pem)) {
        (Some(first), Some(second)) => {
            return Err(section.required(second)?.error(Problem::Both { first, second }));
        }
        (Some(_), None) => (file, true),
        (None, Some(_)) => (pem, false),
        (None, None) => return Ok(None),
    };
    let [cert, key] = keys;
    let (cert_text, key_text) = (section.text(cert)?, section.text(key)?);
    section.old_shape(cert);
    Ok(Some(if is_file {
        CertificateSource::File {
            cert: cert_text.into(),
            key: key_text.into(),
        }
    } else {
        CertificateSource::Pem {
            cert: cert_text,
            key: SecretText::new(key_text),
        }
    }))
}

/// Certificates of CAs under `[new, old file, old text]`.
fn ca(section: &Section<'_>, [new, file, pem]: [&'static str; 3]) -> Result<Option<CaSource>, ConfigError> {
    if section.field(new).is_some() {
        let Some(source) = section.typed(new)? else {
            return Ok(None);
        };
        if source.block().name == CA_SPIRE.name {
            return Ok(Some(CaSource::Spire(SpireConfig {
                trust_domains: source.texts("trust_domains")?,
                ..agent(&source)?
            })));
        }
        return Ok(Some(if source.block().name == CA_FILE.name {
            CaSource::File {
                path: PathBuf::from(source.text("path")?),
            }
        } else {
            CaSource::Pem {
                data: source.text("data")?,
            }
        }));
    }
    if let (Some(_), Some(field)) = (section.field(file), section.field(pem)) {
        return Err(field.error(Problem::Both {
            first: file,
            second: pem,
        }));
    }
    if let Some(field) = section.old_shape(file) {
        let path = PathBuf::from(field.filled_text()?);
        return Ok(Some(CaSource::File { path }));
    }
    let data = section.old_shape(pem).map(Field::filled_text).transpose()?;
    Ok(data.map(|data| CaSource::Pem { data }))
}

/// Which agent, and which identity.
fn agent(section: &Section<'_>) -> Result<SpireConfig, ConfigError> {
    Ok(SpireConfig {
        socket_path: section.text_if("socket_path")?.map(Into::into),
        target_spiffe_id: section.text_if("target_spiffe_id")?,
        ..SpireConfig::default()
    })
}
