//! What works, and should be written differently.

use crate::place::Place;

/// Something the user should know although it works.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// An old key was used.
    #[error("{place}: {old:?} is the old name of this key; write {new:?}")]
    OldKey {
        /// Where.
        place: Place,
        /// The old name.
        old: &'static str,
        /// Today's name.
        new: &'static str,
    },
    /// A key that changes nothing.
    #[error("{place}: {reason}; remove the key")]
    NoEffect {
        /// Where.
        place: Place,
        /// Why it changes nothing.
        reason: &'static str,
    },
    /// A client does not check whom it talks to.
    #[error(
        "{place}: whoever answers is believed to be the node, and can read and change what passes; for tests only"
    )]
    Unverified {
        /// Where.
        place: Place,
    },
}
