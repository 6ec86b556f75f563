//! Remembers what a failed dial saw, for a better reason than HTTP/2 has.

use std::io::{Error, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::library_error;

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
        if let Some(error) = library_error(error) {
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

impl<Io: AsyncRead + Unpin> Probe<Io> {
    /// A peer that refuses the certificate it was shown says why and closes. HTTP/2 may write before it reads, and then
    /// only knows that the connection broke, while the reason lies there unread.
    fn read_the_reason(&mut self, cx: &mut Context<'_>) {
        let mut rest = [0; 1024];
        while self.seen.error.get().is_none() {
            let mut buffer = ReadBuf::new(&mut rest);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(Err(error)) => return self.note(&error),
                Poll::Ready(Ok(())) | Poll::Pending => return,
            }
        }
    }

    fn after_writing<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        if let Poll::Ready(Err(error)) = &written {
            self.note(error);
            self.read_the_reason(cx);
        }
        written
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Probe<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.after_writing(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.after_writing(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        self.after_writing(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Has some data and then an alert to read, and takes nothing any more.
    struct Refusing {
        data: usize,
    }

    const ALERT: rustls::Error = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);

    impl AsyncRead for Refusing {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<Result<(), Error>> {
            if self.data == 0 {
                return Poll::Ready(Err(Error::new(ErrorKind::InvalidData, ALERT)));
            }
            self.data -= 1;
            buffer.put_slice(&[0]);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Refusing {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<Result<usize, Error>> {
            Poll::Ready(Err(ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            Poll::Ready(Err(ErrorKind::BrokenPipe.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn the_reason_is_found_when_only_writing_failed() {
        for data in [0, 3] {
            let (mut probe, seen) = Probe::new(Refusing { data });
            probe.write_all(b"request").await.unwrap_err();
            assert_eq!(seen.error(), Some(&ALERT));
            let (mut probe, seen) = Probe::new(Refusing { data });
            probe.flush().await.unwrap_err();
            assert_eq!(seen.error(), Some(&ALERT));
        }
    }
}
