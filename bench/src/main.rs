//! `slim-bench`: how a node compares with doing nothing but forwarding.
//!
//! `slim-bench compare` starts a node and three bare gRPC forwarders one after the other, loads each with the same
//! frames, and prints the ratios. Absolute numbers say more about a machine than about a program, so they go to
//! standard error and into no document.

mod args;
mod compare;
mod cpu;
mod forwarder;
mod load;
mod measurement;
mod node;
mod report;
mod scenario;
mod server_process;
mod serving;

use std::io::{self, Write as _};
use std::process::ExitCode;

use args::Command;

fn main() -> ExitCode {
    let result = match args::parse() {
        Command::Compare(options) => compare::run(&options),
        Command::Node { cores } => node::run(cores),
        Command::Forwarder { stack, cores } => forwarder::run(stack, cores),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without standard error the exit code has to do.
            let _ = writeln!(io::stderr(), "slim-bench: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
