//! What is generated from `tests/protos` is what lies in `tests/golden`, and the same each time.
//!
//! After a change of the generator, `SLIM_GOLDEN=write cargo test -p slim-rpcgen --test golden` rewrites the folder.

use std::path::{Path, PathBuf};

use slim_rpcgen::{GeneratedFile, Language, Sources, check, generate, write};

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn generated(language: Language) -> Vec<GeneratedFile> {
    let protos = tests().join("protos");
    let files = ["shop/orders.proto", "plain.proto", "old-syntax.proto"].map(|name| protos.join(name));
    let sources = Sources::read(&files, &[protos]).expect("the files are valid");
    generate(language, &sources).expect("stubs can be made of them")
}

fn is_as_committed(language: Language, folder: &str) {
    let (files, folder) = (generated(language), tests().join("golden").join(folder));
    if std::env::var_os("SLIM_GOLDEN").is_some_and(|value| value == "write") {
        write(&files, &folder).expect("the folder can be written");
    }
    check(&files, &folder).expect("the folder holds what is generated");
    assert_eq!(count(&folder), files.len(), "the folder holds nothing else");
}

/// How many files the folder holds, folders in it included; what Python left behind does not count.
fn count(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| !path.ends_with("__pycache__"))
        .map(|path| if path.is_dir() { count(&path) } else { 1 })
        .sum()
}

#[test]
fn rust_is_as_committed() {
    is_as_committed(Language::Rust, "rust");
}

#[test]
fn python_is_as_committed() {
    is_as_committed(Language::Python, "python");
}

#[test]
fn equal_files_give_equal_stubs() {
    for language in [Language::Rust, Language::Python] {
        assert_eq!(generated(language), generated(language));
    }
}
