//! What is on the wire: names, frames, typed messages, limits and time types.
//!
//! Nodes look at frames through `HeaderView` and never decode a payload; endpoints use the typed
//! [`Message`]. Generated protobuf types do not leave this crate.

pub mod aad;
pub mod command;
pub mod control;
pub mod frame;
pub mod grpc;
pub mod header;
pub mod limits;
pub mod message;
pub mod name;
#[cfg(test)]
mod recordings;
pub mod splice;
pub mod structure;
pub mod time;
pub mod wire;

#[allow(
    missing_docs,
    unreachable_pub,
    unnameable_types,
    clippy::all,
    clippy::use_self,
    clippy::wildcard_enum_match_arm
)]
mod r#gen {
    //! prost output; `cargo xtask codegen` rewrites it.
    include!("gen/dataplane.rs");
}

pub use command::{Command, GroupUpdate, GroupUpdateOp, JoinReply, JoinRequest, Participant, TimerSettings};
pub use frame::{Frame, FrameError, FrameKind};
pub use header::{HeaderView, NameView};
pub use message::{Content, DecodeError, Message, MessageKind, SessionKind};
pub use name::{FullName, Name, NameError, NameId, Prefix};
pub use splice::Egress;
pub use time::{Instant, Now, UnixTime};
