//! The accepting side of one connection: requests in, links out, and the connection's end.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::header::{ALLOW, CONTENT_TYPE as CONTENT_TYPE_HEADER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use slim_config::{ServerConfig, ServerKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::grpc::status::{Code, Status};
use crate::grpc::stream::{FrameReader, FrameWriter, Role};
use crate::grpc::{
    CONNECTION_WINDOW_BYTES, CONNECTION_WINDOW_BYTES_EARLY, CONTENT_TYPE, DATA_FRAME_BYTES_MAX,
    HEADER_LIST_BYTES_MAX, PATH, SMALL_DATA_BUDGET_BYTES, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use crate::keepalive::{Dead, Keepalive};
use crate::rope::Rope;
use crate::tls::ClientCertificate;

/// HTTP/2 cannot say more in the length of a frame.
const FRAME_SIZE_MAX: u32 = (1 << 24) - 1;

/// After every call has ended: time for the last bytes to leave.
const FAREWELL: Duration = Duration::from_secs(2);

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
        }
    }
}

/// One accepted `OpenChannel` call; its response headers are on their way.
#[derive(Debug)]
pub struct Accepted {
    /// Frames of the dialer.
    pub reader: FrameReader,
    /// Frames to the dialer.
    pub writer: FrameWriter,
    /// The dialer's address.
    pub peer: SocketAddr,
    /// The certificate that the dialer proved to have.
    pub certificate: Option<Arc<ClientCertificate>>,
    /// To be told when the link is negotiated.
    pub established: Established,
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: SocketAddr,
    /// The certificate that it proved to have, under TLS with client certificates.
    pub certificate: Option<Arc<ClientCertificate>>,
}

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        Self {
            address,
            certificate: None,
        }
    }
}

/// Gives a connection its full window and further calls, once its first link is negotiated.
#[derive(Clone, Debug)]
pub struct Established(Arc<AtomicBool>);

impl Established {
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
    /// The node stops.
    #[error("drained")]
    Drained,
}

/// Serves one connection until it ends. One future does everything: it moves the connection's bytes and runs the
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
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let trusted = links.is_empty() || established.load(Ordering::Relaxed);
                    if let Some((reader, writer)) = answer(request, respond, trusted, draining) {
                        links.push(Box::pin(open_link(Accepted {
                            reader,
                            writer,
                            peer: peer.address,
                            certificate: peer.certificate.clone(),
                            established: Established(Arc::clone(&established)),
                        })));
                        life.had_a_call = true;
                    }
                    continue;
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(ConnectionEnd::Failed(error)),
                Poll::Ready(None) => return Poll::Ready(life.end_of_closed(draining)),
                Poll::Pending => {}
            }
            let before = links.len();
            links.retain_mut(|link| link.as_mut().poll(cx).is_pending());
            if !window_is_raised && established.load(Ordering::Relaxed) {
                window_is_raised = true;
                connection.set_target_window_size(CONNECTION_WINDOW_BYTES);
            }
            if links.len() == before {
                break;
            }
            // A call that ended left trailers behind; the connection sends them when it is polled again.
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

/// Answers one request; gives the halves of the call when it is one of ours.
fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Rope>,
    trusted: bool,
    draining: bool,
) -> Option<(FrameReader, FrameWriter)> {
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE_HEADER)
        .is_some_and(|value| value.as_bytes().starts_with(CONTENT_TYPE.as_bytes()));
    let refusal = if request.method() != Method::POST {
        Some(plain(StatusCode::METHOD_NOT_ALLOWED))
    } else if request.uri().path() != PATH {
        Some(if is_grpc {
            refused(&Status::new(Code::UNIMPLEMENTED, "no such method"))
        } else {
            plain(StatusCode::NOT_FOUND)
        })
    } else if !is_grpc {
        Some(plain(StatusCode::UNSUPPORTED_MEDIA_TYPE))
    } else if request
        .headers()
        .get("grpc-encoding")
        .is_some_and(|encoding| encoding != "identity")
    {
        Some(refused(&Status::new(
            Code::UNIMPLEMENTED,
            "compression is not supported",
        )))
    } else if draining {
        Some(refused(&Status::new(Code::UNAVAILABLE, "the node is stopping")))
    } else if !trusted {
        let text = "the first link of this connection is not negotiated yet";
        Some(refused(&Status::new(Code::RESOURCE_EXHAUSTED, text)))
    } else {
        None
    };
    // A stream that the peer has reset meanwhile needs no answer.
    if let Some(refusal) = refusal {
        let _ = respond.send_response(refusal, true);
        return None;
    }
    // Sent at once: the dialer says nothing before it has seen them (wire-routing A1).
    let headers = Response::builder()
        .header(CONTENT_TYPE_HEADER, CONTENT_TYPE)
        .body(())
        .expect("a constant response");
    let stream = respond.send_response(headers, false).ok()?;
    Some((
        FrameReader::new(request.into_body()),
        FrameWriter::new(stream, Role::Acceptor),
    ))
}

fn plain(status: StatusCode) -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// Headers that are also trailers.
fn refused(status: &Status) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    status.write(headers);
    response
}

/// The clocks that end a connection.
struct Life<'a> {
    settings: &'a ConnectionSettings,
    keepalive: Option<Keepalive>,
    had_a_call: bool,
    /// Runs while there is no call.
    quiet: Option<Pin<Box<Sleep>>>,
    /// First the age, then the grace.
    age: Pin<Box<Sleep>>,
    leaving: bool,
    farewell: Option<Pin<Box<Sleep>>>,
}

enum Verdict {
    /// Ask the peer to leave.
    Leave,
    /// Close now.
    End(ConnectionEnd),
}

impl<'a> Life<'a> {
    fn new(settings: &'a ConnectionSettings, keepalive: Option<Keepalive>) -> Self {
        Self {
            settings,
            keepalive,
            had_a_call: false,
            quiet: None,
            age: Box::pin(sleep(settings.keepalive.max_connection_age)),
            leaving: false,
            farewell: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, no_calls: bool, draining: bool) -> Poll<Verdict> {
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
            return Poll::Ready(Verdict::End(ConnectionEnd::Age(limits.max_connection_age)));
        }
        self.leaving = true;
        self.age
            .as_mut()
            .reset(Instant::now() + limits.max_connection_age_grace);
        Poll::Ready(Verdict::Leave)
    }

    /// What an orderly end of the connection means.
    fn end_of_closed(&self, draining: bool) -> ConnectionEnd {
        if draining {
            ConnectionEnd::Drained
        } else if self.leaving {
            ConnectionEnd::Age(self.settings.keepalive.max_connection_age)
        } else {
            ConnectionEnd::Closed
        }
    }
}
