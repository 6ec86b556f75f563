//! Everything that a call of this crate can end with.

use std::sync::Arc;

use crate::identity::IdentitySetupError;
use slim_net::DialError;
use slim_proto::limits::ROUTES_MAX;
use slim_session::{CloseReason, CommandError, OperationError, SessionId};

use crate::driver::connection::ConnectionId;

/// The cause of a failure at the edge (socket, thread, node), shared so that an [`Error`] can be cloned.
pub type Cause = Arc<dyn std::error::Error + Send + Sync + 'static>;

/// Why a call did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The call asked for something that cannot be done; nothing was sent.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// The operation was started and the far end did not complete it.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The identity or the verifier cannot be made, or not be replaced, as asked for.
    #[error(transparent)]
    Identity(Arc<IdentitySetupError>),
    /// The node cannot be reached.
    #[error(
        "no connection to {endpoint} after {attempts} attempts: {cause}{}", hint(.cause)
    )]
    Connect {
        /// As configured.
        endpoint: String,
        /// Dials made.
        attempts: u32,
        /// What the last one said: a [`DialError`](slim_net::DialError) unless it came further.
        #[source]
        cause: Cause,
    },
    /// There is a connection to this endpoint with other settings.
    #[error("{endpoint} is connected with other settings; disconnect it first or use the same settings")]
    ConnectionDiffers {
        /// As configured.
        endpoint: String,
    },
    /// `disconnect` was called while this call waited for the connection.
    #[error("the connection to {endpoint} was closed by disconnect")]
    Disconnected {
        /// As configured.
        endpoint: String,
    },
    /// No connection of this service has this number.
    #[error("there is no connection {connection}; use what connect returned, before disconnect")]
    ConnectionUnknown {
        /// As asked for.
        connection: ConnectionId,
    },
    /// Too many routes.
    #[error("this service has {ROUTES_MAX} routes, which is the limit; remove some that are not needed")]
    RouteLimit,
    /// The session is over.
    #[error("session {session} closed: {reason}")]
    SessionClosed {
        /// Which.
        session: SessionId,
        /// Why.
        reason: CloseReason,
    },
    /// The application or the whole service was closed.
    #[error("this application is closed; create a new one")]
    Closed,
    /// The embedded node did not start.
    #[error("cannot serve {endpoint}: {cause}")]
    Server {
        /// As configured.
        endpoint: String,
        /// What the node said.
        #[source]
        cause: Cause,
    },
    /// No server of this service has this endpoint.
    #[error("this service does not serve {endpoint}; pass the endpoint that run_server was given")]
    ServerUnknown {
        /// As asked for.
        endpoint: String,
    },
    /// The background thread could not be started.
    #[error("cannot start the service's background thread: {0}")]
    Start(#[source] Cause),
}

impl From<IdentitySetupError> for Error {
    fn from(error: IdentitySetupError) -> Self {
        Self::Identity(Arc::new(error))
    }
}

impl Error {
    /// Wraps an error of the edge.
    pub(crate) fn cause(error: impl std::error::Error + Send + Sync + 'static) -> Cause {
        Arc::new(error)
    }
}

/// What to do, unless the cause says so itself.
fn hint(cause: &Cause) -> &'static str {
    match cause.downcast_ref::<DialError>() {
        Some(error) if error.is_about_trust() => "",
        _ => "; check that a node listens there",
    }
}
