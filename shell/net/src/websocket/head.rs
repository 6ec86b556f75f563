//! The head of an HTTP/1.1 message, read from a socket: all of it and, at most, what came along with it.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tungstenite::handshake::machine::TryParse;

/// Room for one read.
const READ_BYTES: usize = 4 * 1024;

/// Why there is no head.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeadError {
    #[error("the connection broke during the opening of a WebSocket: {0}")]
    Broken(#[from] io::Error),
    #[error("the head has more than {limit} bytes")]
    TooLong { limit: usize },
    #[error("no HTTP/1.1")]
    NoHttp,
}

/// Reads a head of at most `limit` bytes. The second part is what followed it.
pub(super) async fn read_head<Head: TryParse>(
    io: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> Result<(Head, Bytes), HeadError> {
    let mut bytes = BytesMut::with_capacity(READ_BYTES);
    let mut looked_at = 0;
    loop {
        // Parsed once, when it is whole: a peer that sends single bytes makes no work.
        let start = looked_at.max(3) - 3;
        if bytes
            .get(start..)
            .is_some_and(|new| new.windows(4).any(|end| end == b"\r\n\r\n"))
        {
            let parsed = Head::try_parse(&bytes).map_err(|_| HeadError::NoHttp)?;
            let Some((length, head)) = parsed else {
                return Err(HeadError::NoHttp);
            };
            if length > limit {
                return Err(HeadError::TooLong { limit });
            }
            let _ = bytes.split_to(length.min(bytes.len()));
            return Ok((head, bytes.freeze()));
        }
        if bytes.len() >= limit {
            return Err(HeadError::TooLong { limit });
        }
        looked_at = bytes.len();
        bytes.reserve(READ_BYTES);
        if io.read_buf(&mut bytes).await? == 0 {
            return Err(if bytes.is_empty() {
                io::Error::from(io::ErrorKind::UnexpectedEof).into()
            } else {
                HeadError::NoHttp
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tungstenite::handshake::server::Request;

    use super::*;

    #[tokio::test]
    async fn a_head_comes_in_any_chunks_and_leaves_what_follows() {
        let text = b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\nrest";
        for chunk in 1..text.len() {
            let mut io = tokio_test_io(text, chunk);
            let (head, rest) = read_head::<Request>(&mut io, 100).await.unwrap();
            assert_eq!(head.uri().path(), "/a");
            assert!(b"rest".starts_with(&rest), "{rest:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_head_or_too_long_a_one_is_told_apart() {
        let mut long = b"GET / HTTP/1.1\r\nx: ".to_vec();
        long.resize(5000, b'y');
        let error = read_head::<Request>(&mut &long[..], 4000).await.unwrap_err();
        assert!(matches!(error, HeadError::TooLong { limit: 4000 }), "{error}");
        for no_head in [
            &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
            b"\x16\x03\x01\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost",
        ] {
            let error = read_head::<Request>(&mut &no_head[..], 4000).await.unwrap_err();
            assert!(matches!(error, HeadError::NoHttp), "{error}");
        }
        let error = read_head::<Request>(&mut &b""[..], 4000).await.unwrap_err();
        assert!(matches!(error, HeadError::Broken(_)), "{error}");
    }

    /// A reader that gives so many bytes at a time.
    fn tokio_test_io(text: &'static [u8], chunk: usize) -> impl AsyncRead + Unpin {
        let (reader, mut writer) = tokio::io::duplex(chunk);
        tokio::spawn(async move {
            // The reader may be gone before the last bytes.
            let _ = tokio::io::AsyncWriteExt::write_all(&mut writer, text).await;
        });
        reader
    }
}
