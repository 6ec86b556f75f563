//! The accepting side of one WebSocket connection: its opening, its one link, and its end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Poll;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tungstenite::handshake::server::Request;

use super::FAREWELL;
use super::connection::{Connection, Ended};
use super::deframer::Sender;
use super::head::{HeadError, read_head};
use super::upgrade::{Refusal, check};
use crate::auth::Admission;
use crate::grpc::Service;
use crate::grpc::life::{Life, Verdict};
use crate::grpc::server::{Accepted, ConnectionEnd, ConnectionSettings, Established, Peer};
use crate::keepalive::Keepalive;

/// What a refused dialer may still send before its socket is closed; closing with unread bytes would take the answer
/// back.
const UNREAD_BYTES_MAX: u64 = 64 * 1024;

/// Serves one connection until it ends, in one future: the connection and the link that `open_link` makes.
pub(crate) async fn serve<Io, Link>(
    mut io: Io,
    peer: Peer,
    settings: &ConnectionSettings,
    path: &str,
    drain: impl Future<Output = ()> + Send,
    mut open_link: impl FnMut(Accepted) -> Link + Send,
) -> ConnectionEnd
where
    Io: AsyncRead + AsyncWrite + Unpin + Send,
    Link: Future<Output = ()> + Send,
{
    let mut drain = std::pin::pin!(drain);
    let opened = tokio::select! {
        opened = timeout(settings.opening_timeout, open(&mut io, &peer, settings, path)) => opened,
        () = drain.as_mut() => {
            // A moment, not more: nothing was promised to this peer yet.
            let _ = timeout(FAREWELL, refuse(&mut io, Refusal::Stopping)).await;
            return ConnectionEnd::Drained;
        }
    };
    let (admission, early) = match opened {
        Err(_) => return ConnectionEnd::Upgrade(settings.opening_timeout),
        Ok(Err(OpeningError::Head(error))) => return ConnectionEnd::NoWebSocket(error.to_string()),
        Ok(Err(OpeningError::Refused(refusal))) => {
            let _ = timeout(FAREWELL, refuse(&mut io, refusal)).await;
            return ConnectionEnd::NoWebSocket(refusal.to_string());
        }
        Ok(Ok(opened)) => opened,
    };
    // Held until the connection ends.
    let permit = settings
        .connections
        .as_ref()
        .map(|places| Arc::clone(places).try_acquire_owned());
    if let Some(Err(_)) = permit {
        // Between the answer and here another one took the last place; rare, and plain enough.
        return ConnectionEnd::NoWebSocket(Refusal::TooMany.to_string());
    }

    let (mut connection, reader, writer) = Connection::new(io, Sender::Server, &early);
    let (time, limit) = (settings.keepalive.time, settings.keepalive.timeout);
    let mut life = Life::new(settings, Some(Keepalive::new(connection.pings(), time, limit)));
    life.had_a_call = true;
    life.ends_with(admission.as_ref());
    let mut link: Option<Pin<Box<Link>>> = Some(Box::pin(open_link(Accepted {
        service: Service::DataPlane,
        reader,
        writer,
        peer: peer.address,
        certificate: peer.certificate.clone(),
        admission,
        // The link alone decides when it reads larger frames.
        established: Established::new(Arc::new(AtomicBool::new(false))),
    })));
    let mut draining = false;
    let end = std::future::poll_fn(|cx| {
        // The link ends by itself then.
        draining = draining || drain.as_mut().poll(cx).is_ready();
        if let Poll::Ready(ended) = connection.poll(cx) {
            return Poll::Ready(match ended {
                Ended::Closed | Ended::Aborted if draining => ConnectionEnd::Drained,
                Ended::Closed | Ended::Aborted => life.end_of_closed(false),
                Ended::Violated(violation) => ConnectionEnd::NoWebSocket(violation.to_string()),
                Ended::Broken(error) => ConnectionEnd::Broken(error),
            });
        }
        if let Some(running) = &mut link
            && running.as_mut().poll(cx).is_ready()
        {
            link = None;
        }
        match life.poll(cx, false, draining) {
            Poll::Ready(Verdict::Leave) => {
                connection.ask_to_leave();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(Verdict::End(end)) => {
                connection.go_away();
                // One last poll writes the Close if the socket takes it at once.
                let _ = connection.poll(cx);
                Poll::Ready(end)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    // The link learns that its connection is gone, and takes its leave of the router.
    drop(connection);
    drop(permit);
    if let Some(link) = link {
        link.await;
    }
    end
}

enum OpeningError {
    Head(HeadError),
    Refused(Refusal),
}

async fn open<Io>(
    io: &mut Io,
    peer: &Peer,
    settings: &ConnectionSettings,
    path: &str,
) -> Result<(Option<Admission>, Bytes), OpeningError>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    let limit = usize::try_from(settings.header_list_bytes_max).unwrap_or(usize::MAX);
    let (mut request, early) = match read_head::<Request>(io, limit).await {
        Ok(read) => read,
        Err(HeadError::TooLong { .. }) => return Err(OpeningError::Refused(Refusal::TooLong)),
        Err(HeadError::NoHttp) => return Err(OpeningError::Refused(Refusal::NoUpgrade)),
        Err(error @ HeadError::Broken(_)) => return Err(OpeningError::Head(error)),
    };
    let upgrade = check(&mut request, path).map_err(OpeningError::Refused)?;
    if let Some(places) = &settings.connections
        && places.available_permits() == 0
    {
        return Err(OpeningError::Refused(Refusal::TooMany));
    }
    let admission = match &settings.authenticator {
        Some(authenticator) => {
            let judged = authenticator.admit(peer, upgrade.authorization.as_ref()).await;
            Some(judged.map_err(|denial| OpeningError::Refused(denial.into()))?)
        }
        // Any page that a browser of this machine shows could connect, and nobody would ask who it is.
        None if upgrade.is_foreign_page && peer.certificate.is_none() => {
            return Err(OpeningError::Refused(Refusal::Origin));
        }
        None => None,
    };
    let answered = async {
        io.write_all(&upgrade.answer).await?;
        io.flush().await
    };
    answered
        .await
        .map_err(|error| OpeningError::Head(HeadError::Broken(error)))?;
    Ok((admission, early))
}

async fn refuse<Io>(io: &mut Io, refusal: Refusal) -> std::io::Result<()>
where
    Io: AsyncRead + AsyncWrite + Unpin,
{
    io.write_all(refusal.answer().as_bytes()).await?;
    io.shutdown().await?;
    tokio::io::copy(&mut io.take(UNREAD_BYTES_MAX), &mut tokio::io::sink()).await?;
    Ok(())
}
