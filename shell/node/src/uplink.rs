//! An outgoing link of a node: dialled, negotiated, driven, and dialled again.

use std::sync::Arc;
use std::time::Duration;

use slim_config::{ClientConfig, ConnectionType};
use slim_crypto::{EphemeralKey, Rng};
use slim_net::{Code, Credentials, DialError, DialPolicy, Dialed, LinkEnd, Status, dial_with_policy};
use slim_proto::Egress;
use slim_proto::control::ConnectionType as WireType;
use slim_router::{Dialer, Direction, LocalNode, Negotiated};
use tokio::time::{sleep, timeout_at};
use tracing::{debug, info, warn};

use crate::link_driver::{DriveEnd, End, drive};
use crate::service::Shared;

/// Pause between attempts when the configuration has none (wire-routing A11.1).
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

/// Pause after a node refused our credentials.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);

/// Keeps one configured link up until the service drains, the policy ends or the peer forbids it.
pub(crate) async fn keep_up(shared: Arc<Shared>, config: ClientConfig, seed: [u8; 32]) {
    let mut rng = Rng::from_seed(seed);
    // The same for every attempt: a peer then knows that it is us again (wire-routing A11.2).
    let link_id = config
        .link_id
        .clone()
        .unwrap_or_else(|| crate::service::random_uuid(&mut rng));
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
            Ok(dialed) => run(shared, config, link_id, dialed).await,
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

async fn run(shared: &Arc<Shared>, config: &ClientConfig, link_id: &str, dialed: Dialed) -> UplinkEnd {
    let Dialed {
        mut reader,
        mut writer,
        peer,
        connection,
    } = dialed;
    let local = LocalNode {
        require_header_mac: config.require_header_mac,
        enforce_pqc: config.enforce_pqc,
        ..shared.local.clone()
    };
    let connection_type = match config.connection_type {
        ConnectionType::Edge => WireType::Edge,
        ConnectionType::Remote => WireType::Remote,
    };
    let key = EphemeralKey::generate();
    let (dialer, request) = Dialer::start(shared.clock.now(), &local, link_id, connection_type, key);
    let deadline = shared.clock.timer(dialer.deadline());
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
    let negotiated = match timeout_at(deadline, negotiation).await {
        Ok(Ok(negotiated)) => negotiated,
        Ok(Err(end)) => return end,
        Err(_) => return UplinkEnd::Lost("no negotiation in time".to_owned()),
    };
    let end = End {
        direction: Direction::Dialed,
        identity: None,
        peer,
    };
    let end = drive(shared, negotiated, end, reader, writer).await;
    connection.close_when_done();
    match end {
        DriveEnd::Read(end) => lost(&end),
        DriveEnd::Drained => UplinkEnd::Drained,
        DriveEnd::Write(_) | DriveEnd::Aborted(_) => UplinkEnd::Lost(end.to_string()),
    }
}

fn lost(end: &LinkEnd) -> UplinkEnd {
    if let LinkEnd::Ended(Some(status)) = end
        && status.code == Code::PERMISSION_DENIED
    {
        return UplinkEnd::Forbidden(status.clone());
    }
    UplinkEnd::Lost(end.to_string())
}
