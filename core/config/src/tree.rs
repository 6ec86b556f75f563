//! Text as a tree of values that know their lines.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::error::{ConfigError, Problem};
use crate::field::Placeholder;
use crate::place::{Origin, Place};

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    /// The placeholder, if the value was put in the place of one.
    pub(crate) filled: Option<Placeholder>,
    pub(crate) value: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    /// Only claims of tokens may have fractions.
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) origin: Origin,
    pub(crate) node: Node,
}

impl Value {
    /// What this is, for people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number with a fraction",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a block of keys",
        }
    }
}

/// Parses YAML text. Depth, size and alias expansion are bounded by the parser's own budget.
pub(crate) fn from_yaml(text: &str) -> Result<Node, ConfigError> {
    let parsed = serde_saphyr::from_str::<<Yaml as Source>::Node>(text);
    parsed.map(Yaml::node).map_err(|error| {
        let line = error.location().map(|location| location.line());
        // The parser renders a picture of the text below its message; ours is one line.
        let reason = error.without_snippet().to_string();
        let reason = reason.lines().next().unwrap_or("not YAML").to_owned();
        problem(line, reason)
    })
}

/// Parses JSON text.
pub(crate) fn from_json(text: &str) -> Result<Node, ConfigError> {
    let parsed = serde_json::from_str::<<Json as Source>::Node>(text);
    parsed
        .map(Json::node)
        .map_err(|error| problem(None, error.to_string()))
}

fn problem(line: Option<u64>, reason: String) -> ConfigError {
    ConfigError {
        place: Place {
            path: String::new(),
            origin: line.map_or(Origin::Unknown, Origin::Line),
        },
        problem: Problem::Syntax { reason },
    }
}

/// A text format: how it hands out keys and nodes. Only YAML knows lines.
trait Source {
    type Key: for<'de> Deserialize<'de>;
    type Node: for<'de> Deserialize<'de>;
    fn key(key: Self::Key) -> (String, Origin);
    fn node(node: Self::Node) -> Node;
}

struct Yaml;
struct Json;

impl Source for Yaml {
    type Key = Spanned<String>;
    type Node = Spanned<Tagged<Self>>;

    fn key(key: Self::Key) -> (String, Origin) {
        let line = Origin::Line(key.referenced.line());
        (key.value, line)
    }

    fn node(node: Self::Node) -> Node {
        Node {
            origin: Origin::Line(node.referenced.line()),
            filled: None,
            value: node.value.0,
        }
    }
}

impl Source for Json {
    type Key = String;
    type Node = Tagged<Self>;

    fn key(key: String) -> (String, Origin) {
        (key, Origin::Unknown)
    }

    fn node(node: Self::Node) -> Node {
        Node {
            origin: Origin::Unknown,
            filled: None,
            value: node.0,
        }
    }
}

/// A value on its way out of a format.
struct Tagged<S>(Value, PhantomData<S>);

impl<'de, S: Source> Deserialize<'de> for Tagged<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(ValueVisitor::<S>(PhantomData))?;
        Ok(Self(value, PhantomData))
    }
}

struct ValueVisitor<S>(PhantomData<S>);

impl<'de, S: Source> Visitor<'de> for ValueVisitor<S> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a configuration value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        // No key has a range beyond i64; the largest value fails each range check just as well.
        Ok(Value::Integer(i64::try_from(value).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = sequence.next_element()? {
            list.push(S::node(node));
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(key) = map.next_key()? {
            let (key, origin) = S::key(key);
            if entries.iter().any(|entry| entry.key == key) {
                return Err(A::Error::custom(format_args!("the key {key:?} stands twice")));
            }
            let node = S::node(map.next_value()?);
            entries.push(Entry { key, origin, node });
        }
        Ok(Value::Map(entries))
    }
}
