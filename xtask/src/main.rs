//! Developer commands: `cargo xtask codegen|config-docs|coverage|demo|fuzz|interop|map|tidy|test`.

#![allow(clippy::print_stdout, reason = "these commands talk to a person")]

use std::process::ExitCode;

use anyhow::{Result, bail};

mod codegen;
mod config_docs;
mod coverage;
mod demo;
mod fuzz;
mod interop;
mod map;
mod test;
mod tidy;
mod workspace;

const USAGE: &str = "\
commands:
  codegen           rewrite core/proto/src/gen/ from proto/
  codegen --check   fail if the committed output is not what codegen would write
  config-docs       rewrite the tables of docs/configuration.md from those of the parser
  config-docs --check  fail if they are out of date
  coverage          rewrite docs/tutorial-coverage.md from the names of the tests
  coverage --check  fail if it is out of date or an item of the tutorial has no test
  demo              a node, a moderator and three participants in Python talk for a moment
  fuzz [TARGET [SECONDS]]  feed the decoders (or one) with bytes that nobody sent, for ten minutes each
  fuzz --minimise TARGET   replace the committed inputs of a target by the best of all that are known
  interop [--all] [--row TEXT]... [--times N]
                    the matrix of interoperability with published packages; all of it rewrites docs/interop.md
  map               rewrite the code map of ARCHITECTURE.md from the first sentence of every file
  tidy              check the rules of ARCHITECTURE.md that the compiler does not
  test              everything: codegen --check, tidy, coverage --check, Rust tests, simulator seeds, Python tests, interop";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["codegen"] => codegen::write()?,
        ["codegen", "--check"] => codegen::check()?,
        ["config-docs"] => config_docs::write()?,
        ["config-docs", "--check"] => config_docs::check()?,
        ["coverage"] => coverage::write()?,
        ["coverage", "--check"] => coverage::check()?,
        ["demo"] => demo::run()?,
        ["fuzz"] => fuzz::run(None, None)?,
        ["fuzz", "--minimise", target] => fuzz::minimise(target)?,
        ["fuzz", target] => fuzz::run(Some(target), None)?,
        ["fuzz", target, seconds] => fuzz::run(Some(target), Some(seconds))?,
        ["interop", ref options @ ..] => return interop::run(options),
        ["map"] => map::write()?,
        ["tidy"] => tidy::run()?,
        ["test"] => return test::run(),
        [] | ["help" | "--help" | "-h"] => println!("{USAGE}"),
        _ => bail!("unknown command {arguments:?}\n{USAGE}"),
    }
    Ok(ExitCode::SUCCESS)
}
