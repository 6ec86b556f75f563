//! Remembers what a failed dial saw, for a better reason than HTTP/2 has.

use std::io::{Error, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::library_error;

/// A byte stream that notes the first byte it reads and the first error of TLS; HTTP/2 keeps neither.
#[derive(Debug)]
pub(crate) struct Probe<Io> {
    io: Io,
    seen: Arc<Seen>,
    has_read: bool,
    /// What writing failed with, until the reason is read.
    broken: Option<Error>,
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
            broken: None,
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
        let result = ready!(Pin::new(&mut self.io).poll_read(cx, buffer));
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
    /// only knows that the connection broke, while the reason lies there unread or is still on its way through the
    /// kernel. A socket that cannot be written to any more has an end to read: the error of writing waits for that.
    fn poll_reason(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut rest = [0; 1024];
        while self.seen.error.get().is_none() {
            let mut buffer = ReadBuf::new(&mut rest);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) => break,
                Err(error) => {
                    self.note(&error);
                    break;
                }
            }
        }
        Poll::Ready(())
    }

    fn poll_writing<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Io>, &mut Context<'_>) -> Poll<Result<T, Error>>,
    ) -> Poll<Result<T, Error>> {
        if self.broken.is_none() {
            match ready!(write(Pin::new(&mut self.io), cx)) {
                Ok(written) => return Poll::Ready(Ok(written)),
                Err(error) => {
                    self.note(&error);
                    self.broken = Some(error);
                }
            }
        }
        ready!(self.poll_reason(cx));
        let error = self.broken.take().unwrap_or_else(|| ErrorKind::BrokenPipe.into());
        Poll::Ready(Err(error))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Probe<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        self.poll_writing(cx, |io, cx| io.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        self.poll_writing(cx, |io, cx| io.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_writing(cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// Has some data and then an alert to read, some time later, and takes nothing any more.
    struct Refusing {
        delay: usize,
        data: usize,
    }

    const ALERT: rustls::Error = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);

    impl AsyncRead for Refusing {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<Result<(), Error>> {
            if self.delay > 0 {
                self.delay -= 1;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
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
        for (delay, data) in [(0, 0), (0, 3), (2, 0), (1, 3)] {
            let (mut probe, seen) = Probe::new(Refusing { delay, data });
            probe.write_all(b"request").await.unwrap_err();
            assert_eq!(seen.error(), Some(&ALERT));
            let (mut probe, seen) = Probe::new(Refusing { delay, data });
            probe.flush().await.unwrap_err();
            assert_eq!(seen.error(), Some(&ALERT));
        }
    }
}
