//! `cargo xtask test`: every check of the repository but formatting, clippy and cargo-deny, with one closing line.
//!
//! A step that fails does not stop the ones after it. Rust is built once: tests and binaries in one cargo call, so
//! that features are resolved once and everything later finds its artifacts.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::coverage::{self, Outcomes};
use crate::test::tally::Tally;
use crate::{codegen, tidy, workspace};

pub(crate) mod python;
mod tally;

pub(crate) use python::{Interop, WORKERS, matrix};

/// Seeds that every run tries; enough to meet every fault a few times within a minute.
const SEEDS: &str = "0..300";

/// Runs everything; the exit code is a failure if any part failed, and the closing line is the last one printed.
pub(crate) fn run() -> Result<ExitCode> {
    let mut total = Tally::default();
    total += check("codegen --check", codegen::check());
    total += check("tidy", tidy::run());
    total += check("coverage --check", coverage::check());
    let mut outcomes = Outcomes::default();
    total += rust(&mut outcomes)?;
    total += simulator(&mut outcomes)?;
    total += python::bindings(&mut outcomes)?;
    total += python::interop(&mut outcomes)?;
    heading("the tutorial, item by item");
    total += check("coverage", coverage::verify(&outcomes));
    // The plain closing line that continuous integration reads.
    println!("{} passed, {} failed", total.passed, total.failed);
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Where cargo puts the binary of this name.
fn binary(name: &str) -> PathBuf {
    workspace::target().join("debug").join(name)
}

fn check(name: &str, result: Result<()>) -> Tally {
    if let Err(error) = &result {
        println!("{name}: {error:#}");
    }
    Tally::of(result.is_ok())
}

fn rust(outcomes: &mut Outcomes) -> Result<Tally> {
    heading("Rust tests");
    let built = workspace::cargo()
        .args(["build", "--workspace", "--bins", "--tests", "--examples"])
        .status()?;
    if !built.success() {
        println!("the workspace does not build");
        return Ok(Tally::of(false));
    }
    tally::run(
        workspace::cargo().args(["test", "--workspace", "--no-fail-fast"]),
        outcomes,
    )
}

/// The seeds run in the simulator's own binary, where a failure prints how to repeat it.
fn simulator(outcomes: &mut Outcomes) -> Result<Tally> {
    heading("simulator");
    let simulator = binary("sim");
    if !workspace::root().join("sim/src/main.rs").exists() {
        println!("absent: sim/src/main.rs");
        return Ok(Tally::default());
    }
    tally::run(
        Command::new(simulator)
            .args(["--seeds", SEEDS])
            .current_dir(workspace::root()),
        outcomes,
    )
}

fn heading(text: &str) {
    println!("\n==> {text}");
}
