//! What callers and their state machine say to each other: calls, what to send for them, and how they go.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use slim_proto::FullName;

use crate::status::Status;

/// Number of a call at its caller, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Number of a message at its caller, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNumber(pub u64);

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// One server, over a session one to one: whoever speaks in it.
    One,
    /// The members of a group, by names without id. Each answers for itself.
    Group(BTreeSet<FullName>),
}

/// How many requests a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Exactly one, given when it begins.
    Single,
    /// Any number.
    Stream,
}

/// What to call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallRequest {
    /// Fully-qualified protobuf service.
    pub service: String,
    /// Method.
    pub method: String,
    /// For the handler; keys of the protocol are refused. Travels in clear.
    pub metadata: BTreeMap<String, String>,
    /// `None`, and anything longer, is ten hours.
    pub timeout: Option<Duration>,
}

/// What the session must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerOutput {
    /// Which call it belongs to, for [`Caller::handle_publish_failed`](crate::Caller::handle_publish_failed).
    pub call: CallId,
    /// As [`Caller::send`](crate::Caller::send) returned it.
    pub number: RequestNumber,
    /// Serialised request, or nothing.
    pub payload: Bytes,
    /// Metadata of the message.
    pub metadata: BTreeMap<String, String>,
}

/// What happened to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallEvent {
    /// A response.
    Response {
        /// Which call.
        call: CallId,
        /// Who answered.
        source: FullName,
        /// Serialised response.
        payload: Bytes,
    },
    /// A member of a group finished, with success or not; the call goes on for the others.
    MemberEnded {
        /// Which call.
        call: CallId,
        /// Who.
        source: FullName,
        /// How.
        result: Result<(), Status>,
    },
    /// The group ended under the call; `Ended` follows.
    GroupClosed {
        /// Which call.
        call: CallId,
        /// Members that had finished, with success or not.
        completed: BTreeSet<FullName>,
        /// Members that had not.
        missing: BTreeSet<FullName>,
    },
    /// Nothing follows for this call.
    Ended {
        /// Which call.
        call: CallId,
        /// How. In a group it is a failure only if the call as a whole could not be finished.
        result: Result<(), Status>,
    },
}
