//! The typed endpoint view of a Publish frame.
//!
//! Decoding is strict: every field that an endpoint uses is present and consistent, or the message is
//! refused. Encoding is canonical (wire-session §0.2), so `encode(decode(x)) == x` for what upstream sends,
//! which is what signatures over re-encoded parts rely on.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use crate::command::Command;
use crate::r#gen as wire;
use crate::limits::{FRAME_BYTES_MAX, METADATA_BYTES_MAX, METADATA_ENTRIES_MAX, TTL_DEFAULT};
use crate::name::{FullName, NameError};

/// Metadata keys with a meaning of their own (wire-session §0.6).
pub mod metadata {
    /// Payload signature of a command message.
    pub const PAYLOAD_SIGNATURE: &str = "slim-payload-sig";
    /// Authenticated sender subject; set locally, removed from everything received.
    pub const PEER_SUBJECT: &str = "slim-peer-subject";
    /// Direct message to one member of a group.
    pub const PUBLISH_TO: &str = "PUBLISH_TO";
    /// Voluntary leave.
    pub const LEAVING_SESSION: &str = "LEAVING_SESSION";
    /// Internal to upstream; never obeyed.
    pub const LEAVE_REPLY_SENT: &str = "LEAVE_REPLY_SENT";
    /// Dead key of upstream; never obeyed.
    pub const DELETE_GROUP: &str = "DELETE_GROUP";
    /// The value that upstream writes for "set"; only presence counts.
    pub const TRUE: &str = "TRUE";
    /// Trace context: nodes may change these.
    pub const TRACE: [&str; 3] = ["traceparent", "tracestate", "baggage"];
    /// Everything an application must not set and never sees.
    pub const RESERVED: [&str; 6] = [
        PAYLOAD_SIGNATURE,
        PEER_SUBJECT,
        PUBLISH_TO,
        LEAVING_SESSION,
        LEAVE_REPLY_SENT,
        DELETE_GROUP,
    ];
}

/// `SessionType` of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SessionKind {
    /// One to one.
    PointToPoint,
    /// One moderator and its group.
    Group,
}

/// `SessionMessageType` of the wire, values 1 to 20.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "the names are the wire's; wire-session §4.3 describes each"
)]
pub enum MessageKind {
    Msg = 1,
    MsgAck = 2,
    RtxRequest = 3,
    RtxReply = 4,
    DiscoveryRequest = 5,
    DiscoveryReply = 6,
    JoinRequest = 7,
    JoinReply = 8,
    LeaveRequest = 9,
    LeaveReply = 10,
    GroupUpdate = 11,
    GroupWelcome = 12,
    GroupClose = 13,
    GroupProposal = 14,
    GroupAck = 15,
    GroupNack = 16,
    Heartbeat = 17,
    UpdateParticipantState = 18,
    RejoinRequest = 19,
    RejoinReply = 20,
}

impl MessageKind {
    /// Every kind, in wire order.
    pub const ALL: [Self; 20] = [
        Self::Msg,
        Self::MsgAck,
        Self::RtxRequest,
        Self::RtxReply,
        Self::DiscoveryRequest,
        Self::DiscoveryReply,
        Self::JoinRequest,
        Self::JoinReply,
        Self::LeaveRequest,
        Self::LeaveReply,
        Self::GroupUpdate,
        Self::GroupWelcome,
        Self::GroupClose,
        Self::GroupProposal,
        Self::GroupAck,
        Self::GroupNack,
        Self::Heartbeat,
        Self::UpdateParticipantState,
        Self::RejoinRequest,
        Self::RejoinReply,
    ];

    /// True for kinds 5 to 20.
    pub fn is_command(self) -> bool {
        self as i32 >= Self::DiscoveryRequest as i32
    }

    fn from_wire(value: i32) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|kind| *kind as i32 == value)
            .ok_or(DecodeError::Unknown {
                what: "session message type",
                value,
            })
    }
}

/// What a message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Data messages (kinds 1 to 4).
    Application {
        /// `msg` unless the application says otherwise.
        payload_type: String,
        /// Plaintext, or a complete MLSMessage once sealed.
        blob: Bytes,
    },
    /// Command messages (kinds 5 to 20).
    Command(Command),
}

/// One session message, typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Originator with its id.
    pub source: FullName,
    /// Routing key.
    pub destination: FullName,
    /// Identity token of the originator.
    pub identity: String,
    /// 1 = one receiver, anything else = all.
    pub fanout: u32,
    /// Originator's release, informational.
    pub version: String,
    /// Hop budget.
    pub ttl: u32,
    /// Set on a failing RTX_REPLY; presence counts.
    pub error: Option<bool>,
    /// End-to-end header signature of command messages.
    pub header_signature: Option<Bytes>,
    /// Session type.
    pub session_kind: SessionKind,
    /// Message type; always fits `content`.
    pub kind: MessageKind,
    /// Session number, chosen by the initiator.
    pub session_id: u32,
    /// Message number.
    pub message_id: u32,
    /// Open text pairs.
    pub metadata: BTreeMap<String, String>,
    /// Payload.
    pub content: Content,
}

/// The release text that we write into headers; a strict semantic version (wire-routing C15).
///
/// The build part tells our own endpoints apart from upstream's. It is not authenticated, so nothing but
/// repair strategies may depend on it.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+own.1");

/// Why bytes are not a message that an endpoint accepts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf.
    #[error("undecodable protobuf: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// A required part is absent.
    #[error("missing {0}")]
    Missing(&'static str),
    /// A number that no version of the protocol defines.
    #[error("unknown {what} {value}")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// Its value.
        value: i32,
    },
    /// Message type and payload disagree.
    #[error("payload does not fit message type {0:?}")]
    Mismatch(MessageKind),
    /// A bad name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Too many or too large metadata.
    #[error("metadata exceeds its limit")]
    Metadata,
    /// More bytes than a frame may have.
    #[error("frame of {0} bytes; the limit is {FRAME_BYTES_MAX}")]
    TooLarge(usize),
}

impl Message {
    /// A message with the header defaults of wire-session §0.4; identity and signatures are added when it is sealed.
    pub fn new(
        source: FullName,
        destination: FullName,
        session_kind: SessionKind,
        session_id: u32,
        message_id: u32,
        content: impl Into<Content>,
    ) -> Self {
        let content = content.into();
        let kind = match &content {
            Content::Application { .. } => MessageKind::Msg,
            Content::Command(command) => command.kind(),
        };
        Self {
            source,
            destination,
            identity: String::new(),
            fanout: 1,
            version: VERSION.to_owned(),
            ttl: TTL_DEFAULT,
            error: None,
            header_signature: None,
            session_kind,
            kind,
            session_id,
            message_id,
            metadata: BTreeMap::new(),
            content,
        }
    }

    /// True if the sender says that it is an endpoint of this implementation; see [`VERSION`].
    pub fn is_from_own_kind(&self) -> bool {
        self.version.ends_with("+own.1")
    }

    /// The command payload, if this is a command message.
    pub fn command(&self) -> Option<&Command> {
        match &self.content {
            Content::Command(command) => Some(command),
            Content::Application { .. } => None,
        }
    }

    /// The application blob; empty for command messages.
    pub fn blob(&self) -> Bytes {
        match &self.content {
            Content::Application { blob, .. } => blob.clone(),
            Content::Command(_) => Bytes::new(),
        }
    }

    /// Canonical bytes of the content alone, as payload signatures cover it.
    pub fn content_bytes(&self) -> Vec<u8> {
        self.content_to_wire().encode_to_vec()
    }

    /// Canonical bytes of the whole message (a `dataplane.proto.v1.Message`).
    pub fn encode(&self) -> Bytes {
        let header = wire::SlimHeader {
            source: Some(self.source.to_wire()),
            destination: Some(self.destination.to_wire()),
            identity: self.identity.clone(),
            fanout: self.fanout,
            version: self.version.clone(),
            ttl: self.ttl,
            recv_from: None,
            forward_to: None,
            incoming_conn: None,
            error: self.error,
            header_mac: None,
            e2e_header_sig: self.header_signature.clone(),
        };
        let session = wire::SessionHeader {
            session_type: session_type(self.session_kind),
            session_message_type: self.kind as i32,
            session_id: self.session_id,
            message_id: self.message_id,
        };
        let publish = wire::Publish {
            header: Some(header),
            session: Some(session),
            msg: Some(self.content_to_wire()),
        };
        let message = wire::Message {
            message_type: Some(wire::message::MessageType::Publish(publish)),
            metadata: self.metadata.clone(),
        };
        message.encode_to_vec().into()
    }

    /// Decodes a frame that holds a Publish; `None` if it is another kind of frame.
    pub fn decode(frame: Bytes) -> Result<Option<Self>, DecodeError> {
        if frame.len() > FRAME_BYTES_MAX {
            return Err(DecodeError::TooLarge(frame.len()));
        }
        let message = wire::Message::decode(frame)?;
        let Some(wire::message::MessageType::Publish(publish)) = message.message_type else {
            return Ok(None);
        };
        let metadata_bytes: usize = message
            .metadata
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        if message.metadata.len() > METADATA_ENTRIES_MAX || metadata_bytes > METADATA_BYTES_MAX {
            return Err(DecodeError::Metadata);
        }
        let header = publish.header.ok_or(DecodeError::Missing("header"))?;
        let session = publish.session.ok_or(DecodeError::Missing("session header"))?;
        let kind = MessageKind::from_wire(session.session_message_type)?;
        let content = match publish.msg.and_then(|content| content.content_type) {
            Some(wire::content::ContentType::AppPayload(payload)) => Content::Application {
                payload_type: payload.payload_type,
                blob: payload.blob,
            },
            Some(wire::content::ContentType::CommandPayload(payload)) => {
                Content::Command(Command::from_wire(payload)?)
            }
            None => return Err(DecodeError::Missing("content")),
        };
        let fits = match &content {
            Content::Application { .. } => !kind.is_command(),
            Content::Command(command) => command.kind() == kind,
        };
        if !fits {
            return Err(DecodeError::Mismatch(kind));
        }
        Ok(Some(Self {
            source: FullName::from_wire(&header.source.ok_or(DecodeError::Missing("source"))?)?,
            destination: FullName::from_wire(
                &header.destination.ok_or(DecodeError::Missing("destination"))?,
            )?,
            identity: header.identity,
            fanout: header.fanout,
            version: header.version,
            ttl: header.ttl,
            error: header.error,
            header_signature: header.e2e_header_sig,
            session_kind: match wire::SessionType::try_from(session.session_type) {
                Ok(wire::SessionType::PointToPoint) => SessionKind::PointToPoint,
                Ok(wire::SessionType::Multicast) => SessionKind::Group,
                Ok(wire::SessionType::Unspecified) | Err(_) => {
                    return Err(DecodeError::Unknown {
                        what: "session type",
                        value: session.session_type,
                    });
                }
            },
            kind,
            session_id: session.session_id,
            message_id: session.message_id,
            metadata: message.metadata,
            content,
        }))
    }

    fn content_to_wire(&self) -> wire::Content {
        let content = match &self.content {
            Content::Application { payload_type, blob } => {
                wire::content::ContentType::AppPayload(wire::ApplicationPayload {
                    payload_type: payload_type.clone(),
                    blob: blob.clone(),
                })
            }
            Content::Command(command) => wire::content::ContentType::CommandPayload(command.to_wire()),
        };
        wire::Content {
            content_type: Some(content),
        }
    }
}

impl From<Command> for Content {
    fn from(command: Command) -> Self {
        Self::Command(command)
    }
}

pub(crate) fn session_type(kind: SessionKind) -> i32 {
    match kind {
        SessionKind::PointToPoint => wire::SessionType::PointToPoint,
        SessionKind::Group => wire::SessionType::Multicast,
    }
    .into()
}
