//! Entries around a block that is being tried.

#![allow(dead_code, reason = "each test file uses its own part")]

use slim_config::{ClientConfig, Loaded, NodeConfig, ServerConfig};

/// A plain-text listener with this `auth`.
pub(crate) fn server(auth: &str) -> Result<Loaded<ServerConfig>, String> {
    let text = format!(
        r#"{{"endpoint": "127.0.0.1:1", "tls": {{"insecure": true}}, "auth": {}}}"#,
        json(auth)
    );
    ServerConfig::from_json_text(&text).map_err(|error| error.to_string())
}

/// A plain-text client with this key.
pub(crate) fn client(key: &str, value: &str) -> Result<Loaded<ClientConfig>, String> {
    let text = format!(
        r#"{{"endpoint": "a:1", "tls": {{"insecure": true}}, "{key}": {}}}"#,
        json(value)
    );
    ClientConfig::from_json_text(&text).map_err(|error| error.to_string())
}

/// A file around the keys of one service, which has one listener.
pub(crate) fn service(keys: &str) -> Result<Loaded<NodeConfig>, String> {
    let text = format!(
        "services:\n  slim/0:\n    dataplane: {{servers: [{{endpoint: '127.0.0.1:1', tls: {{insecure: true}}}}]}}\n{keys}"
    );
    NodeConfig::from_yaml_text(&text).map_err(|error| error.to_string())
}

/// YAML in flow style as JSON, since JSON is what entries are given as.
fn json(yaml: &str) -> String {
    let value: serde_json::Value = serde_saphyr::from_str(yaml).expect("YAML");
    value.to_string()
}

/// The warnings as lines.
pub(crate) fn warnings<T>(loaded: &Loaded<T>) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}
