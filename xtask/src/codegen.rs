//! Protobuf code generation without `protoc`: protox parses, prost-build writes, the output is committed.

use std::path::Path;

use anyhow::{Context, Result};

/// Rewrites `core/proto/src/gen/` from `proto/`.
pub(crate) fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask has a parent folder")?;
    let source = root.join("proto/dataplane/v1/data_plane.proto");
    let descriptors = protox::compile([&source], [root.join("proto")])?;
    let out = tempdir(root)?;
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .out_dir(&out)
        .compile_fds(descriptors)?;
    let generated = std::fs::read_to_string(out.join("dataplane.proto.v1.rs"))?;
    let target = root.join("core/proto/src/gen/dataplane.rs");
    std::fs::create_dir_all(target.parent().context("gen folder")?)?;
    std::fs::write(&target, generated)?;
    std::fs::remove_dir_all(out)?;
    Ok(())
}

fn tempdir(root: &Path) -> Result<std::path::PathBuf> {
    let path = root.join("target").join("codegen");
    std::fs::create_dir_all(&path)?;
    Ok(path)
}
