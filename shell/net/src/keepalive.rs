//! PINGs that find dead connections.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// Sends a PING every interval and reports a peer that leaves one unanswered.
///
/// It pings busy connections too: a connection that only sends would otherwise fill a dead socket's buffer
/// before anybody notices.
pub(crate) struct Keepalive {
    pings: PingPong,
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

impl Keepalive {
    pub(crate) fn new(pings: PingPong, interval: Duration, timeout: Duration) -> Self {
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
                // A connection that is closing reports an error; its own end says the rest.
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
            if self.pings.send_ping(Ping::opaque()).is_err() {
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
