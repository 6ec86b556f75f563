//! The `slim` binary.

fn main() {}
