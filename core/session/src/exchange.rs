//! A control request that is repeated until everybody asked has answered (wire-session §4.1, timer law).

use std::collections::BTreeSet;

use slim_proto::{FullName, Message, MessageKind};

use crate::api::Reliability;

/// Whose answers are waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Awaiting {
    /// One answer from any instance of this name (from that instance if the name has an id).
    AnyOf(FullName),
    /// One answer from each of these.
    All(BTreeSet<FullName>),
}

/// Why the request was sent; tells the session what to do with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Find an invitee.
    Discovery,
    /// Ask it to join.
    Join,
    /// Make it a member.
    Welcome,
    /// Tell the members of a change.
    Update,
    /// Tell a removed member to go.
    Evict,
    /// Leave a session of somebody else.
    Leave,
    /// End the own session.
    Close,
    /// Announce absence.
    Offline,
    /// Announce return.
    Online,
    /// Ask to be added anew.
    Rejoin,
    /// Give the welcome that was asked for.
    RejoinReply,
    /// Repeat updates that a member missed.
    Repair,
}

impl Purpose {
    /// The kinds of message that answer this request.
    pub(crate) fn is_answered_by(self, kind: MessageKind) -> bool {
        match self {
            Self::Discovery => kind == MessageKind::DiscoveryReply,
            Self::Join => kind == MessageKind::JoinReply,
            Self::Welcome | Self::Update | Self::Close | Self::Offline | Self::RejoinReply | Self::Repair => {
                kind == MessageKind::GroupAck
            }
            Self::Online => matches!(kind, MessageKind::GroupAck | MessageKind::GroupNack),
            Self::Evict | Self::Leave => kind == MessageKind::LeaveReply,
            Self::Rejoin => kind == MessageKind::RejoinReply,
        }
    }

    /// True if repetitions carry a new message id, because upstream's replay check would drop a repeated one
    /// (wire-session R1, R2). Any of the ids may be answered.
    pub(crate) fn repeats_with_fresh_ids(self) -> bool {
        matches!(
            self,
            Self::Join | Self::Welcome | Self::Rejoin | Self::Leave | Self::Evict
        )
    }
}

/// One outstanding request.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) purpose: Purpose,
    /// Unsigned; each transmission gets a new token and new signatures.
    pub(crate) message: Message,
    /// Every id under which it was sent.
    pub(crate) ids: Vec<u32>,
    pub(crate) awaiting: Awaiting,
    pub(crate) timing: Reliability,
    pub(crate) repeats: u32,
}

/// Effect of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Not an answer to this request.
    NotMine,
    /// Counted; others are still waited for.
    Waiting,
    /// That was the last one.
    Complete,
}

impl Exchange {
    /// Takes an answer.
    pub(crate) fn answer(&mut self, source: &FullName, id: u32, kind: MessageKind) -> Answered {
        if !self.purpose.is_answered_by(kind) || !self.ids.contains(&id) {
            return Answered::NotMine;
        }
        match &mut self.awaiting {
            Awaiting::AnyOf(name) => {
                let fits = if name.id().is_concrete() {
                    source == name
                } else {
                    source.same_components(name)
                };
                if fits {
                    Answered::Complete
                } else {
                    Answered::NotMine
                }
            }
            Awaiting::All(names) => {
                if !names.remove(source) {
                    return Answered::NotMine;
                }
                if names.is_empty() {
                    Answered::Complete
                } else {
                    Answered::Waiting
                }
            }
        }
    }

    /// Stops waiting for a member that is gone; true if nobody is left to wait for.
    pub(crate) fn forget(&mut self, name: &FullName) -> bool {
        match &mut self.awaiting {
            Awaiting::AnyOf(_) => false,
            Awaiting::All(names) => names.remove(name) && names.is_empty(),
        }
    }

    /// Those who have not answered.
    pub(crate) fn silent(&self) -> BTreeSet<FullName> {
        match &self.awaiting {
            Awaiting::AnyOf(_) => BTreeSet::new(),
            Awaiting::All(names) => names.clone(),
        }
    }
}
