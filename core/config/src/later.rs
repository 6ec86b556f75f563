//! Keys whose function belongs to a later release: refused, unless they ask for nothing.
//!
//! Ignoring them would be worse than not having them: who writes `auth:` believes to be protected.

use crate::error::{ConfigError, Problem};
use crate::section::{Field, Section};
use crate::tree::Value;

/// Refuses each of `keys` that says more than nothing (`null`, an empty block or list).
pub(crate) fn refuse(section: &Section<'_>, keys: &[&str]) -> Result<(), ConfigError> {
    for key in keys {
        if let Some(field) = section.field(key).filter(|field| !is_empty(field)) {
            return Err(field.error(Problem::NotYet { neutral: None }));
        }
    }
    Ok(())
}

/// Refuses `auth` unless it is absent or says `{type: none}`.
pub(crate) fn refuse_auth(section: &Section<'_>) -> Result<(), ConfigError> {
    let Some(field) = section.field("auth") else {
        return Ok(());
    };
    if is_none(field.value()) {
        return Ok(());
    }
    Err(field.error(Problem::NotYet {
        neutral: Some("{type: none}"),
    }))
}

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

/// Refuses `key: true`; `false` is today's behaviour.
pub(crate) fn refuse_true(section: &Section<'_>, key: &str) -> Result<(), ConfigError> {
    match section.field(key) {
        Some(field) if field.bool()? => Err(field.error(Problem::NotYet {
            neutral: Some("false"),
        })),
        _ => Ok(()),
    }
}

/// Refuses keys that upstream parses and ignores.
pub(crate) fn refuse_without_effect(section: &Section<'_>, keys: &[&str]) -> Result<(), ConfigError> {
    match keys.iter().find_map(|key| section.field(key)) {
        Some(field) => Err(field.error(Problem::NoEffect)),
        None => Ok(()),
    }
}

fn is_empty(field: &Field<'_>) -> bool {
    says_nothing(field.value())
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::List(list) => list.is_empty(),
        Value::Map(entries) => entries.iter().all(|entry| says_nothing(&entry.node.value)),
        Value::Null => true,
        Value::Bool(_) | Value::Integer(_) | Value::Float | Value::Text(_) => false,
    }
}
