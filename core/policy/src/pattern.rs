//! Patterns of names: `organisation/namespace/application`, with wildcards and placeholders.
//!
//! Each component is a text, `*` for any, or a text with one placeholder; `**` as the last one stands for all that
//! are left. A placeholder is replaced by what was verified of the link, and the result is compared as one whole
//! component: a subject with `/` or `*` in it means these characters, so nobody gets more by choosing a subject.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use slim_proto::limits::NAME_COMPONENT_BYTES_MAX;

use crate::identity::LinkIdentity;

/// A parsed pattern; [`Rules`](crate::Rules) fill it for a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    text: String,
    components: [Component; 3],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Component {
    Any,
    Text(String),
    Filled {
        before: String,
        placeholder: Placeholder,
        after: String,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Placeholder {
    Subject,
    Issuer,
    Claim(String),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Not three components, and no `**` at the end.
    #[error("a name pattern is organisation/namespace/application, or ends in /** earlier; not {0:?}")]
    Shape(String),
    /// `**` before the end.
    #[error("** stands for all components that are left, so it comes last; not {0:?}")]
    Rest(String),
    /// A wildcard beside other text.
    #[error("* stands for a whole component; {0:?} has it beside other text")]
    PartialWildcard(String),
    /// A brace without its partner, or two placeholders in one component.
    #[error("a component has at most one placeholder in braces; not {0:?}")]
    Braces(String),
    /// No such placeholder.
    #[error("unknown placeholder {{{0}}}: there are {{subject}}, {{issuer}} and {{claims.NAME}}")]
    Placeholder(String),
    /// A component that no name can have.
    #[error("a name component has at most {NAME_COMPONENT_BYTES_MAX} bytes; {0:?} has more")]
    TooLong(String),
}

impl NamePattern {
    /// What the pattern means for this link: the text of each component, `None` for any. `None` as a whole if the
    /// link lacks what a placeholder asks for; then the pattern matches nothing.
    pub(crate) fn fill(&self, identity: &LinkIdentity) -> Option<[Option<String>; 3]> {
        let [a, b, c] = &self.components;
        Some([a.fill(identity)?, b.fill(identity)?, c.fill(identity)?])
    }
}

impl Component {
    fn parse(text: &str) -> Result<Self, PatternError> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if text.contains('*') {
            return Err(PatternError::PartialWildcard(text.to_owned()));
        }
        if text.len() > NAME_COMPONENT_BYTES_MAX {
            return Err(PatternError::TooLong(text.to_owned()));
        }
        let Some((before, rest)) = text.split_once('{') else {
            return match text.contains('}') {
                true => Err(PatternError::Braces(text.to_owned())),
                false => Ok(Self::Text(text.to_owned())),
            };
        };
        let braces = || PatternError::Braces(text.to_owned());
        let (placeholder, after) = rest.split_once('}').ok_or_else(braces)?;
        if [before, placeholder, after]
            .iter()
            .any(|part| part.contains(['{', '}']))
        {
            // Two placeholders in one component could be filled in several ways with the same result.
            return Err(braces());
        }
        let placeholder = match placeholder {
            "subject" => Placeholder::Subject,
            "issuer" => Placeholder::Issuer,
            other => match other.strip_prefix("claims.") {
                Some(path) if !path.is_empty() => Placeholder::Claim(path.to_owned()),
                Some(_) | None => return Err(PatternError::Placeholder(other.to_owned())),
            },
        };
        Ok(Self::Filled {
            before: before.to_owned(),
            placeholder,
            after: after.to_owned(),
        })
    }

    fn fill(&self, identity: &LinkIdentity) -> Option<Option<String>> {
        match self {
            Self::Any => Some(None),
            Self::Text(text) => Some(Some(text.clone())),
            Self::Filled {
                before,
                placeholder,
                after,
            } => {
                let value = match placeholder {
                    Placeholder::Subject => identity.subject.as_deref()?,
                    Placeholder::Issuer => identity.issuer.as_deref()?,
                    Placeholder::Claim(path) => identity.claim(path).and_then(Value::as_str)?,
                };
                if value.is_empty() {
                    return None;
                }
                Some(Some(format!("{before}{value}{after}")))
            }
        }
    }
}

impl FromStr for NamePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let shape = || PatternError::Shape(text.to_owned());
        // A claim's name may hold slashes; those of the pattern are outside of braces.
        let mut depth = 0_u32;
        let parts: Vec<&str> = text
            .split(|character| {
                match character {
                    '{' => depth += 1,
                    '}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
                character == '/' && depth == 0
            })
            .map(str::trim)
            .collect();
        let (parts, rest) = match parts.split_last() {
            Some((&"**", before)) => (before, true),
            _ => (&parts[..], false),
        };
        if parts.contains(&"**") {
            return Err(PatternError::Rest(text.to_owned()));
        }
        let complete = if rest { parts.len() < 3 } else { parts.len() == 3 };
        if !complete || parts.iter().any(|part| part.is_empty()) {
            return Err(shape());
        }
        let mut components = [Component::Any, Component::Any, Component::Any];
        for (component, part) in components.iter_mut().zip(parts) {
            *component = Component::parse(part)?;
        }
        Ok(Self {
            text: text.to_owned(),
            components,
        })
    }
}

/// The pattern as it was written.
impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(pattern: &str, identity: &LinkIdentity) -> Option<[Option<String>; 3]> {
        pattern.parse::<NamePattern>().unwrap().fill(identity)
    }

    fn literal(components: [&str; 3]) -> Option<[Option<String>; 3]> {
        Some(components.map(|text| (text != "*").then(|| text.to_owned())))
    }

    fn bob() -> LinkIdentity {
        LinkIdentity {
            subject: Some("bob".into()),
            issuer: Some("https://issuer.example".into()),
            claims: json!({"team": "red", "https://c.example/team": "blue", "a": {"b": "c"}, "n": 1, "no": ""}),
            ..LinkIdentity::default()
        }
    }

    #[test]
    fn two_stars_stand_for_what_is_left() {
        for (pattern, components) in [
            ("a/b/c", ["a", "b", "c"]),
            (" a / b/c ", ["a", "b", "c"]),
            ("a/*/c", ["a", "*", "c"]),
            ("a/b/*", ["a", "b", "*"]),
            ("a/b/**", ["a", "b", "*"]),
            ("a/**", ["a", "*", "*"]),
            ("**", ["*", "*", "*"]),
        ] {
            assert_eq!(filled(pattern, &bob()), literal(components), "{pattern}");
        }
    }

    #[test]
    fn placeholders_are_filled_with_what_was_verified() {
        for (pattern, components) in [
            ("a/b/{subject}", ["a", "b", "bob"]),
            ("a/{claims.team}/app-{subject}-1", ["a", "red", "app-bob-1"]),
            ("a/{claims.https://c.example/team}/x", ["a", "blue", "x"]),
            ("a/{claims.a.b}/x", ["a", "c", "x"]),
            ("{issuer}/**", ["https://issuer.example", "*", "*"]),
        ] {
            assert_eq!(filled(pattern, &bob()), literal(components), "{pattern}");
        }
    }

    #[test]
    fn a_placeholder_without_a_value_matches_nothing() {
        for pattern in [
            "a/b/{claims.absent}",
            "a/b/{claims.n}",
            "a/b/{claims.no}",
            "a/b/{claims.a}",
        ] {
            assert_eq!(filled(pattern, &bob()), None, "{pattern}");
        }
        assert_eq!(filled("a/b/{subject}", &LinkIdentity::default()), None);
        assert_eq!(filled("a/b/{issuer}", &LinkIdentity::default()), None);
    }

    #[test]
    fn a_subject_cannot_widen_a_pattern() {
        for subject in ["*", "**", "x/y", "../..", "{issuer}"] {
            let identity = LinkIdentity {
                subject: Some(subject.into()),
                ..bob()
            };
            assert_eq!(
                filled("a/b/{subject}", &identity),
                literal(["a", "b", subject]).map(|mut parts| {
                    parts[2] = Some(subject.to_owned());
                    parts
                })
            );
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_its_reason() {
        use PatternError as E;
        for (text, error) in [
            ("", E::Shape("".into())),
            ("a/b", E::Shape("a/b".into())),
            ("a//c", E::Shape("a//c".into())),
            ("a/b/c/d", E::Shape("a/b/c/d".into())),
            ("a/b/c/**", E::Shape("a/b/c/**".into())),
            ("a/**/c", E::Rest("a/**/c".into())),
            ("a/b/c*", E::PartialWildcard("c*".into())),
            ("a/b/{subject", E::Shape("a/b/{subject".into())),
            ("a/b/}", E::Braces("}".into())),
            ("a/b/{subject}{issuer}", E::Braces("{subject}{issuer}".into())),
            ("a/b/{name}", E::Placeholder("name".into())),
            ("a/b/{claims.}", E::Placeholder("claims.".into())),
        ] {
            let got = text.parse::<NamePattern>();
            // A brace that stays open swallows the slashes after it; either reason names the text.
            assert!(
                got == Err(error.clone()) || (text.ends_with("{subject") && got.is_err()),
                "{text}: {got:?}"
            );
        }
        let long = "x".repeat(NAME_COMPONENT_BYTES_MAX + 1);
        assert_eq!(
            format!("a/b/{long}").parse::<NamePattern>(),
            Err(PatternError::TooLong(long))
        );
    }
}
