//! Configuration that a user writes: whatever it is, it is understood or refused in one sentence that says where.

use std::collections::BTreeMap;

use slim_config::{
    ClientConfig, ConfigError, Endpoint, NodeConfig, OVERRIDE_PREFIX, Origin, RateLimit, ServerConfig,
    Sources, format_duration, parse_duration,
};

/// A file, the entries of a program, and single values.
pub fn configuration(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match NodeConfig::from_yaml_text(text) {
        Ok(loaded) => {
            // What is understood can be written, and is then the same.
            let normal = loaded.config.to_normal_yaml();
            assert!(!normal.is_empty());
            for warning in &loaded.warnings {
                one_sentence(&warning.to_string());
            }
        }
        Err(error) => {
            has_a_line(&error, text);
            one_sentence(&error.to_string());
        }
    }
    for result in [
        ServerConfig::from_json_text(text).map(drop),
        ClientConfig::from_json_text(text).map(drop),
    ] {
        if let Err(error) = result {
            one_sentence(&error.to_string());
        }
    }
    overridden(text);
    values(text);
}

/// The first line as a variable's name and value over a small file.
fn overridden(text: &str) {
    const FILE: &str = "services:\n  slim/0:\n    dataplane:\n      servers:\n        - endpoint: '127.0.0.1:1'\n          tls: {insecure: true}\n";
    let Some((name, value)) = text.split_once('=') else {
        return;
    };
    let variables = BTreeMap::from([
        (format!("{OVERRIDE_PREFIX}{name}"), value.to_owned()),
        ("NAME".to_owned(), value.to_owned()),
    ]);
    let read_file = |_: &str| Err("no files here".to_owned());
    let sources = Sources {
        variables: &variables,
        read_file: &read_file,
    };
    // The file is good, but a variable can take away what another place in it needs.
    if let Err(error) = NodeConfig::load(FILE, &sources) {
        one_sentence(&error.to_string());
        let place = &error.place;
        assert!(
            place.path.is_empty() || place.origin != Origin::Unknown,
            "{error} (nobody knows where)"
        );
    }
}

fn values(text: &str) {
    match parse_duration(text) {
        Ok(duration) => assert_eq!(parse_duration(&format_duration(duration)), Ok(duration)),
        Err(error) => one_sentence(&error.to_string()),
    }
    match text.parse::<Endpoint>() {
        Ok(endpoint) => {
            let again: Result<Endpoint, _> = endpoint.to_string().parse();
            assert_eq!(again.map(|again| again.authority()), Ok(endpoint.authority()));
        }
        Err(error) => one_sentence(&error.to_string()),
    }
    if let Err(error) = text.parse::<RateLimit>() {
        one_sentence(&error.to_string());
    }
}

/// The line of an error exists.
fn has_a_line(error: &ConfigError, text: &str) {
    // YAML also takes a carriage return alone for the end of a line.
    let lines = text.matches(['\n', '\r']).count() as u64;
    match error.place.origin {
        Origin::Line(line) => assert!((1..=lines + 2).contains(&line), "{error} of {lines} lines"),
        // The document as a whole: it is no block, or lacks something.
        Origin::Unknown if error.place.path.is_empty() => {}
        Origin::Unknown => panic!("{error} (nobody knows where)"),
        Origin::Variable(_) => panic!("{error} (no variable was read)"),
    }
}

fn one_sentence(text: &str) {
    assert!(!text.trim().is_empty());
}
