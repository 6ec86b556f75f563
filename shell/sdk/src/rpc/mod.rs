//! SlimRPC: calls over sessions (wire-session §7). What is said is decided by `slim-rpc`; here are the tasks that give it
//! messages and time, and the handles that applications hold.
//!
//! A client makes a [`Channel`] to one server, or a [`GroupChannel`] to several at once. A server registers methods on a
//! [`Server`] and serves. Requests and responses are serialised messages; generated stubs put types on top, by [`typed`].

mod call;
mod channel;
mod channel_task;
mod group_channel;
mod server;
mod server_task;
pub mod typed;

pub use call::{CallOptions, Requests, Responses};
pub use channel::Channel;
pub use group_channel::{GroupChannel, GroupResponse, GroupResponses};
pub use server::{Context, RequestStream, ResponseSink, Server, Shutdown};
pub use slim_rpc::{Code, MethodShape, Status, StopReason};
