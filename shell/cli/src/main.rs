//! The `slim` binary: `slim --config FILE` runs a node.

mod args;
mod run_node;
mod version;

use std::io::{self, Write as _};
use std::process::ExitCode;

use args::Action;

/// Wrong arguments, as the shells have it.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let action = match args::parse() {
        Ok(action) => action,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    match action {
        Action::Version => match writeln!(io::stdout(), "{}", version::text()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        Action::RunNode(path) => match run_node::run(&path) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
    }
}

/// One line on standard error.
fn fail(error: &dyn std::error::Error, code: u8) -> ExitCode {
    // Without standard error the exit code has to do.
    let _ = writeln!(io::stderr(), "slim: error: {error}");
    ExitCode::from(code)
}
