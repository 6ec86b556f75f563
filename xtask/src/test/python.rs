//! Python tests, in virtual environments under the build folder: our own package, and the published one as a peer.
//!
//! The published package (black box, from PyPI) has the same module name as ours, so each gets its own environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::tally::{self, Tally};
use super::{binary, heading};
use crate::coverage::Outcomes;
use crate::workspace;

/// The release that the wire documents and the recordings describe.
const UPSTREAM: &str = "slim-bindings==3.3.8";

/// Releases that applications in the field still use.
const EARLIER: [Earlier; 4] = [
    Earlier::new("venv-220", "SLIM_PYTHON_220", "slim-bindings==2.2.0"),
    Earlier::new("venv-14", "SLIM_PYTHON_14", "slim-bindings==1.4.1"),
    Earlier::new("venv-10", "SLIM_PYTHON_10", "slim-bindings==1.0.1"),
    // For CPython 3.11 only.
    Earlier::new("venv-041", "SLIM_PYTHON_041", "slim-bindings==0.4.1"),
];

/// A release with its environment, and the variable that tells the tests where its Python is.
struct Earlier {
    environment: &'static str,
    variable: &'static str,
    package: &'static str,
}

impl Earlier {
    const fn new(environment: &'static str, variable: &'static str, package: &'static str) -> Self {
        Self {
            environment,
            variable,
            package,
        }
    }

    fn python(&self) -> PathBuf {
        workspace::target().join(self.environment).join("bin/python")
    }
}

/// Builds and installs `bindings/python` and runs its tests.
pub(super) fn bindings(outcomes: &mut Outcomes) -> Result<Tally> {
    heading("Python package");
    let source = workspace::root().join("bindings/python");
    if !source.join("pyproject.toml").exists() {
        println!("absent: bindings/python/pyproject.toml");
        return Ok(Tally::default());
    }
    match install_bindings(&source) {
        Ok(python) => tally::run(&mut pytest(&python, &source.join("tests")), outcomes),
        Err(error) => {
            println!("{error:#}");
            Ok(Tally::of(false))
        }
    }
}

/// Runs the tests of `interop/` against the published packages.
pub(super) fn interop(outcomes: &mut Outcomes) -> Result<Tally> {
    heading("interoperability with the published packages");
    let interop = match Interop::install() {
        Ok(interop) => interop,
        Err(error) => {
            println!("{error:#}");
            return Ok(Tally::of(false));
        }
    };
    let mut tests = interop.pytest(&workspace::root().join("interop"));
    let mut tally = tally::run(tests.arg("--ignore").arg(matrix()).args(WORKERS), outcomes)?;
    // Without an option of its own: one cell of every row.
    tally += tally::run(interop.pytest(&matrix()).args(WORKERS), outcomes)?;
    Ok(tally)
}

/// The tests of the interoperability matrix.
pub(crate) fn matrix() -> PathBuf {
    workspace::root().join("interop/tests/matrix")
}

/// For pytest: several tests at once on two cores, because they wait more than they work. Each worker has its own nodes.
pub(crate) const WORKERS: [&str; 4] = ["-n", "4", "--dist", "worksteal"];

/// The environments of [`EARLIER`], all at once: pip spends most of its time waiting.
fn install_earlier() -> Result<()> {
    std::thread::scope(|scope| {
        let installing = EARLIER
            .map(|release| scope.spawn(move || environment(release.environment, &[release.package], None)));
        installing
            .map(|thread| {
                thread
                    .join()
                    .expect("installing does not panic")
                    .map(|_python| ())
            })
            .into_iter()
            .collect()
    })
}

/// The environment of the interoperability tests.
pub(crate) struct Interop {
    python: PathBuf,
}

impl Interop {
    /// Installs the published packages.
    pub(crate) fn install() -> Result<Self> {
        if let Err(error) = install_earlier() {
            // The tests that need it fail, and say which it is.
            println!("{error:#}");
        }
        let requirements = workspace::root().join("interop");
        let python = environment("venv-upstream", &["pytest", UPSTREAM], Some(&requirements))?;
        Ok(Self { python })
    }

    /// pytest, about to run the tests of this folder.
    pub(crate) fn pytest(&self, tests: &Path) -> Command {
        pytest(&self.python, tests)
    }

    /// The interpreter that runs the tests.
    pub(crate) fn python(&self) -> &Path {
        &self.python
    }
}

/// The profile of the other tests, so that cargo finds everything built already; the build front end comes from the
/// environment, so that pip downloads it once.
pub(crate) fn install_bindings(source: &Path) -> Result<PathBuf> {
    let python = environment(
        "venv",
        &["maturin>=1.9,<2", "pytest"],
        Some(&source.join("tests")),
    )?;
    run(Command::new(&python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--no-build-isolation", "--force-reinstall", "--no-deps"])
        .args(["--config-settings", "build-args=--profile dev"])
        .arg(source)
        .env("CARGO_TARGET_DIR", workspace::target())
        .env("PATH", path_with(&python)?))?;
    Ok(python)
}

/// The search path with the environment's programs first: pip starts `maturin` by name.
fn path_with(python: &Path) -> Result<OsString> {
    let programs = python.parent().context("python is in a folder")?.to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    Ok(std::env::join_paths(
        std::iter::once(programs).chain(std::env::split_paths(&path)),
    )?)
}

/// A virtual environment with these packages and those of `requirements.txt` in `folder`, if there is one.
fn environment(name: &str, packages: &[&str], folder: Option<&Path>) -> Result<PathBuf> {
    let path = workspace::target().join(name);
    let python = path.join("bin/python");
    if !python.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&path))?;
    }
    let mut install = Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(packages);
    if let Some(requirements) = folder
        .map(|folder| folder.join("requirements.txt"))
        .filter(|file| file.exists())
    {
        install.arg("-r").arg(requirements);
    }
    run(&mut install)?;
    Ok(python)
}

/// pytest with the places of what it may start: the node and all Pythons.
fn pytest(python: &Path, tests: &Path) -> Command {
    let mut command = Command::new(python);
    command
        .args(["-m", "pytest", "-q", "--color=no"])
        // One line for each test at the end: the coverage of the tutorial counts them.
        .args(["-rpsfE", "--no-fold-skipped"])
        .arg(tests)
        .current_dir(workspace::root())
        .env("SLIM_NODE", binary("slim"))
        .env("SLIM_PYTHON", workspace::target().join("venv/bin/python"))
        .env(
            "SLIM_UPSTREAM_PYTHON",
            workspace::target().join("venv-upstream/bin/python"),
        )
        .envs(EARLIER.map(|release| (release.variable, release.python())))
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(())
}
