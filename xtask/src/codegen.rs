//! Protobuf code generation without `protoc`: protox parses, prost-build writes, the output is committed.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::workspace;

/// Rewrites `core/proto/src/gen/` from `proto/`.
pub(crate) fn write() -> Result<()> {
    let target = committed();
    std::fs::create_dir_all(target.parent().context("the output has a folder")?)?;
    std::fs::write(&target, generate()?)?;
    Ok(())
}

/// Fails when the committed output is not what [`write`] would write.
pub(crate) fn check() -> Result<()> {
    let target = committed();
    let committed = std::fs::read_to_string(&target).with_context(|| target.display().to_string())?;
    if committed != generate()? {
        bail!("{} is out of date; run `cargo xtask codegen`", target.display());
    }
    println!("codegen: the committed output is up to date");
    Ok(())
}

fn committed() -> PathBuf {
    workspace::root().join("core/proto/src/gen/dataplane.rs")
}

fn generate() -> Result<String> {
    let sources = workspace::root().join("proto");
    let descriptors = protox::compile([sources.join("dataplane/v1/data_plane.proto")], [sources])?;
    // prost-build writes files only; the process id keeps two runs apart.
    let out = workspace::target().join(format!("codegen-{}", std::process::id()));
    std::fs::create_dir_all(&out)?;
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .out_dir(&out)
        .compile_fds(descriptors)?;
    let generated = std::fs::read_to_string(out.join("dataplane.proto.v1.rs"))?;
    std::fs::remove_dir_all(out)?;
    Ok(generated)
}
