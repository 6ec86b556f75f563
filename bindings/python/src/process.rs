//! What a process has once: the SDK's service, the bridge, and their end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use slim::{ConnectionId, Service};

use crate::app::App;
use crate::bridge::Bridge;
use crate::config;

/// Time beyond the flush that `shutdown` gives the service to end its thread.
const SHUTDOWN_MARGIN: Duration = Duration::from_millis(100);

/// The background threads of this process.
pub(crate) struct Process {
    id: u32,
    pub(crate) service: Service,
    pub(crate) bridge: Bridge,
}

static PROCESS: Mutex<Option<Arc<Process>>> = Mutex::new(None);

impl Process {
    /// The process's service and bridge, started by the first call. A forked child gets its own.
    pub(crate) fn current() -> PyResult<Arc<Self>> {
        let mut current = PROCESS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = current
            .as_ref()
            .filter(|process| process.id == std::process::id())
        {
            return Ok(Arc::clone(process));
        }
        let service = Service::new().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        let bridge = Bridge::start().map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        let process = Arc::new(Self {
            id: std::process::id(),
            service,
            bridge,
        });
        // The threads of a parent do not exist in its forked child, so nothing there may wait for them.
        std::mem::forget(current.replace(Arc::clone(&process)));
        Ok(process)
    }

    /// Refuses objects that a forked child inherited: no thread would ever answer them.
    pub(crate) fn check(&self) -> PyResult<&Self> {
        if self.id == std::process::id() {
            return Ok(self);
        }
        Err(PyRuntimeError::new_err(
            "this object belongs to the parent process; create applications after the fork",
        ))
    }
}

/// Dials a node, or joins the link that this process has to it; the configuration is JSON text.
#[pyfunction]
pub(crate) fn connect<'py>(py: Python<'py>, configuration: &str) -> PyResult<Bound<'py, PyAny>> {
    let configuration = config::client(configuration)?;
    let process = Process::current()?;
    let service = process.service.clone();
    process.bridge.future(py, async move {
        service.connect(configuration).await.map(|ConnectionId(id)| id)
    })
}

/// Gives a link back; the last user closes it.
#[pyfunction]
pub(crate) fn disconnect(py: Python<'_>, connection: u64) -> PyResult<Bound<'_, PyAny>> {
    let process = Process::current()?;
    let service = process.service.clone();
    process.bridge.future(
        py,
        async move { service.disconnect(ConnectionId(connection)).await },
    )
}

/// Runs a node inside this process; the configuration is JSON text, and so are its rules. Resolves with the address it
/// listens on.
#[pyfunction]
#[pyo3(signature = (configuration, authorization=None))]
pub(crate) fn run_server<'py>(
    py: Python<'py>,
    configuration: &str,
    authorization: Option<&str>,
) -> PyResult<Bound<'py, PyAny>> {
    let configuration = config::server(configuration)?;
    let rules = authorization.map(config::authorization).transpose()?;
    let process = Process::current()?;
    let service = process.service.clone();
    process.bridge.future(py, async move {
        service
            .run_server_with_rules(configuration, rules)
            .await
            .map(|endpoint| endpoint.to_string())
    })
}

/// Stops the node that serves this endpoint.
#[pyfunction]
pub(crate) fn stop_server(py: Python<'_>, endpoint: String) -> PyResult<Bound<'_, PyAny>> {
    let process = Process::current()?;
    let service = process.service.clone();
    process
        .bridge
        .future(py, async move { service.stop_server(&endpoint).await })
}

/// Closes these applications, sends what is queued, and ends the background threads, within about this many seconds.
///
/// Runs at interpreter exit. The lock of the interpreter is free meanwhile.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "a list from Python arrives as a value"
)]
pub(crate) fn shutdown(py: Python<'_>, seconds: f64, apps: Vec<Bound<'_, App>>) -> PyResult<()> {
    let limit =
        Duration::try_from_secs_f64(seconds).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let process = PROCESS.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(process) = process else {
        return Ok(());
    };
    if process.id != std::process::id() {
        std::mem::forget(process);
        return Ok(());
    }
    // Not those of a parent, which a forked child inherits.
    let own = apps.iter().filter(|app| app.get().belongs_here());
    let closing: Vec<_> = own.map(|app| app.get().closing()).collect();
    py.detach(|| {
        let deadline = Instant::now() + limit;
        process.bridge.wait(limit, async move {
            let closing: Vec<_> = closing.into_iter().map(tokio::spawn).collect();
            for close in closing {
                // An error would be a panic in there; the others are still waited for.
                let _ = close.await;
            }
        });
        let flush = deadline.saturating_duration_since(Instant::now());
        let service = process.service.clone();
        process.bridge.wait(
            flush + SHUTDOWN_MARGIN,
            async move { service.shutdown(flush).await },
        );
        process.bridge.stop();
    });
    Ok(())
}
