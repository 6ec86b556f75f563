//! The examples, as programs of their own, against a node.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::{SECRET, within};
use slim::{ServerConfig, Service};

/// Where cargo puts the examples of the profile that this test is built with.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test
        .ancestors()
        .nth(2)
        .unwrap()
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "run `cargo test -p slim`, which builds the examples too"
    );
    path
}

fn start(name: &str, arguments: &[&str]) -> Child {
    Command::new(example(name))
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Its output, once it ended well.
async fn finish(child: Child) -> String {
    let output = within(tokio::task::spawn_blocking(move || child.wait_with_output()))
        .await
        .unwrap()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success(),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

#[tokio::test]
async fn moderator_and_participants_meet_in_either_order() {
    let node = Service::new().unwrap();
    let config = r#"{"endpoint": "127.0.0.1:0", "tls": {"insecure": true}}"#;
    let config = ServerConfig::from_json_text(config).unwrap().config;
    let endpoint = within(node.run_server(config)).await.unwrap().to_string();

    let moderator = start(
        "group_moderator",
        &[&endpoint, SECRET, "org/example/bob", "org/example/carol"],
    );
    let bob = start("group_participant", &[&endpoint, SECRET, "org/example/bob"]);
    let carol = start("group_participant", &[&endpoint, SECRET, "org/example/carol"]);

    let moderator = finish(moderator).await;
    for line in [
        "org/example/bob joined",
        "org/example/carol joined",
        "heard by 2",
        "done",
    ] {
        assert!(
            moderator.lines().any(|said| said == line),
            "{line} is missing in\n{moderator}"
        );
    }
    assert!(
        moderator.contains("org/example/bob: hello from org/example/bob"),
        "{moderator}"
    );
    let bob = finish(bob).await;
    assert!(
        bob.contains("org/example/carol joined") && bob.contains("org/example/moderator: hello, group"),
        "{bob}"
    );
    assert!(
        bob.contains("org/example/carol: hello from org/example/carol"),
        "{bob}"
    );
    let carol = finish(carol).await;
    assert!(carol.ends_with("closed by its moderator\n"), "{carol}");
}

#[tokio::test]
async fn instances_are_asked_in_turn() {
    let node = Service::new().unwrap();
    let config = r#"{"endpoint": "127.0.0.1:0", "tls": {"insecure": true}}"#;
    let config = ServerConfig::from_json_text(config).unwrap().config;
    let endpoint = within(node.run_server(config)).await.unwrap().to_string();

    let mut instances: Vec<Child> = (0..2)
        .map(|_| start("any_instance", &[&endpoint, SECRET, "org/example/worker"]))
        .collect();
    for instance in &mut instances {
        // It serves its name when it says so.
        let stdout = std::io::BufReader::new(instance.stdout.take().unwrap());
        let line = tokio::task::spawn_blocking(|| std::io::BufRead::lines(stdout).next());
        assert_eq!(
            within(line).await.unwrap().unwrap().unwrap(),
            "waiting for questions"
        );
    }
    let asker = [&endpoint, SECRET, "org/example/asker", "org/example/worker", "4"];
    let output = finish(start("any_instance", &asker)).await;
    for mut instance in instances {
        instance.kill().unwrap();
        instance.wait().unwrap();
    }
    let lines: Vec<(&str, &str)> = output.lines().filter_map(|line| line.split_once(": ")).collect();
    let (names, answers): (Vec<&str>, Vec<&str>) = lines.into_iter().unzip();
    let expected: Vec<String> = (0..4)
        .map(|number| format!("answer to question {number}"))
        .collect();
    assert_eq!(answers, expected);
    assert!(
        names[0] == names[2] && names[1] == names[3] && names[0] != names[1],
        "{names:?}"
    );
}
