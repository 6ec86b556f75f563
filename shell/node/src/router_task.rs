//! The task that owns the router: inputs in, outputs carried out, in order.

use std::sync::Arc;

use slim_net::egress::{AbortReason, Closing};
use slim_net::{Clock, EgressSender};
use slim_proto::Frame;
use slim_proto::limits::ROUTER_INPUTS_MAX;
use slim_router::{LinkId, LinkInfo, Output, Router};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep_until;
use tracing::debug;

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
}

/// The router task is gone; the service is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stopping;

impl RouterHandle {
    /// Makes a negotiated link known. From the return on its frames may be applied and it may be sent to.
    pub(crate) async fn link_up(
        &self,
        info: Arc<LinkInfo>,
        egress: EgressSender,
    ) -> Result<LinkId, Stopping> {
        let (applied, done) = oneshot::channel();
        self.ask(
            Input::LinkUp {
                info,
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

    async fn ask<T>(&self, input: Input, done: oneshot::Receiver<T>) -> Result<T, Stopping> {
        self.0.send(input).await.map_err(|_| Stopping)?;
        done.await.map_err(|_| Stopping)
    }
}

/// The router with what carries out its outputs.
#[derive(Debug)]
pub(crate) struct RouterTask {
    router: Router,
    clock: Clock,
    fib: Arc<FibCell>,
    links: Arc<LinkTable>,
    inputs: mpsc::Receiver<Input>,
}

impl RouterTask {
    pub(crate) fn new(
        router: Router,
        clock: Clock,
        fib: Arc<FibCell>,
        links: Arc<LinkTable>,
    ) -> (Self, RouterHandle) {
        let (sender, inputs) = mpsc::channel(ROUTER_INPUTS_MAX);
        let task = Self {
            router,
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
                egress,
                applied,
            } => {
                let link = self.router.handle_link_up(now, info);
                // Before the outputs, which may already hold frames for it.
                self.links.insert(link, egress);
                Completion::Up { link, applied }
            }
            Input::LinkDown { link, applied } => {
                self.router.handle_link_down(now, link);
                Completion::Down { link, applied }
            }
            Input::Frame { link, frame, applied } => {
                self.router.handle_frame(now, link, &frame);
                Completion::Frame { applied }
            }
        }
    }

    fn drain(&mut self) {
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
