//! The task behind one connection: dials, keeps the link, replaces it when the node asks for that or certificates
//! are renewed, and dials again.
//!
//! It decides nothing but when to try again. Everything that happens is an [`Event`] for the driver, in order.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use slim_config::{Backoff, ClientConfig};
use slim_crypto::Rng;
use slim_net::{Clock, Credentials, DialPolicy};
use slim_proto::{Frame, Instant};
use slim_router::{LinkInfo, LocalNode};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::connection::ConnectionId;
use super::link::{Driven, Link, LinkLost, UplinkSender};
use crate::error::{Cause, Error};

/// Pause between dials while a `connect` waits, unless configured.
const EAGER_PAUSE: Duration = Duration::from_secs(1);
/// First pause between dials when nobody waits, unless configured.
const PATIENT_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest such pause; half of it is jitter, so that the clients of a restarted node do not come in step.
const PATIENT_PAUSE_MAX: Duration = Duration::from_secs(10);
/// A link that lived this long is no sign of a node that drops every link at once.
const STABLE: Duration = Duration::from_secs(10);
/// A younger link that was lost counts as at most so many failures: the node is there, so the pause stays
/// below a second.
const UNSTABLE_FAILURES_MAX: u32 = 3;

/// What happened to a connection.
pub(super) enum Event {
    /// A link is negotiated; frames follow. If there is one already, this is its successor.
    Up {
        number: LinkNumber,
        info: Box<LinkInfo>,
        sender: UplinkSender,
    },
    /// A frame of the node.
    Frame { number: LinkNumber, frame: Frame },
    /// A link ended.
    Ended { number: LinkNumber },
    /// A dial failed, or the only link is lost; another dial follows.
    Failed { cause: Cause, is_final: bool },
    /// The names that the driver announced under this number are confirmed, or one is not.
    Confirmed { attempt: u64, result: Result<(), Error> },
    /// The task ended, as it was told.
    Stopped,
}

/// Tells the links of one connection apart, in the order of their coming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LinkNumber(pub(super) u64);

/// The way of a connection's events to the driver.
#[derive(Clone)]
pub(super) struct Events {
    pub(super) connection: ConnectionId,
    pub(super) queue: mpsc::Sender<(ConnectionId, Event)>,
}

impl Events {
    /// Waits for a place in the queue; false if the driver is gone.
    pub(super) async fn tell(&self, event: Event) -> bool {
        self.queue.send((self.connection, event)).await.is_ok()
    }
}

/// How urgent the next dial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Somebody waits.
    Eager,
    /// Nobody waits.
    Patient,
}

/// What the driver wants of the task.
#[derive(Clone, Copy, Debug)]
struct Wish {
    pace: Pace,
    stop: bool,
}

/// The driver's hold on the task; dropping it ends the task.
pub(super) struct Uplink {
    wish: watch::Sender<Wish>,
}

/// What every connection of a service shares.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) clock: Clock,
    /// How this process introduces itself to nodes.
    pub(super) node_id: Arc<str>,
    /// Told whenever a link's queue has room again.
    pub(super) room: Arc<Notify>,
}

struct Task {
    config: ClientConfig,
    credentials: Credentials,
    surroundings: Surroundings,
    node: LocalNode,
    link_id: String,
    rng: Rng,
    wish: watch::Receiver<Wish>,
    events: Events,
    links: u64,
    /// Links that were replaced and end what is under way.
    retiring: JoinSet<Driven>,
}

/// A link and the task that drives it.
struct Running {
    leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
    since: Instant,
    task: JoinSet<Driven>,
}

impl Uplink {
    /// Starts to dial.
    pub(super) fn start(
        config: ClientConfig,
        surroundings: Surroundings,
        mut rng: Rng,
        events: Events,
    ) -> Self {
        let (wish_sender, wish) = watch::channel(Wish {
            pace: Pace::Eager,
            stop: false,
        });
        let node = LocalNode {
            node_id: surroundings.node_id.to_string(),
            deployment_name: String::new(),
            require_header_mac: config.require_header_mac,
            enforce_pqc: config.enforce_pqc,
        };
        // The same for every link of this connection (wire-routing A11.2).
        let link_id = config.link_id.clone().unwrap_or_else(|| rng.uuid());
        let task = Task {
            credentials: Credentials::of(&config),
            config,
            surroundings,
            node,
            link_id,
            rng,
            wish,
            events,
            links: 0,
            retiring: JoinSet::new(),
        };
        tokio::spawn(task.run());
        Self { wish: wish_sender }
    }

    pub(super) fn set_pace(&self, pace: Pace) {
        self.wish
            .send_if_modified(|wish| std::mem::replace(&mut wish.pace, pace) != pace);
    }

    /// Ends the link after writing its queue out; [`Event::Stopped`] follows.
    pub(super) fn stop(&self) {
        self.wish
            .send_if_modified(|wish| !std::mem::replace(&mut wish.stop, true));
    }
}

impl Task {
    async fn run(mut self) {
        let mut failures = 0u32;
        loop {
            let mut wish = self.wish.clone();
            let clock = self.surroundings.clock;
            let opened = tokio::select! {
                opened = Link::open(&self.config, &self.credentials, clock, &self.node, &self.link_id) => opened,
                () = stop_wished(&mut wish) => break,
            };
            let (cause, is_final) = match opened {
                Ok(link) => match self.keep(link).await {
                    (Driven::Stopped, _) => break,
                    (Driven::Lost(lost), since) => {
                        let is_stable = self.age(since) >= STABLE;
                        failures = if is_stable {
                            0
                        } else {
                            failures.min(UNSTABLE_FAILURES_MAX)
                        };
                        (Error::cause(lost), false)
                    }
                    // The last one has no successor.
                    (Driven::Replaced, _) => (Error::cause(LinkLost::Closed), false),
                },
                Err(error) => {
                    let is_final = error.is_final();
                    (error.into_cause(), is_final)
                }
            };
            tracing::debug!(endpoint = %self.config.endpoint, %cause, "no link to the node");
            if !self.events.tell(Event::Failed { cause, is_final }).await {
                return;
            }
            failures = failures.saturating_add(1);
            self.pause(failures).await;
        }
        // Each ends within its own limit.
        while self.retiring.join_next().await.is_some() {}
        self.events.tell(Event::Stopped).await;
    }

    /// Keeps a link and, one after the other, its successors; returns how the last one ended and since when it was
    /// there. A link that is to be replaced stays in use until its successor is.
    async fn keep(&mut self, link: Link) -> (Driven, Instant) {
        let mut running = self.start_driving(link);
        let mut attempt = 0;
        loop {
            let leaving = running.leaving.as_mut();
            tokio::select! {
                driven = running.task.join_next() => return (ended(driven), running.since),
                () = leaving => {}
            }
            // Clients of one node are asked at about the same time; they need not come back together.
            attempt += 1;
            let pause = pause_length(None, Pace::Patient, attempt, self.rng.next_u64());
            let clock = self.surroundings.clock;
            let replace = async {
                sleep(pause).await;
                Link::open(&self.config, &self.credentials, clock, &self.node, &self.link_id).await
            };
            let opened = tokio::select! {
                driven = running.task.join_next() => return (ended(driven), running.since),
                opened = replace => opened,
            };
            match opened {
                Ok(link) => {
                    tracing::debug!(endpoint = %self.config.endpoint, "the link is replaced by a new one");
                    attempt = 0;
                    let fresh = self.start_driving(link);
                    let mut old = std::mem::replace(&mut running, fresh);
                    self.retiring
                        .spawn(async move { ended(old.task.join_next().await) });
                    while self.retiring.try_join_next().is_some() {}
                }
                Err(error) => {
                    let error = error.into_cause();
                    tracing::debug!(endpoint = %self.config.endpoint, %error, attempt, "no other link yet");
                    running.leaving = Box::pin(std::future::ready(()));
                }
            }
        }
    }

    fn start_driving(&mut self, link: Link) -> Running {
        self.links += 1;
        let number = LinkNumber(self.links);
        let (asked, credentials, config) = (link.leaving(), self.credentials.clone(), self.config.clone());
        let leaving = Box::pin(async move {
            tokio::select! {
                () = asked => {}
                // The node shall see the new certificate, and the new CAs shall judge the node.
                () = credentials.renewed(&config) => {}
            }
        });
        let clock = self.surroundings.clock;
        let (mut wish, events) = (self.wish.clone(), self.events.clone());
        let room = Arc::clone(&self.surroundings.room);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let stop = stop_wished(&mut wish);
            let driven = link.drive(clock, number, &events, &room, stop).await;
            events.tell(Event::Ended { number }).await;
            driven
        });
        Running {
            leaving,
            since: clock.now().mono,
            task,
        }
    }

    fn age(&self, since: Instant) -> Duration {
        self.surroundings.clock.now().mono.saturating_since(since)
    }

    /// Waits before the next dial; somebody who begins to wait shortens it.
    async fn pause(&mut self, failures: u32) {
        let random = self.rng.next_u64();
        loop {
            let Wish { pace, stop } = *self.wish.borrow_and_update();
            if stop {
                return;
            }
            tokio::select! {
                () = sleep(pause_length(self.config.backoff.as_ref(), pace, failures, random)) => return,
                changed = self.wish.changed() => if changed.is_err() { return },
            }
        }
    }
}

fn ended(driven: Option<Result<Driven, JoinError>>) -> Driven {
    match driven {
        Some(Ok(driven)) => driven,
        // A task that panicked is a link that is gone.
        Some(Err(_)) | None => Driven::Lost(LinkLost::Closed),
    }
}

/// The pause after so many failures, as configured or by default.
fn pause_length(configured: Option<&Backoff>, pace: Pace, failures: u32, random: u64) -> Duration {
    let mut backoff = configured.cloned().unwrap_or(match pace {
        Pace::Eager => Backoff::FixedInterval {
            interval: EAGER_PAUSE,
            max_attempts: None,
        },
        Pace::Patient => Backoff::Exponential {
            base: PATIENT_PAUSE_MIN,
            factor: 1,
            max_delay: PATIENT_PAUSE_MAX,
            jitter: true,
            max_attempts: None,
        },
    });
    // The driver counts the attempts for each that waits; the dialling itself has no end.
    match &mut backoff {
        Backoff::FixedInterval { max_attempts, .. } | Backoff::Exponential { max_attempts, .. } => {
            *max_attempts = None;
        }
    }
    // A policy without limit always has a pause.
    DialPolicy::configured(backoff)
        .pause_after(failures, random)
        .unwrap_or(PATIENT_PAUSE_MAX)
}

/// Returns when the connection is not wanted any more, or the driver is gone.
async fn stop_wished(wish: &mut watch::Receiver<Wish>) {
    let _ = wish.wait_for(|wish| wish.stop).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_a_second_while_somebody_waits_and_grow_with_jitter_otherwise() {
        assert_eq!(pause_length(None, Pace::Eager, 7, 3), Duration::from_secs(1));
        let patient = |failures| pause_length(None, Pace::Patient, failures, 12_345_678);
        assert!(patient(1) >= Duration::from_millis(50) && patient(1) <= Duration::from_millis(100));
        assert!(patient(1000) >= Duration::from_secs(5) && patient(1000) <= Duration::from_secs(10));
        assert_ne!(patient(1000), pause_length(None, Pace::Patient, 1000, 98_765_432));
        // A configured limit of attempts ends a `connect`, not the dialling.
        let interval = Duration::from_millis(20);
        let configured = Backoff::FixedInterval {
            interval,
            max_attempts: Some(3),
        };
        assert_eq!(pause_length(Some(&configured), Pace::Patient, 100, 0), interval);
    }
}
