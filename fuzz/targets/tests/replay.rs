//! Every committed input runs through its target, with any toolchain: what was found once stays found.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use slim_fuzz_targets::TARGETS;

/// Inputs that together reach what the fuzzer has reached; and inputs that once broke a rule.
const KINDS: [&str; 2] = ["corpus", "regressions"];

#[test]
fn no_committed_input_breaks_a_rule() {
    let mut broken = Vec::new();
    for (name, body) in TARGETS {
        for file in KINDS.iter().flat_map(|kind| files(&folder(kind).join(name))) {
            let bytes = std::fs::read(&file).unwrap();
            if catch_unwind(AssertUnwindSafe(|| body(&bytes))).is_err() {
                broken.push(file);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn each_target_has_inputs_and_each_folder_a_target() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    for (name, _) in TARGETS {
        assert!(
            !files(&folder("corpus").join(name)).is_empty(),
            "{name} has no corpus"
        );
        let fuzzed = folder("fuzz_targets").join(format!("{name}.rs"));
        assert!(fuzzed.is_file(), "{name} is not fuzzed");
    }
    for kind in KINDS {
        for path in files(&folder(kind)) {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(names.contains(name), "{} is of no target", path.display());
        }
    }
}

#[test]
fn nothing_but_a_broken_rule_ends_a_target() {
    // The shortest inputs, which no corpus keeps.
    for (_, body) in TARGETS {
        for bytes in [&[][..], &[0], &[0xFF], &[0; 16], &[0xFF; 16]] {
            body(bytes);
        }
    }
}

fn folder(name: &str) -> PathBuf {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    fuzz.join(name)
}

/// The entries of a folder in order; none if it is not there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}
