//! Invitations that the application is asked about.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use slim::{Direction, InvitationPolicy, Inviters, PendingInvitation, SessionKind, SubjectPattern};

use crate::name::{self, NameParts};
use crate::process::Process;

/// Whose invitations are accepted, from Python: subjects or their beginnings, or `None` for everybody; or whoever the
/// application says.
pub(crate) fn options(
    direction: Direction,
    inviters: Option<Vec<String>>,
    is_asked: bool,
) -> slim::AppOptions {
    let from = match inviters {
        _ if is_asked => Inviters::Asked,
        Some(patterns) => Inviters::Listed(patterns.into_iter().map(SubjectPattern::new).collect()),
        None => Inviters::Everybody,
    };
    let invitations = InvitationPolicy {
        from,
        ..InvitationPolicy::default()
    };
    slim::AppOptions {
        invitations,
        ..slim::AppOptions::from(direction)
    }
}

/// One invitation. Without an answer it is refused after a minute.
#[pyclass(frozen)]
pub(crate) struct Invitation {
    details: slim::Invitation,
    pending: Mutex<Option<PendingInvitation>>,
    process: Arc<Process>,
}

impl Invitation {
    pub(crate) fn new(pending: PendingInvitation, process: Arc<Process>) -> Self {
        Self {
            details: pending.details().clone(),
            pending: Mutex::new(Some(pending)),
            process,
        }
    }
}

#[pymethods]
impl Invitation {
    #[getter]
    fn session(&self) -> u32 {
        self.details.session.0
    }

    #[getter]
    fn is_group(&self) -> bool {
        self.details.kind == SessionKind::Group
    }

    #[getter]
    fn inviter(&self) -> NameParts {
        name::to_python(&self.details.inviter)
    }

    #[getter]
    fn subject(&self) -> String {
        self.details.subject.clone()
    }

    #[getter]
    fn issuer(&self) -> Option<String> {
        self.details.issuer.clone()
    }

    #[getter]
    fn channel(&self) -> Option<NameParts> {
        self.details.channel.as_ref().map(name::to_python)
    }

    #[getter]
    fn mls(&self) -> bool {
        self.details.mls
    }

    #[getter]
    fn metadata(&self) -> BTreeMap<String, String> {
        self.details.metadata.clone()
    }

    /// Joins or not; only the first answer counts.
    fn answer<'py>(&self, py: Python<'py>, accept: bool) -> PyResult<Bound<'py, PyAny>> {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let pending =
            pending.ok_or_else(|| PyRuntimeError::new_err("this invitation is answered already"))?;
        self.process.check()?.bridge.future(py, async move {
            if accept {
                pending.accept().await
            } else {
                pending.decline().await
            }
        })
    }
}
