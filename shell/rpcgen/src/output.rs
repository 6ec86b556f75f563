//! From text to files below a folder, and back: whether the files are what would be written.

use std::path::{Path, PathBuf};

use crate::{Error, GeneratedFile};

/// Writes the files, with the folders that they need. Files that are right already keep their time; what else is in the
/// folder stays.
pub fn write(files: &[GeneratedFile], folder: &Path) -> Result<(), Error> {
    for file in files {
        let path = folder.join(&file.path);
        if is_current(file, &path) {
            continue;
        }
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| Error::Write {
                path: parent.to_owned(),
                error,
            })?;
        }
        std::fs::write(&path, &file.text).map_err(|error| Error::Write { path, error })?;
    }
    Ok(())
}

/// Fails when [`write`] would change something.
pub fn check(files: &[GeneratedFile], folder: &Path) -> Result<(), Error> {
    let paths: Vec<PathBuf> = files
        .iter()
        .map(|file| (file, folder.join(&file.path)))
        .filter(|(file, path)| !is_current(file, path))
        .map(|(_, path)| path)
        .collect();
    if paths.is_empty() {
        Ok(())
    } else {
        Err(Error::OutOfDate { paths })
    }
}

fn is_current(file: &GeneratedFile, path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|present| present == file.text.as_bytes())
}
