//! Settings that change while an application runs: the timers of a session, and what applies in the sessions that
//! others open.

use slim_proto::SessionKind;

use crate::api::{Direction, Reliability, SessionId};
use crate::endpoint::Endpoint;
use crate::error::CommandError;
use crate::session::Session;

/// What applies at this application in sessions that others open from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionDefaults {
    /// Told to the initiator when this application joins.
    pub direction: Direction,
    /// Period and repetitions of what this application sends in a reliable session; `None`: those of the initiator.
    pub timing: Option<Reliability>,
}

/// The defaults of both kinds; without, the application's direction and the initiator's timers apply.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Defaults {
    group: Option<SessionDefaults>,
    one_to_one: Option<SessionDefaults>,
}

impl Defaults {
    pub(crate) fn set(&mut self, kind: SessionKind, defaults: SessionDefaults) {
        match kind {
            SessionKind::Group => self.group = Some(defaults),
            SessionKind::PointToPoint => self.one_to_one = Some(defaults),
        }
    }

    fn of(&self, kind: SessionKind) -> Option<SessionDefaults> {
        match kind {
            SessionKind::Group => self.group,
            SessionKind::PointToPoint => self.one_to_one,
        }
    }

    /// Direction in a session that somebody opens.
    pub(crate) fn direction(&self, kind: SessionKind, of_application: Direction) -> Direction {
        self.of(kind)
            .map_or(of_application, |defaults| defaults.direction)
    }

    /// Timers in a session that somebody opens. Whether it is reliable is the initiator's choice: it must acknowledge.
    pub(crate) fn timing(&self, kind: SessionKind, of_initiator: Option<Reliability>) -> Option<Reliability> {
        let own = self.of(kind).and_then(|defaults| defaults.timing);
        of_initiator.map(|told| own.unwrap_or(told))
    }
}

impl Endpoint {
    /// New timers for what this application sends in a session from now on. Others keep theirs.
    pub(crate) fn reconfigure(
        &mut self,
        id: SessionId,
        reliability: Reliability,
    ) -> Result<(), CommandError> {
        if self.anycasts.contains(id.0) {
            return self.reconfigure_anycast(id, reliability);
        }
        let session = self.sessions.get_mut(&id.0);
        session
            .ok_or(CommandError::SessionUnknown(id))?
            .reconfigure(reliability)
    }
}

impl Session {
    fn reconfigure(&mut self, reliability: Reliability) -> Result<(), CommandError> {
        if self.reliability.is_none() {
            return Err(CommandError::NotReliable(self.id));
        }
        self.reliability = Some(reliability);
        Ok(())
    }
}
