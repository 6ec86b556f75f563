//! As much of JSON schema as ours uses, to hold it against what the parser accepts.

use serde_json::Value;

/// Whether `value` fits `schema`; the error is the place that does not.
pub(crate) fn check(root: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let Some(rules) = schema.as_object() else {
        return Ok(());
    };
    let wrong = |rule: &str| Err(format!("{place}: {rule}"));
    for (rule, wanted) in rules {
        match rule.as_str() {
            "$schema" | "title" | "description" | "$defs" | "default" | "deprecated" | "examples" => {}
            "$ref" => {
                let pointer = wanted.as_str().unwrap_or_default().trim_start_matches('#');
                check(root, root.pointer(pointer).expect("a definition"), value, place)?;
            }
            "type" => {
                let fits = match wanted.as_str().unwrap_or_default() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "null" => value.is_null(),
                    other => panic!("type {other}"),
                };
                if !fits {
                    return wrong(&format!("is no {wanted}"));
                }
            }
            "const" if wanted != value => return wrong(&format!("is not {wanted}")),
            "enum" if !wanted.as_array().is_some_and(|words| words.contains(value)) => {
                return wrong(&format!("is none of {wanted}"));
            }
            "const" | "enum" => {}
            "minimum" if value.as_i64() < wanted.as_i64() => return wrong("is too small"),
            "maximum" if value.as_i64() > wanted.as_i64() => return wrong("is too large"),
            "minimum" | "maximum" => {}
            "minLength" if value.as_str() == Some("") => return wrong("is empty"),
            "minLength" => {}
            "maxItems" if value.as_array().is_some_and(|list| !list.is_empty()) => {
                return wrong("is not empty");
            }
            "maxItems" => {}
            "maxProperties" if value.as_object().is_some_and(|map| map.len() > 1) => {
                return wrong("has more");
            }
            "maxProperties" => {}
            // Three patterns, each told by its first letters.
            "pattern" => {
                let text = value.as_str().unwrap_or_default();
                let pattern = wanted.as_str().unwrap_or_default();
                let fits = if pattern.starts_with(r"^\$") {
                    text.starts_with("${") && text.ends_with('}')
                } else if pattern.contains("[a-z") {
                    slim_config::parse_duration(text).is_ok()
                } else {
                    text.parse::<slim_config::RateLimit>().is_ok()
                };
                if !fits {
                    return wrong("does not fit its pattern");
                }
            }
            "required" => {
                for name in wanted.as_array().into_iter().flatten().filter_map(Value::as_str) {
                    if value.is_object() && value.get(name).is_none() {
                        return wrong(&format!("lacks {name}"));
                    }
                }
            }
            "properties" | "additionalProperties" => {}
            "items" => {
                for (index, entry) in value.as_array().into_iter().flatten().enumerate() {
                    check(root, wanted, entry, &format!("{place}[{index}]"))?;
                }
            }
            "anyOf" => {
                let tries = wanted.as_array().into_iter().flatten();
                let tried: Vec<_> = tries.map(|schema| check(root, schema, value, place)).collect();
                if tried.iter().all(Result::is_err) {
                    let reasons: Vec<String> = tried.into_iter().filter_map(Result::err).collect();
                    return Err(reasons.join(" | "));
                }
            }
            other => panic!("a rule that this checker does not know: {other}"),
        }
    }
    for (name, entry) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match (
            rules.get("properties").and_then(|all| all.get(name)),
            rules.get("additionalProperties"),
        ) {
            (Some(schema), _) => check(root, schema, entry, &place)?,
            (None, Some(Value::Bool(false))) => return Err(format!("{place}: is not known")),
            (None, Some(schema)) => check(root, schema, entry, &place)?,
            (None, None) => {}
        }
    }
    Ok(())
}
