//! The JSON schema of a configuration file (draft 2020-12), made from the tables.
//!
//! Editors and other tools read it; the parser does not. What a schema cannot say (that two keys exclude each other,
//! that a pattern of names is well formed) only the parser checks.

use serde_json::{Map, Value, json};

use crate::node::file_table;
use crate::table::{Absence, Block, Key, Kind, Status};

/// The schema as JSON text.
pub fn json_schema() -> String {
    let mut schema = block(file_table(), None);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of a SLIM node",
        "$defs": {
            "placeholder": {
                "description": "Stands for the value of an environment variable or for the text of a file.",
                "type": "string",
                "pattern": r"^\$\{(env|file):[^{}]+\}$",
            },
            "nothing": { "description": "As if the key were not there.", "type": "null" },
        },
    });
    if let (Value::Object(schema), Value::Object(head)) = (&mut schema, head) {
        schema.extend(head);
    }
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// A block; `variant` is its `type`, if it is told apart by one.
fn block(block: &Block, variant: Option<&str>) -> Value {
    let mut properties = Map::new();
    let mut required: Vec<&str> = Vec::new();
    if let Some(name) = variant {
        properties.insert("type".to_owned(), json!({ "const": name }));
        required.push("type");
    }
    for key in block.keys {
        let Some(property) = property(block, key) else {
            continue;
        };
        properties.insert(key.name.to_owned(), property);
        // An old name may stand in the place of a key that must be there.
        let only_name = !block.keys.iter().any(|other| stands_for(other, key.name));
        if matches!(key.absence, Absence::Refused) && only_name {
            required.push(key.name);
        }
    }
    json!({
        "description": block.doc,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    })
}

fn stands_for(key: &Key, name: &str) -> bool {
    matches!(key.status, Status::Alias(new) | Status::Old(new) | Status::OldShape(new) if new == name)
}

/// What may stand under a key; `None` if nothing may.
fn property(block: &Block, key: &Key) -> Option<Value> {
    let with = |value: Value, extra: Value| {
        let (Value::Object(mut value), Value::Object(extra)) = (value, extra) else {
            return Value::Bool(true);
        };
        value.extend(extra);
        Value::Object(value)
    };
    Some(match key.status {
        Status::Current => {
            let value = or_nothing(kind(key.kind));
            let value = with(value, json!({ "description": plain(key.doc) }));
            match key.absence {
                Absence::Default(text) => with(value, json!({ "default": default(key.kind, text) })),
                Absence::Refused | Absence::Means(_) => value,
            }
        }
        Status::Alias(name) | Status::Old(name) => {
            let value = block
                .keys
                .iter()
                .find(|key| key.name == name)
                .map(|key| kind(key.kind));
            let about = json!({ "description": format!("Another name of {name}."), "deprecated": true });
            with(or_nothing(value.unwrap_or_else(|| json!({}))), about)
        }
        Status::OldShape(name) => {
            json!({ "description": format!("Replaced by {name}."), "deprecated": true })
        }
        Status::Unused | Status::Ignored(_) => {
            json!({ "description": "Without effect.", "deprecated": true })
        }
        Status::Later(neutral) => later(neutral),
        Status::RefusedUnless(words, _) => json!({ "enum": words }),
        Status::Wrong(_) | Status::Refused(_) => return None,
    })
}

/// Keys of later releases may say nothing, or the one value that asks for nothing.
fn later(neutral: Option<&str>) -> Value {
    let mut choices = vec![
        json!({ "type": "null" }),
        json!({ "const": "none" }),
        json!({ "type": "object" }),
        json!({ "type": "array", "maxItems": 0 }),
    ];
    match neutral {
        Some("true") => choices.push(json!({ "const": true })),
        Some("false") => choices.push(json!({ "const": false })),
        Some(word) => choices.push(json!({ "const": word })),
        None => {}
    }
    json!({ "description": "Comes with a later release.", "anyOf": choices })
}

fn or_nothing(value: Value) -> Value {
    json!({ "anyOf": [value, { "$ref": "#/$defs/nothing" }] })
}

/// A scalar, or what stands for one.
fn scalar(value: Value) -> Value {
    json!({ "anyOf": [{ "$ref": "#/$defs/placeholder" }, value] })
}

fn kind(kind_of_value: Kind) -> Value {
    let words = |words: &[&str]| scalar(json!({ "type": "string", "enum": words }));
    match kind_of_value {
        Kind::Bool => scalar(json!({ "type": "boolean" })),
        Kind::Integer { min, max } => scalar(json!({ "type": "integer", "minimum": min, "maximum": max })),
        Kind::Text | Kind::Secret | Kind::Path | Kind::Endpoint => {
            json!({ "type": "string", "minLength": 1 })
        }
        Kind::Duration { .. } => scalar(json!({
            "type": "string",
            "pattern": r"^\s*(\d+\s*[a-zµ]+\s*\+?\s*)+$",
            "examples": ["10s", "500ms", "1h30m"],
        })),
        Kind::Rate => scalar(json!({ "type": "string", "pattern": r"^\s*\d+\s*/\s*\d+\s*$" })),
        Kind::Choice(choices) => words(choices),
        Kind::Texts => one_or_more(json!({ "type": "string" })),
        Kind::Choices(choices) => one_or_more(words(choices)),
        Kind::List(entry) => json!({ "type": "array", "items": kind(*entry) }),
        Kind::Map(value) => json!({ "type": "object", "additionalProperties": kind(*value) }),
        Kind::Block(inner) => block(inner, None),
        Kind::Typed(blocks) => {
            let none = json!({ "type": "object", "maxProperties": 1, "properties": { "type": { "const": "none" } } });
            let variants = blocks.iter().map(|inner| block(inner, Some(inner.name)));
            let none = [json!({ "const": "none" }), none];
            // The nesting of the tutorial's generation: {basic: {…}} for {type: basic, …}.
            let old = blocks.iter().map(|inner| old_form(inner.name));
            json!({ "anyOf": variants.chain(none).chain(old).collect::<Vec<_>>() })
        }
        Kind::BlockOr(inner, word) => json!({ "anyOf": [{ "const": word }, block(inner, None)] }),
        Kind::Any => json!({}),
    }
}

fn old_form(name: &str) -> Value {
    json!({
        "type": "object",
        "deprecated": true,
        "required": [name],
        "properties": { name: {} },
        "maxProperties": 1,
    })
}

fn one_or_more(value: Value) -> Value {
    json!({ "anyOf": [value, { "type": "array", "items": value }] })
}

/// A default as it would be written, as JSON.
fn default(kind_of_value: Kind, text: &str) -> Value {
    match kind_of_value {
        Kind::Bool => json!(text == "true"),
        Kind::Integer { .. } => text.parse::<i64>().map_or(Value::Null, Value::from),
        Kind::List(_) => json!([]),
        Kind::Map(_) => json!({}),
        Kind::Typed(_) => json!({ "type": "none" }),
        Kind::Text
        | Kind::Secret
        | Kind::Path
        | Kind::Endpoint
        | Kind::Duration { .. }
        | Kind::Rate
        | Kind::Choice(_)
        | Kind::Texts
        | Kind::Choices(_)
        | Kind::Block(_)
        | Kind::BlockOr(..)
        | Kind::Any => json!(text),
    }
}

/// Markdown without its marks.
fn plain(doc: &str) -> String {
    doc.replace('`', "")
}
