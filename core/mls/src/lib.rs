//! The only crate that knows mls-rs and MLS key material.
