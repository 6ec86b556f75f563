//! What the commands know of the repository: where it is, its files and its crates.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The repository's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask is a folder of the repository")
}

/// The build folder that everything shares, also what is not built by cargo (virtual environments, tools).
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs this command, with the repository as its working folder.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// One file of the repository.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Path from the root, with forward slashes.
    pub(crate) path: String,
    /// Contents; files that are not UTF-8 are not listed.
    pub(crate) text: String,
}

/// Every text file that is committed or could be (untracked and not ignored).
pub(crate) fn files() -> Result<Vec<SourceFile>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .context("git lists the files of the repository")?;
    if !output.status.success() {
        bail!("git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    }
    let list = String::from_utf8(output.stdout).context("file names are UTF-8")?;
    let mut files: Vec<SourceFile> = list
        .split_terminator('\0')
        .filter_map(|path| {
            // Deleted but not yet committed files and binary files have no text.
            let text = std::fs::read_to_string(root().join(path)).ok()?;
            let path = path.to_owned();
            Some(SourceFile { path, text })
        })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// One crate of the workspace with its direct dependencies.
#[derive(Debug)]
pub(crate) struct Package {
    /// Name in Cargo.toml.
    pub(crate) name: String,
    /// Folder from the root, with forward slashes.
    pub(crate) folder: String,
    /// Direct dependencies.
    pub(crate) dependencies: Vec<Dependency>,
}

/// One direct dependency of a crate.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// Name of the package.
    pub(crate) name: String,
    /// True for a crate of this workspace.
    pub(crate) ours: bool,
    /// True for `[dev-dependencies]`.
    pub(crate) dev: bool,
}

/// The crates of the workspace, as `cargo metadata` sees them.
pub(crate) fn packages() -> Result<Vec<Package>> {
    let output = cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    packages.iter().map(package).collect()
}

fn package(value: &Value) -> Result<Package> {
    let manifest = Path::new(value["manifest_path"].as_str().context("manifest_path")?);
    let folder = manifest
        .parent()
        .context("a manifest is in a folder")?
        .strip_prefix(root())
        .context("a crate is inside the repository")?;
    let dependencies = value["dependencies"].as_array().context("dependencies")?;
    Ok(Package {
        name: value["name"].as_str().context("name")?.to_owned(),
        folder: folder.to_string_lossy().replace('\\', "/"),
        dependencies: dependencies
            .iter()
            .map(|dependency| {
                Ok(Dependency {
                    name: dependency["name"].as_str().context("dependency name")?.to_owned(),
                    ours: dependency["path"].is_string(),
                    dev: dependency["kind"] == "dev",
                })
            })
            .collect::<Result<_>>()?,
    })
}
