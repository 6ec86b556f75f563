//! Stubs in Rust: a file per protobuf package, messages by prost-build, services by [`stubs`].

mod modules;
mod stubs;

use std::collections::BTreeMap;

use prost_build::{Config, Module};

use crate::rust::modules::Tree;
use crate::rust::stubs::{Conflicts, Stubs};
use crate::{Error, GeneratedFile, Sources, comments};

pub(crate) fn generate(sources: &Sources) -> Result<Vec<GeneratedFile>, Error> {
    let conflicts = Conflicts::default();
    let mut config = Config::new();
    config
        // Ordered maps: equal messages have equal bytes.
        .btree_map(["."])
        // What was received is not copied once more.
        .bytes(["."])
        .service_generator(Box::new(Stubs::new(sources, conflicts.clone())));
    let requests = sources
        .generated()
        .map(|file| {
            let mut file = file.clone();
            comments::without_code(&mut file);
            (Module::from_protobuf_package_name(file.package()), file)
        })
        .collect();
    let modules = config.generate(requests);
    // A name that occurs twice is the better explanation of anything else that went wrong.
    conflicts.first()?;
    let modules: BTreeMap<Module, String> = modules
        .map_err(|error| Error::Messages { error })?
        .into_iter()
        .collect();
    let mut tree = Tree::default();
    for (module, text) in modules {
        tree.insert(module.parts(), text);
    }
    let names = sources.generated().map(|file| file.name());
    Ok(tree.files(names))
}
