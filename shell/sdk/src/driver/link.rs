//! One negotiated link to a node: frames both ways until it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use slim_config::ClientConfig;
use slim_net::egress::{AbortReason, Closing, egress_budget, egress_queue};
use slim_net::{
    Clock, Dialed, EgressReceiver, EgressSender, FrameReader, FrameWriter, LinkEnd, OpenedLink, Status,
};
use slim_proto::Egress;
use slim_proto::limits::FRAME_BYTES_MAX;
use slim_router::egress::EgressBudget;
use slim_router::{Direction, LinkInfo};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::uplink::{Event, Events, LinkNumber};

/// What a link that is not needed any more gets to write its queue out and to hear the node's end.
const STOP_MAX: Duration = Duration::from_secs(1);

/// A negotiated link.
pub(super) struct Link {
    dialed: Dialed,
    info: Box<LinkInfo>,
    budget: EgressBudget,
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
    pub(super) fn new(opened: OpenedLink, config: &ClientConfig) -> Self {
        let OpenedLink {
            mut dialed,
            negotiated,
        } = opened;
        dialed.reader.accept_large_frames();
        Self {
            dialed,
            info: Box::new(negotiated.into_link_info(Direction::Dialed)),
            budget: egress_budget(config.rate_limit),
        }
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
