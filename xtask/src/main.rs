//! Developer commands: `cargo xtask codegen|tidy|test|demo`.

use anyhow::{Result, bail};

mod codegen;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("codegen") => codegen::run(),
        other => bail!("unknown command {other:?}; commands are: codegen"),
    }
}
