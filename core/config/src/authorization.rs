//! The `authorization` block of a service: who may use which name.
//!
//! A link has an identity, which its listener verified: from a password, a token or a client certificate. The rules
//! that match it say together which names the link may subscribe to, publish to and invite. What no rule allows is
//! refused, and a link that no rule matches may do nothing, unless `default: allow` stands there.

use std::collections::BTreeMap;

/// Who may use which name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizationConfig {
    /// What holds for links that no rule matches.
    pub default: DefaultAccess,
    /// All that match a link count, whatever their order.
    pub rules: Vec<AuthorizationRule>,
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

/// One rule. Patterns are `organisation/namespace/application`: each component a text, `*` for any, or a text with
/// placeholders such as `{subject}`; `**` at the end stands for all components that are left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthorizationRule {
    /// Whose links.
    pub identity: IdentityMatch,
    /// Names that they may subscribe to, and speak as.
    pub subscribe: Vec<String>,
    /// Names that they may send to.
    pub publish: Vec<String>,
    /// Names that they may invite; absent means those that they may send to.
    pub invite: Option<Vec<String>>,
}

/// Which identities a rule is for: all that is written must hold. Nothing written matches every link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdentityMatch {
    /// How the identity was proven: one of these.
    pub methods: Vec<AuthMethod>,
    /// The user name, `sub`, SPIFFE id or distinguished name: one of these, where `*` stands for any run of letters.
    pub subjects: Vec<String>,
    /// `iss`, exactly: one of these.
    pub issuers: Vec<String>,
    /// Claims that must be there: equal to the value, or, where the token has a list, containing it.
    pub claims: BTreeMap<String, serde_json::Value>,
    /// A CEL expression over the claims.
    pub cel: Option<String>,
}

/// How an identity was proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// A password.
    Basic,
    /// A token under configured or resolved keys.
    Jwt,
    /// A token of an OpenID Connect provider.
    Oidc,
    /// A client certificate.
    Certificate,
    /// A JWT-SVID.
    Spire,
    /// Not at all.
    None,
}

impl AuthMethod {
    pub(crate) const NAMES: &[&str] = &["basic", "jwt", "oidc", "certificate", "spire", "none"];
    pub(crate) const ALL: &[Self] = &[
        Self::Basic,
        Self::Jwt,
        Self::Oidc,
        Self::Certificate,
        Self::Spire,
        Self::None,
    ];

    /// Its word in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Jwt => "jwt",
            Self::Oidc => "oidc",
            Self::Certificate => "certificate",
            Self::Spire => "spire",
            Self::None => "none",
        }
    }
}
