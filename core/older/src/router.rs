//! Links of the older wires, and what happens to their messages.

use std::collections::{BTreeMap, VecDeque};

use bytes::{BufMut, Bytes, BytesMut};
use slim_proto::control::SubscriptionAck;
use slim_proto::wire::{put_length_tag, put_varint_field};
use slim_proto::{Egress, Frame};

use crate::dialect::Dialect;
use crate::table::Table;
use crate::view::{Key, Kind, LinkRequest, View};

/// The version that a node tells 1.x dialers: from 1.2.0 on they wait for acknowledgements (wire-1x X3), and an
/// application whose `subscribe` returned can then be reached.
const VERSION_TOLD: &str = "1.4.0";

/// A link of an older wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OlderLink(pub u64);

/// What the shell must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this message to a link.
    Send {
        /// Which.
        link: OlderLink,
        /// What, behind a gRPC prefix.
        egress: Egress,
    },
}

/// What was not forwarded, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Messages that do not decode or lack a part.
    pub malformed: u64,
    /// Messages that ask for nothing.
    pub ignored: u64,
    /// Publishes that nobody wants.
    pub no_match: u64,
    /// Publishes handed on, each receiver counted.
    pub forwarded: u64,
    /// Subscriptions refused because there are too many.
    pub refused: u64,
}

#[derive(Debug)]
struct State {
    dialect: Dialect,
    /// 1.x: it was answered; one answer is enough.
    is_negotiated: bool,
}

/// Routes for applications of 0.4 and of 1.x, each among themselves.
#[derive(Debug, Default)]
pub struct OlderRouter {
    links: BTreeMap<OlderLink, State>,
    v0_4: Table,
    v1: Table,
    next_link: u64,
    counters: Counters,
    outputs: VecDeque<Output>,
}

impl OlderRouter {
    /// A router without links.
    pub fn new() -> Self {
        Self::default()
    }

    /// A link that was told to be of this dialect ([`First`](crate::First), or the path of its call). It keeps it.
    pub fn handle_link_up(&mut self, dialect: Dialect) -> OlderLink {
        self.next_link += 1;
        let link = OlderLink(self.next_link);
        let state = State {
            dialect,
            is_negotiated: false,
        };
        self.links.insert(link, state);
        link
    }

    /// A message of a link. Nothing that it says ends the link: clients of these wires dial again at once, for ever
    /// (wire-1x X7).
    pub fn handle_frame(&mut self, link: OlderLink, frame: &Frame) {
        let Some(state) = self.links.get(&link) else {
            return;
        };
        let dialect = state.dialect;
        let message = frame.bytes();
        let view = match View::parse(dialect, message) {
            Ok(Some(view)) => view,
            Ok(None) => {
                self.counters.ignored += 1;
                return;
            }
            Err(error) => {
                tracing::debug!(?link, dialect = dialect.name(), %error, "message dropped");
                self.counters.malformed += 1;
                return;
            }
        };
        match view.kind {
            Kind::Link => self.negotiate(link, view.link),
            Kind::Subscribe => {
                let result = self
                    .table(dialect)
                    .subscribe(link, view.destination, view.subscription_id);
                self.counters.refused += u64::from(result.is_err());
                self.acknowledge(link, dialect, &view, result.map_err(|error| error.to_string()));
            }
            Kind::Unsubscribe => {
                let result = self
                    .table(dialect)
                    .unsubscribe(link, view.destination, view.subscription_id);
                self.acknowledge(link, dialect, &view, result.map_err(|error| error.to_string()));
            }
            Kind::Publish => self.forward(link, dialect, &view, message),
        }
    }

    /// A link is gone, and everything of it (wire-routing B4 step 5).
    pub fn handle_link_down(&mut self, link: OlderLink) {
        if let Some(state) = self.links.remove(&link) {
            self.table(state.dialect).remove_link(link);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// What was dropped and forwarded.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Links of a dialect.
    pub fn links_of(&self, dialect: Dialect) -> usize {
        self.links
            .values()
            .filter(|state| state.dialect == dialect)
            .count()
    }

    /// Subscriptions of a dialect.
    pub fn subscriptions_of(&self, dialect: Dialect) -> usize {
        match dialect {
            Dialect::V0_4 => self.v0_4.len(),
            Dialect::V1 => self.v1.len(),
        }
    }

    fn table(&mut self, dialect: Dialect) -> &mut Table {
        match dialect {
            Dialect::V0_4 => &mut self.v0_4,
            Dialect::V1 => &mut self.v1,
        }
    }

    /// Answers a 1.x request once, with its own link id (wire-1x X3).
    fn negotiate(&mut self, link: OlderLink, request: Option<LinkRequest<'_>>) {
        let request = request.filter(|request| !request.is_reply && !request.link_id.is_empty());
        let (Some(request), Some(state)) = (request, self.links.get_mut(&link)) else {
            self.counters.ignored += 1;
            return;
        };
        if std::mem::replace(&mut state.is_negotiated, true) {
            self.counters.ignored += 1;
            return;
        }
        self.send(link, link_reply(request.link_id));
    }

    /// 1.x wants an answer to every number but 0, repetitions included; 0.4 to none.
    fn acknowledge(
        &mut self,
        link: OlderLink,
        dialect: Dialect,
        view: &View<'_>,
        outcome: Result<(), String>,
    ) {
        if dialect == Dialect::V1 && view.subscription_id != 0 {
            let ack = SubscriptionAck {
                subscription_id: view.subscription_id,
                outcome,
            };
            let egress = ack.to_egress();
            self.outputs.push_back(Output::Send { link, egress });
        }
    }

    fn forward(&mut self, link: OlderLink, dialect: Dialect, view: &View<'_>, message: &Bytes) {
        let key = view.destination;
        let table = self.table(dialect);
        if dialect == Dialect::V0_4 {
            table.learn(link, view.source);
        }
        let receivers = if view.fanout != 1 {
            table.all(key, link)
        } else if let Some(one) = table.one(key, link) {
            vec![one]
        } else if dialect == Dialect::V0_4 && key.id != Key::ANY {
            table.fallback(key, link).into_iter().collect()
        } else {
            Vec::new()
        };
        if receivers.is_empty() {
            self.counters.no_match += 1;
            return;
        }
        let outgoing = view.outgoing(dialect, message);
        for receiver in receivers {
            self.counters.forwarded += 1;
            self.send(receiver, outgoing.clone());
        }
    }

    fn send(&mut self, link: OlderLink, message: Bytes) {
        match Frame::new(message) {
            Ok(frame) => {
                let egress = Egress::verbatim(frame);
                self.outputs.push_back(Output::Send { link, egress });
            }
            // It came in as a frame and only became shorter.
            Err(error) => tracing::error!(%error, "a message of an older wire exceeds the frame limit"),
        }
    }
}

/// A Link message: negotiation with link id, version and the mark of a reply (wire-1x X2.3).
fn link_reply(link_id: &str) -> Bytes {
    let mut negotiation = BytesMut::new();
    for (number, text) in [(1, link_id), (2, VERSION_TOLD)] {
        put_length_tag(&mut negotiation, number, text.len());
        negotiation.put_slice(text.as_bytes());
    }
    put_varint_field(&mut negotiation, 3, 1);
    let mut payload = BytesMut::new();
    put_length_tag(&mut payload, 1, negotiation.len());
    payload.put(negotiation);
    let mut message = BytesMut::new();
    put_length_tag(&mut message, 5, payload.len());
    message.put(payload);
    message.freeze()
}
