//! The server's side: calls that arrive, and the way back.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use slim::rpc::{
    Code, Context, IncomingCall, MethodShape, RequestStream, ResponseSink, Serving, ServingShutdown, Status,
};

use crate::app::App;
use crate::error;
use crate::item::owned;
use crate::name::{self, NameParts};
use crate::process::Process;

/// Service, method, and whether its requests and its responses are streams.
pub(crate) type Method = (String, String, bool, bool);

/// A server that runs. The last reference stops it.
#[pyclass(frozen)]
pub(crate) struct RpcServing {
    mailbox: Arc<Mailbox<Serving, IncomingCall>>,
    shutdown: ServingShutdown,
    process: Arc<Process>,
}

/// A call that arrived.
#[pyclass(frozen)]
pub(crate) struct RpcServedCall {
    context: Context,
    requests: Arc<Mailbox<RequestStream, Bytes>>,
    responses: ResponseSink,
    process: Arc<Process>,
}

/// A source of items from which Python takes on its loop's thread, so that a cancelled wait loses nothing.
struct Mailbox<S, T> {
    source: tokio::sync::Mutex<S>,
    slot: Mutex<Slot<T>>,
}

enum Slot<T> {
    Empty,
    Full(T),
    Over,
}

impl<S, T> Mailbox<S, T> {
    fn new(source: S) -> Arc<Self> {
        Arc::new(Self {
            source: tokio::sync::Mutex::new(source),
            slot: Mutex::new(Slot::Empty),
        })
    }

    /// Waits until the slot is not empty; `next` is cancel-safe.
    async fn fetch(&self, next: impl AsyncFnOnce(&mut S) -> Option<T>) {
        let mut source = self.source.lock().await;
        if matches!(*self.slot(), Slot::Empty) {
            let item = next(&mut source).await;
            *self.slot() = item.map_or(Slot::Over, Slot::Full);
        }
    }

    fn take(&self) -> Option<T> {
        let mut slot = self.slot();
        match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Full(item) => Some(item),
            Slot::Empty => None,
            Slot::Over => {
                *slot = Slot::Over;
                None
            }
        }
    }

    fn is_over(&self) -> bool {
        matches!(*self.slot(), Slot::Over)
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RpcServing {
    /// Serves these methods from now on.
    pub(crate) fn start(app: &App, methods: Vec<Method>) -> PyResult<Self> {
        let process = Arc::clone(app.process()?);
        let methods = methods
            .into_iter()
            .map(|(service, method, streams_requests, streams_responses)| {
                let shape = MethodShape {
                    streams_requests,
                    streams_responses,
                };
                (service, method, shape)
            });
        let serving = Serving::start(app.app(), methods);
        Ok(Self {
            shutdown: serving.shutdown(),
            mailbox: Mailbox::new(serving),
            process,
        })
    }
}

#[pymethods]
impl RpcServing {
    /// Resolves when `try_next` would return a call or the server has stopped; takes nothing.
    fn ready<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mailbox = Arc::clone(&self.mailbox);
        self.process.check()?.bridge.future(py, async move {
            mailbox.fetch(async |serving| serving.next().await).await;
            Ok(())
        })
    }

    /// The next call, or `None` when there is none now.
    fn try_next(&self) -> Option<RpcServedCall> {
        let call = self.mailbox.take()?;
        Some(RpcServedCall {
            context: call.context,
            requests: Mailbox::new(call.requests),
            responses: call.responses,
            process: Arc::clone(&self.process),
        })
    }

    /// True when no call follows.
    fn is_over(&self) -> bool {
        self.mailbox.is_over()
    }

    /// Running calls end with CANCELLED; resolves when that is said.
    fn shutdown<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let shutdown = self.shutdown.clone();
        self.process.check()?.bridge.future(py, async move {
            shutdown.shut_down().await;
            Ok(())
        })
    }
}

#[pymethods]
impl RpcServedCall {
    #[getter]
    fn service(&self) -> &str {
        self.context.service()
    }

    #[getter]
    fn method(&self) -> &str {
        self.context.method()
    }

    #[getter]
    fn source(&self) -> NameParts {
        name::to_python(self.context.source())
    }

    #[getter]
    fn subject(&self) -> &str {
        self.context.subject()
    }

    #[getter]
    fn issuer(&self) -> Option<&str> {
        self.context.issuer()
    }

    #[getter]
    fn metadata(&self) -> BTreeMap<String, String> {
        self.context.metadata().clone()
    }

    #[getter]
    fn session(&self) -> u32 {
        self.context.session().0
    }

    /// Seconds that are left of the caller's time.
    fn time_left(&self) -> f64 {
        self.context.time_left().as_secs_f64()
    }

    /// Resolves with the reason when nobody waits for the result any more.
    fn stopped<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let context = self.context.clone();
        self.process
            .check()?
            .bridge
            .future(py, async move { Ok(context.stopped().await.to_string()) })
    }

    /// Resolves when `try_request` would return a request or the last one was taken; takes nothing.
    fn request_ready<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let mailbox = Arc::clone(&self.requests);
        self.process.check()?.bridge.future(py, async move {
            mailbox.fetch(async |requests| requests.next().await).await;
            Ok(())
        })
    }

    /// The next request, or `None` when there is none now.
    fn try_request(&self) -> Option<Cow<'static, [u8]>> {
        self.requests.take().map(owned)
    }

    /// True when no request follows.
    fn requests_are_over(&self) -> bool {
        self.requests.is_over()
    }

    /// Gives one response; waits while the caller does not keep up.
    fn respond<'py>(&self, py: Python<'py>, response: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let response = Bytes::copy_from_slice(response);
        let responses = self.responses.clone();
        let work = async move { responses.send(response).await };
        self.process.check()?.bridge.future_with(py, work, error::status)
    }

    /// Ends the call: code 0 is success.
    fn finish<'py>(&self, py: Python<'py>, code: u8, message: String) -> PyResult<Bound<'py, PyAny>> {
        let result = match Code::ALL.get(usize::from(code)) {
            Some(Code::Ok) => Ok(()),
            Some(code) => Err(Status::new(*code, message)),
            None => return Err(PyValueError::new_err(format!("{code} is no code of gRPC"))),
        };
        let responses = self.responses.clone();
        self.process.check()?.bridge.future(py, async move {
            responses.finish(result).await;
            Ok(())
        })
    }
}
