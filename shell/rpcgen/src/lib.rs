//! Stubs for SlimRPC from `.proto` files, for Rust and Python: protox parses, so that nobody needs `protoc`.
//!
//! Reading ([`Sources`]) and writing ([`write`], [`check`]) touch files; what is between them, [`generate`], is a function
//! of the descriptors alone: equal descriptors give equal text. What generated code calls at run time is not here: it is
//! `slim::rpc::typed` in Rust and part of each generated module in Python.

mod comments;
mod error;
mod output;
mod python;
mod rust;
mod sources;

pub use error::Error;
pub use output::{check, write};
pub use sources::Sources;

/// The languages that stubs are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A module per protobuf package: messages by prost, and per service clients and a trait for servers.
    Rust,
    /// Two modules per file: messages (`NAME_pb2.py`, with types for checkers in `NAME_pb2.pyi`), and per service clients
    /// and a base class for servers (`NAME_pb2_slimrpc.py`).
    Python,
}

/// One file of stubs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GeneratedFile {
    /// Where it goes below the output folder, with forward slashes.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// Writes stubs, in the order of their paths.
pub fn generate(language: Language, sources: &Sources) -> Result<Vec<GeneratedFile>, Error> {
    let mut files = match language {
        Language::Rust => rust::generate(sources)?,
        Language::Python => python::generate(sources)?,
    };
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}
