//! What an application endpoint says: discovery, sessions, moderation, control signatures, reliability.
//!
//! [`Endpoint`] is one application: one name, one identity, many sessions. It is a plain state machine: give
//! it frames, commands and time, then drain `poll_transmit` and `poll_event` before the next input, and call
//! `handle_timeout` when `poll_timeout` says so. Nothing here is async, reads a clock or opens a socket.
//!
//! The wire rules are those of the session document; its section numbers are cited where they apply.

mod anycast;
mod api;
mod close;
mod control;
mod data;
mod delivered;
mod endpoint;
mod epochs;
mod error;
mod exchange;
mod invitations;
mod invite;
mod not_entered;
mod participant;
mod presence;
mod publish;
mod receive;
mod rejoin;
mod rejoin_ack;
mod remove;
mod renew;
mod replay;
mod roster;
mod send;
mod seq;
mod session;
mod settings;
mod shared;
mod timers;
mod verify;

pub use anycast::AnycastConfig;
pub use api::{
    CloseReason, Command, Counters, Direction, EndpointConfig, Event, Member, MembershipChange, MissReason,
    Outcome, PublishOutcome, Received, Reliability, SessionConfig, SessionId, SessionInfo, SessionSnapshot,
    Ticket,
};
pub use endpoint::Endpoint;
pub use error::{CommandError, InviteStep, OperationError};
pub use invitations::{
    Invitation, InvitationId, InvitationPolicy, InvitationRefusal, Inviters, SubjectPattern,
};
pub use settings::SessionDefaults;
pub use verify::Request;
