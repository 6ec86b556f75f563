//! Values that ask for nothing: `null`, empty blocks and lists, `none`.
//!
//! They are accepted under keys that this release refuses otherwise. Ignoring such a key would be worse than not
//! having it: who writes `auth:` believes to be protected.

use crate::tree::Value;

/// `none`, `{}` or `{type: none}`.
pub(crate) fn is_none(value: &Value) -> bool {
    let none = |value: &Value| matches!(value, Value::Text(text) if text == "none");
    if let Value::Map(entries) = value {
        return entries
            .iter()
            .all(|entry| entry.key == "type" && none(&entry.node.value));
    }
    none(value)
}

/// `null`, and blocks and lists with nothing else in them.
pub(crate) fn says_nothing(value: &Value) -> bool {
    match value {
        Value::List(list) => list.is_empty(),
        Value::Map(entries) => entries.iter().all(|entry| says_nothing(&entry.node.value)),
        Value::Null => true,
        Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => false,
    }
}

/// A scalar that is written like `neutral`.
pub(crate) fn says_only(value: &Value, neutral: &str) -> bool {
    match value {
        Value::Bool(value) => neutral == value.to_string(),
        Value::Integer(value) => neutral == value.to_string(),
        Value::Text(text) => text.eq_ignore_ascii_case(neutral),
        Value::Null | Value::Float(_) | Value::List(_) | Value::Map(_) => false,
    }
}
