//! Rules about documents: what they name exists, and what code cites stands in them.

use super::Finding;
use crate::coverage;
use crate::workspace::SourceFile;

/// Checks all documents against all files.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = invariant_numbers(files);
    findings.extend(named_paths(files));
    findings.extend(named_tests(files));
    findings
}

/// A number cited as `Invariant N` in code exists in ARCHITECTURE.md.
fn invariant_numbers(files: &[SourceFile]) -> Vec<Finding> {
    let architecture = files.iter().find(|file| file.path == "ARCHITECTURE.md");
    let known: Vec<&str> = architecture
        .iter()
        .flat_map(|file| file.text.lines())
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next())
        .filter(|cell| cell.parse::<u32>().is_ok())
        .collect();
    let mut findings = Vec::new();
    let sources = files
        .iter()
        .filter(|file| file.path.ends_with(".rs") || file.path.ends_with(".py"));
    for file in sources {
        for (index, line) in file.text.lines().enumerate() {
            for cited in line.split("Invariant ").skip(1) {
                let digits = cited
                    .split(|c: char| !c.is_ascii_digit())
                    .next()
                    .unwrap_or_default();
                if !digits.is_empty() && !known.contains(&digits) {
                    findings.push(Finding {
                        place: format!("{}:{}", file.path, index + 1),
                        rule: format!("ARCHITECTURE.md has no invariant {digits}"),
                    });
                }
            }
        }
    }
    findings
}

/// A path of this repository that a document names in back quotes, or links to, exists.
fn named_paths(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (index, line) in file.text.lines().enumerate() {
            let quoted = line.split('`').skip(1).step_by(2);
            let linked = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
            for path in quoted.chain(linked.map(|target| target.split('#').next().unwrap_or_default())) {
                if is_path(path) && !exists(path, files) {
                    findings.push(Finding {
                        place: format!("{}:{}", file.path, index + 1),
                        rule: format!("there is no {path}"),
                    });
                }
            }
        }
    }
    findings
}

/// A test that a document names in back quotes, as `file::test`, exists and is run.
fn named_tests(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        for (index, line) in file.text.lines().enumerate() {
            for text in line.split('`').skip(1).step_by(2) {
                let Some((path, test)) = text.split_once("::") else {
                    continue;
                };
                if !is_path(path) {
                    continue;
                }
                let known = files
                    .iter()
                    .find(|file| file.path == path)
                    .is_some_and(|file| coverage::names(file).contains(&test));
                if !known {
                    findings.push(Finding {
                        place: format!("{}:{}", file.path, index + 1),
                        rule: format!("there is no test {text}"),
                    });
                }
            }
        }
    }
    findings
}

/// Whether text is meant as a path from the root: plain, and under one of our top folders.
fn is_path(text: &str) -> bool {
    const FOLDERS: [&str; 11] = [
        "bench/",
        "bindings/",
        "config/",
        "core/",
        "docs/",
        "interop/",
        "proto/",
        "shell/",
        "sim/",
        "xtask/",
        ".ci/",
    ];
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    FOLDERS.iter().any(|folder| text.starts_with(folder)) && text.chars().all(plain)
}

fn exists(path: &str, files: &[SourceFile]) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    files
        .iter()
        .any(|file| file.path == path || file.path.starts_with(&folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cited_invariants_exist() {
        let code = concat!("//! Doc.\n// Invar", "iant 17.\n// Invar", "iant 18: gone.\n");
        let files = [
            file(
                "ARCHITECTURE.md",
                "| # | invariant |\n|---|---|\n| 1 | one |\n| 17 | seventeen |\n",
            ),
            file("core/a/src/a.rs", code),
        ];
        let places: Vec<_> = check(&files).into_iter().map(|finding| finding.place).collect();
        assert_eq!(places, ["core/a/src/a.rs:3"]);
    }

    #[test]
    fn paths_in_documents_exist() {
        let text = "See `core/a/src/a.rs`, `core/a/`, [b](docs/b.md#x), `core decides`.\n\
            But `core/a/src/b.rs` and [c](docs/c.md) are gone.\n";
        let files = [
            file("README.md", text),
            file("core/a/src/a.rs", "//! Doc.\n"),
            file("docs/b.md", "B\n"),
        ];
        let rules: Vec<_> = check(&files).into_iter().map(|finding| finding.rule).collect();
        assert_eq!(rules, ["there is no core/a/src/b.rs", "there is no docs/c.md"]);
    }

    #[test]
    fn tests_that_documents_name_exist_and_are_run() {
        let text = "Rows: `core/a/tests/t.rs::it_works`, `interop/tests/t.py::test_it`, `slim::Service`.\n\
            But `core/a/tests/t.rs::helper`, `core/a/tests/t.rs::gone` and `core/a/tests/u.rs::it_works` are not.\n";
        let files = [
            file("docs/rows.md", text),
            file(
                "core/a/tests/t.rs",
                "//! Doc.\n#[test]\nfn it_works() {}\nfn helper() {}\n",
            ),
            file("interop/tests/t.py", "def test_it(world):\n    pass\n"),
        ];
        let rules: Vec<_> = check(&files).into_iter().map(|finding| finding.rule).collect();
        let missing = [
            "core/a/tests/t.rs::helper",
            "core/a/tests/t.rs::gone",
            "core/a/tests/u.rs::it_works",
        ];
        assert_eq!(rules, missing.map(|test| format!("there is no test {test}")));
    }

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }
}
