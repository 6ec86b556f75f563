//! Small files with keys and tokens: read whole, with a limit, on a thread that may wait for a disk.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use slim_proto::limits::KEY_SET_BYTES_MAX;
use zeroize::Zeroizing;

/// Why a file with a key or a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system refuses.
    #[error("{} cannot be read: {error}; check the path and its permissions", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// A rotated token cannot be kept.
    #[error("{} cannot be written: {error}; the new refresh token would be lost at the next start", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Too large to be what it should be.
    #[error("{} has more than {KEY_SET_BYTES_MAX} bytes; a key or a token belongs there", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
    },
    /// Not UTF-8.
    #[error("{} is no text; a key or a token belongs there", path.display())]
    NotText {
        /// Which.
        path: PathBuf,
    },
}

/// The text of a file, and when it was written.
pub(super) async fn read(path: &Path) -> Result<(Zeroizing<String>, Option<SystemTime>), FileError> {
    let path = path.to_owned();
    let owned = path.clone();
    let read = tokio::task::spawn_blocking(move || read_now(&owned)).await;
    // The task is only lost when the runtime stops.
    read.unwrap_or_else(|_| {
        Err(FileError::Read {
            path,
            error: io::ErrorKind::Interrupted.into(),
        })
    })
}

/// When a file was written; `None` if the system does not say, or there is no file.
pub(super) async fn written(path: &Path) -> Option<SystemTime> {
    let path = path.to_owned();
    let look = move || std::fs::metadata(path).and_then(|metadata| metadata.modified());
    tokio::task::spawn_blocking(look).await.ok()?.ok()
}

/// Replaces a file by one that holds a secret: whole or not at all, and for its owner alone.
pub(super) async fn replace(path: &Path, text: Zeroizing<String>) -> Result<(), FileError> {
    let path = path.to_owned();
    let owned = path.clone();
    let replaced = tokio::task::spawn_blocking(move || replace_now(&owned, &text)).await;
    let result = replaced.unwrap_or_else(|_| Err(io::ErrorKind::Interrupted.into()));
    result.map_err(|error| FileError::Write { path, error })
}

fn read_now(path: &Path) -> Result<(Zeroizing<String>, Option<SystemTime>), FileError> {
    let failed = |error| FileError::Read {
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(failed)?;
    let written = file.metadata().and_then(|metadata| metadata.modified()).ok();
    let mut bytes = Zeroizing::new(Vec::new());
    let limit = u64::try_from(KEY_SET_BYTES_MAX).unwrap_or(u64::MAX);
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if bytes.len() > KEY_SET_BYTES_MAX {
        return Err(FileError::TooLarge {
            path: path.to_owned(),
        });
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| FileError::NotText {
        path: path.to_owned(),
    })?;
    Ok((Zeroizing::new(text.to_owned()), written))
}

fn replace_now(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let fresh = path.with_file_name(name);
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&fresh).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let moved = written.and_then(|()| std::fs::rename(&fresh, path));
    if moved.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_replaced_file_is_read_back_and_only_its_owner_may_read_it() {
        let directory = std::env::temp_dir().join(format!("slim-auth-files-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("token");
        std::fs::write(&path, "old").unwrap();
        replace(&path, Zeroizing::new("new".to_owned())).await.unwrap();
        assert_eq!(&*read(&path).await.unwrap().0, "new");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        let missing = read(&directory.join("missing")).await.unwrap_err();
        assert!(matches!(missing, FileError::Read { .. }));
        std::fs::write(&path, vec![b'x'; KEY_SET_BYTES_MAX + 1]).unwrap();
        assert!(matches!(
            read(&path).await.unwrap_err(),
            FileError::TooLarge { .. }
        ));
        std::fs::write(&path, [0xFF]).unwrap();
        assert!(matches!(
            read(&path).await.unwrap_err(),
            FileError::NotText { .. }
        ));
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
