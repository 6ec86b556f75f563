//! One application process of the load: a stream to the server, and a router that signs and checks for it.
//!
//! The router is the real one, so what arrives at the server is what an SDK sends. It is used when a measurement is
//! prepared; under load the client only counts, to leave the time to the server.

use anyhow::{Context as _, Result, bail};
use slim_config::ClientConfig;
use slim_crypto::EphemeralKey;
use slim_net::DialedConnection;
use slim_net::{Clock, FrameReader, FrameWriter, dial};
use slim_proto::control::{ConnectionType, SubscriptionAck, SubscriptionAction, SubscriptionRequest};
use slim_proto::{Egress, Frame, FullName, Message};
use slim_router::{
    Dialer, Direction, LinkClass, LinkId, LinkInfo, LocalNode, MacKey, Output, Router, RouterConfig,
};

use super::{Peer, Server, message, within};

/// A text of the length of a UUID, which link ids usually are.
const LINK_ID: &str = "6f1c1d5e-3b52-4c39-9d5c-8f2a5f0b7c11";

/// One connection to the server.
pub(crate) struct Client {
    pub(crate) reader: FrameReader,
    pub(crate) writer: FrameWriter,
    /// Keeps the connection; dropping it cuts the socket.
    _connection: DialedConnection,
    clock: Clock,
    router: Router,
    /// The application.
    local: LinkId,
    /// The server.
    uplink: LinkId,
    peer: Peer,
}

impl Client {
    /// Dials, and negotiates if the peer is a node.
    pub(crate) async fn connect(server: Server) -> Result<Self> {
        let config = ClientConfig::insecure(server.address.into());
        let dialed = dial(&config).await?;
        let (mut reader, mut writer) = (dialed.reader, dialed.writer);
        let clock = Clock::start();
        let info = match server.peer {
            Peer::Node => within("negotiation", negotiate(clock, &mut reader, &mut writer)).await?,
            Peer::Forwarder => as_if_negotiated(),
        };
        reader.accept_large_frames();
        let mut router = Router::new(RouterConfig::default(), [0; 32]);
        let local = router.handle_link_up(clock.now(), LinkInfo::local());
        let uplink = router.handle_link_up(clock.now(), info);
        while router.poll_output().is_some() {}
        Ok(Self {
            reader,
            writer,
            _connection: dialed.connection,
            clock,
            router,
            local,
            uplink,
            peer: server.peer,
        })
    }

    /// Receives what is sent to `name` from now on.
    pub(crate) async fn subscribe(&mut self, name: &FullName) -> Result<()> {
        if self.peer == Peer::Forwarder {
            // A forwarder sends everything anyway; only the own router needs to know.
            let routed = self.router.set_route(self.local, name);
            while self.router.poll_output().is_some() {}
            return routed.map_err(anyhow::Error::msg);
        }
        let request = SubscriptionRequest {
            action: SubscriptionAction::Subscribe,
            source: name.clone(),
            destination: name.clone(),
            identity: message::identity(0),
            subscription_id: 1,
        };
        let request = self.send_through_router(&request.encode())?;
        self.writer.send(request).await?;
        let reader = &mut self.reader;
        let ack = within("subscription", async { Ok(reader.next().await?) }).await?;
        let ack = self.receive_through_router(&ack)?;
        match SubscriptionAck::decode(&ack)? {
            Some(ack) => ack.outcome.map_err(anyhow::Error::msg),
            None => bail!("the node answered a subscription with something else"),
        }
    }

    /// The message as it goes over the wire: framed, with the link's tag.
    pub(crate) fn sign(&mut self, message: &Message) -> Result<Egress> {
        self.send_through_router(&Frame::new(message.encode())?)
    }

    /// Checks a received message as an application's process does, tag included.
    pub(crate) fn open(&mut self, frame: &Frame) -> Result<Message> {
        let frame = self.receive_through_router(frame)?;
        Message::decode(frame.into_bytes())?.context("not a session message")
    }

    fn send_through_router(&mut self, frame: &Frame) -> Result<Egress> {
        self.router.handle_frame(self.clock.now(), self.local, frame);
        self.output_for(self.uplink)
    }

    fn receive_through_router(&mut self, frame: &Frame) -> Result<Frame> {
        self.router.handle_frame(self.clock.now(), self.uplink, frame);
        Ok(self.output_for(self.local)?.into_frame()?)
    }

    fn output_for(&mut self, wanted: LinkId) -> Result<Egress> {
        let mut found = None;
        while let Some(output) = self.router.poll_output() {
            match output {
                Output::Send { link, egress } if link == wanted => found = Some(egress),
                Output::Send { .. }
                | Output::PublishFib(_)
                | Output::CloseLink { .. }
                | Output::Succeeded { .. } => {}
            }
        }
        let counters = self.router.counters();
        found.with_context(|| format!("the client's router dropped a frame: {counters:?}"))
    }
}

async fn negotiate(clock: Clock, reader: &mut FrameReader, writer: &mut FrameWriter) -> Result<LinkInfo> {
    let own = LocalNode {
        node_id: "benchmark".to_owned(),
        deployment_name: String::new(),
        require_header_mac: true,
        enforce_pqc: false,
    };
    let key = EphemeralKey::generate();
    let (dialer, request) = Dialer::start(clock.now(), &own, LINK_ID, ConnectionType::Edge, key);
    writer.send(Egress::verbatim(request)).await?;
    let negotiated = dialer.handle_reply(&reader.next().await?)?;
    Ok(negotiated.into_link_info(Direction::Dialed))
}

/// One link with one key for all clients of a forwarder: it passes tags on, so the receiver checks the sender's.
fn as_if_negotiated() -> LinkInfo {
    LinkInfo {
        class: LinkClass::Edge,
        direction: Direction::Dialed,
        link_id: LINK_ID.to_owned(),
        mac_key: Some(MacKey::new(&[7; 32])),
        strict: true,
    }
}
