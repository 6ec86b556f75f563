//! The page on stubs is true: what it shows is the example, which runs.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use slim_rpcgen::{Language, Sources, check, generate, write};

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/greeter")
}

/// The only block of this language.
fn block(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/stubs.md");
    let page = std::fs::read_to_string(page).unwrap();
    let mark = format!("```{language}\n");
    let mut blocks = page.split(&mark).skip(1);
    let block = blocks.next().unwrap().split_once("```").unwrap().0.to_owned();
    assert!(blocks.next().is_none(), "one block of {language}");
    block
}

#[test]
fn the_page_shows_the_example() {
    let proto = std::fs::read_to_string(example().join("greeter.proto")).unwrap();
    assert_eq!(block("proto"), proto);
    let program = std::fs::read_to_string(example().join("main.rs")).unwrap();
    let body = &program[program.find("mod stubs;").unwrap()..];
    assert_eq!(block("rust"), body);
}

#[test]
fn the_stubs_of_the_example_are_as_committed() {
    let sources = Sources::read(&[example().join("greeter.proto")], &[example()]).unwrap();
    let (files, folder) = (
        generate(Language::Rust, &sources).unwrap(),
        example().join("stubs"),
    );
    if std::env::var_os("SLIM_GOLDEN").is_some_and(|value| value == "write") {
        write(&files, &folder).unwrap();
    }
    check(&files, &folder).unwrap();
}

#[test]
fn the_example_greets() {
    let test = std::env::current_exe().unwrap();
    let examples = test.ancestors().nth(2).unwrap().join("examples");
    let program = examples
        .join("greeter")
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        program.exists(),
        "run `cargo test -p slim-rpcgen`, which builds the examples too"
    );
    let output = Command::new(program).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "Hello, Ada!\nHello, Grace!\nHello, Barbara!\n");
}
