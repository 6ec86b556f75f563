//! Calls whose messages have types: what generated stubs are made of (`slim rpc generate --language rust`).
//!
//! Each function here is one of [`Channel`](super::Channel), [`GroupChannel`](super::GroupChannel) or
//! [`Server`](super::Server) with protobuf messages in the place of bytes; the rules of calls are theirs.

mod client;
mod server;

use bytes::Bytes;
use prost::Message;
use slim_rpc::{Code, Status};

pub use client::{
    GroupResponse, GroupResponses, Requests, Response, Responses, bidirectional, call_group,
    client_streaming, server_streaming, stream_group, unary,
};
pub use server::{
    RequestStream, ResponseSink, serve_bidirectional, serve_client_streaming, serve_server_streaming,
    serve_unary,
};

fn encode<M: Message>(message: &M) -> Bytes {
    message.encode_to_vec().into()
}

/// Requests that cannot be read are the caller's mistake.
fn decode_request<M: Message + Default>(bytes: Bytes) -> Result<M, Status> {
    decode(bytes, Code::InvalidArgument, "request")
}

/// Responses that cannot be read are the server's, as gRPC has it.
fn decode_response<M: Message + Default>(bytes: Bytes) -> Result<M, Status> {
    decode(bytes, Code::Internal, "response")
}

fn decode<M: Message + Default>(bytes: Bytes, code: Code, what: &str) -> Result<M, Status> {
    M::decode(bytes).map_err(|error| Status::new(code, format!("the {what} has another type: {error}")))
}
