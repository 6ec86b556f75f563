//! What is weak about an older wire, said once per dialect and process: loud enough to be read, and no more.

use std::sync::Once;

use slim_net::PeerAddress;
use slim_older::Dialect;
use tracing::warn;

static V0_4: Once = Once::new();
static V1: Once = Once::new();

/// Warns when the first link of a dialect is served.
pub(crate) fn weaknesses(dialect: Dialect, peer: PeerAddress) {
    let (said, weak) = match dialect {
        Dialect::V0_4 => (
            &V0_4,
            "its messages carry the shared secret of their group in clear text, nothing is signed from end to end, and \
             frames have neither tags nor a hop budget: whoever reads the path, this node included, can join and rule \
             its groups",
        ),
        Dialect::V1 => (
            &V1,
            "nothing is signed from end to end, and frames have neither tags nor a hop budget: whoever can write on the \
             path, this node included, can invite, remove and end sessions in the name of others",
        ),
    };
    said.call_once(|| {
        warn!(
            %peer,
            "first link of {}, an older wire: {weak}. Its applications are served among themselves; update them, or \
             refuse them with legacy: false on the listener",
            dialect.name()
        );
    });
}
