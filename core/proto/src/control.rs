//! Typed control frames: link negotiation, subscription requests and their acknowledgements (wire-routing A2).

use bytes::Bytes;
use prost::Message as _;

use crate::frame::Frame;
use crate::r#gen as wire;
use crate::limits::TTL_DEFAULT;
use crate::message::{DecodeError, VERSION};
use crate::name::FullName;
use crate::splice::Egress;

/// What two nodes are to each other, as negotiated (wire-routing A2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConnectionType {
    /// Between domains; also what an unknown number means.
    Remote,
    /// Between replicas of one deployment.
    Peer,
    /// From an application's node to its first routing node.
    Edge,
}

impl ConnectionType {
    fn from_wire(value: i32) -> Self {
        match wire::LinkConnectionType::try_from(value) {
            Ok(wire::LinkConnectionType::Peer) => Self::Peer,
            Ok(wire::LinkConnectionType::Edge) => Self::Edge,
            Ok(wire::LinkConnectionType::Remote) | Err(_) => Self::Remote,
        }
    }

    fn to_wire(self) -> i32 {
        match self {
            Self::Remote => wire::LinkConnectionType::Remote,
            Self::Peer => wire::LinkConnectionType::Peer,
            Self::Edge => wire::LinkConnectionType::Edge,
        }
        .into()
    }
}

/// First message of a link in each direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkNegotiation {
    /// Chosen by the dialer, echoed by the acceptor.
    pub link_id: String,
    /// Release of the sender; strict semantic version.
    pub version: String,
    /// False from the dialer, true from the acceptor.
    pub is_reply: bool,
    /// Raw X25519 public key, or empty.
    pub public_key: Bytes,
    /// Wanted by the dialer, echoed by the acceptor.
    pub connection_type: ConnectionType,
    /// Node identifier of the sender, may be empty.
    pub node_id: String,
    /// Peer group of the sender, may be empty.
    pub deployment_name: String,
    /// ML-KEM-768 key or ciphertext.
    pub kem_payload: Option<Bytes>,
}

impl LinkNegotiation {
    /// The frame.
    pub fn encode(&self) -> Frame {
        let payload = wire::LinkNegotiationPayload {
            link_id: self.link_id.clone(),
            slim_version: self.version.clone(),
            is_reply: self.is_reply,
            link_ecdh_public_key: self.public_key.clone(),
            connection_type: self.connection_type.to_wire(),
            node_id: self.node_id.clone(),
            deployment_name: self.deployment_name.clone(),
            link_kem_payload: self.kem_payload.clone(),
        };
        encode(wire::message::MessageType::Link(wire::Link {
            link_type: Some(wire::link::LinkType::LinkNegotiation(payload)),
        }))
    }

    /// Reads a Link frame; `None` if it is another kind of frame.
    pub fn decode(frame: &Frame) -> Result<Option<Self>, DecodeError> {
        let Some(wire::message::MessageType::Link(link)) = decode(frame)? else {
            return Ok(None);
        };
        let Some(wire::link::LinkType::LinkNegotiation(payload)) = link.link_type else {
            return Err(DecodeError::Missing("link negotiation"));
        };
        Ok(Some(Self {
            link_id: payload.link_id,
            version: payload.slim_version,
            is_reply: payload.is_reply,
            public_key: payload.link_ecdh_public_key,
            connection_type: ConnectionType::from_wire(payload.connection_type),
            node_id: payload.node_id,
            deployment_name: payload.deployment_name,
            kem_payload: payload.link_kem_payload,
        }))
    }
}

/// Answer to a Subscribe or Unsubscribe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionAck {
    /// The request's id.
    pub subscription_id: u64,
    /// `Err` holds free text for people.
    pub outcome: Result<(), String>,
}

impl SubscriptionAck {
    /// The frame.
    pub fn encode(&self) -> Frame {
        encode(wire::message::MessageType::SubscriptionAck(
            wire::SubscriptionAck {
                subscription_id: self.subscription_id,
                success: self.outcome.is_ok(),
                error: self.outcome.clone().err().unwrap_or_default(),
            },
        ))
    }

    /// The frame behind a gRPC prefix.
    pub fn to_egress(&self) -> Egress {
        Egress::verbatim(self.encode())
    }

    /// Reads a SubscriptionAck frame; `None` if it is another kind of frame.
    pub fn decode(frame: &Frame) -> Result<Option<Self>, DecodeError> {
        let Some(wire::message::MessageType::SubscriptionAck(ack)) = decode(frame)? else {
            return Ok(None);
        };
        Ok(Some(Self {
            subscription_id: ack.subscription_id,
            outcome: if ack.success { Ok(()) } else { Err(ack.error) },
        }))
    }
}

/// Which of the two subscription requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubscriptionAction {
    /// Announce interest.
    Subscribe,
    /// Take it back; the id must be that of the Subscribe.
    Unsubscribe,
}

/// A Subscribe or Unsubscribe as an endpoint writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRequest {
    /// Which of the two.
    pub action: SubscriptionAction,
    /// The application, with its id.
    pub source: FullName,
    /// The name of interest.
    pub destination: FullName,
    /// Token of the application.
    pub identity: String,
    /// Acknowledgement key; 0 asks for none.
    pub subscription_id: u64,
}

impl SubscriptionRequest {
    /// The frame, with the header defaults of wire-routing A2.2.
    pub fn encode(&self) -> Frame {
        let header = Some(wire::SlimHeader {
            source: Some(self.source.to_wire()),
            destination: Some(self.destination.to_wire()),
            identity: self.identity.clone(),
            fanout: 1,
            version: VERSION.to_owned(),
            ttl: TTL_DEFAULT,
            ..Default::default()
        });
        let subscription_id = self.subscription_id;
        encode(match self.action {
            SubscriptionAction::Subscribe => wire::message::MessageType::Subscribe(wire::Subscribe {
                header,
                subscription_id,
            }),
            SubscriptionAction::Unsubscribe => wire::message::MessageType::Unsubscribe(wire::Unsubscribe {
                header,
                subscription_id,
            }),
        })
    }

    /// Reads a Subscribe or Unsubscribe as strictly as endpoints read messages; `None` if it is another kind.
    pub fn decode(frame: &Frame) -> Result<Option<Self>, DecodeError> {
        use wire::message::MessageType as W;
        let (action, header, subscription_id) = match decode(frame)? {
            Some(W::Subscribe(request)) => (
                SubscriptionAction::Subscribe,
                request.header,
                request.subscription_id,
            ),
            Some(W::Unsubscribe(request)) => (
                SubscriptionAction::Unsubscribe,
                request.header,
                request.subscription_id,
            ),
            Some(W::Publish(_) | W::Link(_) | W::SubscriptionAck(_)) | None => return Ok(None),
        };
        let header = header.ok_or(DecodeError::Missing("header"))?;
        Ok(Some(Self {
            action,
            source: FullName::from_wire(&header.source.ok_or(DecodeError::Missing("source"))?)?,
            destination: FullName::from_wire(
                &header.destination.ok_or(DecodeError::Missing("destination"))?,
            )?,
            identity: header.identity,
            subscription_id,
        }))
    }
}

fn encode(message_type: wire::message::MessageType) -> Frame {
    let message = wire::Message {
        message_type: Some(message_type),
        ..Default::default()
    };
    Frame::new(message.encode_to_vec()).expect("control frames hold a few hundred bytes and one token")
}

fn decode(frame: &Frame) -> Result<Option<wire::message::MessageType>, DecodeError> {
    Ok(wire::Message::decode(frame.bytes().clone())?.message_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::NameId;

    #[test]
    fn recorded_control_frames_come_back_as_they_were() {
        let (mut links, mut acks, mut requests) = (0, 0, 0);
        for bytes in crate::recordings::frame_bytes() {
            let frame = Frame::new(bytes).unwrap();
            if let Some(negotiation) = LinkNegotiation::decode(&frame).unwrap() {
                assert_eq!(negotiation.encode(), frame);
                assert_eq!(negotiation.connection_type, ConnectionType::Edge);
                links += 1;
            }
            if let Some(ack) = SubscriptionAck::decode(&frame).unwrap() {
                assert_eq!(ack.encode(), frame);
                acks += 1;
            }
            requests += usize::from(SubscriptionRequest::decode(&frame).unwrap().is_some());
        }
        assert_eq!((links, acks, requests), (16, 40, 40));
    }

    #[test]
    fn a_failed_acknowledgement_keeps_its_text_even_when_empty() {
        for outcome in [
            Ok(()),
            Err("subscription not found".to_owned()),
            Err(String::new()),
        ] {
            let ack = SubscriptionAck {
                subscription_id: u64::MAX,
                outcome,
            };
            assert_eq!(SubscriptionAck::decode(&ack.encode()).unwrap(), Some(ack));
        }
    }

    #[test]
    fn an_unknown_connection_type_reads_as_remote() {
        let payload = wire::LinkNegotiationPayload {
            link_id: "x".into(),
            connection_type: 77,
            ..Default::default()
        };
        let frame = encode(wire::message::MessageType::Link(wire::Link {
            link_type: Some(wire::link::LinkType::LinkNegotiation(payload)),
        }));
        let negotiation = LinkNegotiation::decode(&frame).unwrap().unwrap();
        assert_eq!(negotiation.connection_type, ConnectionType::Remote);
    }

    #[test]
    fn a_link_message_without_negotiation_is_refused() {
        let frame = encode(wire::message::MessageType::Link(wire::Link { link_type: None }));
        assert_eq!(
            LinkNegotiation::decode(&frame),
            Err(DecodeError::Missing("link negotiation"))
        );
    }

    #[test]
    fn both_requests_come_back_with_names_and_ids() {
        let name: FullName = "org/ns/app".parse().unwrap();
        for action in [SubscriptionAction::Subscribe, SubscriptionAction::Unsubscribe] {
            let request = SubscriptionRequest {
                action,
                source: name.with_id(NameId(7)),
                destination: name.clone(),
                identity: "token".into(),
                subscription_id: 9,
            };
            assert_eq!(
                SubscriptionRequest::decode(&request.encode()).unwrap(),
                Some(request)
            );
        }
    }
}
