//! One link to a node: negotiated on a fresh call, then frames both ways until it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use slim_config::ClientConfig;
use slim_crypto::EphemeralKey;
use slim_net::egress::{AbortReason, Closing, egress_budget, egress_queue};
use slim_net::{
    Clock, Credentials, DialError, Dialed, EgressReceiver, EgressSender, FrameReader, FrameWriter, LinkEnd,
    Status, dial_as,
};
use slim_proto::Egress;
use slim_proto::control::ConnectionType;
use slim_proto::limits::{FRAME_BYTES_MAX, NEGOTIATION_TIMEOUT};
use slim_router::egress::EgressBudget;
use slim_router::{Dialer, Direction, HandshakeError, LinkInfo, LocalNode};
use tokio::sync::Notify;
use tokio::time::{timeout, timeout_at};

use super::uplink::{Event, Events, LinkNumber};
use crate::error::{Cause, Error};

/// What a link that is not needed any more gets to write its queue out and to hear the node's end.
const STOP_MAX: Duration = Duration::from_secs(1);

/// A negotiated link.
pub(super) struct Link {
    dialed: Dialed,
    info: Box<LinkInfo>,
    budget: EgressBudget,
}

/// Why a link did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("the link ended during its negotiation: {0}")]
    Link(#[from] LinkEnd),
    #[error("the node did not negotiate within {NEGOTIATION_TIMEOUT:?}")]
    Timeout,
    #[error("link negotiation failed: {0}")]
    Handshake(#[from] HandshakeError),
}

impl OpenError {
    /// The error as applications may look at it: of a dial, the dial's own.
    pub(super) fn into_cause(self) -> Cause {
        match self {
            Self::Dial(error) => Error::cause(error),
            Self::Link(_) | Self::Timeout | Self::Handshake(_) => Error::cause(self),
        }
    }

    /// True if the node answers and will not change its mind.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Dial(error) => !error.is_transient() || error.is_about_trust(),
            Self::Link(_) | Self::Timeout | Self::Handshake(_) => false,
        }
    }
}

/// What a link that was replaced gets for what is under way in both directions: a node of ours takes one second.
const RETIRE_MAX: Duration = Duration::from_secs(5);

/// How a link ended.
pub(super) enum Driven {
    /// By itself.
    Lost(LinkLost),
    /// Because it is not wanted any more.
    Stopped,
    /// Because another does its work.
    Replaced,
}

/// Why a link ended by itself.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkLost {
    #[error("the link broke: {0}")]
    Broken(LinkEnd),
    #[error("the link was cut: {0}")]
    Cut(AbortReason),
    #[error("the link was closed")]
    Closed,
}

/// The sending end of a link.
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

    /// Another link does the work: what is queued is still written, and what the node still sends is still read.
    pub(super) fn retire(&self) {
        self.queue.close(Closing::Finish(Status::ok()));
    }

    /// Cuts the link; it is dialled again.
    pub(super) fn abort(&self) {
        self.abort.notify_one();
    }
}

impl Link {
    /// Reaches the node and negotiates the link (wire-routing A4.2).
    pub(super) async fn open(
        config: &ClientConfig,
        credentials: &Credentials,
        clock: Clock,
        node: &LocalNode,
        link_id: &str,
    ) -> Result<Self, OpenError> {
        let mut dialed = dial_as(config, credentials).await?;
        let connection_type = match config.connection_type {
            slim_config::ConnectionType::Edge => ConnectionType::Edge,
            slim_config::ConnectionType::Remote => ConnectionType::Remote,
        };
        let key = EphemeralKey::generate();
        let (dialer, request) = Dialer::start(clock.now(), node, link_id, connection_type, key);
        let deadline = clock.timer(dialer.deadline());
        let reply = async {
            dialed.writer.send(Egress::verbatim(request)).await?;
            dialed.reader.next().await
        };
        let reply = timeout_at(deadline, reply)
            .await
            .map_err(|_| OpenError::Timeout)??;
        let info = Box::new(dialer.handle_reply(&reply)?.into_link_info(Direction::Dialed));
        dialed.reader.accept_large_frames();
        Ok(Self {
            dialed,
            info,
            budget: egress_budget(config.rate_limit),
        })
    }

    /// Resolves when the node asks for another link in place of this one.
    pub(super) fn leaving(&self) -> impl Future<Output = ()> + Send + use<> {
        self.dialed.connection.leaving()
    }

    /// Moves frames both ways until the link ends or `stop` does. `room` hears of each batch written.
    pub(super) async fn drive(
        self,
        clock: Clock,
        number: LinkNumber,
        events: &Events,
        room: &Notify,
        stop: impl Future<Output = ()>,
    ) -> Driven {
        let Dialed {
            reader,
            writer,
            connection,
            ..
        } = self.dialed;
        let (queue, receiver) = egress_queue(clock, self.budget);
        let (is_writing, abort) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()));
        let sender = UplinkSender {
            queue: queue.clone(),
            is_writing: Arc::clone(&is_writing),
            abort: Arc::clone(&abort),
        };
        let up = Event::Up {
            number,
            info: self.info,
            sender,
        };
        if !events.tell(up).await {
            return Driven::Stopped;
        }
        let mut reading = std::pin::pin!(read(reader, number, events));
        let mut writing = std::pin::pin!(write(receiver, writer, &is_writing, room));
        let lost = tokio::select! {
            lost = &mut reading => lost,
            lost = &mut writing => lost,
            () = abort.notified() => LinkLost::Cut(AbortReason::Closed),
            () = stop => {
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
        room.notify_one();
        if matches!(lost, LinkLost::Closed) {
            // Our side is finished, because another link took over. The node ends its own when it has written all.
            if timeout(RETIRE_MAX, reading).await.is_ok() {
                connection.close_when_done();
            }
            return Driven::Replaced;
        }
        Driven::Lost(lost)
    }
}

async fn read(mut reader: FrameReader, number: LinkNumber, events: &Events) -> LinkLost {
    loop {
        match reader.next().await {
            Ok(frame) => {
                if !events.tell(Event::Frame { number, frame }).await {
                    return LinkLost::Cut(AbortReason::Closed);
                }
            }
            Err(end) => return LinkLost::Broken(end),
        }
    }
}

async fn write(
    receiver: EgressReceiver,
    mut writer: FrameWriter,
    is_writing: &AtomicBool,
    room: &Notify,
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
        room.notify_one();
    }
}
