//! SlimRPC: calls over sessions (wire-session §7). What is said is decided by `slim-rpc`; here are the tasks that give it
//! messages and time, and the handles that applications hold.
//!
//! A client makes a [`Channel`] to one server, or a [`GroupChannel`] to several at once. A server registers methods on a
//! [`Server`] and serves; [`Serving`] is the same for who runs handlers elsewhere. Requests and responses are serialised
//! messages; generated stubs put types on top, by [`typed`].

mod call;
mod channel;
mod channel_task;
mod group_channel;
mod served_call;
mod server;
mod server_task;
mod serving;
pub mod typed;

pub use call::{CallOptions, GroupClosed, Requests, Responses};
pub use channel::Channel;
pub use group_channel::{GroupChannel, GroupResponse, GroupResponses};
pub use served_call::{Context, IncomingCall, RequestStream, ResponseSink};
pub use server::{Server, Shutdown};
pub use serving::{Serving, ServingShutdown};
pub use slim_rpc::{Code, MethodShape, Status, StopReason};
