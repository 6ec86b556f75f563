//! Environment variables over the file: `SLIM_NODE__TRACING__LOG_LEVEL=debug`.
//!
//! After the prefix the name is a path, its steps joined by two underscores. A step is a key in capital letters, where
//! whatever is no letter or digit is an underscore (`SLIM_0` for `slim/0`), or the number of a list entry, from 0; the
//! number after the last entry adds one. Small letters mean the same. The value is read as YAML.

use std::collections::BTreeMap;

use crate::error::{ConfigError, Problem};
use crate::place::{Origin, Place};
use crate::tree::{self, Entry, Node, Value};

/// What the names of such variables start with.
pub const OVERRIDE_PREFIX: &str = "SLIM_NODE__";

/// Applies every variable with the prefix, in the order of their names.
pub(crate) fn apply(tree: &mut Node, variables: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    for (name, text) in variables {
        let Some(path) = name.strip_prefix(OVERRIDE_PREFIX) else {
            continue;
        };
        let origin = Origin::Variable(name.clone());
        let error = |problem| ConfigError {
            place: Place {
                path: String::new(),
                origin: origin.clone(),
            },
            problem,
        };
        let value = tree::from_yaml(text).map_err(|_| error(Problem::OverrideValue))?;
        let mut value = value.value;
        mark(&mut value, &origin);
        let node = step_to(tree, path, &origin).map_err(error)?;
        *node = Node {
            origin: origin.clone(),
            filled: None,
            value,
        };
    }
    Ok(())
}

/// The node that a path leads to, made if it is not there.
fn step_to<'t>(tree: &'t mut Node, path: &str, origin: &Origin) -> Result<&'t mut Node, Problem> {
    let mut node = tree;
    let mut parts = path.split("__").peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let wrong = |reason| Problem::Override {
            part: part.to_owned(),
            reason,
        };
        if part.is_empty() {
            return Err(wrong("a step is missing between underscores"));
        }
        if node.value == Value::Null {
            node.value = if part == "0" {
                Value::List(Vec::new())
            } else {
                Value::Map(Vec::new())
            };
        }
        node = match &mut node.value {
            Value::List(nodes) => {
                let index: usize = part
                    .parse()
                    .map_err(|_| wrong("a list entry is named by its number"))?;
                if index > nodes.len() {
                    return Err(wrong("the list is shorter"));
                }
                if index == nodes.len() {
                    nodes.push(empty(origin));
                }
                &mut nodes[index]
            }
            Value::Map(entries) => {
                // In any case: else a small letter would make a second key of the same name.
                let wanted = variable_case(part);
                let found = entries
                    .iter()
                    .position(|entry| variable_case(&entry.key) == wanted);
                let index = found.unwrap_or_else(|| {
                    entries.push(Entry {
                        key: part.to_ascii_lowercase(),
                        origin: origin.clone(),
                        node: empty(origin),
                    });
                    entries.len() - 1
                });
                // What stands there now stands there because of the variable.
                let entry = &mut entries[index];
                if is_last || entry.node.value == Value::Null {
                    entry.origin = origin.clone();
                }
                &mut entry.node
            }
            Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {
                return Err(wrong("there is a plain value before it"));
            }
        };
    }
    Ok(node)
}

fn empty(origin: &Origin) -> Node {
    Node {
        origin: origin.clone(),
        filled: None,
        value: Value::Null,
    }
}

/// A key as a step of a variable's name.
fn variable_case(key: &str) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    key.chars().map(letter).collect()
}

/// Lines of the little document that a variable's value is say nothing to anybody.
fn mark(value: &mut Value, origin: &Origin) {
    match value {
        Value::List(nodes) => {
            for node in nodes {
                node.origin = origin.clone();
                mark(&mut node.value, origin);
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                entry.origin = origin.clone();
                entry.node.origin = origin.clone();
                mark(&mut entry.node.value, origin);
            }
        }
        Value::Null | Value::Bool(_) | Value::Integer(_) | Value::Float(_) | Value::Text(_) => {}
    }
}
