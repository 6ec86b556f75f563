//! The forwarder on h2: the node's own `slim-net` without a router.
//!
//! So the difference between this one and a node is what routing costs: the header, two tags, the table.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::BytesMut;
use slim_config::{Endpoint, ServerConfig};
use slim_net::egress::{EgressReceiver, egress_queue};
use slim_net::listen::ConnectionLimits;
use slim_net::{
    Accepted, Clock, ConnectionSettings, EgressSender, FrameReader, FrameWriter, Listener, Status,
    serve_connection,
};
use slim_router::egress::EgressBudget;
use tokio::task::yield_now;

use super::FRAMES_PER_TURN;
use super::hub::{Hub, Member};
use crate::serving::LISTEN;

/// How long a message waits for a full queue before it is lost; the load never fills one.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Starts listening; serves as long as the runtime lives.
pub(super) async fn start() -> Result<SocketAddr> {
    let endpoint: Endpoint = LISTEN.parse()?;
    let settings = ConnectionSettings::from(&ServerConfig::insecure(endpoint.clone()));
    let listener = Listener::bind(&endpoint, ConnectionLimits::default()).await?;
    let address = listener.local_address().context("no address of the network")?;
    tokio::spawn(accept(listener, Arc::new(settings)));
    Ok(address)
}

async fn accept(listener: Listener, settings: Arc<ConnectionSettings>) {
    let hub = Hub::new();
    let clock = Clock::start();
    loop {
        let accepted = listener.accept().await;
        let (hub, settings) = (Arc::clone(&hub), Arc::clone(&settings));
        tokio::spawn(async move {
            let forever = std::future::pending();
            serve_connection(accepted.socket, accepted.peer, &settings, forever, |call| {
                let (sender, queue) = egress_queue(clock, EgressBudget::default());
                drive(call, hub.join(sender), queue)
            })
            .await;
            drop(accepted.permit);
        });
    }
}

async fn drive(call: Accepted, mut member: Member<EgressSender>, queue: EgressReceiver) {
    let Accepted {
        mut reader,
        mut writer,
        established,
        ..
    } = call;
    established.mark();
    reader.accept_large_frames();
    tokio::select! {
        () = read(&mut reader, &mut member) => {}
        () = write(&queue, &mut writer) => {}
    }
    writer.finish(&Status::ok());
}

async fn read(reader: &mut FrameReader, member: &mut Member<EgressSender>) {
    let mut arena = BytesMut::new();
    loop {
        for _ in 0..FRAMES_PER_TURN {
            let Ok(frame) = reader.next().await else {
                return;
            };
            let egress = super::egress(frame, &mut arena);
            for other in member.others() {
                // A receiver that is gone or takes nothing gets nothing; the generator notices what is lost.
                let _ = other.push_within(egress.clone(), WAIT_MAX).await;
            }
        }
        yield_now().await;
    }
}

async fn write(queue: &EgressReceiver, writer: &mut FrameWriter) {
    while writer.flush().await.is_ok() && queue.next_batch(writer).await.is_ok() {}
}
