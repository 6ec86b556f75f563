//! The acceptor of these tests, and what they send and measure.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use slim_config::{ClientConfig, ServerConfig};
use slim_net::listen::ConnectionLimits;
use slim_net::{Accepted, ConnectionEnd, ConnectionSettings, Listener, serve_connection};
use slim_proto::{Egress, Frame};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Clone, Copy)]
pub(crate) enum Limit {
    Opening,
    Idle,
    Age,
    Grace,
    PingInterval,
    PingTimeout,
}

/// An acceptor that hands every call to the test. A call counts as open until the test drops its second half.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) calls: mpsc::UnboundedReceiver<(Accepted, oneshot::Sender<()>)>,
    pub(crate) ends: mpsc::UnboundedReceiver<ConnectionEnd>,
    pub(crate) drain: watch::Sender<bool>,
}

impl Server {
    pub(crate) async fn start(limits: &[(Limit, Duration)]) -> Self {
        let endpoint = "127.0.0.1:0".parse().expect("an endpoint");
        let mut settings = ConnectionSettings::from(&ServerConfig::insecure(endpoint));
        for (limit, time) in limits {
            let keepalive = &mut settings.keepalive;
            *match limit {
                Limit::Opening => &mut settings.opening_timeout,
                Limit::Idle => &mut keepalive.max_connection_idle,
                Limit::Age => &mut keepalive.max_connection_age,
                Limit::Grace => &mut keepalive.max_connection_age_grace,
                Limit::PingInterval => &mut keepalive.time,
                Limit::PingTimeout => &mut keepalive.timeout,
            } = *time;
        }
        let endpoint = "127.0.0.1:0".parse().expect("an endpoint");
        let listener = Listener::bind(&endpoint, ConnectionLimits::default())
            .await
            .expect("a port");
        let address = listener.local_address().expect("a socket of IP");
        let (call, calls) = mpsc::unbounded_channel();
        let (ended, ends) = mpsc::unbounded_channel();
        let (drain, draining) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let socket = listener.accept().await;
                let (call, ended, settings) = (call.clone(), ended.clone(), settings.clone());
                let mut draining = draining.clone();
                tokio::spawn(async move {
                    let drain = async move { drop(draining.wait_for(|draining| *draining).await) };
                    let end = serve_connection(socket.socket, socket.peer, &settings, drain, |accepted| {
                        let (open, closed) = oneshot::channel();
                        let _ = call.send((accepted, open));
                        async move { drop(closed.await) }
                    })
                    .await;
                    let _ = ended.send(end);
                });
            }
        });
        Self {
            address,
            calls,
            ends,
            drain,
        }
    }

    pub(crate) fn client(&self) -> ClientConfig {
        ClientConfig::insecure(self.address.into())
    }

    pub(crate) async fn next_call(&mut self) -> (Accepted, oneshot::Sender<()>) {
        within(self.calls.recv()).await.expect("the acceptor runs")
    }

    pub(crate) async fn next_end(&mut self) -> ConnectionEnd {
        within(self.ends.recv()).await.expect("the acceptor runs")
    }
}

pub(crate) async fn bare_client(
    address: SocketAddr,
) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
    let socket = TcpStream::connect(address).await.expect("the server listens");
    let (send, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    let connection = tokio::spawn(async move { drop(connection.await) });
    (send.ready().await.expect("HTTP/2"), connection)
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}

pub(crate) fn payload(size: usize) -> Bytes {
    (0..size)
        .map(|index| u8::try_from(index % 251).expect("below 251"))
        .collect()
}

pub(crate) fn egress(size: usize) -> Egress {
    verbatim(payload(size))
}

pub(crate) fn verbatim(bytes: impl Into<Bytes>) -> Egress {
    Egress::verbatim(Frame::new(bytes).expect("a frame of legal size"))
}

/// SETTINGS_MAX_FRAME_SIZE in the SETTINGS frame that comes next (RFC 9113, section 6.5).
pub(crate) async fn max_frame_size(raw: &mut TcpStream) -> Option<u32> {
    let mut header = [0; 9];
    raw.read_exact(&mut header).await.expect("a frame header");
    assert_eq!(header[3], 4, "a SETTINGS frame comes first");
    let mut payload = vec![0; u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize];
    raw.read_exact(&mut payload).await.expect("its payload");
    let setting = payload.chunks(6).find(|setting| setting[..2] == [0, 5])?;
    Some(u32::from_be_bytes(
        setting[2..].try_into().expect("six bytes each"),
    ))
}
