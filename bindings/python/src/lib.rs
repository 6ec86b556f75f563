//! `_slim_bindings`, the native half of the Python package `slim_bindings`: convert, call, map the error.
//!
//! Everything here is a thin frozen class or function over the SDK crate `slim`. Policy, defaults and the names of
//! the 0.4 generation are Python (`python/slim_bindings/`), where their users can read them.

mod app;
mod bridge;
mod config;
mod error;
mod identity;
mod invitation;
mod item;
mod name;
mod process;
mod rpc_call;
mod rpc_channel;
mod rpc_server;
mod session;

use pyo3::prelude::*;

/// The version of this package.
#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// `debug` or `release`.
#[pyfunction]
fn build_profile() -> &'static str {
    if cfg!(debug_assertions) {
        "debug"
    } else {
        "release"
    }
}

/// The three 64-bit hashes of a name's components.
#[pyfunction]
fn name_hashes(organisation: &str, namespace: &str, application: &str) -> PyResult<(u64, u64, u64)> {
    let name = slim::FullName::new(organisation, namespace, application).map_err(error::name)?;
    let [first, second, third] = name.prefix().0;
    Ok((first, second, third))
}

/// Everything that Python sees.
#[pymodule(gil_used = false)]
mod _slim_bindings {
    #[pymodule_export]
    use super::app::{App, create_app};
    #[pymodule_export]
    use super::config::{init_tracing, secret_is_weak};
    #[pymodule_export]
    use super::invitation::Invitation;
    #[pymodule_export]
    use super::item::{Lost, Member, MembershipChange, Message, SessionFacts};
    #[pymodule_export]
    use super::process::{connect, disconnect, run_server, shutdown, stop_server};
    #[pymodule_export]
    use super::rpc_call::{RpcCall, RpcFailure, RpcResponse};
    #[pymodule_export]
    use super::rpc_channel::RpcChannel;
    #[pymodule_export]
    use super::rpc_server::{RpcServedCall, RpcServing};
    #[pymodule_export]
    use super::session::Session;
    #[pymodule_export]
    use super::{build_profile, name_hashes, version};
}
