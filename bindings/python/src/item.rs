//! What Python reads from a session: plain frozen records.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use pyo3::prelude::*;
use slim::{Item, SessionInfo, SessionKind};

use crate::name::{self, NameParts};

/// A received message.
#[pyclass(frozen, get_all)]
pub(crate) struct Message {
    source: NameParts,
    subject: String,
    payload_type: String,
    metadata: BTreeMap<String, String>,
    message_id: u32,
    direct: bool,
    payload: Cow<'static, [u8]>,
}

/// Messages of a member that are lost for good.
#[pyclass(frozen, get_all)]
pub(crate) struct Lost {
    sender: NameParts,
    first: u32,
    last: u32,
}

/// The roster changed; `change` is `joined`, `left`, `offline` or `online`.
#[pyclass(frozen, get_all)]
pub(crate) struct MembershipChange {
    member: NameParts,
    change: &'static str,
}

/// A member of a session.
#[pyclass(frozen, get_all)]
pub(crate) struct Member {
    name: NameParts,
    online: bool,
    is_moderator: bool,
    subject: Option<String>,
}

/// What is fixed about a session.
#[pyclass(frozen, get_all)]
pub(crate) struct SessionFacts {
    id: u32,
    is_group: bool,
    is_anycast: bool,
    source: NameParts,
    destination: NameParts,
    is_initiator: bool,
    interval_ms: Option<u64>,
    max_retries: Option<u32>,
    mls: bool,
    metadata: BTreeMap<String, String>,
}

/// One item of a session's inbox.
#[derive(IntoPyObject)]
pub(crate) enum Received {
    Message(Message),
    Lost(Lost),
    Membership(MembershipChange),
}

impl From<Item> for Received {
    fn from(item: Item) -> Self {
        match item {
            Item::Message(message) => Self::Message(Message {
                source: name::to_python(&message.source),
                subject: message.subject,
                payload_type: message.payload_type,
                metadata: message.metadata,
                message_id: message.message_id,
                direct: message.direct,
                payload: owned(message.payload),
            }),
            Item::Lost { sender, first, last } => Self::Lost(Lost {
                sender: name::to_python(&sender),
                first,
                last,
            }),
            Item::Membership { member, change } => Self::Membership(MembershipChange {
                member: name::to_python(&member),
                change: word(change),
            }),
        }
    }
}

impl From<slim::Member> for Member {
    fn from(member: slim::Member) -> Self {
        Self {
            name: name::to_python(&member.name),
            online: member.online,
            is_moderator: member.is_moderator,
            subject: member.subject,
        }
    }
}

impl From<SessionInfo> for SessionFacts {
    fn from(info: SessionInfo) -> Self {
        let interval = info
            .reliability
            .map(|reliability| reliability.interval.as_millis());
        Self {
            id: info.id.0,
            is_group: info.kind == SessionKind::Group,
            is_anycast: info.anycast,
            source: name::to_python(&info.source),
            destination: name::to_python(&info.destination),
            is_initiator: info.is_initiator,
            interval_ms: interval.map(|interval| u64::try_from(interval).unwrap_or(u64::MAX)),
            max_retries: info.reliability.map(|reliability| reliability.max_retries),
            mls: info.mls,
            metadata: info.metadata,
        }
    }
}

/// A payload that Python owns.
pub(crate) fn owned(payload: Bytes) -> Cow<'static, [u8]> {
    Cow::Owned(payload.into())
}

fn word(change: slim::MembershipChange) -> &'static str {
    match change {
        slim::MembershipChange::Joined => "joined",
        slim::MembershipChange::Left => "left",
        slim::MembershipChange::Offline => "offline",
        slim::MembershipChange::Online => "online",
    }
}
