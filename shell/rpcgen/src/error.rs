//! Why there are no stubs.

use std::io;
use std::path::PathBuf;

/// What can be wrong with `.proto` files, with what is generated from them, and with where it goes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file was named and is not there.
    #[error("{} does not exist, neither from here nor below a folder named with --include", path.display())]
    NoSuchFile {
        /// As it was named.
        path: PathBuf,
    },
    /// The name by which others import a file is its path below an include folder.
    #[error("{} is not below an include folder; name one that it is below with --include FOLDER", path.display())]
    OutsideIncludes {
        /// As it was named.
        path: PathBuf,
    },
    /// A file imports one that is nowhere.
    #[error("{error:?}; name the folder that its path starts from with --include FOLDER")]
    ImportNotFound {
        /// Says where the import stands.
        error: protox::Error,
    },
    /// A file is wrong in itself, or together with its imports.
    #[error("{error:?}")]
    Invalid {
        /// Says what is wrong and where.
        error: protox::Error,
    },
    /// Messages alone make no stubs.
    #[error(
        "{} declares no service; name a file that does (what it imports is generated with it)",
        files.join(", ")
    )]
    NoService {
        /// All that were named.
        files: Vec<String>,
    },
    /// Two names of a file become one in the generated language.
    #[error("{service}: {first} and {second} would both become `{name}` in {language}; rename one of them")]
    SameName {
        /// The service, with its package.
        service: String,
        /// As the file has it.
        first: String,
        /// As the file has it.
        second: String,
        /// What both become.
        name: String,
        /// The generated language.
        language: &'static str,
    },
    /// The code generator for messages refused the descriptors.
    #[error("cannot generate messages: {error}")]
    Messages {
        /// Its reason.
        error: io::Error,
    },
    /// The output could not be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        error: io::Error,
    },
    /// Files below the output folder are not what would be written now.
    #[error(
        "{} out of date; run the same command without --check",
        paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    OutOfDate {
        /// Missing or different.
        paths: Vec<PathBuf>,
    },
}
