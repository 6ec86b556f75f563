//! What the router knows of a link: its class, its direction, its MAC key.

use std::fmt;

use slim_proto::control::ConnectionType;

use crate::key_agreement::MacKey;

/// A link of one router. The generation makes an id of a closed link never mean its successor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl LinkId {
    /// Not above any other, for the start of a range.
    pub(crate) const FIRST: Self = Self {
        slot: 0,
        generation: 0,
    };
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.slot, self.generation)
    }
}

/// What is behind a link, nearest first; a publish for one receiver prefers the nearest class.
///
/// Upstream's order is Local, Remote, Peer, Edge; it is invisible on the wire (wire-routing A8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkClass {
    /// An application in this process.
    Local,
    /// An application's node, or the routing node of this application.
    Edge,
    /// A replica of this node.
    Peer,
    /// A node of another domain.
    Remote,
}

impl LinkClass {
    /// Every class, nearest first.
    pub const ALL: [Self; 4] = [Self::Local, Self::Edge, Self::Peer, Self::Remote];

    /// True if frames of such links carry a header MAC (wire-routing A10).
    pub fn uses_mac(self) -> bool {
        match self {
            Self::Edge | Self::Remote => true,
            Self::Local | Self::Peer => false,
        }
    }
}

impl From<ConnectionType> for LinkClass {
    fn from(connection_type: ConnectionType) -> Self {
        match connection_type {
            ConnectionType::Edge => Self::Edge,
            ConnectionType::Peer => Self::Peer,
            ConnectionType::Remote => Self::Remote,
        }
    }
}

/// Who opened a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// This side.
    Dialed,
    /// The other side.
    Accepted,
    /// Nobody; the other end is in this process.
    InProcess,
}

/// A link after its handshake; the router sees no link before.
#[derive(Clone, Debug)]
pub struct LinkInfo {
    /// What is behind it.
    pub class: LinkClass,
    /// Who opened it.
    pub direction: Direction,
    /// Negotiated text; part of the MAC. Two links may have the same (wire-routing A11.2).
    pub link_id: String,
    /// Key of the header MAC, if one was agreed.
    pub mac_key: Option<MacKey>,
    /// True if frames without a valid MAC are refused in both directions.
    pub strict: bool,
}

impl LinkInfo {
    /// The link of an application in this process.
    pub fn local() -> Self {
        Self {
            class: LinkClass::Local,
            direction: Direction::InProcess,
            link_id: String::new(),
            mac_key: None,
            strict: false,
        }
    }

    /// True for the link of this process to its routing node: local subscriptions are announced on it, and it is
    /// the default route of local applications.
    pub fn is_uplink(&self) -> bool {
        self.class == LinkClass::Edge && self.direction == Direction::Dialed
    }
}
