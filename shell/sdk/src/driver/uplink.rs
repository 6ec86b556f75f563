//! The task behind one connection: its link is dialled, driven, replaced and dialled again when [`Redialer`] says so.
//!
//! It decides nothing. Everything that happens is an [`Event`] for the driver, in order.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use slim_config::{Backoff, ClientConfig};
use slim_crypto::Rng;
use slim_net::{Clock, LinkDialer, OpenError, OpenedLink, redial_policy};
use slim_proto::Frame;
use slim_router::dialer::{Failure, Pace, Pauses, RedialOutput, RedialPolicy, Redialer};
use slim_router::{LinkInfo, LocalNode};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep_until;

use super::connection::ConnectionId;
use super::link::{Driven, Link, LinkLost, UplinkSender};
use crate::error::{Cause, Error};

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
    dialer: Arc<LinkDialer>,
    redialer: Redialer,
    surroundings: Surroundings,
    wish: watch::Receiver<Wish>,
    events: Events,
    links: u64,
    dialing: Pin<Box<dyn Future<Output = Result<OpenedLink, OpenError>> + Send>>,
    /// The link in use.
    driving: JoinSet<Driven>,
    leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Links that were replaced and end what is under way.
    retiring: JoinSet<()>,
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
        let link_id = config.link_id.clone().unwrap_or_else(|| rng.uuid());
        let mut seed = [0; 32];
        rng.fill(&mut seed);
        let task = Task {
            redialer: Redialer::new(policy(config.backoff.as_ref()), seed),
            dialer: Arc::new(LinkDialer::new(config, surroundings.clock, node, link_id)),
            surroundings,
            wish,
            events,
            links: 0,
            dialing: Box::pin(std::future::pending()),
            driving: JoinSet::new(),
            leaving: Box::pin(std::future::pending()),
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
        let clock = self.surroundings.clock;
        loop {
            match self.redialer.poll_output() {
                None => {}
                Some(RedialOutput::Dial) => {
                    let dialer = Arc::clone(&self.dialer);
                    self.dialing = Box::pin(async move { dialer.open().await });
                }
                Some(RedialOutput::GiveUp { .. }) => break,
            }
            let due = self.redialer.poll_timeout();
            tokio::select! {
                opened = self.dialing.as_mut() => {
                    self.dialing = Box::pin(std::future::pending());
                    match opened {
                        Ok(link) => self.start_driving(link),
                        Err(error) => self.dial_failed(error).await,
                    }
                }
                Some(driven) = self.driving.join_next() => {
                    let lost = match driven {
                        Ok(Driven::Stopped) => break,
                        Ok(Driven::Lost(lost)) => lost,
                        // The last one has no successor. A task that panicked is a link that is gone.
                        Ok(Driven::Replaced) | Err(_) => LinkLost::Closed,
                    };
                    self.leaving = Box::pin(std::future::pending());
                    self.redialer.handle_lost(clock.now(), Failure::Passing);
                    self.failed(Error::cause(lost), false).await;
                }
                () = self.leaving.as_mut() => {
                    self.leaving = Box::pin(std::future::pending());
                    self.redialer.handle_leaving(clock.now());
                }
                () = sleep_until(clock.timer(due.unwrap_or_default())), if due.is_some() => {
                    self.redialer.handle_timeout(clock.now());
                }
                changed = self.wish.changed() => {
                    let Wish { pace, stop } = *self.wish.borrow_and_update();
                    if stop || changed.is_err() {
                        break;
                    }
                    self.redialer.set_pace(pace);
                }
            }
        }
        drop(self.dialing);
        // Each ends within its own limit.
        while self.driving.join_next().await.is_some() {}
        while self.retiring.join_next().await.is_some() {}
        self.events.tell(Event::Stopped).await;
    }

    fn start_driving(&mut self, link: OpenedLink) {
        if self.redialer.has_link() {
            tracing::debug!(endpoint = %self.dialer.config().endpoint, "the link is replaced by a new one");
        }
        let clock = self.surroundings.clock;
        self.redialer.handle_opened(clock.now());
        self.leaving = Box::pin(self.dialer.leaving(&link));
        self.links += 1;
        let number = LinkNumber(self.links);
        let link = Link::new(link, self.dialer.config());
        let (mut wish, events) = (self.wish.clone(), self.events.clone());
        let room = Arc::clone(&self.surroundings.room);
        let mut before = std::mem::take(&mut self.driving);
        self.driving.spawn(async move {
            let stop = stop_wished(&mut wish);
            let driven = link.drive(clock, number, &events, &room, stop).await;
            events.tell(Event::Ended { number }).await;
            driven
        });
        while self.retiring.try_join_next().is_some() {}
        self.retiring
            .spawn(async move { while before.join_next().await.is_some() {} });
    }

    async fn dial_failed(&mut self, error: OpenError) {
        let is_successor = self.redialer.has_link();
        // The driver counts the attempts for each that waits, and tells them of a node that will not change its
        // mind; the dialling itself has no end.
        self.redialer
            .handle_dial_failed(self.surroundings.clock.now(), Failure::Passing);
        if is_successor {
            tracing::debug!(endpoint = %self.dialer.config().endpoint, %error, "no other link yet");
            return;
        }
        let is_final = is_final(&error);
        self.failed(into_cause(error), is_final).await;
    }

    fn failed(&self, cause: Cause, is_final: bool) -> impl Future<Output = ()> + Send + use<> {
        tracing::debug!(endpoint = %self.dialer.config().endpoint, %cause, "no link to the node");
        let events = self.events.clone();
        async move {
            // A driver that is gone is noticed by its wishes.
            events.tell(Event::Failed { cause, is_final }).await;
        }
    }
}

/// As configured or by default.
fn policy(configured: Option<&Backoff>) -> RedialPolicy {
    let default = RedialPolicy {
        eager: Pauses::Fixed(EAGER_PAUSE),
        patient: Pauses::Exponential {
            base: PATIENT_PAUSE_MIN,
            factor: 1,
            longest: PATIENT_PAUSE_MAX,
            jitter: true,
        },
        attempts_max: None,
    };
    RedialPolicy {
        // A limit ends a `connect`, and the driver counts for that.
        attempts_max: None,
        ..redial_policy(configured, default)
    }
}

/// Pause between dials while a `connect` waits, unless configured.
const EAGER_PAUSE: Duration = Duration::from_secs(1);
/// First pause between dials when nobody waits, unless configured.
const PATIENT_PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest such pause; half of it is jitter, so that the clients of a restarted node do not come in step.
const PATIENT_PAUSE_MAX: Duration = Duration::from_secs(10);

/// The error as applications may look at it: of a dial, the dial's own.
fn into_cause(error: OpenError) -> Cause {
    match error {
        OpenError::Dial(error) => Error::cause(error),
        OpenError::Link(_)
        | OpenError::Timeout
        | OpenError::Handshake(_)
        | OpenError::Peer(_)
        | OpenError::GaveUp { .. } => Error::cause(error),
    }
}

/// True if the node answers and will not change its mind.
fn is_final(error: &OpenError) -> bool {
    matches!(error, OpenError::Dial(error) if !error.is_transient() || error.is_about_trust())
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
        let default = policy(None);
        assert_eq!(default.eager.after(7, 3), Duration::from_secs(1));
        let patient = |failures| default.patient.after(failures, 12_345_678);
        assert!(patient(1) >= Duration::from_millis(50) && patient(1) <= Duration::from_millis(100));
        assert!(patient(1000) >= Duration::from_secs(5) && patient(1000) <= Duration::from_secs(10));
        assert_ne!(patient(1000), default.patient.after(1000, 98_765_432));
        // A configured limit of attempts ends a `connect`, not the dialling.
        let interval = Duration::from_millis(20);
        let configured = policy(Some(&Backoff::FixedInterval {
            interval,
            max_attempts: Some(3),
        }));
        assert_eq!(configured.attempts_max, None);
        assert_eq!(configured.patient.after(100, 0), interval);
    }
}
