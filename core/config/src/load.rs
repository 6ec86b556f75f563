//! From text to typed values: the order of the steps.

use std::collections::BTreeMap;

use crate::Loaded;
use crate::error::ConfigError;
use crate::field::{Field, Notes};
use crate::overrides;
use crate::placeholders::{self, Sources};
use crate::tree::{self, Node, Value};

/// YAML of a file, with what the environment puts over it and what placeholders stand for.
pub(crate) fn from_yaml<T>(
    text: &str,
    sources: Option<&Sources<'_>>,
    parse: impl FnOnce(&Field<'_>) -> Result<T, ConfigError>,
) -> Result<Loaded<T>, ConfigError> {
    let mut tree = tree::from_yaml(text)?;
    let none = BTreeMap::new();
    overrides::apply(&mut tree, sources.map_or(&none, |sources| sources.variables))?;
    loaded(tree, sources, parse)
}

/// JSON from a program.
pub(crate) fn from_json<T>(
    text: &str,
    parse: impl FnOnce(&Field<'_>) -> Result<T, ConfigError>,
) -> Result<Loaded<T>, ConfigError> {
    loaded(tree::from_json(text)?, None, parse)
}

fn loaded<T>(
    mut tree: Node,
    sources: Option<&Sources<'_>>,
    parse: impl FnOnce(&Field<'_>) -> Result<T, ConfigError>,
) -> Result<Loaded<T>, ConfigError> {
    placeholders::fill(&mut tree, "", sources)?;
    let notes = Notes::default();
    let config = parse(&Field::root(&tree, &notes))?;
    Ok(Loaded {
        config,
        warnings: notes.into_warnings(),
    })
}

/// True for an empty file.
pub(crate) fn is_empty(field: &Field<'_>) -> bool {
    *field.value() == Value::Null
}
