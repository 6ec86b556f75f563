//! The binary as a user runs it: its lines, its exits, its signals.
#![cfg(unix)]

mod common;

use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use common::{
    DEADLINE, Node, error_line, file, free_port, local, masked, services, slim, timed, tutorial_on,
};

/// What the tutorial shows (S-23, S-24) after the time; thread numbers and the port are masked.
const SIX_LINES: [&str; 6] = [
    "  INFO main ThreadId(NN) application_lifecycle: slim: Runtime started",
    "  INFO main ThreadId(NN) application_lifecycle: slim: Starting service: slim/0",
    "  INFO main ThreadId(NN) application_lifecycle: slim_service: starting service",
    "  INFO main ThreadId(NN) application_lifecycle: slim_service: starting server 0.0.0.0:46357",
    "  INFO main ThreadId(NN) application_lifecycle: slim_service: server configured: setting it up config=ServerConfig { endpoint: 0.0.0.0:46357, tls_setting: TlsServerConfig { config: Config { ca_file: None, ca_pem: None, include_system_ca_certs_pool: false, cert_file: None, cert_pem: None, key_file: None, key_pem: None, tls_version: \"tls1.3\", reload_interval: None }, insecure: true, client_ca_file: None, client_ca_pem: None, reload_client_ca_file: false }, http2_only: true, max_frame_size: None, max_concurrent_streams: None, max_header_list_size: None, read_buffer_size: None, write_buffer_size: None, keepalive: KeepaliveServerParameters { max_connection_idle: 3600s, max_connection_age: 7200s, max_connection_age_grace: 300s, time: 120s, timeout: 20s }, auth: None }",
    "  INFO slim-data-plane ThreadId(NN) slim_service: running service",
];

#[test]
fn s_22_s_23_s_24_s_25_the_tutorials_six_lines_come_in_order_and_nothing_else_at_info() {
    let port = free_port();
    let mut node = Node::start("six-lines", &tutorial_on(port), &[]);
    let mut lines: Vec<String> = (0..6).map(|_| node.line()).collect();
    for line in &mut lines {
        *line = masked(line).replace(&format!("0.0.0.0:{port}"), "0.0.0.0:46357");
    }
    assert_eq!(lines, SIX_LINES);
    // Two warnings of the worker follow, then silence until the node is told to stop.
    let old_key = masked(&node.line());
    assert_eq!(
        old_key,
        "  WARN slim-data-plane ThreadId(NN) slim_service: services.slim/0.pubsub (line 13): \
         \"pubsub\" is the old name of this key; write \"dataplane\""
    );
    let plain_text = masked(&node.line());
    assert!(plain_text.starts_with("  WARN slim-data-plane"), "{plain_text}");
    assert!(
        plain_text.contains("accepts plain text from other machines"),
        "{plain_text}"
    );
    assert!(TcpStream::connect(("127.0.0.1", port)).is_ok());
    node.signal("TERM");
    assert_eq!(
        masked(&node.line()),
        "  INFO main ThreadId(NN) application_lifecycle: slim: SIGTERM received, shutting down"
    );
    assert_eq!(
        masked(&node.line()),
        "  INFO main ThreadId(NN) application_lifecycle: slim: shutdown complete"
    );
    assert!(node.exit().success());
}

#[test]
fn s_07_s_26_both_stop_signals_drain_and_exit_zero() {
    for signal in ["INT", "TERM"] {
        let mut node = Node::start(&format!("stop-{signal}"), &local("info"), &[]);
        node.wait_for("running service");
        let before = Instant::now();
        node.signal(signal);
        node.wait_for(&format!("SIG{signal} received, shutting down"));
        assert_eq!(node.exit().code(), Some(0));
        assert!(before.elapsed() < Duration::from_secs(5));
    }
}

#[test]
fn s_07_an_idle_connection_does_not_keep_a_stopping_node() {
    let mut node = Node::start("stop-connected", &local("debug"), &[]);
    let address = node.address();
    let mut socket = TcpStream::connect(address).unwrap();
    node.wait_for("running service");
    let before = Instant::now();
    node.signal("TERM");
    assert_eq!(node.exit().code(), Some(0));
    assert!(
        before.elapsed() < Duration::from_secs(3),
        "took {:?}",
        before.elapsed()
    );
    let mut rest = Vec::new();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    assert!(socket.read_to_end(&mut rest).is_ok(), "closed, not left behind");
}

#[test]
fn s_02_s_03_s_04_the_log_level_and_the_columns_follow_the_configuration() {
    let quiet = "tracing: {log_level: error}\n";
    let text = format!("{quiet}{}", services("127.0.0.1:0"));
    let mut node = Node::start("quiet", &text, &[]);
    // Nothing is printed, so the handlers are known to be there when a connection is accepted.
    node.signal_when_ready("TERM");
    assert_eq!(node.exit().code(), Some(0));
    assert_eq!(node.rest(), Vec::<String>::new());

    let bare = "tracing: {display_thread_names: false, display_thread_ids: false}\n";
    let text = format!("{bare}{}", services("127.0.0.1:0"));
    let mut node = Node::start("bare", &text, &[]);
    assert_eq!(
        masked(&node.line()),
        "  INFO application_lifecycle: slim: Runtime started"
    );
    node.wait_for("running service");
    node.signal("TERM");
    assert!(node.exit().success());

    let mut node = Node::start("environment", &local("error"), &[("RUST_LOG", "slim=debug")]);
    node.wait_for("DEBUG");
    node.wait_for("running service");
    node.signal("TERM");
    assert!(node.exit().success());
}

#[test]
fn s_06_the_worker_threads_carry_their_configured_name() {
    let text = format!(
        "runtime: {{thread_name: my-worker, n_cores: 1}}\n{}",
        services("127.0.0.1:0")
    );
    let mut node = Node::start("names", &text, &[]);
    let line = node.wait_for("running service");
    assert!(
        masked(&line).starts_with("  INFO my-worker slim_service:"),
        "{line}"
    );
    #[cfg(target_os = "linux")]
    {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", node.child.id())).unwrap();
        let names: Vec<String> = tasks
            .map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap())
            .collect();
        assert_eq!(
            names.iter().filter(|name| name.trim() == "my-worker").count(),
            1,
            "{names:?}"
        );
    }
    node.signal("TERM");
    assert!(node.exit().success());
}

#[test]
fn s_05_more_cores_than_there_are_is_a_warning() {
    let text = format!("runtime: {{n_cores: 100000}}\n{}", services("127.0.0.1:0"));
    let mut node = Node::start("cores", &text, &[]);
    node.wait_for("running service");
    let warning = node.wait_for("WARN");
    assert!(
        warning.contains("runtime.n_cores is 100000, but there are "),
        "{warning}"
    );
    node.signal("TERM");
    assert!(node.exit().success());
}

#[test]
fn s_21_the_configuration_may_come_from_the_environment() {
    let path = file("from-environment", &local("info"));
    let mut command = slim();
    command.env("CONFIG", &path);
    let mut node = Node::spawn(command);
    node.wait_for("running service");
    node.signal("TERM");
    assert!(node.exit().success());
}

#[test]
fn s_11_s_12_s_13_every_way_to_fail_is_one_line_and_an_exit_code_within_a_second() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap();
    let misspelt = services("127.0.0.1:0").replace("endpoint", "endpiont");
    let no_certificate = services("127.0.0.1:0").replace(", tls: {insecure: true}", "");
    let source = "source: {type: file, cert: /no/such.pem, key: /no/such.key}";
    let missing_certificate = services("127.0.0.1:0").replace("insecure: true", source);
    for (name, text, expected) in [
        (
            "unknown-key",
            misspelt,
            "services.slim/0.dataplane.servers[0].endpiont (line 1): unknown key; did you mean \"endpoint\"?"
                .to_owned(),
        ),
        (
            "no-certificate",
            no_certificate,
            "TLS is on and no certificate is configured".to_owned(),
        ),
        (
            "missing-certificate",
            missing_certificate,
            "service slim/0, 127.0.0.1:0: tls.source.cert (/no/such.pem) cannot be read: ".to_owned(),
        ),
        (
            "no-yaml",
            "services: [".to_owned(),
            "configuration (line ".to_owned(),
        ),
        ("empty", String::new(), "no service is configured".to_owned()),
        (
            "busy-port",
            services(&taken.to_string()),
            format!("service slim/0: cannot listen on {taken}: "),
        ),
        (
            "no-such-address",
            services("192.0.2.1:1"),
            "service slim/0: cannot listen on 192.0.2.1:1: ".to_owned(),
        ),
    ] {
        let path = file(name, &text);
        let (output, took) = timed(slim().arg("--config").arg(&path));
        let line = error_line(&output);
        assert!(line.contains(&expected), "{name}: {line}");
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(took < Duration::from_secs(1), "{name} took {took:?}");
    }
    let (output, _) = timed(slim().args(["-c", "/no/such/file.yaml"]));
    let line = error_line(&output);
    assert!(
        line.starts_with("slim: error: cannot read /no/such/file.yaml: "),
        "{line}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn s_11_a_second_node_on_the_same_port_says_so() {
    let mut first = Node::start("first", &local("debug"), &[]);
    let address = first.address();
    let path = file("second", &services(&address.to_string()));
    let (output, _) = timed(slim().arg("-c").arg(path));
    assert_eq!(output.status.code(), Some(1));
    let line = error_line(&output);
    assert!(
        line.contains(&format!("cannot listen on {address}: Address already in use")),
        "{line}"
    );
    first.signal("TERM");
    assert!(first.exit().success());
}

#[test]
fn a_bad_filter_in_the_environment_is_named() {
    let path = file("bad-filter", &local("info"));
    let (output, _) = timed(slim().arg("-c").arg(path).env("RUST_LOG", "slim=loud"));
    assert_eq!(output.status.code(), Some(1));
    let line = error_line(&output);
    assert!(
        line.starts_with("slim: error: RUST_LOG=\"slim=loud\" is no log filter"),
        "{line}"
    );
}

#[test]
fn s_21_the_version_names_date_revision_and_profile() {
    for flag in ["--version", "-v"] {
        let (output, _) = timed(slim().arg(flag).env("CONFIG", "ignored"));
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4, "{text}");
        assert_eq!(lines[0], concat!("slim ", env!("CARGO_PKG_VERSION")));
        for (line, label) in lines[1..]
            .iter()
            .zip(["build date: ", "git revision: ", "profile: "])
        {
            let value = line.strip_prefix(label).unwrap();
            assert!(!value.is_empty(), "{text}");
        }
    }
}

#[test]
fn s_21_without_arguments_or_with_both_it_says_what_it_needs() {
    let (output, _) = timed(&mut slim());
    assert_eq!(output.status.code(), Some(2));
    assert!(error_line(&output).contains("--config FILE"));
    let (output, _) = timed(slim().args(["--version", "--config", "x"]));
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("cannot be used with"), "{text}");
}
