//! One gRPC call to the agent: a request, and one answer or many (SPIFFE Workload Endpoint §5).
//!
//! Each call has a connection of its own: on a unix socket that costs nothing, and nothing has to be kept alive. A
//! stream that the agent's death leaves behind ends with the socket.

use std::marker::PhantomData;
use std::path::Path;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::RecvStream;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use prost::Message;
use slim_proto::grpc::{DeframeError, Deframer, PREFIX_BYTES, put_prefix};
use slim_proto::limits::{SPIFFE_CALL_TIMEOUT, SPIFFE_MESSAGE_BYTES_MAX};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::error::SpiffeError;
use crate::wire::SERVICE;

/// Longest text of an agent that is kept; it ends up in a log line.
const TEXT_BYTES_MAX: usize = 256;
const PERMISSION_DENIED: u32 = 7;

/// The answers of one call.
pub(crate) struct Answers<M> {
    method: &'static str,
    body: RecvStream,
    deframer: Deframer,
    /// Moves the connection's bytes; goes when the answers do.
    _connection: JoinSet<()>,
    of: PhantomData<fn() -> M>,
}

/// Makes a call that ends with its one answer.
pub(crate) async fn unary<M: Message + Default>(
    socket: &Path,
    method: &'static str,
    request: &impl Message,
) -> Result<M, SpiffeError> {
    let call = async {
        let mut answers = open(socket, method, request).await?;
        answers.next().await
    };
    in_time(method, call).await
}

/// Makes a call with many answers and waits for the first.
pub(crate) async fn stream<M: Message + Default>(
    socket: &Path,
    method: &'static str,
    request: &impl Message,
) -> Result<(M, Answers<M>), SpiffeError> {
    let call = async {
        let mut answers = open(socket, method, request).await?;
        let first = answers.next().await?;
        Ok((first, answers))
    };
    in_time(method, call).await
}

async fn in_time<T>(
    method: &'static str,
    call: impl Future<Output = Result<T, SpiffeError>>,
) -> Result<T, SpiffeError> {
    let limit = SPIFFE_CALL_TIMEOUT;
    // Boxed: callers hold this future inside theirs.
    let result = timeout(limit, Box::pin(call)).await;
    result.unwrap_or(Err(SpiffeError::NoAnswer { method, limit }))
}

async fn open<M: Message + Default>(
    socket: &Path,
    method: &'static str,
    message: &impl Message,
) -> Result<Answers<M>, SpiffeError> {
    let broken = |error| SpiffeError::Broken { method, error };
    let io = UnixStream::connect(socket).await.map_err(|error| {
        let path = socket.to_owned();
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            SpiffeError::SocketDenied { path, error }
        } else {
            SpiffeError::NoAgent { path, error }
        }
    })?;
    let (sender, connection) = h2::client::Builder::new()
        .enable_push(false)
        .handshake::<_, Bytes>(io)
        .await
        .map_err(broken)?;
    let mut task = JoinSet::new();
    task.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to the SPIFFE agent failed");
        }
    });
    let mut sender = sender.ready().await.map_err(broken)?;
    let request = request(method).ok_or(SpiffeError::NotAgent {
        method,
        problem: "the request cannot be written",
    })?;
    let (response, mut stream) = sender.send_request(request, false).map_err(broken)?;
    // Some hundred bytes; the window of a fresh connection has room for them.
    stream.send_data(framed(message), true).map_err(broken)?;
    let response = response.await.map_err(broken)?;
    check(method, response.status(), response.headers())?;
    Ok(Answers {
        method,
        body: response.into_body(),
        deframer: Deframer::with_limit(SPIFFE_MESSAGE_BYTES_MAX),
        _connection: task,
        of: PhantomData,
    })
}

fn request(method: &str) -> Option<Request<()>> {
    let request = Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("http://localhost{SERVICE}{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        // Without it an agent answers nobody: a browser that is lured to the socket cannot send it.
        .header("workload.spiffe.io", "true")
        .body(());
    request.ok()
}

fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX_BYTES + length);
    put_prefix(&mut bytes, length);
    bytes.put(message.encode_to_vec().as_slice());
    bytes.freeze()
}

fn check(method: &'static str, status: StatusCode, headers: &HeaderMap) -> Result<(), SpiffeError> {
    if status != StatusCode::OK {
        let problem = "it answers with an HTTP failure";
        return Err(SpiffeError::NotAgent { method, problem });
    }
    // Headers that are also the end of the call.
    match refusal(method, headers) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// The failure that headers or trailers tell of.
fn refusal(method: &'static str, headers: &HeaderMap) -> Option<SpiffeError> {
    let code: u32 = headers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let text = headers
        .get("grpc-message")
        .map_or(&b""[..], |value| value.as_bytes());
    match code {
        0 => None,
        PERMISSION_DENIED => Some(SpiffeError::NoIdentity {
            message: decode(text),
        }),
        code => Some(SpiffeError::Refused {
            method,
            code,
            message: decode(text),
        }),
    }
}

/// gRPC's percent encoding, cut to a length and to what a log line may have.
fn decode(text: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [high, low, ..] if *first == b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                digit(*high)
                    .zip(digit(*low))
                    .and_then(|(high, low)| u8::try_from(high * 16 + low).ok())
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = rest
            .get(if escaped.is_some() { 3 } else { 1 }..)
            .unwrap_or_default();
        if bytes.len() == TEXT_BYTES_MAX {
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

impl<M: Message + Default> Answers<M> {
    /// The next answer, however long it takes. A dropped future loses nothing.
    pub(crate) async fn next(&mut self) -> Result<M, SpiffeError> {
        let method = self.method;
        loop {
            match self.deframer.next_frame() {
                Ok(Some(frame)) => {
                    let problem = "its message cannot be decoded";
                    return M::decode(frame.into_bytes())
                        .map_err(|_| SpiffeError::NotAgent { method, problem });
                }
                Ok(None) => {}
                Err(DeframeError::TooLarge { .. }) => return Err(SpiffeError::TooLarge { method }),
                Err(DeframeError::Compressed(_)) => {
                    let problem = "its message is compressed";
                    return Err(SpiffeError::NotAgent { method, problem });
                }
            }
            let Some(chunk) = self.body.data().await else {
                return Err(self.end().await);
            };
            let chunk = chunk.map_err(|error| SpiffeError::Broken { method, error })?;
            // All of it is taken at once; fails only for more than was received.
            let _ = self.body.flow_control().release_capacity(chunk.len());
            self.deframer.push(chunk);
        }
    }

    async fn end(&mut self) -> SpiffeError {
        let method = self.method;
        match self.body.trailers().await {
            Ok(Some(trailers)) => refusal(method, &trailers).unwrap_or(SpiffeError::Ended { method }),
            Ok(None) => SpiffeError::Ended { method },
            Err(error) => SpiffeError::Broken { method, error },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_an_agent_are_decoded_and_harmless() {
        assert_eq!(decode(b"no identity%20issued"), "no identity issued");
        assert_eq!(decode(b"100% %zz %4"), "100% %zz %4");
        assert_eq!(decode(b"a%0Ab"), "a b");
        assert_eq!(decode(&[b'x'; 1000]).len(), TEXT_BYTES_MAX);
    }
}
