//! Applications of 0.4 and 1.x as bare links: the messages of these wires, and the recordings of unmodified packages.
#![allow(unreachable_pub, missing_docs, reason = "a module of tests")]

use std::future::poll_fn;
use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use slim_older::Dialect;
use slim_proto::Frame;
use slim_proto::control::SubscriptionAck;
use slim_proto::grpc::Deframer;
use slim_proto::name::component_hash;
use slim_proto::wire::{Fields, put_length_tag, put_varint_field};

use crate::common::within;

pub const TUTORIAL_0_4: &str = include_str!("../../../../core/older/vectors/tutorial-0.4.1.jsonl");
pub const GROUP_1_4: &str = include_str!("../../../../core/older/vectors/group-1.4.1-mls.jsonl");
pub const BOTH: [Dialect; 2] = [Dialect::V0_4, Dialect::V1];

/// A link of an older wire. What a node answers is read when it is asked for.
pub struct OlderPeer {
    pub dialect: Dialect,
    sender: SendStream<Bytes>,
    receiver: RecvStream,
    deframer: Deframer,
    connection: tokio::task::JoinHandle<()>,
}

/// How a link ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// With a gRPC status.
    Status(String),
    /// Cut off.
    Reset(Reason),
    /// Together with its connection.
    Lost,
}

impl OlderPeer {
    pub async fn connect(address: SocketAddr, dialect: Dialect) -> Self {
        Self::try_connect(address, dialect).await.expect("a call")
    }

    /// Opens a call; the response headers if it is refused.
    pub async fn try_connect(address: SocketAddr, dialect: Dialect) -> Result<Self, HeaderMap> {
        let (response, sender, connection) = within(open(address, dialect)).await;
        assert_eq!(response.status(), StatusCode::OK);
        if response.headers().contains_key("grpc-status") {
            return Err(response.headers().clone());
        }
        Ok(Self {
            dialect,
            sender,
            receiver: response.into_body(),
            deframer: Deframer::new(),
            connection,
        })
    }

    /// A link with a name. 0.4 acknowledges nothing: what is sent on another link may come first.
    pub async fn named(address: SocketAddr, dialect: Dialect, name: &str, id: u64) -> Self {
        let mut peer = Self::connect(address, dialect).await;
        peer.subscribe(name, id, 7).await;
        peer
    }

    pub async fn subscribe(&mut self, name: &str, id: u64, number: u64) {
        let request = subscription(self.dialect, name, id, number);
        self.send(request).await;
        if self.dialect == Dialect::V1 && number != 0 {
            let answer = Frame::new(self.next().await).expect("a frame");
            let ack = SubscriptionAck::decode(&answer).expect("decodable");
            let ack = ack.expect("an ack");
            assert_eq!((ack.subscription_id, ack.outcome), (number, Ok(())));
        }
    }

    pub async fn send(&mut self, message: Bytes) {
        let mut framed = BytesMut::with_capacity(message.len() + 5);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).expect("a message"));
        framed.put(message);
        let mut rest = framed.freeze();
        let send = async {
            while !rest.is_empty() {
                self.sender.reserve_capacity(rest.len());
                if self.sender.capacity() == 0 {
                    let granted = poll_fn(|cx| self.sender.poll_capacity(cx)).await;
                    granted.expect("the call is open").expect("the call is open");
                    continue;
                }
                let part = rest.split_to(self.sender.capacity().min(rest.len()));
                self.sender.send_data(part, false).expect("the call is open");
            }
        };
        within(send).await;
    }

    /// The next message.
    pub async fn next(&mut self) -> Bytes {
        match self.step().await {
            Ok(message) => message,
            Err(ending) => panic!("the link ended: {ending:?}"),
        }
    }

    /// How the link ends, whatever comes before.
    pub async fn end(&mut self) -> Ending {
        loop {
            if let Err(ending) = self.step().await {
                return ending;
            }
        }
    }

    async fn step(&mut self) -> Result<Bytes, Ending> {
        loop {
            if let Some(frame) = self.deframer.next_frame().expect("gRPC framing") {
                return Ok(frame.into_bytes());
            }
            let ending = |error: &h2::Error| match error.reason() {
                Some(reason) if error.is_reset() => Ending::Reset(reason),
                _ => Ending::Lost,
            };
            match within(self.receiver.data()).await {
                Some(Ok(chunk)) => {
                    let flow = self.receiver.flow_control();
                    flow.release_capacity(chunk.len()).expect("as much as came");
                    self.deframer.push(chunk);
                }
                Some(Err(error)) => return Err(ending(&error)),
                None => {
                    let trailers = within(self.receiver.trailers()).await;
                    return Err(match trailers {
                        Ok(Some(trailers)) => {
                            Ending::Status(trailers["grpc-status"].to_str().expect("a code").to_owned())
                        }
                        Ok(None) => Ending::Lost,
                        Err(error) => ending(&error),
                    });
                }
            }
        }
    }
}

impl Drop for OlderPeer {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

async fn open(
    address: SocketAddr,
    dialect: Dialect,
) -> (
    Response<RecvStream>,
    SendStream<Bytes>,
    tokio::task::JoinHandle<()>,
) {
    let path = match dialect {
        Dialect::V0_4 => slim_net::grpc::PATH_0_4,
        Dialect::V1 => slim_net::grpc::PATH,
    };
    let socket = tokio::net::TcpStream::connect(address).await.expect("a node");
    let (client, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    let connection = tokio::spawn(async move { drop(connection.await) });
    let request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let mut client = client.ready().await.expect("HTTP/2");
    let (response, sender) = client.send_request(request, false).expect("a call");
    // Before the application has said anything (wire-routing B1).
    let response = response.await.expect("headers at once");
    (response, sender, connection)
}

fn submessage(number: u32, body: &[u8]) -> Vec<u8> {
    let mut output = BytesMut::new();
    put_length_tag(&mut output, number, body.len());
    output.put_slice(body);
    output.to_vec()
}

fn varint(number: u32, value: u64) -> Vec<u8> {
    let mut output = BytesMut::new();
    put_varint_field(&mut output, number, value);
    output.to_vec()
}

fn name(dialect: Dialect, text: &str, id: u64) -> Vec<u8> {
    let mut hashes = Vec::new();
    let mut strings = Vec::new();
    for (number, part) in (1..).zip(text.split('/')) {
        hashes.extend(varint(number, component_hash(part)));
        strings.extend(submessage(number, part.as_bytes()));
    }
    hashes.extend(varint(4, id));
    match dialect {
        Dialect::V0_4 => hashes,
        Dialect::V1 => [submessage(1, &hashes), submessage(2, &strings)].concat(),
    }
}

fn header(dialect: Dialect, destination: &str, id: u64, fanout: u64) -> Vec<u8> {
    let parts = [
        submessage(1, &name(dialect, "org/ns/sender", 1)),
        submessage(2, &name(dialect, destination, id)),
        varint(3, fanout),
    ];
    submessage(1, &parts.concat())
}

pub fn subscription(dialect: Dialect, destination: &str, id: u64, number: u64) -> Bytes {
    let mut body = header(dialect, destination, id, 0);
    match dialect {
        Dialect::V0_4 => {
            for (field, part) in (2..).zip(destination.split('/')) {
                body.extend(submessage(field, part.as_bytes()));
            }
        }
        Dialect::V1 => body.extend(varint(2, number)),
    }
    submessage(1, &body).into()
}

/// A message with these bytes in it.
pub fn publish(dialect: Dialect, destination: &str, id: u64, fanout: u64, blob: &[u8]) -> Bytes {
    let content = match dialect {
        Dialect::V0_4 => 4,
        Dialect::V1 => 3,
    };
    let body = [
        header(dialect, destination, id, fanout),
        submessage(2, &varint(3, 77)),
        submessage(content, &submessage(2, blob)),
    ];
    submessage(3, &body.concat()).into()
}

/// The negotiation of 1.3 and later.
pub fn link_request(link_id: &str) -> Bytes {
    let body = [submessage(1, link_id.as_bytes()), submessage(2, b"1.4.0")];
    submessage(5, &submessage(1, &body.concat())).into()
}

/// A subscription of 0.6: the names of 0.4 on today's path.
pub fn subscription_0_6(destination: &str) -> Bytes {
    subscription(Dialect::V0_4, destination, 7, 0)
}

/// One message of a recording.
pub struct Line {
    pub app: String,
    pub to_node: bool,
    pub bytes: Bytes,
}

pub fn lines(recording: &str) -> Vec<Line> {
    recording
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let text = |key: &str| value[key].as_str().expect("a text").to_owned();
            let hex = text("hex");
            let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
            Line {
                app: format!("{} {}", text("app"), value["link"]),
                to_node: text("to") == "node",
                bytes: (0..hex.len()).step_by(2).map(byte).collect(),
            }
        })
        .collect()
}

/// The outer fields in one order: a node that decodes and encodes again shuffles the metadata.
pub fn parts(message: &[u8]) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Fields::of(message)
        .map(|field| message[field.expect("protobuf").span].to_vec())
        .collect();
    parts.sort();
    parts
}
