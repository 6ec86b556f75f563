//! SPIFFE ids and trust domains as text: `spiffe://example.org/team/agent` (SPIFFE-ID §2).

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

const SCHEME: &str = "spiffe://";
/// SPIFFE-ID §2.3: what every implementation must support, and what none may make longer.
const ID_BYTES_MAX: usize = 2048;
/// SPIFFE-ID §2.1.
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// Who issues identities: the host part of a SPIFFE id, such as `example.org`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

/// An identity that a trust domain issued: a name for one kind of workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    text: Arc<str>,
    trust_domain: TrustDomain,
}

/// Why a text is no SPIFFE id or no trust domain. It carries no text: ids come from strangers, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// Another scheme, or none.
    #[error("a SPIFFE id begins with spiffe://")]
    Scheme,
    /// No trust domain.
    #[error("the trust domain is missing")]
    NoTrustDomain,
    /// A character that a trust domain does not have; capitals are among them.
    #[error("a trust domain has lower-case letters, digits, dots, dashes and underscores only")]
    TrustDomainCharacter,
    /// No path: that is the id of the trust domain itself, which no workload has.
    #[error("the path is missing: spiffe://trust-domain/path")]
    NoPath,
    /// A part of the path that is empty, `.` or `..`.
    #[error("no part of the path may be empty, . or ..")]
    Segment,
    /// A character that a path does not have.
    #[error("a path has letters, digits, dots, dashes, underscores and slashes only")]
    PathCharacter,
    /// Longer than any id may be.
    #[error("{0} bytes are more than a SPIFFE id may have")]
    TooLong(usize),
}

impl TrustDomain {
    /// `example.org`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    /// Takes `example.org` and `spiffe://example.org`: configurations have the one, bundles the other.
    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        let name = text.strip_prefix(SCHEME).unwrap_or(text);
        if name.len() > TRUST_DOMAIN_BYTES_MAX {
            return Err(SpiffeIdError::TooLong(name.len()));
        }
        if name.is_empty() {
            return Err(SpiffeIdError::NoTrustDomain);
        }
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if !name.bytes().all(fits) {
            return Err(SpiffeIdError::TrustDomainCharacter);
        }
        Ok(Self(name.into()))
    }
}

impl Borrow<str> for TrustDomain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SpiffeId {
    /// The whole id.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Who issued it.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > ID_BYTES_MAX {
            return Err(SpiffeIdError::TooLong(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (trust_domain, path) = match rest.split_once('/') {
            Some((trust_domain, path)) => (trust_domain.parse()?, path),
            None => {
                rest.parse::<TrustDomain>()?;
                return Err(SpiffeIdError::NoPath);
            }
        };
        for segment in path.split('/') {
            if matches!(segment, "" | "." | "..") {
                return Err(SpiffeIdError::Segment);
            }
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            if !segment.bytes().all(fits) {
                return Err(SpiffeIdError::PathCharacter);
            }
        }
        Ok(Self {
            text: text.into(),
            trust_domain,
        })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_a_trust_domain_and_a_path() {
        let id: SpiffeId = "spiffe://example.org/Team-1/agent_2.x".parse().unwrap();
        assert_eq!(id.trust_domain().as_str(), "example.org");
        assert_eq!(id.to_string(), "spiffe://example.org/Team-1/agent_2.x");
        let domain: TrustDomain = "spiffe://example.org".parse().unwrap();
        assert_eq!(&domain, id.trust_domain());
    }

    #[test]
    fn texts_that_are_no_ids_are_refused_by_what_is_wrong() {
        let long = format!("spiffe://example.org/{}", "a".repeat(ID_BYTES_MAX));
        for (text, error) in [
            ("https://example.org/a", SpiffeIdError::Scheme),
            ("SPIFFE://example.org/a", SpiffeIdError::Scheme),
            ("spiffe:///a", SpiffeIdError::NoTrustDomain),
            ("spiffe://example.org", SpiffeIdError::NoPath),
            ("spiffe://example.org/", SpiffeIdError::Segment),
            ("spiffe://example.org/a//b", SpiffeIdError::Segment),
            ("spiffe://example.org/a/", SpiffeIdError::Segment),
            ("spiffe://example.org/../b", SpiffeIdError::Segment),
            ("spiffe://example.org/a%2Fb", SpiffeIdError::PathCharacter),
            ("spiffe://example.org/a?b", SpiffeIdError::PathCharacter),
            ("spiffe://Example.org/a", SpiffeIdError::TrustDomainCharacter),
            ("spiffe://user@example.org/a", SpiffeIdError::TrustDomainCharacter),
            ("spiffe://example.org:80/a", SpiffeIdError::TrustDomainCharacter),
            (&long, SpiffeIdError::TooLong(long.len())),
        ] {
            assert_eq!(text.parse::<SpiffeId>(), Err(error), "{text}");
        }
    }
}
