//! `cargo xtask demo`: a node, a moderator and three participants, each a process of its own, talk for a moment.
//!
//! Shows who says what, each join with its time, and the MLS epoch; ends by itself. On failure it shows what every
//! process wrote.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::demo::cast::{Actor, Stage};
use crate::test::python;
use crate::workspace;

mod cast;

/// From the node's start to the last process's end; on an idle machine it takes about a second.
const PLAY_MAX: Duration = Duration::from_secs(50);
/// How long a node may take to listen.
const NODE_MAX: Duration = Duration::from_secs(10);
const SECRET: &str = "the demonstration shares this secret of 32 bytes and more";
const PARTICIPANTS: [&str; 3] = ["ada", "ben", "cleo"];

/// Builds what is needed and plays.
pub(crate) fn run() -> Result<()> {
    println!("building the node and the Python package");
    let built = workspace::cargo()
        .args(["build", "--quiet", "-p", "slim-cli"])
        .status()?;
    if !built.success() {
        bail!("the node does not build");
    }
    let interpreter = python::install_bindings(&workspace::root().join("bindings/python"))?;
    let mut stage = Stage::new(PLAY_MAX);
    let played = play(&mut stage, &interpreter);
    if played.is_err() {
        stage.print_logs();
    }
    played
}

fn play(stage: &mut Stage, interpreter: &Path) -> Result<()> {
    let (mut node, port) = start_node(stage)?;
    let endpoint = format!("http://127.0.0.1:{port}");
    let example = |script: &str| {
        let mut command = Command::new(interpreter);
        command
            .arg(workspace::root().join("examples/python").join(script))
            .args(["--endpoint", &endpoint, "--secret", SECRET]);
        command
    };

    let names = PARTICIPANTS.map(|name| format!("org/demo/{name}"));
    let mut participants = Vec::new();
    for (actor, name) in PARTICIPANTS.into_iter().zip(&names) {
        participants.push(stage.start(actor, example("participant.py").args(["--name", name]))?);
    }
    for participant in &mut participants {
        stage.wait_for_line(participant, "waits for an invitation")?;
    }

    let mut command = example("moderator.py");
    command.args([
        "--name",
        "org/demo/moderator",
        "--channel",
        "org/demo/round-table",
    ]);
    for name in &names {
        command.args(["--invite", name]);
    }
    command.args(["--message", "good morning"]);
    let mut moderator = stage.start("moderator", &mut command)?;
    stage.wait_for_success(&mut moderator)?;
    for participant in &mut participants {
        stage.wait_for_success(participant)?;
    }
    node.stop();
    stage.say(
        "demo",
        "everybody heard everybody; the node passed sealed messages only (bindings/python/tests/test_secrecy.py)",
    );
    Ok(())
}

/// Starts the node on a free port and waits until it listens.
fn start_node(stage: &mut Stage) -> Result<(Actor, u16)> {
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    let folder = workspace::target().join("demo");
    fs::create_dir_all(&folder)?;
    let configuration = folder.join("node.yaml");
    fs::write(
        &configuration,
        format!(
            "services:\n  slim/demo:\n    dataplane:\n      servers:\n        - endpoint: \"127.0.0.1:{port}\"\n          \
             tls:\n            insecure: true\n      clients: []\n"
        ),
    )?;
    let slim = workspace::target().join("debug/slim");
    let mut node = stage.start_quietly("node", Command::new(slim).arg("--config").arg(&configuration))?;
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if let Some(status) = node.status()? {
            bail!("the node ended with {status}");
        }
        if begun.elapsed() > NODE_MAX {
            bail!("the node does not listen on port {port}");
        }
        thread::sleep(Duration::from_millis(10));
    }
    let took = begun.elapsed().as_millis();
    stage.say("node", &format!("listens on port {port} after {took} ms"));
    Ok((node, port))
}
