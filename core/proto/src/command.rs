//! Typed command payloads (wire-session §0.1) and their conversion from and to the wire.

use bytes::Bytes;

use crate::r#gen as wire;
use crate::message::{DecodeError, MessageKind};
use crate::name::FullName;

/// The payload of a command message; the variant always matches the message kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Who serves this name?
    DiscoveryRequest,
    /// I do.
    DiscoveryReply,
    /// Join my session.
    JoinRequest(JoinRequest),
    /// I join.
    JoinReply(JoinReply),
    /// Leave my session, or (with metadata `LEAVING_SESSION`) I leave yours.
    LeaveRequest,
    /// Answer to a leave request.
    LeaveReply,
    /// Membership changed.
    GroupUpdate(GroupUpdate),
    /// You are a member now.
    GroupWelcome {
        /// The full roster, moderator and new member included.
        participants: Vec<Participant>,
        /// Welcome and commit id, in MLS sessions.
        mls: Option<MlsContent>,
    },
    /// The session ends.
    GroupClose {
        /// All members.
        participants: Vec<FullName>,
    },
    /// An MLS proposal; never sent, kept so that every recorded message decodes.
    GroupProposal {
        /// The proposer.
        source: FullName,
        /// The proposal.
        mls_proposal: Bytes,
    },
    /// Positive acknowledgement.
    GroupAck,
    /// Negative acknowledgement.
    GroupNack,
    /// I am here, in this epoch (`u64::MAX` without MLS).
    Heartbeat {
        /// Current MLS epoch.
        epoch: u64,
    },
    /// I go offline or come back.
    UpdateParticipantState {
        /// The sender itself.
        participant: FullName,
        /// True when it comes back.
        online: bool,
        /// Its MLS epoch, 0 without MLS.
        epoch: u64,
    },
    /// Let me in again with this key package.
    RejoinRequest {
        /// The sender itself.
        participant: FullName,
        /// A fresh key package.
        key_package: Bytes,
    },
    /// Welcome back.
    RejoinReply {
        /// Commit that re-added the member.
        commit_id: u32,
        /// The welcome.
        mls_content: Bytes,
    },
}

/// Settings that the moderator gives to an invitee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinRequest {
    /// Data timers; absent means unreliable.
    pub timer_settings: Option<TimerSettings>,
    /// Data channel (groups only).
    pub channel: Option<FullName>,
    /// Control channel (groups only).
    pub control: Option<FullName>,
    /// Present means MLS is on; the value is the share of headers to check, in percent.
    pub mls_header_check_percent: Option<u32>,
}

/// Retransmission settings of a reliable session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerSettings {
    /// Period in milliseconds.
    pub timeout_ms: u32,
    /// Number of retransmissions.
    pub max_retries: u32,
}

/// An invitee's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReply {
    /// Present in MLS sessions.
    pub key_package: Option<Bytes>,
    /// The invitee.
    pub participant: Participant,
}

/// A member as the roster on the wire shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Full name with id.
    pub name: FullName,
    /// True if the member publishes.
    pub sends_data: bool,
    /// True if the member receives (and acknowledges) data.
    pub receives_data: bool,
    /// Presence, as the moderator sees it.
    pub online: bool,
}

/// A commit or welcome with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MlsContent {
    /// The moderator's counter, 1 for its first commit.
    pub commit_id: u32,
    /// An MLSMessage.
    pub content: Bytes,
}

/// What a group update does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupUpdateOp {
    /// A member joined.
    Add,
    /// A member is gone.
    Remove,
    /// A member was removed and added in one commit.
    Rejoin,
}

/// A membership change as told to the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupUpdate {
    /// What happened.
    pub op: GroupUpdateOp,
    /// To whom.
    pub participant: Participant,
    /// The roster (after an add, before a remove).
    pub participants: Vec<Participant>,
    /// The commit, in MLS sessions.
    pub mls: Option<MlsContent>,
}

impl Command {
    /// The message kind that carries this payload.
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::DiscoveryRequest => MessageKind::DiscoveryRequest,
            Self::DiscoveryReply => MessageKind::DiscoveryReply,
            Self::JoinRequest(_) => MessageKind::JoinRequest,
            Self::JoinReply(_) => MessageKind::JoinReply,
            Self::LeaveRequest => MessageKind::LeaveRequest,
            Self::LeaveReply => MessageKind::LeaveReply,
            Self::GroupUpdate(_) => MessageKind::GroupUpdate,
            Self::GroupWelcome { .. } => MessageKind::GroupWelcome,
            Self::GroupClose { .. } => MessageKind::GroupClose,
            Self::GroupProposal { .. } => MessageKind::GroupProposal,
            Self::GroupAck => MessageKind::GroupAck,
            Self::GroupNack => MessageKind::GroupNack,
            Self::Heartbeat { .. } => MessageKind::Heartbeat,
            Self::UpdateParticipantState { .. } => MessageKind::UpdateParticipantState,
            Self::RejoinRequest { .. } => MessageKind::RejoinRequest,
            Self::RejoinReply { .. } => MessageKind::RejoinReply,
        }
    }

    pub(crate) fn to_wire(&self) -> wire::CommandPayload {
        use wire::command_payload::CommandPayloadType as W;
        let payload = match self {
            Self::DiscoveryRequest => W::DiscoveryRequest(wire::DiscoveryRequestPayload {}),
            Self::DiscoveryReply => W::DiscoveryReply(wire::DiscoveryReplyPayload {}),
            Self::JoinRequest(join) => W::JoinRequest(wire::JoinRequestPayload {
                timer_settings: join.timer_settings.map(|timers| wire::TimerSettings {
                    timeout: timers.timeout_ms,
                    max_retries: timers.max_retries,
                }),
                channel: join.channel.as_ref().map(FullName::to_wire),
                control: join.control.as_ref().map(FullName::to_wire),
                mls_settings: join.mls_header_check_percent.map(|percent| wire::MlsSettings {
                    header_integrity_validation_percent: percent,
                }),
            }),
            Self::JoinReply(reply) => W::JoinReply(wire::JoinReplyPayload {
                key_package: reply.key_package.clone(),
                participant: Some(reply.participant.to_wire()),
            }),
            Self::LeaveRequest => W::LeaveRequest(wire::LeaveRequestPayload {}),
            Self::LeaveReply => W::LeaveReply(wire::LeaveReplyPayload {}),
            Self::GroupUpdate(update) => W::GroupUpdate(wire::GroupUpdatePayload {
                op: match update.op {
                    GroupUpdateOp::Add => wire::GroupUpdateOp::Add,
                    GroupUpdateOp::Remove => wire::GroupUpdateOp::Remove,
                    GroupUpdateOp::Rejoin => wire::GroupUpdateOp::Rejoin,
                }
                .into(),
                participant: Some(update.participant.to_wire()),
                participants: update.participants.iter().map(Participant::to_wire).collect(),
                mls: update.mls.as_ref().map(MlsContent::to_wire),
            }),
            Self::GroupWelcome { participants, mls } => W::GroupWelcome(wire::GroupWelcomePayload {
                participants: participants.iter().map(Participant::to_wire).collect(),
                mls: mls.as_ref().map(MlsContent::to_wire),
            }),
            Self::GroupClose { participants } => W::GroupClose(wire::GroupClosePayload {
                participants: participants.iter().map(FullName::to_wire).collect(),
            }),
            Self::GroupProposal { source, mls_proposal } => W::GroupProposal(wire::GroupProposalPayload {
                source: Some(source.to_wire()),
                mls_proposal: mls_proposal.clone(),
            }),
            Self::GroupAck => W::GroupAck(wire::GroupAckPayload {}),
            Self::GroupNack => W::GroupNack(wire::GroupNackPayload {}),
            Self::Heartbeat { epoch } => W::Heartbeat(wire::HeartbeatPayload { epoch: *epoch }),
            Self::UpdateParticipantState {
                participant,
                online,
                epoch,
            } => W::UpdateParticipantState(wire::UpdateParticipantStatePayload {
                participant: Some(participant.to_wire()),
                new_state: participant_state(*online),
                epoch: *epoch,
            }),
            Self::RejoinRequest {
                participant,
                key_package,
            } => W::RejoinRequest(wire::RejoinRequestPayload {
                participant: Some(participant.to_wire()),
                key_package: key_package.clone(),
            }),
            Self::RejoinReply {
                commit_id,
                mls_content,
            } => W::RejoinReply(wire::RejoinReplyPayload {
                commit_id: *commit_id,
                mls_content: mls_content.clone(),
            }),
        };
        wire::CommandPayload {
            command_payload_type: Some(payload),
        }
    }

    pub(crate) fn from_wire(payload: wire::CommandPayload) -> Result<Self, DecodeError> {
        use wire::command_payload::CommandPayloadType as W;
        Ok(
            match payload
                .command_payload_type
                .ok_or(DecodeError::Missing("command payload"))?
            {
                W::DiscoveryRequest(_) => Self::DiscoveryRequest,
                W::DiscoveryReply(_) => Self::DiscoveryReply,
                W::JoinRequest(join) => Self::JoinRequest(JoinRequest {
                    timer_settings: join.timer_settings.map(|timers| TimerSettings {
                        timeout_ms: timers.timeout,
                        max_retries: timers.max_retries,
                    }),
                    channel: join.channel.as_ref().map(FullName::from_wire).transpose()?,
                    control: join.control.as_ref().map(FullName::from_wire).transpose()?,
                    mls_header_check_percent: join
                        .mls_settings
                        .map(|settings| settings.header_integrity_validation_percent),
                }),
                W::JoinReply(reply) => Self::JoinReply(JoinReply {
                    key_package: reply.key_package,
                    participant: Participant::from_wire(reply.participant)?,
                }),
                W::LeaveRequest(_) => Self::LeaveRequest,
                W::LeaveReply(_) => Self::LeaveReply,
                W::GroupUpdate(update) => Self::GroupUpdate(GroupUpdate {
                    op: match wire::GroupUpdateOp::try_from(update.op) {
                        Ok(wire::GroupUpdateOp::Add) => GroupUpdateOp::Add,
                        Ok(wire::GroupUpdateOp::Remove) => GroupUpdateOp::Remove,
                        Ok(wire::GroupUpdateOp::Rejoin) => GroupUpdateOp::Rejoin,
                        Err(_) => {
                            return Err(DecodeError::Unknown {
                                what: "group update operation",
                                value: update.op,
                            });
                        }
                    },
                    participant: Participant::from_wire(update.participant)?,
                    participants: participants(update.participants)?,
                    mls: update.mls.map(MlsContent::from_wire),
                }),
                W::GroupWelcome(welcome) => Self::GroupWelcome {
                    participants: participants(welcome.participants)?,
                    mls: welcome.mls.map(MlsContent::from_wire),
                },
                W::GroupClose(close) => Self::GroupClose {
                    participants: close
                        .participants
                        .iter()
                        .map(FullName::from_wire)
                        .collect::<Result<_, _>>()?,
                },
                W::GroupProposal(proposal) => Self::GroupProposal {
                    source: name(proposal.source)?,
                    mls_proposal: proposal.mls_proposal,
                },
                W::GroupAck(_) => Self::GroupAck,
                W::GroupNack(_) => Self::GroupNack,
                W::Heartbeat(heartbeat) => Self::Heartbeat {
                    epoch: heartbeat.epoch,
                },
                W::UpdateParticipantState(update) => Self::UpdateParticipantState {
                    participant: name(update.participant)?,
                    online: is_online(update.new_state)?,
                    epoch: update.epoch,
                },
                W::RejoinRequest(request) => Self::RejoinRequest {
                    participant: name(request.participant)?,
                    key_package: request.key_package,
                },
                W::RejoinReply(reply) => Self::RejoinReply {
                    commit_id: reply.commit_id,
                    mls_content: reply.mls_content,
                },
            },
        )
    }
}

impl Participant {
    fn to_wire(&self) -> wire::Participant {
        wire::Participant {
            name: Some(self.name.to_wire()),
            settings: Some(wire::ParticipantSettings {
                sends_data: self.sends_data,
                receives_data: self.receives_data,
            }),
            status: participant_state(self.online),
        }
    }

    fn from_wire(participant: Option<wire::Participant>) -> Result<Self, DecodeError> {
        let participant = participant.ok_or(DecodeError::Missing("participant"))?;
        let settings = participant
            .settings
            .ok_or(DecodeError::Missing("participant settings"))?;
        Ok(Self {
            name: name(participant.name)?,
            sends_data: settings.sends_data,
            receives_data: settings.receives_data,
            online: is_online(participant.status)?,
        })
    }
}

impl MlsContent {
    fn to_wire(&self) -> wire::MlsPayload {
        wire::MlsPayload {
            commit_id: self.commit_id,
            mls_content: self.content.clone(),
        }
    }

    fn from_wire(payload: wire::MlsPayload) -> Self {
        Self {
            commit_id: payload.commit_id,
            content: payload.mls_content,
        }
    }
}

fn participants(list: Vec<wire::Participant>) -> Result<Vec<Participant>, DecodeError> {
    list.into_iter()
        .map(|participant| Participant::from_wire(Some(participant)))
        .collect()
}

fn name(name: Option<wire::Name>) -> Result<FullName, DecodeError> {
    Ok(FullName::from_wire(&name.ok_or(DecodeError::Missing("name"))?)?)
}

fn participant_state(online: bool) -> i32 {
    if online {
        wire::ParticipantState::Online
    } else {
        wire::ParticipantState::Offline
    }
    .into()
}

fn is_online(state: i32) -> Result<bool, DecodeError> {
    match wire::ParticipantState::try_from(state) {
        Ok(wire::ParticipantState::Online) => Ok(true),
        Ok(wire::ParticipantState::Offline) => Ok(false),
        Err(_) => Err(DecodeError::Unknown {
            what: "participant state",
            value: state,
        }),
    }
}
