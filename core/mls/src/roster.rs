//! Who is in the group, epoch by epoch.

use std::collections::BTreeMap;
use std::sync::Arc;

use slim_auth::Verified;

use crate::config::Config;
use crate::credential::{Accepted, Credentials, token_of};
use crate::error::CredentialError;

/// The members of one epoch by leaf index.
///
/// Rosters of past epochs are kept as long as their secrets, because a leaf index may belong to somebody else
/// by the time a late message arrives (wire-session R15).
#[derive(Clone, Debug)]
pub(crate) struct Roster {
    pub(crate) epoch: u64,
    leaves: BTreeMap<u32, Arc<Leaf>>,
}

#[derive(Debug)]
struct Leaf {
    token: Arc<str>,
    verified: Arc<Verified>,
}

impl Roster {
    /// Reads the library's tree; leaves that did not change since `previous` are taken from there.
    pub(crate) fn read(
        group: &mls_rs::Group<Config>,
        credentials: &Credentials,
        previous: Option<&Self>,
    ) -> Result<Self, CredentialError> {
        let mut leaves = BTreeMap::new();
        for member in group.roster().members_iter() {
            let token = token_of(&member.signing_identity)?;
            let known = previous
                .and_then(|roster| roster.leaves.get(&member.index))
                .filter(|leaf| *leaf.token == *token);
            let leaf = match known {
                Some(leaf) => Arc::clone(leaf),
                None => Arc::new(Leaf {
                    token: token.into(),
                    verified: credentials.read(&member.signing_identity)?,
                }),
            };
            leaves.insert(member.index, leaf);
        }
        Ok(Self {
            epoch: group.current_epoch(),
            leaves,
        })
    }

    pub(crate) fn at(&self, index: u32) -> Option<&Verified> {
        self.leaves.get(&index).map(|leaf| &*leaf.verified)
    }

    pub(crate) fn index_of(&self, subject: &str) -> Option<u32> {
        self.leaves
            .iter()
            .find(|(_, leaf)| leaf.verified.subject == subject)
            .map(|(index, _)| *index)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Verified> {
        self.leaves.values().map(|leaf| &*leaf.verified)
    }

    pub(crate) fn len(&self) -> usize {
        self.leaves.len()
    }

    /// The tokens in the tree and whose they are.
    pub(crate) fn accepted(&self) -> Accepted {
        let entry = |leaf: &Arc<Leaf>| (Arc::clone(&leaf.token), Arc::clone(&leaf.verified));
        self.leaves.values().map(entry).collect()
    }
}
