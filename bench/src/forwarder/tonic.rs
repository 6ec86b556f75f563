//! The forwarder on tonic: a bidirectional method whose codec moves bytes and knows no protobuf.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::Result;
use bytes::{Buf as _, BufMut as _, Bytes};
use slim_net::grpc::{CONNECTION_WINDOW_BYTES, DATA_FRAME_BYTES_MAX, STREAM_WINDOW_BYTES};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, StreamingService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tower_service::Service;

use super::QUEUE_FRAMES;
use super::hub::{Hub, Member};
use crate::serving::LISTEN;

type Queue = mpsc::Sender<Result<Bytes, Status>>;

/// Starts listening; serves as long as the runtime lives.
pub(super) async fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind(LISTEN).await?;
    let address = listener.local_addr()?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(DATA_FRAME_BYTES_MAX)
        .serve_with_incoming(Forward { hub: Hub::new() }, incoming);
    tokio::spawn(serving);
    Ok(address)
}

/// The whole server: one method, whatever its path.
#[derive(Clone, Debug)]
struct Forward {
    hub: Arc<Hub<Queue>>,
}

impl Service<http::Request<Body>> for Forward {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = OpenStream {
            hub: Arc::clone(&self.hub),
        };
        Box::pin(async move { Ok(Grpc::new(Raw).streaming(method, request).await) })
    }
}

struct OpenStream {
    hub: Arc<Hub<Queue>>,
}

impl StreamingService<Bytes> for OpenStream {
    type Response = Bytes;
    type ResponseStream = ReceiverStream<Result<Bytes, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (sender, queue) = mpsc::channel(QUEUE_FRAMES);
        tokio::spawn(read(request.into_inner(), self.hub.join(sender)));
        ready(Ok(Response::new(ReceiverStream::new(queue))))
    }
}

async fn read(mut messages: Streaming<Bytes>, mut member: Member<Queue>) {
    while let Ok(Some(message)) = messages.message().await {
        for other in member.others() {
            // A receiver that is gone gets nothing; the generator notices what is lost.
            let _ = other.send(Ok(message.clone())).await;
        }
    }
}

/// A codec of bytes as they are.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, output: &mut EncodeBuf<'_>) -> Result<(), Status> {
        output.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, input: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(input.copy_to_bytes(input.remaining())))
    }
}
