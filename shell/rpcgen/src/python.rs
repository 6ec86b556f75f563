//! Stubs in Python: for each file a module of messages, its types, and one of stubs if it declares services.

mod field_types;
mod message_types;
mod messages;
mod names;
mod services;
mod stubs;
mod support;

use crate::{Error, GeneratedFile, Sources};
use names::Types;

pub(crate) fn generate(sources: &Sources) -> Result<Vec<GeneratedFile>, Error> {
    let types = Types::new(sources.files());
    let mut files = Vec::new();
    for file in sources.generated() {
        let stem = names::path(file.name());
        files.push(GeneratedFile {
            path: format!("{stem}_pb2.py"),
            text: messages::module(file),
        });
        files.push(GeneratedFile {
            path: format!("{stem}_pb2.pyi"),
            text: message_types::module(file, sources.files(), &types),
        });
        if !file.service.is_empty() {
            files.push(GeneratedFile {
                path: format!("{stem}_pb2_slimrpc.py"),
                text: stubs::module(&services::of(file, &types)?, file, &types),
            });
        }
    }
    Ok(files)
}
