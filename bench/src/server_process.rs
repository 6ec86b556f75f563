//! The measured servers as child processes: started, found, and ended with their handle.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::load::{Peer, Server};
use crate::serving::LISTEN;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    /// A SLIM node.
    Node,
    /// A bare forwarder on h2.
    H2,
    /// A bare forwarder on hyper.
    Hyper,
    /// A bare forwarder on tonic.
    Tonic,
}

impl Target {
    /// Every target, in the order of measuring.
    pub(crate) const ALL: [Self; 4] = [Self::Node, Self::H2, Self::Hyper, Self::Tonic];
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "node",
            Self::H2 => "h2",
            Self::Hyper => "hyper",
            Self::Tonic => "tonic",
        })
    }
}

/// How servers are started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartOptions<'a> {
    /// Worker threads.
    pub(crate) cores: u32,
    /// A node program of its own instead of the built-in one.
    pub(crate) node: Option<&'a Path>,
}

/// A running server; dropping it ends the process.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    child: Child,
    address: SocketAddr,
    peer: Peer,
    /// Removed with the process.
    config: Option<TemporaryFile>,
}

/// Longest start of a server.
const START_MAX: Duration = Duration::from_secs(20);

impl ServerProcess {
    /// Starts a server and waits until it can be connected to.
    pub(crate) fn start(target: Target, options: StartOptions<'_>) -> Result<Self> {
        match (target, options.node) {
            (Target::Node, Some(program)) => Self::start_program(program, options.cores),
            (Target::Node, None) => Self::start_own(&["node"], Peer::Node, options.cores),
            (Target::H2 | Target::Hyper | Target::Tonic, _) => {
                let stack = target.to_string();
                Self::start_own(&["forwarder", "--stack", &stack], Peer::Forwarder, options.cores)
            }
        }
    }

    /// Where it is and whose processor time counts.
    pub(crate) fn server(&self) -> Server {
        Server {
            address: self.address,
            process: self.child.id(),
            peer: self.peer,
        }
    }

    /// This program in another role; it says where it listens.
    fn start_own(arguments: &[&str], peer: Peer, cores: u32) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let child = Command::new(program)
            .args(arguments)
            .args(["--cores", &cores.to_string()])
            // The child ends when this pipe does, also when this process is killed.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {arguments:?}"))?;
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            peer,
            config: None,
        };
        let output = server.child.stdout.take().context("the output is piped")?;
        let mut line = String::new();
        BufReader::new(output)
            .read_line(&mut line)
            .with_context(|| format!("cannot read the output of {arguments:?}"))?;
        server.address = line
            .trim()
            .parse()
            .with_context(|| format!("{arguments:?} did not say where it listens: {line:?}"))?;
        Ok(server)
    }

    /// Any node that takes `--config FILE`, on a port that was free a moment ago.
    fn start_program(program: &Path, cores: u32) -> Result<Self> {
        let address = TcpListener::bind(LISTEN)?.local_addr()?;
        let config = TemporaryFile::write(&node_config(address, cores))?;
        let child = Command::new(program)
            .arg("--config")
            .arg(&config.0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Self {
            child,
            address,
            peer: Peer::Node,
            config: Some(config),
        };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("{} ended at once: {status}", program.display());
            }
            if start.elapsed() > START_MAX {
                bail!("{} does not listen on {address}", program.display());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(server)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Fails only for a process that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        drop(self.config.take());
    }
}

/// What a node needs, in the form of the tutorial. Log lines would be part of the measurement.
fn node_config(address: SocketAddr, cores: u32) -> String {
    format!(
        "tracing:\n  log_level: warn\nruntime:\n  n_cores: {cores}\nservices:\n  slim/0:\n    pubsub:\n      \
         servers:\n        - endpoint: \"{address}\"\n          tls:\n            insecure: true\n      clients: []\n"
    )
}

/// A file that is removed with its handle.
#[derive(Debug)]
struct TemporaryFile(PathBuf);

impl TemporaryFile {
    fn write(text: &str) -> Result<Self> {
        let name = format!("slim-bench-{}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // A file that stays is no reason to fail.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slim_config::NodeConfig;

    #[test]
    fn the_node_understands_its_configuration() {
        let address: SocketAddr = "127.0.0.1:4711".parse().unwrap();
        let loaded = NodeConfig::from_yaml_text(&node_config(address, 2)).unwrap();
        assert_eq!(loaded.config.runtime.n_cores, 2);
        let service = &loaded.config.services[0];
        assert_eq!(service.servers[0].endpoint.to_string(), "127.0.0.1:4711");
        assert!(service.servers[0].require_header_mac);
    }
}
