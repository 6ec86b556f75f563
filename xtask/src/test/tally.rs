//! Counting: what cargo test and pytest say on their closing lines, or else the exit code.

use std::io::{BufRead as _, BufReader};
use std::ops::AddAssign;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::coverage::Outcomes;

/// Passed and failed checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

impl Tally {
    /// One check.
    pub(super) fn of(passed: bool) -> Self {
        Self {
            passed: u64::from(passed),
            failed: u64::from(!passed),
        }
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs a test command, shows its output, adds up the closing lines in it and notes what became of each test.
///
/// A failing exit code always counts as a failure, whatever the output says.
pub(super) fn run(command: &mut Command, outcomes: &mut Outcomes) -> Result<Tally> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    let stdout = child.stdout.take().context("stdout is piped")?;
    let mut tally = Tally::default();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let is_dull = outcomes.read(&line);
        if !is_dull {
            println!("{line}");
        }
        tally += closing_line(&line).unwrap_or_default();
    }
    let success = child.wait()?.success();
    if !success && tally.failed == 0 {
        tally.failed = 1;
    }
    if success && tally == Tally::default() {
        tally.passed = 1;
    }
    Ok(tally)
}

/// The numbers in a closing line of cargo test (`test result: ok. 5 passed; 0 failed; …`), pytest
/// (`=== 3 passed, 1 failed in 0.5s ===`, errors count as failures) or the plain `3 passed, 1 failed`.
fn closing_line(line: &str) -> Option<Tally> {
    let line = line.trim_matches(|c: char| c == '=' || c.is_whitespace());
    let counts = match line.strip_prefix("test result: ") {
        Some(rest) => rest.split_once(". ")?.1,
        None if line.starts_with(|c: char| c.is_ascii_digit()) => line,
        None => return None,
    };
    let mut tally = None;
    for part in counts.split([';', ',']) {
        let mut words = part.split_whitespace();
        let (Some(number), Some(what)) = (words.next(), words.next()) else {
            return tally;
        };
        let Ok(number) = number.parse::<u64>() else {
            return tally;
        };
        let tally: &mut Tally = match what {
            "passed" | "failed" | "error" | "errors" => tally.get_or_insert_default(),
            _ => continue,
        };
        if what == "passed" {
            tally.passed += number;
        } else {
            tally.failed += number;
        }
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_all_runners_are_read() {
        for (line, passed, failed) in [
            (
                "test result: ok. 10 passed; 0 failed; 0 ignored; 0 measured; 5 filtered out; finished in 0.02s",
                10,
                0,
            ),
            (
                "test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured",
                5,
                1,
            ),
            ("===== 3 passed in 0.12s =====", 3, 0),
            ("===== 1 failed, 2 passed, 1 warning in 1.00s =====", 2, 1),
            ("2 passed, 1 error in 0.10s", 2, 1),
            ("300 passed, 0 failed", 300, 0),
        ] {
            assert_eq!(closing_line(line), Some(Tally { passed, failed }), "{line}");
        }
    }

    #[test]
    fn other_lines_count_nothing() {
        for line in [
            "",
            "running 10 tests",
            "test a ... ok",
            "3 seeds tried",
            "12:00 passed by",
            "test result: ",
        ] {
            assert_eq!(closing_line(line), None, "{line}");
        }
    }

    #[test]
    fn a_silent_command_counts_by_its_exit_code() {
        let tally =
            |script: &str| run(Command::new("sh").args(["-c", script]), &mut Outcomes::default()).unwrap();
        assert_eq!(tally("true"), Tally { passed: 1, failed: 0 });
        assert_eq!(tally("exit 3"), Tally { passed: 0, failed: 1 });
        assert_eq!(tally("echo 4 passed; exit 1"), Tally { passed: 4, failed: 1 });
        assert_eq!(
            tally("echo 4 passed, 2 failed; exit 1"),
            Tally { passed: 4, failed: 2 }
        );
    }
}
