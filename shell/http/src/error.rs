//! What can go wrong with a request, by where it went wrong.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use slim_proto::limits::HTTP_BODY_BYTES_MAX;

/// Why a client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum HttpSetupError {
    /// The CA text is no PEM, or has a certificate that cannot be a CA.
    #[error("the CA certificates for HTTPS cannot be used: {0}")]
    Ca(rustls::Error),
    /// The CA text has no certificate.
    #[error("the CA text for HTTPS has no certificate; PEM text with BEGIN CERTIFICATE belongs there")]
    NoCertificate,
    /// The CA text is broken.
    #[error("the CA text for HTTPS is no PEM text: {0}")]
    Pem(rustls::pki_types::pem::Error),
    /// Nobody is trusted.
    #[error("the system has no CA certificates; name a file of CAs for HTTPS")]
    NoRoots,
    /// The library refuses the settings.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

/// Why a request got no answer that can be used. None of the texts carries a query, a header or a body.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address is none.
    #[error("{text:?} is no address of a web server: {problem}")]
    Url {
        /// The address, without its secrets.
        text: String,
        /// What is wrong with it.
        problem: UrlProblem,
    },
    /// Plain text to another machine.
    #[error(
        "{origin} would be asked in plain text; use https://, or allow plain text if the network is safe"
    )]
    PlainText {
        /// Whom.
        origin: String,
    },
    /// No connection.
    #[error("cannot connect to {origin}: {error}")]
    Unreachable {
        /// Whom.
        origin: String,
        /// What the system says.
        error: io::Error,
    },
    /// No TLS: the two sides do not come to trust each other.
    #[error("no TLS with {origin}: {error}")]
    Tls {
        /// Whom.
        origin: String,
        /// What the library says, such as `invalid peer certificate: UnknownIssuer`.
        error: io::Error,
    },
    /// The answer, whole, did not come in time.
    #[error("no answer from {origin} within {limit:?}")]
    Timeout {
        /// From whom.
        origin: String,
        /// The deadline of the whole request.
        limit: Duration,
    },
    /// The connection broke, or the answer is no HTTP.
    #[error("the answer of {origin} cannot be read: {error}")]
    Broken {
        /// From whom.
        origin: String,
        /// What the library says.
        error: hyper::Error,
    },
    /// A redirect to another server, or one too many.
    #[error("{url} redirects to {to}, which is refused; configure the address itself")]
    Redirect {
        /// What was asked for.
        url: String,
        /// Where it leads.
        to: String,
    },
    /// Not a success.
    #[error("{url} answers with status {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status, 300 or higher.
        status: u16,
        /// The body: OpenID Connect explains itself there. It may quote the request, so it is not in the text.
        body: Bytes,
    },
    /// More bytes than any honest answer has.
    #[error("the answer of {url} has more than {HTTP_BODY_BYTES_MAX} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
    },
}

impl HttpError {
    /// True if the same request may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout { .. } | Self::Broken { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 429,
            Self::Url { .. }
            | Self::PlainText { .. }
            | Self::Tls { .. }
            | Self::Redirect { .. }
            | Self::TooLarge { .. } => false,
        }
    }
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// Not an address at all.
    #[error("it is malformed")]
    Syntax,
    /// Not `https://` or `http://`.
    #[error("it must begin with https:// or http://")]
    Scheme,
    /// No host.
    #[error("it has no host")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("its port is no number from 1 to 65535")]
    Port,
    /// A user name or password.
    #[error("it must not hold a user name or password")]
    UserInfo,
}
