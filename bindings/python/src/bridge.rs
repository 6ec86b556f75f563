//! From Rust futures to `asyncio` futures.
//!
//! SDK futures run on one thread of this module. It is the only thread of the extension that ever takes the
//! interpreter lock, and only to hand a finished result to the loop with `call_soon_threadsafe`; the SDK's own
//! thread never waits for Python. Results that must not get lost (messages, sessions) do not travel this way at
//! all: Python waits here for readiness only and takes them synchronously on its loop's thread, because a result
//! inside an `asyncio` future is gone when the task is cancelled in the same turn of the loop.

use std::future::Future;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread::JoinHandle;
use std::time::Duration;

use pyo3::IntoPyObjectExt;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use crate::error;

/// The thread that runs SDK futures for Python.
pub(crate) struct Bridge {
    runtime: Handle,
    running: Mutex<Option<Running>>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Bridge {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<Self> {
        // No timers, no sockets: SDK futures only wait for the SDK's own thread.
        let runtime = Builder::new_current_thread().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("slim-python".to_owned())
            .spawn(move || {
                // An error means that the sender is gone, which ends the thread as well.
                let _ = runtime.block_on(stopped);
            })?;
        Ok(Self {
            runtime: handle,
            running: Mutex::new(Some(Running { stop, thread })),
        })
    }

    /// An `asyncio` future of the running loop for `work`. Cancelling it drops `work`.
    pub(crate) fn future<'py, T>(
        &self,
        py: Python<'py>,
        work: impl Future<Output = Result<T, slim::Error>> + Send + 'static,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        T: for<'a> IntoPyObjectExt<'a> + Send + 'static,
    {
        self.future_with(py, work, error::to_python)
    }

    /// The same for work with other errors.
    pub(crate) fn future_with<'py, T, E>(
        &self,
        py: Python<'py>,
        work: impl Future<Output = Result<T, E>> + Send + 'static,
        raise: fn(Python<'_>, E) -> PyErr,
    ) -> PyResult<Bound<'py, PyAny>>
    where
        T: for<'a> IntoPyObjectExt<'a> + Send + 'static,
        E: Send + 'static,
    {
        let event_loop = running_loop(py)?;
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
        let target = Target {
            event_loop: event_loop.unbind(),
            future: future.clone().unbind(),
        };
        let task = self.runtime.spawn(async move {
            let result = work.await;
            target.deliver(result, raise);
        });
        future.call_method1(intern!(py, "add_done_callback"), (Abort(task.abort_handle()),))?;
        Ok(future)
    }

    /// Runs `work`, whose result nobody waits for.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// The result of `work`, or `None` when it takes longer than `limit`. Call it detached from the interpreter.
    pub(crate) fn wait<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            // The receiver is gone when the limit passed; then nobody wants the result.
            let _ = sender.send(work.await);
        });
        receiver.recv_timeout(limit).ok()
    }

    /// Ends the thread; what still runs is dropped. Afterwards nothing here touches the interpreter, which may then
    /// be finalized. Call it detached from the interpreter: the thread may be waiting to attach.
    pub(crate) fn stop(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, thread }) = running {
            // Fails if the thread ended already.
            let _ = stop.send(());
            let _ = thread.join();
        }
    }
}

/// Where a result goes.
struct Target {
    event_loop: Py<PyAny>,
    future: Py<PyAny>,
}

impl Target {
    fn deliver<T, E>(self, result: Result<T, E>, raise: fn(Python<'_>, E) -> PyErr)
    where
        T: for<'a> IntoPyObjectExt<'a>,
    {
        // `None` while the interpreter is being finalized: nobody waits any more.
        let _ = Python::try_attach(|py| {
            let converted = result
                .map_err(|error| raise(py, error))
                .and_then(|value| value.into_py_any(py));
            let (value, failed) = match converted {
                Ok(value) => (value, false),
                Err(error) => (error.into_value(py).into_any(), true),
            };
            let settle = Settle {
                future: self.future,
                value,
                failed,
            };
            // Fails when the loop was closed under a pending future; nobody waits any more.
            let _ = self
                .event_loop
                .call_method1(py, intern!(py, "call_soon_threadsafe"), (settle,));
        });
    }
}

/// Runs on the loop's thread: gives a result to its future unless that was cancelled.
#[pyclass(frozen)]
struct Settle {
    future: Py<PyAny>,
    value: Py<PyAny>,
    failed: bool,
}

#[pymethods]
impl Settle {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let future = self.future.bind(py);
        if future.call_method0(intern!(py, "done"))?.is_truthy()? {
            return Ok(());
        }
        let method = if self.failed {
            intern!(py, "set_exception")
        } else {
            intern!(py, "set_result")
        };
        future.call_method1(method, (&self.value,))?;
        Ok(())
    }
}

/// Runs when an `asyncio` future is done: ends the Rust task of a cancelled one.
#[pyclass(frozen)]
struct Abort(AbortHandle);

#[pymethods]
impl Abort {
    fn __call__(&self, _future: &Bound<'_, PyAny>) {
        self.0.abort();
    }
}

fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    RUNNING_LOOP.import(py, "asyncio", "get_running_loop")?.call0()
}
