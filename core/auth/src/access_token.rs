//! Access tokens of OpenID Connect providers: reading what a provider answers, and how long a token is used
//! (RFC 6749 §5, OpenID Connect Discovery §4).
//!
//! Asking is the shell's; the token itself is the listener's to judge, and means nothing here.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use slim_proto::Instant;
use slim_proto::limits::TOKEN_BYTES_MAX;
use zeroize::Zeroizing;

/// Assumed when a provider does not say how long its token lives; RFC 6749 §5.1 leaves it to its documentation.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(60);

/// A token, and the moment after which a new one is asked for.
#[derive(Clone)]
pub struct AccessToken {
    token: Zeroizing<String>,
    refresh_at: Instant,
    expires_at: Instant,
}

/// What a provider's token endpoint answered.
#[derive(Clone)]
pub struct TokenGrant {
    /// The token.
    pub access: AccessToken,
    /// The refresh token of next time, if the provider gives out a new one with each use.
    pub rotated: Option<Zeroizing<String>>,
}

/// Why a provider's answer is of no use. None carries text of the answer but the error's code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Not the JSON that RFC 6749 §5.1 asks for.
    #[error("the answer has no {0}; is this the address of an OpenID Connect provider?")]
    Missing(&'static str),
    /// A token of another kind than `Bearer`.
    #[error("the provider gives out tokens of another type than Bearer")]
    TokenType,
    /// The token cannot be sent in a header.
    #[error("the access token is empty, longer than {TOKEN_BYTES_MAX} bytes, or not plain text")]
    Token,
    /// The discovery document is that of somebody else.
    #[error("the discovery document is of another issuer than the configured one")]
    OtherIssuer,
}

impl AccessToken {
    /// A token that was received at `now` and lives for so long.
    pub fn new(text: &str, lifetime: Duration, now: Instant) -> Result<Self, GrantError> {
        let text = text.trim();
        let fits = (1..=TOKEN_BYTES_MAX).contains(&text.len());
        if !fits || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(GrantError::Token);
        }
        Ok(Self {
            token: Zeroizing::new(text.to_owned()),
            refresh_at: now + lifetime * 2 / 3,
            expires_at: now + lifetime,
        })
    }

    /// The token, however old: for the one who just received it.
    pub fn text(&self) -> Zeroizing<String> {
        self.token.clone()
    }

    /// The token, as long as it need not be replaced: for two thirds of its life.
    pub fn fresh(&self, now: Instant) -> Option<&str> {
        (now < self.refresh_at).then_some(&*self.token)
    }

    /// The token, as long as it lives: good enough while the provider cannot be reached.
    pub fn alive(&self, now: Instant) -> Option<&str> {
        (now < self.expires_at).then_some(&*self.token)
    }
}

/// Reads the answer of a token endpoint (RFC 6749 §5.1).
pub fn read_grant(body: &[u8], now: Instant) -> Result<TokenGrant, GrantError> {
    const SHAPE: GrantError = GrantError::Missing("access_token");
    let answer: Value = serde_json::from_slice(body).map_err(|_| SHAPE)?;
    let token = answer.get("access_token").and_then(Value::as_str).ok_or(SHAPE)?;
    let kind = answer.get("token_type").and_then(Value::as_str);
    if !kind.is_none_or(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(GrantError::TokenType);
    }
    // Some providers write the number as text.
    let seconds = answer.get("expires_in");
    let seconds = seconds.and_then(|seconds| seconds.as_u64().or_else(|| seconds.as_str()?.parse().ok()));
    // A day: whoever says more still gets asked once a day.
    let lifetime = seconds.map_or(LIFETIME_DEFAULT, |seconds| {
        Duration::from_secs(seconds.min(86_400))
    });
    let rotated = answer.get("refresh_token").and_then(Value::as_str);
    Ok(TokenGrant {
        access: AccessToken::new(token, lifetime, now)?,
        rotated: rotated.map(|token| Zeroizing::new(token.to_owned())),
    })
}

/// The code that a provider's refusal carries (RFC 6749 §5.2), such as `invalid_client`.
pub fn read_refusal(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let code = answer.get("error")?.as_str()?;
    let is_code = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    (code.len() <= 64 && code.bytes().all(is_code)).then(|| code.to_owned())
}

/// Where and how a provider gives out tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEndpoint {
    /// Its address.
    pub url: String,
    /// The provider takes client secrets in the form and not as `Basic`, which is the rule (OpenID Connect
    /// Discovery §3, `token_endpoint_auth_methods_supported`).
    pub secret_in_form: bool,
}

/// What a provider's discovery document says about its tokens. The document must name the issuer that was
/// configured (OpenID Connect Discovery §4.3), but for a slash at the end.
pub fn read_token_endpoint(body: &[u8], issuer: &str) -> Result<TokenEndpoint, GrantError> {
    let document: Value = serde_json::from_slice(body).map_err(|_| GrantError::Missing("issuer"))?;
    let text = |name: &'static str| {
        let text = document.get(name).and_then(Value::as_str);
        text.ok_or(GrantError::Missing(name))
    };
    if text("issuer")?.trim_end_matches('/') != issuer.trim_end_matches('/') {
        return Err(GrantError::OtherIssuer);
    }
    let methods = document.get("token_endpoint_auth_methods_supported");
    let supports = |method: &str| {
        let methods = methods.and_then(Value::as_array);
        methods.is_some_and(|methods| methods.iter().any(|supported| supported == method))
    };
    Ok(TokenEndpoint {
        url: text("token_endpoint")?.to_owned(),
        secret_in_form: supports("client_secret_post") && !supports("client_secret_basic"),
    })
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken([redacted])")
    }
}

impl fmt::Debug for TokenGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenGrant([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_is_fresh_for_two_thirds_of_its_life_and_then_only_alive() {
        let grant = read_grant(
            br#"{"access_token":"t","token_type":"bearer","expires_in":300}"#,
            at(10),
        );
        let grant = grant.unwrap();
        assert_eq!(grant.access.fresh(at(209)), Some("t"));
        assert_eq!(grant.access.fresh(at(210)), None);
        assert_eq!(grant.access.alive(at(309)), Some("t"));
        assert_eq!(grant.access.alive(at(310)), None);
        assert!(grant.rotated.is_none());
        assert!(!format!("{grant:?} {:?}", grant.access).contains("\"t\""));
    }

    #[test]
    fn lifetimes_may_be_missing_written_as_text_or_absurd() {
        let alive_at = |body: &str, seconds| {
            read_grant(body.as_bytes(), at(0))
                .unwrap()
                .access
                .alive(at(seconds))
                .is_some()
        };
        assert!(alive_at(r#"{"access_token":"t"}"#, 59) && !alive_at(r#"{"access_token":"t"}"#, 60));
        assert!(alive_at(r#"{"access_token":"t","expires_in":"300"}"#, 299));
        let absurd = r#"{"access_token":"t","expires_in":18446744073709551615}"#;
        assert!(!alive_at(absurd, 86_400));
        assert!(!alive_at(r#"{"access_token":"t","expires_in":0}"#, 0));
    }

    #[test]
    fn a_new_refresh_token_comes_with_the_grant() {
        let grant = read_grant(br#"{"access_token":"t","refresh_token":"next"}"#, at(0)).unwrap();
        assert_eq!(grant.rotated.as_deref().map(String::as_str), Some("next"));
    }

    #[test]
    fn answers_that_are_none_are_refused_by_what_they_lack() {
        let refused = |body: &[u8]| read_grant(body, at(0)).unwrap_err();
        let missing = GrantError::Missing("access_token");
        assert_eq!(refused(b"<html>"), missing);
        assert_eq!(refused(b"{}"), missing);
        assert_eq!(refused(br#"{"access_token":7}"#), missing);
        let mac = br#"{"access_token":"t","token_type":"mac"}"#;
        assert_eq!(refused(mac), GrantError::TokenType);
        for token in ["", "a b", "a\\nb", &"x".repeat(TOKEN_BYTES_MAX + 1)] {
            let body = format!(r#"{{"access_token":"{token}"}}"#);
            assert_eq!(refused(body.as_bytes()), GrantError::Token, "{token:.10}");
        }
    }

    #[test]
    fn only_the_code_of_a_refusal_is_repeated() {
        let code = read_refusal(br#"{"error":"invalid_client","error_description":"secret 123 is wrong"}"#);
        assert_eq!(code.as_deref(), Some("invalid_client"));
        assert_eq!(read_refusal(br#"{"error":"Bearer eyJhbGciOi"}"#), None);
        assert_eq!(read_refusal(b"nothing"), None);
    }

    #[test]
    fn a_discovery_document_must_be_of_the_configured_issuer() {
        let document =
            br#"{"issuer":"https://login.example/","token_endpoint":"https://login.example/token"}"#;
        let endpoint = Ok(TokenEndpoint {
            url: "https://login.example/token".to_owned(),
            secret_in_form: false,
        });
        assert_eq!(read_token_endpoint(document, "https://login.example"), endpoint);
        assert_eq!(
            read_token_endpoint(document, "https://other.example"),
            Err(GrantError::OtherIssuer)
        );
        assert_eq!(
            read_token_endpoint(b"{}", "x"),
            Err(GrantError::Missing("issuer"))
        );
        assert_eq!(
            read_token_endpoint(br#"{"issuer":"x"}"#, "x"),
            Err(GrantError::Missing("token_endpoint"))
        );
    }

    #[test]
    fn secrets_go_into_the_form_only_where_the_provider_takes_them_there_alone() {
        let in_form = |methods: &str| {
            let body = format!(
                r#"{{"issuer":"x","token_endpoint":"y","token_endpoint_auth_methods_supported":{methods}}}"#
            );
            read_token_endpoint(body.as_bytes(), "x").unwrap().secret_in_form
        };
        assert!(in_form(r#"["client_secret_post"]"#));
        assert!(!in_form(r#"["client_secret_post","client_secret_basic"]"#));
        assert!(!in_form("[]"));
        assert!(!in_form("7"));
    }
}
