//! The dialling side of one connection.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::client::SendRequest;
use http::header::{AUTHORIZATION, CONTENT_TYPE as CONTENT_TYPE_HEADER};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use slim_config::ClientKeepalive;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::dial::DialError;
use crate::dialed::{Dialed, DialedConnection, DialedTask};
use crate::frames::{FrameReader, FrameWriter};
use crate::grpc::status::{Code, Status};
use crate::grpc::stream::Role;
use crate::grpc::{
    CONNECTION_WINDOW_BYTES, CONTENT_TYPE, DATA_FRAME_BYTES_MAX, HEADER_LIST_BYTES_MAX, PATH,
    SMALL_DATA_BUDGET_BYTES, STREAM_WINDOW_BYTES,
};
use crate::keepalive::{Dead, Keepalive};
use crate::rope::Rope;
use crate::socket::PeerAddress;

/// Limit from the connected socket to the response headers; the acceptor allows as much for its part.
pub(crate) const OPENING_TIMEOUT: Duration = Duration::from_secs(5);

/// Names this implementation to the peer's log.
pub(crate) const USER_AGENT: &str = concat!("slim/", env!("CARGO_PKG_VERSION"));

/// What a call says beside its path.
pub(crate) struct CallHeaders<'a> {
    pub(crate) scheme: &'static str,
    pub(crate) authority: &'a str,
    pub(crate) extra: &'a BTreeMap<String, String>,
    pub(crate) authorization: Option<HeaderValue>,
}

/// Speaks HTTP/2 on a fresh socket and opens the call.
pub(crate) async fn open<Io>(
    io: Io,
    peer: PeerAddress,
    call: &CallHeaders<'_>,
    keepalive: &ClientKeepalive,
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
            .map(|pings| Keepalive::new(pings, keepalive.http2_keepalive, keepalive.timeout));
        let requests = Some(send_request.clone());
        let connection = DialedConnection::start(|DialedTask { leaving, released }| {
            let mut life = Life {
                keepalive,
                requests,
                released,
                leaving,
            };
            async move { life.run(connection).await }
        });
        let mut send_request = send_request.ready().await.map_err(DialError::Handshake)?;
        let (response, stream) = send_request
            .send_request(request(call)?, false)
            .map_err(DialError::Call)?;
        let response = response.await.map_err(DialError::Call)?;
        check(&response).map_err(DialError::Refused)?;
        Ok(Dialed {
            reader: FrameReader::grpc(response.into_body()),
            writer: FrameWriter::grpc(stream, Role::Dialer),
            peer,
            connection,
        })
    };
    match timeout(OPENING_TIMEOUT, opening).await {
        Ok(result) => result,
        Err(_) => Err(DialError::NoAnswer(OPENING_TIMEOUT)),
    }
}

/// What is watched beside a connection's bytes.
struct Life {
    keepalive: Option<Keepalive>,
    /// Knows whether the peer said GOAWAY; keeps the connection open, so it goes when the call does.
    requests: Option<SendRequest<Rope>>,
    released: oneshot::Receiver<()>,
    leaving: watch::Sender<bool>,
}

impl Life {
    /// Moves bytes until the connection ends or the peer is found dead; both halves of the call see the end.
    async fn run<Io>(&mut self, connection: h2::client::Connection<Io, Rope>)
    where
        Io: AsyncRead + AsyncWrite + Unpin,
    {
        let mut connection = std::pin::pin!(connection);
        std::future::poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            self.look_for_goaway(cx);
            if let Poll::Ready(result) = polled {
                if let Err(error) = result {
                    tracing::debug!(%error, "connection failed");
                }
                return Poll::Ready(());
            }
            if self.requests.is_some() && Pin::new(&mut self.released).poll(cx).is_ready() {
                self.requests = None;
                // The connection looks again whether anybody needs it.
                cx.waker().wake_by_ref();
            }
            match &mut self.keepalive {
                Some(keepalive) => keepalive.poll(cx).map(|Dead| {
                    tracing::debug!("connection is dead: no answer to a PING");
                }),
                None => Poll::Pending,
            }
        })
        .await;
    }

    /// A connection that takes no new calls, while the one it has goes on, is to be replaced. The frame that says
    /// so was read by the poll before.
    fn look_for_goaway(&mut self, cx: &mut Context<'_>) {
        if let Some(requests) = &mut self.requests
            && matches!(requests.poll_ready(cx), Poll::Ready(Err(_)))
        {
            self.requests = None;
            self.leaving.send_replace(true);
        }
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
    // What is configured as credential wins over a header of that name.
    if let Some(authorization) = &call.authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
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
        let code = Code::of_http(status);
        // These two have errors of their own, which say it.
        let message = match code {
            Code::UNAUTHENTICATED | Code::PERMISSION_DENIED => String::new(),
            _ => format!("HTTP status {status}"),
        };
        return Err(Status::new(code, &message));
    }
    let content_type = headers
        .get(CONTENT_TYPE_HEADER)
        .map_or(&b""[..], HeaderValue::as_bytes);
    if !content_type.starts_with(CONTENT_TYPE.as_bytes()) {
        return Err(Status::new(Code::UNKNOWN, "the peer does not speak gRPC"));
    }
    Ok(())
}
