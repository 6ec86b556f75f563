//! Finding the tests whose names begin with ids of the tutorial's items.

use crate::workspace::SourceFile;

/// A test and the items that its name says it covers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// Path from the root.
    pub(super) file: String,
    /// Name of the function.
    pub(super) name: String,
    /// Numbers of the items.
    pub(super) ids: Vec<u32>,
}

/// All tests of all files whose names hold ids.
pub(super) fn tests(files: &[SourceFile]) -> Vec<Test> {
    files.iter().flat_map(in_file).collect()
}

fn in_file(file: &SourceFile) -> Vec<Test> {
    let leader = if file.path.ends_with(".py") { "test_" } else { "" };
    let covering = |name: &str| {
        let ids = ids(name.strip_prefix(leader)?);
        (!ids.is_empty()).then(|| Test {
            file: file.path.clone(),
            name: name.to_owned(),
            ids,
        })
    };
    names(file).into_iter().filter_map(covering).collect()
}

/// The names of all tests of a file.
pub(crate) fn names(file: &SourceFile) -> Vec<&str> {
    let (declaration, leader) = if file.path.ends_with(".rs") {
        ("fn ", "")
    } else if file.path.ends_with(".py") {
        ("def ", "test_")
    } else {
        return Vec::new();
    };
    let lines: Vec<&str> = file.text.lines().map(str::trim).collect();
    let mut names = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let Some(name) = line
            .strip_prefix(declaration)
            .and_then(|rest| rest.split('(').next())
        else {
            continue;
        };
        // A helper of Rust may be called what it likes; only functions with the attribute are run.
        if name.starts_with(leader) && (leader == "test_" || is_rust_test(&lines[..index])) {
            names.push(name);
        }
    }
    names
}

/// Whether one of the attributes that end these lines makes the next item a test.
fn is_rust_test(above: &[&str]) -> bool {
    above
        .iter()
        .rev()
        .take_while(|line| line.starts_with("#[") || line.ends_with(")]") || line.starts_with("//"))
        .any(|line| *line == "#[test]" || line.starts_with("#[tokio::test"))
}

/// The ids that lead a name: 3 and 4 in `s_03_s_04_columns_follow`, or in `s03_s04_columns_follow`.
fn ids(mut name: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    while let Some(rest) = name.strip_prefix('s') {
        let rest = rest.strip_prefix('_').unwrap_or(rest);
        let Some((digits, after)) = rest.split_at_checked(2) else {
            break;
        };
        let (true, Ok(id)) = (after.starts_with('_'), digits.parse()) else {
            break;
        };
        ids.push(id);
        name = &after[1..];
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_lead_a_name_in_either_spelling() {
        assert_eq!(ids("s_03_s_04_columns_follow"), [3, 4]);
        assert_eq!(ids("s41_s42_a_session_comes"), [41, 42]);
        for other in ["sessions_end", "s_1_a", "s_031_a", "columns_s_03_a", "s_03", "s"] {
            assert_eq!(ids(other), Vec::<u32>::new(), "{other}");
        }
    }

    #[test]
    fn only_functions_that_are_run_are_tests() {
        let rust = concat!(
            "#[test]\nfn s",
            "_01_a() {}\n",
            "fn s",
            "_02_helper() {}\n",
            "#[tokio::test(flavor = \"multi_thread\")]\n#[cfg(unix)]\nasync fn s",
            "_03_b() {}\n",
        );
        let python = concat!(
            "def test_s",
            "04_c(x: int) -> None:\n",
            "def s",
            "05_d():\n    pass\n"
        );
        let files = [("a.rs", rust), ("b.py", python), ("c.md", rust)].map(|(path, text)| SourceFile {
            path: path.to_owned(),
            text: text.to_owned(),
        });
        let found: Vec<Vec<u32>> = tests(&files).into_iter().map(|test| test.ids).collect();
        assert_eq!(found, [[1], [3], [4]]);
    }
}
