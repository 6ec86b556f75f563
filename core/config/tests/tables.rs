//! The tables are complete and true: defaults can be read, every key is shown, the schema fits what is accepted.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use slim_config::{
    Absence, Block, ConfigError, Kind, NodeConfig, Status, file_table, json_schema, parse_duration,
};

mod schema;

/// A file that says everything that a new file may say.
const FULL: &str = include_str!("full.yaml");

/// Every block that can be reached, each once.
fn blocks() -> Vec<&'static Block> {
    let mut found: Vec<&'static Block> = Vec::new();
    let mut open = vec![file_table()];
    while let Some(block) = open.pop() {
        if found.iter().any(|known| std::ptr::eq(*known, block)) {
            continue;
        }
        found.push(block);
        for key in block.keys {
            open.extend(inside(key.kind));
        }
    }
    found
}

fn inside(kind: Kind) -> Vec<&'static Block> {
    match kind {
        Kind::Block(block) | Kind::BlockOr(block, _) => vec![block],
        Kind::Typed(blocks) => blocks.to_vec(),
        Kind::List(inner) | Kind::Map(inner) => inside(*inner),
        Kind::Bool
        | Kind::Integer { .. }
        | Kind::Text
        | Kind::Secret
        | Kind::Path
        | Kind::Duration { .. }
        | Kind::Endpoint
        | Kind::Rate
        | Kind::Choice(_)
        | Kind::Texts
        | Kind::Choices(_)
        | Kind::Any => Vec::new(),
    }
}

#[test]
fn every_default_is_a_value_of_its_kind_and_every_name_leads_somewhere() {
    assert!(blocks().len() > 25);
    for block in blocks() {
        let mut names = BTreeSet::new();
        for key in block.keys {
            let place = format!("{}.{}", block.name, key.name);
            assert!(names.insert(key.name), "{place} stands twice");
            if let Absence::Default(text) = key.absence {
                let is_fine = match key.kind {
                    Kind::Bool => ["true", "false"].contains(&text),
                    Kind::Integer { min, max } => {
                        text.parse().is_ok_and(|value| (min..=max).contains(&value))
                    }
                    Kind::Duration { zero } => {
                        parse_duration(text).is_ok_and(|value| zero || !value.is_zero())
                    }
                    Kind::Choice(words) => words.contains(&text),
                    Kind::List(_) => text == "[]",
                    Kind::Map(_) => text == "{}",
                    Kind::Typed(_) => text == "{type: none}",
                    Kind::Text | Kind::Texts => !text.is_empty(),
                    Kind::Secret
                    | Kind::Path
                    | Kind::Endpoint
                    | Kind::Rate
                    | Kind::Choices(_)
                    | Kind::Block(_)
                    | Kind::BlockOr(..)
                    | Kind::Any => false,
                };
                assert!(is_fine, "{place}: {text}");
            }
            let target = match key.status {
                Status::Alias(name) | Status::Old(name) | Status::OldShape(name) => Some(name),
                Status::Current => {
                    assert!(!key.doc.is_empty() && !key.doc.ends_with('.'), "{place}");
                    None
                }
                Status::Wrong(_)
                | Status::Later(_)
                | Status::Refused(_)
                | Status::RefusedUnless(..)
                | Status::Ignored(_)
                | Status::Unused => None,
            };
            if let Some(name) = target {
                assert!(
                    block.keys.iter().any(|key| key.name == name && key.is_current()),
                    "{place}"
                );
            }
        }
    }
}

#[test]
fn the_normal_form_shows_every_key_and_means_the_same() {
    let first = NodeConfig::from_yaml_text(FULL).unwrap();
    assert!(first.warnings.is_empty(), "{:?}", first.warnings);
    let normal = first.config.to_normal_yaml();
    for block in blocks() {
        // Every key of the tables that is to be written stands somewhere in the file, and then in the normal form.
        for key in block
            .keys
            .iter()
            .filter(|key| key.is_current() && key.name != "opentelemetry")
        {
            let stands = |text: &str| text.contains(&format!("{}:", key.name));
            assert!(
                stands(FULL),
                "{}.{} is missing in full.yaml",
                block.name,
                key.name
            );
            assert!(
                stands(&normal),
                "{}.{} is missing in the normal form",
                block.name,
                key.name
            );
        }
    }
    assert!(!normal.contains("geheim"), "{normal}");
    let second = NodeConfig::from_yaml_text(&normal).unwrap_or_else(|error| panic!("{error}\n{normal}"));
    assert!(second.warnings.is_empty(), "{:?}\n{normal}", second.warnings);
    assert_eq!(second.config.to_normal_yaml(), normal);
    // Without the secrets, which are replaced, the two mean the same.
    let without_secrets = FULL.replace("geheim", "'[redacted]'");
    let third = NodeConfig::from_yaml_text(&without_secrets).unwrap();
    assert_eq!(third.config, second.config);
}

#[test]
fn the_schema_accepts_what_the_parser_accepts() {
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();
    let check = |text: &str| -> Result<(), String> {
        let value: serde_json::Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        schema::check(&schema, &schema, &value, "")
    };
    assert_eq!(check(FULL), Ok(()));
    assert_eq!(check(include_str!("../../../config/tutorial.yaml")), Ok(()));
    assert_eq!(
        check(&NodeConfig::from_yaml_text(FULL).unwrap().config.to_normal_yaml()),
        Ok(())
    );
    for (from, to) in [
        ("log_level:", "log_lvl:"),
        ("log_level: debug", "log_level: loud"),
        ("n_cores: 2", "n_cores: two"),
        ("drain_timeout: 5s", "drain_timeout: 5"),
        ("username:", "user:"),
        ("match: any", "match: all"),
        ("max_frame_size: 4", "max_frame_size: 17"),
        ("rate_limit: 20/60", "rate_limit: fast"),
    ] {
        let text = FULL.replacen(from, to, 1);
        assert_ne!(text, FULL);
        assert!(check(&text).is_err(), "{to}");
        let refused: Result<_, ConfigError> = NodeConfig::from_yaml_text(&text);
        assert!(refused.is_err(), "{to}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What is wrong is an error with one line, whatever it is: tables and code that do not fit would panic.
    #[test]
    fn a_file_with_lines_missing_doubled_or_overwritten_is_read_or_refused(
        changes in vec((0..FULL.lines().count(), 0..7_usize), 1..6),
    ) {
        let mut lines: Vec<String> = FULL.lines().map(str::to_owned).collect();
        for (index, change) in changes {
            let Some(line) = lines.get_mut(index) else {
                continue;
            };
            let (key, _) = line.split_once(':').unwrap_or((line, ""));
            *line = match change {
                0 => String::new(),
                1 => format!("{line}\n{line}"),
                2 => format!("{key}: 7"),
                3 => format!("{key}: []"),
                4 => format!("{key}: {{}}"),
                5 => format!("{key}: none"),
                _ => format!("{key}: {{type: basic, file: a, key: b, cert: c}}"),
            };
        }
        if let Err(error) = NodeConfig::from_yaml_text(&lines.join("\n")) {
            prop_assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
