//! The client's side of calls with types.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use prost::Message;
use slim_proto::FullName;
use slim_rpc::Status;

use super::{decode_response, encode};
use crate::rpc::{self, CallOptions, Channel, GroupChannel};

/// One request, one response.
pub async fn unary<Q: Message, R: Message + Default>(
    channel: &Channel,
    service: &str,
    method: &str,
    request: &Q,
    options: CallOptions,
) -> Result<R, Status> {
    let response = channel.unary(service, method, encode(request), options).await?;
    decode_response(response)
}

/// One request, any number of responses.
pub async fn server_streaming<Q: Message, R>(
    channel: &Channel,
    service: &str,
    method: &str,
    request: &Q,
    options: CallOptions,
) -> Result<Responses<R>, Status> {
    let responses = channel
        .server_streaming(service, method, encode(request), options)
        .await?;
    Ok(Responses::new(responses))
}

/// Any number of requests, one response.
pub async fn client_streaming<Q, R>(
    channel: &Channel,
    service: &str,
    method: &str,
    options: CallOptions,
) -> Result<(Requests<Q>, Response<R>), Status> {
    let (requests, response) = channel.client_streaming(service, method, options).await?;
    let response = Response {
        response: Box::pin(response),
        kind: PhantomData,
    };
    Ok((Requests::new(requests), response))
}

/// Any number of requests and responses, in any order.
pub async fn bidirectional<Q, R>(
    channel: &Channel,
    service: &str,
    method: &str,
    options: CallOptions,
) -> Result<(Requests<Q>, Responses<R>), Status> {
    let (requests, responses) = channel.bidirectional(service, method, options).await?;
    Ok((Requests::new(requests), Responses::new(responses)))
}

/// One request to all servers of a group; any number of responses of each.
pub async fn call_group<Q: Message, R>(
    channel: &GroupChannel,
    service: &str,
    method: &str,
    request: &Q,
    options: CallOptions,
) -> Result<GroupResponses<R>, Status> {
    let responses = channel.call(service, method, encode(request), options).await?;
    Ok(GroupResponses::new(responses))
}

/// Any number of requests to all servers of a group, and of responses of each.
pub async fn stream_group<Q, R>(
    channel: &GroupChannel,
    service: &str,
    method: &str,
    options: CallOptions,
) -> Result<(Requests<Q>, GroupResponses<R>), Status> {
    let (requests, responses) = channel.stream(service, method, options).await?;
    Ok((Requests::new(requests), GroupResponses::new(responses)))
}

/// The requests of a streaming call. Dropped, it says that no more come.
#[derive(Debug)]
pub struct Requests<Q> {
    requests: rpc::Requests,
    kind: PhantomData<fn(Q)>,
}

impl<Q> Requests<Q> {
    fn new(requests: rpc::Requests) -> Self {
        let kind = PhantomData;
        Self { requests, kind }
    }

    /// No more requests; the same as dropping this.
    pub fn finish(self) {}
}

impl<Q: Message> Requests<Q> {
    /// Sends one more request; waits while too much is unacknowledged. Fails when the call is over; the responses say
    /// why.
    pub async fn send(&self, request: &Q) -> Result<(), Status> {
        self.requests.send(encode(request)).await
    }
}

/// The one response of a call that streams requests. Dropped before it is there, it cancels the call.
pub struct Response<R> {
    response: Pin<Box<dyn Future<Output = Result<Bytes, Status>> + Send>>,
    kind: PhantomData<fn() -> R>,
}

impl<R: Message + Default> Future for Response<R> {
    type Output = Result<R, Status>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let response = self.get_mut().response.as_mut();
        response.poll(context).map(|response| decode_response(response?))
    }
}

impl<R> fmt::Debug for Response<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").finish_non_exhaustive()
    }
}

/// The responses of a call. Dropped before the end, it cancels the call.
#[derive(Debug)]
pub struct Responses<R> {
    responses: rpc::Responses,
    kind: PhantomData<fn() -> R>,
}

impl<R> Responses<R> {
    fn new(responses: rpc::Responses) -> Self {
        let kind = PhantomData;
        Self { responses, kind }
    }
}

impl<R: Message + Default> Responses<R> {
    /// The next response, or the failure of the call; `None` after its end. Cancel-safe.
    ///
    /// Responses that nobody takes hold up the other calls of the channel, since all of them share one session.
    pub async fn next(&mut self) -> Option<Result<R, Status>> {
        let response = self.responses.next().await?;
        Some(response.and_then(decode_response))
    }
}

/// What the servers of a group answer. Dropped before the end, it cancels the call.
#[derive(Debug)]
pub struct GroupResponses<R> {
    responses: rpc::GroupResponses,
    kind: PhantomData<fn() -> R>,
}

/// One answer of a group call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupResponse<R> {
    /// Whose.
    pub source: FullName,
    /// A response, one that could not be read, or the failure with which this server's part ended.
    pub result: Result<R, Status>,
}

impl<R> GroupResponses<R> {
    fn new(responses: rpc::GroupResponses) -> Self {
        let kind = PhantomData;
        Self { responses, kind }
    }
}

impl<R: Message + Default> GroupResponses<R> {
    /// The next answer; `None` after every server has finished. A failure of the call as a whole, such as its deadline,
    /// is the outer error and the last item.
    pub async fn next(&mut self) -> Option<Result<GroupResponse<R>, Status>> {
        let response = self.responses.next().await?;
        Some(response.map(|response| GroupResponse {
            source: response.source,
            result: response.result.and_then(decode_response),
        }))
    }
}
