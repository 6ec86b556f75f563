//! What the tests of the binary share: configurations, running nodes, and waiting for their lines with a deadline.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, of which each program uses a part"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The tutorial's configuration.
pub const TUTORIAL: &str = include_str!("../../../../config/tutorial.yaml");
/// Far beyond what anything takes that works.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub fn slim() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slim"));
    command
        .env_remove("CONFIG")
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

pub fn tutorial_on(port: u16) -> String {
    TUTORIAL.replace("46357", &port.to_string())
}

pub fn services(endpoint: &str) -> String {
    format!(
        "services: {{slim/0: {{dataplane: {{servers: [{{endpoint: '{endpoint}', tls: {{insecure: true}}}}]}}}}}}\n"
    )
}

pub fn local(level: &str) -> String {
    format!("tracing: {{log_level: {level}}}\n{}", services("127.0.0.1:0"))
}

/// A configuration file of its own for each test and run.
pub fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}.yaml", std::process::id()));
    std::fs::write(&path, text).expect("a writable directory");
    path
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

pub fn timed(command: &mut Command) -> (Output, Duration) {
    let before = Instant::now();
    let output = command.output().expect("the binary runs");
    (output, before.elapsed())
}

pub fn error_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    text.trim_end().to_owned()
}

/// The line without its time, and with thread numbers masked.
pub fn masked(line: &str) -> String {
    let line = line.get("2025-07-31T09:07:45.859161Z".len()..).unwrap_or(line);
    let Some((before, after)) = line.split_once("ThreadId(") else {
        return line.to_owned();
    };
    let (number, rest) = after.split_once(')').expect("a closing bracket");
    assert!(number.len() >= 2 && number.parse::<u32>().is_ok(), "{line}");
    format!("{before}ThreadId(NN){rest}")
}

/// A running node, killed when the test ends early.
pub struct Node {
    pub child: Child,
    lines: Receiver<String>,
}

impl Node {
    pub fn start(name: &str, text: &str, environment: &[(&str, &str)]) -> Self {
        let mut command = slim();
        command
            .arg("--config")
            .arg(file(name, text))
            .envs(environment.iter().copied());
        Self::spawn(command)
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the binary runs");
        let stdout = child.stdout.take().expect("piped");
        let (line, lines) = channel();
        thread::spawn(move || {
            for text in BufReader::new(stdout).lines().map_while(Result::ok) {
                if line.send(text).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(DEADLINE) {
            Ok(line) => line,
            Err(error) => panic!("no further line ({error}); {}", self.errors()),
        }
    }

    pub fn wait_for(&mut self, part: &str) -> String {
        loop {
            let line = self.line();
            if line.contains(part) {
                return line;
            }
        }
    }

    /// The address that the system chose; needs the debug level.
    pub fn address(&mut self) -> SocketAddr {
        let line = self.wait_for("listening endpoint=");
        let (_, address) = line.rsplit_once('=').expect("a field");
        address.parse().expect("an address")
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(status.expect("kill is there").success());
    }

    /// Waits until the handlers are installed, as far as the system shows it, then signals.
    pub fn signal_when_ready(&self, name: &str) {
        let deadline = Instant::now() + DEADLINE;
        while Instant::now() < deadline {
            if self.catches_terminate() {
                break;
            }
            thread::yield_now();
        }
        self.signal(name);
    }

    #[cfg(target_os = "linux")]
    fn catches_terminate(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let mask = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        // SIGTERM is 15, so bit 14.
        mask.is_some_and(|mask| mask & (1 << 14) != 0)
    }

    #[cfg(not(target_os = "linux"))]
    fn catches_terminate(&self) -> bool {
        true
    }

    pub fn exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "still running");
            thread::yield_now();
        }
    }

    /// The lines that are left after the exit.
    pub fn rest(&self) -> Vec<String> {
        let mut rest = Vec::new();
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => rest.push(line),
                Err(RecvTimeoutError::Disconnected) => return rest,
                Err(RecvTimeoutError::Timeout) => panic!("the output stays open"),
            }
        }
    }

    pub fn errors(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
