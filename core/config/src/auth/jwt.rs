//! Tokens and keys of the `auth` block (wire-routing A12; the algorithms of wire-session §1.4).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{ConfigError, Problem};
use crate::field::Field;
use crate::plain::Plain;
use crate::secret::SecretText;
use crate::section::Section;
use crate::table::{Block, Key, Kind, Status};
use crate::tree::Value;
use crate::warning::Warning;

/// What a token must be for a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtServerAuth {
    /// With which keys its signature is checked.
    pub verification: JwtVerification,
    /// What it must say; `custom` is empty.
    pub claims: JwtClaims,
    /// A CEL expression over the claims; false is a refusal.
    pub policy: Option<String>,
    /// The subject must be that of the signing key (wire-session §1.5).
    pub bind_subject: bool,
}

/// With which keys a signature is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtVerification {
    /// Configured ones; a file is read again when it changes.
    Keys(JwtKey),
    /// Those that the issuer publishes. `claims.issuers` is then not empty: anybody can publish keys.
    Autoresolve,
}

/// A token that is signed for each dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientJwtAuth {
    /// The signing key.
    pub key: JwtKey,
    /// What the token says. Each list has at most one entry but `audiences`.
    pub claims: JwtClaims,
    /// How long a token is good for.
    pub duration: Duration,
}

/// A token that somebody else writes into a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticJwtAuth {
    /// Where a token comes from: a file is read at each dial.
    pub token: JwtSource,
    /// How long the token of last time is used while the file cannot be read.
    pub duration: Duration,
}

/// What tokens say (RFC 7519 §4). For a listener each non-empty list is a demand: one of its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JwtClaims {
    /// `iss`.
    pub issuers: Vec<String>,
    /// `aud`.
    pub audiences: Vec<String>,
    /// `sub`.
    pub subjects: Vec<String>,
    /// Further claims of a token that is signed here.
    pub custom: BTreeMap<String, serde_json::Value>,
}

/// A key, or a set of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtKey {
    /// What the key is for. Absent only with JWK and JWKS, which may say it themselves.
    pub algorithm: Option<JwtAlgorithm>,
    /// How it is written.
    pub format: JwtKeyFormat,
    /// The key, or where it is.
    pub source: JwtSource,
}

/// Where a key or a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtSource {
    /// Here.
    Data(SecretText),
    /// In a file.
    File(PathBuf),
}

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwtKeyFormat {
    /// PEM; for HS256, HS384 and HS512 the secret itself.
    Pem,
    /// One key as JSON (RFC 7517 §4).
    Jwk,
    /// A set of keys as JSON (RFC 7517 §5); not for signing.
    Jwks,
}

impl JwtKeyFormat {
    pub(crate) const NAMES: &[&str] = &["pem", "jwk", "jwks"];
    pub(crate) const ALL: &[Self] = &[Self::Pem, Self::Jwk, Self::Jwks];

    /// Its word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pem => "pem",
            Self::Jwk => "jwk",
            Self::Jwks => "jwks",
        }
    }
}

/// A signature algorithm, by the name that RFC 7518 §3.1 and RFC 8037 give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JwtAlgorithm(&'static str);

impl JwtAlgorithm {
    pub(crate) const NAMES: &[&str] = &[
        "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384",
        "EdDSA",
    ];
    pub(crate) const ALL: &[Self] = &[
        Self("HS256"),
        Self("HS384"),
        Self("HS512"),
        Self("RS256"),
        Self("RS384"),
        Self("RS512"),
        Self("PS256"),
        Self("PS384"),
        Self("PS512"),
        Self("ES256"),
        Self("ES384"),
        Self("EdDSA"),
    ];

    /// The algorithm of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.0 == name)
    }

    /// `ES256`, `EdDSA` and so on.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// True for the algorithms whose one secret both signs and verifies.
    pub fn is_secret(self) -> bool {
        self.0.starts_with("HS")
    }
}

static ENCODING: Block = Block {
    name: "encoding",
    doc: "The key that signs.",
    keys: KEY,
};

static DECODING: Block = Block {
    name: "decoding",
    doc: "Keys that check.",
    keys: KEY,
};

static AUTORESOLVE: Block = Block {
    name: "autoresolve",
    doc: "The keys that the issuer publishes; `claims.issuer` must then name the issuers that are believed.",
    keys: &[],
};

/// `key` of a listener.
pub(crate) const CHECKING_KEY: Kind = Kind::Typed(&[&DECODING, &AUTORESOLVE]);
/// `key` of a client.
pub(crate) const SIGNING_KEY: Kind = Kind::Typed(&[&ENCODING]);

const KEY: &[Key] = &[
    Key::new(
        "algorithm",
        Kind::Choice(JwtAlgorithm::NAMES),
        "what the key is for",
    )
    .without("only JWK and JWKS, which may say it themselves"),
    Key::new(
        "format",
        Kind::Choice(JwtKeyFormat::NAMES),
        "how it is written; for HS256, HS384 and HS512 `pem` means the secret itself",
    )
    .required(),
    Key::new("key", Kind::Block(&KEY_SOURCE), "the key, or where it is").required(),
    Key::other("str", Status::OldShape("key")),
    Key::other("file", Status::OldShape("key")),
    Key::other("pem", Status::Wrong("key")),
];

static KEY_SOURCE: Block = Block {
    name: "key",
    doc: "The key itself, or a file, which is read again when it changes.",
    keys: &[
        Key::new("data", Kind::Secret, "the key; or").without("`file` must be there"),
        Key::new("file", Kind::Path, "the file that holds it").without("`data` must be there"),
    ],
};

/// `key`, in today's form (`type: decoding`) or the old one (`decoding: {…}`, `autoresolve: true`).
pub(crate) fn typed_key<'a>(section: &Section<'a>) -> Result<Section<'a>, ConfigError> {
    let field = section.required("key")?;
    // Nobody means `autoresolve: false`.
    if let Ok(entries) = field.entries()
        && let [("autoresolve", flag)] = entries.as_slice()
        && *flag.value() == Value::Bool(true)
    {
        flag.warn(|place| Warning::OldKey {
            place,
            old: "autoresolve",
            new: "type: autoresolve",
        });
        return Ok(Section::empty(field, &AUTORESOLVE));
    }
    if let Some(old) = old_key_form(field)? {
        return Ok(old);
    }
    section
        .typed("key")?
        .ok_or_else(|| section.error(Problem::Missing { key: "key" }))
}

fn old_key_form<'a>(field: &Field<'a>) -> Result<Option<Section<'a>>, ConfigError> {
    let Ok(entries) = field.entries() else {
        return Ok(None);
    };
    let [(name, inner)] = entries.as_slice() else {
        return Ok(None);
    };
    let (block, new) = match *name {
        "decoding" => (&DECODING, "type: decoding"),
        "encoding" => (&ENCODING, "type: encoding"),
        _ => return Ok(None),
    };
    inner.warn(|place| Warning::OldKey {
        place,
        old: block.name,
        new,
    });
    Section::open(inner, block).map(Some)
}

/// The key of an encoding or decoding block.
pub(crate) fn key(section: &Section<'_>) -> Result<JwtKey, ConfigError> {
    let source = if let Some(source) = section.section("key")? {
        self::source(&source, &["data", "file"])?
    } else if let (Some(_), Some(file)) = (section.field("str"), section.field("file")) {
        return Err(file.error(Problem::Both {
            first: "str",
            second: "file",
        }));
    } else if let Some(text) = section.old_shape("str") {
        JwtSource::Data(SecretText::new(text.filled_text()?))
    } else if let Some(file) = section.old_shape("file") {
        JwtSource::File(file.filled_text()?.into())
    } else {
        return Err(section.error(Problem::Missing { key: "key" }));
    };
    let format = section.choice_if("format", JwtKeyFormat::ALL)?;
    let format = format.ok_or_else(|| section.error(Problem::Missing { key: "format" }))?;
    let algorithm = section.choice_if("algorithm", JwtAlgorithm::ALL)?;
    if algorithm.is_none() && format == JwtKeyFormat::Pem {
        return Err(section.error(Problem::AlgorithmMissing));
    }
    Ok(JwtKey {
        algorithm,
        format,
        source,
    })
}

/// What exactly one of two keys says: `file` names a file, the other holds the text itself.
pub(crate) fn source(
    section: &Section<'_>,
    keys: &'static [&'static str; 2],
) -> Result<JwtSource, ConfigError> {
    let [first, second] = *keys;
    let (key, field) = match (section.field(first), section.field(second)) {
        (Some(field), None) => (first, field),
        (None, Some(field)) => (second, field),
        (Some(_), Some(field)) => return Err(field.error(Problem::Both { first, second })),
        (None, None) => return Err(section.error(Problem::OneOf { keys })),
    };
    let text = field.filled_text()?;
    Ok(match key {
        "file" => JwtSource::File(text.into()),
        _ => JwtSource::Data(SecretText::new(text)),
    })
}

/// The claims that both ends have.
pub(crate) fn claims(section: &Section<'_>) -> Result<JwtClaims, ConfigError> {
    Ok(JwtClaims {
        issuers: section.texts("issuer")?,
        audiences: section.texts("audience")?,
        subjects: section.texts("subject")?,
        custom: BTreeMap::new(),
    })
}

impl JwtKey {
    pub(crate) fn normal(&self, kind: &str) -> Plain {
        let source = match &self.source {
            JwtSource::Data(data) => Plain::map().with("data", data),
            JwtSource::File(path) => Plain::map().with("file", path.as_path()),
        };
        Plain::typed(kind)
            .with_some("algorithm", self.algorithm.map(JwtAlgorithm::name))
            .with("format", self.format.name())
            .with("key", source)
    }
}

impl JwtClaims {
    pub(crate) fn normal(&self) -> Plain {
        let plain = Plain::map()
            .with_any("audience", &self.audiences)
            .with_any("issuer", &self.issuers)
            .with_any("subject", &self.subjects);
        if self.custom.is_empty() {
            return plain;
        }
        plain.with("custom_claims", &self.custom)
    }
}
