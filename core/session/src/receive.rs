//! One sender's stream of reliable data: order, gaps, duplicates (wire-session §4.9, receiver).

use std::collections::BTreeMap;

use slim_proto::limits::REORDER_MAX;

use crate::api::Received;
use crate::seq;

/// Where a stream starts when its first message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// At 1: one to one, and members that joined after this one.
    AtOne,
    /// A sender of our own kind that was there first: ask back, message by message, until the sender says
    /// that an earlier one was not for us. Upstream starts at whatever arrives first and so loses the messages
    /// before it when they were only late.
    AskBack,
    /// An upstream sender that was there first: it would answer with messages from before our time.
    FirstArrival,
}

/// What the session has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Hand this to the application.
    Deliver(Box<Received>),
    /// Tell the application that these are lost (first and last number).
    Lost(u32, u32),
    /// Request the message at this position and repeat the request until it stops.
    Ask(u64),
    /// Stop requesting this position.
    StopAsking(u64),
}

#[derive(Debug)]
enum Slot {
    Message(Box<Received>),
    Lost,
}

/// Reorder buffer of one sender.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Next position to deliver; `None` while the start is unknown.
    next: Option<u64>,
    held: BTreeMap<u64, Slot>,
    /// Requested positions and how often each was requested again.
    asked: BTreeMap<u64, u32>,
}

impl Stream {
    pub(crate) fn new(start: Start, first: u32) -> Self {
        let next = match start {
            Start::AtOne => Some(1),
            Start::FirstArrival => Some(u64::from(first)),
            // Nothing can be before 1; and 0 is what follows a wrap, where asking back would not end.
            Start::AskBack => (first <= 1).then_some(u64::from(first)),
        };
        Self {
            next,
            held: BTreeMap::new(),
            asked: BTreeMap::new(),
        }
    }

    /// Takes a message; `false` if it is a duplicate.
    pub(crate) fn accept(&mut self, message: Received, steps: &mut Vec<Step>) -> bool {
        let Some(next) = self.next else {
            return self.accept_before_start(message, steps);
        };
        let Some(position) = seq::position_near(message.message_id, next) else {
            return false;
        };
        if position < next || matches!(self.held.get(&position), Some(Slot::Message(_))) {
            return false;
        }
        self.filled(position, steps);
        self.held.insert(position, Slot::Message(Box::new(message)));
        if position >= next + REORDER_MAX as u64 {
            // The sender keeps no more than that, so what is older will not come (R9).
            self.skip_to(position + 1 - REORDER_MAX as u64, steps);
        }
        self.flush(steps);
        self.ask_for_gaps(steps);
        true
    }

    /// The sender does not have this position for us, or did not answer.
    pub(crate) fn declare_lost(&mut self, position: u64, steps: &mut Vec<Step>) {
        self.filled(position, steps);
        match self.next {
            Some(next) if position >= next => {
                self.held.entry(position).or_insert(Slot::Lost);
                self.flush(steps);
            }
            Some(_) => {}
            None => {
                if let Some((&lowest, _)) = self.held.first_key_value()
                    && position + 1 == lowest
                {
                    self.start_at(lowest, steps);
                }
            }
        }
    }

    /// The sender is gone: everything that is held, in order, and what is missing in between as lost.
    pub(crate) fn finish(mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        let (Some(lowest), Some(highest)) = (
            self.held.keys().next().copied(),
            self.held.keys().next_back().copied(),
        ) else {
            return steps;
        };
        self.next.get_or_insert(lowest);
        self.skip_to(highest + 1, &mut steps);
        steps
    }

    /// The position of a number that is being asked for.
    pub(crate) fn asked_position(&self, id: u32) -> Option<u64> {
        self.asked
            .keys()
            .copied()
            .find(|position| seq::wire_id(*position) == id)
    }

    /// The request for a position went unanswered once more: true if it is to be repeated.
    pub(crate) fn may_ask_again(&mut self, position: u64, retries_max: u32) -> bool {
        let Some(repeats) = self.asked.get_mut(&position) else {
            return false;
        };
        *repeats += 1;
        *repeats <= retries_max
    }

    fn accept_before_start(&mut self, message: Received, steps: &mut Vec<Step>) -> bool {
        let lowest = self.held.first_key_value().map(|(position, _)| *position);
        let reference = lowest.unwrap_or_else(|| u64::from(message.message_id));
        let Some(position) = seq::position_near(message.message_id, reference) else {
            return false;
        };
        if self.held.contains_key(&position) {
            return false;
        }
        self.filled(position, steps);
        self.held.insert(position, Slot::Message(Box::new(message)));
        let highest = self
            .held
            .last_key_value()
            .map_or(position, |(position, _)| *position);
        let lowest = lowest.map_or(position, |lowest| lowest.min(position));
        if lowest <= 1 || highest - lowest >= REORDER_MAX as u64 - 1 {
            self.start_at(lowest, steps);
        } else if lowest == position {
            self.ask(lowest - 1, steps);
        }
        true
    }

    fn start_at(&mut self, position: u64, steps: &mut Vec<Step>) {
        let asked: Vec<u64> = self
            .asked
            .range(..position)
            .map(|(position, _)| *position)
            .collect();
        for position in asked {
            self.filled(position, steps);
        }
        self.next = Some(position);
        self.flush(steps);
        self.ask_for_gaps(steps);
    }

    /// Delivers what is held up to `target` and reports the rest of it as lost.
    fn skip_to(&mut self, target: u64, steps: &mut Vec<Step>) {
        let Some(mut next) = self.next else { return };
        while next < target {
            if let Some(slot) = self.held.remove(&next) {
                deliver(next, slot, steps);
                next += 1;
                continue;
            }
            let gap_end = self
                .held
                .keys()
                .next()
                .copied()
                .map_or(target, |held| held.min(target));
            let asked: Vec<u64> = self
                .asked
                .range(next..gap_end)
                .map(|(position, _)| *position)
                .collect();
            for position in asked {
                self.filled(position, steps);
            }
            lost(next, gap_end - 1, steps);
            next = gap_end;
        }
        self.next = Some(next);
    }

    fn flush(&mut self, steps: &mut Vec<Step>) {
        let Some(mut next) = self.next else { return };
        while let Some(slot) = self.held.remove(&next) {
            deliver(next, slot, steps);
            next += 1;
        }
        self.next = Some(next);
    }

    fn ask_for_gaps(&mut self, steps: &mut Vec<Step>) {
        let (Some(next), Some((&highest, _))) = (self.next, self.held.last_key_value()) else {
            return;
        };
        // At most REORDER_MAX positions: `accept` has moved `next` up.
        for position in next..highest {
            if !self.held.contains_key(&position) {
                self.ask(position, steps);
            }
        }
    }

    fn ask(&mut self, position: u64, steps: &mut Vec<Step>) {
        self.asked.entry(position).or_insert_with(|| {
            steps.push(Step::Ask(position));
            0
        });
    }

    fn filled(&mut self, position: u64, steps: &mut Vec<Step>) {
        if self.asked.remove(&position).is_some() {
            steps.push(Step::StopAsking(position));
        }
    }
}

fn deliver(position: u64, slot: Slot, steps: &mut Vec<Step>) {
    match slot {
        Slot::Message(message) => steps.push(Step::Deliver(message)),
        Slot::Lost => lost(position, position, steps),
    }
}

/// Reports a range, joined to the one before it if they touch.
fn lost(first: u64, last: u64, steps: &mut Vec<Step>) {
    let (first, last) = (seq::wire_id(first), seq::wire_id(last));
    if let Some(Step::Lost(_, end)) = steps.last_mut()
        && end.wrapping_add(1) == first
    {
        *end = last;
        return;
    }
    steps.push(Step::Lost(first, last));
}

#[cfg(test)]
mod tests;
