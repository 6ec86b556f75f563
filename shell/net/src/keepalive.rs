//! PINGs that find dead connections.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::PingPong;
use tokio::time::{Instant, Sleep, sleep};

/// What a keepalive needs of its connection.
pub(crate) trait Pings {
    /// Has one sent.
    fn send_ping(&mut self) -> Result<(), Gone>;
    /// Ready when the one before is answered.
    fn poll_pong(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>>;
}

/// The connection is closing; its own end says the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

impl Pings for PingPong {
    fn send_ping(&mut self) -> Result<(), Gone> {
        Self::send_ping(self, h2::Ping::opaque()).map_err(|_| Gone)
    }

    fn poll_pong(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        Self::poll_pong(self, cx).map(|pong| pong.map(|_| ()).map_err(|_| Gone))
    }
}

/// Sends a PING every interval and reports a peer that leaves one unanswered.
///
/// It pings busy connections too: a connection that only sends would otherwise fill a dead socket's buffer
/// before anybody notices.
pub(crate) struct Keepalive<P = PingPong> {
    pings: P,
    interval: Duration,
    timeout: Duration,
    waiting: Waiting,
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    ForTheNextPing,
    ForAPong,
}

/// The peer did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dead;

impl<P: Pings> Keepalive<P> {
    pub(crate) fn new(pings: P, interval: Duration, timeout: Duration) -> Self {
        Self {
            pings,
            interval,
            timeout,
            waiting: Waiting::ForTheNextPing,
            timer: Box::pin(sleep(interval)),
        }
    }

    /// Ready when the connection is dead. Poll it beside the connection, which does the sending.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Dead> {
        loop {
            if self.waiting == Waiting::ForAPong
                && let Poll::Ready(pong) = self.pings.poll_pong(cx)
            {
                if pong.is_err() {
                    return Poll::Pending;
                }
                self.wait(Waiting::ForTheNextPing, self.interval);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if self.waiting == Waiting::ForAPong {
                return Poll::Ready(Dead);
            }
            if self.pings.send_ping().is_err() {
                return Poll::Pending;
            }
            self.wait(Waiting::ForAPong, self.timeout);
        }
    }

    fn wait(&mut self, waiting: Waiting, time: Duration) {
        self.waiting = waiting;
        self.timer.as_mut().reset(Instant::now() + time);
    }
}
