//! What every server of this program does around its work: threads, an address for the parent, and the end.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use slim_config::RuntimeConfig;
use slim_node::runtime;
use tokio::runtime::Runtime;

/// Listeners bind here: a measurement crosses no network, and the system chooses the port.
pub(crate) const LISTEN: &str = "127.0.0.1:0";

/// The runtime of a server; the node's own, so that every server has the same.
pub(crate) fn runtime(cores: u32) -> Result<Runtime> {
    let config = RuntimeConfig {
        n_cores: cores,
        ..RuntimeConfig::default()
    };
    let (runtime, _) = runtime::build(&config).context("cannot start the runtime")?;
    Ok(runtime)
}

/// Tells the parent where to connect.
pub(crate) fn announce(address: SocketAddr) -> Result<()> {
    let mut output = io::stdout();
    writeln!(output, "{address}").context("cannot print the address")?;
    output.flush().context("cannot print the address")
}

/// Returns when standard input ends. A parent that dies closes it, so no server is left behind.
pub(crate) fn wait_for_the_end_of_input() {
    let mut input = io::stdin().lock();
    let mut bytes = [0; 64];
    // An input that cannot be read has ended too.
    while input.read(&mut bytes).is_ok_and(|count| count > 0) {}
}
