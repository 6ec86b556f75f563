//! Reading `auth` of a client.

use super::{
    BASIC, BasicAuth, ClientAuth, ClientJwtAuth, JwtClaims, JwtKeyFormat, JwtSource, OidcClientAuth,
    OidcGrant, PROVIDER_TIMEOUT, RefreshToken, SIGNING_KEY, SPIRE, SpireConfig, StaticJwtAuth, auth, jwt,
    web_url,
};
use crate::error::{ConfigError, Problem};
use crate::plain::Plain;
use crate::secret::SecretText;
use crate::section::Section;
use crate::table::{Block, Key, Kind, Status};

static CLAIMS: Block = Block {
    name: "claims",
    doc: "What a token says.",
    keys: &[
        Key::new("audience", Kind::Texts, "`aud`: one text or a list").without("left out"),
        Key::new("issuer", Kind::Texts, "`iss`, one").without("left out"),
        Key::new("subject", Kind::Texts, "`sub`, one").required(),
        Key::alias("aud", "audience"),
        Key::alias("audiences", "audience"),
        Key::alias("iss", "issuer"),
        Key::alias("sub", "subject"),
        Key::new("custom_claims", Kind::Map(&Kind::Any), "further claims").or("{}"),
    ],
};

static STATIC_JWT: Block = Block {
    name: "static_jwt",
    doc: "A token that somebody else makes.",
    keys: &[
        Key::new("file", Kind::Path, "the file that holds it and is kept fresh; or")
            .without("`token` must be there"),
        Key::new("token", Kind::Secret, "the token itself").without("`file` must be there"),
        Key::alias("token_file", "file"),
        Key::new(
            "duration",
            Kind::Duration { zero: true },
            "the file is read at each dial; how long the token of last time is used while it cannot be read",
        )
        .or("0s"),
    ],
};

static JWT: Block = Block {
    name: "jwt",
    doc: "A token that is signed for each dial.",
    keys: &[
        Key::new("key", SIGNING_KEY, "the signing key").required(),
        Key::new("claims", Kind::Block(&CLAIMS), "what the token says").required(),
        Key::new(
            "duration",
            Kind::Duration { zero: false },
            "how long the token is good for",
        )
        .or("1h"),
    ],
};

static OIDC: Block = Block {
    name: "oidc",
    doc: "A token of an OpenID Connect provider: by the client's own secret, by a refresh token, or from a file.",
    keys: &[
        Key::new("issuer_url", Kind::Text, "the provider").required(),
        Key::new("client_id", Kind::Text, "who we are to the provider")
            .without("only with `access_token_file`"),
        Key::new("client_secret", Kind::Secret, "the proof of it")
            .without("only public clients with a refresh token"),
        Key::new("refresh_token", Kind::Secret, "what an earlier login left")
            .without("the client's own secret counts"),
        Key::new(
            "refresh_token_file",
            Kind::Path,
            "the file that holds it, and gets the next one",
        )
        .without("the client's own secret counts"),
        Key::new(
            "access_token_file",
            Kind::Path,
            "a file with an access token that somebody else keeps fresh",
        )
        .without("the provider is asked"),
        Key::new("audience", Kind::Text, "whom the token shall be for").without("the provider's choice"),
        Key::new(
            "scope",
            Kind::Text,
            "what is asked for, words with blanks between",
        )
        .without("the provider's choice"),
        PROVIDER_TIMEOUT,
        Key::other("token_file", Status::Wrong("access_token_file")),
        Key::other("jwks_url", Status::Wrong("issuer_url")),
        Key::other("jwks_ttl", Status::Refused(FOR_LISTENERS)),
        Key::other("claim_cache_ttl", Status::Refused(FOR_LISTENERS)),
        Key::other("policy", Status::Refused(FOR_LISTENERS)),
    ],
};

const FOR_LISTENERS: &str = "a client does not use this key; it belongs to auth of a listener";

/// `auth` of a client.
pub(crate) const CLIENT_AUTH: Kind = Kind::Typed(&[&BASIC, &STATIC_JWT, &JWT, &OIDC, &SPIRE]);

impl ClientAuth {
    pub(crate) fn parse(entry: &Section<'_>) -> Result<Option<Self>, ConfigError> {
        let Some(section) = auth(entry, &JWT)? else {
            return Ok(None);
        };
        Ok(Some(match section.block().name {
            "basic" => Self::Basic(BasicAuth::parse(&section)?),
            "static_jwt" => Self::StaticJwt(parse_static(&section)?),
            "jwt" => Self::Jwt(parse_jwt(&section)?),
            "oidc" => Self::Oidc(parse_oidc(&section)?),
            "spire" => Self::Spire(SpireConfig::parse(&section)?),
            _ => Self::StaticJwt(StaticJwtAuth {
                token: JwtSource::Data(SecretText::new(section.text("token")?)),
                duration: std::time::Duration::ZERO,
            }),
        }))
    }

    pub(crate) fn normal(&self) -> Plain {
        match self {
            Self::Basic(basic) => basic.normal(),
            Self::StaticJwt(auth) => {
                let plain = Plain::typed("static_jwt");
                let plain = match &auth.token {
                    JwtSource::Data(token) => plain.with("token", token),
                    JwtSource::File(path) => plain.with("file", path.as_path()),
                };
                plain.with("duration", auth.duration)
            }
            Self::Jwt(auth) => Plain::typed("jwt")
                .with("key", auth.key.normal("encoding"))
                .with("claims", auth.claims.normal())
                .with("duration", auth.duration),
            Self::Oidc(auth) => {
                let plain = Plain::typed("oidc").with("issuer_url", &auth.issuer_url);
                auth.grant
                    .normal(plain)
                    .with_some("audience", auth.audience.as_ref())
                    .with_some("scope", auth.scope.as_ref())
                    .with("timeout", auth.timeout)
            }
            Self::Spire(spire) => spire.normal(),
        }
    }
}

fn parse_static(section: &Section<'_>) -> Result<StaticJwtAuth, ConfigError> {
    Ok(StaticJwtAuth {
        token: jwt::source(section, &["file", "token"])?,
        duration: section.duration("duration")?,
    })
}

fn parse_jwt(section: &Section<'_>) -> Result<ClientJwtAuth, ConfigError> {
    let typed = jwt::typed_key(section)?;
    if typed.block().name != "encoding" {
        return Err(typed.error(Problem::Refused {
            reason: "a client signs its tokens; write the private key as {type: encoding, …}",
        }));
    }
    let key = jwt::key(&typed)?;
    if key.format == JwtKeyFormat::Jwks {
        return Err(typed.error(Problem::SigningKeySet));
    }
    let written = section.section("claims")?;
    let Some(written) = written else {
        return Err(section.error(Problem::Missing { key: "claims" }));
    };
    let claims = JwtClaims {
        custom: written.json_values("custom_claims")?,
        ..jwt::claims(&written)?
    };
    written.required("subject")?;
    for (name, values) in [("issuer", &claims.issuers), ("subject", &claims.subjects)] {
        if values.len() > 1 {
            return Err(written
                .required(name)?
                .error(Problem::OneValue { count: values.len() }));
        }
    }
    Ok(ClientJwtAuth {
        key,
        claims,
        duration: section.duration("duration")?,
    })
}

fn parse_oidc(section: &Section<'_>) -> Result<OidcClientAuth, ConfigError> {
    Ok(OidcClientAuth {
        issuer_url: web_url(section.required("issuer_url")?)?,
        grant: grant(section)?,
        audience: section.text_if("audience")?,
        scope: section.text_if("scope")?,
        timeout: section.duration("timeout")?,
    })
}

fn grant(section: &Section<'_>) -> Result<OidcGrant, ConfigError> {
    let sources = ["access_token_file", "refresh_token_file", "refresh_token"];
    let mut written = sources.into_iter().filter(|key| section.field(key).is_some());
    let source = written.next();
    if let (Some(first), Some(second)) = (source, written.next()) {
        return Err(section.required(second)?.error(Problem::Both { first, second }));
    }
    let secret = section.text_if("client_secret")?.map(SecretText::new);
    let token = match source {
        None => {
            return Ok(OidcGrant::ClientCredentials {
                client_id: section.text("client_id")?,
                client_secret: secret
                    .ok_or_else(|| section.error(Problem::Missing { key: "client_secret" }))?,
            });
        }
        Some("access_token_file") => {
            for second in ["client_id", "client_secret"] {
                if let Some(field) = section.field(second) {
                    let first = "access_token_file";
                    return Err(field.error(Problem::Both { first, second }));
                }
            }
            return Ok(OidcGrant::AccessTokenFile(
                section.text("access_token_file")?.into(),
            ));
        }
        Some("refresh_token_file") => RefreshToken::File(section.text("refresh_token_file")?.into()),
        Some(_) => RefreshToken::Text(SecretText::new(section.text("refresh_token")?)),
    };
    Ok(OidcGrant::RefreshToken {
        client_id: section.text("client_id")?,
        client_secret: secret,
        token,
    })
}

impl OidcGrant {
    fn normal(&self, plain: Plain) -> Plain {
        match self {
            Self::ClientCredentials {
                client_id,
                client_secret,
            } => plain
                .with("client_id", client_id)
                .with("client_secret", client_secret),
            Self::RefreshToken {
                client_id,
                client_secret,
                token,
            } => {
                let plain = plain
                    .with("client_id", client_id)
                    .with_some("client_secret", client_secret.as_ref());
                match token {
                    RefreshToken::Text(token) => plain.with("refresh_token", token),
                    RefreshToken::File(path) => plain.with("refresh_token_file", path.as_path()),
                }
            }
            Self::AccessTokenFile(path) => plain.with("access_token_file", path.as_path()),
        }
    }
}
