//! The task that owns the router: inputs in, outputs carried out, in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use slim_net::egress::{AbortReason, Closing};
use slim_net::{Clock, EgressSender};
use slim_policy::{LinkIdentity, Permissions, Rules};
use slim_proto::Frame;
use slim_proto::limits::ROUTER_INPUTS_MAX;
use slim_router::{LinkId, LinkInfo, Output, Router};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tracing::debug;

use crate::access::DeniedLog;
use crate::fib_cell::FibCell;
use crate::links::LinkTable;

/// Inputs that are applied before the forwarding table is published once for all of them.
const INPUTS_PER_TURN: usize = 256;

/// Talks to the router task.
#[derive(Clone, Debug)]
pub(crate) struct RouterHandle(mpsc::Sender<Input>);

#[derive(Debug)]
enum Input {
    LinkUp {
        info: Arc<LinkInfo>,
        identity: Option<Arc<LinkIdentity>>,
        egress: EgressSender,
        applied: oneshot::Sender<LinkId>,
    },
    LinkDown {
        link: LinkId,
        applied: oneshot::Sender<()>,
    },
    Frame {
        link: LinkId,
        frame: Frame,
        applied: oneshot::Sender<()>,
    },
    Rules {
        rules: Option<Arc<Rules>>,
        applied: oneshot::Sender<()>,
    },
}

/// The router task is gone; the service is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopping;

impl RouterHandle {
    /// Makes a negotiated link known. From the return on its frames may be applied and it may be sent to. What an
    /// accepted link may do follows from its identity; a dialled one has none here and may do everything, because
    /// it leads to a node that the configuration names.
    pub(crate) async fn link_up(
        &self,
        info: Arc<LinkInfo>,
        identity: Option<Arc<LinkIdentity>>,
        egress: EgressSender,
    ) -> Result<LinkId, Stopping> {
        let (applied, done) = oneshot::channel();
        self.ask(
            Input::LinkUp {
                info,
                identity,
                egress,
                applied,
            },
            done,
        )
        .await
    }

    /// Forgets a link and its routes.
    pub(crate) async fn link_down(&self, link: LinkId) -> Result<(), Stopping> {
        let (applied, done) = oneshot::channel();
        self.ask(Input::LinkDown { link, applied }, done).await
    }

    /// Applies a frame that is not a publish. Returns when it has taken effect, so the link's next frame already
    /// meets the new table (Invariant 7).
    pub(crate) async fn apply(&self, link: LinkId, frame: Frame) -> Result<(), Stopping> {
        let (applied, done) = oneshot::channel();
        self.ask(Input::Frame { link, frame, applied }, done).await
    }

    /// From now on these rules hold, for the links that are up as well; `None` allows everything.
    pub(crate) async fn replace_rules(&self, rules: Option<Arc<Rules>>) -> Result<(), Stopping> {
        let (applied, done) = oneshot::channel();
        self.ask(Input::Rules { rules, applied }, done).await
    }

    async fn ask<T>(&self, input: Input, done: oneshot::Receiver<T>) -> Result<T, Stopping> {
        self.0.send(input).await.map_err(|_| Stopping)?;
        done.await.map_err(|_| Stopping)
    }
}

/// The router with what carries out its outputs.
#[derive(Debug)]
pub(crate) struct RouterTask {
    router: Router,
    /// Without rules every link may do everything.
    rules: Option<Arc<Rules>>,
    /// Who is at the other end of the accepted links.
    identities: BTreeMap<LinkId, Arc<LinkIdentity>>,
    denied: DeniedLog,
    clock: Clock,
    fib: Arc<FibCell>,
    links: Arc<LinkTable>,
    inputs: mpsc::Receiver<Input>,
}

impl RouterTask {
    pub(crate) fn new(
        router: Router,
        rules: Option<Arc<Rules>>,
        clock: Clock,
        fib: Arc<FibCell>,
        links: Arc<LinkTable>,
    ) -> (Self, RouterHandle) {
        let (sender, inputs) = mpsc::channel(ROUTER_INPUTS_MAX);
        let task = Self {
            router,
            rules,
            identities: BTreeMap::new(),
            denied: DeniedLog::default(),
            clock,
            fib,
            links,
            inputs,
        };
        (task, RouterHandle(sender))
    }

    /// Runs until every handle is dropped.
    pub(crate) async fn run(mut self) {
        let mut turn = Vec::with_capacity(INPUTS_PER_TURN);
        loop {
            let due = self.router.poll_timeout().map(|(at, _)| self.clock.timer(at));
            let timer = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                count = self.inputs.recv_many(&mut turn, INPUTS_PER_TURN) => {
                    if count == 0 {
                        return;
                    }
                }
                () = timer => self.router.handle_timeout(self.clock.now()),
            }
            let completions: Vec<Completion> = turn.drain(..).map(|input| self.apply(input)).collect();
            self.drain();
            for completion in completions {
                completion.complete(&self.links);
            }
        }
    }

    fn apply(&mut self, input: Input) -> Completion {
        let now = self.clock.now();
        match input {
            Input::LinkUp {
                info,
                identity,
                egress,
                applied,
            } => {
                let link = match (&self.rules, &identity) {
                    (Some(rules), Some(identity)) => {
                        let permissions = rules.permissions(identity);
                        self.router.handle_link_up_as(now, info, permissions)
                    }
                    (None, _) | (_, None) => self.router.handle_link_up(now, info),
                };
                self.identities.extend(identity.map(|identity| (link, identity)));
                // Before the outputs, which may already hold frames for it.
                self.links.insert(link, egress);
                Completion::Up { link, applied }
            }
            Input::LinkDown { link, applied } => {
                self.router.handle_link_down(now, link);
                self.identities.remove(&link);
                Completion::Down { link, applied }
            }
            Input::Frame { link, frame, applied } => {
                self.router.handle_frame(now, link, &frame);
                Completion::Frame { applied }
            }
            Input::Rules { rules, applied } => {
                self.rules = rules;
                for (link, identity) in &self.identities {
                    let permissions = match &self.rules {
                        Some(rules) => rules.permissions(identity),
                        None => Permissions::everything(),
                    };
                    self.router.set_permissions(now, *link, permissions);
                }
                Completion::Frame { applied }
            }
        }
    }

    fn drain(&mut self) {
        while let Some((link, denied)) = self.router.poll_refusal() {
            self.denied.log(self.clock.monotonic(), link, &denied);
        }
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::PublishFib(fib) => self.fib.publish(fib),
                Output::Send { link, egress } => {
                    let Some(queue) = self.links.find(link) else {
                        continue;
                    };
                    if let Err(refused) = queue.push(egress) {
                        debug!(%link, %refused, "control frame dropped");
                    }
                }
                // A node's links replace each other without its router: they announce nothing.
                Output::Succeeded { .. } => {}
                Output::CloseLink { link, reason } => {
                    debug!(%link, %reason, "router closes the link");
                    if let Some(queue) = self.links.find(link) {
                        queue.close(Closing::Abort(AbortReason::Closed));
                    }
                }
            }
        }
    }
}

/// Who waits for an input. A driver that waits no longer was cancelled with its connection.
enum Completion {
    Up {
        link: LinkId,
        applied: oneshot::Sender<LinkId>,
    },
    Down {
        link: LinkId,
        applied: oneshot::Sender<()>,
    },
    Frame {
        applied: oneshot::Sender<()>,
    },
}

impl Completion {
    fn complete(self, links: &LinkTable) {
        // Nobody waits any more when the connection was cut meanwhile.
        let _ = match self {
            Self::Up { link, applied } => applied.send(link).map_err(drop),
            Self::Down { link, applied } => {
                // Only now: the table published before this line no longer names the link.
                links.remove(link);
                applied.send(())
            }
            Self::Frame { applied } => applied.send(()),
        };
    }
}
