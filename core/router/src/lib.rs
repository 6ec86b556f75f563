//! Which link a frame goes to: handshake, subscriptions, forwarding.
//!
//! [`Router`] owns the tables of one node or one application process. Everything here is a state machine: time and
//! frames come in as values, frames to send come out of [`Router::poll_output`]. The hot path, [`forward`], is a
//! pure function over an immutable [`Fib`], so a node runs it on the thread of the link a frame came from.
//!
//! What a link may do is decided elsewhere (`slim-policy`) and enforced here: [`Router::handle_link_up_as`] and
//! [`Router::set_permissions`].
//!
//! Not here yet: announcements between the nodes of one deployment (peer links) or of several domains (remote
//! links). Such links are negotiated and forwarded to, but nothing is announced on them.

mod access;
mod acks;
mod announcements;
mod correspondents;
mod counters;
pub mod dialer;
pub mod egress;
mod fib;
mod forward;
pub mod handshake;
mod header_mac;
mod key_agreement;
mod link;
mod memberships;
mod preferences;
mod rate;
mod restore;
mod router;
mod semver;
mod session_kind;
mod subscriptions;
#[cfg(test)]
mod testing;
mod twins;

pub use counters::{Counters, DropReason};
pub use egress::EgressQueue;
pub use fib::Fib;
pub use forward::{Ingress, forward};
pub use handshake::{Acceptor, Dialer, HandshakeError, LocalNode, Negotiated, PeerRejection};
pub use key_agreement::MacKey;
pub use link::{Direction, LinkClass, LinkId, LinkInfo};
pub use preferences::RouteLimit;
pub use rate::Rate;
pub use router::{CloseReason, Output, RouteError, Router, RouterConfig};
