//! The task behind one connection: dials, negotiates, moves frames, and dials again.
//!
//! It decides nothing but when to try again. Everything that happens is an [`Event`] for the driver, in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use slim_config::{Backoff, ClientConfig};
use slim_crypto::{EphemeralKey, Rng};
use slim_net::egress::{AbortReason, Closing, egress_queue};
use slim_net::{
    Clock, DialError, DialPolicy, Dialed, EgressReceiver, EgressSender, FrameReader, FrameWriter, LinkEnd,
    Status, dial,
};
use slim_proto::control::ConnectionType;
use slim_proto::limits::{FRAME_BYTES_MAX, NEGOTIATION_TIMEOUT};
use slim_proto::{Egress, Frame, Instant};
use slim_router::egress::EgressBudget;
use slim_router::{Dialer, Direction, HandshakeError, LinkInfo, LocalNode};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout, timeout_at};

use super::connection::ConnectionId;
use crate::error::{Cause, Error};

/// Pause between dials while a `connect` waits, unless configured.
const EAGER_PAUSE: Duration = Duration::from_secs(1);
/// First and longest pause between dials when nobody waits, unless configured; half of it is jitter, so that
/// the clients of a restarted node do not come in step.
const PATIENT_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// A link that lived this long is no sign of a node that drops every link at once.
const STABLE: Duration = Duration::from_secs(10);
/// What a link that is not needed any more gets to write its queue out and to hear the node's end.
const STOP_MAX: Duration = Duration::from_secs(1);

/// What happened to a connection.
pub(super) enum Event {
    /// A link is negotiated; frames follow.
    Up {
        info: Box<LinkInfo>,
        sender: UplinkSender,
    },
    /// A frame of the node.
    Frame(Frame),
    /// A dial failed, or the link is lost; another dial follows.
    Failed { cause: Cause, is_final: bool },
    /// The names that the driver announced under this number are confirmed, or one is not.
    Confirmed { attempt: u64, result: Result<(), Error> },
    /// The task ended, as it was told.
    Stopped,
}

/// How urgent the next dial is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Somebody waits.
    Eager,
    /// Nobody waits.
    Patient,
}

#[derive(Clone, Copy, Debug)]
struct Wish {
    pace: Pace,
    stop: bool,
}

/// The driver's hold on the task.
pub(super) struct Uplink {
    wish: watch::Sender<Wish>,
}

impl Uplink {
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

/// How this process introduces itself to nodes.
pub(super) struct LocalSide {
    node_id: String,
}

impl LocalSide {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            node_id: format!("node-{}", uuid(rng)),
        }
    }
}

/// The sending end of one link.
pub(super) struct UplinkSender {
    queue: EgressSender,
    is_writing: Arc<AtomicBool>,
    abort: Arc<Notify>,
}

impl UplinkSender {
    /// Queues a frame. A full queue refuses it and counts; the session layer repeats what it must.
    pub(super) fn send(&self, egress: Egress) {
        if let Err(refused) = self.queue.push(egress) {
            tracing::debug!(%refused, "a frame for the node is dropped");
        }
    }

    /// True if the largest frame fits.
    pub(super) fn has_room(&self) -> bool {
        !self.queue.is_full_for(FRAME_BYTES_MAX)
    }

    /// True if everything is handed to HTTP/2, or the link takes nothing more.
    pub(super) fn is_drained(&self) -> bool {
        self.queue.is_closing() || (self.queue.is_empty() && !self.is_writing.load(Ordering::Relaxed))
    }

    /// Cuts the link; it is dialled again.
    pub(super) fn abort(&self) {
        self.abort.notify_one();
    }
}

/// Why a link did not come about.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the link ended during its negotiation: {0}")]
    Link(#[from] LinkEnd),
    #[error("the node did not negotiate within {NEGOTIATION_TIMEOUT:?}")]
    Timeout,
    #[error("link negotiation failed: {0}")]
    Handshake(#[from] HandshakeError),
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum LinkLost {
    #[error("the link broke: {0}")]
    Broken(LinkEnd),
    #[error("the link was cut: {0}")]
    Cut(AbortReason),
    #[error("the link was closed")]
    Closed,
}

struct Task {
    id: ConnectionId,
    config: ClientConfig,
    clock: Clock,
    node: LocalNode,
    link_id: String,
    rng: Rng,
    wish: watch::Receiver<Wish>,
    events: mpsc::Sender<(ConnectionId, Event)>,
    room: Arc<Notify>,
}

/// A negotiated link.
struct Link {
    dialed: Dialed,
    info: Box<LinkInfo>,
}

enum Driven {
    Lost(LinkLost),
    Stopped,
}

impl Uplink {
    /// Starts to dial.
    pub(super) fn start(
        id: ConnectionId,
        config: ClientConfig,
        clock: Clock,
        local_side: &LocalSide,
        mut rng: Rng,
        events: mpsc::Sender<(ConnectionId, Event)>,
        room: Arc<Notify>,
    ) -> Self {
        let (wish_sender, wish) = watch::channel(Wish {
            pace: Pace::Eager,
            stop: false,
        });
        let node = LocalNode {
            node_id: local_side.node_id.clone(),
            deployment_name: String::new(),
            require_header_mac: config.require_header_mac,
        };
        // The same for every link of this connection (wire-routing A11.2).
        let link_id = config.link_id.clone().unwrap_or_else(|| uuid(&mut rng));
        let task = Task {
            id,
            config,
            clock,
            node,
            link_id,
            rng,
            wish,
            events,
            room,
        };
        tokio::spawn(task.run());
        Self { wish: wish_sender }
    }
}

impl Task {
    async fn run(mut self) {
        let mut failures = 0u32;
        loop {
            let mut wish = self.wish.clone();
            let opened = tokio::select! {
                opened = self.open() => opened,
                () = stop_wished(&mut wish) => break,
            };
            let (cause, is_final) = match opened {
                Ok(link) => {
                    let since = self.clock.now().mono;
                    match self.drive(link).await {
                        Driven::Stopped => break,
                        Driven::Lost(lost) => {
                            if self.age(since) >= STABLE {
                                failures = 0;
                            }
                            (Error::cause(lost), false)
                        }
                    }
                }
                Err(error) => {
                    let is_final = matches!(&error, OpenError::Dial(error) if !error.is_transient());
                    (Error::cause(error), is_final)
                }
            };
            tracing::debug!(endpoint = %self.config.endpoint, %cause, "no link to the node");
            if !self.tell(Event::Failed { cause, is_final }).await {
                return;
            }
            failures = failures.saturating_add(1);
            self.pause(failures).await;
        }
        self.tell(Event::Stopped).await;
    }

    fn age(&self, since: Instant) -> Duration {
        self.clock.now().mono.saturating_since(since)
    }

    /// False if the driver is gone.
    async fn tell(&self, event: Event) -> bool {
        self.events.send((self.id, event)).await.is_ok()
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
                () = sleep(self.pause_length(pace, failures, random)) => return,
                changed = self.wish.changed() => if changed.is_err() { return },
            }
        }
    }

    fn pause_length(&self, pace: Pace, failures: u32, random: u64) -> Duration {
        let backoff = match (&self.config.backoff, pace) {
            // The driver counts the attempts for each that waits; the dialling itself has no end.
            (Some(Backoff::FixedInterval { interval, .. }), _) => Backoff::FixedInterval {
                interval: *interval,
                max_attempts: None,
            },
            (
                Some(Backoff::Exponential {
                    base,
                    factor,
                    max_delay,
                    jitter,
                    ..
                }),
                _,
            ) => Backoff::Exponential {
                base: *base,
                factor: *factor,
                max_delay: *max_delay,
                jitter: *jitter,
                max_attempts: None,
            },
            (None, Pace::Eager) => Backoff::FixedInterval {
                interval: EAGER_PAUSE,
                max_attempts: None,
            },
            (None, Pace::Patient) => Backoff::Exponential {
                base: PATIENT_PAUSES.0,
                factor: 1,
                max_delay: PATIENT_PAUSES.1,
                jitter: true,
                max_attempts: None,
            },
        };
        // A policy without limit always has a pause.
        DialPolicy::configured(backoff)
            .pause_after(failures, random)
            .unwrap_or(PATIENT_PAUSES.1)
    }

    /// Reaches the node and negotiates the link (wire-routing A4.2).
    async fn open(&self) -> Result<Link, OpenError> {
        let mut dialed = dial(&self.config).await?;
        let connection_type = match self.config.connection_type {
            slim_config::ConnectionType::Edge => ConnectionType::Edge,
            slim_config::ConnectionType::Remote => ConnectionType::Remote,
        };
        let key = EphemeralKey::generate();
        let (dialer, request) =
            Dialer::start(self.clock.now(), &self.node, &*self.link_id, connection_type, key);
        let deadline = self.clock.timer(dialer.deadline());
        let reply = async {
            dialed.writer.send(Egress::verbatim(request)).await?;
            dialed.reader.next().await
        };
        let reply = timeout_at(deadline, reply)
            .await
            .map_err(|_| OpenError::Timeout)??;
        let info = Box::new(dialer.handle_reply(&reply)?.into_link_info(Direction::Dialed));
        dialed.reader.accept_large_frames();
        Ok(Link { dialed, info })
    }

    /// Moves frames both ways until the link ends.
    async fn drive(&self, link: Link) -> Driven {
        let Dialed {
            reader,
            writer,
            connection,
            ..
        } = link.dialed;
        let (queue, receiver) = egress_queue(self.clock, EgressBudget::default());
        let (is_writing, abort) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let sender = UplinkSender {
            queue: queue.clone(),
            is_writing: Arc::clone(&is_writing),
            abort: Arc::clone(&abort),
        };
        if !self
            .tell(Event::Up {
                info: link.info,
                sender,
            })
            .await
        {
            return Driven::Stopped;
        }
        let mut wish = self.wish.clone();
        let mut reading = std::pin::pin!(self.read(reader));
        let mut writing = std::pin::pin!(self.write(receiver, writer, &is_writing));
        let lost = tokio::select! {
            lost = &mut reading => lost,
            lost = &mut writing => lost,
            () = abort.notified() => LinkLost::Cut(AbortReason::Closed),
            () = stop_wished(&mut wish) => {
                queue.close(Closing::Finish(Status::ok()));
                let goodbye = async { tokio::join!(reading, writing) };
                // A node that does not end its side in time is cut off.
                if timeout(STOP_MAX, goodbye).await.is_ok() {
                    connection.close_when_done();
                }
                return Driven::Stopped;
            }
        };
        // Publishers that waited for room must not wait for a link that is gone.
        self.room.notify_one();
        Driven::Lost(lost)
    }

    async fn read(&self, mut reader: FrameReader) -> LinkLost {
        loop {
            match reader.next().await {
                Ok(frame) => {
                    if !self.tell(Event::Frame(frame)).await {
                        return LinkLost::Closed;
                    }
                }
                Err(end) => return LinkLost::Broken(end),
            }
        }
    }

    async fn write(
        &self,
        receiver: EgressReceiver,
        mut writer: FrameWriter,
        is_writing: &AtomicBool,
    ) -> LinkLost {
        loop {
            match receiver.next_batch(&mut writer).await {
                Ok(()) => {}
                Err(Closing::Finish(status)) => {
                    writer.finish(&status);
                    return LinkLost::Closed;
                }
                Err(Closing::Abort(reason)) => {
                    writer.abort();
                    return LinkLost::Cut(reason);
                }
            }
            is_writing.store(true, Ordering::Relaxed);
            tokio::select! {
                flushed = writer.flush() => if let Err(end) = flushed {
                    return LinkLost::Broken(end);
                },
                () = receiver.stalled() => return LinkLost::Cut(AbortReason::SlowConsumer),
            }
            is_writing.store(false, Ordering::Relaxed);
            self.room.notify_one();
        }
    }
}

/// Returns when the connection is not wanted any more, or the driver is gone.
async fn stop_wished(wish: &mut watch::Receiver<Wish>) {
    let _ = wish.wait_for(|wish| wish.stop).await;
}

/// A random UUID, version 4.
fn uuid(rng: &mut Rng) -> String {
    let mut bytes = [0; 16];
    rng.fill(&mut bytes);
    let number = u128::from_be_bytes(bytes);
    let number = (number & !(0xF << 76) | 0x4 << 76) & !(0x3 << 62) | 0x2 << 62;
    let hex = format!("{number:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_ids_are_uuids_of_version_four() {
        let id = uuid(&mut Rng::from_seed([5; 32]));
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]), "{id}");
    }
}
