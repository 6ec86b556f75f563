//! The `slim` binary: `slim --config FILE` runs a node, `slim config …` looks at configurations, `slim rpc generate` writes
//! stubs.

mod args;
mod generate_stubs;
mod run_node;
mod show_config;
mod version;

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use args::Action;

/// Wrong arguments, as the shells have it.
const EXIT_USAGE: u8 = 2;
const EXIT_FAILURE: u8 = 1;

fn main() -> ExitCode {
    let action = match args::parse() {
        Ok(action) => action,
        Err(error) => return fail(&error, EXIT_USAGE),
    };
    let done: Result<(), Box<dyn Error>> = match action {
        Action::Version => writeln!(io::stdout(), "{}", version::text()).map_err(Into::into),
        Action::RunNode(path) => run_node::run(&path).map_err(Into::into),
        Action::CheckConfig(path) => show_config::check(&path).map_err(Into::into),
        Action::ConfigSchema => show_config::schema().map_err(Into::into),
        Action::GenerateStubs(stubs) => generate_stubs::run(&stubs).map_err(Into::into),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.as_ref(), EXIT_FAILURE),
    }
}

/// One line on standard error.
fn fail(error: &dyn Error, code: u8) -> ExitCode {
    // Without standard error the exit code has to do.
    let _ = writeln!(io::stderr(), "slim: error: {error}");
    ExitCode::from(code)
}
