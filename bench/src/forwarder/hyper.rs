//! The forwarder on hyper's HTTP/2 server: request and response bodies are streams of data frames; the gRPC framing
//! inside them is ours.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use bytes::BytesMut;
use http::{HeaderValue, Request, Response};
use hyper::body::{Body, Frame as BodyFrame, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use slim_net::frames::{BATCH_BYTES, BATCH_FRAMES};
use slim_net::grpc::{CONNECTION_WINDOW_BYTES, DATA_FRAME_BYTES_MAX, STREAM_WINDOW_BYTES};
use slim_net::rope::Rope;
use slim_proto::Egress;
use slim_proto::grpc::Deframer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::yield_now;

use super::hub::{Hub, Member};
use super::{FRAMES_PER_TURN, QUEUE_FRAMES};
use crate::serving::LISTEN;

type Queue = mpsc::Sender<Egress>;

/// Starts listening; serves as long as the runtime lives.
pub(super) async fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind(LISTEN).await?;
    let address = listener.local_addr()?;
    tokio::spawn(accept(listener));
    Ok(address)
}

async fn accept(listener: TcpListener) {
    let hub = Hub::new();
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(serve(socket, Arc::clone(&hub)));
    }
}

async fn serve(socket: TcpStream, hub: Arc<Hub<Queue>>) {
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(|request| std::future::ready(Ok::<_, Infallible>(open(&hub, request))));
    // An error is a generator that has gone, which is how every measurement ends.
    let _ = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(DATA_FRAME_BYTES_MAX)
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

fn open(hub: &Arc<Hub<Queue>>, request: Request<Incoming>) -> Response<Outgoing> {
    let (sender, queue) = mpsc::channel(QUEUE_FRAMES);
    tokio::spawn(read(request.into_body(), hub.join(sender)));
    let mut response = Response::new(Outgoing {
        queue,
        batch: Vec::with_capacity(BATCH_FRAMES),
    });
    let content_type = HeaderValue::from_static("application/grpc");
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, content_type);
    response
}

async fn read(mut body: Incoming, mut member: Member<Queue>) {
    let mut deframer = Deframer::new();
    let mut arena = BytesMut::new();
    let mut turn = 0;
    while let Some(Ok(part)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(chunk) = part.into_data() else { continue };
        deframer.push(chunk);
        loop {
            let frame = match deframer.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return,
            };
            let egress = super::egress(frame, &mut arena);
            for other in member.others() {
                // A receiver that is gone gets nothing; the generator notices what is lost.
                let _ = other.send(egress.clone()).await;
            }
            turn += 1;
            if turn % FRAMES_PER_TURN == 0 {
                yield_now().await;
            }
        }
    }
}

/// A response body that never ends by itself: what waits in the queue, in batches like a node's.
struct Outgoing {
    queue: mpsc::Receiver<Egress>,
    batch: Vec<Egress>,
}

impl Body for Outgoing {
    type Data = Rope;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Rope>, Infallible>>> {
        let this = &mut *self;
        let mut rope = Rope::default();
        while rope.len() < BATCH_BYTES {
            // Few at a time, so that large messages do not make a batch many times too large.
            match this.queue.poll_recv_many(cx, &mut this.batch, BATCH_FRAMES / 8) {
                Poll::Ready(0) if rope.is_empty() => return Poll::Ready(None),
                Poll::Ready(0) => break,
                Poll::Ready(_) => {}
                Poll::Pending if rope.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
            for egress in this.batch.drain(..) {
                rope.push(egress.head);
                rope.push(egress.tail);
            }
        }
        Poll::Ready(Some(Ok(BodyFrame::data(rope))))
    }
}
