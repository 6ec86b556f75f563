//! `slim rpc generate`: what it writes, and what it refuses.
#![cfg(unix)]

mod common;

use std::path::{Path, PathBuf};

use common::{error_line, slim, timed};

/// The files that the generator's own tests use.
fn rpcgen_tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../rpcgen/tests")
}

fn out(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("stubs-{name}-{}", std::process::id()))
}

#[test]
fn stubs_of_both_languages_are_written_checked_and_the_same_each_time() {
    for (language, known) in [("rust", "shop/v1.rs"), ("python", "shop/orders_pb2_slimrpc.py")] {
        let (protos, out) = (rpcgen_tests().join("protos"), out(language));
        let run = |more: &[&str]| {
            let mut command = slim();
            command
                .args(["rpc", "generate", "--language", language, "--out"])
                .arg(&out);
            command.arg("-I").arg(&protos).args(more);
            let files = ["shop/orders.proto", "plain.proto", "old-syntax.proto"];
            timed(command.args(files.map(|name| protos.join(name)))).0
        };
        let missing = run(&["--check"]);
        assert_eq!(missing.status.code(), Some(1));
        assert!(!out.exists());
        for more in [&[] as &[&str], &["--check"]] {
            let output = run(more);
            assert!(output.status.success(), "{}", error_line(&output));
            assert!(output.stdout.is_empty() && output.stderr.is_empty());
        }
        let golden = rpcgen_tests().join("golden").join(language).join(known);
        let golden = std::fs::read_to_string(golden).expect("a committed file");
        assert_eq!(
            std::fs::read_to_string(out.join(known)).expect("a written file"),
            golden
        );

        std::fs::write(out.join(known), "changed").expect("a writable file");
        let output = run(&["--check"]);
        assert_eq!(output.status.code(), Some(1));
        let line = error_line(&output);
        assert!(
            line.ends_with(&format!(
                "{known} out of date; run the same command without --check"
            )),
            "{line}"
        );
    }
}

#[test]
fn names_of_files_start_from_the_current_folder_without_include() {
    let out = out("current");
    let mut command = slim();
    command
        .current_dir(rpcgen_tests().join("protos"))
        .args(["rpc", "generate", "-l", "python", "plain.proto", "-o"])
        .arg(&out);
    let (output, _) = timed(&mut command);
    assert!(output.status.success(), "{}", error_line(&output));
    // What is imported comes with it.
    for name in ["plain_pb2.py", "plain_pb2_slimrpc.py", "shop/common/money_pb2.py"] {
        assert!(out.join(name).exists(), "{name}");
    }
}

#[test]
fn a_mistake_in_a_file_is_one_line_with_its_place_and_nothing_is_written() {
    let (folder, out) = (out("mistake-protos"), out("mistake"));
    std::fs::create_dir_all(&folder).expect("a writable folder");
    std::fs::write(folder.join("x.proto"), "syntax = \"proto3\";\nservice {\n").expect("a writable folder");
    let mut command = slim();
    command
        .current_dir(&folder)
        .args(["rpc", "generate", "-l", "rust", "x.proto", "-o"])
        .arg(&out);
    let (output, _) = timed(&mut command);
    assert_eq!(output.status.code(), Some(1));
    let line = error_line(&output);
    assert!(line.starts_with("slim: error: x.proto:2:9: expected "), "{line}");
    assert!(!out.exists());

    let mut command = slim();
    command.args(["rpc", "generate", "-l", "rust", "-o", "out", "no-such-file.proto"]);
    let (output, _) = timed(&mut command);
    assert_eq!(output.status.code(), Some(1));
    let line = error_line(&output);
    assert!(
        line.starts_with("slim: error: no-such-file.proto does not exist"),
        "{line}"
    );
}

#[test]
fn the_help_names_what_generated_code_needs() {
    let (output, _) = timed(slim().args(["rpc", "generate", "--help"]));
    assert!(output.status.success());
    let help = String::from_utf8(output.stdout).expect("text");
    for part in [
        "`slim` and `prost`",
        "`protobuf` and `slim-bindings`",
        "protoc",
        "--check",
        "--include <FOLDER>",
    ] {
        assert!(help.contains(part), "{part} is missing in:\n{help}");
    }
}
