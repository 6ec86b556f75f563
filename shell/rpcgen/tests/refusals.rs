//! Files that no stubs can be made of: what is said names the place and the remedy.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use slim_rpcgen::{Language, Sources, check, generate, write};

/// A folder of its own for each test, with these files.
fn folder(files: &[(&str, &str)]) -> PathBuf {
    static FOLDERS: AtomicU32 = AtomicU32::new(0);
    let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("refusals-{}-{number}", std::process::id()));
    for (name, text) in files {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().expect("a folder above")).expect("a folder can be made");
        std::fs::write(path, text).expect("a file can be written");
    }
    folder
}

/// What is said of `x.proto`.
fn refused(language: Language, text: &str) -> String {
    let folder = folder(&[("x.proto", text)]);
    let sources = match Sources::read(&[folder.join("x.proto")], &[folder]) {
        Ok(sources) => sources,
        Err(error) => return error.to_string(),
    };
    let files = generate(language, &sources);
    files.expect_err("stubs cannot be made").to_string()
}

const SERVICE: &str = "syntax = \"proto3\";\nmessage M {}\nservice S { rpc Call(M) returns (M); }\n";

#[test]
fn what_does_not_parse_is_shown_with_line_and_column() {
    let said = refused(
        Language::Rust,
        "syntax = \"proto3\";\nmessage M {\n  string name 1;\n}\n",
    );
    assert!(said.starts_with("x.proto:3:15: expected "), "{said}");
    let said = refused(
        Language::Python,
        "syntax = \"proto3\";\nservice S { rpc Call(Nothing) returns (Nothing); }\n",
    );
    assert!(
        said.starts_with("x.proto:2:22: ") && said.contains("'Nothing'"),
        "{said}"
    );
    let said = refused(
        Language::Python,
        "syntax = \"proto3\";\nmessage M {\n  int32 a = 1;\n  int32 b = 1;\n}\n",
    );
    assert!(said.starts_with("x.proto:4:13: "), "{said}");
    let said = refused(Language::Rust, "edition = \"2023\";\n");
    assert!(said.starts_with("x.proto:1:1: "), "{said}");
}

#[test]
fn a_group_of_proto2_is_refused_in_proto3() {
    let said = refused(
        Language::Rust,
        "syntax = \"proto3\";\nmessage M {\n  optional group G = 1 {}\n}\n",
    );
    assert!(said.starts_with("x.proto:3:"), "{said}");
}

#[test]
fn an_import_that_is_nowhere_is_shown_with_its_line_and_the_option_that_helps() {
    let said = refused(
        Language::Rust,
        "syntax = \"proto3\";\n\nimport \"common/y.proto\";\n",
    );
    assert_eq!(
        said,
        "x.proto:3:1: import 'common/y.proto' not found; name the folder that its path starts from with --include FOLDER"
    );
}

#[test]
fn files_in_a_circle_are_refused() {
    let files = [
        ("x.proto", "syntax = \"proto3\"; import \"y.proto\";"),
        ("y.proto", "syntax = \"proto3\"; import \"x.proto\";"),
    ];
    let folder = folder(&files);
    let error = Sources::read(&[folder.join("x.proto")], &[folder]).expect_err("a circle");
    assert!(
        error.to_string().contains("x.proto -> y.proto -> x.proto"),
        "{error}"
    );
}

#[test]
fn a_file_without_service_is_refused_by_name() {
    let said = refused(Language::Python, "syntax = \"proto3\";\nmessage M {}\n");
    assert_eq!(
        said,
        "x.proto declares no service; name a file that does (what it imports is generated with it)"
    );
}

#[test]
fn files_that_are_missing_or_outside_are_refused_with_the_remedy() {
    let folder = folder(&[("a/x.proto", SERVICE), ("b/y.proto", SERVICE)]);
    let missing = folder.join("a/z.proto");
    let error = Sources::read(std::slice::from_ref(&missing), &[]).expect_err("no such file");
    assert!(
        error
            .to_string()
            .starts_with(&format!("{} does not exist", missing.display())),
        "{error}"
    );
    let error = Sources::read(&[folder.join("a/x.proto")], &[folder.join("b")]).expect_err("another folder");
    let said = error.to_string();
    assert!(
        said.ends_with("is not below an include folder; name one that it is below with --include FOLDER"),
        "{said}"
    );
}

#[test]
fn names_that_become_one_are_refused() {
    let said = refused(
        Language::Rust,
        "syntax = \"proto3\";\npackage p;\nmessage M {}\nservice S { rpc PutIt(M) returns (M); rpc put_it(M) returns (M); }\n",
    );
    assert_eq!(
        said,
        "p.S: PutIt and put_it would both become `put_it` in Rust; rename one of them"
    );
    let said = refused(
        Language::Rust,
        "syntax = \"proto3\";\nmessage M {}\nmessage ShopRpc { message In {} }\nservice Shop { rpc Call(M) returns (M); }\n",
    );
    assert_eq!(
        said,
        "Shop: the contents of ShopRpc and the stubs of Shop would both become `shop_rpc` in Rust; rename one of them"
    );
    let said = refused(
        Language::Python,
        "syntax = \"proto3\";\nmessage M {}\nservice S { rpc None(M) returns (M); rpc None_(M) returns (M); }\n",
    );
    assert_eq!(
        said,
        "S: None and None_ would both become `None_` in Python; rename one of them"
    );
    let said = refused(
        Language::Python,
        "syntax = \"proto3\";\nmessage M {}\nservice S { rpc A(M) returns (M); }\nservice SGroup { rpc A(M) returns (M); }\n",
    );
    assert_eq!(
        said,
        "S: its stub for groups and the stub of SGroup would both become `SGroupStub` in Python; rename one of them"
    );
}

#[test]
fn a_check_names_what_is_missing_or_different_and_changes_nothing() {
    let folder = folder(&[("x.proto", SERVICE)]);
    let sources =
        Sources::read(&[folder.join("x.proto")], std::slice::from_ref(&folder)).expect("a valid file");
    let files = generate(Language::Python, &sources).expect("stubs");
    let out = folder.join("out");
    let error = check(&files, &out).expect_err("nothing is there");
    for name in ["x_pb2.py", "x_pb2.pyi", "x_pb2_slimrpc.py"] {
        assert!(error.to_string().contains(name), "{error}");
    }
    assert!(!out.exists());
    write(&files, &out).expect("the folder can be written");
    check(&files, &out).expect("everything is there");
    std::fs::write(out.join("x_pb2.py"), "changed").expect("a file can be written");
    let error = check(&files, &out).expect_err("one is different");
    assert_eq!(
        error.to_string(),
        format!(
            "{} out of date; run the same command without --check",
            out.join("x_pb2.py").display()
        )
    );
}
