//! `slim config`: what it prints, and what it refuses.
#![cfg(unix)]

mod common;

use common::{TUTORIAL, error_line, file, services, slim, timed};

#[test]
fn a_checked_file_is_printed_as_it_is_meant_and_old_names_are_warnings() {
    let path = file("check", TUTORIAL);
    let (output, _) = timed(slim().args(["config", "check"]).arg(&path));
    assert!(output.status.success());
    let warning = error_line(&output);
    assert!(
        warning.ends_with(
            "services.slim/0.pubsub (line 13): \"pubsub\" is the old name of this key; write \"dataplane\""
        ),
        "{warning}"
    );
    let normal = String::from_utf8(output.stdout).unwrap();
    for line in [
        "  thread_name: slim-data-plane",
        "    dataplane:",
        "            insecure: true",
    ] {
        assert!(normal.contains(line), "{normal}");
    }
    assert!(!normal.contains("pubsub"), "{normal}");

    let again = file("check-again", &normal);
    let (output, _) = timed(slim().args(["config", "check"]).arg(&again));
    assert!(output.status.success() && output.stderr.is_empty());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), normal);
}

#[test]
fn the_environment_counts_and_secrets_are_not_shown() {
    let secret = file("secret", "geheim\n");
    let text = format!(
        "services: {{slim/0: {{dataplane: {{servers: [{{endpoint: '127.0.0.1:0', tls: {{insecure: true}}, auth: {{type: \
         basic, username: '${{env:WHO}}', password: '${{file:{}}}'}}}}]}}, authorization: {{default: allow}}}}}}\n",
        secret.display()
    );
    let path = file("environment", &text);
    let check = |variables: &[(&str, &str)]| {
        let mut command = slim();
        command
            .args(["config", "check"])
            .arg(&path)
            .envs(variables.iter().copied());
        timed(&mut command).0
    };
    let output = check(&[("WHO", "alice"), ("SLIM_NODE__TRACING__LOG_LEVEL", "debug")]);
    assert!(output.status.success(), "{}", error_line(&output));
    let normal = String::from_utf8(output.stdout).unwrap();
    for line in ["log_level: debug", "username: alice", "password: \"[redacted]\""] {
        assert!(normal.contains(line), "{normal}");
    }
    let output = check(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error_line(&output).ends_with("${env:WHO}: the environment variable WHO is not set"));
    let output = check(&[("WHO", "alice"), ("SLIM_NODE__TRACING__LOG_LVL", "debug")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(error_line(&output).contains("(environment variable SLIM_NODE__TRACING__LOG_LVL): unknown key"));
}

#[test]
fn what_a_node_would_refuse_is_one_line_and_exit_code_one() {
    let open = "services: {slim/0: {dataplane: {servers: [{endpoint: '127.0.0.1:0', tls: {insecure: true}, auth: {type: \
                basic, username: a, password: b}}]}}}\n";
    let broken = services("127.0.0.1:0").replace("endpoint", "endpiont");
    for (name, text, part) in [
        (
            "typing",
            broken.as_str(),
            "(line 1): unknown key; did you mean \"endpoint\"?",
        ),
        ("no-rules", open, "nothing says who may use which name"),
    ] {
        let (output, _) = timed(slim().args(["config", "check"]).arg(file(name, text)));
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        let line = error_line(&output);
        assert!(line.starts_with("slim: error: ") && line.contains(part), "{line}");
    }
    let (output, _) = timed(slim().args(["config", "check", "no-such-file.yaml"]));
    assert_eq!(output.status.code(), Some(1));
    assert!(error_line(&output).starts_with("slim: error: cannot read no-such-file.yaml: "));
}

#[test]
fn the_schema_is_json_that_names_every_block() {
    let (output, _) = timed(slim().args(["config", "schema"]));
    assert!(output.status.success() && output.stderr.is_empty());
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "\"$schema\": \"https://json-schema.org/draft/2020-12/schema\"",
        "\"authorization\"",
        "\"n_cores\"",
    ] {
        assert!(text.contains(part), "{part}");
    }
}
