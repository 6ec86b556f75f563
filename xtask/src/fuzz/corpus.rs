//! Which inputs of a target are committed: few and small ones that together reach most of what is known to be reached.
//!
//! libFuzzer's merge says which features each input has, in its control file; its own choice has hundreds of files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Inputs of one target. All targets together stay below five hundred files and a megabyte.
const FILES_MAX: usize = 36;
/// Bytes of one input.
const BYTES_MAX: u64 = 3000;

/// An input and its features.
struct Input {
    file: PathBuf,
    bytes: u64,
    features: BTreeSet<u64>,
}

/// Reads the control file of a merge with `-set_cover_merge=1` and puts the inputs worth most into `folder`, in place
/// of what is there.
pub(super) fn replace(control: &Path, folder: &Path) -> Result<usize> {
    let text = std::fs::read_to_string(control).with_context(|| control.display().to_string())?;
    let chosen = choose(read(&text)?);
    let contents: Vec<(PathBuf, Vec<u8>)> = chosen
        .into_iter()
        .map(|file| {
            let name = file.file_name().context("a file has a name")?;
            Ok((folder.join(name), std::fs::read(&file)?))
        })
        .collect::<Result<_>>()?;
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    for (path, bytes) in &contents {
        std::fs::write(path, bytes)?;
    }
    Ok(contents.len())
}

/// First the number of files, the number of those that need no run, then the files; then for each `FT`, its number and its
/// features.
fn read(control: &str) -> Result<Vec<Input>> {
    let mut lines = control.lines();
    let count: usize = lines.next().unwrap_or_default().parse()?;
    lines.next();
    let mut inputs: Vec<Input> = lines
        .by_ref()
        .take(count)
        .map(|line| {
            let file = PathBuf::from(line);
            let bytes = std::fs::metadata(&file).map_or(u64::MAX, |metadata| metadata.len());
            let features = BTreeSet::new();
            Input {
                file,
                bytes,
                features,
            }
        })
        .collect();
    for line in lines {
        let Some(numbers) = line.strip_prefix("FT ") else {
            continue;
        };
        let mut numbers = numbers.split(' ').map(str::parse::<u64>);
        let (Some(Ok(index)), features) = (numbers.next(), numbers) else {
            bail!("not a line of a control file: {line}");
        };
        let index = usize::try_from(index)?;
        let input = inputs.get_mut(index).context("a feature of no input")?;
        input.features = features.collect::<Result<_, _>>()?;
    }
    Ok(inputs)
}

/// Again and again the input that adds most; of equal ones the shortest.
fn choose(mut inputs: Vec<Input>) -> Vec<PathBuf> {
    inputs.retain(|input| input.bytes <= BYTES_MAX);
    inputs.sort_by(|a, b| (a.bytes, &a.file).cmp(&(b.bytes, &b.file)));
    let mut reached = BTreeSet::new();
    let mut chosen = Vec::new();
    while chosen.len() < FILES_MAX {
        let added = |input: &Input| input.features.difference(&reached).count();
        // The last of equals is taken, so the shortest come last.
        let Some(best) = inputs.iter().rev().max_by_key(|input| added(input)) else {
            break;
        };
        if added(best) == 0 {
            break;
        }
        chosen.push(best.file.clone());
        reached.extend(best.features.iter().copied());
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inputs_that_add_most_are_chosen_and_the_others_left() {
        let input = |file: &str, bytes, features: &[u64]| Input {
            file: file.into(),
            bytes,
            features: features.iter().copied().collect(),
        };
        let inputs = vec![
            input("long", 90, &[1, 2, 3]),
            input("short", 9, &[1, 2, 3]),
            input("none", 1, &[2]),
            input("other", 50, &[3, 4]),
            input("huge", 1 << 20, &[5, 6, 7, 8]),
        ];
        assert_eq!(choose(inputs), [PathBuf::from("short"), PathBuf::from("other")]);
    }

    #[test]
    fn a_control_file_is_read() {
        let inputs =
            read("2\n0\na\nb\nSTARTED 0 5\nFT 0 3 4\nCOV 0 1\nSTARTED 1 6\nFT 1 9\nCOV 1\n").unwrap();
        let features: Vec<Vec<u64>> = inputs
            .iter()
            .map(|input| input.features.iter().copied().collect())
            .collect();
        assert_eq!(features, [vec![3, 4], vec![9]]);
        assert!(read("1\n0\na\nFT x\n").is_err());
    }
}
