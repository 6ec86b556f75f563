//! Why the agent has nothing for us.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use slim_auth::{IdentityError, KeySetError, SpiffeId, SpiffeIdError, TrustDomain};
use slim_proto::limits::SPIFFE_MESSAGE_BYTES_MAX;

/// Why a text is no address of a Workload API.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A network address.
    #[error(
        "{origin} is a TCP address; give the agent's unix socket, as in unix:///run/spire/sockets/agent.sock"
    )]
    Tcp {
        /// The key or variable.
        origin: &'static str,
    },
    /// A path that depends on where the process runs.
    #[error("{origin} must be an absolute path or unix:// with one, not {text:?}")]
    NotAbsolute {
        /// The key or variable.
        origin: &'static str,
        /// What is there.
        text: String,
    },
}

/// Why the agent has nothing for us, or nothing that is of use.
#[derive(Debug, thiserror::Error)]
pub enum SpiffeError {
    /// The address is none.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Nobody listens there.
    #[error(
        "no SPIFFE agent at {path}: {error}; start it, or name its socket in socket_path or SPIFFE_ENDPOINT_SOCKET"
    )]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The system does not let us open the socket.
    #[error("the socket of the SPIFFE agent at {path} may not be opened: {error}; check its permissions")]
    SocketDenied {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The agent does not know this process.
    #[error(
        "the SPIFFE agent has no identity for this process ({message}); register an entry for it at the server"
    )]
    NoIdentity {
        /// What it says.
        message: String,
    },
    /// None of the identities is the wanted one.
    #[error("the SPIFFE agent has no identity {wanted} for this process; it has: {}", .issued.join(", "))]
    NotIssued {
        /// `target_spiffe_id`.
        wanted: SpiffeId,
        /// What there is.
        issued: Vec<String>,
    },
    /// Another failure that the agent tells.
    #[error("the SPIFFE agent refuses {method}: {message} (gRPC status {code})")]
    Refused {
        /// What was asked.
        method: &'static str,
        /// The number.
        code: u32,
        /// What it says.
        message: String,
    },
    /// The agent stands still.
    #[error("the SPIFFE agent gave no answer to {method} within {limit:?}")]
    NoAnswer {
        /// What was asked.
        method: &'static str,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection broke.
    #[error("the connection to the SPIFFE agent broke during {method}: {error}")]
    Broken {
        /// What was asked.
        method: &'static str,
        /// How.
        error: h2::Error,
    },
    /// A stream ended that should last.
    #[error("the SPIFFE agent ended {method}")]
    Ended {
        /// What was asked.
        method: &'static str,
    },
    /// Something else answers at the socket.
    #[error("what answers {method} is no SPIFFE agent: {problem}")]
    NotAgent {
        /// What was asked.
        method: &'static str,
        /// What is wrong with the answer.
        problem: &'static str,
    },
    /// An answer without end.
    #[error("the answer to {method} is larger than {SPIFFE_MESSAGE_BYTES_MAX} bytes")]
    TooLarge {
        /// What was asked.
        method: &'static str,
    },
    /// An id that is none.
    #[error("the SPIFFE agent gave an id that is none: {0}")]
    Id(SpiffeIdError),
    /// A configured id or trust domain that is none.
    #[error("{key}: {text:?} cannot be used: {error}")]
    Configured {
        /// The key.
        key: &'static str,
        /// Its value.
        text: String,
        /// What is wrong.
        error: SpiffeIdError,
    },
    /// A token of no use.
    #[error("the JWT-SVID of the SPIFFE agent cannot be used: {0}")]
    Token(IdentityError),
    /// The keys of a trust domain are of no use.
    #[error("the JWT bundle of {trust_domain} cannot be used: {error}")]
    Bundle {
        /// Whose.
        trust_domain: TrustDomain,
        /// What is wrong.
        error: KeySetError,
    },
    /// Certificates that are none.
    #[error("the certificates of {id} are damaged: {problem}")]
    Certificates {
        /// Whose.
        id: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// A trust domain that the agent has no bundle of.
    #[error(
        "the SPIFFE agent has no bundle of the trust domain {0}; federate with it, or correct trust_domains"
    )]
    NoBundle(TrustDomain),
    /// The source that should know was stopped with its runtime.
    #[error("the source of SPIFFE identities has stopped")]
    Stopped,
}

impl SpiffeError {
    /// True if the next attempt may succeed without anybody changing the configuration: an agent starts, an entry is
    /// registered, a server comes back.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NoAgent { .. }
            | Self::NoIdentity { .. }
            | Self::NotIssued { .. }
            | Self::Refused { .. }
            | Self::NoAnswer { .. }
            | Self::Broken { .. }
            | Self::Ended { .. }
            | Self::NoBundle(_)
            | Self::Token(_)
            | Self::Bundle { .. }
            | Self::Certificates { .. } => true,
            Self::Address(_)
            | Self::SocketDenied { .. }
            | Self::NotAgent { .. }
            | Self::TooLarge { .. }
            | Self::Id(_)
            | Self::Configured { .. }
            | Self::Stopped => false,
        }
    }
}
