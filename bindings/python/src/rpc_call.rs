//! One call, from the client's side.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pyo3::prelude::*;
use slim::rpc::{CallOptions, Channel, Code, GroupChannel, GroupResponses, Requests, Responses, Status};
use tokio::sync::{OnceCell, watch};

use crate::error;
use crate::item::owned;
use crate::name::{self, NameParts};
use crate::process::Process;

/// What is called, over which channel.
#[derive(Clone)]
pub(crate) enum Line {
    One(Channel),
    Group(GroupChannel),
}

/// What to call.
pub(crate) struct Question {
    pub(crate) service: String,
    pub(crate) method: String,
    /// The only request; without, the call has a stream of them.
    pub(crate) request: Option<Bytes>,
    pub(crate) options: CallOptions,
}

/// A call. Its time runs from its creation; it begins with the first thing that is awaited of it. Dropped, it is
/// cancelled.
#[pyclass(frozen)]
pub(crate) struct RpcCall {
    call: Arc<Call>,
    process: Arc<Process>,
}

struct Call {
    line: Line,
    question: Question,
    created: Instant,
    begun: OnceCell<Result<Begun, Status>>,
    /// What arrived and was not taken by Python yet.
    slot: Mutex<Slot>,
    cancelled: watch::Sender<bool>,
}

/// The responses come first, so that they are dropped first: a call that is forgotten is cancelled, not completed.
struct Begun {
    responses: tokio::sync::Mutex<Option<Answers>>,
    requests: Mutex<Option<Arc<Requests>>>,
}

enum Answers {
    One(Responses),
    Group(GroupResponses),
}

enum Slot {
    Empty,
    Full(Arrived),
    Over,
}

/// Something that arrived for a call.
#[derive(IntoPyObject)]
pub(crate) enum Arrived {
    Response(RpcResponse),
    Failure(RpcFailure),
}

/// A response; `source` tells the servers of a group apart.
#[pyclass(frozen, get_all)]
pub(crate) struct RpcResponse {
    source: Option<NameParts>,
    payload: std::borrow::Cow<'static, [u8]>,
}

/// A failure of the call, or with `source` of one server of a group; `closed` is who had finished and who had not when
/// the group ended.
#[pyclass(frozen, get_all)]
pub(crate) struct RpcFailure {
    source: Option<NameParts>,
    code: u8,
    message: String,
    closed: Option<(Vec<NameParts>, Vec<NameParts>)>,
}

impl RpcCall {
    pub(crate) fn new(line: Line, question: Question, process: Arc<Process>) -> Self {
        let call = Arc::new(Call {
            line,
            question,
            created: Instant::now(),
            begun: OnceCell::new(),
            slot: Mutex::new(Slot::Empty),
            cancelled: watch::Sender::new(false),
        });
        Self { call, process }
    }
}

#[pymethods]
impl RpcCall {
    /// Begins, if it did not yet.
    fn begin<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let call = Arc::clone(&self.call);
        let work = async move { call.begun().await.map(drop).map_err(Status::clone) };
        self.process.check()?.bridge.future_with(py, work, error::status)
    }

    /// Sends one more request; waits while too much is unacknowledged.
    fn send<'py>(&self, py: Python<'py>, request: &[u8]) -> PyResult<Bound<'py, PyAny>> {
        let request = Bytes::copy_from_slice(request);
        let call = Arc::clone(&self.call);
        let work = async move {
            let begun = call.begun().await.map_err(Status::clone)?;
            let requests = begun
                .requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            match requests {
                Some(requests) => requests.send(request).await,
                None => Err(Status::new(Code::Cancelled, "the call takes no more requests")),
            }
        };
        self.process.check()?.bridge.future_with(py, work, error::status)
    }

    /// No more requests. Harmless twice.
    fn finish<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let call = Arc::clone(&self.call);
        let work = async move {
            let begun = call.begun().await.map_err(Status::clone)?;
            begun
                .requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
            Ok(())
        };
        self.process.check()?.bridge.future_with(py, work, error::status)
    }

    /// Resolves when `try_next` would return something or the call is over; takes nothing.
    fn ready<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let call = Arc::clone(&self.call);
        let work = async move {
            call.fetch().await;
            Ok(())
        };
        self.process.check()?.bridge.future(py, work)
    }

    /// What arrived, or `None` when there is nothing now.
    fn try_next(&self) -> Option<Arrived> {
        self.call.take()
    }

    /// True when nothing follows.
    fn is_over(&self) -> bool {
        matches!(*self.call.slot(), Slot::Over)
    }

    /// The result is not wanted any more.
    fn cancel(&self) -> PyResult<()> {
        self.call.cancelled.send_replace(true);
        let call = Arc::clone(&self.call);
        self.process
            .check()?
            .bridge
            .spawn(async move { call.forget().await });
        Ok(())
    }
}

impl Call {
    async fn begun(&self) -> Result<&Begun, &Status> {
        self.begun.get_or_init(|| self.begin()).await.as_ref()
    }

    async fn begin(&self) -> Result<Begun, Status> {
        let Question {
            service,
            method,
            request,
            options,
        } = &self.question;
        let spent = self.created.elapsed();
        let options = CallOptions {
            timeout: options.timeout.map(|timeout| timeout.saturating_sub(spent)),
            metadata: options.metadata.clone(),
        };
        let (requests, answers) = match (&self.line, request.clone()) {
            (Line::One(channel), Some(request)) => {
                let responses = channel
                    .server_streaming(service, method, request, options)
                    .await?;
                (None, Answers::One(responses))
            }
            (Line::One(channel), None) => {
                let (requests, responses) = channel.bidirectional(service, method, options).await?;
                (Some(requests), Answers::One(responses))
            }
            (Line::Group(channel), Some(request)) => {
                let responses = channel.call(service, method, request, options).await?;
                (None, Answers::Group(responses))
            }
            (Line::Group(channel), None) => {
                let (requests, responses) = channel.stream(service, method, options).await?;
                (Some(requests), Answers::Group(responses))
            }
        };
        Ok(Begun {
            responses: tokio::sync::Mutex::new(Some(answers)),
            requests: Mutex::new(requests.map(Arc::new)),
        })
    }

    /// Waits until the slot is not empty. Nothing is lost when the wait is given up: what arrived is in the slot already.
    async fn fetch(&self) {
        let mut cancelled = self.cancelled.subscribe();
        let arrived = tokio::select! {
            _ = cancelled.wait_for(|cancelled| *cancelled) => return,
            begun = self.begun() => begun,
        };
        let begun = match arrived {
            Ok(begun) => begun,
            Err(status) => return self.fill(Some(Arrived::failure(status.clone()))),
        };
        let mut answers = tokio::select! {
            _ = cancelled.wait_for(|cancelled| *cancelled) => return,
            answers = begun.responses.lock() => answers,
        };
        if !matches!(*self.slot(), Slot::Empty) {
            return;
        }
        let Some(answers) = answers.as_mut() else { return };
        let arrived = tokio::select! {
            _ = cancelled.wait_for(|cancelled| *cancelled) => return,
            arrived = answers.next() => arrived,
        };
        self.fill(arrived);
    }

    fn fill(&self, arrived: Option<Arrived>) {
        let mut slot = self.slot();
        if matches!(*slot, Slot::Empty) {
            *slot = arrived.map_or(Slot::Over, Slot::Full);
        }
    }

    fn take(&self) -> Option<Arrived> {
        let mut slot = self.slot();
        match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Full(arrived) => {
                if arrived.is_last() {
                    *slot = Slot::Over;
                }
                Some(arrived)
            }
            Slot::Over => {
                *slot = Slot::Over;
                None
            }
            Slot::Empty => {
                if !*self.cancelled.borrow() {
                    return None;
                }
                *slot = Slot::Over;
                Some(Arrived::failure(cancelled()))
            }
        }
    }

    async fn forget(&self) {
        let begun = self.begun.get_or_init(|| async { Err(cancelled()) }).await;
        if let Ok(begun) = begun {
            begun.responses.lock().await.take();
            begun
                .requests
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    async fn next(&mut self) -> Option<Arrived> {
        match self {
            Self::One(responses) => Some(match responses.next().await? {
                Ok(payload) => Arrived::Response(RpcResponse {
                    source: None,
                    payload: owned(payload),
                }),
                Err(status) => Arrived::failure(status),
            }),
            Self::Group(responses) => Some(match responses.next().await? {
                Ok(response) => {
                    let source = Some(name::to_python(&response.source));
                    match response.result {
                        Ok(payload) => Arrived::Response(RpcResponse {
                            source,
                            payload: owned(payload),
                        }),
                        Err(status) => Arrived::Failure(RpcFailure::of(status, source)),
                    }
                }
                Err(status) => {
                    let mut failure = RpcFailure::of(status, None);
                    let list = |names: &std::collections::BTreeSet<slim::FullName>| {
                        names.iter().map(name::to_python).collect()
                    };
                    failure.closed = responses
                        .closed()
                        .map(|closed| (list(&closed.completed), list(&closed.missing)));
                    Arrived::Failure(failure)
                }
            }),
        }
    }
}

impl Arrived {
    fn failure(status: Status) -> Self {
        Self::Failure(RpcFailure::of(status, None))
    }

    /// Behind the failure of the call as a whole nothing follows.
    fn is_last(&self) -> bool {
        matches!(self, Self::Failure(RpcFailure { source: None, .. }))
    }
}

impl RpcFailure {
    fn of(status: Status, source: Option<NameParts>) -> Self {
        Self {
            source,
            code: status.code.number(),
            message: status.message,
            closed: None,
        }
    }
}

fn cancelled() -> Status {
    Status::new(Code::Cancelled, "the call was cancelled here")
}

/// Options as Python gives them: seconds, of which negative ones are none.
pub(crate) fn options(
    timeout_seconds: Option<f64>,
    metadata: std::collections::BTreeMap<String, String>,
) -> CallOptions {
    let timeout = |seconds: f64| Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    CallOptions {
        timeout: timeout_seconds.map(timeout),
        metadata,
    }
}
