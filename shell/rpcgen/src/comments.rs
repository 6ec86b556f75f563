//! Comments of `.proto` files: found by the place of what they describe, and made harmless for rustdoc.

use prost_types::FileDescriptorProto;
use prost_types::source_code_info::Location;

/// Field numbers of descriptor.proto, by which places are paths.
pub(crate) const MESSAGE: i32 = 4;
pub(crate) const ENUM: i32 = 5;
pub(crate) const SERVICE: i32 = 6;
pub(crate) const METHOD: i32 = 2;

/// The lines of the comment above the element at this place, or else behind it, without common indentation.
pub(crate) fn lines(file: &FileDescriptorProto, place: &[i32]) -> Vec<String> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let Some(location) = locations.into_iter().find(|location| location.path == place) else {
        return Vec::new();
    };
    let leading = location.leading_comments.as_deref();
    let text = leading.or(location.trailing_comments.as_deref()).unwrap_or("");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let indent = |line: &&str| line.len() - line.trim_start_matches(' ').len();
    let common = lines
        .iter()
        .filter(|line| !line.is_empty())
        .map(indent)
        .min()
        .unwrap_or(0);
    let mut lines: Vec<String> = lines
        .iter()
        .map(|line| line.get(common..).unwrap_or("").to_owned())
        .collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines.drain(..lines.iter().take_while(|line| line.is_empty()).count());
    lines
}

/// Marks what rustdoc would take for Rust code, and run as a test, as text: indented blocks and fences.
pub(crate) fn without_code(file: &mut FileDescriptorProto) {
    let locations = file
        .source_code_info
        .iter_mut()
        .flat_map(|info| &mut info.location);
    for location in locations {
        let Location {
            leading_comments,
            trailing_comments,
            ..
        } = location;
        for comment in [leading_comments, trailing_comments].into_iter().flatten() {
            *comment = marked(comment);
        }
    }
}

/// From here on a line is code to Markdown; the first of these spaces separates the comment from its mark.
const CODE_INDENT: usize = 4;
const FENCE: &str = "```";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    /// Text; whether the line before was empty, so that an indented block may begin.
    Text {
        after_empty: bool,
    },
    Indented,
    Fenced,
}

fn marked(comment: &str) -> String {
    let mut marked = String::with_capacity(comment.len());
    let mut block = Block::Text { after_empty: true };
    for line in comment.lines() {
        let text = line.trim_start();
        let is_code = line.len() - text.len() >= CODE_INDENT;
        if block == Block::Indented && !is_code && !text.is_empty() {
            marked += &format!(" {FENCE}\n");
            block = Block::Text { after_empty: false };
        }
        block = match block {
            Block::Fenced if text.starts_with(FENCE) => Block::Text { after_empty: false },
            Block::Text { .. } if text.starts_with(FENCE) => {
                marked += &format!(" {FENCE}text\n");
                block = Block::Fenced;
                continue;
            }
            Block::Text { after_empty: true } if is_code => {
                marked += &format!(" {FENCE}text\n");
                Block::Indented
            }
            Block::Text { .. } => Block::Text {
                after_empty: text.is_empty(),
            },
            Block::Indented | Block::Fenced => block,
        };
        marked += line;
        marked.push('\n');
    }
    if block == Block::Indented || block == Block::Fenced {
        marked += &format!(" {FENCE}\n");
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_as_it_is() {
        let text = " One.\n\n  - an item\n    that goes on\n";
        assert_eq!(marked(text), text);
    }

    #[test]
    fn indented_blocks_and_fences_become_text() {
        assert_eq!(
            marked(" So:\n\n     let x = 1;\n\n     let y = 2;\n Done.\n"),
            " So:\n\n ```text\n     let x = 1;\n\n     let y = 2;\n ```\n Done.\n"
        );
        assert_eq!(
            marked(" ```rust\n panic!()\n ```\n End.\n"),
            " ```text\n panic!()\n ```\n End.\n"
        );
        assert_eq!(marked(" ```\n open\n"), " ```text\n open\n ```\n");
    }
}
