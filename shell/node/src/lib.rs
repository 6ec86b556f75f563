//! A running node: threads, link drivers, shutdown.
//!
//! [`process::run`] is the node as a process; [`Node`] is the node inside somebody else's runtime. Which frame goes
//! where is decided by `slim-router`; here are only the tasks around it.

mod accepting;
mod access;
pub mod config_file;
mod counters;
mod fib_cell;
mod link_driver;
mod links;
mod listening;
pub mod log;
pub mod node;
mod older;
mod parts;
pub mod process;
pub mod reload;
mod router_task;
pub mod runtime;
mod service;
pub mod signals;
mod uplink;

pub use counters::NodeCounters;
pub use node::{DrainError, Node, StartError};
pub use older::OlderCounters;
