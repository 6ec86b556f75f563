//! `cargo xtask config-docs`: the tables of docs/configuration.md, made from those that the parser reads.
//!
//! What the page says in its own words stands outside of the two markers and is nobody's business here.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use slim_config::{Absence, Block, Key, Kind, Status, file_table};

use crate::workspace;

const PAGE: &str = "docs/configuration.md";
const BEGIN: &str = "<!-- keys: begin (cargo xtask config-docs) -->\n";
const END: &str = "<!-- keys: end -->\n";

/// Rewrites the tables between their two markers.
pub(crate) fn write() -> Result<()> {
    let path = workspace::root().join(PAGE);
    let text = std::fs::read_to_string(&path).context(PAGE)?;
    std::fs::write(path, replaced(&text)?)?;
    Ok(())
}

/// Fails when [`write`] would change something.
pub(crate) fn check() -> Result<()> {
    let text = std::fs::read_to_string(workspace::root().join(PAGE)).context(PAGE)?;
    if replaced(&text)? != text {
        bail!("the tables of {PAGE} are out of date; run `cargo xtask config-docs`");
    }
    Ok(())
}

fn replaced(text: &str) -> Result<String> {
    let (before, rest) = text
        .split_once(BEGIN)
        .with_context(|| format!("{PAGE} has no marker of its tables"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("the tables of {PAGE} have no end"))?;
    Ok(format!("{before}{BEGIN}{}{END}{after}", tables()))
}

/// One section a block, in the order in which a reader of a file meets them.
fn tables() -> String {
    let mut page = Page::default();
    page.block("The file", "", file_table());
    page.text.push('\n');
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
    /// Blocks that stand on the page, and under which title.
    known: Vec<(&'static Block, String)>,
}

impl Page {
    /// A block under its title; `path` is what leads to its keys.
    fn block(&mut self, title: &str, path: &str, block: &'static Block) {
        self.known.push((block, title.to_owned()));
        let _ = write!(self.text, "\n### {title}\n\n{}\n", block.doc);
        let mut rows = block.keys.iter().filter(|key| key.is_current()).peekable();
        if rows.peek().is_some() {
            self.text
                .push_str("\n| key | value | without it | what it is for |\n|---|---|---|---|\n");
        }
        for key in rows {
            let value = self.value(path, key);
            let _ = writeln!(
                self.text,
                "| `{}` | {} | {} | {} |",
                key.name,
                cell(&value),
                cell(&absence(key)),
                cell(key.doc)
            );
        }
        for line in other_keys(block) {
            let _ = write!(self.text, "\n{line}\n");
        }
        for key in block.keys.iter().filter(|key| key.is_current()) {
            for (title, path, inner) in inner_blocks(path, key) {
                if !self.known.iter().any(|(known, _)| std::ptr::eq(*known, inner)) {
                    self.block(&title, &path, inner);
                }
            }
        }
    }

    /// What may stand under a key, in words.
    fn value(&self, path: &str, key: &Key) -> String {
        let words = |words: &[&str]| -> String {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        };
        match key.kind {
            Kind::Bool => "`true` or `false`".to_owned(),
            Kind::Integer { min, max } if max == i64::from(u32::MAX) => format!("{min} or more"),
            Kind::Integer { min, max } => format!("{min} to {max}"),
            Kind::Text => "text".to_owned(),
            Kind::Secret => "text, never shown".to_owned(),
            Kind::Path => "path".to_owned(),
            Kind::Duration { zero: true } => "duration".to_owned(),
            Kind::Duration { zero: false } => "duration, not zero".to_owned(),
            Kind::Endpoint => "endpoint".to_owned(),
            Kind::Rate => "`COUNT/SECONDS`".to_owned(),
            Kind::Choice(choices) => words(choices),
            Kind::Texts => "text, or list of texts".to_owned(),
            Kind::Choices(choices) => format!("one or a list of {}", words(choices)),
            Kind::List(Kind::Block(_)) => "list of blocks".to_owned(),
            Kind::List(_) => "list of texts".to_owned(),
            Kind::Map(Kind::Block(_)) => "blocks by name".to_owned(),
            Kind::Map(Kind::Any) => "values by name".to_owned(),
            Kind::Map(_) => "texts by name, never shown".to_owned(),
            Kind::Block(block) => match self.title_elsewhere(path, key, block) {
                Some(title) => format!("as {title}"),
                None => "block".to_owned(),
            },
            Kind::Typed(blocks) => {
                let names: Vec<&str> = blocks.iter().map(|block| block.name).chain(["none"]).collect();
                format!("block with `type`: {}", words(&names))
            }
            Kind::BlockOr(_, word) => format!("block, or `{word}`"),
            Kind::Any => "any value".to_owned(),
        }
    }

    /// The title under which a block stands already, if that is not right here.
    fn title_elsewhere(&self, path: &str, key: &Key, block: &'static Block) -> Option<&str> {
        let here = format!("{path}{}", key.name);
        self.known
            .iter()
            .find(|(known, title)| std::ptr::eq(*known, block) && *title != format!("`{here}`"))
            .map(|(_, title)| title.as_str())
    }
}

/// The blocks under a key with their titles and what leads to their keys.
fn inner_blocks(path: &str, key: &Key) -> Vec<(String, String, &'static Block)> {
    let named = |suffix: &str, block| {
        let path = format!("{path}{}{suffix}", key.name);
        (format!("`{path}`"), format!("{path}."), block)
    };
    match key.kind {
        Kind::Block(block) | Kind::BlockOr(block, _) => vec![named("", block)],
        // Paths from the top would not fit into a title; entries and services begin anew.
        Kind::List(Kind::Block(block)) => {
            let title = format!("{}[]", key.name);
            vec![(format!("`{title}`"), format!("{title}."), *block)]
        }
        Kind::Map(Kind::Block(block)) => vec![(format!("`{}.slim/NAME`", key.name), String::new(), *block)],
        Kind::Typed(blocks) => {
            let typed = |block: &&'static Block| {
                let path = format!("{path}{}", key.name);
                (
                    format!("`{path}: {{type: {}}}`", block.name),
                    format!("{path}."),
                    *block,
                )
            };
            blocks.iter().map(typed).collect()
        }
        Kind::Bool
        | Kind::Integer { .. }
        | Kind::Text
        | Kind::Secret
        | Kind::Path
        | Kind::Duration { .. }
        | Kind::Endpoint
        | Kind::Rate
        | Kind::Choice(_)
        | Kind::Texts
        | Kind::Choices(_)
        | Kind::List(_)
        | Kind::Map(_)
        | Kind::Any => Vec::new(),
    }
}

fn absence(key: &Key) -> String {
    match key.absence {
        Absence::Refused => "refused".to_owned(),
        Absence::Default(text) => format!("`{text}`"),
        Absence::Means(text) => text.to_owned(),
    }
}

/// What is to be said of the keys that do not belong into a new file.
fn other_keys(block: &Block) -> Vec<String> {
    let mut lines = Vec::new();
    let listed = |matching: &dyn Fn(&Key) -> Option<String>| -> String {
        let words: Vec<String> = block.keys.iter().filter_map(matching).collect();
        words.join(", ")
    };
    let mut line = |start: &str, words: String| {
        if !words.is_empty() {
            lines.push(format!("{start} {words}."));
        }
    };
    line(
        "Other names:",
        listed(&|key| {
            let Status::Alias(name) = key.status else {
                return None;
            };
            Some(format!("`{}` for `{name}`", key.name))
        }),
    );
    line(
        "Old, with a warning:",
        listed(&|key| {
            let (Status::Old(name) | Status::OldShape(name)) = key.status else {
                return None;
            };
            Some(format!("`{}` for `{name}`", key.name))
        }),
    );
    line(
        "Of a later release, and refused unless they ask for nothing:",
        listed(&|key| {
            let Status::Later(neutral) = key.status else {
                return None;
            };
            let neutral = neutral
                .map(|neutral| format!(" (`{neutral}`)"))
                .unwrap_or_default();
            Some(format!("`{}`{neutral}", key.name))
        }),
    );
    line(
        "Read and without effect, for old files:",
        listed(&|key| {
            let is_idle = matches!(key.status, Status::Unused | Status::Ignored(_));
            is_idle.then(|| format!("`{}`", key.name))
        }),
    );
    let reason = |key: &Key| {
        if let Status::Refused(reason) | Status::RefusedUnless(_, reason) = key.status {
            return Some(reason);
        }
        None
    };
    let mut reasons: Vec<&str> = block.keys.iter().filter_map(reason).collect();
    reasons.dedup();
    for wanted in reasons {
        let names = listed(&|key| (reason(key) == Some(wanted)).then(|| format!("`{}`", key.name)));
        line("Refused:", format!("{names} ({wanted})"));
    }
    lines
}

/// Text inside a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_stands_on_the_page_once_and_every_current_key_in_a_row() {
        let page = tables();
        assert_eq!(page.matches("\n### `servers[].tls`\n").count(), 1);
        assert_eq!(page.matches("\n### `servers[].auth: {type: basic}`\n").count(), 1);
        for row in [
            "| `n_cores` | 0 or more | `0` | ",
            "| `max_frame_size` | 1 to 16 | 64 KiB | ",
            "| `endpoint` | endpoint | refused | ",
            "| `match` | block, or `any` | refused | ",
        ] {
            assert!(page.contains(row), "{row}\n{page}");
        }
        assert!(page.contains("Old, with a warning: `pubsub` for `dataplane`."));
    }

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let text = replaced(&format!("a\n{BEGIN}stale words\n{END}b\n")).unwrap();
        assert!(text.starts_with("a\n") && text.ends_with("b\n") && !text.contains("stale words"));
        assert!(replaced("nothing").is_err());
    }
}
