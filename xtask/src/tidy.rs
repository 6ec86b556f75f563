//! `cargo xtask tidy`: the rules of ARCHITECTURE.md that neither the compiler nor clippy checks.
//!
//! Every rule is a pure function from files or crates to findings, so that it is tested on small inputs.

use std::fmt;

use anyhow::{Result, bail};

use crate::{config_docs, map, workspace};

mod dependencies;
mod documents;
mod sources;

/// Longer files are named in the output, as a question and not as an error.
const FILE_LINES_LONG: usize = 700;

/// One violated rule at one place.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// File or crate, with the line if there is one.
    place: String,
    /// What the rule says.
    rule: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.rule)
    }
}

/// Checks the whole repository; every finding is printed before the command fails.
pub(crate) fn run() -> Result<()> {
    let packages = workspace::packages()?;
    let files = workspace::files()?;
    let mut findings = dependencies::check(&packages);
    for package in &packages {
        findings.extend(sources::check_manifest(package, &files));
    }
    for file in &files {
        findings.extend(sources::check(file, &files, &packages));
    }
    findings.extend(documents::check(&files));

    for file in &files {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_LONG && file.path.ends_with(".rs") && !sources::is_generated(&file.path) {
            println!(
                "note: {} has {lines} lines; is there a second thing in it?",
                file.path
            );
        }
    }
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} findings", findings.len());
    }
    map::check()?;
    config_docs::check()?;
    println!(
        "tidy: {} files and {} crates follow the rules",
        files.len(),
        packages.len()
    );
    Ok(())
}
