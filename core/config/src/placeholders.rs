//! `${env:NAME}` and `${file:PATH}`: whole values that come from outside the text.
//!
//! What stands behind one is never part of a message, and is not looked at for further placeholders.

use std::collections::BTreeMap;
use std::fmt;

use crate::error::{ConfigError, Problem};
use crate::place::Place;
use crate::tree::{Node, Value};

/// What a configuration may ask of the outside. The caller reads; this crate does not.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// The environment.
    pub variables: &'a BTreeMap<String, String>,
    /// Reads a file as text, or says in one sentence why that is not possible.
    pub read_file: &'a dyn Fn(&str) -> Result<String, String>,
}

impl fmt::Debug for Sources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values may be secrets.
        f.debug_struct("Sources")
            .field("variables", &self.variables.len())
            .finish_non_exhaustive()
    }
}

/// Puts what placeholders stand for into their places. Without sources a placeholder is an error.
pub(crate) fn fill(node: &mut Node, path: &str, sources: Option<&Sources<'_>>) -> Result<(), ConfigError> {
    match &mut node.value {
        Value::List(nodes) => {
            for (index, entry) in nodes.iter_mut().enumerate() {
                fill(entry, &format!("{path}[{index}]"), sources)?;
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                let separator = if path.is_empty() { "" } else { "." };
                entry.node.origin = entry.origin.clone().or(&entry.node.origin);
                fill(
                    &mut entry.node,
                    &format!("{path}{separator}{}", entry.key),
                    sources,
                )?;
            }
        }
        Value::Text(text) => {
            let error = |problem| ConfigError {
                place: Place {
                    path: path.to_owned(),
                    origin: node.origin.clone(),
                },
                problem,
            };
            if let Some(value) = value(text, sources).map_err(error)? {
                node.filled = Some(std::mem::replace(text, value).into());
            }
        }
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) => {}
    }
    Ok(())
}

/// What a text stands for; `None` if it stands for itself.
fn value(text: &str, sources: Option<&Sources<'_>>) -> Result<Option<String>, Problem> {
    const VARIABLE: &str = "${env:";
    const FILE: &str = "${file:";
    if !text.contains(VARIABLE) && !text.contains(FILE) {
        return Ok(None);
    }
    let name = |start| {
        let inner = text.strip_prefix(start)?.strip_suffix('}')?;
        (!inner.is_empty() && !inner.contains(['{', '}'])).then_some(inner)
    };
    let Some(sources) = sources else {
        return Err(Problem::NoPlaceholders);
    };
    if let Some(name) = name(VARIABLE) {
        let value = sources.variables.get(name).cloned();
        return value.map(Some).ok_or_else(|| Problem::VariableMissing {
            name: name.to_owned(),
        });
    }
    let Some(path) = name(FILE) else {
        return Err(Problem::Placeholder);
    };
    let mut value = (sources.read_file)(path).map_err(|reason| Problem::FileMissing {
        path: path.to_owned(),
        reason,
    })?;
    // Editors and `echo` end a file with a line break, which is not part of a password.
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    Ok(Some(value))
}
