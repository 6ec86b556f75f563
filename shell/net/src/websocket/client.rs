//! The dialling side of one WebSocket connection.

use std::fmt::Write as _;
use std::task::Poll;

use http::{HeaderMap, StatusCode};
use slim_config::ClientKeepalive;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tungstenite::handshake::client::{Response, generate_key};
use tungstenite::handshake::derive_accept_key;
use zeroize::Zeroizing;

use super::connection::Connection;
use super::deframer::Sender;
use super::head::{HeadError, read_head};
use crate::dial::DialError;
use crate::dialed::{Dialed, DialedConnection, DialedTask};
use crate::grpc::HEADER_LIST_BYTES_MAX;
use crate::grpc::client::{CallHeaders, OPENING_TIMEOUT, USER_AGENT};
use crate::grpc::status::{Code, Status};
use crate::keepalive::{Dead, Keepalive};
use crate::socket::PeerAddress;

/// Why the other side opens no WebSocket.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(std::io::Error),
    /// Something else answers; nodes that speak gRPC answer in HTTP/2.
    #[error("the other side does not answer in HTTP/1.1; if it speaks gRPC, write http:// or https://")]
    NoHttp,
    /// No such path.
    #[error("there is no WebSocket at this path (404); check the path of the endpoint")]
    Path,
    /// Another answer.
    #[error("the other side answers with HTTP status {0}")]
    Status(StatusCode),
    /// An answer that says yes and is none.
    #[error("the other side does not upgrade as RFC 6455 says ({0})")]
    Answer(&'static str),
}

impl UpgradeError {
    /// True if another attempt makes sense.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Broken(_) => true,
            Self::NoHttp | Self::Path | Self::Status(_) | Self::Answer(_) => false,
        }
    }
}

/// Opens a WebSocket on a fresh byte stream.
pub(crate) async fn open<Io>(
    mut io: Io,
    peer: PeerAddress,
    path: &str,
    call: &CallHeaders<'_>,
    keepalive: &ClientKeepalive,
) -> Result<Dialed, DialError>
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let key = generate_key();
    let request = request(path, call, &key);
    let opening = async {
        let sent = async {
            io.write_all(&request).await?;
            io.flush().await
        };
        sent.await.map_err(UpgradeError::Broken)?;
        let limit = usize::try_from(HEADER_LIST_BYTES_MAX).unwrap_or(usize::MAX);
        let read = read_head::<Response>(&mut io, limit).await;
        read.map_err(|error| match error {
            HeadError::Broken(error) => UpgradeError::Broken(error),
            HeadError::TooLong { .. } | HeadError::NoHttp => UpgradeError::NoHttp,
        })
    };
    let (response, early) = match timeout(OPENING_TIMEOUT, opening).await {
        Ok(opened) => opened.map_err(DialError::WebSocket)?,
        Err(_) => return Err(DialError::NoAnswer(OPENING_TIMEOUT)),
    };
    check(response.status(), response.headers(), &key)?;
    let (connection, reader, writer) = Connection::new(io, Sender::Client, &early);
    let keepalive = Keepalive::new(connection.pings(), keepalive.http2_keepalive, keepalive.timeout);
    Ok(Dialed {
        reader,
        writer,
        peer,
        connection: DialedConnection::start(|task| run(connection, keepalive, task)),
    })
}

/// Moves bytes until the connection ends or the peer is found dead; both halves of the link see the end.
async fn run<Io>(
    mut connection: Connection<Io>,
    mut keepalive: Keepalive<super::halves::WebSocketPings>,
    task: DialedTask,
) where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    std::future::poll_fn(|cx| {
        if let Poll::Ready(ended) = connection.poll(cx) {
            tracing::trace!(?ended, "WebSocket closed");
            return Poll::Ready(());
        }
        if connection.is_asked_to_leave {
            task.leaving
                .send_if_modified(|leaving| !std::mem::replace(leaving, true));
        }
        keepalive.poll(cx).map(|Dead| {
            connection.is_dead();
            tracing::debug!("connection is dead: no answer to a PING");
        })
    })
    .await;
}

/// The request; it may have a credential in it.
fn request(path: &str, call: &CallHeaders<'_>, key: &str) -> Zeroizing<Vec<u8>> {
    let mut request = Zeroizing::new(String::with_capacity(512));
    let _ = write!(
        request,
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nUser-Agent: {USER_AGENT}\r\n",
        call.authority
    );
    let is_shown = call.authorization.is_some();
    for (name, value) in call.extra {
        // What is configured as credential wins over a header of that name.
        if !(is_shown && name == "authorization") {
            let _ = write!(request, "{name}: {value}\r\n");
        }
    }
    let mut request = Zeroizing::new(std::mem::take(&mut *request).into_bytes());
    if let Some(authorization) = &call.authorization {
        request.extend_from_slice(b"Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// What an answer means to a dial.
fn check(status: StatusCode, headers: &HeaderMap, key: &str) -> Result<(), DialError> {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let code = Code::of_http(status);
        return Err(match code {
            // These two have errors of their own, which say it.
            Code::UNAUTHENTICATED | Code::PERMISSION_DENIED => DialError::Refused(Status::new(code, "")),
            Code::UNAVAILABLE => DialError::Refused(Status::new(code, &format!("HTTP status {status}"))),
            _ if status == StatusCode::NOT_FOUND => DialError::WebSocket(UpgradeError::Path),
            _ => DialError::WebSocket(UpgradeError::Status(status)),
        });
    }
    let says = |name: &str, word: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.is_some_and(|value| {
            value
                .split(',')
                .any(|part| part.trim().eq_ignore_ascii_case(word))
        })
    };
    let accepted = headers.get("sec-websocket-accept");
    let missing = if !says("upgrade", "websocket") || !says("connection", "upgrade") {
        "no upgrade"
    } else if accepted.is_none_or(|value| value.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()) {
        "the key does not fit"
    } else if headers.contains_key("sec-websocket-extensions") {
        "an extension that was not asked for"
    } else if headers.contains_key("sec-websocket-protocol") {
        "a subprotocol that was not asked for"
    } else {
        return Ok(());
    };
    Err(DialError::WebSocket(UpgradeError::Answer(missing)))
}
