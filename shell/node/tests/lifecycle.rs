//! How links begin and end.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{
    DEADLINE, RawPeer, client, frame, is_ok_end, message, named, negotiate, open_server, raw_request, start,
    strict_server, within,
};
use slim_config::ServerConfig;
use slim_net::{LinkEnd, dial};
use slim_node::Node;
use slim_proto::control::ConnectionType;
use slim_proto::{Egress, Frame};
use tokio::time::Instant;

#[tokio::test]
async fn the_reply_echoes_link_id_and_connection_type() {
    let (_node, address) = start(open_server()).await;
    for connection_type in [ConnectionType::Edge, ConnectionType::Remote] {
        let mut request = raw_request();
        request.connection_type = connection_type;
        let (_dialed, reply) = negotiate(address, request.clone()).await;
        let reply = reply.unwrap();
        assert!(reply.is_reply);
        assert_eq!(reply.link_id, request.link_id);
        assert_eq!(reply.connection_type, connection_type);
        assert!(reply.node_id.starts_with("node-"), "{}", reply.node_id);
    }
}

#[tokio::test]
async fn a_refused_negotiation_ends_the_call_with_status_ok() {
    let (_node, address) = start(strict_server()).await;
    let no_key = raw_request();
    let mut bad_version = raw_request();
    bad_version.version = "v1.2.3".into();
    let mut reply = raw_request();
    reply.is_reply = true;
    for request in [no_key, bad_version, reply] {
        let (_dialed, reply) = negotiate(address, request).await;
        assert!(is_ok_end(&reply.unwrap_err()));
    }
    let mut dialed = dial(&client(address)).await.unwrap();
    let early = frame(&message(&named("org/ns/app", 1), 1, 1, "too early"));
    dialed.writer.send(Egress::verbatim(early)).await.unwrap();
    assert!(is_ok_end(&within(dialed.reader.next()).await.unwrap_err()));
}

#[tokio::test]
async fn peers_with_the_same_node_id_are_refused_with_a_reason() {
    let (_node, address) = start(open_server()).await;
    let (_dialed, reply) = negotiate(address, raw_request()).await;
    let mut request = raw_request();
    request.connection_type = ConnectionType::Peer;
    request.node_id = reply.unwrap().node_id;
    let (mut dialed, reply) = negotiate(address, request).await;
    assert!(reply.is_ok(), "the reply comes first");
    match within(dialed.reader.next()).await {
        Err(LinkEnd::Ended(Some(status))) => assert_eq!(
            status.to_string(),
            "PERMISSION_DENIED: self-connection rejected: same node_id"
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_dialer_that_does_not_negotiate_is_sent_away_in_time() {
    let server = ServerConfig {
        negotiation_timeout: Duration::from_secs(1),
        ..strict_server()
    };
    let (node, address) = start(server).await;
    let before = Instant::now();
    let mut dialed = dial(&client(address)).await.unwrap();
    assert!(is_ok_end(&within(dialed.reader.next()).await.unwrap_err()));
    assert!(before.elapsed() >= Duration::from_secs(1));
    assert_eq!(node.counters()[0].negotiations_failed, 1);
}

#[tokio::test]
async fn a_second_link_with_the_same_id_is_welcome() {
    let (_node, address) = start(open_server()).await;
    let name = named("org/ns/app", 1);
    let mut first = RawPeer::connect(address, "org/ns/app").await;
    first.subscribe(&name).await;
    let mut second = RawPeer::connect(address, "org/ns/app").await;
    second.subscribe(&name).await;
    drop(first);
    let mut sender = RawPeer::connect(address, "org/ns/sender").await;
    // The one that is gone may be tried while its end is not noticed; the other must get it in the end.
    let sending = async {
        let mut pause = tokio::time::interval(Duration::from_millis(10));
        loop {
            pause.tick().await;
            sender.send(frame(&message(&name, 1, 1, "x"))).await;
        }
    };
    tokio::select! {
        () = sending => {}
        received = second.message() => assert_eq!(received.message_id, 1),
    }
}

#[tokio::test]
async fn an_oversize_message_ends_its_own_link_only() {
    let (_node, address) = start(open_server()).await;
    let name = named("org/ns/app", 1);
    let mut receiver = RawPeer::connect(address, "org/ns/app").await;
    receiver.subscribe(&name).await;
    let mut offender = RawPeer::connect(address, "org/ns/offender").await;
    let head = Bytes::from_static(&[0, 0, 0x40, 0, 1]);
    let oversize = Egress {
        head,
        tail: Bytes::new(),
    };
    offender.writer.send(oversize).await.unwrap();
    assert!(is_ok_end(&offender.end().await));
    let mut sender = RawPeer::connect(address, "org/ns/sender").await;
    sender.send(frame(&message(&name, 1, 1, "x"))).await;
    assert_eq!(receiver.message().await.message_id, 1);
}

#[tokio::test]
async fn draining_closes_the_port_and_ends_every_link_with_status_ok() {
    let (node, address) = start(open_server()).await;
    let name = named("org/ns/app", 1);
    let mut peer = RawPeer::connect(address, "org/ns/app").await;
    peer.subscribe(&name).await;
    let mut silent = dial(&client(address)).await.unwrap();
    let before = Instant::now();
    let (drained, end, silent_end) = tokio::join!(
        node.drain(Duration::from_secs(10)),
        peer.end(),
        within(silent.reader.next())
    );
    drained.unwrap();
    assert!(is_ok_end(&end), "{end}");
    assert!(is_ok_end(&silent_end.unwrap_err()), "a negotiation is abandoned");
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "took {:?}",
        before.elapsed()
    );
    assert!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "refused, not accepted and dropped"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_accepted_before_a_drain_is_still_delivered() {
    let (node, address) = start(open_server()).await;
    let name = named("org/ns/app", 1);
    let mut receiver = RawPeer::connect(address, "org/ns/app").await;
    receiver.subscribe(&name).await;
    let mut sender = RawPeer::connect(address, "org/ns/sender").await;
    for number in 0..100 {
        sender
            .send(frame(&message(&name, 1, number, vec![1; 1000])))
            .await;
    }
    assert_eq!(receiver.message().await.message_id, 0);
    let draining = tokio::spawn(node.drain(Duration::from_secs(10)));
    let mut last = 0;
    let end = loop {
        match within(receiver.reader.next()).await {
            Ok(frame) => {
                let number = common::decode(frame).message_id;
                assert_eq!(number, last + 1, "in order, without a gap");
                last = number;
            }
            Err(end) => break end,
        }
    };
    assert!(is_ok_end(&end), "{end}");
    within(draining).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_reader_does_not_hold_up_a_drain() {
    let (node, address) = start(open_server()).await;
    let channel = named("org/ns/channel", 1);
    let mut stopped = RawPeer::connect(address, "org/ns/stopped").await;
    stopped.subscribe(&channel).await;
    let mut sender = RawPeer::connect(address, "org/ns/sender").await;
    for number in 0..200 {
        sender
            .send(frame(&message(&channel, 256, number, vec![1; 64 * 1024])))
            .await;
    }
    let before = Instant::now();
    node.drain(DEADLINE).await.unwrap();
    assert!(
        before.elapsed() < Duration::from_secs(6),
        "took {:?}",
        before.elapsed()
    );
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let (_node, address) = start(strict_server()).await;
    let again = ServerConfig::insecure(address.into());
    let error = Node::serve(again).await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("service slim/0: cannot listen on {address}: ")),
        "{error}"
    );
}

#[tokio::test]
async fn a_link_that_sends_bytes_that_are_no_grpc_message_is_ended() {
    let (_node, address) = start(open_server()).await;
    let mut peer = RawPeer::connect(address, "org/ns/app").await;
    let compressed = Egress {
        head: Bytes::from_static(&[1, 0, 0, 0, 0]),
        tail: Bytes::new(),
    };
    peer.writer.send(compressed).await.unwrap();
    assert!(is_ok_end(&peer.end().await));
    let frame = Frame::new(Bytes::new()).unwrap();
    assert!(within(peer.writer.send(Egress::verbatim(frame))).await.is_err());
}
