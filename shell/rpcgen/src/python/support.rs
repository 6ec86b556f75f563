//! What the stubs of a module share: functions of `support.py`, of which each module gets those that it uses.
//!
//! They are in the generated module and not in a package, since the stubs also run with the published package, which has
//! nothing of the kind.

use std::collections::BTreeSet;

/// Sections, each below a line `#: NAME: NAMES OF THE SECTIONS THAT IT NEEDS`.
const TEXT: &str = include_str!("support.py");
const MARK: &str = "#: ";

/// The code of these sections and of those that they need, in the order of the file.
pub(crate) fn code(used: &BTreeSet<&str>) -> String {
    let sections: Vec<Section<'static>> = sections().collect();
    let mut needed: BTreeSet<&str> = used.clone();
    // Sections need earlier ones only.
    for section in sections.iter().rev() {
        if needed.contains(section.name) {
            needed.extend(section.needs.split_whitespace());
        }
    }
    sections
        .iter()
        .filter(|section| needed.contains(section.name))
        .map(|section| format!("\n\n{}\n", section.code))
        .collect()
}

struct Section<'a> {
    name: &'a str,
    needs: &'a str,
    code: &'a str,
}

fn sections() -> impl Iterator<Item = Section<'static>> {
    TEXT.split(MARK).filter_map(|section| {
        let (head, code) = section.split_once('\n')?;
        let (name, needs) = head.split_once(": ").unwrap_or((head, ""));
        Some(Section {
            name,
            needs,
            code: code.trim_end(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_brings_those_before_it_that_it_needs() {
        let mut before = BTreeSet::new();
        for section in sections() {
            for need in section.needs.split_whitespace() {
                assert!(before.contains(need), "{} needs {need}", section.name);
            }
            before.insert(section.name);
        }
        let code = code(&BTreeSet::from(["stream_unary"]));
        for (name, present) in [
            ("def _decoded", true),
            ("def _send_all", true),
            ("def _stream_unary", true),
            ("def _both_ways", false),
        ] {
            assert_eq!(code.contains(name), present, "{name}");
        }
    }
}
