//! What a configuration file may say and what it then means.

use std::time::Duration;

use slim_config::{
    Backoff, ClientConfig, ConnectionType, LogLevel, NodeConfig, ServerConfig, ServerKeepalive, TracingConfig,
};

const TUTORIAL: &str = include_str!("../../../config/tutorial.yaml");

#[test]
fn s_01_s_10_the_tutorial_file_loads_with_one_warning_about_pubsub() {
    let loaded = NodeConfig::from_yaml_text(TUTORIAL).unwrap();
    let config = loaded.config;
    assert_eq!(
        config.tracing,
        TracingConfig {
            log_level: LogLevel::Info,
            display_thread_names: true,
            display_thread_ids: true,
            filters: vec![],
        }
    );
    assert_eq!(config.runtime.n_cores, 0);
    assert_eq!(config.runtime.thread_name, "slim-data-plane");
    assert_eq!(config.runtime.drain_timeout, Duration::from_secs(10));
    let [service] = config.services.as_slice() else {
        panic!("one service")
    };
    assert_eq!(service.id.to_string(), "slim/0");
    assert_eq!(
        service.servers,
        [ServerConfig::insecure("0.0.0.0:46357".parse().unwrap())]
    );
    assert!(service.clients.is_empty());
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        ["services.slim/0.pubsub (line 13): \"pubsub\" is the old name of this key; write \"dataplane\""]
    );
}

#[test]
fn s_24_the_shown_listener_is_the_tutorials_line() {
    let config = NodeConfig::from_yaml_text(TUTORIAL).unwrap().config;
    assert_eq!(
        config.services[0].servers[0].to_string(),
        "ServerConfig { endpoint: 0.0.0.0:46357, tls_setting: TlsServerConfig { config: Config { ca_file: None, ca_pem: None, include_system_ca_certs_pool: false, cert_file: None, cert_pem: None, key_file: None, key_pem: None, tls_version: \"tls1.3\", reload_interval: None }, insecure: true, client_ca_file: None, client_ca_pem: None, reload_client_ca_file: false }, http2_only: true, max_frame_size: None, max_concurrent_streams: None, max_header_list_size: None, read_buffer_size: None, write_buffer_size: None, keepalive: KeepaliveServerParameters { max_connection_idle: 3600s, max_connection_age: 7200s, max_connection_age_grace: 300s, time: 120s, timeout: 20s }, auth: None }"
    );
}

#[test]
fn s_02_s_03_s_04_s_06_s_07_blocks_left_out_have_their_defaults() {
    let text = "services: {slim/a: {dataplane: {servers: [{endpoint: '[::1]:0', tls: {insecure: true}}]}}}";
    let loaded = NodeConfig::from_yaml_text(text).unwrap();
    assert!(loaded.warnings.is_empty());
    let config = loaded.config;
    assert_eq!(config.tracing, TracingConfig::default());
    assert_eq!(config.tracing.log_level.name(), "info");
    assert!(config.tracing.display_thread_names && !config.tracing.display_thread_ids);
    assert_eq!(config.runtime.thread_name, "slim");
    assert_eq!(config.runtime.drain_timeout, Duration::from_secs(10));
    assert_eq!(config.services[0].servers[0].endpoint.to_string(), "[::1]:0");
}

#[test]
fn every_server_key_arrives() {
    let text = r#"{
        "endpoint": "127.0.0.1:1", "tls": {"insecure": true, "tls_version": "tls1.3", "source": {"type": "none"}},
        "http2_only": true, "max_frame_size": 4, "max_concurrent_streams": 7, "max_header_list_size": 4096,
        "keepalive": {"max_connection_idle": "1m", "max_connection_age": "2m", "max_connection_age_grace": "3s",
                      "time": "4s", "timeout": "5s"},
        "auth": {"type": "none"}, "metadata": {}, "require_header_mac": false, "link_hmac_timeout_secs": 3, "legacy": false}"#;
    let server = ServerConfig::from_json_text(text).unwrap().config;
    assert_eq!(
        server,
        ServerConfig {
            endpoint: "127.0.0.1:1".parse().unwrap(),
            tls: None,
            auth: None,
            enforce_pqc: false,
            max_frame_size: Some(4),
            max_concurrent_streams: Some(7),
            max_header_list_size: Some(4096),
            keepalive: ServerKeepalive {
                max_connection_idle: Duration::from_secs(60),
                max_connection_age: Duration::from_secs(120),
                max_connection_age_grace: Duration::from_secs(3),
                time: Duration::from_secs(4),
                timeout: Duration::from_secs(5),
            },
            require_header_mac: false,
            negotiation_timeout: Duration::from_secs(3),
            legacy: false,
        }
    );
    assert!(
        server
            .to_string()
            .ends_with("auth: None, require_header_mac: false, negotiation_timeout: 3s, legacy: false }")
    );
}

#[test]
fn s_34_the_dict_of_the_tutorial_scripts_is_a_client() {
    let text = r#"{"endpoint": "http://127.0.0.1:46357", "tls": {"insecure": true}}"#;
    let client = ClientConfig::from_json_text(text).unwrap().config;
    assert_eq!(client, ClientConfig::insecure("127.0.0.1:46357".parse().unwrap()));
    assert_eq!(client.connection_type, ConnectionType::Edge);
    assert!(client.require_header_mac);
}

#[test]
fn every_client_key_arrives_and_header_values_stay_out_of_debug_output() {
    let text = r#"{
        "endpoint": "node:1", "tls": {"insecure": true}, "origin": "http://front.example:80/",
        "headers": {"x-tenant": "geheim"}, "connect_timeout": "3s", "request_timeout": "0s",
        "compression": "None", "auth": null, "proxy": {}, "link_id": "abc", "connection_type": "remote",
        "require_header_mac": false,
        "keepalive": {"tcp_keepalive": "1s", "http2_keepalive": "2s", "timeout": "3s", "keep_alive_while_idle": true},
        "backoff": {"type": "exponential", "base": "50ms", "factor": 2, "max_delay": "5s", "jitter": false, "max_attempts": 9}}"#;
    let client = ClientConfig::from_json_text(text).unwrap().config;
    assert_eq!(client.origin.as_deref(), Some("front.example:80"));
    assert_eq!(client.headers["x-tenant"], "geheim");
    assert_eq!(client.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(client.link_id.as_deref(), Some("abc"));
    assert_eq!(client.connection_type, ConnectionType::Remote);
    assert!(!client.require_header_mac);
    assert_eq!(client.keepalive.tcp_keepalive, Duration::from_secs(1));
    assert_eq!(client.keepalive.http2_keepalive, Duration::from_secs(2));
    assert_eq!(client.keepalive.timeout, Duration::from_secs(3));
    assert_eq!(
        client.backoff,
        Some(Backoff::Exponential {
            base: Duration::from_millis(50),
            factor: 2,
            max_delay: Duration::from_secs(5),
            jitter: false,
            max_attempts: Some(9),
        })
    );
    let shown = format!("{client:?}");
    assert!(shown.contains("x-tenant") && !shown.contains("geheim"), "{shown}");
}

#[test]
fn a_written_fixed_interval_and_an_empty_keepalive_block_have_the_documented_defaults() {
    let text = r#"{"endpoint": "node:1", "tls": {"insecure": true}, "keepalive": {},
                   "backoff": {"type": "fixed_interval", "max_attempts": 3}}"#;
    let client = ClientConfig::from_json_text(text).unwrap().config;
    assert_eq!(client.keepalive.http2_keepalive, Duration::from_secs(60));
    assert_eq!(client.keepalive.timeout, Duration::from_secs(10));
    assert_eq!(
        client.backoff,
        Some(Backoff::FixedInterval {
            interval: Duration::from_secs(2),
            max_attempts: Some(3),
        })
    );
}

#[test]
fn keys_of_later_releases_are_accepted_while_they_ask_for_nothing() {
    let text = "
tracing: {filters: [slim, 'h2=debug', warn], opentelemetry: {enabled: false, service_name: x}}
services:
  slim/a/b:
    node_id: n1
    auth: {type: none}
    default_gateway: auto
    controller: {servers: [], clients: []}
    peers:
    dataplane:
      enforce_pqc: false
      outbound_clients: []
      clients:
        - {endpoint: 'http://10.0.0.1:1', tls: {insecure: true, insecure_skip_verify: false}}
";
    let config = NodeConfig::from_yaml_text(text).unwrap().config;
    assert_eq!(config.tracing.filters, ["slim", "h2=debug", "warn"]);
    assert_eq!(config.services[0].id.name(), "a/b");
    assert_eq!(config.services[0].node_id.as_deref(), Some("n1"));
    assert_eq!(config.services[0].clients.len(), 1);
}

#[test]
fn the_old_filter_text_becomes_a_list_with_a_warning() {
    let text = "
tracing: {filter: 'info, slim_node=trace'}
services: {slim/0: {dataplane: {servers: [{endpoint: '127.0.0.1:1', tls: {insecure: true}}]}}}
";
    let loaded = NodeConfig::from_yaml_text(text).unwrap();
    assert_eq!(loaded.config.tracing.filters, ["info", "slim_node=trace"]);
    assert_eq!(
        loaded.warnings[0].to_string(),
        "tracing.filter (line 2): \"filter\" is the old name of this key; write \"filters\""
    );
}

#[test]
fn s_09_several_services_keep_the_order_of_the_file() {
    let entry = "{dataplane: {servers: [{endpoint: '127.0.0.1:0', tls: {insecure: true}}]}}";
    let text = format!("services:\n  slim/b: {entry}\n  slim/a: {entry}\n");
    let config = NodeConfig::from_yaml_text(&text).unwrap().config;
    let ids: Vec<String> = config
        .services
        .iter()
        .map(|service| service.id.to_string())
        .collect();
    assert_eq!(ids, ["slim/b", "slim/a"]);
}
