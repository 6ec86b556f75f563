//! The `.proto` files: read, parsed, checked and linked by protox.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use prost_types::{FileDescriptorProto, FileDescriptorSet};
use protox::Compiler;

use crate::Error;

/// Files that come with every protobuf library; nothing is generated for them.
const WELL_KNOWN: &str = "google/protobuf/";

/// Linked files, at least one of which declares a service.
#[derive(Clone, Debug)]
pub struct Sources {
    descriptors: FileDescriptorSet,
}

impl Sources {
    /// Reads these files and all that they import. Names of files are paths below one of the include folders; without
    /// any, below the current one.
    pub fn read(files: &[PathBuf], includes: &[PathBuf]) -> Result<Self, Error> {
        let current = [PathBuf::from(".")];
        let includes = if includes.is_empty() { &current } else { includes };
        let mut compiler = Compiler::new(includes).map_err(|error| Error::Invalid { error })?;
        compiler.include_imports(true).include_source_info(true);
        for path in files {
            let exists = path.exists() || includes.iter().any(|folder| folder.join(path).exists());
            if !exists {
                return Err(Error::NoSuchFile { path: path.clone() });
            }
            compiler.open_file(path).map_err(|error| explained(error, path))?;
        }
        let named = compiler
            .files()
            .filter(|file| !file.is_import())
            .map(|file| file.name().to_owned())
            .collect();
        Self::linked(compiler.file_descriptor_set(), &named)
    }

    /// Takes descriptors of these named files and of all that they import, imports first, with source information.
    fn linked(descriptors: FileDescriptorSet, named: &BTreeSet<String>) -> Result<Self, Error> {
        let serves = |file: &FileDescriptorProto| named.contains(file.name()) && !file.service.is_empty();
        if !descriptors.file.iter().any(serves) {
            return Err(Error::NoService {
                files: named.iter().cloned().collect(),
            });
        }
        Ok(Self { descriptors })
    }

    /// All files, imports before those that import them.
    pub(crate) fn files(&self) -> &[FileDescriptorProto] {
        &self.descriptors.file
    }

    /// The files that something is generated for.
    pub(crate) fn generated(&self) -> impl Iterator<Item = &FileDescriptorProto> {
        self.files().iter().filter(|file| !is_well_known(file.name()))
    }
}

pub(crate) fn is_well_known(file: &str) -> bool {
    file.starts_with(WELL_KNOWN)
}

fn explained(error: protox::Error, path: &Path) -> Error {
    match (error.is_file_not_found(), error.file()) {
        (true, Some(_)) => Error::ImportNotFound { error },
        (true, None) => Error::OutsideIncludes {
            path: path.to_owned(),
        },
        (false, _) => Error::Invalid { error },
    }
}
