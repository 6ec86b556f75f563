//! One negotiated link: frames both ways until one side ends.
//!
//! Reading and writing run beside each other in one future. Reading never waits for another link's queue, except
//! that a publish for a single receiver from an edge link may wait a second: that holds back the one sender
//! concerned (architecture, "Overload").

use std::sync::Arc;
use std::time::Duration;

use slim_net::egress::{AbortReason, Closing, EgressReceiver, Refused, egress_queue};
use slim_net::{Clock, FrameReader, FrameWriter, LinkEnd, PeerAddress, Status};
use slim_policy::LinkIdentity;
use slim_proto::limits::EGRESS_WAIT_MAX;
use slim_proto::{Egress, Frame, FrameKind};
use slim_router::egress::EgressBudget;
use slim_router::{Direction, Ingress, LinkClass, LinkId, Negotiated, forward};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::timeout;
use tracing::{debug, trace};

use crate::access::DeniedLog;
use crate::counters::LinkCounters;
use crate::fib_cell::FibReader;
use crate::links::Neighbours;
use crate::router_task::{RouterHandle, Stopping};
use crate::service::Shared;

/// Frames that one link reads before the writers and the other links of the thread get their turn.
pub(crate) const FRAMES_PER_TURN: usize = 64;

/// Time that a closing link gets to write what waits; then it is cut.
pub(crate) const FAREWELL: Duration = Duration::from_secs(1);

/// Time that a replaced link gets for what is under way: the farewell of the other side and then some.
const RETIRE_MAX: Duration = Duration::from_secs(5);

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DriveEnd {
    #[error("{0}")]
    Read(LinkEnd),
    #[error("{0}")]
    Write(LinkEnd),
    #[error("{0}")]
    Aborted(AbortReason),
    #[error("drained")]
    Drained,
    #[error("replaced by another link")]
    Retired,
}

/// What an outgoing link hears and tells while another replaces it.
pub(crate) struct Succession {
    /// Told when the router knows the link.
    pub(crate) is_up: oneshot::Sender<()>,
    /// Resolves when another link does the work.
    pub(crate) retire: oneshot::Receiver<()>,
}

/// The other end of a link.
pub(crate) struct End {
    pub(crate) direction: Direction,
    /// Who it is, if it dialled.
    pub(crate) identity: Option<Arc<LinkIdentity>>,
    pub(crate) peer: PeerAddress,
    pub(crate) budget: EgressBudget,
    pub(crate) succession: Option<Succession>,
}

/// Runs a negotiated link until it ends, and ends the call.
pub(crate) async fn drive(
    shared: &Arc<Shared>,
    negotiated: Negotiated,
    end: End,
    mut reader: FrameReader,
    mut writer: FrameWriter,
) -> DriveEnd {
    let End {
        direction,
        identity,
        peer,
        budget,
        succession,
    } = end;
    let remote = negotiated.remote_version.clone();
    let info = Arc::new(negotiated.into_link_info(direction));
    let (sender, queue) = egress_queue(shared.clock, budget);
    let Ok(id) = shared.router.link_up(Arc::clone(&info), identity, sender).await else {
        writer.finish(&Status::ok());
        return DriveEnd::Drained;
    };
    shared.totals.update(|totals| totals.links_opened += 1);
    debug!(link = %id, %peer, class = ?info.class, %remote, "link established");
    reader.accept_large_frames();
    let retire = async {
        let told = match succession {
            Some(Succession { is_up, retire }) => {
                let _ = is_up.send(());
                retire.await
            }
            None => std::future::pending().await,
        };
        // Whoever would tell it is gone together with the link.
        if told.is_err() {
            std::future::pending::<()>().await;
        }
    };

    let mut ingest = Ingest {
        router: shared.router.clone(),
        fib: shared.fib.reader(),
        neighbours: Neighbours::new(Arc::clone(&shared.links)),
        ingress: Ingress::new(id, info),
        copies: Vec::new(),
        counters: LinkCounters::default(),
        clock: shared.clock,
        denied: DeniedLog::default(),
    };
    let mut end = tokio::select! {
        end = ingest.run(&mut reader) => end,
        end = write(&queue, &mut writer) => end,
        () = queue.stalled() => DriveEnd::Aborted(AbortReason::SlowConsumer),
        () = shared.draining() => DriveEnd::Drained,
        () = retire => DriveEnd::Retired,
    };
    // First out of the tables, then the farewell: nobody sends to a link that says goodbye.
    let _ = shared.router.link_down(id).await;
    if matches!(end, DriveEnd::Read(_) | DriveEnd::Drained | DriveEnd::Retired) {
        // The peer gets what was accepted for it; a dead connection ends the attempt at once.
        queue.close(Closing::Finish(Status::ok()));
        if let Ok(DriveEnd::Write(error)) = timeout(FAREWELL, write(&queue, &mut writer)).await {
            end = DriveEnd::Write(error);
        }
    }
    match end {
        DriveEnd::Retired => {
            writer.finish(&Status::ok());
            // What the other side still sends here is not lost; it ends when it has written all.
            let _ = timeout(RETIRE_MAX, ingest.run(&mut reader)).await;
        }
        DriveEnd::Read(_) | DriveEnd::Drained => writer.finish(&Status::ok()),
        DriveEnd::Write(_) | DriveEnd::Aborted(_) => writer.abort(),
    }
    ingest.close(shared, &end, &queue, peer);
    end
}

/// Writes until the queue is closed or the peer takes no more.
pub(crate) async fn write(queue: &EgressReceiver, writer: &mut FrameWriter) -> DriveEnd {
    loop {
        if let Err(error) = writer.flush().await {
            return DriveEnd::Write(error);
        }
        match queue.next_batch(writer).await {
            Ok(()) => {}
            Err(Closing::Finish(_)) => return DriveEnd::Drained,
            Err(Closing::Abort(reason)) => return DriveEnd::Aborted(reason),
        }
    }
}

/// The reading half of a link.
struct Ingest {
    router: RouterHandle,
    fib: FibReader,
    neighbours: Neighbours,
    ingress: Ingress,
    copies: Vec<(LinkId, Egress)>,
    counters: LinkCounters,
    clock: Clock,
    denied: DeniedLog,
}

impl Ingest {
    async fn run(&mut self, reader: &mut FrameReader) -> DriveEnd {
        loop {
            for _ in 0..FRAMES_PER_TURN {
                let frame = match reader.next().await {
                    Ok(frame) => frame,
                    Err(end) => return DriveEnd::Read(end),
                };
                if self.handle(frame).await.is_err() {
                    return DriveEnd::Drained;
                }
            }
            yield_now().await;
        }
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), Stopping> {
        self.counters.received += 1;
        if frame.kind() != Ok(FrameKind::Publish) {
            // Also what is no frame at all: the router counts it.
            return self.router.apply(self.ingress.id(), frame).await;
        }
        let mut copies = std::mem::take(&mut self.copies);
        if let Err(reason) = forward(self.fib.current(), &mut self.ingress, &frame, &mut copies) {
            trace!(link = %self.ingress.id(), %reason, "publish dropped");
            if let Some(denied) = self.ingress.take_refusal() {
                self.denied
                    .log(self.clock.monotonic(), self.ingress.id(), &denied);
            }
        }
        let may_wait = copies.len() == 1 && self.ingress.link().class == LinkClass::Edge;
        for (target, egress) in copies.drain(..) {
            self.deliver(target, egress, may_wait).await;
        }
        self.copies = copies;
        Ok(())
    }

    async fn deliver(&mut self, target: LinkId, egress: Egress, may_wait: bool) {
        let Some(queue) = self.neighbours.find(target) else {
            self.counters.target_gone += 1;
            return;
        };
        let result = if may_wait {
            queue.push_within(egress, EGRESS_WAIT_MAX).await
        } else {
            queue.push(egress)
        };
        match result {
            Ok(()) => {}
            Err(Refused::Full) => self.counters.queue_full += 1,
            Err(Refused::Closing) => {
                self.counters.target_gone += 1;
                self.neighbours.forget(target);
            }
        }
    }

    fn close(&self, shared: &Shared, end: &DriveEnd, queue: &EgressReceiver, peer: PeerAddress) {
        let own = self.counters;
        let publishes = self.ingress.counters();
        let slow = matches!(end, DriveEnd::Aborted(AbortReason::SlowConsumer));
        shared.totals.update(|totals| {
            totals.links_closed += 1;
            totals.slow_consumers += u64::from(slow);
            totals.queue_full += own.queue_full;
            totals.target_gone += own.target_gone;
            totals.publishes.add(publishes);
        });
        debug!(
            link = %self.ingress.id(),
            %peer,
            reason = %end,
            received = own.received,
            forwarded = publishes.forwarded,
            copies = publishes.copies,
            dropped = publishes.drops_total(),
            queue_full = own.queue_full,
            target_gone = own.target_gone,
            refused_for_this_link = queue.refused(),
            "link closed"
        );
        if slow {
            tracing::warn!(link = %self.ingress.id(), %peer, "link closed: {end}");
        }
    }
}
