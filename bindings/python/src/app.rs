//! An application.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use slim::{AnycastConfig, Direction, Reliability, SessionConfig, SessionDefaults, SessionId, SessionKind};

use crate::error;
use crate::identity::{self, ProviderArgument, VerifierArgument};
use crate::invitation::{self, Invitation};
use crate::name::{self, NameArgument, NameParts};
use crate::process::Process;
use crate::rpc_channel::RpcChannel;
use crate::rpc_server::{Method, RpcServing};
use crate::session::Session;

/// One name, one identity, many sessions. The last reference, those of its sessions included, ends it.
#[pyclass(frozen)]
pub(crate) struct App {
    app: slim::App,
    process: Arc<Process>,
}

/// Creates an application with an identity and a verifier as `_identity.py` describes them. Resolves with an `App`.
#[pyfunction]
pub(crate) fn create_app<'py>(
    py: Python<'py>,
    name: NameArgument,
    provider: ProviderArgument,
    verifier: VerifierArgument,
    direction: &str,
    inviters: Option<Vec<String>>,
    is_asked: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let name = name::from_python(name)?.without_id();
    let options = invitation::options(read_direction(direction)?, inviters, is_asked);
    let (provider, verifier) = (provider.settings()?, verifier.settings()?);
    let process = Process::current()?;
    let service = process.service.clone();
    let owner = Arc::clone(&process);
    process.bridge.future(py, async move {
        let app = service.create_app_from(name, provider, verifier, options).await?;
        Ok(App { app, process: owner })
    })
}

impl App {
    /// False in a forked child for what its parent made.
    pub(crate) fn belongs_here(&self) -> bool {
        self.process.check().is_ok()
    }

    /// The SDK's application.
    pub(crate) fn app(&self) -> &slim::App {
        &self.app
    }

    /// What the process has once; refused in a forked child.
    pub(crate) fn process(&self) -> PyResult<&Arc<Process>> {
        self.process.check()?;
        Ok(&self.process)
    }

    /// Ends or leaves every session.
    pub(crate) fn closing(&self) -> impl Future<Output = ()> + Send + use<> {
        let app = self.app.clone();
        async move {
            // It fails only when the service ended, and with it the application.
            let _ = app.close().await;
        }
    }
}

#[pymethods]
impl App {
    /// The name with its id.
    #[getter]
    fn name(&self) -> NameParts {
        name::to_python(&self.app.name())
    }

    /// Opens a group as its moderator, or a session with one peer. Resolves with a `Session`.
    ///
    /// Without `interval_ms` the session is unreliable.
    #[expect(clippy::too_many_arguments, reason = "one per keyword of the Python call")]
    fn open<'py>(
        &self,
        py: Python<'py>,
        group: bool,
        destination: NameArgument,
        interval_ms: Option<u64>,
        max_retries: u32,
        mls: bool,
        direction: &str,
        metadata: BTreeMap<String, String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let config = SessionConfig {
            kind: kind(group),
            destination: name::from_python(destination)?,
            reliability: interval_ms.map(|interval| reliability(interval, max_retries)),
            mls,
            direction: read_direction(direction)?,
            metadata,
        };
        let app = self.app.clone();
        let process = Arc::clone(&self.process);
        self.process.check()?.bridge.future(py, async move {
            let session = app.open(config).await?;
            Ok(Session { session, process })
        })
    }

    /// Opens a session whose messages go to any instance of the name that each gives. Resolves with a `Session`.
    ///
    /// Without `interval_ms` the session is unreliable.
    fn open_anycast<'py>(
        &self,
        py: Python<'py>,
        interval_ms: Option<u64>,
        max_retries: u32,
        sticky: bool,
        mls: bool,
        metadata: BTreeMap<String, String>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let config = AnycastConfig {
            reliability: interval_ms.map(|interval| reliability(interval, max_retries)),
            sticky,
            mls,
            metadata,
        };
        let app = self.app.clone();
        let process = Arc::clone(&self.process);
        self.process.check()?.bridge.future(py, async move {
            let session = app.open_anycast(config).await?;
            Ok(Session { session, process })
        })
    }

    /// What applies here in sessions that others open from now on; without `interval_ms` their timers do.
    fn set_defaults<'py>(
        &self,
        py: Python<'py>,
        group: bool,
        direction: &str,
        interval_ms: Option<u64>,
        max_retries: u32,
    ) -> PyResult<Bound<'py, PyAny>> {
        let defaults = SessionDefaults {
            direction: read_direction(direction)?,
            timing: interval_ms.map(|interval| reliability(interval, max_retries)),
        };
        let app = self.app.clone();
        self.process
            .check()?
            .bridge
            .future(py, async move { app.set_defaults(kind(group), defaults).await })
    }

    /// Resolves when `try_accept` would return something; takes nothing.
    fn accept_ready<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let ready = self.app.accept_ready();
        self.process.check()?.bridge.future(py, async move {
            ready.await;
            Ok(())
        })
    }

    /// The next session that somebody else opened, or `None` when there is none now.
    fn try_accept(&self, py: Python<'_>) -> PyResult<Option<Session>> {
        match self.app.try_accept() {
            Some(Ok(session)) => Ok(Some(Session {
                session,
                process: Arc::clone(&self.process),
            })),
            Some(Err(error)) => Err(error::to_python(py, error)),
            None => Ok(None),
        }
    }

    /// Resolves when `try_next_invitation` would return something; takes nothing.
    fn invitation_ready<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let ready = self.app.invitation_ready();
        self.process.check()?.bridge.future(py, async move {
            ready.await;
            Ok(())
        })
    }

    /// The next invitation that waits for an answer, or `None` when there is none now.
    fn try_next_invitation(&self, py: Python<'_>) -> PyResult<Option<Invitation>> {
        match self.app.try_next_invitation() {
            Some(Ok(pending)) => Ok(Some(Invitation::new(pending, Arc::clone(&self.process)))),
            Some(Err(error)) => Err(error::to_python(py, error)),
            None => Ok(None),
        }
    }

    /// An open session by its number, accepted or not.
    fn session(&self, id: u32) -> Option<Session> {
        let session = self.app.session(SessionId(id))?;
        Some(Session {
            session,
            process: Arc::clone(&self.process),
        })
    }

    /// Serves a further name, with the application's id.
    fn subscribe<'py>(&self, py: Python<'py>, name: NameArgument) -> PyResult<Bound<'py, PyAny>> {
        let name = name::from_python(name)?.without_id();
        let app = self.app.clone();
        self.process
            .check()?
            .bridge
            .future(py, async move { app.subscribe(name).await })
    }

    /// Stops serving a further name.
    fn unsubscribe<'py>(&self, py: Python<'py>, name: NameArgument) -> PyResult<Bound<'py, PyAny>> {
        let name = name::from_python(name)?.without_id();
        let app = self.app.clone();
        self.process
            .check()?
            .bridge
            .future(py, async move { app.unsubscribe(name).await })
    }

    /// Identities that were not believed lately: who claimed to be whom, a word for the reason, and the reason as text.
    fn identity_refusals(&self) -> Vec<(NameParts, &'static str, String)> {
        let refusals = self.app.identity_refusals().into_iter();
        refusals
            .map(|refusal| {
                let peer = name::to_python(&refusal.peer);
                (peer, identity::reason(&refusal.error), refusal.error.to_string())
            })
            .collect()
    }

    /// What was refused, dropped and repeated so far. Resolves with a dict.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let app = self.app.clone();
        self.process.check()?.bridge.future(py, async move {
            let counters = app.counters().await?;
            Ok(counters
                .entries()
                .into_iter()
                .collect::<BTreeMap<&'static str, u64>>())
        })
    }

    /// Calls to an application of this name, over a certain connection if one is given.
    fn rpc_channel(&self, server: NameArgument, connection: Option<u64>) -> PyResult<RpcChannel> {
        RpcChannel::to_server(self, server, connection)
    }

    /// Calls to several applications at once.
    fn rpc_group_channel(
        &self,
        py: Python<'_>,
        servers: Vec<NameArgument>,
        connection: Option<u64>,
    ) -> PyResult<RpcChannel> {
        RpcChannel::to_group(py, self, servers, connection)
    }

    /// Serves these methods from now on; takes every session that somebody else opens.
    fn serve_rpc(&self, methods: Vec<Method>) -> PyResult<RpcServing> {
        RpcServing::start(self, methods)
    }

    /// Ends or leaves every session and withdraws the names.
    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let app = self.app.clone();
        self.process
            .check()?
            .bridge
            .future(py, async move { app.close().await })
    }
}

fn kind(group: bool) -> SessionKind {
    if group {
        SessionKind::Group
    } else {
        SessionKind::PointToPoint
    }
}

/// Timers as Python gives them.
pub(crate) fn reliability(interval_ms: u64, max_retries: u32) -> Reliability {
    Reliability {
        interval: Duration::from_millis(interval_ms),
        max_retries,
    }
}

fn read_direction(word: &str) -> PyResult<Direction> {
    match word {
        "sender" => Ok(Direction::Send),
        "receiver" => Ok(Direction::Receive),
        "bidirectional" => Ok(Direction::Bidirectional),
        _ => Err(PyValueError::new_err(format!("unknown direction {word:?}"))),
    }
}
