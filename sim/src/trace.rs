//! What happened, as lines that people read; and a fingerprint of it, to compare two runs of one seed.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::hash::{Hash as _, Hasher as _};

use slim_proto::control::SubscriptionRequest;
use slim_proto::{Instant, Message, MessageKind, NameId};

/// Lines kept when not all are wanted.
const RECENT: usize = 40;

/// One line.
#[derive(Clone, Debug)]
struct Line {
    at: Instant,
    text: String,
}

/// The record of a run.
pub(crate) struct Trace {
    lines: VecDeque<Line>,
    keep_all: bool,
    /// Kinds of message that are not recorded.
    pub(crate) muted: Vec<MessageKind>,
    /// Other kinds of lines that are not recorded.
    pub(crate) muted_notes: Vec<String>,
    /// What ids of names mean.
    names: BTreeMap<NameId, String>,
    fingerprint: DefaultHasher,
    count: u64,
}

impl Trace {
    pub(crate) fn new(keep_all: bool) -> Self {
        Self {
            lines: VecDeque::new(),
            keep_all,
            muted: Vec::new(),
            muted_notes: Vec::new(),
            names: BTreeMap::new(),
            fingerprint: DefaultHasher::new(),
            count: 0,
        }
    }

    /// Gives a name id a label.
    pub(crate) fn name(&mut self, id: NameId, label: impl Into<String>) {
        self.names.insert(id, label.into());
    }

    /// An application sent a message.
    pub(crate) fn message(&mut self, at: Instant, sender: &str, message: &Message) {
        (at, sender, message.kind as i32).hash(&mut self.fingerprint);
        self.count += 1;
        if self.muted.contains(&message.kind) {
            return;
        }
        let id = message.destination.id();
        let receiver = match self.names.get(&id) {
            Some(label) => label.clone(),
            None => message.destination.components()[2].to_owned(),
        };
        let mut text = format!("{sender}->{receiver} {:?}", message.kind);
        if !message.kind.is_command() {
            let _ = write!(text, " {}", message.message_id);
        }
        self.push(at, text);
    }

    /// An application asked its node for a subscription, or took one back.
    pub(crate) fn request(&mut self, at: Instant, sender: &str, request: &SubscriptionRequest) {
        (at, sender, request.action).hash(&mut self.fingerprint);
        self.count += 1;
        if self.muted_notes.iter().any(|muted| muted == "subscription") {
            return;
        }
        let name = match self.names.get(&request.destination.id()) {
            Some(label) => label.clone(),
            None => request.destination.components()[2].to_owned(),
        };
        self.push(at, format!("{sender}->node {:?} {name}", request.action));
    }

    /// Anything else; `kind` goes into the fingerprint, `text` to the reader.
    pub(crate) fn note(&mut self, at: Instant, kind: &str, text: String) {
        (at, kind).hash(&mut self.fingerprint);
        self.count += 1;
        if !self.muted_notes.iter().any(|muted| muted == kind) {
            self.push(at, text);
        }
    }

    fn push(&mut self, at: Instant, text: String) {
        self.lines.push_back(Line { at, text });
        if !self.keep_all && self.lines.len() > RECENT {
            self.lines.pop_front();
        }
    }

    /// The lines kept, with their times, and forgets them.
    pub(crate) fn take(&mut self) -> Vec<String> {
        self.lines
            .drain(..)
            .map(|line| {
                let millis = line.at.since_start().as_millis();
                format!("{:>6}.{:03} {}", millis / 1000, millis % 1000, line.text)
            })
            .collect()
    }

    /// Equal for runs with the same kinds of events at the same times.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint.finish()
    }

    /// Events so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}
