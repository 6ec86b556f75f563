//! Link negotiation, dialer and acceptor, as states that their one step consumes (wire-routing A4, A5.1).
//!
//! The X25519 key pair comes from outside, so the caller decides about its randomness; ML-KEM takes no seed and
//! draws its own. A dialer offers ML-KEM only when it enforces post-quantum keys; an acceptor answers an offer
//! always, whether it enforces them or not.

use bytes::Bytes;
use slim_crypto::{
    AgreementError, EphemeralKey, KEM_CIPHERTEXT_BYTES, KEM_PUBLIC_KEY_BYTES, KemError, KemKey, encapsulate,
};
use slim_proto::control::{ConnectionType, LinkNegotiation};
use slim_proto::limits::{LINK_ID_BYTES_MAX, NEGOTIATION_TIMEOUT};
use slim_proto::message::VERSION;
use slim_proto::{DecodeError, Frame, FrameError, FrameKind, Instant, Now};

use crate::key_agreement::MacKey;
use crate::link::{Direction, LinkInfo};
use crate::semver::is_strict_version;

/// Length of a raw X25519 public key.
const PUBLIC_KEY_BYTES: usize = 32;

/// How this side introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalNode {
    /// Unique name of the node; peers with the same one refuse each other.
    pub node_id: String,
    /// Peer group, may be empty.
    pub deployment_name: String,
    /// Refuse links without a header MAC (wire-routing A4.5: upstream's default is true on both sides).
    pub require_header_mac: bool,
    /// Refuse links whose key does not resist quantum computers (wire-routing A4.2, A4.3). Implies a header MAC:
    /// its key is what is agreed on.
    pub enforce_pqc: bool,
}

impl LocalNode {
    /// Links without a MAC key are refused.
    fn is_strict(&self) -> bool {
        self.require_header_mac || self.enforce_pqc
    }
}

/// Why a negotiation failed. The link is closed without telling the other side why (wire-routing A4.3).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The first message is not a Link message.
    #[error("expected a link negotiation, got {0:?}")]
    NotLink(FrameKind),
    /// The first message is not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first message does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A reply where a request belongs, or the reverse.
    #[error("link negotiation has is_reply = {got}")]
    Direction {
        /// What the message says.
        got: bool,
    },
    /// The version is not a strict semantic version.
    #[error("version {0:?} is not MAJOR.MINOR.PATCH")]
    Version(String),
    /// The link id is empty or longer than [`LINK_ID_BYTES_MAX`].
    #[error("link id of {0} bytes; 1 to {LINK_ID_BYTES_MAX} are allowed")]
    LinkIdLength(usize),
    /// The reply has another link id than the request.
    #[error("reply for link {got:?}, expected {expected:?}")]
    LinkId {
        /// What was sent.
        expected: String,
        /// What came back.
        got: String,
    },
    /// The strict policy is on and the peer sent no usable key; set `require_header_mac: false` to allow that.
    #[error("public key of {0} bytes; the header MAC is required and needs 32")]
    KeyLength(usize),
    /// The peer's key gives no secret.
    #[error("key agreement failed: {0}")]
    Agreement(#[from] AgreementError),
    /// The peer's part of the key encapsulation gives no secret.
    #[error("key encapsulation failed: {0}")]
    Kem(#[from] KemError),
    /// This side enforces post-quantum keys and the peer knows only classical ones.
    #[error(
        "the peer offers no post-quantum key, which enforce_pqc demands here; set enforce_pqc there too, or take \
         it away here"
    )]
    Classical,
}

/// Why a negotiated peer link is closed again, with status PERMISSION_DENIED and this text (wire-routing A4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerRejection {
    /// The peer is this node.
    #[error("self-connection rejected: same node_id")]
    SelfConnection,
    /// The peer belongs to another deployment.
    #[error("deployment_name mismatch")]
    DeploymentName,
}

/// The result of a negotiation.
#[derive(Clone, Debug)]
pub struct Negotiated {
    /// The link id of both sides.
    pub link_id: String,
    /// As requested (acceptor) or replied (dialer).
    pub connection_type: ConnectionType,
    /// Key of the header MAC, if one was agreed.
    pub mac_key: Option<MacKey>,
    /// This side's policy.
    pub strict: bool,
    /// Release of the other side.
    pub remote_version: String,
    /// Node id of the other side, may be empty.
    pub remote_node_id: String,
    /// Peer group of the other side, may be empty.
    pub remote_deployment_name: String,
}

impl Negotiated {
    /// What the router needs to know of the link.
    pub fn into_link_info(self, direction: Direction) -> LinkInfo {
        LinkInfo {
            class: self.connection_type.into(),
            direction,
            link_id: self.link_id,
            mac_key: self.mac_key,
            strict: self.strict,
        }
    }

    /// The checks of peer links, made after the reply was sent; other links always pass.
    pub fn check_peer(&self, own: &LocalNode) -> Result<(), PeerRejection> {
        if self.connection_type != ConnectionType::Peer {
            return Ok(());
        }
        if self.remote_node_id == own.node_id {
            return Err(PeerRejection::SelfConnection);
        }
        if !own.deployment_name.is_empty() && self.remote_deployment_name != own.deployment_name {
            return Err(PeerRejection::DeploymentName);
        }
        Ok(())
    }
}

/// The dialing side: the request is sent, the reply is awaited.
#[derive(Debug)]
pub struct Dialer {
    link_id: String,
    strict: bool,
    key: EphemeralKey,
    /// Present if post-quantum keys are enforced.
    kem_key: Option<KemKey>,
    deadline: Instant,
}

impl Dialer {
    /// Begins a negotiation; send the frame at once. `link_id` must not be empty and stays the same when the
    /// link is dialed again.
    pub fn start(
        now: Now,
        own: &LocalNode,
        link_id: impl Into<String>,
        connection_type: ConnectionType,
        key: EphemeralKey,
    ) -> (Self, Frame) {
        let link_id = link_id.into();
        let kem_key = own.enforce_pqc.then(KemKey::generate);
        let request = LinkNegotiation {
            link_id: link_id.clone(),
            version: VERSION.to_owned(),
            is_reply: false,
            public_key: Bytes::copy_from_slice(&key.public()),
            connection_type,
            node_id: own.node_id.clone(),
            deployment_name: own.deployment_name.clone(),
            kem_payload: kem_key.as_ref().map(|key| Bytes::copy_from_slice(key.public())),
        }
        .encode();
        let dialer = Self {
            link_id,
            strict: own.is_strict(),
            key,
            kem_key,
            deadline: now.mono + NEGOTIATION_TIMEOUT,
        };
        (dialer, request)
    }

    /// When to give up.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes the first frame of the acceptor.
    pub fn handle_reply(self, frame: &Frame) -> Result<Negotiated, HandshakeError> {
        let reply = read(frame, true)?;
        if reply.link_id != self.link_id {
            return Err(HandshakeError::LinkId {
                expected: self.link_id,
                got: reply.link_id,
            });
        }
        // Who did not ask for a ciphertext does not look at one (Part C, open points).
        let kem_secret = match self.kem_key {
            None => None,
            Some(key) => match reply.kem_payload.as_deref() {
                Some(ciphertext) if ciphertext.len() == KEM_CIPHERTEXT_BYTES => {
                    Some(key.decapsulate(ciphertext)?)
                }
                Some(_) | None => return Err(HandshakeError::Classical),
            },
        };
        let mac_key = match reply.public_key.len() {
            // A failing agreement is fatal here even when the policy is not strict (wire-routing A4.2).
            PUBLIC_KEY_BYTES => Some(match &kem_secret {
                Some(secret) => MacKey::agree_hybrid(self.key, &reply.public_key, secret, &self.link_id)?,
                None => MacKey::agree(self.key, &reply.public_key, &self.link_id)?,
            }),
            length if self.strict => return Err(HandshakeError::KeyLength(length)),
            _ => None,
        };
        Ok(negotiated(reply, mac_key, self.strict))
    }
}

/// The accepting side: the request is awaited.
#[derive(Clone, Debug)]
pub struct Acceptor {
    own: LocalNode,
    deadline: Instant,
}

impl Acceptor {
    /// Begins to wait.
    pub fn new(now: Now, own: LocalNode) -> Self {
        Self {
            own,
            deadline: now.mono + NEGOTIATION_TIMEOUT,
        }
    }

    /// When to give up.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes the first frame of the dialer. On success, send the returned reply before anything else, then make
    /// [`Negotiated::check_peer`].
    pub fn handle_request(
        self,
        frame: &Frame,
        key: EphemeralKey,
    ) -> Result<(Negotiated, Frame), HandshakeError> {
        let request = read(frame, false)?;
        let strict = self.own.is_strict();
        let own_public = Bytes::copy_from_slice(&key.public());
        let offer = request
            .kem_payload
            .as_deref()
            .filter(|offer| offer.len() == KEM_PUBLIC_KEY_BYTES);
        if self.own.enforce_pqc && offer.is_none() {
            return Err(HandshakeError::Classical);
        }
        let agreed = match request.public_key.len() {
            PUBLIC_KEY_BYTES => match agree(key, &request, offer) {
                Ok(agreed) => Some(agreed),
                Err(error) if strict => return Err(error),
                Err(_) => None,
            },
            length if strict => return Err(HandshakeError::KeyLength(length)),
            _ => None,
        };
        let (mac_key, kem_payload) = match agreed {
            Some(Agreed { mac_key, ciphertext }) => (Some(mac_key), ciphertext),
            None => (None, None),
        };
        let reply = LinkNegotiation {
            link_id: request.link_id.clone(),
            version: VERSION.to_owned(),
            is_reply: true,
            public_key: if mac_key.is_some() {
                own_public
            } else {
                Bytes::new()
            },
            // Echoed; a type left at 0 would make an edge client never reconnect (wire-routing C4).
            connection_type: request.connection_type,
            node_id: self.own.node_id,
            deployment_name: self.own.deployment_name,
            kem_payload,
        }
        .encode();
        Ok((negotiated(request, mac_key, strict), reply))
    }
}

/// What an acceptor gets of a dialer's keys.
struct Agreed {
    mac_key: MacKey,
    /// For the dialer, if it offered ML-KEM.
    ciphertext: Option<Bytes>,
}

fn agree(
    own: EphemeralKey,
    request: &LinkNegotiation,
    offer: Option<&[u8]>,
) -> Result<Agreed, HandshakeError> {
    let (peer_public, link_id) = (&request.public_key, &request.link_id);
    let Some(offer) = offer else {
        return Ok(Agreed {
            mac_key: MacKey::agree(own, peer_public, link_id)?,
            ciphertext: None,
        });
    };
    let (ciphertext, secret) = encapsulate(offer)?;
    Ok(Agreed {
        mac_key: MacKey::agree_hybrid(own, peer_public, &secret, link_id)?,
        ciphertext: Some(ciphertext.into()),
    })
}

/// The checks that both sides make.
fn read(frame: &Frame, is_reply: bool) -> Result<LinkNegotiation, HandshakeError> {
    let kind = frame.kind()?;
    let negotiation = LinkNegotiation::decode(frame)?.ok_or(HandshakeError::NotLink(kind))?;
    if negotiation.is_reply != is_reply {
        return Err(HandshakeError::Direction {
            got: negotiation.is_reply,
        });
    }
    if !is_strict_version(&negotiation.version) {
        return Err(HandshakeError::Version(negotiation.version));
    }
    if !(1..=LINK_ID_BYTES_MAX).contains(&negotiation.link_id.len()) {
        return Err(HandshakeError::LinkIdLength(negotiation.link_id.len()));
    }
    Ok(negotiation)
}

fn negotiated(remote: LinkNegotiation, mac_key: Option<MacKey>, strict: bool) -> Negotiated {
    Negotiated {
        link_id: remote.link_id,
        connection_type: remote.connection_type,
        mac_key,
        strict,
        remote_version: remote.version,
        remote_node_id: remote.node_id,
        remote_deployment_name: remote.deployment_name,
    }
}

#[cfg(test)]
mod tests;
