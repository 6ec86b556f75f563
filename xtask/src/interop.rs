//! `cargo xtask interop`: the whole matrix of `interop/tests/matrix`, as often as wanted, and the page that it makes.
//!
//! What is done in a cell, and which cells there are, is the matrix's own; this builds and installs what it needs.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::test::{Interop, WORKERS, matrix};
use crate::workspace;

/// The command line.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    /// Only rows with one of these texts; all when empty.
    rows: Vec<String>,
    times: u32,
}

/// Runs the matrix and prints it. Only a run of all cells changes `interop/results.json` and docs/interop.md.
pub(crate) fn run(arguments: &[&str]) -> Result<ExitCode> {
    let wanted = Wanted::parse(arguments)?;
    build()?;
    let interop = Interop::install()?;
    let folder = workspace::target().join("interop");
    let mut passed = true;
    let mut outcomes = Vec::new();
    for number in 1..=wanted.times {
        let file = folder.join(format!("run-{number}.json"));
        let mut pytest = interop.pytest(&matrix());
        let called = format!("cargo xtask interop --all --times {}", wanted.times);
        pytest
            .args(WORKERS)
            .args(["--every-cell", "--called", &called, "--outcomes"])
            .arg(&file);
        for row in &wanted.rows {
            pytest.args(["--row", row]);
        }
        // The page is about to be written anew.
        pytest.args(["--deselect", "interop/tests/matrix/test_page.py"]);
        passed &= pytest.status().with_context(|| format!("{pytest:?}"))?.success();
        outcomes.push(file);
    }
    report(
        &interop,
        if wanted.rows.is_empty() { "write" } else { "show" },
        &outcomes,
    )?;
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Wanted {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut wanted = Self {
            rows: Vec::new(),
            times: 1,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match *argument {
                "--all" => wanted.rows.clear(),
                "--row" => {
                    let row = arguments
                        .next()
                        .context("--row needs a text that rows have in them")?;
                    wanted.rows.push((*row).to_owned());
                }
                "--times" => {
                    let times = arguments.next().context("--times needs a number")?;
                    wanted.times = times
                        .parse()
                        .ok()
                        .filter(|times| *times > 0)
                        .with_context(|| format!("--times takes a number from 1 on, not {times:?}"))?;
                }
                other => {
                    bail!("cargo xtask interop [--all] [--row TEXT]... [--times N]: no option {other:?}")
                }
            }
        }
        Ok(wanted)
    }
}

/// The node, our application and the proxy; in the profile of the tests.
fn build() -> Result<()> {
    let mut cargo = workspace::cargo();
    cargo
        .args([
            "build", "-p", "slim-cli", "-p", "slim", "-p", "slim-net", "--bins",
        ])
        .args(["--example", "peer", "--example", "lossy_proxy"]);
    if !cargo.status()?.success() {
        bail!("the node, the peer or the proxy does not build");
    }
    Ok(())
}

fn report(interop: &Interop, command: &str, outcomes: &[PathBuf]) -> Result<()> {
    let script: &Path = &matrix().join("report.py");
    let status = Command::new(interop.python())
        .arg(script)
        .arg(command)
        .args(outcomes)
        .current_dir(workspace::root())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .status()?;
    if !status.success() {
        bail!("{}: {status}", script.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_matrix_once_is_what_no_option_means() {
        let all = Wanted {
            rows: Vec::new(),
            times: 1,
        };
        assert_eq!(Wanted::parse(&[]).unwrap(), all);
        assert_eq!(Wanted::parse(&["--all"]).unwrap(), all);
    }

    #[test]
    fn rows_and_repetitions_are_read() {
        let wanted = Wanted::parse(&["--row", "group ours", "--times", "3", "--row", "2.2.0"]).unwrap();
        assert_eq!(wanted.rows, ["group ours", "2.2.0"]);
        assert_eq!(wanted.times, 3);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for arguments in [
            &["--rows"][..],
            &["--row"],
            &["--times"],
            &["--times", "0"],
            &["--times", "x"],
        ] {
            assert!(Wanted::parse(arguments).is_err(), "{arguments:?}");
        }
    }
}
