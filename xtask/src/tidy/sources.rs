//! Rules about the text of files. They look at lines, not at syntax: simple, and hard to fool by accident.

use super::Finding;
use crate::workspace::{Package, SourceFile};

/// A pattern that must not occur, where, and why.
///
/// Patterns are written in two halves so that this table does not match itself.
struct Forbidden {
    pattern: &'static str,
    applies: fn(&str) -> bool,
    reason: &'static str,
}

const FORBIDDEN: [Forbidden; 18] = [
    forbidden(concat!("todo", "!("), is_rust, "nothing unfinished is committed"),
    forbidden(
        concat!("unimplemented", "!("),
        is_rust,
        "nothing unfinished is committed",
    ),
    forbidden(
        concat!("#[", "ignore"),
        is_rust,
        "a known gap is a test of today's behaviour",
    ),
    forbidden(concat!("dbg", "!("), is_rust, "use tracing"),
    forbidden(concat!("FIX", "ME"), is_source, "mend it or file it"),
    forbidden(
        concat!("pytest.mark.", "skip"),
        is_python,
        "a known gap is a test of today's behaviour",
    ),
    forbidden(
        concat!("async ", "fn "),
        is_core,
        "the core is synchronous (Invariant 1)",
    ),
    forbidden(
        concat!("async ", "move"),
        is_core,
        "the core is synchronous (Invariant 1)",
    ),
    forbidden(
        concat!(".aw", "ait"),
        is_core,
        "the core is synchronous (Invariant 1)",
    ),
    forbidden(
        concat!("tok", "io::"),
        is_core,
        "the core is synchronous (Invariant 1)",
    ),
    forbidden(
        concat!("std::", "thread"),
        is_core,
        "the core starts no thread (Invariant 1)",
    ),
    forbidden(
        concat!("unbounded", "_channel"),
        is_product,
        "every queue has a limit (Invariant 11)",
    ),
    forbidden(
        concat!("Unbounded", "Sender"),
        is_product,
        "every queue has a limit (Invariant 11)",
    ),
    forbidden(
        concat!("mpsc::", "channel()"),
        is_product,
        "every queue has a limit (Invariant 11)",
    ),
    forbidden(concat!("/wo", "rk/"), any, "a path of one machine"),
    forbidden(concat!("/ro", "ot/"), any, "a path of one machine"),
    forbidden(concat!("/tmp/bash", "_jobs"), any, "a path of one machine"),
    forbidden(concat!("/fa", "rm/"), any, "a path of one machine"),
];

const fn forbidden(pattern: &'static str, applies: fn(&str) -> bool, reason: &'static str) -> Forbidden {
    Forbidden {
        pattern,
        applies,
        reason,
    }
}

/// Core crates that may lift a lint of `core/clippy.toml`, each time with a reason: mls-rs wants shared providers, and
/// the seeded randomness behind them is a lock; nothing else in the core has one.
const LINT_LIFTERS: [&str; 2] = ["core/crypto/", "core/mls/"];

/// Checks one file against every rule that applies to it.
pub(super) fn check(file: &SourceFile, files: &[SourceFile], packages: &[Package]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let code = is_source(&file.path);
    for (number, line) in numbered(&file.text) {
        // Prose may name what code must not do; a machine's path is wrong in prose too.
        let comment = code && is_comment(line);
        for rule in &FORBIDDEN {
            let everywhere = rule.reason == "a path of one machine";
            if (rule.applies)(&file.path) && (everywhere || !comment) && occurs(line, rule.pattern) {
                findings.push(at(file, number, format!("`{}`: {}", rule.pattern, rule.reason)));
            }
        }
    }
    if is_rust(&file.path) && !is_generated(&file.path) {
        findings.extend(opening_comment(file));
        findings.extend(foreign_reexports(file, files, packages));
        findings.extend(lifted_lints(file));
    }
    findings
}

/// Every crate takes part in the lint tables of the workspace.
pub(super) fn check_manifest(package: &Package, files: &[SourceFile]) -> Vec<Finding> {
    let path = format!("{}/Cargo.toml", package.folder);
    let inherits = files
        .iter()
        .find(|file| file.path == path)
        .is_some_and(|file| file.text.contains("[lints]\nworkspace = true"));
    if inherits {
        return Vec::new();
    }
    vec![Finding {
        place: path,
        rule: "lacks `[lints] workspace = true`".to_owned(),
    }]
}

/// Output of `cargo xtask codegen` and of `slim rpc generate`: checked by `codegen --check` and the generator's tests, and
/// by nothing else.
pub(super) fn is_generated(path: &str) -> bool {
    const FOLDERS: [&str; 3] = [
        "core/proto/src/gen/",
        "shell/rpcgen/tests/golden/",
        "shell/rpcgen/examples/greeter/stubs/",
    ];
    FOLDERS.iter().any(|folder| path.starts_with(folder))
}

/// A file opens with `//!`; a module written inside a file does too, or has a comment above it.
fn opening_comment(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    let first = file
        .text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("#!["));
    if !first.is_some_and(|line| line.starts_with("//!")) {
        findings.push(at(file, 1, "the file does not open with `//!`".to_owned()));
    }
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = inline_module(line) else { continue };
        let attributes = lines[..index]
            .iter()
            .rev()
            .take_while(|line| line.starts_with("#["));
        let above = index
            .checked_sub(attributes.clone().count() + 1)
            .map_or("", |above| lines[above]);
        let below = lines.get(index + 1).copied().unwrap_or_default();
        let for_tests = name == "tests" || attributes.clone().any(|line| *line == "#[cfg(test)]");
        let described = above.starts_with("// ") || above.starts_with("///") || below.starts_with("//!");
        if !for_tests && !described {
            findings.push(at(file, index + 1, format!("module {name} has no description")));
        }
    }
    findings
}

/// The name in `mod name {`, whatever its visibility.
fn inline_module(line: &str) -> Option<&str> {
    let declaration = line.strip_suffix('{')?.trim_end();
    let (visibility, name) = declaration.rsplit_once("mod ")?;
    let visible = visibility.is_empty() || visibility.starts_with("pub") && visibility.ends_with(' ');
    (visible && !name.contains(' ')).then_some(name)
}

/// `pub use` of another crate's items is allowed in `lib.rs`, and in the file of a module that `lib.rs` makes public, so
/// that a reader finds every borrowed name where the crate's surface is.
fn foreign_reexports(file: &SourceFile, files: &[SourceFile], packages: &[Package]) -> Vec<Finding> {
    if file.path.ends_with("/lib.rs") || is_public_module(&file.path, files) {
        return Vec::new();
    }
    let package = packages
        .iter()
        .filter(|package| file.path.starts_with(&format!("{}/", package.folder)))
        .max_by_key(|package| package.folder.len());
    let mut findings = Vec::new();
    for (number, line) in numbered(&file.text) {
        let Some(path) = line.trim_start().strip_prefix("pub use ") else {
            continue;
        };
        let first = path
            .trim_start_matches("::")
            .split([':', ';', ' '])
            .next()
            .unwrap_or_default();
        let foreign = ["std", "core", "alloc"].contains(&first)
            || package.is_some_and(|package| {
                let mut names = package.dependencies.iter().map(|d| d.name.replace('-', "_"));
                names.any(|name| name == first)
            });
        if foreign {
            findings.push(at(file, number, format!("`pub use {first}::` outside lib.rs")));
        }
    }
    findings
}

/// True for `src/name.rs` and `src/name/mod.rs` beside a `src/lib.rs` that says `pub mod name;`.
fn is_public_module(path: &str, files: &[SourceFile]) -> bool {
    let Some((folder, file)) = path.split_once("/src/") else {
        return false;
    };
    let module = file.strip_suffix("/mod.rs").or_else(|| file.strip_suffix(".rs"));
    let root = format!("{folder}/src/lib.rs");
    module.is_some_and(|module| {
        let declaration = format!("pub mod {module};");
        let root = files.iter().find(|file| file.path == root);
        root.is_some_and(|root| root.text.lines().any(|line| line == declaration))
    })
}

/// The bans of `core/clippy.toml` are lifted only in the listed crates, and never without a reason.
fn lifted_lints(file: &SourceFile) -> Vec<Finding> {
    if !is_core(&file.path) {
        return Vec::new();
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let mut findings = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if !line.contains(concat!("clippy::", "disallowed")) || is_comment(line) {
            continue;
        }
        let reasoned = lines[index..]
            .iter()
            .take(4)
            .any(|line| line.contains("reason = "));
        let listed = LINT_LIFTERS.iter().any(|folder| file.path.starts_with(folder));
        if !reasoned || !listed {
            findings.push(at(
                file,
                index + 1,
                "lifts a ban of core/clippy.toml; only core/crypto and core/mls may, with a reason"
                    .to_owned(),
            ));
        }
    }
    findings
}

/// True if the pattern occurs as itself and not as the start of a longer word.
fn occurs(line: &str, pattern: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let open_ended = pattern.ends_with(is_word);
    line.match_indices(pattern)
        .any(|(at, _)| !open_ended || !line[at + pattern.len()..].starts_with(is_word))
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") || line.starts_with("# ")
}

fn is_rust(path: &str) -> bool {
    path.ends_with(".rs")
}

fn is_python(path: &str) -> bool {
    path.ends_with(".py")
}

fn is_source(path: &str) -> bool {
    is_rust(path) || is_python(path)
}

fn is_core(path: &str) -> bool {
    path.starts_with("core/") && is_rust(path)
}

/// Tests may queue without a limit: what they send ends with them.
fn is_product(path: &str) -> bool {
    is_rust(path) && !path.contains("/tests/") && !path.ends_with("/tests.rs")
}

fn any(_: &str) -> bool {
    true
}

fn at(file: &SourceFile, line: usize, rule: String) -> Finding {
    Finding {
        place: format!("{}:{line}", file.path),
        rule,
    }
}

#[cfg(test)]
mod tests;
