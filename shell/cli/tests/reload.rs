//! SIGHUP: the file is read again by the running process.
#![cfg(unix)]

mod common;

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;

use common::{Node, file, free_port, masked, slim};

fn write(path: &Path, level: &str, ports: &[u16], more: &str) {
    let servers: Vec<String> = ports
        .iter()
        .map(|port| format!("{{endpoint: '127.0.0.1:{port}', tls: {{insecure: true}}}}"))
        .collect();
    let text = format!(
        "tracing: {{log_level: {level}}}\n{more}services: {{slim/0: {{dataplane: {{servers: [{}]}}}}}}\n",
        servers.join(", ")
    );
    std::fs::write(path, text).expect("a writable file");
}

fn start(path: &Path, environment: &[(&str, &str)]) -> Node {
    let mut command: Command = slim();
    command
        .arg("--config")
        .arg(path)
        .envs(environment.iter().copied());
    let mut node = Node::spawn(command);
    node.wait_for("running service");
    node
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok()
}

/// The lines of one reload, without times, from the signal to its last line.
fn reloaded(node: &mut Node, last: &str) -> Vec<String> {
    node.signal("HUP");
    node.wait_for("SIGHUP received, reading ");
    let mut lines = Vec::new();
    loop {
        let line = masked(&node.line());
        let text = line
            .rsplit_once("slim: ")
            .map_or_else(|| line.clone(), |(_, text)| text.to_owned());
        let is_last = text.contains(last);
        lines.push(text);
        if is_last {
            return lines;
        }
    }
}

const DONE: &str = "configuration read again";

#[test]
fn listeners_and_the_log_level_change_and_what_cannot_is_named() {
    let (kept, gone, new) = (free_port(), free_port(), free_port());
    let path = file("reload", "");
    write(&path, "info", &[kept, gone], "");
    let mut node = start(&path, &[]);
    assert!(is_open(kept) && is_open(gone) && !is_open(new));

    write(
        &path,
        "debug",
        &[kept, new],
        "runtime: {n_cores: 1, thread_name: other}\n",
    );
    let lines = reloaded(&mut node, DONE);
    for expected in [
        format!("service slim/0: 127.0.0.1:{new}: listening"),
        format!("service slim/0: 127.0.0.1:{gone}: not listening any more"),
        "runtime.n_cores changed, which takes effect when the node is started again".to_owned(),
        "runtime.thread_name changed, which takes effect when the node is started again".to_owned(),
        "the log is at level debug now".to_owned(),
    ] {
        assert!(lines.contains(&expected), "{expected}\n{lines:#?}");
    }
    assert!(is_open(kept) && is_open(new));
    // A line of the level that was asked for.
    node.wait_for("DEBUG");

    node.signal("TERM");
    assert_eq!(node.exit().code(), Some(0));
}

#[test]
fn a_broken_file_leaves_the_node_as_it_was_and_says_so() {
    let (kept, new) = (free_port(), free_port());
    let path = file("reload-broken", "");
    write(&path, "info", &[kept], "");
    let mut node = start(&path, &[]);

    let stays = "the configuration stays as it was: ";
    std::fs::write(&path, "services: {slim/0: {dataplan: {}}}\n").unwrap();
    let lines = reloaded(&mut node, stays);
    assert!(
        lines[0].ends_with("unknown key; did you mean \"dataplane\"?"),
        "{lines:?}"
    );
    std::fs::remove_file(&path).unwrap();
    let lines = reloaded(&mut node, stays);
    assert!(lines[0].contains("cannot read "), "{lines:?}");
    assert!(is_open(kept));

    write(&path, "info", &[kept, new], "");
    reloaded(&mut node, DONE);
    assert!(is_open(kept) && is_open(new));
    node.signal("TERM");
    assert_eq!(node.exit().code(), Some(0));
}

#[test]
fn a_log_level_under_rust_log_does_not_change() {
    let path = file("reload-fixed", "");
    write(&path, "info", &[free_port()], "");
    let mut node = start(&path, &[("RUST_LOG", "slim=info")]);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("log_level: info", "log_level: debug")).unwrap();
    let lines = reloaded(&mut node, DONE);
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("RUST_LOG says what is logged; ")),
        "{lines:?}"
    );
    node.signal("TERM");
    assert_eq!(node.exit().code(), Some(0));
}
