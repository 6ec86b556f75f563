//! The accepting side of one connection: requests in, links out, and the connection's end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use h2::Reason;
use slim_config::{ServerConfig, ServerKeepalive, Transport};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::auth::{Admission, Authenticator};
use crate::frames::{FrameReader, FrameWriter};
use crate::grpc::call::{Waiting, objection};
use crate::grpc::life::{Life, Verdict};
use crate::grpc::{
    CONNECTION_WINDOW_BYTES, CONNECTION_WINDOW_BYTES_EARLY, DATA_FRAME_BYTES_MAX, HEADER_LIST_BYTES_MAX,
    SMALL_DATA_BUDGET_BYTES, STREAM_WINDOW_BYTES, STREAMS_MAX, Service,
};
use crate::keepalive::Keepalive;
use crate::rope::Rope;
use crate::socket::PeerAddress;
use crate::tls::ClientCertificate;
use crate::websocket;

/// HTTP/2 cannot say more in the length of a frame.
const FRAME_SIZE_MAX: u32 = (1 << 24) - 1;

/// What a listener wants of its connections.
#[derive(Clone, Debug)]
pub struct ConnectionSettings {
    /// Largest DATA frame of the peer, in bytes; `None` means [`DATA_FRAME_BYTES_MAX`].
    pub frame_bytes_max: Option<u32>,
    /// Calls open at once.
    pub streams_max: u32,
    /// Header list of a request, in bytes.
    pub header_list_bytes_max: u32,
    /// When the connection ends.
    pub keepalive: ServerKeepalive,
    /// Limit of the TLS handshake, of the HTTP/2 handshake after it, and from there to the first call.
    pub opening_timeout: Duration,
    /// Who may open calls; `None` lets everybody.
    pub authenticator: Option<Arc<Authenticator>>,
    /// Whether the call of 0.4 is one of ours.
    pub serves_0_4: bool,
    /// The path of the requests that open a WebSocket; `None` if gRPC is spoken.
    pub websocket_path: Option<String>,
    /// Places for connections of a WebSocket listener, if they are limited: there one call is one connection.
    pub connections: Option<Arc<Semaphore>>,
}

impl From<&ServerConfig> for ConnectionSettings {
    fn from(config: &ServerConfig) -> Self {
        Self {
            frame_bytes_max: config
                .max_frame_size
                .map(|mebibytes| (mebibytes << 20).min(FRAME_SIZE_MAX)),
            streams_max: config.max_concurrent_streams.unwrap_or(STREAMS_MAX),
            header_list_bytes_max: config.max_header_list_size.unwrap_or(HEADER_LIST_BYTES_MAX),
            keepalive: config.keepalive.clone(),
            opening_timeout: config.negotiation_timeout,
            // Made with `Authenticator::load`, which reads files.
            authenticator: None,
            serves_0_4: config.serves_older_wires(),
            websocket_path: config.endpoint.request_path().map(str::to_owned),
            connections: match (config.endpoint.transport(), config.max_concurrent_streams) {
                (Transport::WebSocket, Some(places)) => Some(Arc::new(Semaphore::new(
                    usize::try_from(places).unwrap_or(usize::MAX),
                ))),
                (Transport::WebSocket, None) | (Transport::Grpc, _) => None,
            },
        }
    }
}

/// One accepted `OpenChannel` call; its response headers are on their way.
#[derive(Debug)]
pub struct Accepted {
    /// Whose call it is.
    pub service: Service,
    /// Frames of the dialer.
    pub reader: FrameReader,
    /// Frames to the dialer.
    pub writer: FrameWriter,
    /// The dialer's address.
    pub peer: PeerAddress,
    /// The certificate that the dialer proved to have.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// What the listener found out about the dialer; `None` if it asked for nothing.
    pub admission: Option<Admission>,
    /// To be told when the link is negotiated.
    pub established: Established,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: PeerAddress,
    /// The certificate that it proved to have, under TLS with client certificates.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl<Address: Into<PeerAddress>> From<Address> for Peer {
    fn from(address: Address) -> Self {
        Self {
            address: address.into(),
            certificate: None,
        }
    }
}

/// Gives a connection its full window and further calls, once its first link is negotiated.
#[derive(Clone, Debug)]
pub struct Established(Arc<AtomicBool>);

impl Established {
    pub(crate) fn new(mark: Arc<AtomicBool>) -> Self {
        Self(mark)
    }

    /// The link is negotiated.
    pub fn mark(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionEnd {
    /// The peer closed it.
    #[error("closed by the peer")]
    Closed,
    /// Broken below or beside the protocol.
    #[error("{0}")]
    Failed(h2::Error),
    /// No HTTP/2 preface in time.
    #[error("no HTTP/2 handshake within {0:?}")]
    Handshake(Duration),
    /// No WebSocket was opened in time.
    #[error("no WebSocket opened within {0:?}")]
    Upgrade(Duration),
    /// The peer does not keep to the rules of WebSocket, or its request was refused.
    #[error("no WebSocket for this peer: {0}")]
    NoWebSocket(String),
    /// The socket below a WebSocket broke.
    #[error("{0}")]
    Broken(std::io::Error),
    /// No call in time.
    #[error("no call within {0:?}")]
    NoCall(Duration),
    /// No call for too long.
    #[error("idle for {0:?}")]
    Idle(Duration),
    /// No answer to a PING.
    #[error("no answer to a PING within {0:?}")]
    Dead(Duration),
    /// Its time was over and the peer did not leave.
    #[error("older than {0:?}")]
    Age(Duration),
    /// The token that opened it expired, and the peer did not leave.
    #[error("its token is expired")]
    Expired,
    /// The node stops.
    #[error("drained")]
    Drained,
}

/// Serves one connection until it ends, in the transport of the listener. One future does everything: it moves the connection's bytes and runs the
/// futures that `open_link` makes of its calls, so a frame needs no hand-over between tasks.
///
/// When `drain` resolves, new calls are refused and the connection ends with its last link; the links must end by
/// themselves.
pub async fn serve_connection<Io, Link>(
    io: Io,
    peer: impl Into<Peer>,
    settings: &ConnectionSettings,
    drain: impl Future<Output = ()> + Send,
    mut open_link: impl FnMut(Accepted) -> Link + Send,
) -> ConnectionEnd
where
    Io: AsyncRead + AsyncWrite + Unpin + Send,
    Link: Future<Output = ()> + Send,
{
    let peer = peer.into();
    if let Some(path) = &settings.websocket_path {
        // Boxed, so that a gRPC connection carries nothing of it.
        return Box::pin(websocket::serve(io, peer, settings, path, drain, open_link)).await;
    }
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES_EARLY)
        .max_frame_size(settings.frame_bytes_max.unwrap_or(DATA_FRAME_BYTES_MAX))
        .max_concurrent_streams(settings.streams_max)
        .max_header_list_size(settings.header_list_bytes_max)
        .data_frame_budget(SMALL_DATA_BUDGET_BYTES);
    let mut drain = std::pin::pin!(drain);
    let handshake = tokio::select! {
        handshake = timeout(settings.opening_timeout, builder.handshake::<_, Rope>(io)) => handshake,
        // Nothing was promised to this peer yet.
        () = drain.as_mut() => return ConnectionEnd::Drained,
    };
    let mut connection = match handshake {
        Err(_) => return ConnectionEnd::Handshake(settings.opening_timeout),
        Ok(Err(error)) => return ConnectionEnd::Failed(error),
        Ok(Ok(connection)) => connection,
    };
    let keepalive = connection
        .ping_pong()
        .map(|pings| Keepalive::new(pings, settings.keepalive.time, settings.keepalive.timeout));
    let established = Arc::new(AtomicBool::new(false));
    let mut links: Vec<Pin<Box<Link>>> = Vec::new();
    let mut waiting: Vec<Waiting> = Vec::new();
    let mut life = Life::new(settings, keepalive);
    let mut draining = false;
    let mut window_is_raised = false;

    let end = std::future::poll_fn(|cx| {
        if !draining && drain.as_mut().poll(cx).is_ready() {
            draining = true;
            connection.graceful_shutdown();
        }
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, mut respond)))) => {
                    let trusted =
                        (links.is_empty() && waiting.is_empty()) || established.load(Ordering::Relaxed);
                    if let Some(refusal) = objection(&request, settings, trusted, draining) {
                        // A stream that the peer has reset meanwhile needs no answer.
                        let _ = respond.send_response(refusal, true);
                    } else {
                        waiting.push(Waiting::new(request, respond, settings, &peer));
                    }
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(ConnectionEnd::Failed(error)),
                Poll::Ready(None) => return Poll::Ready(life.end_of_closed(draining)),
                Poll::Pending => {}
            }
            let before = (links.len(), waiting.len());
            let judged = waiting.extract_if(.., |waiting| waiting.is_judged(cx, draining));
            for call in judged.filter_map(Waiting::answer) {
                life.ends_with(call.admission.as_ref());
                links.push(Box::pin(open_link(Accepted {
                    service: call.service,
                    reader: call.reader,
                    writer: call.writer,
                    peer: peer.address,
                    certificate: peer.certificate.clone(),
                    admission: call.admission,
                    established: Established::new(Arc::clone(&established)),
                })));
                life.had_a_call = true;
            }
            links.retain_mut(|link| link.as_mut().poll(cx).is_pending());
            if !window_is_raised && established.load(Ordering::Relaxed) {
                window_is_raised = true;
                connection.set_target_window_size(CONNECTION_WINDOW_BYTES);
            }
            if (links.len(), waiting.len()) == before {
                break;
            }
            // A call that was answered or ended left bytes behind; the connection sends them when it is polled again.
        }
        match life.poll(cx, links.is_empty(), draining) {
            Poll::Ready(Verdict::Leave) => {
                connection.graceful_shutdown();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Verdict::End(end)) => {
                connection.abrupt_shutdown(Reason::NO_ERROR);
                // One last poll writes the GOAWAY if the socket takes it at once.
                let _ = connection.poll_closed(cx);
                Poll::Ready(end)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    // The calls learn that their connection is gone, and take their leave of the router.
    drop(connection);
    for link in links {
        link.await;
    }
    end
}
