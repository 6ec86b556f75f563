//! A hostile node on the path of one application. It ends the links on both sides, so it holds their MAC keys and
//! may drop, repeat, delay and alter whatever passes; it holds no key of any endpoint.
//!
//! Acknowledgements of data are not altered or replayed late: the protocol does not authenticate them
//! (wire-session W4), so a hostile node can make a sender believe in a delivery. That is known and not searched for.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use slim_crypto::Rng;
use slim_proto::{Content, Frame, Instant, Message, MessageKind};

use crate::net::Way;

/// Messages remembered for a late replay.
const MEMORY: usize = 32;
/// Late enough to reach another epoch or another connection.
const REPLAY_AGE_MIN: Duration = Duration::from_secs(2);

/// What a hostile node does at random, each in percent of the messages.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Habits {
    pub(crate) drop: u64,
    pub(crate) duplicate: u64,
    pub(crate) delay: u64,
    pub(crate) replay: u64,
    pub(crate) alter: u64,
}

/// What a scenario asks for, once per message.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) way: Way,
    pub(crate) kind: MessageKind,
    pub(crate) times: u32,
    pub(crate) deed: Deed,
}

/// One deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Lose,
    Repeat,
    Delay(Duration),
}

/// A frame that leaves the hostile node; with a detour it does not keep its place in the order.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) frame: Frame,
    pub(crate) detour: Option<Duration>,
}

/// The hostile node.
#[derive(Debug, Default)]
pub(crate) struct Adversary {
    pub(crate) habits: Habits,
    pub(crate) orders: Vec<Order>,
    memory: VecDeque<(Instant, Way, Frame)>,
}

impl Adversary {
    pub(crate) fn with_habits(habits: Habits) -> Self {
        Self {
            habits,
            ..Self::default()
        }
    }

    /// What becomes of one frame. Subscriptions and their acknowledgements pass: a node that falsifies them is a
    /// node that does not forward, which dropping covers.
    pub(crate) fn tamper(
        &mut self,
        now: Instant,
        way: Way,
        frame: Frame,
        rng: &mut Rng,
        notes: &mut Vec<String>,
    ) -> Vec<Fate> {
        let Ok(Some(message)) = Message::decode(frame.bytes().clone()) else {
            return vec![straight(frame)];
        };
        if let Some(deed) = self.ordered(way, message.kind) {
            notes.push(format!("{:?} {}", message.kind, verb(deed)));
            return match deed {
                Deed::Lose => Vec::new(),
                Deed::Repeat => vec![straight(frame.clone()), straight(frame)],
                Deed::Delay(detour) => vec![detoured(frame, detour)],
            };
        }
        self.at_random(now, way, &message, frame, rng, notes)
    }

    fn ordered(&mut self, way: Way, kind: MessageKind) -> Option<Deed> {
        let order = self
            .orders
            .iter_mut()
            .find(|order| order.way == way && order.kind == kind && order.times > 0)?;
        order.times -= 1;
        Some(order.deed)
    }

    fn at_random(
        &mut self,
        now: Instant,
        way: Way,
        message: &Message,
        frame: Frame,
        rng: &mut Rng,
        notes: &mut Vec<String>,
    ) -> Vec<Fate> {
        let receipt = matches!(message.kind, MessageKind::MsgAck | MessageKind::RtxRequest);
        let mut fates = Vec::new();
        if !receipt {
            if chance(rng, self.habits.replay)
                && let Some(old) = self.recall(now, way, rng)
            {
                notes.push("an old message replayed".to_owned());
                fates.push(straight(old));
            }
            self.memory.push_back((now, way, frame.clone()));
            if self.memory.len() > MEMORY {
                self.memory.pop_front();
            }
        }
        if chance(rng, self.habits.drop) {
            notes.push(format!("{:?} lost", message.kind));
        } else if !receipt && chance(rng, self.habits.alter) {
            let altered = alter(message.clone(), rng);
            notes.push(format!("{:?} altered in its {}", message.kind, altered.1));
            fates.extend(Frame::new(altered.0).map(straight));
        } else if chance(rng, self.habits.delay) {
            notes.push(format!("{:?} delayed", message.kind));
            let detour = Duration::from_millis(rng.below(2000));
            fates.push(detoured(frame, detour));
        } else if chance(rng, self.habits.duplicate) {
            notes.push(format!("{:?} repeated", message.kind));
            let detour = Duration::from_millis(rng.below(500));
            fates.push(straight(frame.clone()));
            fates.push(detoured(frame, detour));
        } else {
            fates.push(straight(frame));
        }
        fates
    }

    fn recall(&self, now: Instant, way: Way, rng: &mut Rng) -> Option<Frame> {
        let old: Vec<&Frame> = self
            .memory
            .iter()
            .filter(|(at, of, _)| *of == way && now.saturating_since(*at) >= REPLAY_AGE_MIN)
            .map(|(_, _, frame)| frame)
            .collect();
        let index = usize::try_from(rng.below(old.len() as u64)).ok()?;
        old.get(index).map(|frame| (*frame).clone())
    }
}

/// Changes one thing. By field and not by position in the bytes, since signatures vary in length and a seed would
/// not repeat.
fn alter(mut message: Message, rng: &mut Rng) -> (Bytes, &'static str) {
    let field = match rng.below(11) {
        0 => {
            message.message_id ^= 1 << rng.below(32);
            "message id"
        }
        1 => {
            message.session_id ^= 1 << rng.below(4);
            "session id"
        }
        2 => {
            message.identity = alter_text(&message.identity, rng);
            "identity"
        }
        3 => {
            message.source = message.destination.clone();
            "source"
        }
        4 => {
            message.destination = message.destination.without_id();
            "destination"
        }
        5 => {
            message.header_signature = message.header_signature.map(|signature| signature.slice(1..));
            "header signature"
        }
        6 => {
            message
                .metadata
                .insert("PUBLISH_TO".to_owned(), "TRUE".to_owned());
            "metadata"
        }
        7 => {
            message.error = Some(true);
            "error mark"
        }
        8 => return (message.encode().slice(..40), "length"),
        9 => {
            message.fanout ^= 257;
            "fan-out"
        }
        _ => {
            if let Content::Application { blob, .. } = &mut message.content {
                let mut bytes = blob.to_vec();
                // The first bytes are MLS framing of fixed length, the last ones the authentication tag.
                let near = usize::try_from(rng.below(48)).unwrap_or(0);
                let at = if rng.below(2) == 0 {
                    near
                } else {
                    bytes.len().saturating_sub(near + 1)
                };
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.below(8);
                }
                *blob = bytes.into();
            }
            "payload"
        }
    };
    (message.encode(), field)
}

fn alter_text(text: &str, rng: &mut Rng) -> String {
    let at = usize::try_from(rng.below(text.len().max(1) as u64)).unwrap_or(0);
    text.char_indices()
        .map(|(index, character)| match (index == at, character) {
            (true, 'x') => 'y',
            (true, _) => 'x',
            (false, character) => character,
        })
        .collect()
}

fn chance(rng: &mut Rng, percent: u64) -> bool {
    percent > 0 && rng.below(100) < percent
}

fn verb(deed: Deed) -> String {
    match deed {
        Deed::Lose => "lost".to_owned(),
        Deed::Repeat => "repeated".to_owned(),
        Deed::Delay(detour) => format!("delayed by {} ms", detour.as_millis()),
    }
}

fn straight(frame: Frame) -> Fate {
    Fate { frame, detour: None }
}

fn detoured(frame: Frame, detour: Duration) -> Fate {
    Fate {
        frame,
        detour: Some(detour),
    }
}
