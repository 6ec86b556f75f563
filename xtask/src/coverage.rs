//! `cargo xtask coverage`: docs/tutorial-coverage.md, one row for each item of the tutorial and the tests that cover it.
//!
//! A test covers an item by its name: `s_21_…` in Rust, `test_s21_…` in Python; several ids may lead one name. The
//! page says what is claimed, and two checks hold it to that: `--check` fails when the page is not what would be
//! written or an item that must work has no test, and `cargo xtask test` fails when a test on the page did not run and
//! pass.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::workspace::{self, SourceFile};

mod items;
mod outcomes;
mod scan;

use items::{ITEMS, Item, SECTIONS};
pub(crate) use outcomes::{Outcome, Outcomes};
use scan::Test;
pub(crate) use scan::names;

const PAGE: &str = "docs/tutorial-coverage.md";

/// Writes the page.
pub(crate) fn write() -> Result<()> {
    let files = workspace::files()?;
    std::fs::write(workspace::root().join(PAGE), page(&scan::tests(&files)))?;
    Ok(())
}

/// Fails if the page is out of date, a test names no item, or an item that must work has no test.
pub(crate) fn check() -> Result<()> {
    let files = workspace::files()?;
    let mut findings = missing(&files);
    let tests = scan::tests(&files);
    let is_current = files
        .iter()
        .any(|file| file.path == PAGE && file.text == page(&tests));
    if !is_current {
        findings.push(format!(
            "{PAGE} is not what the tests say; run `cargo xtask coverage`"
        ));
    }
    report(&findings)
}

/// Fails if a test that the page names did not pass in this run.
pub(crate) fn verify(outcomes: &Outcomes) -> Result<()> {
    let tests = scan::tests(&workspace::files()?);
    let findings = not_green(&tests, outcomes);
    let green = ITEMS.iter().filter(|item| !covering(item, &tests).is_empty());
    if findings.is_empty() {
        println!("coverage: {} items of the tutorial are green", green.count());
    }
    report(&findings)
}

fn report(findings: &[String]) -> Result<()> {
    for finding in findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("coverage: {} findings", findings.len());
    }
    Ok(())
}

/// Items without a test, and ids of tests that are no items.
fn missing(files: &[SourceFile]) -> Vec<String> {
    let tests = scan::tests(files);
    let mut findings = Vec::new();
    for item in &ITEMS {
        if item.is_due() && covering(item, &tests).is_empty() {
            findings.push(format!(
                "S-{:02} ({}) has no test: name one s_{:02}_… or test_s{:02}_…",
                item.id, item.what, item.id, item.id
            ));
        }
    }
    for test in &tests {
        for id in &test.ids {
            if !ITEMS.iter().any(|item| item.id == *id) {
                findings.push(format!(
                    "{}: {} names S-{id:02}, which is no item",
                    test.file, test.name
                ));
            }
        }
    }
    findings
}

/// Items whose tests did not all pass. A test that says why it cannot run here is no failure while another one of the
/// item passed.
fn not_green(tests: &[Test], outcomes: &Outcomes) -> Vec<String> {
    let mut findings = Vec::new();
    for item in &ITEMS {
        let covering = covering(item, tests);
        let mut passed = 0;
        for test in &covering {
            match outcomes.of(&test.name) {
                Some(Outcome::Passed) => passed += 1,
                Some(Outcome::Skipped) => {
                    println!("note: S-{:02}: {} was skipped here", item.id, test.name);
                }
                Some(Outcome::Failed) => findings.push(format!("S-{:02}: {} failed", item.id, test.name)),
                None => findings.push(format!("S-{:02}: {} did not run", item.id, test.name)),
            }
        }
        if passed == 0 && !covering.is_empty() {
            findings.push(format!("S-{:02}: no test of it passed", item.id));
        }
    }
    findings
}

fn covering<'a>(item: &Item, tests: &'a [Test]) -> Vec<&'a Test> {
    tests.iter().filter(|test| test.ids.contains(&item.id)).collect()
}

fn page(tests: &[Test]) -> String {
    let mut text = "# What the tutorial names, and the tests of it

Written by `cargo xtask coverage` from `xtask/src/coverage/items.rs` and the names of the tests; do not edit. P0: the
tutorial fails without it. P1: the tutorial names or implies it. P2: reached through a link in it.

\"Green\" means that every test of the row passed: `cargo xtask test` compares this page with what ran and fails if a test
of it failed, is gone or was not run. So the page is true of every commit whose run of that command was good.
"
    .to_owned();
    for section in SECTIONS {
        let _ = write!(
            text,
            "\n## {}\n\n| id | what works | | tests | status |\n|---|---|---|---|---|\n",
            section.title
        );
        for item in ITEMS.iter().filter(|item| section.ids.contains(&item.id)) {
            let covering = covering(item, tests);
            let names: Vec<String> = covering
                .iter()
                .map(|test| format!("`{}` in `{}`", test.name, test.file))
                .collect();
            let status = match (covering.is_empty(), item.is_due()) {
                (false, _) => "green",
                (true, true) => "**missing**",
                (true, false) => item.absence(),
            };
            let _ = writeln!(
                text,
                "| S-{:02} | {} | {} | {} | {status} |",
                item.id,
                item.what,
                item.priority.text(),
                names.join("<br>")
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn an_item_without_test_and_a_test_without_item_are_findings() {
        let text = concat!("#[test]\nfn s", "_02_a() {}\n#[test]\nfn s", "_99_b() {}\n");
        let findings = missing(&[file("core/a/tests/a.rs", text)]);
        assert!(
            findings.iter().any(|finding| finding.starts_with("S-01 (")),
            "{findings:?}"
        );
        assert!(
            !findings.iter().any(|finding| finding.starts_with("S-02 (")),
            "{findings:?}"
        );
        assert!(
            !findings.iter().any(|finding| finding.starts_with("S-20 (")),
            "comes later"
        );
        assert!(
            findings
                .contains(&concat!("core/a/tests/a.rs: s", "_99_b names S-99, which is no item").to_owned())
        );
    }

    #[test]
    fn a_row_is_green_only_if_each_of_its_tests_passed() {
        let text = concat!("#[test]\nfn s", "_02_a() {}\n#[test]\nfn s", "_02_b() {}\n");
        let tests = scan::tests(&[file("core/a/tests/a.rs", text)]);
        let seen = |lines: &[&str]| {
            let mut outcomes = Outcomes::default();
            for line in lines {
                outcomes.read(line);
            }
            not_green(&tests, &outcomes)
        };
        let (a, b) = (concat!("test s", "_02_a ... "), concat!("test s", "_02_b ... "));
        let line = |test: &str, outcome: &str| format!("{test}{outcome}");
        assert_eq!(seen(&[&line(a, "ok"), &line(b, "ok")]), Vec::<String>::new());
        assert_eq!(
            seen(&[&line(a, "ok"), &line(b, "FAILED")]),
            [concat!("S-02: s", "_02_b failed")]
        );
        assert_eq!(seen(&[&line(a, "ok")]), [concat!("S-02: s", "_02_b did not run")]);
        assert_eq!(
            seen(&[&line(a, "ok"), &line(b, "ignored, why")]),
            Vec::<String>::new()
        );
        let skipped = seen(&[&line(a, "ignored, why"), &line(b, "ignored, why")]);
        assert_eq!(skipped, ["S-02: no test of it passed"]);
    }

    #[test]
    fn the_page_has_each_item_in_one_row() {
        let page = page(&[]);
        for item in &ITEMS {
            let row = format!("| S-{:02} | ", item.id);
            assert_eq!(page.matches(&row).count(), 1, "{row}");
        }
    }
}
