//! Reading the `tls` block in both spellings: today's sources, and a key for each file as before 0.5.

use std::path::PathBuf;

use super::{CaSource, CertificateSource, ClientTls, ServerTls, TlsVersion};
use crate::endpoint::{Endpoint, Scheme};
use crate::error::{ConfigError, Problem, Warning};
use crate::later;
use crate::secret::SecretText;
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

/// Keys that make no sense in plain text: who writes one believes to be protected.
const TLS_ONLY: &[&str] = &[
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
pub(crate) fn server(
    entry: &Section<'_>,
    endpoint: &Endpoint,
    warnings: &mut Vec<Warning>,
) -> Result<Option<ServerTls>, ConfigError> {
    let Some(field) = entry.field("tls") else {
        return Err(entry.error(Problem::CertificateMissing));
    };
    let section = Section::open(field, SERVER_KEYS)?;
    refuse_reload(&section)?;
    // A listener believes the CAs of `client_ca` and no others; the key is read so that existing files keep working.
    section.bool_or("include_system_ca_certs_pool", false)?;
    let version = version(&section)?;
    if is_plain_text(entry, &section, endpoint)? {
        return Ok(None);
    }
    for key in ["ca_source", "ca_file", "ca_pem"] {
        if let Some(field) = section.field(key).filter(|field| !later::is_none(field.value())) {
            // Upstream has the key here too. Whoever writes it may think that it checks clients.
            return Err(field.error(Problem::ServerCa));
        }
    }
    let Some(source) = certificate(&section, warnings)? else {
        return Err(field.error(Problem::CertificateMissing));
    };
    let client_ca = ca(
        &section,
        &["client_ca", "client_ca_file", "client_ca_pem"],
        warnings,
    )?;
    check_scheme(entry, endpoint, true)?;
    Ok(Some(ServerTls {
        client_ca,
        version,
        ..ServerTls::new(source)
    }))
}

/// What a client speaks; `None` is plain text. `entry` is the block that may hold `tls` and `server_name`.
pub(crate) fn client(
    entry: &Section<'_>,
    endpoint: &Endpoint,
    warnings: &mut Vec<Warning>,
) -> Result<Option<ClientTls>, ConfigError> {
    let server_name = entry.field("server_name").map(server_name).transpose()?;
    let Some(field) = entry.field("tls") else {
        check_scheme(entry, endpoint, true)?;
        return Ok(Some(ClientTls {
            server_name,
            ..ClientTls::default()
        }));
    };
    let section = Section::open(field, CLIENT_KEYS)?;
    refuse_reload(&section)?;
    let version = version(&section)?;
    let system_roots = section.bool_or("include_system_ca_certs_pool", true)?;
    let skip_verify = section.bool_or("insecure_skip_verify", false)?;
    if is_plain_text(entry, &section, endpoint)? {
        return match entry.field("server_name") {
            Some(field) => Err(field.error(Problem::PlainTextAndTls)),
            None => Ok(None),
        };
    }
    check_scheme(entry, endpoint, true)?;
    let tls = ClientTls {
        source: certificate(&section, warnings)?,
        ca: ca(&section, &["ca_source", "ca_file", "ca_pem"], warnings)?,
        system_roots,
        server_name,
        skip_verify,
        version,
        ..ClientTls::default()
    };
    if tls.skip_verify {
        let place = section.field("insecure_skip_verify").unwrap_or(field).place();
        warnings.push(Warning::Unverified { place });
    } else if tls.ca.is_none() && !tls.system_roots {
        return Err(field.error(Problem::NobodyTrusted));
    }
    Ok(Some(tls))
}

/// Certificates are read when a listener starts and when a client dials, not in between.
fn refuse_reload(section: &Section<'_>) -> Result<(), ConfigError> {
    later::refuse(section, &["reload_interval"])?;
    later::refuse_true(section, "reload_client_ca_file")
}

fn version(section: &Section<'_>) -> Result<TlsVersion, ConfigError> {
    match section.field("tls_version") {
        Some(field) => field.choice(TlsVersion::NAMES, TlsVersion::ALL),
        None => Ok(TlsVersion::default()),
    }
}

/// True if `insecure: true` stands there, alone and under a fitting endpoint.
fn is_plain_text(
    entry: &Section<'_>,
    section: &Section<'_>,
    endpoint: &Endpoint,
) -> Result<bool, ConfigError> {
    if !section.bool_or("insecure", false)? {
        return Ok(false);
    }
    for key in TLS_ONLY {
        if let Some(field) = section.field(key).filter(|field| !later::is_none(field.value())) {
            return Err(field.error(Problem::PlainTextAndTls));
        }
    }
    check_scheme(entry, endpoint, false)?;
    Ok(true)
}

fn check_scheme(entry: &Section<'_>, endpoint: &Endpoint, is_tls: bool) -> Result<(), ConfigError> {
    let problem = match (endpoint.scheme(), is_tls) {
        (Some(Scheme::Http), true) => Problem::SchemeIsPlain,
        (Some(Scheme::Https), false) => Problem::SchemeIsTls,
        (Some(Scheme::Http), false) | (Some(Scheme::Https), true) | (None, _) => return Ok(()),
    };
    Err(match entry.field("endpoint") {
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
fn certificate(
    section: &Section<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Option<CertificateSource>, ConfigError> {
    let new = section.field("source");
    let [file, pem] = [["cert_file", "key_file"], ["cert_pem", "key_pem"]];
    let old = |keys: [&'static str; 2]| keys.into_iter().find(|key| section.field(key).is_some());
    if let (Some(old), Some(_)) = (old(file).or_else(|| old(pem)), new) {
        let new = "source";
        return Err(section.required(old)?.error(Problem::OldAndNew { old, new }));
    }
    if let (Some(first), Some(second)) = (old(file), old(pem)) {
        return Err(section.required(second)?.error(Problem::Both { first, second }));
    }
    if let Some(source) = new {
        return typed_certificate(source);
    }
    let (keys, is_file) = match (old(file), old(pem)) {
        (Some(_), _) => (file, true),
        (None, Some(_)) => (pem, false),
        (None, None) => return Ok(None),
    };
    let [cert, key] = keys;
    let (cert_field, key_field) = (section.required(cert)?, section.required(key)?);
    warnings.push(Warning::OldKey {
        place: cert_field.place(),
        old: cert,
        new: "tls.source",
    });
    Ok(Some(if is_file {
        CertificateSource::File {
            cert: path(cert_field)?,
            key: path(key_field)?,
        }
    } else {
        CertificateSource::Pem {
            cert: text(cert_field)?,
            key: SecretText::new(text(key_field)?),
        }
    }))
}

fn typed_certificate(field: &Field<'_>) -> Result<Option<CertificateSource>, ConfigError> {
    let Some(kind) = source_kind(field)? else {
        return Ok(None);
    };
    let section = Section::open(field, &["type", "cert", "key"])?;
    let (cert, key) = (section.required("cert")?, section.required("key")?);
    Ok(Some(match kind {
        SourceKind::File => CertificateSource::File {
            cert: path(cert)?,
            key: path(key)?,
        },
        SourceKind::Pem => CertificateSource::Pem {
            cert: text(cert)?,
            key: SecretText::new(text(key)?),
        },
    }))
}

/// Certificates of CAs under `[new, old file, old text]`.
fn ca(
    section: &Section<'_>,
    keys: &[&'static str; 3],
    warnings: &mut Vec<Warning>,
) -> Result<Option<CaSource>, ConfigError> {
    let [new, file, pem] = *keys;
    let written = |key: &'static str| section.field(key).map(|field| (key, field));
    if let (Some((old, field)), Some(_)) = (written(file).or_else(|| written(pem)), written(new)) {
        return Err(field.error(Problem::OldAndNew { old, new }));
    }
    let (old, source) = match (written(file), written(pem)) {
        (Some((first, _)), Some((second, field))) => {
            return Err(field.error(Problem::Both { first, second }));
        }
        (Some((old, field)), None) => ((old, field), CaSource::File { path: path(field)? }),
        (None, Some((old, field))) => ((old, field), CaSource::Pem { data: text(field)? }),
        (None, None) => return section.field(new).map_or(Ok(None), typed_ca),
    };
    let (old, field) = old;
    warnings.push(Warning::OldKey {
        place: field.place(),
        old,
        new: if new == "client_ca" {
            "tls.client_ca"
        } else {
            "tls.ca_source"
        },
    });
    Ok(Some(source))
}

fn typed_ca(field: &Field<'_>) -> Result<Option<CaSource>, ConfigError> {
    Ok(match source_kind(field)? {
        None => None,
        Some(SourceKind::File) => {
            let section = Section::open(field, &["type", "path"])?;
            Some(CaSource::File {
                path: path(section.required("path")?)?,
            })
        }
        Some(SourceKind::Pem) => {
            let section = Section::open(field, &["type", "data"])?;
            Some(CaSource::Pem {
                data: text(section.required("data")?)?,
            })
        }
    })
}

#[derive(Clone, Copy)]
enum SourceKind {
    File,
    Pem,
}

/// The `type` of a source; `None` for one that says nothing.
fn source_kind(field: &Field<'_>) -> Result<Option<SourceKind>, ConfigError> {
    if later::is_none(field.value()) {
        return Ok(None);
    }
    let section = Section::open_any(field)?;
    let kind = section.required("type")?;
    if kind.text()? == "spire" {
        return Err(field.error(Problem::NotYet {
            neutral: Some("{type: none}"),
        }));
    }
    kind.choice(
        &["file", "pem", "none"],
        &[Some(SourceKind::File), Some(SourceKind::Pem), None],
    )
}

fn path(field: &Field<'_>) -> Result<PathBuf, ConfigError> {
    text(field).map(PathBuf::from)
}

fn text(field: &Field<'_>) -> Result<String, ConfigError> {
    match field.text()? {
        "" => Err(field.error(Problem::EmptyText)),
        text => Ok(text.to_owned()),
    }
}
