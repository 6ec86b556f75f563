//! A value with the path that leads to it, and what can be read from it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::duration::parse_duration;
use crate::error::{ConfigError, Problem};
use crate::place::{Origin, Place};
use crate::tree::{Node, Value};
use crate::warning::Warning;

/// What the user should be told, collected while a tree is read.
#[derive(Debug, Default)]
pub(crate) struct Notes(RefCell<Vec<Warning>>);

impl Notes {
    /// Everything that was noted, in the order of the reading.
    pub(crate) fn into_warnings(self) -> Vec<Warning> {
        self.0.into_inner()
    }
}

/// A value with the path that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    path: String,
    origin: Origin,
    node: &'a Node,
    notes: &'a Notes,
}

impl<'a> Field<'a> {
    /// The document itself.
    pub(crate) fn root(node: &'a Node, notes: &'a Notes) -> Self {
        Self {
            path: String::new(),
            origin: Origin::Unknown,
            node,
            notes,
        }
    }

    pub(crate) fn value(&self) -> &'a Value {
        &self.node.value
    }

    pub(crate) fn place(&self) -> Place {
        Place {
            path: self.path.clone(),
            origin: self.origin.clone(),
        }
    }

    /// A problem of this value. What came from outside the text is never quoted: it may be a secret.
    pub(crate) fn error(&self, problem: Problem) -> ConfigError {
        let problem = match &self.node.filled {
            Some(placeholder) if problem.quotes_the_value() => Problem::Filled {
                placeholder: placeholder.to_string(),
                expected: problem.expected(),
            },
            _ => problem,
        };
        ConfigError {
            place: self.place(),
            problem,
        }
    }

    pub(crate) fn type_error(&self, expected: &'static str) -> ConfigError {
        self.error(Problem::Type {
            expected,
            got: self.value().kind(),
        })
    }

    /// Notes something about this place.
    pub(crate) fn warn(&self, warning: impl FnOnce(Place) -> Warning) {
        self.notes.0.borrow_mut().push(warning(self.place()));
    }

    pub(crate) fn bool(&self) -> Result<bool, ConfigError> {
        if let Value::Bool(value) = self.value() {
            return Ok(*value);
        }
        let outside = self.outside_text().and_then(|text| text.parse().ok());
        outside.ok_or_else(|| self.type_error("true or false"))
    }

    /// The text that a placeholder stands for, which may be meant as a number or a truth value.
    fn outside_text(&self) -> Option<&'a str> {
        match self.value() {
            Value::Text(text) if self.node.filled.is_some() => Some(text),
            Value::Text(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::List(_)
            | Value::Map(_) => None,
        }
    }

    pub(crate) fn text(&self) -> Result<&'a str, ConfigError> {
        let Value::Text(text) = self.value() else {
            return Err(self.type_error("text"));
        };
        Ok(text)
    }

    /// A text that is not empty.
    pub(crate) fn filled_text(&self) -> Result<String, ConfigError> {
        match self.text()? {
            "" => Err(self.error(Problem::EmptyText)),
            text => Ok(text.to_owned()),
        }
    }

    /// A text that `parse` understands.
    pub(crate) fn parsed<T, E>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
        problem: impl FnOnce(E) -> Problem,
    ) -> Result<T, ConfigError> {
        parse(self.text()?).map_err(|error| self.error(problem(error)))
    }

    pub(crate) fn integer(&self, min: i64, max: i64) -> Result<i64, ConfigError> {
        let value = if let Value::Integer(value) = self.value() {
            *value
        } else {
            let outside = self.outside_text().and_then(|text| text.trim().parse().ok());
            outside.ok_or_else(|| self.type_error("a whole number"))?
        };
        if (min..=max).contains(&value) {
            Ok(value)
        } else {
            Err(self.error(Problem::Range { value, min, max }))
        }
    }

    pub(crate) fn duration(&self) -> Result<Duration, ConfigError> {
        // `10` is a number to YAML; the message about the unit is the helpful one.
        let parsed = if let Value::Integer(number) = self.value() {
            parse_duration(&number.to_string())
        } else if let Value::Text(text) = self.value() {
            parse_duration(text)
        } else {
            return Err(self.type_error("a duration such as 10s"));
        };
        parsed.map_err(|error| self.error(Problem::Duration(error)))
    }

    pub(crate) fn choice<T: Copy>(
        &self,
        names: &'static [&'static str],
        values: &[T],
    ) -> Result<T, ConfigError> {
        let text = self.text()?;
        names
            .iter()
            .zip(values)
            .find(|(name, _)| name.eq_ignore_ascii_case(text))
            .map(|(_, value)| *value)
            .ok_or_else(|| {
                self.error(Problem::Choice {
                    value: text.to_owned(),
                    choices: names,
                })
            })
    }

    pub(crate) fn list(&self) -> Result<Vec<Self>, ConfigError> {
        let Value::List(nodes) = self.value() else {
            return Err(self.type_error("a list"));
        };
        let entry = |(index, node): (usize, &'a Node)| Self {
            path: format!("{}[{index}]", self.path),
            origin: node.origin.clone().or(&self.origin),
            node,
            notes: self.notes,
        };
        Ok(nodes.iter().enumerate().map(entry).collect())
    }

    /// The entries of a list, or this value as the only one.
    pub(crate) fn one_or_more(&self) -> Result<Vec<Self>, ConfigError> {
        if let Value::List(_) = self.value() {
            return self.list();
        }
        Ok(vec![self.clone()])
    }

    /// The keys of a block and their values, in the order of the text.
    pub(crate) fn entries(&self) -> Result<Vec<(&'a str, Self)>, ConfigError> {
        let Value::Map(entries) = self.value() else {
            return Err(self.type_error("a block of keys"));
        };
        let field = |entry: &'a crate::tree::Entry| {
            let path = if self.path.is_empty() {
                entry.key.clone()
            } else {
                format!("{}.{}", self.path, entry.key)
            };
            let field = Self {
                path,
                origin: entry.origin.clone().or(&self.origin),
                node: &entry.node,
                notes: self.notes,
            };
            (entry.key.as_str(), field)
        };
        Ok(entries.iter().map(field).collect())
    }

    /// The value as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        json(self.value())
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Float(value) => (*value).into(),
        Value::Text(text) => text.as_str().into(),
        Value::List(nodes) => nodes.iter().map(|node| json(&node.value)).collect(),
        Value::Map(entries) => {
            let pairs = entries.iter();
            pairs
                .map(|entry| (entry.key.clone(), json(&entry.node.value)))
                .collect()
        }
    }
}

/// What a placeholder was, where its value now stands.
pub(crate) type Placeholder = Rc<str>;
