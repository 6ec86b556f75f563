//! Each rule on the smallest text that breaks it, and on one that does not.

use super::*;
use crate::workspace::Dependency;

#[test]
fn clean_text_has_no_findings() {
    let text = "//! What it is for.\n\nmod tests {\n}\n// the core never calls tokio::spawn\nfn f() {}\n";
    assert_eq!(findings("core/proto/src/a.rs", text), 0);
}

#[test]
fn every_forbidden_pattern_is_found_where_it_applies() {
    for rule in &FORBIDDEN {
        let path = ["core/a/src/a.rs", "tests/a.py"]
            .into_iter()
            .find(|path| (rule.applies)(path))
            .expect("a rule applies to the core or to Python");
        let text = format!("//! Doc.\n    {}\n", rule.pattern);
        assert_ne!(findings(path, &text), 0, "{}", rule.pattern);
    }
}

#[test]
fn the_shell_may_be_asynchronous() {
    let text = format!("//! Doc.\n{}f() {{}}\n", concat!("async ", "fn "));
    assert_eq!(findings("shell/net/src/a.rs", &text), 0);
    assert_eq!(findings("core/router/src/a.rs", &text), 1);
}

#[test]
fn comments_may_name_what_code_must_not_do_but_no_machine_path() {
    let text = format!("//! Doc.\n// no {}here)\n", concat!("todo", "!("));
    assert_eq!(findings("core/a/src/a.rs", &text), 0);
    let text = format!("//! Doc.\n// see {}here\n", concat!("/wo", "rk/"));
    assert_eq!(findings("core/a/src/a.rs", &text), 1);
    assert_eq!(findings("docs/a.md", &text), 1);
}

#[test]
fn a_longer_word_is_not_the_forbidden_one() {
    assert_eq!(
        findings("core/a/src/a.rs", "//! Doc.\nlet n = self.awaiting;\n"),
        0
    );
    assert_eq!(
        findings(
            "core/a/src/a.rs",
            &format!("//! Doc.\nlet n = f(){}?;\n", concat!(".aw", "ait"))
        ),
        1
    );
}

#[test]
fn files_and_inline_modules_open_with_a_description() {
    assert_eq!(findings("sim/src/a.rs", "fn f() {}\n"), 1);
    assert_eq!(
        findings("sim/src/a.rs", "//! Doc.\npub mod inner {\n    fn f() {}\n}\n"),
        1
    );
    assert_eq!(
        findings(
            "sim/src/a.rs",
            "//! Doc.\npub(crate) mod inner {\n    //! Doc.\n}\n"
        ),
        0
    );
    let above = "//! Doc.\n/// Doc.\n#[allow(x)]\nmod inner {\n    fn f() {}\n}\n";
    assert_eq!(findings("sim/src/a.rs", above), 0);
    assert_eq!(findings("sim/src/a.rs", "#![allow(x)]\n//! Doc.\n"), 0);
}

#[test]
fn other_crates_are_re_exported_on_the_surface_only() {
    let text = "//! Doc.\npub use bytes::Bytes;\npub use self::inner::A;\npub use inner::B;\n";
    assert_eq!(findings("core/a/src/inner.rs", text), 1);
    assert_eq!(findings("core/a/src/lib.rs", text), 0);
    assert_eq!(findings("core/a/src/surface.rs", text), 0);
    assert_eq!(findings("core/a/src/surface/mod.rs", text), 0);
    assert_eq!(findings("core/a/src/surface/inner.rs", text), 1);
}

#[test]
fn a_ban_is_lifted_only_with_a_reason_and_only_where_listed() {
    let lift = concat!("#[expect(clippy::", "disallowed_types, reason = \"shared\")]");
    let bare = concat!("#[expect(clippy::", "disallowed_types)]");
    assert_eq!(findings("core/mls/src/a.rs", &format!("//! Doc.\n{lift}\n")), 0);
    assert_eq!(findings("core/mls/src/a.rs", &format!("//! Doc.\n{bare}\n")), 1);
    assert_eq!(
        findings("core/router/src/a.rs", &format!("//! Doc.\n{lift}\n")),
        1
    );
}

#[test]
fn every_crate_inherits_the_lints() {
    let with = file("core/a/Cargo.toml", "[package]\n\n[lints]\nworkspace = true\n");
    let without = file("core/a/Cargo.toml", "[package]\n");
    assert_eq!(check_manifest(&package(), &[with]), []);
    assert_eq!(check_manifest(&package(), &[without]).len(), 1);
}

fn findings(path: &str, text: &str) -> usize {
    let root = file("core/a/src/lib.rs", "//! Doc.\nmod inner;\npub mod surface;\n");
    check(&file(path, text), &[root], &[package()]).len()
}

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

fn package() -> Package {
    Package {
        name: "slim-a".to_owned(),
        folder: "core/a".to_owned(),
        dependencies: vec![Dependency {
            name: "bytes".to_owned(),
            ours: false,
            dev: false,
        }],
    }
}
