//! Configurations: JSON text from a Python dict, parsed as strictly as a file.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use slim_config::{
    AuthorizationConfig, ClientConfig, ConfigError, Loaded, ServerConfig, TracingConfig, Warning,
};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// Upstream refuses shorter secrets; here they work (the tutorial's has 13 bytes) and are worth a warning.
const STRONG_SECRET_BYTES: usize = 32;

/// Reads what `connect` is given.
pub(crate) fn client(text: &str) -> PyResult<ClientConfig> {
    ClientConfig::from_json_text(text)
        .map(with_warnings)
        .map_err(refused)
}

/// Reads what `run_server` is given.
pub(crate) fn server(text: &str) -> PyResult<ServerConfig> {
    ServerConfig::from_json_text(text)
        .map(with_warnings)
        .map_err(refused)
}

/// Reads the rules that `run_server` may be given beside.
pub(crate) fn authorization(text: &str) -> PyResult<AuthorizationConfig> {
    AuthorizationConfig::from_json_text(text)
        .map(with_warnings)
        .map_err(refused)
}

/// Logs what was understood and should be written differently. What is dangerous, the SDK says itself.
fn with_warnings<T>(loaded: Loaded<T>) -> T {
    for warning in &loaded.warnings {
        if !matches!(warning, Warning::Unverified { .. }) {
            tracing::warn!("{warning}");
        }
    }
    loaded.config
}

/// True for a shared secret that can be guessed.
#[pyfunction]
pub(crate) fn secret_is_weak(secret: &str) -> bool {
    secret.len() < STRONG_SECRET_BYTES
}

/// Writes the log of the native half to standard error from now on; the configuration is the JSON text of a `tracing`
/// block. True if this call did it, false if the log is on already.
#[pyfunction]
pub(crate) fn init_tracing(configuration: &str) -> PyResult<bool> {
    static STARTED: AtomicBool = AtomicBool::new(false);
    let config = TracingConfig::from_json_text(configuration)
        .map_err(refused)?
        .config;
    let mut filter = EnvFilter::new(config.log_level.name());
    for part in &config.filters {
        let directive = part
            .parse()
            .map_err(|_| PyValueError::new_err(format!("filters: {part:?} is no filter")))?;
        filter = filter.add_directive(directive);
    }
    if STARTED.swap(true, Ordering::Relaxed) {
        return Ok(false);
    }
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_thread_names(config.display_thread_names)
        .with_thread_ids(config.display_thread_ids)
        .with_timer(SystemTime)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .finish();
    // Fails if the process has a subscriber already, which only another embedder of this library can have set.
    Ok(tracing::subscriber::set_global_default(subscriber).is_ok())
}

#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
fn refused(error: ConfigError) -> PyErr {
    PyValueError::new_err(error.to_string())
}
