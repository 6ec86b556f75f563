//! How an application wants to be found and invited, and the invitations that it is asked about.

use std::fmt;
use std::sync::Arc;

use slim_auth::PayloadSignatures;
use slim_http::HttpOptions;
use slim_session::{Command, Direction, Invitation, InvitationPolicy};

use crate::app::AppHandle;
use crate::error::Error;

/// Settings of an application; a [`Direction`] alone is all defaults with that direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppOptions {
    /// Applies to sessions that others open; own sessions have their own setting.
    pub direction: Direction,
    /// Whose invitations are accepted.
    pub invitations: InvitationPolicy,
    /// How the issuers of tokens are asked for their keys, if the verifier does not have them.
    pub issuers: HttpOptions,
    /// Encrypt with the post-quantum MLS suite (ML-KEM-768 with X25519). All members of a session have to agree on
    /// that beforehand; an invitation of one that does not fails and says so. Only an identity with an Ed25519 key
    /// can: one made for this application is, a given one may be.
    pub pqc: bool,
    /// Members with the package 2.2.0 do not sign what their commands say; they can take part where it
    /// [may be absent](PayloadSignatures::MayBeAbsent). Each node on the path can then change the invitations and
    /// membership changes of every member, so one warning says so.
    pub payload_signatures: PayloadSignatures,
}

impl From<Direction> for AppOptions {
    fn from(direction: Direction) -> Self {
        Self {
            direction,
            ..Self::default()
        }
    }
}

/// An invitation that waits for the application's answer (`Inviters::Asked`). Without one it is refused after a
/// minute. The inviter is not told: it sees a time-out.
pub struct PendingInvitation {
    details: Invitation,
    app: Arc<AppHandle>,
}

impl PendingInvitation {
    pub(crate) fn new(details: Invitation, app: Arc<AppHandle>) -> Self {
        Self { details, app }
    }

    /// Who invites to what; the identity is verified.
    pub fn details(&self) -> &Invitation {
        &self.details
    }

    /// Joins. The session comes out of [`App::accept`](crate::App::accept) when the inviter has completed the join.
    pub async fn accept(self) -> Result<(), Error> {
        self.answer(true).await
    }

    /// Does not join.
    pub async fn decline(self) -> Result<(), Error> {
        self.answer(false).await
    }

    async fn answer(&self, accept: bool) -> Result<(), Error> {
        let command = Command::AnswerInvitation {
            invitation: self.details.id,
            accept,
        };
        self.app.requests.command(self.app.key(), command).await.map(drop)
    }
}

impl fmt::Debug for PendingInvitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PendingInvitation").field(&self.details).finish()
    }
}
