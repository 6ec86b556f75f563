//! Items of the tutorial that need the binary and are about one key or one line each.
#![cfg(unix)]

mod common;

use std::io::Read as _;
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::{DEADLINE, Node, TUTORIAL, error_line, file, local, masked, services, slim, timed, tutorial_on};

#[test]
fn s_22_every_line_has_its_time_and_a_level_of_five_letters_before_the_thread() {
    let before = now();
    let mut node = Node::start(
        "format",
        &tutorial_on(common::free_port()),
        &[("RUST_LOG", "debug")],
    );
    let mut levels = Vec::new();
    loop {
        let line = node.line();
        let (time, rest) = line.split_at("2025-07-31T09:07:45.859161Z".len());
        let shape: String = time
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000000Z", "{line}");
        let minute = time[14..16].parse::<u64>().unwrap();
        let distance = (minute + 60 - before / 60 % 60) % 60;
        assert!(distance <= 1, "{line} is in UTC and now");
        let (level, rest) = rest.split_at("  INFO".len());
        levels.push(level.to_owned());
        let thread = rest.split_once(" ThreadId(").unwrap().0;
        assert!([" main", " slim-data-plane"].contains(&thread), "{line}");
        if line.ends_with("running service") {
            break;
        }
    }
    for level in &levels {
        assert!(
            [" DEBUG", "  INFO", "  WARN"].contains(&level.as_str()),
            "{level:?}"
        );
    }
    assert!(levels.contains(&" DEBUG".to_owned()) && levels.contains(&"  INFO".to_owned()));
    node.signal("TERM");
    assert!(node.exit().success());
}

#[cfg(target_os = "linux")]
#[test]
fn s_05_zero_cores_are_a_worker_for_each_cpu_and_one_is_one() {
    let available = std::thread::available_parallelism().unwrap().get();
    for (n_cores, expected) in [(0, available), (1, 1)] {
        let text = format!(
            "runtime: {{thread_name: counted, n_cores: {n_cores}}}\n{}",
            services("127.0.0.1:0")
        );
        let mut node = Node::start(&format!("cores-{n_cores}"), &text, &[]);
        node.wait_for("running service");
        let workers = || {
            std::fs::read_dir(format!("/proc/{}/task", node.child.id()))
                .unwrap()
                .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
                .filter(|name| name.trim() == "counted")
                .count()
        };
        // A thread gets its name after it was started.
        let deadline = Instant::now() + DEADLINE;
        while workers() < expected && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(workers(), expected, "n_cores: {n_cores}");
        node.signal("TERM");
        assert!(node.exit().success());
    }
}

#[test]
fn s_02_each_level_hides_the_events_below_it() {
    // A plain-text listener for everybody warns once; the level decides who reads that.
    for (level, info, warning) in [
        ("info", true, true),
        ("warn", false, true),
        ("error", false, false),
    ] {
        let text = format!("tracing: {{log_level: {level}}}\n{}", services("0.0.0.0:0"));
        let mut node = Node::start(&format!("level-{level}"), &text, &[]);
        if info {
            node.wait_for("accepts plain text from other machines");
        }
        node.signal_when_ready("TERM");
        assert!(node.exit().success());
        let rest = node.rest();
        let count = |level: &str| rest.iter().filter(|line| line.contains(level)).count();
        assert_eq!(count(" INFO ") > 0, info, "{level}: {rest:?}");
        if !info && warning {
            assert!(count(" WARN ") <= 1, "{level}: {rest:?}");
        }
        if !warning {
            assert_eq!(rest, Vec::<String>::new());
        }
    }
    let (output, _) = timed(slim().arg("-c").arg(file("loud", &local("loud"))));
    assert!(error_line(&output).contains("\"loud\" is none of trace, debug, info, warn, error"));
}

#[test]
fn s_07_a_node_that_cannot_drain_in_time_says_so_in_one_line_and_fails() {
    let text = format!("runtime: {{drain_timeout: 1ms}}\n{}", local("debug"));
    let mut node = Node::start("drain", &text, &[]);
    let address = node.address();
    // Another node that holds a link and has stopped, so it will not let go of it.
    let dialer = format!(
        "tracing: {{log_level: debug}}\nservices: {{slim/1: {{dataplane: {{clients: \
         [{{endpoint: '{address}', tls: {{insecure: true}}}}]}}}}}}\n"
    );
    let stopped = Node::start("stopped", &dialer, &[]);
    node.wait_for("link established");
    stopped.signal("STOP");
    let before = Instant::now();
    node.signal("TERM");
    let status = node.exit();
    assert_eq!(status.code(), Some(1));
    assert!(before.elapsed() < Duration::from_secs(5));
    let errors = node.errors();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(
        errors.starts_with("slim: error: ") && errors.contains("1ms"),
        "{errors}"
    );
}

#[test]
fn s_08_s_09_s_14_a_wrong_duration_kind_or_key_at_the_top_is_one_line_that_names_it() {
    for (name, text, expected) in [
        (
            "duration",
            format!("runtime: {{drain_timeout: '10'}}\n{}", services("127.0.0.1:0")),
            "runtime.drain_timeout (line 1): \"10\" has no unit; write for example 10s, 500ms, 1h30m",
        ),
        (
            "kind",
            services("127.0.0.1:0").replace("slim/0", "mcp/0"),
            "services.mcp/0 (line 1): the kind of a service is \"slim\" (slim/NAME), not \"mcp\"",
        ),
        (
            "top",
            format!("service: {{}}\n{}", services("127.0.0.1:0")),
            "service (line 1): unknown key; did you mean \"services\"?",
        ),
    ] {
        let (output, took) = timed(slim().arg("-c").arg(file(name, &text)));
        let line = error_line(&output);
        assert!(line.ends_with(expected), "{line}");
        assert_eq!(output.status.code(), Some(1));
        assert!(took < Duration::from_secs(1));
    }
}

#[test]
fn s_09_s_11_several_services_and_spellings_of_an_endpoint_run_side_by_side() {
    let text = "tracing: {log_level: debug}\nservices:\n".to_owned()
        + &["127.0.0.1:0", "localhost:0", "http://127.0.0.1:0"]
            .iter()
            .enumerate()
            .map(|(number, endpoint)| {
                format!(
                    "  slim/{number}: {{dataplane: {{servers: [{{endpoint: '{endpoint}', tls: {{insecure: true}}}}]}}}}\n"
                )
            })
            .collect::<String>();
    let mut node = Node::start("several", &text, &[]);
    let addresses = [node.address(), node.address(), node.address()];
    for address in addresses {
        assert!(TcpStream::connect(address).is_ok(), "{address}");
    }
    node.signal("TERM");
    assert!(node.exit().success());
}

#[test]
fn s_01_s_12_the_tutorials_configuration_speaks_plain_http2_to_all_interfaces() {
    assert!(TUTORIAL.contains("endpoint: \"0.0.0.0:46357\"") && TUTORIAL.contains("insecure: true"));
    let port = common::free_port();
    let mut node = Node::start("http2", &tutorial_on(port), &[]);
    node.wait_for("running service");
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    std::io::Write::write_all(
        &mut socket,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    )
    .unwrap();
    // A frame header of HTTP/2: three bytes of length, then 4 for SETTINGS.
    let mut head = [0; 9];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "{head:?}");
    node.signal("TERM");
    assert!(masked(&node.wait_for("shutdown complete")).starts_with("  INFO main"));
    assert!(node.exit().success());
}

#[test]
fn s_24_the_shown_configuration_of_a_listener_holds_no_secret() {
    const SECRET: &str = "hunter2-is-no-password";
    let text = format!(
        "tracing: {{log_level: trace}}\nservices: {{slim/0: {{authorization: {{default: allow}}, dataplane: {{servers: \
         [{{endpoint: '127.0.0.1:0', tls: {{insecure: true}}, \
         auth: {{type: basic, username: alice, password: {SECRET}}}}}]}}}}}}\n"
    );
    let mut node = Node::start("secret", &text, &[]);
    let mut lines = Vec::new();
    while !lines
        .last()
        .is_some_and(|line: &String| line.ends_with("running service"))
    {
        lines.push(node.line());
    }
    let shown = lines
        .iter()
        .find(|line| line.contains("server configured: "))
        .unwrap();
    assert!(shown.contains("auth: Some("), "{shown}");
    node.signal("TERM");
    assert!(node.exit().success());
    lines.extend(node.rest());
    assert!(!lines.iter().any(|line| line.contains(SECRET)));
    assert!(!node.errors().contains(SECRET));
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_secs()
}
