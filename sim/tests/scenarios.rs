//! Scenarios and their expected traces. `SIM_UPDATE=1` writes what really happened; read the difference before
//! it is committed.

use std::path::PathBuf;

use sim::{ScenarioError, run_scenario};

#[test]
fn every_scenario_goes_as_written() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(
        files.len() >= 12,
        "{} scenarios in {}",
        files.len(),
        folder.display()
    );
    let update = std::env::var_os("SIM_UPDATE").is_some();
    let mut changed = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let played = run_scenario(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        if update {
            std::fs::write(&file, &played).unwrap();
        } else if played != text {
            let at = text
                .lines()
                .zip(played.lines())
                .position(|(expected, got)| expected != got);
            let line = at.unwrap_or_else(|| text.lines().count().min(played.lines().count()));
            let show = |text: &str| text.lines().nth(line).unwrap_or("(end)").to_owned();
            changed.push(format!(
                "{name}:{}: expected {:?}, got {:?}",
                line + 1,
                show(&text),
                show(&played)
            ));
        }
    }
    assert!(
        changed.is_empty(),
        "{}\nSIM_UPDATE=1 accepts this",
        changed.join("\n")
    );
}

#[test]
fn words_that_are_no_command_are_reported_with_their_line() {
    let error = run_scenario("app alice\n\nfly alice\n----\n").unwrap_err();
    let text = "fly alice".to_owned();
    assert_eq!(error, ScenarioError::Command { line: 3, text });
    assert!(run_scenario("open nobody chat\n").is_err());
}

#[test]
fn a_group_that_cannot_settle_is_a_violation() {
    let text = "app alice bob\nopen alice chat mls\ninvite alice chat bob\nsettle\ncrash bob\nsettle\n";
    // Bob is marked offline after 30 seconds, so this settles; a lost node does not.
    assert!(run_scenario(text).is_ok());
    let error = run_scenario("app alice\ncrash-node 1h\nsettle\n").unwrap_err();
    assert!(
        matches!(error, ScenarioError::Violation { line: 3, .. }),
        "{error}"
    );
}
