//! Applications of 0.4 and 1.x as bare links. Not a part of `common`, which the SDK's tests use too.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses its part"
)]

pub mod messages;

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response, StatusCode};
use slim_node::{Node, NodeCounters};
use slim_older::Dialect;
use slim_proto::Frame;
use slim_proto::control::SubscriptionAck;
use slim_proto::grpc::Deframer;

use crate::common::within;
use messages::{publish, subscription};

/// A name for each probe, so that no link gets another's.
static PROBES: AtomicU64 = AtomicU64::new(0);

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

/// A link that is subscribed, whatever its dialect acknowledges: another one has reached it.
pub async fn listening(address: SocketAddr, dialect: Dialect, name: &str, id: u64) -> OlderPeer {
    let mut peer = OlderPeer::named(address, dialect, name, id).await;
    let probe = &format!("org/ns/probe {}", PROBES.fetch_add(1, Ordering::Relaxed));
    peer.subscribe(probe, 1, 8).await;
    let mut other = OlderPeer::connect(address, dialect).await;
    let probing = async {
        let mut pause = tokio::time::interval(Duration::from_millis(20));
        for number in 0.. {
            pause.tick().await;
            other
                .send(publish(
                    dialect,
                    probe,
                    1,
                    256,
                    format!("probe {number};").as_bytes(),
                ))
                .await;
            if number > 1000 {
                panic!("not subscribed");
            }
        }
    };
    tokio::select! {
        () = probing => {}
        got = peer.next() => assert!(contains(&got, b"probe")),
    }
    // The probes that are still on their way come before this one, which nobody else gets.
    other.send(publish(dialect, probe, 1, 256, b"last probe")).await;
    while !contains(&peer.next().await, b"last probe") {}
    peer
}

/// Nothing comes, and the call stays open, while the node does other things.
pub async fn stays_silent(peer: &mut OlderPeer) {
    let some_time = Duration::from_millis(300);
    let got = tokio::time::timeout(some_time, peer.end()).await;
    assert!(got.is_err(), "{got:?}");
}

pub async fn until(node: &Node, condition: impl Fn(&NodeCounters) -> bool) -> NodeCounters {
    within(async {
        let mut look = tokio::time::interval(Duration::from_millis(5));
        loop {
            let counters = node.counters()[0];
            if condition(&counters) {
                return counters;
            }
            look.tick().await;
        }
    })
    .await
}

pub fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
