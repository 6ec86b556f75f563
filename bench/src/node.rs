//! `slim-bench node`: the node as a library, in a process of its own.
//!
//! The default of `compare`: it is always built from the same sources and in the same profile as the forwarders.

use anyhow::{Context as _, Result};
use slim_config::{Endpoint, ServerConfig};
use slim_node::Node;

use crate::serving::{self, LISTEN};

/// Runs until standard input ends.
pub(crate) fn run(cores: u32) -> Result<()> {
    let runtime = serving::runtime(cores)?;
    let endpoint: Endpoint = LISTEN.parse()?;
    let node = runtime.block_on(Node::serve(ServerConfig::insecure(endpoint)))?;
    let address = node.local_addresses().first().copied();
    serving::announce(address.context("the node listens nowhere")?)?;
    serving::wait_for_the_end_of_input();
    Ok(())
}
