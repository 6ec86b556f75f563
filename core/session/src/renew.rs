//! The own identity, renewed while sessions run: a newer token from its issuer, or another key that signs tokens.
//!
//! Who we are stays: the subject, and the signature key that peers know from the encrypted group. The next message
//! carries the new token. Leaves in encrypted groups follow within a minute, each by a commit of its group, since
//! newcomers judge every leaf, and the key behind the old one may be on its way out.

use std::time::Duration;

use slim_auth::{Identity, IdentityError};
use slim_proto::Now;

use crate::endpoint::Endpoint;
use crate::session::Session;
use crate::shared::Shared;
use crate::timers::TimerKey;

/// Leaves are refreshed at the earliest so long after a renewal: a peer may be about to learn of a new key.
const REFRESH_AFTER: Duration = Duration::from_secs(10);
/// And spread over so much more, in milliseconds, so that the members of a group do not do it at once.
const REFRESH_SPREAD_MS: u64 = 50_000;

impl Endpoint {
    /// Uses this identity's tokens from now on: one of [`Identity::with_token`] or [`Identity::with_signer`]. One with
    /// another subject or signature key is refused, and nothing changes.
    pub fn use_identity(&mut self, now: Now, identity: Identity) -> Result<(), IdentityError> {
        let own = &self.shared.identity;
        let same_key = own.signing_key().public_key() == identity.signing_key().public_key();
        if own.subject() != identity.subject() || !same_key {
            return Err(IdentityError::OtherIdentity);
        }
        self.shared.use_identity(identity);
        for session in self.sessions.values() {
            session.refresh_soon(&mut self.shared, now);
        }
        Ok(())
    }
}

impl Session {
    /// Brings the refresh of the own leaf forward; a nearer one stays, or frequent renewals would put it off for ever.
    fn refresh_soon(&self, shared: &mut Shared, now: Now) {
        let Some(due) = shared.timers.deadline(self.id.0, &TimerKey::Refresh) else {
            return;
        };
        let spread = Duration::from_millis(shared.rng.below(REFRESH_SPREAD_MS));
        let soon = now.mono + REFRESH_AFTER + spread;
        if soon < due {
            shared.timers.set(self.id.0, TimerKey::Refresh, soon);
        }
    }
}
