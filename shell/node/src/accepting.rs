//! An accepted call up to its link: its first message tells of which generation it is, and negotiation makes the link.
//!
//! Links of older generations go to their own driver.

use std::sync::Arc;
use std::time::Duration;

use slim_crypto::EphemeralKey;
use slim_net::{Accepted, Code, FrameWriter, LinkEnd, Service, Status, identity_below};
use slim_older::{Dialect, First};
use slim_policy::AuthMethod;
use slim_proto::{Egress, Frame};
use slim_router::egress::EgressBudget;
use slim_router::{Acceptor, Direction, LocalNode, Negotiated};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::link_driver::{End, drive};
use crate::older::{self, Arrival, Unserved};
use crate::service::Shared;

/// What an accepting listener asks of its links.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AcceptPolicy {
    pub(crate) require_header_mac: bool,
    pub(crate) enforce_pqc: bool,
    pub(crate) negotiation_timeout: Duration,
    pub(crate) serves_older_wires: bool,
}

/// Drives an accepted call from its first byte to its last.
pub(crate) async fn accept(shared: Arc<Shared>, policy: AcceptPolicy, accepted: Accepted) {
    let Accepted {
        service,
        mut reader,
        mut writer,
        peer,
        certificate,
        admission,
        established,
    } = accepted;
    let identity = match admission {
        Some(admission) => admission.identity,
        None => Arc::new(identity_below(certificate.as_deref())),
    };
    if identity.method != AuthMethod::None {
        debug!(
            %peer,
            method = identity.method.name(),
            subject = identity.subject.as_deref().unwrap_or("none"),
            "the client proved who it is"
        );
    }
    let deadline = Instant::now() + policy.negotiation_timeout;
    let opening = async {
        let first = reader.next().await?;
        match Generation::of(service, &first) {
            Generation::Current => {
                let negotiated = negotiate(&shared, policy, &first, &mut writer).await?;
                Ok(Opened::Negotiated(Box::new(negotiated)))
            }
            Generation::Older(dialect) => Ok(Opened::Older(first, Some(dialect))),
            Generation::V0_6 => Ok(Opened::Older(first, None)),
        }
    };
    let outcome = tokio::select! {
        outcome = timeout_at(deadline, opening) => outcome,
        () = shared.draining() => {
            writer.finish(&Status::ok());
            return;
        }
    };
    let negotiated = match outcome {
        Ok(Ok(Opened::Negotiated(negotiated))) => negotiated,
        Ok(Ok(Opened::Older(first, dialect))) => {
            let arrival = Arrival {
                peer,
                identity,
                first,
                reader,
                writer,
            };
            return match dialect {
                Some(dialect) if policy.serves_older_wires => {
                    older::serve(&shared, dialect, arrival, || established.mark()).await;
                }
                Some(dialect) => older::hold(&shared, Unserved::Listener(dialect), arrival).await,
                None => older::hold(&shared, Unserved::V0_6, arrival).await,
            };
        }
        Ok(Err(reason)) => {
            let reason: NegotiationError = reason;
            debug!(%peer, %reason, "negotiation failed");
            shared.totals.update(|totals| totals.negotiations_failed += 1);
            // A refusal looks like a normal end (wire-routing A4.3).
            writer.finish(&Status::ok());
            return;
        }
        Err(_) => {
            debug!(%peer, limit = ?policy.negotiation_timeout, "no negotiation in time");
            shared.totals.update(|totals| totals.negotiations_failed += 1);
            writer.finish(&Status::ok());
            return;
        }
    };
    if let Err(rejection) = negotiated.check_peer(&shared.local) {
        debug!(%peer, %rejection, "peer rejected");
        shared.totals.update(|totals| totals.negotiations_failed += 1);
        writer.finish(&Status::new(Code::PERMISSION_DENIED, &rejection.to_string()));
        return;
    }
    established.mark();
    let end = End {
        direction: Direction::Accepted,
        identity: Some(identity),
        peer,
        budget: EgressBudget::default(),
        succession: None,
    };
    drive(&shared, *negotiated, end, reader, writer).await;
}

/// Of which generation a link is, by its path and its first message (wire-1x X3.1).
enum Generation {
    Current,
    Older(Dialect),
    V0_6,
}

impl Generation {
    fn of(service: Service, first: &Frame) -> Self {
        match (service, First::of(first.bytes())) {
            // A service of its own needs no telling.
            (Service::PubSub, _) => Self::Older(Dialect::V0_4),
            (Service::DataPlane, First::V1) => Self::Older(Dialect::V1),
            (Service::DataPlane, First::V0_6) => Self::V0_6,
            (Service::DataPlane, First::Current) => Self::Current,
        }
    }
}

/// What became of a call that said something.
enum Opened {
    Negotiated(Box<Negotiated>),
    /// Its first message; no dialect if it is of a generation that is not served.
    Older(Frame, Option<Dialect>),
}

async fn negotiate(
    shared: &Shared,
    policy: AcceptPolicy,
    request: &Frame,
    writer: &mut FrameWriter,
) -> Result<Negotiated, NegotiationError> {
    let local = LocalNode {
        require_header_mac: policy.require_header_mac,
        enforce_pqc: policy.enforce_pqc,
        ..shared.local.clone()
    };
    let acceptor = Acceptor::new(shared.clock.now(), local);
    let (negotiated, reply) = acceptor.handle_request(request, EphemeralKey::generate())?;
    writer.send(Egress::verbatim(reply)).await?;
    Ok(negotiated)
}

#[derive(Debug, thiserror::Error)]
enum NegotiationError {
    #[error(transparent)]
    Link(#[from] LinkEnd),
    #[error(transparent)]
    Handshake(#[from] slim_router::HandshakeError),
}
