//! The whole comparison, each part for a fraction of a second: every server starts, every load runs, nothing is lost.
//! The numbers mean nothing at this length; that there are some is what is checked.

use std::process::Command;

#[test]
fn a_short_comparison_measures_every_scenario_on_every_server() {
    let output = Command::new(env!("CARGO_BIN_EXE_slim-bench"))
        .args([
            "compare",
            "--seconds",
            "0.2",
            "--warm-up",
            "0.05",
            "--repetitions",
            "1",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    for scenario in [
        "1 to 1, 64 B",
        "1 to 1, 1 KiB",
        "1 to 1, 16 KiB",
        "1 to 8, 1 KiB",
        "round trip, 64 B",
    ] {
        for target in ["node", "h2", "hyper", "tonic"] {
            assert!(errors.contains(&format!("1: {scenario}: {target}: ")), "{errors}");
        }
        // Throughput or round trip, and CPU.
        let rows = text
            .lines()
            .filter(|line| line.starts_with(&format!("| {scenario} |")));
        let measured = rows.filter(|row| row.matches("**").count() == 10).count();
        let expected = if scenario.starts_with("round") { 2 } else { 1 };
        assert!(measured >= expected, "{scenario}: {text}");
    }
}

#[test]
fn a_node_program_that_does_not_start_is_an_error_with_its_name() {
    let output = Command::new(env!("CARGO_BIN_EXE_slim-bench"))
        .args(["compare", "--seconds", "0.1", "--node", "/nowhere/slim"])
        .output()
        .unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && errors.contains("/nowhere/slim"),
        "{errors}"
    );
}
