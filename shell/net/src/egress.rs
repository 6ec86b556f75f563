//! The queue in front of one link's writer, shared by everybody who sends to that link.
//!
//! The policy (budget, priority lane, when a peer counts as stalled) is the router's [`EgressQueue`]; this is the
//! lock around it and the waking. Pushing never waits, so one slow link delays nobody's traffic but its own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slim_config::RateLimit;
use slim_proto::Instant;
use slim_proto::splice::Egress;
use slim_router::egress::{EgressBudget, Next};
use slim_router::{EgressQueue, Rate};
use tokio::sync::Notify;
use tokio::time::{sleep_until, timeout};

use crate::clock::Clock;
use crate::frames::{BATCH_BYTES, BATCH_FRAMES, FrameWriter};
use crate::grpc::status::Status;

/// The sending side; clones share the queue.
#[derive(Clone, Debug)]
pub struct EgressSender(Arc<Shared>);

/// The writing side; there is one.
#[derive(Debug)]
pub struct EgressReceiver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    state: Mutex<State>,
    readable: Notify,
    space: Notify,
    refusing: Notify,
}

#[derive(Debug)]
struct State {
    queue: EgressQueue,
    closing: Option<Closing>,
}

/// How a link's output ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closing {
    /// What waits is written, then the call ends with this status.
    Finish(Status),
    /// Nothing more is written.
    Abort(AbortReason),
}

/// Why a link is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AbortReason {
    /// Its queue stayed full for the whole allowed time.
    #[error("slow consumer: its queue stayed full too long")]
    SlowConsumer,
    /// Its driver is gone.
    #[error("link closed")]
    Closed,
}

/// A frame that was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The queue is full.
    #[error("egress queue full")]
    Full,
    /// The link is closing.
    #[error("link is closing")]
    Closing,
}

/// The budget of a dialled link, with the rate that is configured for it.
pub fn egress_budget(limit: Option<RateLimit>) -> EgressBudget {
    limit.map_or_else(EgressBudget::default, |limit| {
        EgressBudget::limited(Rate {
            count: limit.count,
            per: limit.per,
        })
    })
}

/// A fresh queue.
pub fn egress_queue(clock: Clock, budget: EgressBudget) -> (EgressSender, EgressReceiver) {
    let shared = Arc::new(Shared {
        clock,
        state: Mutex::new(State {
            queue: EgressQueue::new(budget),
            closing: None,
        }),
        readable: Notify::new(),
        space: Notify::new(),
        refusing: Notify::new(),
    });
    (EgressSender(Arc::clone(&shared)), EgressReceiver(shared))
}

impl EgressSender {
    /// Queues a frame, or drops it at once.
    pub fn push(&self, egress: Egress) -> Result<(), Refused> {
        let mut state = self.0.lock();
        if state.closing.is_some() {
            return Err(Refused::Closing);
        }
        let now = self.0.clock.monotonic();
        let was_empty = state.queue.is_empty();
        if state.queue.push(now, egress).is_ok() {
            drop(state);
            if was_empty {
                self.0.readable.notify_one();
            }
            return Ok(());
        }
        drop(state);
        // The driver starts to count the time; see `EgressReceiver::stalled`.
        self.0.refusing.notify_one();
        Err(Refused::Full)
    }

    /// Queues a frame, waiting at most `limit` for space. For one sender's own traffic only: whoever waits here
    /// reads nothing more from its peer.
    pub async fn push_within(&self, egress: Egress, limit: Duration) -> Result<(), Refused> {
        let has_space = {
            let state = self.0.lock();
            state.closing.is_some() || !state.queue.is_full_for(egress.len())
        };
        if has_space {
            return self.push(egress);
        }
        let wait_for_space = async {
            loop {
                let space = self.0.space.notified();
                {
                    let state = self.0.lock();
                    if state.closing.is_some() || !state.queue.is_full_for(egress.len()) {
                        return;
                    }
                }
                space.await;
            }
        };
        // After the wait the ordinary push decides, and counts.
        let _ = timeout(limit, wait_for_space).await;
        self.push(egress)
    }

    /// Ends the link's output; the first call wins.
    pub fn close(&self, closing: Closing) {
        self.0.close(closing);
    }

    /// True if a data frame of `bytes` would be refused now; for senders that can wait elsewhere.
    pub fn is_full_for(&self, bytes: usize) -> bool {
        self.0.lock().queue.is_full_for(bytes)
    }

    /// True if every frame was moved to the writer.
    pub fn is_empty(&self) -> bool {
        self.0.lock().queue.is_empty()
    }

    /// True once the link takes no more frames.
    pub fn is_closing(&self) -> bool {
        self.0.lock().closing.is_some()
    }

    /// Frames that were refused because the queue was full.
    pub fn refused(&self) -> u64 {
        self.0.lock().queue.refused()
    }
}

impl EgressReceiver {
    /// Waits for frames and moves one batch to the writer; `Err` when the link's output ends.
    ///
    /// One caller at a time. Cancel safe: frames leave the queue only together with the return.
    pub async fn next_batch(&self, writer: &mut FrameWriter) -> Result<(), Closing> {
        loop {
            let readable = self.0.readable.notified();
            let held = {
                let mut state = self.0.lock();
                if let Some(closing @ Closing::Abort(_)) = &state.closing {
                    return Err(closing.clone());
                }
                let held = pop_batch(&mut state.queue, self.0.clock.monotonic(), writer);
                if writer.pending_bytes() > 0 {
                    drop(state);
                    self.0.space.notify_waiters();
                    return Ok(());
                }
                if held.is_none()
                    && let Some(closing) = &state.closing
                {
                    return Err(closing.clone());
                }
                held
            };
            match held {
                None => readable.await,
                Some(when) => tokio::select! {
                    () = readable => {}
                    () = sleep_until(self.0.clock.timer(when)) => {}
                },
            }
        }
    }

    /// Returns when the peer took nothing from a full queue for the whole allowed time.
    pub async fn stalled(&self) {
        loop {
            let deadline = self.0.lock().queue.poll_timeout();
            match deadline {
                Some((deadline, _)) => {
                    sleep_until(self.0.clock.timer(deadline)).await;
                    if self.0.lock().queue.is_stalled(self.0.clock.now().mono) {
                        return;
                    }
                }
                None => self.0.refusing.notified().await,
            }
        }
    }

    /// Ends the output; senders get [`Refused::Closing`] from now on.
    pub fn close(&self, closing: Closing) {
        self.0.close(closing);
    }

    /// Frames that were refused because the queue was full.
    pub fn refused(&self) -> u64 {
        self.0.lock().queue.refused()
    }
}

impl Drop for EgressReceiver {
    fn drop(&mut self) {
        self.0.close(Closing::Abort(AbortReason::Closed));
        // Senders may keep the queue's shell for a while; the frames go now.
        self.0.lock().queue = EgressQueue::default();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock panics halfway through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, closing: Closing) {
        self.lock().closing.get_or_insert(closing);
        self.readable.notify_one();
        self.space.notify_waiters();
    }
}

/// Moves what may be written now; the result says when there may be more, if the rate holds it back.
fn pop_batch(queue: &mut EgressQueue, now: Instant, writer: &mut FrameWriter) -> Option<Instant> {
    for _ in 0..BATCH_FRAMES {
        if writer.pending_bytes() >= BATCH_BYTES {
            return None;
        }
        match queue.next(now) {
            Next::Frame(egress) => writer.push(egress),
            Next::Held(when) => return Some(when),
            Next::Empty => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use slim_proto::Frame;

    fn frame(bytes: usize) -> Egress {
        // Field 3 is a Publish, so the frame takes the data lane.
        let mut frame = vec![0x1A];
        frame.resize(bytes, 0);
        Egress::verbatim(Frame::new(frame).unwrap())
    }

    fn small_queue() -> (EgressSender, EgressReceiver) {
        let budget = EgressBudget {
            frames_max: 2,
            full_max: Duration::from_secs(10),
            ..EgressBudget::default()
        };
        egress_queue(Clock::start(), budget)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_stalls_after_its_time() {
        let (sender, receiver) = small_queue();
        sender.push(frame(8)).unwrap();
        sender.push(frame(8)).unwrap();
        let before = tokio::time::Instant::now();
        assert_eq!(sender.push(frame(8)), Err(Refused::Full));
        receiver.stalled().await;
        let waited = before.elapsed();
        assert!(
            waited >= Duration::from_secs(10) && waited < Duration::from_secs(11),
            "{waited:?}"
        );
        assert_eq!(sender.refused(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_space_ends_at_its_limit() {
        let (sender, _receiver) = small_queue();
        sender.push(frame(8)).unwrap();
        sender.push(frame(8)).unwrap();
        let before = tokio::time::Instant::now();
        let result = sender.push_within(frame(8), Duration::from_secs(1)).await;
        assert_eq!(result, Err(Refused::Full));
        assert!(before.elapsed() >= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_waiting_sender_goes_on_when_the_queue_is_popped_or_closed() {
        let (sender, receiver) = small_queue();
        sender.push(frame(8)).unwrap();
        sender.push(frame(8)).unwrap();
        let pop = async {
            tokio::task::yield_now().await;
            receiver.0.lock().queue.pop();
            receiver.0.space.notify_waiters();
        };
        let (result, ()) = tokio::join!(sender.push_within(frame(8), Duration::from_secs(1)), pop);
        assert_eq!(result, Ok(()));
        let close = async {
            tokio::task::yield_now().await;
            drop(receiver);
        };
        let (result, ()) = tokio::join!(sender.push_within(frame(8), Duration::from_secs(1)), close);
        assert_eq!(result, Err(Refused::Closing));
        assert!(sender.is_closing());
    }
}
