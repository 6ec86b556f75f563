//! Blocks of keys: strict access to a tree, with the path of everything that is read.

use std::time::Duration;

use crate::duration::parse_duration;
use crate::error::{ConfigError, Place, Problem};
use crate::nearest::nearest;
use crate::tree::{Node, Value};

/// A value with the path that leads to it.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    path: String,
    line: Option<u64>,
    value: &'a Value,
}

/// A block of keys, of which every key is known.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    place: Place,
    fields: Vec<(&'a str, Field<'a>)>,
}

impl<'a> Section<'a> {
    /// Opens a block; a key outside `keys` is an error.
    pub(crate) fn open(field: &Field<'a>, keys: &[&'static str]) -> Result<Self, ConfigError> {
        let section = Self::open_any(field)?;
        for (key, field) in &section.fields {
            if !keys.contains(key) {
                return Err(field.error(Problem::UnknownKey {
                    nearest: nearest(key, keys),
                }));
            }
        }
        Ok(section)
    }

    /// Opens a block whose keys the user chooses.
    pub(crate) fn open_any(field: &Field<'a>) -> Result<Self, ConfigError> {
        let Value::Map(entries) = field.value else {
            return Err(field.type_error("a block of keys"));
        };
        let fields = entries
            .iter()
            .map(|entry| {
                let path = if field.path.is_empty() {
                    entry.key.clone()
                } else {
                    format!("{}.{}", field.path, entry.key)
                };
                let value = Field {
                    path,
                    line: entry.line,
                    value: &entry.node.value,
                };
                (entry.key.as_str(), value)
            })
            .collect();
        Ok(Self {
            place: field.place(),
            fields,
        })
    }

    /// The field, unless it is absent or says nothing (`key:` or `key: null`).
    pub(crate) fn field(&self, key: &str) -> Option<&Field<'a>> {
        self.written(key).filter(|field| *field.value != Value::Null)
    }

    /// The field, even when it says nothing.
    pub(crate) fn written(&self, key: &str) -> Option<&Field<'a>> {
        self.fields
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, field)| field)
    }

    /// The field, which must be there.
    pub(crate) fn required(&self, key: &'static str) -> Result<&Field<'a>, ConfigError> {
        self.field(key)
            .ok_or_else(|| self.error(Problem::Missing { key }))
    }

    /// All keys, in the order of the text.
    pub(crate) fn fields(&self) -> &[(&'a str, Field<'a>)] {
        &self.fields
    }

    /// A problem of the block as a whole.
    pub(crate) fn error(&self, problem: Problem) -> ConfigError {
        ConfigError {
            place: self.place.clone(),
            problem,
        }
    }

    /// `true` or `false`, or the default.
    pub(crate) fn bool_or(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        self.field(key).map_or(Ok(default), Field::bool)
    }

    /// A duration, or the default.
    pub(crate) fn duration_or(&self, key: &str, default: Duration) -> Result<Duration, ConfigError> {
        self.field(key).map_or(Ok(default), Field::duration)
    }

    /// A duration longer than zero, or the default.
    pub(crate) fn positive_duration_or(&self, key: &str, default: Duration) -> Result<Duration, ConfigError> {
        let Some(field) = self.field(key) else {
            return Ok(default);
        };
        match field.duration()? {
            Duration::ZERO => Err(field.error(Problem::ZeroDuration)),
            duration => Ok(duration),
        }
    }

    /// A whole number of a range, if it is there.
    pub(crate) fn integer(&self, key: &str, min: i64, max: i64) -> Result<Option<i64>, ConfigError> {
        self.field(key).map(|field| field.integer(min, max)).transpose()
    }
}

impl<'a> Field<'a> {
    /// The document itself.
    pub(crate) fn root(node: &'a Node) -> Self {
        Self {
            path: String::new(),
            line: None,
            value: &node.value,
        }
    }

    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    pub(crate) fn place(&self) -> Place {
        Place {
            path: self.path.clone(),
            line: self.line,
        }
    }

    pub(crate) fn error(&self, problem: Problem) -> ConfigError {
        ConfigError {
            place: self.place(),
            problem,
        }
    }

    pub(crate) fn type_error(&self, expected: &'static str) -> ConfigError {
        self.error(Problem::Type {
            expected,
            got: self.value.kind(),
        })
    }

    pub(crate) fn bool(&self) -> Result<bool, ConfigError> {
        let Value::Bool(value) = self.value else {
            return Err(self.type_error("true or false"));
        };
        Ok(*value)
    }

    pub(crate) fn text(&self) -> Result<&'a str, ConfigError> {
        let Value::Text(text) = self.value else {
            return Err(self.type_error("text"));
        };
        Ok(text)
    }

    pub(crate) fn integer(&self, min: i64, max: i64) -> Result<i64, ConfigError> {
        let Value::Integer(value) = *self.value else {
            return Err(self.type_error("a whole number"));
        };
        if (min..=max).contains(&value) {
            Ok(value)
        } else {
            Err(self.error(Problem::Range { value, min, max }))
        }
    }

    pub(crate) fn duration(&self) -> Result<Duration, ConfigError> {
        // `10` is a number to YAML; the message about the unit is the helpful one.
        let parsed = if let Value::Integer(number) = self.value {
            parse_duration(&number.to_string())
        } else if let Value::Text(text) = self.value {
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
        let Value::List(nodes) = self.value else {
            return Err(self.type_error("a list"));
        };
        Ok(nodes
            .iter()
            .enumerate()
            .map(|(index, node)| Self {
                path: format!("{}[{index}]", self.path),
                line: node.line.or(self.line),
                value: &node.value,
            })
            .collect())
    }
}
