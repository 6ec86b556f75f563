//! The egress queue of one link: budget, priority lane and the decision to close a stalled link.
//!
//! A policy as a state machine (architecture, "Overload"): the shell writes what [`EgressQueue::pop`] returns. A full
//! queue refuses frames and never blocks anybody.

use std::collections::VecDeque;
use std::time::Duration;

use slim_proto::limits::{
    EGRESS_BYTES_MAX, EGRESS_CONTROL_FRAMES_MAX, EGRESS_FRAMES_MAX, EGRESS_FULL_MAX, FRAME_BYTES_MAX,
};
use slim_proto::{Egress, Instant};

use crate::rate::{Rate, TokenBucket};

// One frame of the largest size always fits into an empty queue.
const _: () = assert!(EGRESS_BYTES_MAX > FRAME_BYTES_MAX);

/// Limits of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EgressBudget {
    /// Data frames.
    pub frames_max: usize,
    /// Bytes of data frames, prefixes included.
    pub bytes_max: usize,
    /// Link and SubscriptionAck frames, on top of the others.
    pub control_frames_max: usize,
    /// A queue that stays full this long means a stalled peer.
    pub full_max: Duration,
    /// How many data frames may leave; `None` for any number.
    pub rate: Option<Rate>,
}

/// Least data frames of a queue whose rate is limited: what a link says at its start must fit.
const LIMITED_FRAMES_MIN: usize = 64;

impl EgressBudget {
    /// The budget of a link that may send at this rate only. No more frames wait than leave in one period (and some
    /// for the start of a link), so that nothing waits long; who publishes waits instead.
    pub fn limited(rate: Rate) -> Self {
        let count = usize::try_from(rate.count).unwrap_or(usize::MAX);
        Self {
            frames_max: count.clamp(LIMITED_FRAMES_MIN, EGRESS_FRAMES_MAX),
            // A queue that is held back is no sign of a peer that takes nothing.
            full_max: EGRESS_FULL_MAX + rate.interval(),
            rate: Some(rate),
            ..Self::default()
        }
    }
}

impl Default for EgressBudget {
    fn default() -> Self {
        Self {
            frames_max: EGRESS_FRAMES_MAX,
            bytes_max: EGRESS_BYTES_MAX,
            control_frames_max: EGRESS_CONTROL_FRAMES_MAX,
            full_max: EGRESS_FULL_MAX,
            rate: None,
        }
    }
}

/// The queue was full; the frame comes back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("egress queue full at {frames} frames, {bytes} bytes")]
pub struct EgressFull {
    /// Data frames that wait.
    pub frames: usize,
    /// Their bytes.
    pub bytes: usize,
    /// The frame that did not fit.
    pub refused: Egress,
}

/// Frames that wait for one link, in order per lane; the control lane goes first.
#[derive(Debug, Default)]
pub struct EgressQueue {
    budget: EgressBudget,
    control: VecDeque<Egress>,
    data: VecDeque<Egress>,
    data_bytes: usize,
    /// Since when every push was refused, without a pop in between.
    full_since: Option<Instant>,
    refused: u64,
    bucket: Option<TokenBucket>,
}

/// What a writer gets.
#[derive(Debug)]
pub enum Next {
    /// Write this.
    Frame(Egress),
    /// The rate allows nothing more before this moment.
    Held(Instant),
    /// Nothing waits.
    Empty,
}

impl EgressQueue {
    /// An empty queue.
    pub fn new(budget: EgressBudget) -> Self {
        Self {
            budget,
            bucket: budget.rate.map(TokenBucket::new),
            ..Self::default()
        }
    }

    /// Appends a frame to its lane, or gives it back when that lane is full.
    pub fn push(&mut self, now: Instant, egress: Egress) -> Result<(), Box<EgressFull>> {
        let fits = if egress.is_link_control() {
            self.control.len() < self.budget.control_frames_max
        } else {
            self.data.len() < self.budget.frames_max
                && self.data_bytes + egress.len() <= self.budget.bytes_max
        };
        if !fits {
            self.full_since.get_or_insert(now);
            self.refused += 1;
            return Err(Box::new(EgressFull {
                frames: self.data.len(),
                bytes: self.data_bytes,
                refused: egress,
            }));
        }
        if egress.is_link_control() {
            self.control.push_back(egress);
        } else {
            self.data_bytes += egress.len();
            self.data.push_back(egress);
        }
        Ok(())
    }

    /// The next frame to write, as far as the rate allows. Link control is never held back.
    pub fn next(&mut self, now: Instant) -> Next {
        if self.control.is_empty()
            && !self.data.is_empty()
            && let Some(Err(when)) = self.bucket.as_mut().map(|bucket| bucket.take(now))
        {
            return Next::Held(when);
        }
        self.pop().map_or(Next::Empty, Next::Frame)
    }

    /// The next frame to write, whatever the rate. Whoever takes one shows that the link is alive.
    pub fn pop(&mut self) -> Option<Egress> {
        let egress = match self.control.pop_front() {
            Some(egress) => egress,
            None => {
                let egress = self.data.pop_front()?;
                self.data_bytes -= egress.len();
                egress
            }
        };
        self.full_since = None;
        Some(egress)
    }

    /// True if nothing waits.
    pub fn is_empty(&self) -> bool {
        self.control.is_empty() && self.data.is_empty()
    }

    /// Frames that wait, both lanes.
    pub fn len(&self) -> usize {
        self.control.len() + self.data.len()
    }

    /// Bytes of the data frames that wait.
    pub fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// Frames refused so far.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// True if a data frame of `bytes` would be refused now; for senders that may wait.
    pub fn is_full_for(&self, bytes: usize) -> bool {
        self.data.len() >= self.budget.frames_max || self.data_bytes + bytes > self.budget.bytes_max
    }

    /// True if the link must be closed: it was full for the whole allowed time and took nothing.
    pub fn is_stalled(&self, now: Instant) -> bool {
        self.full_since
            .is_some_and(|since| now.saturating_since(since) >= self.budget.full_max)
    }

    /// When [`is_stalled`](Self::is_stalled) becomes true if nothing is taken until then.
    pub fn poll_timeout(&self) -> Option<(Instant, &'static str)> {
        self.full_since
            .map(|since| (since + self.budget.full_max, "egress queue full"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use slim_proto::Frame;
    use slim_proto::control::SubscriptionAck;

    const START: Instant = Instant::ZERO;

    fn data(size: usize) -> Egress {
        let mut bytes = vec![0; size];
        bytes[0] = 0x1A;
        Egress::verbatim(Frame::new(bytes).unwrap())
    }

    fn ack(id: u64) -> Egress {
        SubscriptionAck {
            subscription_id: id,
            outcome: Ok(()),
        }
        .to_egress()
    }

    fn small() -> EgressQueue {
        EgressQueue::new(EgressBudget {
            frames_max: 3,
            bytes_max: 100,
            control_frames_max: 2,
            full_max: Duration::from_secs(10),
            rate: None,
        })
    }

    #[test]
    fn acknowledgements_overtake_data_and_keep_their_order() {
        let mut queue = small();
        for egress in [data(1), ack(1), data(2), ack(2)] {
            queue.push(START, egress).unwrap();
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [ack(1), ack(2), data(1), data(2)]);
        assert_eq!((queue.is_empty(), queue.data_bytes()), (true, 0));
    }

    #[test]
    fn each_limit_refuses_exactly_the_frame_beyond_it() {
        let mut queue = small();
        for _ in 0..3 {
            queue.push(START, data(1)).unwrap();
        }
        let full = queue.push(START, data(1)).unwrap_err();
        assert_eq!((full.frames, full.refused), (3, data(1)));
        assert!(
            queue.push(START, ack(1)).is_ok(),
            "control frames have room of their own"
        );
        queue.push(START, ack(2)).unwrap();
        assert!(queue.push(START, ack(3)).is_err());

        let mut queue = small();
        queue.push(START, data(95)).unwrap();
        assert!(queue.is_full_for(1));
        assert!(
            queue.push(START, data(1)).is_err(),
            "100 bytes with the prefix are the limit"
        );
        assert_eq!(queue.refused(), 1);
    }

    #[test]
    fn a_link_that_takes_nothing_for_ten_seconds_is_stalled() {
        let mut queue = small();
        queue.push(START, data(95)).unwrap();
        assert_eq!(queue.poll_timeout(), None, "full is only what refused a frame");
        let refused_at = START + Duration::from_secs(1);
        queue.push(refused_at, data(50)).unwrap_err();
        queue
            .push(refused_at + Duration::from_secs(9), data(50))
            .unwrap_err();
        let (deadline, _) = queue.poll_timeout().unwrap();
        assert_eq!(deadline, refused_at + Duration::from_secs(10));
        assert!(!queue.is_stalled(deadline - Duration::from_nanos(1)));
        assert!(queue.is_stalled(deadline));
    }

    #[test]
    fn one_written_frame_proves_life() {
        let mut queue = small();
        queue.push(START, data(95)).unwrap();
        queue.push(START, data(95)).unwrap_err();
        queue.pop();
        assert!(!queue.is_stalled(START + Duration::from_secs(60)));
        assert_eq!(queue.poll_timeout(), None);
    }

    #[test]
    fn the_default_budget_is_that_of_the_limits() {
        let mut queue = EgressQueue::default();
        let frame = Egress {
            head: Bytes::from_static(&[0, 0, 0, 0, 1, 0x1A]),
            tail: Bytes::new(),
        };
        for _ in 0..EGRESS_FRAMES_MAX {
            queue.push(START, frame.clone()).unwrap();
        }
        assert!(queue.push(START, frame).is_err());
    }

    #[test]
    fn a_limited_queue_gives_out_what_its_rate_allows_and_control_at_once() {
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let rate = Rate {
            count: 2,
            per: Duration::from_secs(10),
        };
        let mut queue = EgressQueue::new(EgressBudget::limited(rate));
        for _ in 0..LIMITED_FRAMES_MIN {
            queue.push(at(0), data(10)).unwrap();
        }
        assert!(queue.push(at(0), data(10)).is_err());
        assert!(matches!(queue.next(at(0)), Next::Frame(_)));
        assert!(matches!(queue.next(at(0)), Next::Frame(_)));
        assert!(matches!(queue.next(at(0)), Next::Held(when) if when == at(5)));
        queue.push(at(0), ack(7)).unwrap();
        assert!(matches!(queue.next(at(0)), Next::Frame(frame) if frame.is_link_control()));
        assert!(matches!(queue.next(at(5)), Next::Frame(_)));
        // Being held back is not being stalled.
        while queue.push(at(5), data(10)).is_ok() {}
        assert!(!queue.is_stalled(at(14)));
    }
}
