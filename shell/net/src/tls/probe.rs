//! Remembers what a failed dial saw, for a better reason than HTTP/2 has.

use std::io::{Error, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A byte stream that notes the first byte it reads and the first error of TLS; HTTP/2 keeps neither.
#[derive(Debug)]
pub(crate) struct Probe<Io> {
    io: Io,
    seen: Arc<Seen>,
    has_read: bool,
}

/// What a probe noted.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    first_byte: OnceLock<u8>,
    error: OnceLock<rustls::Error>,
}

impl Seen {
    /// True if the peer's first byte begins a record of TLS: an alert about our plain text, or part of a handshake.
    /// HTTP/2 begins with the length of a SETTINGS frame, whose high byte is 0.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self.first_byte.get(), Some(0x14..=0x17))
    }

    /// The first error of TLS.
    pub(crate) fn error(&self) -> Option<&rustls::Error> {
        self.error.get()
    }
}

impl<Io> Probe<Io> {
    pub(crate) fn new(io: Io) -> (Self, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let probe = Self {
            io,
            seen: Arc::clone(&seen),
            has_read: false,
        };
        (probe, seen)
    }

    fn note(&self, error: &Error) {
        if let Some(error) = error
            .get_ref()
            .and_then(|error| error.downcast_ref::<rustls::Error>())
        {
            // Only the first one says what happened.
            let _ = self.seen.error.set(error.clone());
        }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Probe<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        let before = buffer.filled().len();
        let result = std::task::ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
        if let Err(error) = &result {
            self.note(error);
        } else if !self.has_read
            && let Some(byte) = buffer.filled().get(before)
        {
            self.has_read = true;
            let _ = self.seen.first_byte.set(*byte);
        }
        Poll::Ready(result)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Probe<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
