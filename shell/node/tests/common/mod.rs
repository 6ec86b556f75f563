//! A node and bare links that speak the wire to it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test file uses its part"
)]

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use slim_config::{ClientConfig, ServerConfig};
use slim_crypto::EphemeralKey;
use slim_net::{Clock, Dialed, FrameReader, FrameWriter, LinkEnd, Status, dial};
use slim_node::Node;
use slim_proto::control::{
    ConnectionType, LinkNegotiation, SubscriptionAck, SubscriptionAction, SubscriptionRequest,
};
use slim_proto::message::VERSION;
use slim_proto::{Content, Egress, Frame, FrameKind, FullName, Message, NameId, SessionKind};
use slim_router::{Dialer, Direction, LinkId, LinkInfo, LocalNode, Output, Router, RouterConfig};
use tokio::time::timeout;

pub const DEADLINE: Duration = Duration::from_secs(20);

/// A listener's configuration that lets links without header MAC in, for peers that have no keys.
pub fn open_server() -> ServerConfig {
    ServerConfig {
        require_header_mac: false,
        ..strict_server()
    }
}

/// A listener's configuration as it is by default.
pub fn strict_server() -> ServerConfig {
    ServerConfig::insecure("127.0.0.1:0".parse().expect("an endpoint"))
}

/// One node with one listener.
pub async fn start(server: ServerConfig) -> (Node, SocketAddr) {
    let node = Node::serve(server).await.expect("a free port");
    let address = node.local_addresses()[0];
    (node, address)
}

pub fn client(address: SocketAddr) -> ClientConfig {
    ClientConfig::insecure(address.into())
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}

/// A negotiated link without header MAC: frames go out and come in as they are.
pub struct RawPeer {
    pub name: FullName,
    pub reader: FrameReader,
    pub writer: FrameWriter,
    next_id: u64,
    _connection: slim_net::DialedConnection,
}

impl RawPeer {
    /// Dials and negotiates without a key.
    pub async fn connect(address: SocketAddr, name: &str) -> Self {
        Self::connect_as(&client(address), name).await
    }

    /// The same with credentials.
    pub async fn connect_as(config: &ClientConfig, name: &str) -> Self {
        let (mut dialed, reply) = negotiate_as(config, raw_request()).await;
        assert!(reply.expect("a reply").public_key.is_empty());
        dialed.reader.accept_large_frames();
        Self {
            name: full_name(name),
            reader: dialed.reader,
            writer: dialed.writer,
            next_id: 1,
            _connection: dialed.connection,
        }
    }

    pub async fn send(&mut self, frame: Frame) {
        within(self.writer.send(Egress::verbatim(frame)))
            .await
            .expect("the link is up");
    }

    /// Subscribes to a name and waits for the acknowledgement.
    pub async fn subscribe(&mut self, destination: &FullName) {
        self.request(SubscriptionAction::Subscribe, destination, self.next_id)
            .await;
    }

    /// Ends the subscription with this id.
    pub async fn unsubscribe(&mut self, destination: &FullName, subscription_id: u64) {
        self.request(SubscriptionAction::Unsubscribe, destination, subscription_id)
            .await;
    }

    async fn request(&mut self, action: SubscriptionAction, destination: &FullName, subscription_id: u64) {
        let outcome = self.ask(action, destination, subscription_id).await;
        assert_eq!(outcome, Ok(()));
    }

    /// Subscribes, and gives the reason if that is refused.
    pub async fn try_subscribe(&mut self, destination: &FullName) -> Result<(), String> {
        self.ask(SubscriptionAction::Subscribe, destination, self.next_id)
            .await
    }

    async fn ask(
        &mut self,
        action: SubscriptionAction,
        destination: &FullName,
        subscription_id: u64,
    ) -> Result<(), String> {
        self.next_id = subscription_id + 1;
        let frame = subscription(action, &self.name, destination, subscription_id);
        self.send(frame).await;
        let frame = self.frame().await;
        let ack = SubscriptionAck::decode(&frame)
            .expect("decodable")
            .expect("an ack");
        assert_eq!(ack.subscription_id, subscription_id);
        ack.outcome
    }

    pub async fn frame(&mut self) -> Frame {
        within(self.reader.next()).await.expect("the link is up")
    }

    /// The next message; anything else fails the test.
    pub async fn message(&mut self) -> Message {
        let frame = self.frame().await;
        assert_eq!(frame.kind(), Ok(FrameKind::Publish));
        decode(frame)
    }

    /// How the link ends; frames before that are dropped.
    pub async fn end(&mut self) -> LinkEnd {
        loop {
            if let Err(end) = within(self.reader.next()).await {
                return end;
            }
        }
    }
}

/// An application with keys: its own router signs what leaves and its uplink is strict.
pub struct KeyedPeer {
    pub name: FullName,
    pub reader: FrameReader,
    pub writer: FrameWriter,
    router: Router,
    local: LinkId,
    uplink: LinkId,
    clock: Clock,
    _connection: slim_net::DialedConnection,
}

impl KeyedPeer {
    pub async fn connect(address: SocketAddr, name: &str) -> Self {
        let clock = Clock::start();
        let own = LocalNode {
            node_id: String::new(),
            deployment_name: String::new(),
            require_header_mac: true,
            enforce_pqc: false,
        };
        let key = EphemeralKey::generate();
        let (dialer, request) = Dialer::start(clock.now(), &own, "a-link", ConnectionType::Edge, key);
        let mut dialed = within(dial(&client(address))).await.expect("a node");
        dialed
            .writer
            .send(Egress::verbatim(request))
            .await
            .expect("the call is open");
        let reply = within(dialed.reader.next()).await.expect("a reply");
        let negotiated = dialer.handle_reply(&reply).expect("a good reply");
        assert!(negotiated.mac_key.is_some());
        dialed.reader.accept_large_frames();
        let mut router = Router::new(RouterConfig::default(), [7; 32]);
        let local = router.handle_link_up(clock.now(), LinkInfo::local());
        let uplink = router.handle_link_up(clock.now(), negotiated.into_link_info(Direction::Dialed));
        Self {
            name: full_name(name),
            reader: dialed.reader,
            writer: dialed.writer,
            router,
            local,
            uplink,
            clock,
            _connection: dialed.connection,
        }
    }

    /// What leaves for the node when the application says `frame`, signed.
    pub fn signed(&mut self, frame: &Frame) -> Egress {
        self.router.handle_frame(self.clock.now(), self.local, frame);
        self.egress_for(self.uplink).expect("something leaves")
    }

    pub async fn send(&mut self, egress: Egress) {
        within(self.writer.send(egress)).await.expect("the link is up");
    }

    pub async fn subscribe(&mut self, destination: &FullName) {
        let request = subscription(SubscriptionAction::Subscribe, &self.name, destination, 9);
        let egress = self.signed(&request);
        self.send(egress).await;
        let ack = within(self.reader.next()).await.expect("the link is up");
        self.router.handle_frame(self.clock.now(), self.uplink, &ack);
        let ack = self.egress_for(self.local).expect("the ack is passed on");
        let ack = SubscriptionAck::decode(&ack.into_frame().expect("a frame")).expect("decodable");
        assert_eq!(ack.expect("an ack").outcome, Ok(()));
    }

    /// The next frame that the application gets, its MAC checked by its own router.
    pub async fn message(&mut self) -> Message {
        let frame = within(self.reader.next()).await.expect("the link is up");
        self.router.handle_frame(self.clock.now(), self.uplink, &frame);
        let egress = self.egress_for(self.local).expect("the MAC is right");
        decode(egress.into_frame().expect("a frame"))
    }

    fn egress_for(&mut self, wanted: LinkId) -> Option<Egress> {
        let mut found = None;
        while let Some(output) = self.router.poll_output() {
            if let Output::Send { link, egress } = output
                && link == wanted
            {
                found = Some(egress);
            }
        }
        found
    }
}

/// A request without key, as a peer without strict policy sends it.
pub fn raw_request() -> LinkNegotiation {
    LinkNegotiation {
        link_id: "11111111-2222-3333-4444-555555555555".into(),
        version: VERSION.to_owned(),
        is_reply: false,
        public_key: Bytes::new(),
        connection_type: ConnectionType::Edge,
        node_id: String::new(),
        deployment_name: String::new(),
        kem_payload: None,
    }
}

/// Dials, sends a request and reads the reply.
pub async fn negotiate(
    address: SocketAddr,
    request: LinkNegotiation,
) -> (Dialed, Result<LinkNegotiation, LinkEnd>) {
    negotiate_as(&client(address), request).await
}

async fn negotiate_as(
    config: &ClientConfig,
    request: LinkNegotiation,
) -> (Dialed, Result<LinkNegotiation, LinkEnd>) {
    let mut dialed = within(dial(config)).await.expect("a node");
    dialed
        .writer
        .send(Egress::verbatim(request.encode()))
        .await
        .expect("the call is open");
    let reply = within(dialed.reader.next()).await;
    let reply = reply.map(|frame| {
        LinkNegotiation::decode(&frame)
            .expect("decodable")
            .expect("a negotiation")
    });
    (dialed, reply)
}

pub fn is_ok_end(end: &LinkEnd) -> bool {
    matches!(end, LinkEnd::Ended(Some(status)) if *status == Status::ok())
}

pub fn full_name(text: &str) -> FullName {
    text.parse().expect("a name")
}

pub fn named(text: &str, id: u128) -> FullName {
    full_name(text).with_id(NameId(id))
}

pub fn subscription(
    action: SubscriptionAction,
    source: &FullName,
    destination: &FullName,
    subscription_id: u64,
) -> Frame {
    SubscriptionRequest {
        action,
        source: source.with_id(NameId(1)),
        destination: destination.clone(),
        identity: String::new(),
        subscription_id,
    }
    .encode()
}

pub fn message(destination: &FullName, fanout: u32, number: u32, blob: impl Into<Bytes>) -> Message {
    let content = Content::Application {
        payload_type: "msg".into(),
        blob: blob.into(),
    };
    let source = named("org/ns/sender", 0x5E);
    let mut message = Message::new(
        source,
        destination.clone(),
        SessionKind::Group,
        1,
        number,
        content,
    );
    message.fanout = fanout;
    message
}

pub fn frame(message: &Message) -> Frame {
    Frame::new(message.encode()).expect("a frame of legal size")
}

pub fn decode(frame: Frame) -> Message {
    Message::decode(frame.into_bytes())
        .expect("decodable")
        .expect("a publish")
}
