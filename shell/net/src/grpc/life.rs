//! The clocks that end an accepted connection.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::PingPong;
use slim_crypto::{Rng, os_seed};
use tokio::time::{Instant, Sleep, sleep};

use crate::auth::Admission;
use crate::clock::unix_time;
use crate::grpc::server::{ConnectionEnd, ConnectionSettings};
use crate::keepalive::{Dead, Keepalive, Pings};

/// After every call has ended: time for the last bytes to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// The clocks that end a connection.
pub(crate) struct Life<'a, P = PingPong> {
    settings: &'a ConnectionSettings,
    keepalive: Option<Keepalive<P>>,
    pub(crate) had_a_call: bool,
    /// Runs while there is no call.
    quiet: Option<Pin<Box<Sleep>>>,
    /// First the age, then the grace.
    age: Pin<Box<Sleep>>,
    leaving: bool,
    /// It is not the age that ends the connection, but the end of a token.
    expires: bool,
    farewell: Option<Pin<Box<Sleep>>>,
}

/// What is to be done about the connection.
pub(crate) enum Verdict {
    /// Ask the peer to leave.
    Leave,
    /// Close now.
    End(ConnectionEnd),
}

impl<'a, P: Pings> Life<'a, P> {
    pub(crate) fn new(settings: &'a ConnectionSettings, keepalive: Option<Keepalive<P>>) -> Self {
        Self {
            settings,
            keepalive,
            had_a_call: false,
            quiet: None,
            age: Box::pin(sleep(jittered(
                settings.keepalive.max_connection_age,
                Rng::from_seed(os_seed()).next_u64(),
            ))),
            leaving: false,
            expires: false,
            farewell: None,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, no_calls: bool, draining: bool) -> Poll<Verdict> {
        let limits = &self.settings.keepalive;
        if let Some(keepalive) = &mut self.keepalive
            && let Poll::Ready(Dead) = keepalive.poll(cx)
        {
            return Poll::Ready(Verdict::End(ConnectionEnd::Dead(limits.timeout)));
        }
        if no_calls && draining {
            let farewell = self.farewell.get_or_insert_with(|| Box::pin(sleep(FAREWELL)));
            if farewell.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Verdict::End(ConnectionEnd::Drained));
            }
        }
        if no_calls {
            let (had_a_call, opening) = (self.had_a_call, self.settings.opening_timeout);
            let limit = if had_a_call {
                limits.max_connection_idle
            } else {
                opening
            };
            let quiet = self.quiet.get_or_insert_with(|| Box::pin(sleep(limit)));
            if quiet.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Verdict::End(if had_a_call {
                    ConnectionEnd::Idle(limit)
                } else {
                    ConnectionEnd::NoCall(limit)
                }));
            }
        } else {
            self.quiet = None;
        }
        if self.age.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        if self.leaving {
            return Poll::Ready(Verdict::End(self.end_of_age()));
        }
        self.leaving = true;
        self.age
            .as_mut()
            .reset(Instant::now() + limits.max_connection_age_grace);
        Poll::Ready(Verdict::Leave)
    }

    /// What an orderly end of the connection means.
    pub(crate) fn end_of_closed(&self, draining: bool) -> ConnectionEnd {
        if draining {
            ConnectionEnd::Drained
        } else if self.leaving {
            self.end_of_age()
        } else {
            ConnectionEnd::Closed
        }
    }

    /// A connection gets no older than the first token that opened a call on it: the next one is opened with a
    /// new token.
    pub(crate) fn ends_with(&mut self, admission: Option<&Admission>) {
        let Some(expires_at) = admission.and_then(|admission| admission.expires_at) else {
            return;
        };
        // The second in which it expires is still a good one.
        let end = Duration::from_secs(expires_at.0.saturating_add(1));
        let left = end.saturating_sub(unix_time());
        if !self.leaving
            && let Some(end) = Instant::now().checked_add(left)
            && end < self.age.deadline()
        {
            self.age.as_mut().reset(end);
            self.expires = true;
        }
    }

    fn end_of_age(&self) -> ConnectionEnd {
        match self.expires {
            true => ConnectionEnd::Expired,
            false => ConnectionEnd::Age(self.settings.keepalive.max_connection_age),
        }
    }
}

/// Connections that began together, after a restart, must not come back together: each is asked to leave up to a tenth
/// of its age early.
fn jittered(age: Duration, random: u64) -> Duration {
    let tenth = u64::try_from(age.as_nanos() / 10).unwrap_or(u64::MAX);
    age - Duration::from_nanos(random % tenth.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_within_the_last_tenth_of_their_age() {
        let age = Duration::from_secs(100);
        for random in [0, 1, 4_999_999_999, 9_999_999_999, 10_000_000_000, u64::MAX] {
            let early = age - jittered(age, random);
            assert!(early < Duration::from_secs(10), "{early:?}");
        }
        assert_ne!(jittered(age, 1), jittered(age, 2));
        assert_eq!(jittered(Duration::ZERO, 7), Duration::ZERO);
        assert!(jittered(Duration::MAX, u64::MAX) <= Duration::MAX);
    }
}
