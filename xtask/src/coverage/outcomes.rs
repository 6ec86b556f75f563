//! What became of each test, as cargo test and pytest print it.

use std::collections::HashMap;

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    /// It says itself that this machine lacks what it needs.
    Skipped,
    Failed,
}

/// The outcomes of a whole run, by the names of the test functions.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(HashMap<String, Outcome>);

impl Outcomes {
    /// Takes a line of output; true if it only says that a test of Python passed, which nobody needs to read.
    pub(crate) fn read(&mut self, line: &str) -> bool {
        if let Some((name, outcome)) = cargo(line) {
            self.note(name, outcome);
        } else if let Some((name, outcome)) = pytest(line) {
            self.note(name, outcome);
            return outcome == Outcome::Passed;
        }
        false
    }

    /// What happened to the function of this name, wherever and with whatever parameters it ran.
    pub(super) fn of(&self, name: &str) -> Option<Outcome> {
        self.0.get(name).copied()
    }

    /// The worst counts: a function may run with several parameters, and be in several programs.
    fn note(&mut self, name: &str, outcome: Outcome) {
        let worst = self.0.entry(name.to_owned()).or_insert(outcome);
        *worst = match (*worst, outcome) {
            (Outcome::Failed, _) | (_, Outcome::Failed) => Outcome::Failed,
            (Outcome::Skipped, _) | (_, Outcome::Skipped) => Outcome::Skipped,
            (Outcome::Passed, Outcome::Passed) => Outcome::Passed,
        };
    }
}

/// `test module::name ... ok`.
fn cargo(line: &str) -> Option<(&str, Outcome)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = match outcome.split([' ', ',']).next()? {
        "ok" => Outcome::Passed,
        "ignored" => Outcome::Skipped,
        _ => Outcome::Failed,
    };
    let name = name.split(" - ").next()?;
    Some((name.rsplit("::").next()?, outcome))
}

/// `PASSED path/test_file.py::name[parameters]`, in the summary that `-rpsfE --no-fold-skipped` asks for.
fn pytest(line: &str) -> Option<(&str, Outcome)> {
    let (outcome, rest) = line.split_once(' ')?;
    let outcome = match outcome {
        "PASSED" => Outcome::Passed,
        "SKIPPED" => Outcome::Skipped,
        "FAILED" | "ERROR" => Outcome::Failed,
        _ => return None,
    };
    let (_, name) = rest.split_once(".py::")?;
    Some((name.split(['[', ' ']).next()?, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_runners_are_read_and_the_worst_outcome_counts() {
        let mut outcomes = Outcomes::default();
        for line in [
            "test a ... ok",
            "test tests::b ... FAILED",
            "test tests::c - should panic ... ok",
            "test d ... ignored, needs a network",
            "test result: ok. 5 passed; 0 failed",
            "PASSED bindings/python/tests/test_a.py::test_e[mls=True]",
            "FAILED bindings/python/tests/test_a.py::test_e[mls=False] - AssertionError: PASSED x.py::y",
            "SKIPPED interop/tests/test_b.py::test_f - no ptrace here",
            "ERROR interop/tests/test_b.py::test_g",
            "3 passed in 0.1s",
        ] {
            outcomes.read(line);
        }
        let expected = [
            ("a", Some(Outcome::Passed)),
            ("b", Some(Outcome::Failed)),
            ("c", Some(Outcome::Passed)),
            ("d", Some(Outcome::Skipped)),
            ("test_e", Some(Outcome::Failed)),
            ("test_f", Some(Outcome::Skipped)),
            ("test_g", Some(Outcome::Failed)),
            ("result: ok. 5 passed; 0 failed", None),
        ];
        for (name, outcome) in expected {
            assert_eq!(outcomes.of(name), outcome, "{name}");
        }
    }

    #[test]
    fn only_lines_about_passed_python_tests_need_not_be_shown() {
        let mut outcomes = Outcomes::default();
        assert!(outcomes.read("PASSED a.py::test_a"));
        for line in [
            "FAILED a.py::test_a - x",
            "test a ... ok",
            "PASSED",
            "PASSED everything",
        ] {
            assert!(!outcomes.read(line), "{line}");
        }
    }
}
