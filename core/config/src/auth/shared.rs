//! What `auth` of a listener and of a client have in common, and the nesting of the tutorial's generation:
//! `auth: {basic: {…}}`.

use super::{BasicAuth, SPIRE_AUDIENCE, SpireConfig};
use crate::error::{ConfigError, Problem};
use crate::field::Field;
use crate::plain::Plain;
use crate::secret::SecretText;
use crate::section::Section;
use crate::table::{Block, Key, Kind, Status};
use crate::warning::Warning;

pub(crate) static BASIC: Block = Block {
    name: "basic",
    doc: "A name and a password.",
    keys: &[
        Key::new("username", Kind::Text, "the name, without a colon").required(),
        Key::new("password", Kind::Secret, "the password").required(),
    ],
};

pub(crate) static SPIRE: Block = Block {
    name: "spire",
    doc: "The local SPIRE agent.",
    keys: &[
        AGENT,
        OWN_ID,
        Key::new(
            "jwt_audiences",
            Kind::Texts,
            "whom tokens are for; a listener demands one of them",
        )
        .or("slim"),
        Key::new(
            "trust_domains",
            Kind::Texts,
            "whose identities a listener believes",
        )
        .without("those of its own"),
    ],
};

/// `socket_path` of everything that asks the agent.
pub(crate) const AGENT: Key =
    Key::new("socket_path", Kind::Path, "the socket of the Workload API").without("`SPIFFE_ENDPOINT_SOCKET`");

/// `target_spiffe_id` of everything that shows an identity of ours.
pub(crate) const OWN_ID: Key = Key::new(
    "target_spiffe_id",
    Kind::Text,
    "which of several identities to use",
)
.without("the agent's first");

/// `timeout` of everything that asks a provider.
pub(crate) const PROVIDER_TIMEOUT: Key = Key::new(
    "timeout",
    Kind::Duration { zero: false },
    "limit for one request to the provider",
)
.or("10s");

static CEL: Block = Block {
    name: "policy",
    doc: "An expression over the claims of a token; the link is refused unless it is true.",
    keys: &[
        Key::new("cel", Kind::Text, "the expression, in CEL").required(),
        Key::other("rego", Status::Refused(NO_REGO)),
        Key::other("rego_file", Status::Refused(NO_REGO)),
    ],
};

const NO_REGO: &str = "policies are written in CEL here, not in Rego; write policy: {cel: …}";

/// `policy`.
pub(crate) const CLAIM_POLICY: Kind = Kind::Block(&CEL);

/// A block that only the tutorial's generation has.
static BEARER: Block = Block {
    name: "bearer",
    doc: "A fixed token.",
    keys: &[Key::new("token", Kind::Secret, "the token").required()],
};

/// `auth` of an entry in either form; `jwt` is the table that the entry's side has for it.
pub(crate) fn auth<'a>(entry: &Section<'a>, jwt: &'static Block) -> Result<Option<Section<'a>>, ConfigError> {
    let Some(field) = entry.field("auth") else {
        return Ok(None);
    };
    match old_form(field, &[&BASIC, jwt, &BEARER])? {
        Some(section) => Ok(Some(section)),
        None => entry.typed("auth"),
    }
}

/// The block of the old nesting, with its warning; `None` for today's form.
fn old_form<'a>(field: &Field<'a>, blocks: &[&'static Block]) -> Result<Option<Section<'a>>, ConfigError> {
    let Ok(entries) = field.entries() else {
        return Ok(None);
    };
    let named = |name: &str| blocks.iter().find(|block| block.name == name);
    let Some((block, inner)) = entries.iter().find_map(|(key, inner)| Some((named(key)?, inner))) else {
        return Ok(None);
    };
    let new = match block.name {
        "basic" => "type: basic",
        "jwt" => "type: jwt",
        _ => "type: static_jwt",
    };
    if entries.len() > 1 {
        return Err(match entries.iter().find(|(key, _)| *key != block.name) {
            Some(("type", _)) => inner.error(Problem::OldAndNew { old: block.name, new }),
            Some((_, other)) => other.error(Problem::UnknownKey { nearest: None }),
            None => inner.error(Problem::NoneWithKeys),
        });
    }
    inner.warn(|place| Warning::OldKey {
        place,
        old: block.name,
        new,
    });
    Section::open(inner, block).map(Some)
}

impl BasicAuth {
    pub(crate) fn parse(section: &Section<'_>) -> Result<Self, ConfigError> {
        let username = section.text("username")?;
        if username.contains(':') {
            return Err(section.required("username")?.error(Problem::UserName));
        }
        Ok(Self {
            username,
            password: SecretText::new(section.text("password")?),
        })
    }

    pub(crate) fn normal(&self) -> Plain {
        Plain::typed("basic")
            .with("username", &self.username)
            .with("password", &self.password)
    }
}

impl SpireConfig {
    pub(crate) fn parse(section: &Section<'_>) -> Result<Self, ConfigError> {
        let mut jwt_audiences = section.texts("jwt_audiences")?;
        if jwt_audiences.is_empty() {
            jwt_audiences.push(SPIRE_AUDIENCE.to_owned());
        }
        Ok(Self {
            socket_path: section.text_if("socket_path")?.map(Into::into),
            target_spiffe_id: section.text_if("target_spiffe_id")?,
            jwt_audiences,
            trust_domains: section.texts("trust_domains")?,
        })
    }

    pub(crate) fn normal(&self) -> Plain {
        Plain::typed("spire")
            .with_some("socket_path", self.socket_path.as_deref())
            .with_some("target_spiffe_id", self.target_spiffe_id.as_ref())
            .with("jwt_audiences", &self.jwt_audiences)
            .with_any("trust_domains", &self.trust_domains)
    }
}

/// The URL of a web server, without query and user.
pub(crate) fn web_url(field: &Field<'_>) -> Result<String, ConfigError> {
    let text = field.text()?;
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let letter = |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@' | '"' | '<' | '>' | '\\');
    let is_url =
        rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && rest.chars().all(letter));
    if !is_url {
        return Err(field.error(Problem::Url {
            text: text.to_owned(),
        }));
    }
    Ok(text.to_owned())
}
