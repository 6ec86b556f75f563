//! The dialling side of a link, up to its first frame: a call that is dialled and negotiated.
//!
//! When that is done, again or instead of a link that is to leave, decides [`slim_router::dialer`].

use slim_config::{ClientConfig, ConnectionType};
use slim_crypto::EphemeralKey;
use slim_proto::Egress;
use slim_proto::control::ConnectionType as WireType;
use slim_proto::limits::NEGOTIATION_TIMEOUT;
use slim_router::dialer::Failure;
use slim_router::{Dialer, HandshakeError, LocalNode, Negotiated, PeerRejection};
use tokio::time::timeout_at;

use crate::auth::Credentials;
use crate::clock::Clock;
use crate::dial::{DialError, dial_as};
use crate::dialed::Dialed;
use crate::frames::LinkEnd;
use crate::grpc::status::Code;

/// Why a link did not come about.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no call.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The call ended too early.
    #[error("the link ended during its negotiation: {0}")]
    Link(#[from] LinkEnd),
    /// No reply.
    #[error("the node did not negotiate within {NEGOTIATION_TIMEOUT:?}")]
    Timeout,
    /// A reply that makes no link.
    #[error("link negotiation failed: {0}")]
    Handshake(#[from] HandshakeError),
    /// The node is none for us.
    #[error("link negotiation failed: {0}")]
    Peer(#[from] PeerRejection),
    /// Every attempt failed.
    #[error("gave up after {attempts} attempts; the last one: {last}")]
    GaveUp {
        /// How many, more than one.
        attempts: u32,
        /// The error of the last one.
        last: Box<Self>,
    },
}

impl OpenError {
    /// This error as the last one of so many attempts.
    pub fn after(self, attempts: u32) -> Self {
        if attempts <= 1 {
            return self;
        }
        Self::GaveUp {
            attempts,
            last: Box::new(self),
        }
    }

    /// What it says about another attempt.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Dial(error) if error.is_transient() => Failure::Passing,
            Self::Dial(error) if error.is_about_trust() => Failure::Refused,
            Self::Dial(_) | Self::GaveUp { .. } => Failure::Final,
            Self::Link(end) => failure_after(end),
            Self::Timeout | Self::Handshake(_) | Self::Peer(_) => Failure::Passing,
        }
    }
}

/// What the end of a link, as the other side made it, says about another one: a node that forbids the link does not
/// want it back (wire-routing A4.4).
pub fn failure_after(end: &LinkEnd) -> Failure {
    match end {
        LinkEnd::Ended(Some(status)) if status.code == Code::PERMISSION_DENIED => Failure::Final,
        LinkEnd::Ended(_)
        | LinkEnd::HalfFrame
        | LinkEnd::Reset(_)
        | LinkEnd::Deframe(_)
        | LinkEnd::WebSocket(_)
        | LinkEnd::Connection(_)
        | LinkEnd::Socket(_) => Failure::Passing,
    }
}

/// A link that is negotiated.
#[derive(Debug)]
pub struct OpenedLink {
    /// The call, after the negotiation's two frames.
    pub dialed: Dialed,
    /// What was agreed on.
    pub negotiated: Negotiated,
}

/// Everything that each attempt for one link needs.
#[derive(Debug)]
pub struct LinkDialer {
    config: ClientConfig,
    credentials: Credentials,
    clock: Clock,
    local: LocalNode,
    link_id: String,
}

impl LinkDialer {
    /// `link_id` is the same for every attempt: the node then knows that it is us again (wire-routing A11.2). What
    /// a link must have to be acceptable is the configuration's matter, not `local`'s.
    pub fn new(config: ClientConfig, clock: Clock, local: LocalNode, link_id: String) -> Self {
        let local = LocalNode {
            require_header_mac: config.require_header_mac,
            enforce_pqc: config.enforce_pqc,
            ..local
        };
        Self {
            credentials: Credentials::of(&config),
            config,
            clock,
            local,
            link_id,
        }
    }

    /// As configured.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    /// One attempt: reaches the node and negotiates the link (wire-routing A4.2).
    pub async fn open(&self) -> Result<OpenedLink, OpenError> {
        let mut dialed = dial_as(&self.config, &self.credentials).await?;
        let connection_type = match self.config.connection_type {
            ConnectionType::Edge => WireType::Edge,
            ConnectionType::Remote => WireType::Remote,
        };
        let key = EphemeralKey::generate();
        let now = self.clock.now();
        let (dialer, request) = Dialer::start(now, &self.local, &*self.link_id, connection_type, key);
        let deadline = self.clock.timer(dialer.deadline());
        let reply = async {
            dialed.writer.send(Egress::verbatim(request)).await?;
            dialed.reader.next().await
        };
        let reply = timeout_at(deadline, reply)
            .await
            .map_err(|_| OpenError::Timeout)??;
        let negotiated = dialer.handle_reply(&reply)?;
        // The type is the reply's: a node may call itself a peer without being asked.
        negotiated.check_peer(&self.local)?;
        Ok(OpenedLink { dialed, negotiated })
    }

    /// Resolves when another link should take the place of this one: the node asks for that, or it shall see a new
    /// certificate, or new CAs shall judge it.
    pub fn leaving(&self, link: &OpenedLink) -> impl Future<Output = ()> + Send + use<> {
        let (asked, credentials, config) = (
            link.dialed.connection.leaving(),
            self.credentials.clone(),
            self.config.clone(),
        );
        async move {
            tokio::select! {
                () = asked => {}
                () = credentials.renewed(&config) => {}
            }
        }
    }
}
