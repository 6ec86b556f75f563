//! An outgoing link of a node: dialled, negotiated, driven, and dialled again.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use slim_config::{Backoff, ClientConfig, ConnectionType};
use slim_crypto::{EphemeralKey, Rng};
use slim_net::egress::egress_budget;
use slim_net::{
    Code, Credentials, DialError, DialPolicy, Dialed, FrameReader, FrameWriter, LinkEnd, Status, dial_as,
    dial_with_policy,
};
use slim_proto::Egress;
use slim_proto::control::ConnectionType as WireType;
use slim_router::{Dialer, Direction, LocalNode, Negotiated};
use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout_at};
use tracing::{debug, info, warn};

use crate::link_driver::{DriveEnd, End, Succession, drive};
use crate::service::Shared;

/// Pause between attempts when the configuration has none (wire-routing A11.1).
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Pause after a node refused our credentials.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// Keeps one configured link up until the service drains, the policy ends or the peer forbids it.
pub(crate) async fn keep_up(shared: Arc<Shared>, config: ClientConfig, seed: [u8; 32]) {
    let mut rng = Rng::from_seed(seed);
    // The same for every attempt: a peer then knows that it is us again (wire-routing A11.2).
    let link_id = config.link_id.clone().unwrap_or_else(|| rng.uuid());
    tokio::select! {
        () = dial_for_ever(&shared, &config, &link_id, &mut rng) => {}
        // The link itself says goodbye; here only what is not a link yet is dropped.
        () = drained_between_links(&shared) => {}
    }
}

async fn drained_between_links(shared: &Shared) {
    shared.draining().await;
    // A link that is up ends by itself within its farewell.
    sleep(Duration::from_secs(2)).await;
}

async fn dial_for_ever(shared: &Arc<Shared>, config: &ClientConfig, link_id: &str, rng: &mut Rng) {
    let endpoint = &config.endpoint;
    let policy = config
        .backoff
        .clone()
        .map_or_else(|| DialPolicy::fixed(RETRY_INTERVAL, None), DialPolicy::configured);
    let credentials = Credentials::of(config);
    while !shared.is_draining() {
        let dialing = dial_with_policy(
            config,
            &credentials,
            &policy,
            || rng.next_u64(),
            |attempt, error, _| {
                // Loud once; a node that is down for a night must not fill the disk.
                if attempt == 1 {
                    warn!(%endpoint, %error, "cannot reach the node; trying on");
                } else {
                    debug!(%endpoint, attempt, %error, "cannot reach the node");
                }
            },
        );
        let dialed = tokio::select! {
            dialed = dialing => dialed,
            () = shared.draining() => return,
        };
        let end = match dialed {
            Ok(dialed) => {
                let uplink = Uplink {
                    shared,
                    config,
                    credentials: &credentials,
                    link_id,
                };
                uplink.run(dialed, rng).await
            }
            Err(error) if error.is_about_trust() && !matches!(error, DialError::GaveUp { .. }) => {
                // Passwords and rules are changed on the other side without anybody telling this one.
                warn!(%endpoint, %error, "the node refuses the link; trying again in {REFUSED_PAUSE:?}");
                tokio::select! {
                    () = sleep(REFUSED_PAUSE) => continue,
                    () = shared.draining() => return,
                }
            }
            Err(error) => {
                warn!(%endpoint, %error, "gave up");
                return;
            }
        };
        match end {
            UplinkEnd::Forbidden(status) => {
                warn!(%endpoint, %status, "the node forbids this link; not dialling again");
                return;
            }
            UplinkEnd::Drained => return,
            UplinkEnd::Lost(reason) => info!(%endpoint, %reason, "link lost; dialling again"),
        }
        // A node that accepts and hangs up at once must not be dialled in a hot loop.
        let pause = policy.pause_after(1, rng.next_u64()).unwrap_or(RETRY_INTERVAL);
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.draining() => return,
        }
    }
}

enum UplinkEnd {
    Lost(String),
    Forbidden(Status),
    Drained,
}

/// One configured link: what every attempt to make it needs.
struct Uplink<'a> {
    shared: &'a Arc<Shared>,
    config: &'a ClientConfig,
    credentials: &'a Credentials,
    link_id: &'a str,
}

/// A link that is driven.
struct Running {
    driving: JoinSet<UplinkEnd>,
    is_up: oneshot::Receiver<()>,
    retire: oneshot::Sender<()>,
    leaving: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Uplink<'_> {
    /// Drives a link and, one after the other, its successors: a link that the peer asks to replace, or whose
    /// certificates are renewed, stays in use until another is there.
    async fn run(&self, dialed: Dialed, rng: &mut Rng) -> UplinkEnd {
        let mut running = match self.start(dialed).await {
            Ok(running) => running,
            Err(end) => return end,
        };
        // Links that end what is under way; dropped with the last one, which cuts them.
        let mut retiring = JoinSet::new();
        let mut attempt = 0;
        loop {
            tokio::select! {
                end = running.driving.join_next() => return ended(end),
                () = running.leaving.as_mut() => {}
            }
            attempt += 1;
            let next = async {
                sleep(successor_pause(attempt, rng.next_u64())).await;
                let dialed = dial_as(self.config, self.credentials).await;
                let dialed = dialed.map_err(|error| UplinkEnd::Lost(error.to_string()))?;
                let mut next = self.start(dialed).await?;
                let _ = (&mut next.is_up).await;
                Ok(next)
            };
            let next = tokio::select! {
                end = running.driving.join_next() => return ended(end),
                next = next => next,
            };
            match next {
                Ok(next) => {
                    debug!(endpoint = %self.config.endpoint, "the link is replaced by a new one");
                    attempt = 0;
                    let old = std::mem::replace(&mut running, next);
                    let _ = old.retire.send(());
                    let mut driving = old.driving;
                    retiring.spawn(async move { drop(driving.join_next().await) });
                    while retiring.try_join_next().is_some() {}
                }
                Err(UplinkEnd::Forbidden(status)) => return UplinkEnd::Forbidden(status),
                Err(UplinkEnd::Drained) => return UplinkEnd::Drained,
                Err(UplinkEnd::Lost(reason)) => {
                    debug!(endpoint = %self.config.endpoint, %reason, attempt, "no other link yet");
                    running.leaving = Box::pin(std::future::ready(()));
                }
            }
        }
    }

    /// Negotiates a dialled call and begins to drive it.
    async fn start(&self, dialed: Dialed) -> Result<Running, UplinkEnd> {
        let Dialed {
            mut reader,
            mut writer,
            peer,
            connection,
        } = dialed;
        let negotiated = self.negotiate(&mut reader, &mut writer).await?;
        let (asked, credentials, config) = (
            connection.leaving(),
            self.credentials.clone(),
            self.config.clone(),
        );
        let leaving = Box::pin(async move {
            tokio::select! {
                () = asked => {}
                () = credentials.renewed(&config) => {}
            }
        });
        let (up, is_up) = oneshot::channel();
        let (retire, retired) = oneshot::channel();
        let end = End {
            direction: Direction::Dialed,
            identity: None,
            peer,
            budget: egress_budget(self.config.rate_limit),
            succession: Some(Succession {
                is_up: up,
                retire: retired,
            }),
        };
        let shared = Arc::clone(self.shared);
        let mut driving = JoinSet::new();
        driving.spawn(async move {
            let end = drive(&shared, negotiated, end, reader, writer).await;
            connection.close_when_done();
            match end {
                DriveEnd::Read(end) => lost(&end),
                DriveEnd::Drained => UplinkEnd::Drained,
                DriveEnd::Write(_) | DriveEnd::Aborted(_) | DriveEnd::Retired => {
                    UplinkEnd::Lost(end.to_string())
                }
            }
        });
        Ok(Running {
            driving,
            is_up,
            retire,
            leaving,
        })
    }

    async fn negotiate(
        &self,
        reader: &mut FrameReader,
        writer: &mut FrameWriter,
    ) -> Result<Negotiated, UplinkEnd> {
        let local = LocalNode {
            require_header_mac: self.config.require_header_mac,
            enforce_pqc: self.config.enforce_pqc,
            ..self.shared.local.clone()
        };
        let connection_type = match self.config.connection_type {
            ConnectionType::Edge => WireType::Edge,
            ConnectionType::Remote => WireType::Remote,
        };
        let key = EphemeralKey::generate();
        let now = self.shared.clock.now();
        let (dialer, request) = Dialer::start(now, &local, self.link_id, connection_type, key);
        let deadline = self.shared.clock.timer(dialer.deadline());
        let negotiation = async {
            writer
                .send(Egress::verbatim(request))
                .await
                .map_err(|end| lost(&end))?;
            let reply = reader.next().await.map_err(|end| lost(&end))?;
            let negotiated: Negotiated = dialer
                .handle_reply(&reply)
                .map_err(|error| UplinkEnd::Lost(error.to_string()))?;
            negotiated
                .check_peer(&local)
                .map_err(|rejection| UplinkEnd::Lost(rejection.to_string()))?;
            Ok(negotiated)
        };
        match timeout_at(deadline, negotiation).await {
            Ok(negotiated) => negotiated,
            Err(_) => Err(UplinkEnd::Lost("no negotiation in time".to_owned())),
        }
    }
}

fn ended(end: Option<Result<UplinkEnd, JoinError>>) -> UplinkEnd {
    match end {
        Some(Ok(end)) => end,
        // A task that panicked is a link that is gone.
        Some(Err(_)) | None => UplinkEnd::Lost("the link's task ended".to_owned()),
    }
}

/// Before a link is replaced: the links of one node are asked at about the same time, and need not come back together.
fn successor_pause(attempt: u32, random: u64) -> Duration {
    let backoff = Backoff::Exponential {
        base: Duration::from_millis(100),
        factor: 1,
        max_delay: Duration::from_secs(10),
        jitter: true,
        max_attempts: None,
    };
    let pause = DialPolicy::configured(backoff).pause_after(attempt, random);
    pause.unwrap_or(RETRY_INTERVAL)
}

fn lost(end: &LinkEnd) -> UplinkEnd {
    if let LinkEnd::Ended(Some(status)) = end
        && status.code == Code::PERMISSION_DENIED
    {
        return UplinkEnd::Forbidden(status.clone());
    }
    UplinkEnd::Lost(end.to_string())
}
