//! `cargo xtask fuzz`: the decoders under libFuzzer, one target after the other.
//!
//! Needs `cargo install cargo-fuzz` and the stable toolchain, nothing else: without a sanitizer there is nothing unstable
//! to switch on, and code without `unsafe` has little that one would find. Overflow checks and debug assertions are on.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace;

mod corpus;

/// Of each target, unless told otherwise: what an issue of the project asks for before it is closed.
const SECONDS: &str = "600";
/// A decoder that needs more than this of a few kilobytes has no limit.
const MEGABYTES: &str = "-rss_limit_mb=2048";
/// Nor does one that takes longer for one input, even on a busy machine.
const TIMEOUT: &str = "-timeout=20";
/// Longer inputs are slower and reach nothing more: limits of sizes have tests.
const INPUT_BYTES_MAX: &str = "-max_len=8192";

/// Fuzzes the target, or every one, for so long each. What it finds is in `fuzz/artifacts/`.
pub(crate) fn run(target: Option<&str>, seconds: Option<&str>) -> Result<()> {
    let known = targets()?;
    let chosen: Vec<String> = match target {
        None => known,
        Some(name) if known.iter().any(|known| known == name) => vec![name.to_owned()],
        Some(name) => bail!("there is no target {name}; there are {}", known.join(", ")),
    };
    for name in &chosen {
        // New inputs go to the first folder; the committed ones, in the second, stay as they are.
        let found = folder().join("target/corpus").join(name);
        std::fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
        let committed = folder().join("corpus").join(name);
        let status = cargo_fuzz("run")
            .arg(name)
            .args([found, committed])
            .arg("--")
            .arg(format!("-max_total_time={}", seconds.unwrap_or(SECONDS)))
            .arg(format!("-dict={}", folder().join("dictionary.txt").display()))
            .args([MEGABYTES, TIMEOUT, INPUT_BYTES_MAX, "-print_final_stats=1"])
            .status()
            .context("cargo fuzz; install it with `cargo install cargo-fuzz`")?;
        if !status.success() {
            bail!("{name}: see fuzz/artifacts/{name}; fuzz/README.md says what to do with it");
        }
    }
    Ok(())
}

/// Replaces the committed inputs of a target by the best of all that are known: the committed ones, those that runs have
/// found, and the seeds, if they were made.
pub(crate) fn minimise(target: &str) -> Result<()> {
    let scratch = folder().join("target/merge");
    if scratch.exists() {
        std::fs::remove_dir_all(&scratch)?;
    }
    let merged = scratch.join("merged");
    std::fs::create_dir_all(&merged)?;
    let control = scratch.join("control");
    let committed = folder().join("corpus").join(target);
    let known = ["target/corpus", "target/seeds"].map(|kind| folder().join(kind).join(target));
    let status = cargo_fuzz("run")
        .arg(target)
        .args(["--", "-set_cover_merge=1", "-use_counters=0"])
        .args([INPUT_BYTES_MAX, MEGABYTES])
        .arg(format!("-merge_control_file={}", control.display()))
        .arg(&merged)
        .args(
            [&committed]
                .into_iter()
                .chain(&known)
                .filter(|folder| folder.exists()),
        )
        .status()
        .context("cargo fuzz; install it with `cargo install cargo-fuzz`")?;
    if !status.success() {
        bail!("{target}: not minimised");
    }
    let count = corpus::replace(&control, &committed)?;
    println!("{target}: {count} inputs");
    Ok(())
}

/// The names of the files that cargo-fuzz builds.
fn targets() -> Result<Vec<String>> {
    let mut names: Vec<String> = std::fs::read_dir(folder().join("fuzz_targets"))?
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// Without `--cfg fuzzing`, for which some libraries leave out what they would not leave out elsewhere.
fn cargo_fuzz(subcommand: &str) -> Command {
    let mut command = workspace::cargo();
    command
        .args(["fuzz", subcommand, "--fuzz-dir"])
        .arg(folder())
        .args(["--sanitizer", "none", "--no-cfg-fuzzing"])
        // Instrumented code has a build folder of its own.
        .env_remove("CARGO_TARGET_DIR");
    command
}

fn folder() -> PathBuf {
    workspace::root().join("fuzz")
}
