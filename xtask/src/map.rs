//! `cargo xtask map`: the code map of ARCHITECTURE.md, made from the first sentence of every file.
//!
//! A map written by hand is wrong after a week; this one is checked by `tidy`.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};

use crate::workspace::{self, Package, SourceFile};

const BEGIN: &str = "<!-- map: begin (cargo xtask map) -->\n";
const END: &str = "<!-- map: end -->\n";

/// Rewrites the map between its two markers.
pub(crate) fn write() -> Result<()> {
    let path = workspace::root().join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(&path).context("ARCHITECTURE.md")?;
    std::fs::write(path, replaced(&text)?)?;
    Ok(())
}

/// Fails when [`write`] would change something.
pub(crate) fn check() -> Result<()> {
    let text =
        std::fs::read_to_string(workspace::root().join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    if replaced(&text)? != text {
        bail!("the code map of ARCHITECTURE.md is out of date; run `cargo xtask map`");
    }
    Ok(())
}

fn replaced(text: &str) -> Result<String> {
    let (before, rest) = text
        .split_once(BEGIN)
        .context("ARCHITECTURE.md has no map marker")?;
    let (_, after) = rest
        .split_once(END)
        .context("the map of ARCHITECTURE.md has no end")?;
    let map = map(&workspace::packages()?, &workspace::files()?);
    Ok(format!("{before}{BEGIN}{map}{END}{after}"))
}

/// One section a crate, in the order of the folders; `lib.rs` or `main.rs` first, since it says what the crate is for.
fn map(packages: &[Package], files: &[SourceFile]) -> String {
    let mut packages: Vec<&Package> = packages.iter().collect();
    packages.sort_by(|a, b| a.folder.cmp(&b.folder));
    let mut map = String::new();
    for package in packages {
        let source = format!("{}/src/", package.folder);
        let mut rows: Vec<(&str, String)> = files
            .iter()
            .filter_map(|file| Some((file.path.strip_prefix(&source)?, file)))
            .filter(|(path, _)| {
                path.ends_with(".rs") && !path.ends_with("tests.rs") && !path.contains("gen/")
            })
            .map(|(path, file)| (path, first_sentence(&file.text)))
            .collect();
        rows.sort_by_key(|(path, _)| (!["lib.rs", "main.rs"].contains(path), *path));
        let _ = write!(
            map,
            "\n### `{}` (crate `{}`)\n\n| file | what it is for |\n|---|---|\n",
            package.folder, package.name
        );
        for (path, sentence) in rows {
            let _ = writeln!(map, "| `{path}` | {sentence} |");
        }
    }
    map.push('\n');
    map
}

/// The first sentence of a file's `//!` comment, links reduced to their text.
fn first_sentence(text: &str) -> String {
    let paragraph: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("//!"))
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let paragraph = paragraph.join(" ");
    let end = paragraph.find(". ").unwrap_or(paragraph.len());
    without_links(paragraph[..end].trim_end_matches('.')).replace('|', "\\|")
}

/// ``[`A`](b::A)`` and ``[`A`]`` become `` `A` ``.
fn without_links(text: &str) -> String {
    let mut output = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        output.push_str(before);
        let Some((label, after)) = after.split_once("`]") else {
            rest = &rest[before.len()..];
            break;
        };
        let _ = write!(output, "`{label}`");
        rest = match after.strip_prefix('(').and_then(|target| target.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    output + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sentence_is_cut_out_and_loses_its_links() {
        let text = "#![allow(x)]\n//! What goes into an [`Endpoint`](crate::Endpoint) and\n//! out of a [`Session`]. More.\n//!\n//! Rest.\n";
        assert_eq!(
            first_sentence(text),
            "What goes into an `Endpoint` and out of a `Session`"
        );
        assert_eq!(first_sentence("//! Plain.\n\nfn f() {}\n"), "Plain");
        assert_eq!(first_sentence("//! Open [`link.\n"), "Open [`link");
    }

    #[test]
    fn a_crate_lists_its_root_first_and_leaves_tests_out() {
        let packages = [Package {
            name: "slim-a".to_owned(),
            folder: "core/a".to_owned(),
            dependencies: Vec::new(),
        }];
        let files = ["b.rs", "b/tests.rs", "lib.rs"].map(|path| SourceFile {
            path: format!("core/a/src/{path}"),
            text: format!("//! Of {path}\n"),
        });
        let expected = "\n### `core/a` (crate `slim-a`)\n\n| file | what it is for |\n|---|---|\n\
            | `lib.rs` | Of lib.rs |\n| `b.rs` | Of b.rs |\n\n";
        assert_eq!(map(&packages, &files), expected);
    }
}
