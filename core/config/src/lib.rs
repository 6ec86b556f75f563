//! Typed configuration, parsed from text; no files, no defaults hidden in code paths.
