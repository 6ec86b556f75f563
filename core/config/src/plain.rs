//! The normalised form: what a configuration means, in today's spelling, as YAML; secrets are not in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::duration::{format_duration, parse_duration};
use crate::secret::{REDACTED, SecretText};

/// A value on its way into YAML.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Plain {
    Bool(bool),
    Integer(u64),
    Text(String),
    Json(serde_json::Value),
    List(Vec<Self>),
    Map(Vec<(String, Self)>),
}

impl Plain {
    /// A block without keys.
    pub(crate) fn map() -> Self {
        Self::Map(Vec::new())
    }

    /// A block that says of which type it is.
    pub(crate) fn typed(name: &str) -> Self {
        Self::map().with("type", name)
    }

    /// `{type: none}`.
    pub(crate) fn none() -> Self {
        Self::typed("none")
    }

    /// The block with one more key.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Self>) -> Self {
        if let Self::Map(entries) = &mut self {
            entries.push((key.to_owned(), value.into()));
        }
        self
    }

    /// The block with one more key, if there is a value for it.
    pub(crate) fn with_some(self, key: &str, value: Option<impl Into<Self>>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// The block with one more list, if there is something in it.
    pub(crate) fn with_any(self, key: &str, values: &[String]) -> Self {
        if values.is_empty() {
            return self;
        }
        self.with(key, values)
    }

    /// YAML text that ends with a line break.
    pub(crate) fn to_yaml(&self) -> String {
        let mut text = String::new();
        self.write(&mut text, 0);
        text
    }

    fn write(&self, text: &mut String, depth: usize) {
        match self {
            Self::Map(entries) if !entries.is_empty() => {
                for (index, (key, value)) in entries.iter().enumerate() {
                    // The first key of a list entry stands behind the dash.
                    if index > 0 || !text.ends_with("- ") {
                        indent(text, depth);
                    }
                    text.push_str(&scalar(key));
                    text.push(':');
                    value.write_after_key(text, depth + 1);
                }
            }
            Self::List(values) if !values.is_empty() => {
                for value in values {
                    indent(text, depth);
                    text.push_str("- ");
                    value.write(text, depth + 1);
                }
            }
            Self::Bool(_)
            | Self::Integer(_)
            | Self::Text(_)
            | Self::Json(_)
            | Self::List(_)
            | Self::Map(_) => {
                text.push_str(&self.in_line());
                text.push('\n');
            }
        }
    }

    fn write_after_key(&self, text: &mut String, depth: usize) {
        let is_block = match self {
            Self::Map(entries) => !entries.is_empty(),
            Self::List(values) => !values.is_empty() && !self.is_short(),
            Self::Bool(_) | Self::Integer(_) | Self::Text(_) | Self::Json(_) => false,
        };
        if is_block {
            text.push('\n');
            self.write(text, depth);
        } else {
            let _ = writeln!(text, " {}", self.in_line());
        }
    }

    /// A list of scalars, which fits into the line of its key.
    fn is_short(&self) -> bool {
        let Self::List(values) = self else {
            return false;
        };
        values
            .iter()
            .all(|value| matches!(value, Self::Text(_) | Self::Integer(_)))
    }

    fn in_line(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Text(value) => scalar(value),
            // JSON is YAML.
            Self::Json(value) => value.to_string(),
            Self::List(values) => {
                let values: Vec<String> = values.iter().map(Self::in_line).collect();
                format!("[{}]", values.join(", "))
            }
            Self::Map(entries) => {
                let pair = |(key, value): &(String, Self)| format!("{}: {}", scalar(key), value.in_line());
                let pairs: Vec<String> = entries.iter().map(pair).collect();
                format!("{{{}}}", pairs.join(", "))
            }
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    for _ in 0..depth {
        text.push_str("  ");
    }
}

/// A text as YAML: bare if nobody can take it for something else, else in double quotes.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/');
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(plain)
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .iter()
            .any(|word| word.eq_ignore_ascii_case(text));
    // `1h30m` starts with a digit and is no number to any YAML parser.
    let is_duration = parse_duration(text).is_ok_and(|duration| format_duration(duration) == text);
    if bare || is_duration {
        text.to_owned()
    } else {
        // A JSON text is a YAML text.
        serde_json::Value::from(text).to_string()
    }
}

impl From<bool> for Plain {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u32> for Plain {
    fn from(value: u32) -> Self {
        Self::Integer(value.into())
    }
}

impl From<u64> for Plain {
    fn from(value: u64) -> Self {
        Self::Integer(value)
    }
}

impl From<&str> for Plain {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Plain {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&String> for Plain {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<&Path> for Plain {
    fn from(value: &Path) -> Self {
        Self::Text(value.display().to_string())
    }
}

impl From<Duration> for Plain {
    fn from(value: Duration) -> Self {
        Self::Text(format_duration(value))
    }
}

impl From<&SecretText> for Plain {
    fn from(_: &SecretText) -> Self {
        Self::Text(REDACTED.to_owned())
    }
}

impl From<&[String]> for Plain {
    fn from(values: &[String]) -> Self {
        Self::List(values.iter().map(Self::from).collect())
    }
}

impl From<&Vec<String>> for Plain {
    fn from(values: &Vec<String>) -> Self {
        values.as_slice().into()
    }
}

impl From<Vec<Self>> for Plain {
    fn from(values: Vec<Self>) -> Self {
        Self::List(values)
    }
}

impl From<&BTreeMap<String, SecretText>> for Plain {
    fn from(values: &BTreeMap<String, SecretText>) -> Self {
        Self::Map(
            values
                .iter()
                .map(|(key, value)| (key.clone(), value.into()))
                .collect(),
        )
    }
}

impl From<&BTreeMap<String, serde_json::Value>> for Plain {
    fn from(values: &BTreeMap<String, serde_json::Value>) -> Self {
        let pair = |(key, value): (&String, &serde_json::Value)| (key.clone(), Self::Json(value.clone()));
        Self::Map(values.iter().map(pair).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn read(plain: &Plain) -> serde_json::Value {
        let yaml = plain.to_yaml();
        serde_saphyr::from_str(&yaml).unwrap_or_else(|error| panic!("{error}\n{yaml}"))
    }

    proptest! {
        #[test]
        fn any_key_and_text_is_read_back_as_that_text(key in "\\PC{1,20}", text in "(\\PC|\n|\t){0,40}") {
            let plain = Plain::map().with(&key, text.as_str());
            prop_assert_eq!(read(&plain), json!({ key.as_str(): text }));
        }
    }

    #[test]
    fn blocks_and_lists_are_indented_and_words_that_yaml_takes_for_something_else_are_quoted() {
        let entry = Plain::typed("file")
            .with("on", "true")
            .with("list", Plain::List(Vec::new()));
        let plain = Plain::map()
            .with("entries", vec![entry, Plain::map()])
            .with("texts", &vec!["a-b".to_owned(), "1".to_owned()])
            .with("duration", Duration::from_secs(90));
        assert_eq!(
            plain.to_yaml(),
            "entries:\n  - type: file\n    \"on\": \"true\"\n    list: []\n  - {}\ntexts: [a-b, \"1\"]\nduration: 1m30s\n"
        );
        assert_eq!(
            read(&plain),
            json!({
                "entries": [{ "type": "file", "on": "true", "list": [] }, {}],
                "texts": ["a-b", "1"],
                "duration": "1m30s",
            })
        );
    }
}
