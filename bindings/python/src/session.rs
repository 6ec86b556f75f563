//! A session.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pyo3::prelude::*;
use slim::PublishOptions;

use crate::app;
use crate::error;
use crate::item::{Member, Received, SessionFacts};
use crate::name::{self, NameArgument, NameParts};
use crate::process::Process;

/// The SDK's thread answers a look at a session in microseconds; this only bounds a machine that stands still.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// One session of an application.
#[pyclass(frozen)]
pub(crate) struct Session {
    pub(crate) session: slim::Session,
    pub(crate) process: Arc<Process>,
}

#[pymethods]
impl Session {
    /// The number.
    #[getter]
    fn id(&self) -> u32 {
        self.session.id().0
    }

    /// What is fixed about the session.
    fn facts(&self) -> SessionFacts {
        self.session.info().into()
    }

    /// True once the session is over; unread items may be left.
    fn is_closed(&self) -> bool {
        self.session.is_closed()
    }

    /// The MLS epoch now, or `None` without MLS or after the end.
    fn mls_epoch(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        let process = self.process.check()?;
        let session = self.session.clone();
        let snapshot = py.detach(|| {
            process
                .bridge
                .wait(LOOK_MAX, async move { session.snapshot().await })
        });
        Ok(snapshot.and_then(Result::ok).and_then(|snapshot| snapshot.epoch))
    }

    /// Adds a member. Resolves with the joined instance and those that did not confirm it in time.
    fn invite<'py>(&self, py: Python<'py>, name: NameArgument) -> PyResult<Bound<'py, PyAny>> {
        let name = name::from_python(name)?;
        let session = self.session.clone();
        self.process.check()?.bridge.future(py, async move {
            let invited = session.invite(name).await?;
            Ok((name::to_python(&invited.member), list(&invited.unreachable)))
        })
    }

    /// Removes a member. Resolves with who is out and those that did not confirm it in time.
    fn remove<'py>(&self, py: Python<'py>, name: NameArgument) -> PyResult<Bound<'py, PyAny>> {
        let name = name::from_python(name)?;
        let session = self.session.clone();
        self.process.check()?.bridge.future(py, async move {
            let removed = session.remove(name).await?;
            Ok((list(&removed.members), list(&removed.unreachable)))
        })
    }

    /// Sends a message to everybody, or to one member. Resolves with the members that acknowledged it.
    fn publish<'py>(
        &self,
        py: Python<'py>,
        payload: &[u8],
        payload_type: Option<String>,
        metadata: BTreeMap<String, String>,
        to: Option<NameArgument>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let payload = Bytes::copy_from_slice(payload);
        let to = to.map(name::from_python).transpose()?;
        let session = self.session.clone();
        self.process.check()?.bridge.future(py, async move {
            let outcome = session
                .publish(
                    payload,
                    PublishOptions {
                        payload_type,
                        metadata,
                        to,
                    },
                )
                .await?;
            Ok(list(&outcome.delivered))
        })
    }

    /// New timers for what this application sends from now on.
    fn reconfigure<'py>(
        &self,
        py: Python<'py>,
        interval_ms: u64,
        max_retries: u32,
    ) -> PyResult<Bound<'py, PyAny>> {
        let reliability = app::reliability(interval_ms, max_retries);
        let session = self.session.clone();
        self.process
            .check()?
            .bridge
            .future(py, async move { session.reconfigure(reliability).await })
    }

    /// Resolves when `try_receive` would return something; takes nothing.
    fn ready<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let ready = self.session.ready();
        self.process.check()?.bridge.future(py, async move {
            ready.await;
            Ok(())
        })
    }

    /// The next item, or `None` when there is none now. After the end, what is left, then always the end's error.
    fn try_receive(&self, py: Python<'_>) -> PyResult<Option<Received>> {
        match self.session.try_receive() {
            Some(Ok(item)) => Ok(Some(item.into())),
            Some(Err(error)) => Err(error::to_python(py, error)),
            None => Ok(None),
        }
    }

    /// Who is in the session, oneself included. Resolves with a list of `Member`.
    fn members<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let session = self.session.clone();
        self.process.check()?.bridge.future(py, async move {
            let members = session.members().await?;
            Ok(members.into_iter().map(Member::from).collect::<Vec<_>>())
        })
    }

    /// Ends (initiator) or leaves (everybody else) the session.
    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let session = self.session.clone();
        self.process
            .check()?
            .bridge
            .future(py, async move { session.close().await })
    }
}

fn list(names: &[slim::FullName]) -> Vec<NameParts> {
    names.iter().map(name::to_python).collect()
}
