//! The dialling side of one connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http::header::CONTENT_TYPE as CONTENT_TYPE_HEADER;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::dial::DialError;
use crate::grpc::status::{Code, Status};
use crate::grpc::stream::{FrameReader, FrameWriter, Role};
use crate::grpc::{
    CONNECTION_WINDOW_BYTES, CONTENT_TYPE, DATA_FRAME_BYTES_MAX, HEADER_LIST_BYTES_MAX, PATH,
    SMALL_DATA_BUDGET_BYTES, STREAM_WINDOW_BYTES,
};
use crate::keepalive::{Dead, Keepalive};
use crate::rope::Rope;

/// Limit from the connected socket to the response headers; the acceptor allows as much for its part.
pub(crate) const OPENING_TIMEOUT: Duration = Duration::from_secs(5);

/// Names this implementation to the peer's log.
const USER_AGENT: &str = concat!("slim/", env!("CARGO_PKG_VERSION"));

/// One dialled `OpenChannel` call whose response headers have come.
#[derive(Debug)]
pub struct Dialed {
    /// Frames of the acceptor.
    pub reader: FrameReader,
    /// Frames to the acceptor.
    pub writer: FrameWriter,
    /// The acceptor's address.
    pub peer: SocketAddr,
    /// The task that moves the connection's bytes.
    pub connection: DialedConnection,
}

/// A dialled connection. Dropping it cuts the socket; [`close_when_done`](Self::close_when_done) lets what is
/// already handed over leave first.
#[derive(Debug)]
pub struct DialedConnection {
    task: Option<AbortHandle>,
}

impl DialedConnection {
    /// Lets the connection end by itself: after both halves of the call are finished or dropped.
    pub fn close_when_done(mut self) {
        self.task = None;
    }
}

impl Drop for DialedConnection {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What a call says beside its path.
pub(crate) struct CallHeaders<'a> {
    pub(crate) scheme: &'static str,
    pub(crate) authority: &'a str,
    pub(crate) extra: &'a BTreeMap<String, String>,
}

/// Speaks HTTP/2 on a fresh socket and opens the call.
pub(crate) async fn open<Io>(
    io: Io,
    peer: SocketAddr,
    call: &CallHeaders<'_>,
    ping_interval: Duration,
    ping_timeout: Duration,
) -> Result<Dialed, DialError>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let opening = async {
        let (send_request, mut connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(DATA_FRAME_BYTES_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .data_frame_budget(SMALL_DATA_BUDGET_BYTES)
            .enable_push(false)
            .handshake::<_, Rope>(io)
            .await
            .map_err(DialError::Handshake)?;
        let keepalive = connection
            .ping_pong()
            .map(|pings| Keepalive::new(pings, ping_interval, ping_timeout));
        let task = tokio::spawn(run(connection, keepalive)).abort_handle();
        let connection = DialedConnection { task: Some(task) };
        let mut send_request = send_request.ready().await.map_err(DialError::Handshake)?;
        let (response, stream) = send_request
            .send_request(request(call)?, false)
            .map_err(DialError::Call)?;
        let response = response.await.map_err(DialError::Call)?;
        check(&response).map_err(DialError::Refused)?;
        Ok(Dialed {
            reader: FrameReader::new(response.into_body()),
            writer: FrameWriter::new(stream, Role::Dialer),
            peer,
            connection,
        })
    };
    match timeout(OPENING_TIMEOUT, opening).await {
        Ok(result) => result,
        Err(_) => Err(DialError::NoAnswer(OPENING_TIMEOUT)),
    }
}

/// Moves bytes until the connection ends or the peer is found dead; both halves of the call see the end.
async fn run<Io>(connection: h2::client::Connection<Io, Rope>, mut keepalive: Option<Keepalive>)
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let dead = std::future::poll_fn(|cx| match &mut keepalive {
        Some(keepalive) => keepalive.poll(cx),
        None => std::task::Poll::Pending,
    });
    tokio::select! {
        result = connection => {
            if let Err(error) = result {
                tracing::debug!(%error, "connection failed");
            }
        }
        Dead = dead => tracing::debug!("connection is dead: no answer to a PING"),
    }
}

fn request(call: &CallHeaders<'_>) -> Result<Request<()>, DialError> {
    let mut request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("{}://{}{PATH}", call.scheme, call.authority))
        .header(CONTENT_TYPE_HEADER, CONTENT_TYPE)
        .header("te", "trailers")
        .body(())
        .map_err(|_| DialError::Authority(call.authority.to_owned()))?;
    let headers = request.headers_mut();
    headers.insert("user-agent", HeaderValue::from_static(USER_AGENT));
    for (name, value) in call.extra {
        // The configuration lets nothing else through.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.insert(name, value);
        }
    }
    Ok(request)
}

/// A refusal is a plain HTTP answer or headers that are also trailers.
fn check<T>(response: &Response<T>) -> Result<(), Status> {
    let headers = response.headers();
    if let Some(status) = Status::read(headers) {
        return Err(status);
    }
    let status = response.status();
    if status != StatusCode::OK {
        return Err(Status::new(
            Code::of_http(status),
            &format!("HTTP status {status}"),
        ));
    }
    let content_type = headers
        .get(CONTENT_TYPE_HEADER)
        .map_or(&b""[..], HeaderValue::as_bytes);
    if !content_type.starts_with(CONTENT_TYPE.as_bytes()) {
        return Err(Status::new(Code::UNKNOWN, "the peer does not speak gRPC"));
    }
    Ok(())
}
