//! The server's side of calls with types: each function registers one method.

use std::marker::PhantomData;

use prost::Message;
use slim_rpc::Status;

use super::{decode_request, encode};
use crate::rpc::{self, Context, Server};

/// One request, one response.
pub fn serve_unary<Q, R, F, O>(server: &mut Server, service: &str, method: &str, handler: F)
where
    Q: Message + Default,
    R: Message,
    F: Fn(Q, Context) -> O + Send + Sync + 'static,
    O: Future<Output = Result<R, Status>> + Send + 'static,
{
    server.unary(service, method, move |request, context| {
        let response = decode_request(request).map(|request| handler(request, context));
        async move { Ok(encode(&response?.await?)) }
    });
}

/// One request, any number of responses.
pub fn serve_server_streaming<Q, R, F, O>(server: &mut Server, service: &str, method: &str, handler: F)
where
    Q: Message + Default,
    F: Fn(Q, Context, ResponseSink<R>) -> O + Send + Sync + 'static,
    O: Future<Output = Result<(), Status>> + Send + 'static,
{
    server.server_streaming(service, method, move |request, context, sink| {
        let sink = ResponseSink::new(sink);
        let answered = decode_request(request).map(|request| handler(request, context, sink));
        async move { answered?.await }
    });
}

/// Any number of requests, one response.
pub fn serve_client_streaming<Q, R, F, O>(server: &mut Server, service: &str, method: &str, handler: F)
where
    R: Message,
    F: Fn(RequestStream<Q>, Context) -> O + Send + Sync + 'static,
    O: Future<Output = Result<R, Status>> + Send + 'static,
{
    server.client_streaming(service, method, move |requests, context| {
        let response = handler(RequestStream::new(requests), context);
        async move { Ok(encode(&response.await?)) }
    });
}

/// Any number of requests and responses.
pub fn serve_bidirectional<Q, R, F, O>(server: &mut Server, service: &str, method: &str, handler: F)
where
    F: Fn(RequestStream<Q>, Context, ResponseSink<R>) -> O + Send + Sync + 'static,
    O: Future<Output = Result<(), Status>> + Send + 'static,
{
    server.bidirectional(service, method, move |requests, context, sink| {
        handler(RequestStream::new(requests), context, ResponseSink::new(sink))
    });
}

/// The requests of a call.
#[derive(Debug)]
pub struct RequestStream<Q> {
    requests: rpc::RequestStream,
    kind: PhantomData<fn() -> Q>,
}

impl<Q> RequestStream<Q> {
    fn new(requests: rpc::RequestStream) -> Self {
        let kind = PhantomData;
        Self { requests, kind }
    }
}

impl<Q: Message + Default> RequestStream<Q> {
    /// The next request, or that it could not be read, which a handler passes on with `?`; `None` after the last one.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Q, Status>> {
        self.requests.next().await.map(decode_request)
    }
}

/// Where a handler puts its responses.
#[derive(Debug)]
pub struct ResponseSink<R> {
    sink: rpc::ResponseSink,
    kind: PhantomData<fn(R)>,
}

impl<R> ResponseSink<R> {
    fn new(sink: rpc::ResponseSink) -> Self {
        let kind = PhantomData;
        Self { sink, kind }
    }
}

impl<R: Message> ResponseSink<R> {
    /// Gives one response. Waits while the caller does not keep up; fails when nobody waits for it any more.
    pub async fn send(&self, response: &R) -> Result<(), Status> {
        self.sink.send(encode(response)).await
    }
}

impl<R> Clone for ResponseSink<R> {
    fn clone(&self) -> Self {
        Self::new(self.sink.clone())
    }
}
