//! SlimRPC: unary and streaming calls between applications, over sessions (wire-session §7).
//!
//! Two state machines: [`Caller`], the client's side of one channel (a session to one server, or a group of servers),
//! and [`Responder`], the server's side of all sessions. Both are given messages, results and time, and say what to
//! publish and what to tell their user. Payloads are the serialised messages of the application; nothing here looks
//! into them.
//!
//! The wire of upstream has no cancellation, no flow control and no details of errors. Metadata, the status code included, travels
//! in clear and is not authenticated by MLS (W5): a node can change it. The sender of a message is authentic.

mod call;
mod caller;
mod metadata;
mod responder;
mod status;

pub use call::{CallEvent, CallId, CallRequest, CallerOutput, Peers, RequestNumber, Shape};
pub use caller::Caller;
pub use metadata::{CANCEL, CODE, DIRECTION, METHOD, RESERVED, RPC_ID, SERVICE, TIMEOUT};
pub use responder::{
    Incoming, MethodShape, Responder, ResponderOutput, ServedCall, ServedCallId, ServerEvent, SessionKey,
    StopReason,
};
pub use status::{Code, Status};
