//! `slim rpc generate`: from `.proto` files to stubs in a folder.

use slim_rpcgen::{Error, Language, Sources};

use crate::args::{GenerateStubs, StubLanguage};

/// Writes the stubs, or says which are out of date.
pub(crate) fn run(stubs: &GenerateStubs) -> Result<(), Error> {
    let language = match stubs.language {
        StubLanguage::Rust => Language::Rust,
        StubLanguage::Python => Language::Python,
    };
    let sources = Sources::read(&stubs.files, &stubs.include)?;
    let files = slim_rpcgen::generate(language, &sources)?;
    if stubs.check {
        slim_rpcgen::check(&files, &stubs.out)
    } else {
        slim_rpcgen::write(&files, &stubs.out)
    }
}
