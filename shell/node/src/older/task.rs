//! The task that owns the router of the older wires.
//!
//! It decides who gets a message and hands the copies back to the driver of the link that the message came from. So
//! the task never waits for a link, and a driver that waits holds back its own peer only (Invariant 23).
//!
//! Rules say which names a link may use, and the names of these wires cannot be checked: publishes of 0.4 have no
//! text at all. So under rules a link is served only if it may do everything.

use std::collections::BTreeMap;
use std::sync::Arc;

use slim_net::EgressSender;
use slim_net::egress::{AbortReason, Closing};
use slim_older::{Dialect, OlderLink, OlderRouter, Output};
use slim_policy::{LinkIdentity, Rules};
use slim_proto::limits::ROUTER_INPUTS_MAX;
use slim_proto::{Egress, Frame};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use crate::counters::Totals;
use crate::router_task::Stopping;

/// Inputs that are applied before the counters are published once for all of them.
const INPUTS_PER_TURN: usize = 64;

/// Copies of a message, each with the queue that it goes to.
pub(crate) type Copies = Vec<(EgressSender, Egress)>;

/// Talks to the task.
#[derive(Clone, Debug)]
pub(crate) struct OlderHandle(mpsc::Sender<Input>);

#[derive(Debug)]
enum Input {
    LinkUp {
        dialect: Dialect,
        identity: Arc<LinkIdentity>,
        egress: EgressSender,
        applied: oneshot::Sender<Option<OlderLink>>,
    },
    LinkDown {
        link: OlderLink,
        applied: oneshot::Sender<()>,
    },
    Frame {
        link: OlderLink,
        frame: Frame,
        applied: oneshot::Sender<Copies>,
    },
    Rules {
        rules: Option<Arc<Rules>>,
        applied: oneshot::Sender<()>,
    },
}

impl OlderHandle {
    /// Makes a link known; `None` if the rules do not let its identity do everything.
    pub(crate) async fn link_up(
        &self,
        dialect: Dialect,
        identity: Arc<LinkIdentity>,
        egress: EgressSender,
    ) -> Result<Option<OlderLink>, Stopping> {
        let (applied, done) = oneshot::channel();
        let input = Input::LinkUp {
            dialect,
            identity,
            egress,
            applied,
        };
        self.ask(input, done).await
    }

    /// Forgets a link and what it subscribed to.
    pub(crate) async fn link_down(&self, link: OlderLink) -> Result<(), Stopping> {
        let (applied, done) = oneshot::channel();
        self.ask(Input::LinkDown { link, applied }, done).await
    }

    /// Applies a message, and gives what is to be sent because of it. The link's next message is applied after it
    /// (Invariant 7); it is the caller's to deliver the copies before that.
    pub(crate) async fn apply(&self, link: OlderLink, frame: Frame) -> Result<Copies, Stopping> {
        let (applied, done) = oneshot::channel();
        self.ask(Input::Frame { link, frame, applied }, done).await
    }

    /// From now on these rules hold; `None` allows everything.
    pub(crate) async fn replace_rules(&self, rules: Option<Arc<Rules>>) -> Result<(), Stopping> {
        let (applied, done) = oneshot::channel();
        self.ask(Input::Rules { rules, applied }, done).await
    }

    async fn ask<T>(&self, input: Input, done: oneshot::Receiver<T>) -> Result<T, Stopping> {
        self.0.send(input).await.map_err(|_| Stopping)?;
        done.await.map_err(|_| Stopping)
    }
}

/// A link that is served.
#[derive(Debug)]
struct Served {
    identity: Arc<LinkIdentity>,
    egress: EgressSender,
}

/// The router with its links.
#[derive(Debug)]
pub(crate) struct OlderTask {
    router: OlderRouter,
    links: BTreeMap<OlderLink, Served>,
    /// Without rules every link may do everything.
    rules: Option<Arc<Rules>>,
    totals: Arc<Totals>,
    inputs: mpsc::Receiver<Input>,
}

impl OlderTask {
    pub(crate) fn new(rules: Option<Arc<Rules>>, totals: Arc<Totals>) -> (Self, OlderHandle) {
        let (sender, inputs) = mpsc::channel(ROUTER_INPUTS_MAX);
        let task = Self {
            router: OlderRouter::new(),
            links: BTreeMap::new(),
            rules,
            totals,
            inputs,
        };
        (task, OlderHandle(sender))
    }

    /// Runs until every handle is dropped.
    pub(crate) async fn run(mut self) {
        let mut turn = Vec::with_capacity(INPUTS_PER_TURN);
        while self.inputs.recv_many(&mut turn, INPUTS_PER_TURN).await > 0 {
            turn.drain(..).for_each(|input| self.apply(input));
            let messages = self.router.counters();
            self.totals.update(|totals| totals.older.messages = messages);
        }
    }

    /// Who waits for an input and is gone was cancelled with its connection; its link comes down by itself.
    fn apply(&mut self, input: Input) {
        match input {
            Input::LinkUp {
                dialect,
                identity,
                egress,
                applied,
            } => {
                let link = self.may_do_everything(&identity).then(|| {
                    let link = self.router.handle_link_up(dialect);
                    self.links.insert(link, Served { identity, egress });
                    link
                });
                if let Some(link) = link {
                    let links = self.router.links_of(dialect);
                    debug!(
                        link = link.0,
                        dialect = dialect.name(),
                        links,
                        "older link established"
                    );
                }
                let _ = applied.send(link);
            }
            Input::LinkDown { link, applied } => {
                self.router.handle_link_down(link);
                self.links.remove(&link);
                let _ = applied.send(());
            }
            Input::Frame { link, frame, applied } => {
                self.router.handle_frame(link, &frame);
                let _ = applied.send(self.copies());
            }
            Input::Rules { rules, applied } => {
                self.rules = rules;
                for served in self.links.values() {
                    if !self.may_do_everything(&served.identity) {
                        // Its driver takes it down; what it may not have any more is not sent to it meanwhile.
                        served.egress.close(Closing::Abort(AbortReason::Closed));
                    }
                }
                let _ = applied.send(());
            }
        }
    }

    fn may_do_everything(&self, identity: &LinkIdentity) -> bool {
        self.rules
            .as_ref()
            .is_none_or(|rules| rules.permissions(identity).allow_everything())
    }

    fn copies(&mut self) -> Copies {
        let mut copies = Vec::new();
        while let Some(Output::Send { link, egress }) = self.router.poll_output() {
            // The router names no link that is down.
            if let Some(served) = self.links.get(&link) {
                copies.push((served.egress.clone(), egress));
            }
        }
        copies
    }
}
