//! The bodies of the fuzz targets: one function over bytes for each decoder, with the rules that must hold after it.
//!
//! `fuzz/fuzz_targets` gives them to libFuzzer; `tests/replay.rs` gives them the committed inputs, so that what was once
//! found stays found with any toolchain. A body panics when a rule is broken and does nothing else that lasts.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a target tells what it found"
)]

mod configuration;
mod current_frame;
mod endpoint;
mod grpc_stream;
mod http2;
mod key_sets;
mod mls;
mod negotiation;
mod older;
mod router;
mod rpc;
pub mod script;
mod tokens;

// The networks of the tests beside the crates concerned.
#[path = "../../../core/mls/tests/common/mod.rs"]
mod members;
#[path = "../../../core/session/tests/common/mod.rs"]
mod network;

pub use configuration::configuration;
pub use current_frame::current_frame;
pub use endpoint::endpoint;
pub use grpc_stream::grpc_stream;
pub use http2::http2_connection;
pub use key_sets::key_sets;
pub use mls::mls;
pub use negotiation::negotiation;
pub use older::{first_message, older_router};
pub use router::router;
pub use rpc::rpc;
pub use tokens::tokens;

/// A target: its name, which is that of its folders, and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 13] = [
    ("configuration", configuration),
    ("current_frame", current_frame),
    ("endpoint", endpoint),
    ("first_message", first_message),
    ("grpc_stream", grpc_stream),
    ("http2_connection", http2_connection),
    ("key_sets", key_sets),
    ("mls", mls),
    ("negotiation", negotiation),
    ("older_router", older_router),
    ("router", router),
    ("rpc", rpc),
    ("tokens", tokens),
];
