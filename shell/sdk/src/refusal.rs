//! Identities that were not believed, as the application can look at them: the other side sees a time-out only.

use std::collections::VecDeque;

use slim_auth::AuthenticationError;
use slim_proto::FullName;

/// Refusals that an application can look at; older ones are only counted.
const REFUSALS_MAX: usize = 64;

/// An identity that was not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name that it claimed.
    pub peer: FullName,
    /// Why.
    pub error: AuthenticationError,
}

/// The latest refusals of an application, oldest first.
#[derive(Debug, Default)]
pub(crate) struct RecentRefusals(VecDeque<Refusal>);

impl RecentRefusals {
    pub(crate) fn push(&mut self, refusal: Refusal) {
        if self.0.len() >= REFUSALS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(refusal);
    }

    pub(crate) fn list(&self) -> Vec<Refusal> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use slim_auth::SignatureFailure;

    use super::*;

    #[test]
    fn of_many_refusals_the_latest_are_kept() {
        let mut recent = RecentRefusals::default();
        for number in 0..REFUSALS_MAX + 10 {
            recent.push(Refusal {
                peer: format!("org/ns/app{number}").parse().unwrap(),
                error: SignatureFailure::HeaderUnsigned.into(),
            });
        }
        let kept = recent.list();
        assert_eq!(kept.len(), REFUSALS_MAX);
        assert!(kept[0].peer.same_components(&"org/ns/app10".parse().unwrap()));
    }
}
