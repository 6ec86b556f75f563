//! Older links that are not served: their call stays open, and nothing is said on it.
//!
//! Applications of 1.x dial again at once, for ever, when a node ends their link, hundreds of times in ten seconds
//! (wire-1x X7). So a link that is refused is held still for a minute and then ended: each application dials once a
//! minute. A held link costs a connection and what its peer's first window holds; only so many are held.

use std::fmt;
use std::sync::PoisonError;

use slim_net::{FrameReader, LinkEnd, Status};
use slim_older::Dialect;
use slim_proto::limits::OLDER_HELD_TIME;
use tokio::task::yield_now;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::link_driver::FRAMES_PER_TURN;
use crate::older::driver::Arrival;
use crate::service::Shared;

/// Why a link is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// The listener is set so.
    Listener(Dialect),
    /// The service has rules, and they do not let the link do everything.
    Rules(Dialect),
    /// A generation that no listener serves.
    V0_6,
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listener(dialect) => write!(
                f,
                "its application is of {}, and the listener has legacy: false or enforce_pqc: true",
                dialect.name()
            ),
            Self::Rules(dialect) => write!(
                f,
                "its application is of {}, whose names the authorization rules cannot check; give its identity a rule \
                 with \"**\" for subscribe, publish and invite, or update the application",
                dialect.name()
            ),
            Self::V0_6 => {
                f.write_str("its application is of 0.6, which is not served; update the application")
            }
        }
    }
}

/// Holds a link still until its peer ends it, its time is over, or the node stops.
pub(crate) async fn hold(shared: &Shared, why: Unserved, arrival: Arrival) {
    let Arrival {
        peer,
        mut reader,
        writer,
        ..
    } = arrival;
    let place = shared.older.places.try_acquire();
    shared.totals.update(|totals| match place {
        Ok(_) => totals.older.links_held += 1,
        Err(_) => totals.older.links_turned_away += 1,
    });
    let due = {
        let mut log = shared.older.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.is_due(shared.clock.monotonic())
    };
    if let Some(not_logged) = due {
        warn!(%peer, not_logged, "a link is not served: {why}");
    }
    if place.is_ok() {
        reader.accept_large_frames();
        tokio::select! {
            end = unheard(&mut reader) => debug!(%peer, reason = %end, "held link ended"),
            () = sleep(OLDER_HELD_TIME) => debug!(%peer, "held link ended: its time is over"),
            () = shared.draining() => {}
        }
    }
    writer.finish(&Status::ok());
}

/// Reads on, so that the peer's end is noticed, and drops what comes.
async fn unheard(reader: &mut FrameReader) -> LinkEnd {
    loop {
        for _ in 0..FRAMES_PER_TURN {
            if let Err(end) = reader.next().await {
                return end;
            }
        }
        yield_now().await;
    }
}
