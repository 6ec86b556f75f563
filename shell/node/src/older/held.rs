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
        tokio::select! {
            end = unheard(&mut reader) => debug!(%peer, reason = %end, "held link ended"),
            () = sleep(OLDER_HELD_TIME) => debug!(%peer, "held link ended: its time is over"),
            () = shared.draining() => {}
        }
    }
    writer.finish(&Status::ok());
}

/// Reads on, so that the peer's end is noticed, and drops what comes. A large message is not read: no memory is kept
/// for it, and the peer's window stays closed from there on.
async fn unheard(reader: &mut FrameReader) -> LinkEnd {
    loop {
        for _ in 0..FRAMES_PER_TURN {
            match reader.next().await {
                Ok(_) => {}
                Err(LinkEnd::Deframe(_)) => std::future::pending().await,
                Err(end) => return end,
            }
        }
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use bytes::Bytes;
    use slim_config::{ClientConfig, ServerConfig};
    use slim_net::{Dialed, dial};
    use slim_proto::limits::OLDER_HELD_MAX;
    use slim_proto::{Egress, Frame};
    use tokio::time::{Instant, interval};

    use crate::Node;

    /// A node that serves no older wires.
    async fn refusing() -> (Node, SocketAddr) {
        let server = ServerConfig {
            legacy: false,
            ..ServerConfig::insecure("127.0.0.1:0".parse().unwrap())
        };
        let node = Node::serve(server).await.unwrap();
        let address = node.local_addresses()[0];
        (node, address)
    }

    /// A link whose first message is the negotiation of 1.4 (wire-1x X2.3).
    async fn arriving(address: SocketAddr) -> Dialed {
        let mut dialed = dial(&ClientConfig::insecure(address.into())).await.unwrap();
        let request = b"*/\n-\n$0f8fad5b-d9cb-469f-a165-70867728950e\x12\x051.4.0";
        let frame = Frame::new(Bytes::from_static(request)).unwrap();
        dialed.writer.send(Egress::verbatim(frame)).await.unwrap();
        dialed
    }

    #[tokio::test]
    async fn one_link_more_than_there_are_places_is_ended_at_once() {
        let (node, address) = refusing().await;
        let older = &node.services[0].shared.older;
        let all_but_one = u32::try_from(OLDER_HELD_MAX).unwrap() - 1;
        let taken = older.places.try_acquire_many(all_but_one).unwrap();
        let _held = arriving(address).await;
        let mut look = interval(std::time::Duration::from_millis(5));
        while older.places.available_permits() > 0 {
            look.tick().await;
        }
        let mut refused = arriving(address).await;
        refused.reader.next().await.unwrap_err();
        let counters = node.counters()[0].older;
        assert_eq!((counters.links_held, counters.links_turned_away), (1, 1));
        drop(taken);
    }

    #[tokio::test]
    async fn a_held_link_ends_when_its_time_is_over_and_its_place_is_free_again() {
        let (node, address) = refusing().await;
        let older = &node.services[0].shared.older;
        let mut held = arriving(address).await;
        let mut look = interval(std::time::Duration::from_millis(5));
        while older.places.available_permits() == OLDER_HELD_MAX {
            look.tick().await;
        }
        // From here on time passes as soon as everybody waits.
        tokio::time::pause();
        let before = Instant::now();
        held.reader.next().await.unwrap_err();
        let waited = before.elapsed();
        assert!(
            waited + std::time::Duration::from_secs(1) > super::OLDER_HELD_TIME,
            "{waited:?}"
        );
        while older.places.available_permits() < OLDER_HELD_MAX {
            tokio::task::yield_now().await;
        }
    }
}
