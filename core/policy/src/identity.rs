//! Who is at the other end of a link, as far as its listener verified it.

use serde_json::{Map, Value};

/// How an identity was proven.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthMethod {
    /// A user name and a password.
    Basic,
    /// A signed token under configured or resolved keys.
    Jwt,
    /// A token of an OpenID Connect provider.
    Oidc,
    /// A client certificate.
    Certificate,
    /// A JWT-SVID or X.509-SVID of the SPIFFE Workload API.
    Spire,
    /// Not at all.
    #[default]
    None,
}

impl AuthMethod {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Basic,
        Self::Jwt,
        Self::Oidc,
        Self::Certificate,
        Self::Spire,
        Self::None,
    ];
    /// Their words, in the same order.
    pub const NAMES: [&str; 6] = ["basic", "jwt", "oidc", "certificate", "spire", "none"];

    /// Its word in configurations and policies.
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

/// Who somebody is: a subject, with everything that makes it unique.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Principal {
    subject: Box<str>,
    issuer: Option<Box<str>>,
    method: AuthMethod,
}

/// The verified identity of a link. Never the identity inside messages: a node does not check that one.
///
/// The default is a link that proved nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkIdentity {
    /// The user name, `sub`, SPIFFE id or distinguished name.
    pub subject: Option<String>,
    /// Who vouches for it: `iss`, or the issuer of the certificate.
    pub issuer: Option<String>,
    /// How it was proven.
    pub method: AuthMethod,
    /// The verified claims of its token, a JSON object; [`Value::Null`] where there is no token.
    pub claims: Value,
}

impl Principal {
    /// The subject alone, for people.
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

/// The claim that holds the names of the client's certificate, where a link has both.
const CERTIFICATE_CLAIM: &str = "client_certificate";

impl LinkIdentity {
    /// This identity, proven by what was shown for the call, on a link with this certificate or none. Rules see the
    /// certificate's names as the claim `client_certificate`; a token that says so itself is not believed.
    #[must_use]
    pub fn beside_certificate(mut self, certificate: Option<Value>) -> Self {
        let mut claims = match self.claims {
            Value::Object(claims) => claims,
            // A password has no claims, and verified claims are an object.
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                Map::new()
            }
        };
        claims.remove(CERTIFICATE_CLAIM);
        claims.extend(certificate.map(|names| (CERTIFICATE_CLAIM.to_owned(), names)));
        self.claims = if claims.is_empty() {
            Value::Null
        } else {
            Value::Object(claims)
        };
        self
    }

    /// Who it is; `None` if it proved no subject.
    pub fn principal(&self) -> Option<Principal> {
        Some(Principal {
            subject: self.subject.as_deref()?.into(),
            issuer: self.issuer.as_deref().map(Into::into),
            method: self.method,
        })
    }

    /// The value of a claim, by the path of its name: `email`, or `realm.role` for a claim inside an object.
    pub(crate) fn claim(&self, path: &str) -> Option<&Value> {
        // A claim whose own name has dots (they are common: URLs) is meant before one inside another.
        match self.claims.get(path) {
            Some(value) => Some(value),
            None => path
                .split('.')
                .try_fold(&self.claims, |value, key| value.get(key)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(claims: Value) -> LinkIdentity {
        LinkIdentity {
            claims,
            ..LinkIdentity::default()
        }
    }

    #[test]
    fn no_token_claims_a_certificate_that_was_not_shown() {
        let forged = json!({"sub": "bob", "client_certificate": {"names": ["CN=alice"]}});
        let alone = with(forged.clone()).beside_certificate(None);
        assert_eq!(alone.claims, json!({"sub": "bob"}));
        let shown = json!({"names": ["CN=bob"]});
        let both = with(forged).beside_certificate(Some(shown.clone()));
        assert_eq!(both.claims, json!({"sub": "bob", "client_certificate": shown}));
    }

    #[test]
    fn a_password_has_no_claims_but_those_of_its_certificate() {
        assert_eq!(with(Value::Null).beside_certificate(None).claims, Value::Null);
        let shown = json!({"names": ["CN=bob"]});
        let claims = with(Value::Null).beside_certificate(Some(shown.clone())).claims;
        assert_eq!(claims, json!({"client_certificate": shown}));
    }
}
