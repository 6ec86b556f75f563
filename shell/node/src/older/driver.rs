//! One older link that is served: messages both ways until one side ends.

use std::sync::Arc;

use slim_net::egress::{AbortReason, Closing, EgressReceiver, Refused, egress_queue};
use slim_net::{EgressSender, FrameReader, FrameWriter, PeerAddress, Status};
use slim_older::{Dialect, OlderLink};
use slim_policy::LinkIdentity;
use slim_proto::limits::EGRESS_WAIT_MAX;
use slim_proto::{Egress, Frame};
use slim_router::egress::EgressBudget;
use tokio::task::yield_now;
use tokio::time::timeout;
use tracing::debug;

use crate::counters::LinkCounters;
use crate::link_driver::{DriveEnd, FAREWELL, FRAMES_PER_TURN, write};
use crate::older::held::{Unserved, hold};
use crate::older::notice;
use crate::older::task::OlderHandle;
use crate::router_task::Stopping;
use crate::service::Shared;

/// An older link that has said its first message.
pub(crate) struct Arrival {
    pub(crate) peer: PeerAddress,
    pub(crate) identity: Arc<LinkIdentity>,
    /// Its first message, which no negotiation has eaten.
    pub(crate) first: Frame,
    pub(crate) reader: FrameReader,
    pub(crate) writer: FrameWriter,
}

/// Runs a link until it ends, and ends the call.
pub(crate) async fn serve(
    shared: &Arc<Shared>,
    dialect: Dialect,
    arrival: Arrival,
    established: impl FnOnce(),
) {
    let (sender, queue) = egress_queue(shared.clock, EgressBudget::default());
    let handle = &shared.older.handle;
    let link = match handle
        .link_up(dialect, Arc::clone(&arrival.identity), sender)
        .await
    {
        Ok(Some(link)) => link,
        Ok(None) => return hold(shared, Unserved::Rules(dialect), arrival).await,
        Err(Stopping) => return arrival.writer.finish(&Status::ok()),
    };
    established();
    let Arrival {
        peer,
        first,
        mut reader,
        mut writer,
        ..
    } = arrival;
    notice::weaknesses(dialect, peer);
    shared.totals.update(|totals| match dialect {
        Dialect::V0_4 => totals.older.v0_4_links += 1,
        Dialect::V1 => totals.older.v1_links += 1,
    });
    debug!(link = link.0, %peer, dialect = dialect.name(), "older link served");
    reader.accept_large_frames();

    let mut ingest = Ingest {
        handle: handle.clone(),
        link,
        counters: LinkCounters::default(),
    };
    let mut end = tokio::select! {
        end = ingest.run(first, &mut reader) => end,
        end = write(&queue, &mut writer) => end,
        () = queue.stalled() => DriveEnd::Aborted(AbortReason::SlowConsumer),
        () = shared.draining() => DriveEnd::Drained,
    };
    // First out of the tables, then the farewell: nobody sends to a link that says goodbye.
    let _ = handle.link_down(link).await;
    match end {
        DriveEnd::Read(_) | DriveEnd::Drained | DriveEnd::Retired => {
            // The peer gets what was accepted for it; a dead connection ends the attempt at once.
            queue.close(Closing::Finish(Status::ok()));
            if let Ok(DriveEnd::Write(error)) = timeout(FAREWELL, write(&queue, &mut writer)).await {
                end = DriveEnd::Write(error);
                writer.abort();
            } else {
                writer.finish(&Status::ok());
            }
        }
        DriveEnd::Write(_) | DriveEnd::Aborted(_) => writer.abort(),
    }
    ingest.close(shared, dialect, &end, &queue, peer);
}

/// The reading half of a link.
struct Ingest {
    handle: OlderHandle,
    link: OlderLink,
    counters: LinkCounters,
}

impl Ingest {
    async fn run(&mut self, first: Frame, reader: &mut FrameReader) -> DriveEnd {
        let mut frame = first;
        loop {
            for _ in 0..FRAMES_PER_TURN {
                if self.handle(frame).await.is_err() {
                    return DriveEnd::Drained;
                }
                frame = match reader.next().await {
                    Ok(frame) => frame,
                    Err(end) => return DriveEnd::Read(end),
                };
            }
            yield_now().await;
        }
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), Stopping> {
        self.counters.received += 1;
        let copies = self.handle.apply(self.link, frame).await?;
        let may_wait = copies.len() == 1;
        for (queue, egress) in copies {
            self.deliver(&queue, egress, may_wait).await;
        }
        Ok(())
    }

    /// A message for one receiver may wait a moment for space: that holds back its sender alone, as upstream's nodes
    /// of these generations do. Answers to the link itself have a lane of their own.
    async fn deliver(&mut self, queue: &EgressSender, egress: Egress, may_wait: bool) {
        let result = if may_wait && !egress.is_link_control() {
            queue.push_within(egress, EGRESS_WAIT_MAX).await
        } else {
            queue.push(egress)
        };
        match result {
            Ok(()) => {}
            Err(Refused::Full) => self.counters.queue_full += 1,
            Err(Refused::Closing) => self.counters.target_gone += 1,
        }
    }

    fn close(
        &self,
        shared: &Shared,
        dialect: Dialect,
        end: &DriveEnd,
        queue: &EgressReceiver,
        peer: PeerAddress,
    ) {
        let own = self.counters;
        let slow = matches!(end, DriveEnd::Aborted(AbortReason::SlowConsumer));
        shared.totals.update(|totals| {
            totals.older.links_closed += 1;
            totals.slow_consumers += u64::from(slow);
            totals.queue_full += own.queue_full;
            totals.target_gone += own.target_gone;
        });
        debug!(
            link = self.link.0,
            %peer,
            dialect = dialect.name(),
            reason = %end,
            received = own.received,
            queue_full = own.queue_full,
            target_gone = own.target_gone,
            refused_for_this_link = queue.refused(),
            "older link closed"
        );
        if slow {
            tracing::warn!(%peer, dialect = dialect.name(), "link closed: {end}");
        }
    }
}
