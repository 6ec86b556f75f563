//! An outgoing link of a node: dialled, driven, replaced and dialled again when [`Redialer`] says so.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use slim_config::ClientConfig;
use slim_crypto::Rng;
use slim_net::egress::{AbortReason, egress_budget};
use slim_net::{Dialed, LinkDialer, OpenError, OpenedLink, failure_after, redial_policy};
use slim_router::Direction;
use slim_router::dialer::{Failure, Pauses, REFUSED_PAUSE, RedialOutput, RedialPolicy, Redialer};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tracing::{debug, info, warn};

use crate::link_driver::{DriveEnd, End, Succession, drive};
use crate::service::Shared;

/// Pause between attempts when the configuration has none (wire-routing A11.1).
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// What links get to end by themselves, which each does within its farewell.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Keeps one configured link up until the service drains, the policy ends or the peer forbids it.
pub(crate) async fn keep_up(shared: Arc<Shared>, config: ClientConfig, seed: [u8; 32]) {
    let mut rng = Rng::from_seed(seed);
    let link_id = config.link_id.clone().unwrap_or_else(|| rng.uuid());
    let mut seed = [0; 32];
    rng.fill(&mut seed);
    let every = Pauses::Fixed(RETRY_INTERVAL);
    let default = RedialPolicy {
        eager: every.clone(),
        patient: every,
        attempts_max: None,
    };
    let policy = redial_policy(config.backoff.as_ref(), default);
    let mut uplink = Uplink {
        redialer: Redialer::new(policy, seed),
        dialer: Arc::new(LinkDialer::new(
            config,
            shared.clock,
            shared.local.clone(),
            link_id,
        )),
        shared,
        dialing: Box::pin(std::future::pending()),
        driving: JoinSet::new(),
        leaving: Box::pin(std::future::pending()),
        retire: oneshot::channel().0,
        retiring: JoinSet::new(),
    };
    uplink.run().await;
    // Links say goodbye by themselves; what is not a link yet is dropped.
    drop(uplink.dialing);
    let ended = async {
        while uplink.driving.join_next().await.is_some() {}
        while uplink.retiring.join_next().await.is_some() {}
    };
    let _ = timeout(DRAIN_MAX, ended).await;
}

struct Uplink {
    shared: Arc<Shared>,
    dialer: Arc<LinkDialer>,
    redialer: Redialer,
    dialing: Pin<Box<dyn Future<Output = Result<OpenedLink, OpenError>> + Send>>,
    /// The link in use.
    driving: JoinSet<DriveEnd>,
    leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Tells the link in use that another does its work.
    retire: oneshot::Sender<()>,
    /// Links that were replaced and end what is under way.
    retiring: JoinSet<()>,
}

impl Uplink {
    async fn run(&mut self) {
        let clock = self.shared.clock;
        let mut draining = std::pin::pin!(self.shared.draining());
        loop {
            match self.redialer.poll_output() {
                None => {}
                Some(RedialOutput::Dial) => {
                    let dialer = Arc::clone(&self.dialer);
                    self.dialing = Box::pin(async move { dialer.open().await });
                }
                Some(RedialOutput::GiveUp { .. }) => return,
            }
            let due = self.redialer.poll_timeout();
            tokio::select! {
                opened = self.dialing.as_mut() => {
                    self.dialing = Box::pin(std::future::pending());
                    match opened {
                        Ok(link) => self.start_driving(link),
                        Err(error) => {
                            self.redialer.handle_dial_failed(clock.now(), error.failure());
                            self.report(error);
                        }
                    }
                }
                Some(end) = self.driving.join_next() => {
                    // A task that panicked is a link that is gone.
                    let end = end.unwrap_or(DriveEnd::Aborted(AbortReason::Closed));
                    if matches!(end, DriveEnd::Drained) {
                        return;
                    }
                    self.leaving = Box::pin(std::future::pending());
                    self.lost(&end);
                }
                () = self.leaving.as_mut() => {
                    self.leaving = Box::pin(std::future::pending());
                    self.redialer.handle_leaving(clock.now());
                }
                () = sleep_until(clock.timer(due.unwrap_or_default())), if due.is_some() => {
                    self.redialer.handle_timeout(clock.now());
                }
                () = &mut draining => return,
            }
        }
    }

    /// Drives a link from now on. The one before, if there is one, is retired when the router knows this one.
    fn start_driving(&mut self, link: OpenedLink) {
        if self.redialer.has_link() {
            debug!(endpoint = %self.dialer.config().endpoint, "the link is replaced by a new one");
        }
        self.redialer.handle_opened(self.shared.clock.now());
        self.leaving = Box::pin(self.dialer.leaving(&link));
        let OpenedLink { dialed, negotiated } = link;
        let Dialed {
            reader,
            writer,
            peer,
            connection,
        } = dialed;
        let (retire, retired) = oneshot::channel();
        let end = End {
            direction: Direction::Dialed,
            identity: None,
            peer,
            budget: egress_budget(self.dialer.config().rate_limit),
            succession: Some(Succession {
                is_up: std::mem::replace(&mut self.retire, retire),
                retire: retired,
            }),
        };
        let shared = Arc::clone(&self.shared);
        let mut before = std::mem::take(&mut self.driving);
        self.driving.spawn(async move {
            let end = drive(&shared, negotiated, end, reader, writer).await;
            connection.close_when_done();
            end
        });
        while self.retiring.try_join_next().is_some() {}
        self.retiring
            .spawn(async move { while before.join_next().await.is_some() {} });
    }

    fn lost(&mut self, end: &DriveEnd) {
        let failure = match end {
            DriveEnd::Read(end) => failure_after(end),
            DriveEnd::Write(_) | DriveEnd::Aborted(_) | DriveEnd::Drained | DriveEnd::Retired => {
                Failure::Passing
            }
        };
        let endpoint = &self.dialer.config().endpoint;
        match failure {
            Failure::Final => {
                warn!(%endpoint, reason = %end, "the node forbids this link; not dialling again")
            }
            Failure::Passing | Failure::Refused => {
                info!(%endpoint, reason = %end, "link lost; dialling again");
            }
        }
        self.redialer.handle_lost(self.shared.clock.now(), failure);
    }

    /// Says what a dial ended with that the redialer has just heard of.
    fn report(&self, error: OpenError) {
        let (endpoint, attempt) = (&self.dialer.config().endpoint, self.redialer.attempts());
        if self.redialer.has_link() {
            debug!(%endpoint, %error, "no other link yet");
        } else if self.redialer.poll_timeout().is_none() {
            warn!(%endpoint, error = %error.after(attempt), "gave up");
        } else if error.failure() == Failure::Refused {
            // Passwords and rules are changed on the other side without anybody telling this one.
            warn!(%endpoint, %error, "the node refuses the link; trying again in {REFUSED_PAUSE:?}");
        } else if attempt == 1 {
            // Loud once; a node that is down for a night must not fill the disk.
            warn!(%endpoint, %error, "cannot reach the node; trying on");
        } else {
            debug!(%endpoint, attempt, %error, "cannot reach the node");
        }
    }
}
