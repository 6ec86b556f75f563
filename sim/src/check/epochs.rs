//! Groups agree: equal epoch, equal group (I3); roster and encrypted group have the same members (I13); only the
//! moderator makes epochs (I14); nobody reads an epoch in which it is no member (I5).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use slim_proto::{Instant, NameId};
use slim_session::{SessionId, SessionSnapshot};

/// A member that was added anew has the new group at once and its roster from the update that follows. The
/// moderator repeats that update; this covers the largest intervals that the seeds draw.
const ROSTER_LAG_MAX: Duration = Duration::from_secs(90);

/// What the first member in an epoch showed; the others must show the same.
#[derive(Debug)]
struct Epoch {
    authenticator: Vec<u8>,
    members: BTreeSet<String>,
    moderator: NameId,
}

/// Every epoch of every session.
#[derive(Debug, Default)]
pub(super) struct Epochs {
    known: BTreeMap<(SessionId, u64), Epoch>,
    /// Epochs that the moderator said it made; it may make several in one step.
    made: BTreeSet<(SessionId, u64)>,
    /// Members whose roster may lag behind, since when.
    rejoining: BTreeMap<(usize, SessionId), Instant>,
    differing: BTreeMap<(usize, SessionId), Instant>,
}

impl Epochs {
    pub(super) fn made(&mut self, session: SessionId, epoch: u64) {
        self.made.insert((session, epoch));
    }

    pub(super) fn rejoining(&mut self, now: Instant, app: usize, session: SessionId) {
        self.rejoining.insert((app, session), now);
    }

    /// Looks at a session after a step of its application.
    pub(super) fn look(
        &mut self,
        now: Instant,
        app: usize,
        is_moderator: bool,
        label: &str,
        snapshot: &SessionSnapshot,
    ) -> Result<(), String> {
        let session = snapshot.info.id;
        let (Some(epoch), Some(authenticator)) = (snapshot.epoch, &snapshot.epoch_authenticator) else {
            return Ok(());
        };
        let members: BTreeSet<String> = snapshot.mls_members.iter().cloned().collect();
        if members.len() != snapshot.mls_members.len() {
            return Err("I13: one identity has two leaves in the encrypted group".to_owned());
        }
        let Some(moderator) = snapshot.members.iter().find(|member| member.is_moderator) else {
            // The welcome is being refused, or the roster is not there yet.
            return Ok(());
        };
        let moderator = moderator.name.id();
        match self.known.get(&(session, epoch)) {
            None if !is_moderator && !self.made.contains(&(session, epoch)) => {
                return Err(format!("I14: epoch {epoch} was not made by the moderator"));
            }
            None => {
                let known = Epoch {
                    authenticator: authenticator.clone(),
                    members,
                    moderator,
                };
                self.known.insert((session, epoch), known);
            }
            Some(known) => {
                if known.authenticator != *authenticator {
                    return Err(format!("I3: epoch {epoch} has two authenticators"));
                }
                if known.members != members {
                    return Err(format!(
                        "I3: epoch {epoch} has the members {:?} and {members:?}",
                        known.members
                    ));
                }
                if known.moderator != moderator {
                    return Err(format!("I3: epoch {epoch} has two moderators"));
                }
            }
        }
        self.compare_roster(now, app, label, snapshot)
    }

    fn compare_roster(
        &mut self,
        now: Instant,
        app: usize,
        label: &str,
        snapshot: &SessionSnapshot,
    ) -> Result<(), String> {
        let key = (app, snapshot.info.id);
        if roster_is_tree(snapshot) {
            self.differing.remove(&key);
            return Ok(());
        }
        let since = *self.differing.entry(key).or_insert(now);
        let lag = now.saturating_since(since);
        if self.rejoining.contains_key(&key) && lag < ROSTER_LAG_MAX {
            return Ok(());
        }
        let roster: Vec<&str> = snapshot
            .members
            .iter()
            .map(|member| member.name.components()[2])
            .collect();
        Err(format!(
            "I13: {label} has the roster {roster:?} and the encrypted group {:?} for {} s",
            snapshot.mls_members,
            lag.as_secs()
        ))
    }

    /// A message that was sealed in `epoch` or later was opened by `subject`.
    pub(super) fn may_read(&self, session: SessionId, epoch: u64, subject: &str) -> Result<(), String> {
        match self.known.get(&(session, epoch)) {
            Some(known) if !known.members.contains(subject) => Err(format!(
                "I5: it was sealed in epoch {epoch}, in which the receiver was no member"
            )),
            Some(_) => Ok(()),
            // Over before anybody but the moderator was seen in it.
            None if self.made.contains(&(session, epoch)) => Ok(()),
            None => Err(format!("sealed in epoch {epoch}, which nobody made")),
        }
    }
}

/// True if the roster's names belong to the subjects in the tree, one to one.
pub(super) fn roster_is_tree(snapshot: &SessionSnapshot) -> bool {
    let tree: BTreeSet<NameId> = snapshot
        .mls_members
        .iter()
        .map(|subject| NameId::of_subject(subject))
        .collect();
    let roster: BTreeSet<NameId> = snapshot.members.iter().map(|member| member.name.id()).collect();
    tree == roster
}
