//! Every way to write a wrong configuration and the one line that says so.

use slim_config::{ClientConfig, NodeConfig, ServerConfig};

fn refusal(text: &str) -> String {
    NodeConfig::from_yaml_text(text).expect_err("refused").to_string()
}

fn server_refusal(json: &str) -> String {
    ServerConfig::from_json_text(json)
        .expect_err("refused")
        .to_string()
}

fn client_refusal(json: &str) -> String {
    ClientConfig::from_json_text(json)
        .expect_err("refused")
        .to_string()
}

/// A file around one server entry, which starts in line 5.
fn with_server(entry: &str) -> String {
    format!("services:\n  slim/0:\n    dataplane:\n      servers:\n        - {entry}\n")
}

#[test]
fn s_13_s_14_an_unknown_key_is_named_at_every_level_with_its_line_and_the_nearest_key() {
    let good = "endpoint: '127.0.0.1:1', tls: {insecure: true}";
    for (text, message) in [
        (
            "tracng: {}\nservices: {}\n".to_owned(),
            "tracng (line 1): unknown key; did you mean \"tracing\"?",
        ),
        ("colour: blue\n".to_owned(), "colour (line 1): unknown key"),
        (
            "tracing:\n  log_lvl: info\n".to_owned(),
            "tracing.log_lvl (line 2): unknown key; did you mean \"log_level\"?",
        ),
        (
            "tracing:\n  opentelemetry:\n    enable: true\n".to_owned(),
            "tracing.opentelemetry.enable (line 3): unknown key; did you mean \"enabled\"?",
        ),
        (
            "runtime:\n  ncores: 1\n".to_owned(),
            "runtime.ncores (line 2): unknown key; did you mean \"n_cores\"?",
        ),
        (
            "services:\n  slim/0:\n    pubsubs: {}\n".to_owned(),
            "services.slim/0.pubsubs (line 3): unknown key; did you mean \"pubsub\"?",
        ),
        (
            "services:\n  slim/0:\n    pubsub:\n      server: []\n".to_owned(),
            "services.slim/0.pubsub.server (line 4): unknown key; did you mean \"servers\"?",
        ),
        (
            with_server("{endpiont: '127.0.0.1:1', tls: {insecure: true}}"),
            "services.slim/0.dataplane.servers[0].endpiont (line 5): unknown key; did you mean \"endpoint\"?",
        ),
        (
            with_server(&format!("{{{good}, auht: {{basic: {{}}}}}}")),
            "services.slim/0.dataplane.servers[0].auht (line 5): unknown key; did you mean \"auth\"?",
        ),
        (
            with_server("{endpoint: '127.0.0.1:1', tls: {insecur: true}}"),
            "services.slim/0.dataplane.servers[0].tls.insecur (line 5): unknown key; did you mean \"insecure\"?",
        ),
        (
            with_server(&format!("{{{good}, keepalive: {{timout: 1s}}}}")),
            "services.slim/0.dataplane.servers[0].keepalive.timout (line 5): unknown key; did you mean \"timeout\"?",
        ),
    ] {
        assert_eq!(refusal(&text), message);
    }
    assert_eq!(
        client_refusal(r#"{"endpoint": "a:1", "tls": {"insecure": true}, "connection_timeout": "1s"}"#),
        "connection_timeout: unknown key; did you mean \"connect_timeout\"?"
    );
    assert_eq!(
        client_refusal(
            r#"{"endpoint": "a:1", "tls": {"insecure": true}, "backoff": {"type": "fixed_interval", "base": "1s"}}"#
        ),
        "backoff.base: unknown key"
    );
}

#[test]
fn keys_of_later_releases_are_refused_by_name() {
    for (entry, message) in [
        (
            "metadata: {local_endpoint: a}",
            "metadata (line 5): not supported yet; remove the key",
        ),
        (
            "http2_only: false",
            "http2_only (line 5): not supported yet; remove the key or set it to true",
        ),
        (
            "read_buffer_size: 1024",
            "read_buffer_size (line 5): this key has no effect in any release; remove it",
        ),
    ] {
        let text = with_server(&format!(
            "{{endpoint: '127.0.0.1:1', tls: {{insecure: true}}, {entry}}}"
        ));
        assert_eq!(
            refusal(&text),
            format!("services.slim/0.dataplane.servers[0].{message}")
        );
    }
    for (tls, message) in [
        (
            "source: {type: spire, trust_domains: [a]}",
            "tls.source.trust_domains: unknown key",
        ),
        (
            "source: {type: file, cert: a, key: b}, client_ca: {type: spire, jwt_audiences: [a]}",
            "tls.client_ca.jwt_audiences: unknown key",
        ),
    ] {
        let text = with_server(&format!("{{endpoint: '127.0.0.1:1', tls: {{{tls}}}}}"));
        assert_eq!(
            refusal(&text).replace(" (line 5)", ""),
            format!("services.slim/0.dataplane.servers[0].{message}")
        );
    }
    for (key, message) in [
        (
            r#""request_timeout": "1s""#,
            "request_timeout: not supported yet; remove the key or set it to 0s",
        ),
        (
            r#""connection_type": "peer""#,
            "connection_type: not supported yet; remove the key or set it to edge",
        ),
        (
            r#""buffer_size": 1"#,
            "buffer_size: this key has no effect in any release; remove it",
        ),
        (
            r#""compression": "Gzip""#,
            "compression: this key has no effect in any release; remove it",
        ),
    ] {
        let text = format!(r#"{{"endpoint": "a:1", "tls": {{"insecure": true}}, {key}}}"#);
        assert_eq!(client_refusal(&text), message);
    }
    for (service, message) in [
        (
            "controller: {servers: [{endpoint: 'a:1'}]}",
            "controller (line 1): not supported yet; remove the key",
        ),
        (
            "peers: {topology: full_mesh}",
            "peers (line 1): not supported yet; remove the key",
        ),
        (
            "domain_name: d",
            "domain_name (line 1): not supported yet; remove the key",
        ),
        (
            "default_gateway: 'off'",
            "default_gateway (line 1): not supported yet; remove the key or set it to auto",
        ),
    ] {
        assert_eq!(
            refusal(&format!("services: {{slim/0: {{{service}}}}}")),
            format!("services.slim/0.{message}")
        );
    }
    assert_eq!(
        refusal("tracing: {opentelemetry: {enabled: true}}"),
        "tracing.opentelemetry.enabled (line 1): not supported yet; remove the key or set it to false"
    );
}

#[test]
fn s_12_a_listener_without_tls_block_misses_its_certificate() {
    let missing = "TLS is on and no certificate is configured (tls.source is missing); \
                   set it, or tls.insecure: true for a plain-text listener";
    for (entry, place) in [
        (
            "{endpoint: '0.0.0.0:46357'}",
            "services.slim/0.dataplane.servers[0] (line 5)",
        ),
        (
            "{endpoint: '0.0.0.0:46357', tls: {}}",
            "services.slim/0.dataplane.servers[0].tls (line 5)",
        ),
        (
            "{endpoint: '0.0.0.0:46357', tls: {insecure: false}}",
            "services.slim/0.dataplane.servers[0].tls (line 5)",
        ),
    ] {
        assert_eq!(refusal(&with_server(entry)), format!("{place}: {missing}"));
    }
}

#[test]
fn s_09_s_13_missing_and_empty_blocks_say_what_belongs_there() {
    for (text, message) in [
        (
            "",
            "configuration: no service is configured; name at least one, as slim/0",
        ),
        (
            "# nothing\n",
            "configuration: no service is configured; name at least one, as slim/0",
        ),
        (
            "runtime: {}",
            "configuration: no service is configured; name at least one, as slim/0",
        ),
        (
            "services:\n",
            "configuration: no service is configured; name at least one, as slim/0",
        ),
        (
            "services: {}\n",
            "services (line 1): no service is configured; name at least one, as slim/0",
        ),
        (
            "services: {slim/0: }",
            "services.slim/0 (line 1): no dataplane server or client is configured",
        ),
        (
            "services: {slim/0: {pubsub: }}",
            "services.slim/0 (line 1): no dataplane server or client is configured",
        ),
        (
            "services:\n  slim/0:\n    pubsub: {servers: [], clients: []}\n",
            "services.slim/0 (line 2): no dataplane server or client is configured",
        ),
        (
            "services: {slim/0: {pubsub: {servers: [{tls: {insecure: true}}]}}}",
            "services.slim/0.pubsub.servers[0] (line 1): the key \"endpoint\" is missing",
        ),
        (
            "services: {mcp/0: {}}",
            "services.mcp/0 (line 1): the kind of a service is \"slim\" (slim/NAME), not \"mcp\"",
        ),
        (
            "services: {slim: {}}",
            "services.slim (line 1): a service id is slim/NAME with a non-empty name",
        ),
        (
            "services: {slim/: {}}",
            "services.slim/ (line 1): a service id is slim/NAME with a non-empty name",
        ),
    ] {
        assert_eq!(refusal(text), message, "{text}");
    }
}

#[test]
fn s_10_old_and_new_name_together_are_an_error() {
    assert_eq!(
        refusal("services:\n  slim/0:\n    pubsub: {}\n    dataplane: {}\n"),
        "services.slim/0.pubsub (line 3): \"pubsub\" is the old name of \"dataplane\"; keep only \"dataplane\""
    );
    assert_eq!(
        refusal("tracing: {filter: info, filters: [info]}"),
        "tracing.filter (line 1): \"filter\" is the old name of \"filters\"; keep only \"filters\""
    );
    assert_eq!(
        server_refusal(
            r#"{"endpoint": "a:1", "tls": {"insecure": true}, "negotiation_timeout_secs": 1, "link_hmac_timeout_secs": 1}"#
        ),
        "link_hmac_timeout_secs: \"link_hmac_timeout_secs\" is the old name of \"negotiation_timeout_secs\"; \
         keep only \"negotiation_timeout_secs\""
    );
}

#[test]
fn s_02_s_05_s_08_values_of_the_wrong_type_or_range_are_named() {
    for (text, message) in [
        (
            "tracing: {log_level: loud}",
            "tracing.log_level (line 1): \"loud\" is none of trace, debug, info, warn, error",
        ),
        (
            "tracing: {display_thread_names: 1}",
            "tracing.display_thread_names (line 1): expected true or false, got a whole number",
        ),
        (
            "tracing: [a]",
            "tracing (line 1): expected a block of keys, got a list",
        ),
        (
            "tracing: {filters: info}",
            "tracing.filters (line 1): expected a list, got text",
        ),
        (
            "tracing: {filters: ['a=b']}",
            "tracing.filters[0] (line 1): \"a=b\" is no log filter; write TARGET, TARGET=LEVEL or LEVEL",
        ),
        (
            "runtime: {n_cores: -1}",
            "runtime.n_cores (line 1): -1 is outside 0..=4294967295",
        ),
        (
            "runtime: {n_cores: 1.5}",
            "runtime.n_cores (line 1): expected a whole number, got a number with a fraction",
        ),
        (
            "runtime: {n_cores: two}",
            "runtime.n_cores (line 1): expected a whole number, got text",
        ),
        (
            "runtime: {thread_name: ''}",
            "runtime.thread_name (line 1): a thread name is 1 to 64 bytes without NUL",
        ),
        (
            "runtime:\n  drain_timeout: 10\n",
            "runtime.drain_timeout (line 2): \"10\" has no unit; write for example 10s, 500ms, 1h30m",
        ),
        (
            "runtime: {drain_timeout: soon}",
            "runtime.drain_timeout (line 1): \"soon\" is no duration; write for example 10s, 500ms, 1h30m",
        ),
        (
            "runtime: {drain_timeout: [1s]}",
            "runtime.drain_timeout (line 1): expected a duration such as 10s, got a list",
        ),
        ("[]", "configuration: expected a block of keys, got a list"),
        (
            &with_server("{endpoint: 46357, tls: {insecure: true}}"),
            "services.slim/0.dataplane.servers[0].endpoint (line 5): expected text, got a whole number",
        ),
        (
            &with_server("{endpoint: 'wss://a:1', tls: {insecure: true}}"),
            "services.slim/0.dataplane.servers[0].endpoint (line 5): the endpoint says wss:// and \
             tls.insecure: true asks for plain text; write ws://, or remove tls.insecure",
        ),
    ] {
        assert_eq!(refusal(text), message, "{text}");
    }
    for (key, message) in [
        (r#""max_frame_size": 17"#, "max_frame_size: 17 is outside 1..=16"),
        (
            r#""max_concurrent_streams": 0"#,
            "max_concurrent_streams: 0 is outside 1..=10000",
        ),
        (
            r#""keepalive": {"time": "0s"}"#,
            "keepalive.time: must be longer than zero",
        ),
        (
            r#""negotiation_timeout_secs": 0"#,
            "negotiation_timeout_secs: 0 is outside 1..=3600",
        ),
    ] {
        let text = format!(r#"{{"endpoint": "a:1", "tls": {{"insecure": true}}, {key}}}"#);
        assert_eq!(server_refusal(&text), message);
    }
    for (key, message) in [
        (
            r#""headers": {"X-Big": "a"}"#,
            "headers.X-Big: not an HTTP header: names are lower-case tokens, values are printable ASCII",
        ),
        (
            r#""headers": {"x": "a\nb"}"#,
            "headers.x: not an HTTP header: names are lower-case tokens, values are printable ASCII",
        ),
        (
            r#""headers": {"te": "a"}"#,
            "headers.te: this header belongs to the transport and cannot be configured",
        ),
        (r#""link_id": """#, "link_id: 0 is outside 1..=128"),
        (
            r#""backoff": {"base": "1s"}"#,
            "backoff: the key \"type\" is missing",
        ),
        (
            r#""backoff": {"type": "slow"}"#,
            "backoff.type: \"slow\" is none of fixed_interval, exponential, none",
        ),
        (
            r#""connection_type": "center""#,
            "connection_type: \"center\" is none of edge, remote",
        ),
    ] {
        let text = format!(r#"{{"endpoint": "a:1", "tls": {{"insecure": true}}, {key}}}"#);
        assert_eq!(client_refusal(&text), message);
    }
}

#[test]
fn text_that_does_not_parse_names_its_line_in_one_line() {
    for text in [
        "services: [\n",
        "tracing:\n\tlog_level: info\n",
        "runtime: {n_cores: 1}\nruntime: {n_cores: 2}\n",
        "a: &a [*a, *a]\n",
        "a: 1\n---\nb: 2\n",
    ] {
        let message = refusal(text);
        assert!(message.starts_with("configuration"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    let twice = refusal("runtime: {n_cores: 1}\nruntime: {n_cores: 2}\n");
    assert!(twice.contains("(line 2)") && twice.contains("runtime"), "{twice}");
    let json = client_refusal("{");
    assert!(json.starts_with("configuration: EOF"), "{json}");
    assert!(client_refusal(r#"{"endpoint": "a:1", "endpoint": "b:1"}"#).contains("twice"));
}

#[test]
fn a_tree_of_a_million_nodes_from_few_bytes_is_refused() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let alias = format!("*a{}", level - 1);
        let list = [alias.as_str(); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{list}]\n"));
    }
    assert!(refusal(&text).starts_with("configuration"));
    let deep = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(refusal(&deep).starts_with("configuration"));
}
