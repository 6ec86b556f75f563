//! From SDK errors to Python's exceptions: each variant has one class.
//!
//! The classes of our own are Python (`slim_bindings/_errors.py`), with their text and attributes.

use pyo3::exceptions::{PyConnectionError, PyOSError, PyPermissionError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;
use slim::rpc::Status;
use slim::{CommandError, DialError, Error, NameError, OperationError, TlsFailure};

/// A name that Python gave and that is none.
#[expect(clippy::needless_pass_by_value, reason = "used with map_err")]
pub(crate) fn name(error: NameError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The exception for an SDK error.
pub(crate) fn to_python(py: Python<'_>, error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Command(error) => command(py, &error, text),
        Error::Operation(error) => operation(py, error, text),
        Error::SessionClosed { session, reason } => {
            ours(py, "SLIMSessionClosedError", (session.0, reason.to_string()))
        }
        Error::Identity(_) => PyValueError::new_err(text),
        Error::Connect { cause, .. } => match cause.downcast_ref() {
            Some(DialError::Tls { failure, .. }) => ours(py, tls_class(failure), (text,)),
            Some(DialError::Unauthenticated { .. }) => ours(py, "SLIMUnauthenticatedError", (text,)),
            Some(DialError::PermissionDenied { .. }) => ours(py, "SLIMPermissionDeniedError", (text,)),
            _ => PyConnectionError::new_err(text),
        },
        Error::Disconnected { .. } => PyConnectionError::new_err(text),
        Error::ConnectionDiffers { .. } | Error::ConnectionUnknown { .. } | Error::ServerUnknown { .. } => {
            PyValueError::new_err(text)
        }
        Error::Server { .. } => PyOSError::new_err(text),
        Error::Closed | Error::RouteLimit | Error::Start(_) => PyRuntimeError::new_err(text),
    }
}

fn tls_class(failure: &TlsFailure) -> &'static str {
    match failure {
        TlsFailure::Expired { .. } => "SLIMCertificateExpiredError",
        TlsFailure::NotYetValid { .. } => "SLIMCertificateNotYetValidError",
        TlsFailure::UnknownCa => "SLIMUnknownCaError",
        TlsFailure::WrongName { .. } => "SLIMWrongHostError",
        TlsFailure::Version { .. } => "SLIMTlsVersionError",
        TlsFailure::PlainText => "SLIMPlainTextError",
        TlsFailure::ClientCertificateMissing | TlsFailure::ClientCertificateRefused { .. } => {
            "SLIMClientCertificateError"
        }
        TlsFailure::TlsExpected
        | TlsFailure::CaCertificate
        | TlsFailure::Certificate { .. }
        | TlsFailure::NoHttp2
        | TlsFailure::Spiffe { .. }
        | TlsFailure::Classical
        | TlsFailure::Timeout { .. }
        | TlsFailure::Broken { .. }
        | TlsFailure::Protocol { .. } => "SLIMTlsError",
    }
}

fn command(py: Python<'_>, error: &CommandError, text: String) -> PyErr {
    match error {
        CommandError::SessionUnknown(id) => ours(py, "SLIMSessionNotFoundError", ("session not found", id.0)),
        CommandError::AlreadyMember(_)
        | CommandError::NotMember(_)
        | CommandError::NotGroup(_)
        | CommandError::NoReceiver(_)
        | CommandError::NotReliable(_)
        | CommandError::InvitationUnknown(_)
        | CommandError::NotServed(_)
        | CommandError::SessionExists(_)
        | CommandError::ReservedSessionId(_)
        | CommandError::TooLarge { .. }
        | CommandError::ReservedMetadata(_)
        | CommandError::MetadataTooLarge => PyValueError::new_err(text),
        CommandError::NotModerator(_) | CommandError::ReceiveOnly(_) => PyPermissionError::new_err(text),
        CommandError::Closing(_)
        | CommandError::Offline(_)
        | CommandError::NoMembers(_)
        | CommandError::WindowFull(_)
        | CommandError::TooManySessions
        | CommandError::TooManyChanges(_)
        | CommandError::StatusChangeInProgress(_)
        | CommandError::Mls(_) => PyRuntimeError::new_err(text),
    }
}

fn operation(py: Python<'_>, error: OperationError, text: String) -> PyErr {
    match error {
        OperationError::InviteFailed {
            session,
            invitee,
            step,
            after,
            ..
        } => ours(
            py,
            "SLIMInviteError",
            (
                session.0,
                crate::name::to_python(&invitee),
                step.to_string(),
                after.as_secs_f64(),
                text,
            ),
        ),
        OperationError::PublishIncomplete {
            session, message_id, ..
        } => ours(py, "SLIMTimeoutError", (message_id, session.0, text)),
        OperationError::AlreadyMember(_) | OperationError::NotMember(_) => PyValueError::new_err(text),
        OperationError::Subscription { .. } => PyConnectionError::new_err(text),
        OperationError::NoMembers(_)
        | OperationError::SessionClosed(_)
        | OperationError::RejoinFailed(_)
        | OperationError::Mls(_) => PyRuntimeError::new_err(text),
    }
}

/// The exception for a call that failed.
pub(crate) fn status(py: Python<'_>, status: Status) -> PyErr {
    let class = || {
        py.import("slim_bindings._rpc_errors")?
            .getattr("RpcError")?
            .getattr("Rpc")
    };
    let code = || py.import("slim_bindings._rpc_errors")?.getattr("RpcCode");
    let raised =
        class().and_then(|class| class.call1((code()?.call1((status.code.number(),))?, status.message)));
    // The package is broken; the reason is more useful than the error that it hides.
    raised.map_or_else(|error| error, PyErr::from_value)
}

/// An exception of `slim_bindings._errors`.
fn ours<A>(py: Python<'_>, class: &str, arguments: A) -> PyErr
where
    A: for<'py> IntoPyObject<'py> + pyo3::PyErrArguments + Send + Sync + 'static,
{
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let found = MODULE
        .get_or_try_init(py, || {
            py.import("slim_bindings._errors")
                .map(|module| module.into_any().unbind())
        })
        .and_then(|module| Ok(module.bind(py).getattr(class)?.cast_into::<PyType>()?));
    match found {
        Ok(class) => PyErr::from_type(class, arguments),
        // The package is broken; the reason is more useful than the error that it hides.
        Err(error) => error,
    }
}
