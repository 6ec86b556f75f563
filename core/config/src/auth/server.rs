//! Reading `auth` of a listener.

use super::{
    BASIC, BasicAuth, CHECKING_KEY, CLAIM_POLICY, JwtServerAuth, JwtVerification, OidcServerAuth,
    PROVIDER_TIMEOUT, SPIRE, ServerAuth, SpireConfig, auth, jwt, web_url,
};
use crate::authorization::cel;
use crate::error::{ConfigError, Problem};
use crate::plain::Plain;
use crate::section::Section;
use crate::table::{Block, Key, Kind, Status};

static CLAIMS: Block = Block {
    name: "claims",
    doc: "What a token must say beside being valid now; each key one text or a list, of which one must be there.",
    keys: &[
        Key::new("audience", Kind::Texts, "`aud`").without("a token that names an audience is refused"),
        Key::new("issuer", Kind::Texts, "`iss`").without("any, but with `autoresolve` it must be written"),
        Key::new("subject", Kind::Texts, "`sub`").without("any"),
        Key::alias("aud", "audience"),
        Key::alias("audiences", "audience"),
        Key::alias("iss", "issuer"),
        Key::alias("issuers", "issuer"),
        Key::alias("sub", "subject"),
        Key::alias("subjects", "subject"),
        Key::other(
            "custom_claims",
            Status::Refused("a listener does not compare further claims here; write policy: {cel: …}"),
        ),
    ],
};

static JWT: Block = Block {
    name: "jwt",
    doc: "A JSON Web Token.",
    keys: &[
        Key::new("key", CHECKING_KEY, "with which keys its signature is checked").required(),
        Key::new("claims", Kind::Block(&CLAIMS), "what it must say").without("any token under the keys"),
        Key::new("policy", CLAIM_POLICY, "an expression over its claims").without("none"),
        Key::new(
            "subject_binding",
            Kind::Choice(&["off", "enforce"]),
            "with `enforce` a token's subject must be the `kid` of the key that signed it, or that key as `did:key`",
        )
        .or("off"),
        Key::other(
            "duration",
            Status::Ignored("a listener makes no tokens, so it needs no duration"),
        ),
    ],
};

static OIDC: Block = Block {
    name: "oidc",
    doc: "A token of one OpenID Connect provider, whose keys are found by discovery.",
    keys: &[
        Key::new("issuer_url", Kind::Text, "the provider; `iss` of every token").required(),
        Key::new("audience", Kind::Texts, "a token must be for one of these").required(),
        Key::alias("aud", "audience"),
        Key::alias("audiences", "audience"),
        Key::new(
            "jwks_ttl",
            Kind::Duration { zero: false },
            "the age at which fetched keys are fetched again, from a minute to an hour",
        )
        .or("1h"),
        Key::new(
            "claim_cache_ttl",
            Kind::Duration { zero: true },
            "how long the verdict on one token is remembered, at most until it expires; `0s`: not at all",
        )
        .or("0s"),
        Key::new("policy", CLAIM_POLICY, "an expression over its claims").without("none"),
        PROVIDER_TIMEOUT,
        Key::other("jwks_url", Status::Wrong("issuer_url")),
        Key::other("jwks_uri", Status::Wrong("issuer_url")),
        Key::other("client_id", Status::Refused(FOR_CLIENTS)),
        Key::other("client_secret", Status::Refused(FOR_CLIENTS)),
        Key::other("refresh_token", Status::Refused(FOR_CLIENTS)),
        Key::other("refresh_token_file", Status::Refused(FOR_CLIENTS)),
        Key::other("access_token_file", Status::Refused(FOR_CLIENTS)),
        Key::other("scope", Status::Refused(FOR_CLIENTS)),
    ],
};

const FOR_CLIENTS: &str = "a listener does not use this key; it belongs to auth of a client";

/// `auth` of a listener.
pub(crate) const SERVER_AUTH: Kind = Kind::Typed(&[&BASIC, &JWT, &OIDC, &SPIRE]);

impl ServerAuth {
    pub(crate) fn parse(entry: &Section<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(section) = auth(entry, &JWT)? else {
            return Ok(None);
        };
        Ok(Some(match section.block().name {
            "basic" => Self::Basic(BasicAuth::parse(&section)?),
            "jwt" => Self::Jwt(parse_jwt(&section)?),
            "oidc" => Self::Oidc(parse_oidc(&section)?),
            "spire" => Self::Spire(SpireConfig::parse(&section)?),
            _ => return Err(section.error(Problem::Refused { reason: FIXED_BEARER })),
        }))
    }

    /// The `type` that it has in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Basic(_) => "basic",
            Self::Jwt(_) => "jwt",
            Self::Oidc(_) => "oidc",
            Self::Spire(_) => "spire",
        }
    }

    pub(crate) fn normal(&self) -> Plain {
        match self {
            Self::Basic(basic) => basic.normal(),
            Self::Jwt(auth) => {
                let key = match &auth.verification {
                    JwtVerification::Keys(key) => key.normal("decoding"),
                    JwtVerification::Autoresolve => Plain::typed("autoresolve"),
                };
                Plain::typed("jwt")
                    .with("key", key)
                    .with("claims", auth.claims.normal())
                    .with_some("policy", policy_normal(auth.policy.as_ref()))
                    .with(
                        "subject_binding",
                        if auth.bind_subject { "enforce" } else { "off" },
                    )
            }
            Self::Oidc(oidc) => Plain::typed("oidc")
                .with("issuer_url", &oidc.issuer_url)
                .with("audience", &oidc.audiences)
                .with("jwks_ttl", oidc.jwks_ttl)
                .with("claim_cache_ttl", oidc.claim_cache_ttl)
                .with_some("policy", policy_normal(oidc.policy.as_ref()))
                .with("timeout", oidc.timeout),
            Self::Spire(spire) => spire.normal(),
        }
    }
}

const FIXED_BEARER: &str = "a listener takes no fixed token any more; write auth: {type: basic, …} for one secret, \
                            or auth: {type: jwt, …} for signed tokens";

fn policy_normal(policy: Option<&String>) -> Option<Plain> {
    policy.map(|cel| Plain::map().with("cel", cel))
}

fn policy(section: &Section<'_>) -> Result<Option<String>, ConfigError> {
    let policy = section.section("policy")?;
    policy.map(|policy| cel(policy.required("cel")?)).transpose()
}

fn parse_jwt(section: &Section<'_>) -> Result<JwtServerAuth, ConfigError> {
    let claims = section.section("claims")?;
    let claims = claims.as_ref().map(jwt::claims).transpose()?.unwrap_or_default();
    let key = jwt::typed_key(section)?;
    let verification = if key.block().name == "autoresolve" {
        if claims.issuers.is_empty() {
            return Err(section.error(Problem::IssuerMissing));
        }
        JwtVerification::Autoresolve
    } else if key.block().name == "encoding" {
        return Err(key.error(Problem::Refused {
            reason: "a listener checks tokens; write the public key as {type: decoding, …}",
        }));
    } else {
        JwtVerification::Keys(jwt::key(&key)?)
    };
    Ok(JwtServerAuth {
        verification,
        claims,
        policy: policy(section)?,
        bind_subject: section.choice("subject_binding", &[false, true])?,
    })
}

fn parse_oidc(section: &Section<'_>) -> Result<OidcServerAuth, ConfigError> {
    section.required("audience")?;
    Ok(OidcServerAuth {
        issuer_url: web_url(section.required("issuer_url")?)?,
        audiences: section.texts("audience")?,
        jwks_ttl: section.duration("jwks_ttl")?,
        claim_cache_ttl: section.duration("claim_cache_ttl")?,
        policy: policy(section)?,
        timeout: section.duration("timeout")?,
    })
}
