//! The `authorization` block of a service: who may use which name.
//!
//! A link has an identity, which its listener verified: from a password, a token or a client certificate. The rules
//! that match it say together which names the link may subscribe to, publish to and invite. What no rule allows is
//! refused, and a link that no rule matches may do nothing, unless `default: allow` stands there.

use slim_policy::{AuthMethod, ClaimPolicy, NamePattern, RuleSource};

use crate::Loaded;
use crate::error::{ConfigError, Problem};
use crate::field::Field;
use crate::load;
use crate::neutral::says_only;
use crate::plain::Plain;
use crate::section::Section;
use crate::table::{Block, Key, Kind};

/// Who may use which name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizationConfig {
    /// What holds for links that no rule matches.
    pub default: DefaultAccess,
    /// All that match a link count, whatever their order.
    pub rules: Vec<RuleSource>,
}

/// What a link may do that no rule matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DefaultAccess {
    /// Nothing.
    #[default]
    Deny,
    /// Everything.
    Allow,
}

impl DefaultAccess {
    pub(crate) const NAMES: &[&str] = &["deny", "allow"];
    pub(crate) const ALL: &[Self] = &[Self::Deny, Self::Allow];

    /// Its word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Allow => "allow",
        }
    }
}

static MATCH: Block = Block {
    name: "match",
    doc: "Which identities a rule is for; all that is written must hold, and nothing written matches every link.",
    keys: &[
        Key::new(
            "method",
            Kind::Choices(&AuthMethod::NAMES),
            "how the identity was proven: one of these",
        )
        .without("any"),
        Key::new(
            "subject",
            Kind::Texts,
            "the user name, `sub`, SPIFFE id or distinguished name: one of these, `*` for any run of letters",
        )
        .without("any"),
        Key::new("issuer", Kind::Texts, "`iss`, exactly: one of these").without("any"),
        Key::new(
            "claims",
            Kind::Map(&Kind::Any),
            "claims that must be there: equal to the value, or a list that contains it",
        )
        .or("{}"),
        Key::new("cel", Kind::Text, "an expression over the claims, in CEL").without("none"),
    ],
};

static RULE: Block = Block {
    name: "authorization.rules[]",
    doc: "One rule. All that match a link count, whatever their order. Patterns are described in \
          [authorization.md](authorization.md).",
    keys: &[
        Key::new(
            "match",
            Kind::BlockOr(&MATCH, ANY),
            "whose links; `any`: everybody's",
        )
        .required(),
        Key::new(
            "subscribe",
            Kind::Texts,
            "names that they may subscribe to, and speak as",
        )
        .without("none"),
        Key::new("publish", Kind::Texts, "names that they may send to").without("none"),
        Key::new("invite", Kind::Texts, "names that they may invite").without("the same as `publish`"),
    ],
};

pub(crate) static AUTHORIZATION: Block = Block {
    name: "authorization",
    doc: "Who may use which name.",
    keys: &[
        Key::new(
            "default",
            Kind::Choice(DefaultAccess::NAMES),
            "what a link may do that no rule matches",
        )
        .or("deny"),
        Key::new("rules", Kind::List(&Kind::Block(&RULE)), "the rules").or("[]"),
    ],
};

/// Every link, as one word.
const ANY: &str = "any";

impl AuthorizationConfig {
    /// Parses one block from JSON, as strictly as from a file.
    pub fn from_json_text(text: &str) -> Result<Loaded<Self>, ConfigError> {
        load::from_json(text, |field| Self::parse(&Section::open(field, &AUTHORIZATION)?))
    }

    pub(crate) fn parse(section: &Section<'_>) -> Result<Self, ConfigError> {
        let rules = match section.field("rules") {
            Some(field) => field.list()?.iter().map(rule).collect::<Result<_, _>>()?,
            None => Vec::new(),
        };
        Ok(Self {
            default: section.choice("default", DefaultAccess::ALL)?,
            rules,
        })
    }

    pub(crate) fn normal(&self) -> Plain {
        let rules: Vec<Plain> = self.rules.iter().map(rule_normal).collect();
        Plain::map()
            .with("default", self.default.name())
            .with("rules", rules)
    }
}

fn rule(field: &Field<'_>) -> Result<RuleSource, ConfigError> {
    let section = Section::open(field, &RULE)?;
    let identity = section.required("match")?;
    let whose = if says_only(identity.value(), ANY) {
        RuleSource::default()
    } else {
        whose(&Section::open(identity, &MATCH)?)?
    };
    let invite = section.field("invite").is_some();
    Ok(RuleSource {
        subscribe: patterns(&section, "subscribe")?,
        publish: patterns(&section, "publish")?,
        invite: invite.then(|| patterns(&section, "invite")).transpose()?,
        ..whose
    })
}

/// A rule that allows nothing yet, for the identities that `match` describes.
fn whose(section: &Section<'_>) -> Result<RuleSource, ConfigError> {
    let methods = match section.field("method") {
        Some(field) => {
            let fields = field.one_or_more()?;
            let method = |field: &Field<'_>| field.choice(&AuthMethod::NAMES, &AuthMethod::ALL);
            fields.iter().map(method).collect::<Result<_, _>>()?
        }
        None => Vec::new(),
    };
    Ok(RuleSource {
        methods,
        subjects: section.texts("subject")?,
        issuers: section.texts("issuer")?,
        claims: section.json_values("claims")?,
        cel: section.field("cel").map(cel).transpose()?,
        ..RuleSource::default()
    })
}

fn rule_normal(rule: &RuleSource) -> Plain {
    Plain::map()
        .with("match", whose_normal(rule))
        .with("subscribe", &rule.subscribe)
        .with("publish", &rule.publish)
        .with_some("invite", rule.invite.as_ref())
}

fn whose_normal(rule: &RuleSource) -> Plain {
    let is_for_everybody = rule.methods.is_empty()
        && rule.subjects.is_empty()
        && rule.issuers.is_empty()
        && rule.claims.is_empty()
        && rule.cel.is_none();
    if is_for_everybody {
        return ANY.into();
    }
    let methods: Vec<String> = rule
        .methods
        .iter()
        .map(|method| method.name().to_owned())
        .collect();
    let plain = Plain::map()
        .with_any("method", &methods)
        .with_any("subject", &rule.subjects)
        .with_any("issuer", &rule.issuers);
    let plain = if rule.claims.is_empty() {
        plain
    } else {
        plain.with("claims", &rule.claims)
    };
    plain.with_some("cel", rule.cel.as_ref())
}

fn patterns(section: &Section<'_>, key: &str) -> Result<Vec<String>, ConfigError> {
    let Some(field) = section.field(key) else {
        return Ok(Vec::new());
    };
    let checked = |field: &Field<'_>| {
        let text = field.filled_text()?;
        match text.parse::<NamePattern>() {
            Ok(_) => Ok(text),
            Err(error) => Err(field.error(Problem::Pattern(error))),
        }
    };
    field.one_or_more()?.iter().map(checked).collect()
}

/// The text of a CEL expression that compiles.
pub(crate) fn cel(field: &Field<'_>) -> Result<String, ConfigError> {
    let text = field.filled_text()?;
    match ClaimPolicy::compile(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(field.error(Problem::Policy(error))),
    }
}
