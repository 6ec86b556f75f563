//! What comes from outside the text: placeholders and variables over the file.

use std::collections::BTreeMap;

use slim_config::{ConfigError, Loaded, LogLevel, NodeConfig, ServerAuth, Sources};

const TEXT: &str = "
tracing:
  log_level: ${env:LEVEL}
runtime:
  n_cores: ${env:CORES}
  drain_timeout: ${env:DRAIN}
services:
  slim/0:
    dataplane:
      servers:
        - endpoint: '127.0.0.1:1'
          tls: { insecure: '${env:PLAIN}' }
          auth: { type: basic, username: alice, password: '${file:password.txt}' }
";

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Loaded<NodeConfig>, ConfigError> {
    let variables: BTreeMap<String, String> = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let read_file = |path: &str| match path {
        "password.txt" => Ok("geheim\n".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    NodeConfig::load(
        text,
        &Sources {
            variables: &variables,
            read_file: &read_file,
        },
    )
}

fn refusal(text: &str, variables: &[(&str, &str)]) -> String {
    load(text, variables).expect_err("refused").to_string()
}

const GOOD: [(&str, &str); 4] = [
    ("LEVEL", "debug"),
    ("CORES", "2"),
    ("DRAIN", "3s"),
    ("PLAIN", "true"),
];

#[test]
fn placeholders_stand_for_whole_values_of_any_kind() {
    let config = load(TEXT, &GOOD).unwrap().config;
    assert_eq!(config.tracing.log_level, LogLevel::Debug);
    assert_eq!(config.runtime.n_cores, 2);
    assert_eq!(config.runtime.drain_timeout.as_secs(), 3);
    let server = &config.services[0].servers[0];
    assert_eq!(server.tls, None);
    let Some(ServerAuth::Basic(basic)) = &server.auth else {
        panic!("basic")
    };
    assert_eq!(
        basic.password.expose(),
        "geheim",
        "the line break at the end belongs to the file"
    );
}

#[test]
fn what_is_not_there_is_named_and_what_is_there_is_not_shown() {
    assert_eq!(
        refusal(TEXT, &GOOD[1..]),
        "tracing.log_level (line 3): ${env:LEVEL}: the environment variable LEVEL is not set"
    );
    assert_eq!(
        refusal(&TEXT.replace("password.txt", "other.txt"), &GOOD),
        "services.slim/0.dataplane.servers[0].auth.password (line 13): ${file:other.txt}: cannot read the file: \
         no such file"
    );
    for (index, (place, expected)) in [
        (
            "tracing.log_level (line 3)",
            "${env:LEVEL} is not valid here; expected one of trace, debug, info, warn, error",
        ),
        (
            "runtime.n_cores (line 5)",
            "${env:CORES} is not valid here; expected a whole number",
        ),
        (
            "runtime.drain_timeout (line 6)",
            "${env:DRAIN} is not valid here; expected a duration such as 10s",
        ),
        (
            "services.slim/0.dataplane.servers[0].tls.insecure (line 12)",
            "${env:PLAIN} is not valid here; expected true or false",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let mut variables = GOOD;
        variables[index].1 = "geheim";
        assert_eq!(
            refusal(TEXT, &variables),
            format!("{place}: the value of {expected}")
        );
    }
    assert_eq!(
        refusal(&TEXT.replace("${env:LEVEL}", "a-${env:LEVEL}"), &GOOD),
        "tracing.log_level (line 3): a placeholder is a whole value: ${env:NAME} or ${file:PATH} and nothing else"
    );
}

#[test]
fn nothing_is_put_in_the_place_of_placeholders_in_what_a_program_gives() {
    let text = r#"{"endpoint": "${env:WHERE}"}"#;
    assert_eq!(
        slim_config::ClientConfig::from_json_text(text)
            .unwrap_err()
            .to_string(),
        "endpoint: placeholders (${env:…}, ${file:…}) are understood in configuration files only"
    );
}

const PLAIN: &str = "
services:
  slim/0:
    dataplane:
      servers:
        - endpoint: '127.0.0.1:1'
          tls: { insecure: true }
";

#[test]
fn variables_change_add_and_append() {
    let config = load(
        PLAIN,
        &[
            ("SLIM_NODE", "ignored: it lacks the two underscores"),
            ("SLIM_NODE__TRACING__LOG_LEVEL", "warn"),
            ("SLIM_NODE__TRACING__FILTERS", "[h2=debug]"),
            ("SLIM_NODE__RUNTIME__N_CORES", "3"),
            (
                "SLIM_NODE__SERVICES__SLIM_0__DATAPLANE__SERVERS__0__ENDPOINT",
                "127.0.0.1:9",
            ),
            (
                "SLIM_NODE__SERVICES__SLIM_0__DATAPLANE__SERVERS__1",
                "{endpoint: '127.0.0.1:10', tls: {insecure: true}}",
            ),
            (
                "SLIM_NODE__SERVICES__SLIM_0__DATAPLANE__CLIENTS__0__ENDPOINT",
                "b:1",
            ),
        ],
    )
    .unwrap()
    .config;
    assert_eq!(config.tracing.log_level, LogLevel::Warn);
    assert_eq!(config.tracing.filters, ["h2=debug"]);
    assert_eq!(config.runtime.n_cores, 3);
    let endpoints: Vec<String> = config.services[0]
        .servers
        .iter()
        .map(|server| server.endpoint.to_string())
        .collect();
    assert_eq!(endpoints, ["127.0.0.1:9", "127.0.0.1:10"]);
    assert_eq!(config.services[0].clients[0].endpoint.to_string(), "b:1");
}

#[test]
fn a_variable_that_leads_nowhere_is_named() {
    for (name, value, message) in [
        (
            "SLIM_NODE__TRACING__LOG_LVL",
            "x",
            "tracing.log_lvl (environment variable SLIM_NODE__TRACING__LOG_LVL): unknown key; did you mean \"log_level\"?",
        ),
        (
            "SLIM_NODE__SERVICES__SLIM_0__DATAPLANE__SERVERS__2__ENDPOINT",
            "x",
            "configuration (environment variable SLIM_NODE__SERVICES__SLIM_0__DATAPLANE__SERVERS__2__ENDPOINT): \
             \"2\" leads nowhere: the list is shorter",
        ),
        (
            "SLIM_NODE__SERVICES__SLIM_0__DATAPLANE__SERVERS__0__ENDPOINT__PORT",
            "1",
            "configuration (environment variable SLIM_NODE__SERVICES__SLIM_0__DATAPLANE__SERVERS__0__ENDPOINT__PORT): \
             \"PORT\" leads nowhere: there is a plain value before it",
        ),
        (
            "SLIM_NODE__RUNTIME__N_CORES",
            "many",
            "runtime.n_cores (environment variable SLIM_NODE__RUNTIME__N_CORES): expected a whole number, got text",
        ),
        (
            "SLIM_NODE__RUNTIME",
            "[geheim",
            "configuration (environment variable SLIM_NODE__RUNTIME): the value is not YAML; write it as it would \
             stand in the file",
        ),
    ] {
        assert_eq!(refusal(PLAIN, &[(name, value)]), message);
    }
}

#[test]
fn the_name_of_a_variable_may_have_small_letters() {
    let endpoint = "SLIM_NODE__SERVICES__SLIM_0__dataPlane__Servers__0__endpoint";
    let config = load(TEXT, &[&GOOD[..], &[(endpoint, "127.0.0.1:9")]].concat())
        .unwrap()
        .config;
    assert_eq!(config.services[0].servers[0].endpoint.port(), 9);
}

#[test]
fn a_wrong_value_of_a_variable_is_not_looked_for_in_the_file() {
    let name = "SLIM_NODE__SERVICES__SLIM_0__DATAPLANE__SERVERS__0__ENDPOINT";
    let refused = refusal(TEXT, &[&GOOD[..], &[(name, "nowhere")]].concat());
    assert!(
        refused.contains(&format!("(environment variable {name})")),
        "{refused}"
    );
}
