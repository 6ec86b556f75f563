//! Listening on a socket file: what an earlier process left behind is removed, what somebody uses is not.
//!
//! The file is for its owner alone (0600) before anybody can connect. Whoever else shall use it is given the right
//! to by its owner, when the listener runs. Who connects is not asked for; the file's permissions say who may.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;

/// Connections that the system keeps until they are accepted; what it does for TCP.
const BACKLOG: i32 = 1024;

/// A bound socket and its file, which goes with it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    pub(crate) socket: UnixListener,
    path: PathBuf,
    /// Device and number of the file, as it was made.
    identity: (u64, u64),
}

/// Why a socket file cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketFileError {
    #[error("another process listens on it; stop that one, or choose another path")]
    InUse,
    #[error("there is a file that is no socket; remove it, or choose another path")]
    NoSocket,
    #[error("{0}")]
    System(#[from] io::Error),
}

impl From<SocketFileError> for io::Error {
    fn from(error: SocketFileError) -> Self {
        match error {
            SocketFileError::System(error) => error,
            error @ SocketFileError::InUse => Self::new(io::ErrorKind::AddrInUse, error),
            error @ SocketFileError::NoSocket => Self::new(io::ErrorKind::AlreadyExists, error),
        }
    }
}

impl SocketFile {
    pub(crate) fn bind(path: &Path) -> Result<Self, SocketFileError> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // Nobody connects before `listen`, so nobody gets in under the permissions that the file is born with.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        socket.listen(BACKLOG)?;
        let file = fs::symlink_metadata(path)?;
        Ok(Self {
            socket: UnixListener::from_std(socket.into())?,
            path: path.to_owned(),
            identity: (file.dev(), file.ino()),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another process may have put its own in the place of ours.
        let is_ours =
            fs::symlink_metadata(&self.path).is_ok_and(|file| (file.dev(), file.ino()) == self.identity);
        if is_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket that nobody listens on.
fn remove_stale(path: &Path) -> Result<(), SocketFileError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(file) if !file.file_type().is_socket() => return Err(SocketFileError::NoSocket),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketFileError::InUse),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        // Also a listener of another user, whom we may not ask.
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("slim-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[tokio::test]
    async fn the_file_is_the_owners_alone_and_goes_with_the_listener() {
        let directory = Directory::new("socket-file");
        let path = directory.0.join("s");
        let bound = SocketFile::bind(&path).unwrap();
        let mode = fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        UnixStream::connect(&path).unwrap();
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_an_earlier_process_left_is_removed_and_what_is_used_is_not() {
        let directory = Directory::new("socket-stale");
        let path = directory.0.join("s");
        // The file of a listener of the standard library stays.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let bound = SocketFile::bind(&path).unwrap();
        assert!(matches!(SocketFile::bind(&path), Err(SocketFileError::InUse)));
        UnixStream::connect(&path).unwrap();
        // A successor's file stays when the one before ends.
        fs::remove_file(&path).unwrap();
        let successor = SocketFile::bind(&path).unwrap();
        drop(bound);
        UnixStream::connect(&path).unwrap();
        drop(successor);

        fs::write(&path, "precious").unwrap();
        let refused = SocketFile::bind(&path).unwrap_err();
        assert!(matches!(refused, SocketFileError::NoSocket));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        let missing = SocketFile::bind(&directory.0.join("no/s")).unwrap_err();
        assert!(matches!(missing, SocketFileError::System(_)));
    }
}
