//! Dialogues of the negotiation: every rule of wire-routing A4.2 to A4.5.

use slim_proto::limits::NEGOTIATION_TIMEOUT;

use super::*;
use crate::header_mac;
use crate::link::LinkClass;
use crate::testing::{at, name, publish, subscribe};

fn node(id: &str) -> LocalNode {
    LocalNode {
        node_id: id.into(),
        deployment_name: String::new(),
        require_header_mac: true,
        enforce_pqc: false,
    }
}

fn lenient(id: &str) -> LocalNode {
    LocalNode {
        require_header_mac: false,
        ..node(id)
    }
}

fn post_quantum(id: &str) -> LocalNode {
    LocalNode {
        enforce_pqc: true,
        ..node(id)
    }
}

fn key(byte: u8) -> EphemeralKey {
    EphemeralKey::from_private(&[byte; 32])
}

fn dial(own: &LocalNode) -> (Dialer, Frame) {
    Dialer::start(at(0), own, "link-1", ConnectionType::Edge, key(1))
}

fn request() -> LinkNegotiation {
    LinkNegotiation::decode(&dial(&node("client")).1)
        .unwrap()
        .unwrap()
}

fn accept(
    own: LocalNode,
    request: &LinkNegotiation,
) -> Result<(Negotiated, LinkNegotiation), HandshakeError> {
    let (negotiated, reply) = Acceptor::new(at(0), own).handle_request(&request.encode(), key(2))?;
    let reply = LinkNegotiation::decode(&reply)?.expect("the reply is a link frame");
    Ok((negotiated, reply))
}

/// The reply of a default node to `dial`, changed.
fn reply(change: impl FnOnce(&mut LinkNegotiation)) -> Frame {
    let (_, mut reply) = accept(node("node"), &request()).unwrap();
    change(&mut reply);
    reply.encode()
}

#[test]
fn both_sides_agree_on_id_type_and_key() {
    let (dialer, request) = dial(&node("client"));
    let (accepted, reply) = Acceptor::new(at(0), node("node"))
        .handle_request(&request, key(2))
        .unwrap();
    let dialed = dialer.handle_reply(&reply).unwrap();
    assert_eq!(
        (dialed.link_id.as_str(), accepted.link_id.as_str()),
        ("link-1", "link-1")
    );
    assert_eq!(dialed.remote_node_id, "node");
    assert_eq!(accepted.remote_node_id, "client");
    assert_eq!(accepted.remote_version, VERSION);

    let dialed = dialed.into_link_info(Direction::Dialed);
    let accepted = accepted.into_link_info(Direction::Accepted);
    assert!(dialed.is_uplink() && !accepted.is_uplink());
    assert!(dialed.strict && accepted.strict);
    assert_eq!(accepted.class, LinkClass::Edge);
    // The same key in both directions: what one side signs, the other accepts.
    for (from, to) in [(&dialed, &accepted), (&accepted, &dialed)] {
        let frame = crate::testing::signed(&publish(&name("a/b/c"), 1), from, 8);
        let header = slim_proto::HeaderView::parse(&frame).unwrap();
        assert_eq!(header_mac::check(to, &header, &mut Vec::new()), Ok(()));
    }
}

#[test]
fn the_acceptor_echoes_id_and_type_and_introduces_itself() {
    for connection_type in [ConnectionType::Edge, ConnectionType::Remote, ConnectionType::Peer] {
        let request = LinkNegotiation {
            connection_type,
            ..request()
        };
        let own = LocalNode {
            deployment_name: "group".into(),
            ..node("node")
        };
        let (negotiated, reply) = accept(own, &request).unwrap();
        assert_eq!(negotiated.connection_type, connection_type);
        assert_eq!(
            reply,
            LinkNegotiation {
                link_id: "link-1".into(),
                version: VERSION.into(),
                is_reply: true,
                public_key: key(2).public().to_vec().into(),
                connection_type,
                node_id: "node".into(),
                deployment_name: "group".into(),
                kem_payload: None,
            }
        );
    }
}

#[test]
fn the_dialer_believes_the_type_of_the_reply() {
    let (dialer, _) = dial(&node("client"));
    let reply = reply(|reply| reply.connection_type = ConnectionType::Remote);
    let negotiated = dialer.handle_reply(&reply).unwrap();
    assert_eq!(
        negotiated.into_link_info(Direction::Dialed).class,
        LinkClass::Remote
    );
}

#[test]
fn the_acceptor_refuses_each_broken_request() {
    let refused = |change: fn(&mut LinkNegotiation)| {
        let mut request = request();
        change(&mut request);
        // Leniency about the MAC is no leniency about anything else.
        let error = accept(node("node"), &request).unwrap_err();
        assert_eq!(accept(lenient("node"), &request).unwrap_err(), error);
        error
    };
    assert_eq!(
        refused(|request| request.is_reply = true),
        HandshakeError::Direction { got: true }
    );
    assert_eq!(
        refused(|request| request.version = "v1.2.3".into()),
        HandshakeError::Version("v1.2.3".into())
    );
    assert_eq!(
        refused(|request| request.version.clear()),
        HandshakeError::Version(String::new())
    );
    assert_eq!(
        refused(|request| request.link_id.clear()),
        HandshakeError::LinkIdLength(0)
    );
    assert_eq!(
        refused(|request| request.link_id = "x".repeat(LINK_ID_BYTES_MAX + 1)),
        HandshakeError::LinkIdLength(LINK_ID_BYTES_MAX + 1)
    );
}

#[test]
fn a_first_message_that_is_no_negotiation_is_refused_by_both_sides() {
    let frames = [
        (
            subscribe(&name("a/b/c"), 1),
            HandshakeError::NotLink(FrameKind::Subscribe),
        ),
        (
            publish(&name("a/b/c"), 1),
            HandshakeError::NotLink(FrameKind::Publish),
        ),
        (
            Frame::new(&b"\x2a\x00"[..]).unwrap(),
            HandshakeError::Decode(DecodeError::Missing("link negotiation")),
        ),
        (
            Frame::new(&b""[..]).unwrap(),
            HandshakeError::Frame(FrameError::Empty),
        ),
        (
            Frame::new(&b"\x22\x00"[..]).unwrap(),
            HandshakeError::Frame(FrameError::Empty),
        ),
    ];
    for (frame, error) in frames {
        let acceptor = Acceptor::new(at(0), node("node"));
        assert_eq!(acceptor.handle_request(&frame, key(2)).unwrap_err(), error);
        assert_eq!(dial(&node("client")).0.handle_reply(&frame).unwrap_err(), error);
    }
}

#[test]
fn without_a_usable_key_a_strict_acceptor_refuses_and_another_goes_on_without_mac() {
    for bad_key in [vec![], vec![1; 31], vec![1; 33]] {
        let request = LinkNegotiation {
            public_key: bad_key.clone().into(),
            ..request()
        };
        assert_eq!(
            accept(node("node"), &request).unwrap_err(),
            HandshakeError::KeyLength(bad_key.len())
        );
        let (negotiated, reply) = accept(lenient("node"), &request).unwrap();
        assert!(negotiated.mac_key.is_none());
        assert!(reply.public_key.is_empty());
    }
}

#[test]
fn an_all_zero_key_counts_as_none_unless_the_acceptor_is_strict() {
    let request = LinkNegotiation {
        public_key: vec![0; 32].into(),
        ..request()
    };
    assert!(matches!(
        accept(node("node"), &request),
        Err(HandshakeError::Agreement(_))
    ));
    let (negotiated, reply) = accept(lenient("node"), &request).unwrap();
    assert!(negotiated.mac_key.is_none() && reply.public_key.is_empty());
}

#[test]
fn the_dialer_refuses_each_broken_reply() {
    let refused = |change: fn(&mut LinkNegotiation)| {
        let error = dial(&node("client")).0.handle_reply(&reply(change)).unwrap_err();
        let (other, _) = dial(&lenient("client"));
        assert_eq!(other.handle_reply(&reply(change)).unwrap_err(), error);
        error
    };
    assert_eq!(
        refused(|reply| reply.is_reply = false),
        HandshakeError::Direction { got: false }
    );
    assert_eq!(
        refused(|reply| reply.version = "3.4".into()),
        HandshakeError::Version("3.4".into())
    );
    assert_eq!(
        refused(|reply| reply.link_id = "other".into()),
        HandshakeError::LinkId {
            expected: "link-1".into(),
            got: "other".into()
        }
    );
    // A failing agreement is fatal for a dialer even when its policy is not strict.
    assert!(matches!(
        refused(|reply| reply.public_key = vec![0; 32].into()),
        HandshakeError::Agreement(_)
    ));
}

#[test]
fn an_empty_key_in_the_reply_is_fatal_for_a_strict_dialer_only() {
    let keyless = reply(|reply| reply.public_key.clear());
    assert_eq!(
        dial(&node("client")).0.handle_reply(&keyless).unwrap_err(),
        HandshakeError::KeyLength(0)
    );
    let negotiated = dial(&lenient("client")).0.handle_reply(&keyless).unwrap();
    assert!(negotiated.mac_key.is_none());
}

#[test]
fn both_sides_give_up_after_five_seconds() {
    let deadline = at(100).mono + NEGOTIATION_TIMEOUT;
    assert_eq!(Acceptor::new(at(100), node("node")).deadline(), deadline);
    let (dialer, _) = Dialer::start(at(100), &node("client"), "x", ConnectionType::Edge, key(1));
    assert_eq!(dialer.deadline(), deadline);
    assert_eq!(NEGOTIATION_TIMEOUT.as_secs(), 5);
}

#[test]
fn peers_refuse_themselves_and_other_deployments() {
    let negotiated = |connection_type, node_id: &str, deployment: &str| {
        let request = LinkNegotiation {
            connection_type,
            node_id: node_id.into(),
            deployment_name: deployment.into(),
            ..request()
        };
        accept(node("node"), &request).unwrap().0
    };
    let own = |deployment: &str| LocalNode {
        deployment_name: deployment.into(),
        ..node("node")
    };
    let peer = |id, deployment| negotiated(ConnectionType::Peer, id, deployment);
    assert_eq!(
        peer("node", "").check_peer(&own("")),
        Err(PeerRejection::SelfConnection)
    );
    assert_eq!(
        peer("other", "b").check_peer(&own("a")),
        Err(PeerRejection::DeploymentName)
    );
    assert_eq!(
        peer("other", "").check_peer(&own("a")),
        Err(PeerRejection::DeploymentName)
    );
    assert_eq!(peer("other", "a").check_peer(&own("a")), Ok(()));
    assert_eq!(peer("other", "anything").check_peer(&own("")), Ok(()));
    // Only peers are checked.
    let edge = negotiated(ConnectionType::Edge, "node", "b");
    assert_eq!(edge.check_peer(&own("a")), Ok(()));
    assert_eq!(
        PeerRejection::SelfConnection.to_string(),
        "self-connection rejected: same node_id"
    );
    assert_eq!(
        PeerRejection::DeploymentName.to_string(),
        "deployment_name mismatch"
    );
}

#[test]
fn the_recorded_clients_are_accepted() {
    let mut requests = 0;
    for line in RECORDING.lines() {
        let Some((_, hex)) = line.split_once("\"hex\": \"") else {
            continue;
        };
        let bytes = header_mac::vector::unhex(hex.trim_end_matches(|end: char| !end.is_ascii_hexdigit()));
        let Ok(Some(recorded)) = LinkNegotiation::decode(&Frame::new(bytes).unwrap()) else {
            continue;
        };
        if !recorded.is_reply {
            let (negotiated, reply) = accept(node("node"), &recorded).unwrap();
            assert_eq!(reply.link_id, recorded.link_id);
            assert_eq!(negotiated.connection_type, ConnectionType::Edge);
            requests += 1;
        }
    }
    assert!(requests > 0);
}

const RECORDING: &str = include_str!("../../../proto/vectors/p2p-3.3.8-mls.jsonl");

#[test]
fn a_dialer_that_enforces_post_quantum_keys_gets_a_hybrid_key_of_every_acceptor() {
    for own in [node("node"), lenient("node"), post_quantum("node")] {
        let (dialer, request) = dial(&post_quantum("client"));
        let (accepted, reply) = Acceptor::new(at(0), own)
            .handle_request(&request, key(2))
            .unwrap();
        let dialed = dialer.handle_reply(&reply).unwrap();
        let (dialed, accepted) = (
            dialed.into_link_info(Direction::Dialed),
            accepted.into_link_info(Direction::Accepted),
        );
        let frame = crate::testing::signed(&publish(&name("a/b/c"), 1), &dialed, 8);
        let header = slim_proto::HeaderView::parse(&frame).unwrap();
        assert_eq!(header_mac::check(&accepted, &header, &mut Vec::new()), Ok(()));
        // The classical key of the same X25519 pairs is another one.
        let classical = LinkInfo {
            mac_key: Some(MacKey::agree(key(2), &key(1).public(), "link-1").unwrap()),
            ..accepted
        };
        assert!(header_mac::check(&classical, &header, &mut Vec::new()).is_err());
    }
}

#[test]
fn who_enforces_post_quantum_keys_refuses_classical_peers() {
    let refused = accept(post_quantum("node"), &request()).unwrap_err();
    assert_eq!(refused, HandshakeError::Classical);
    let short = LinkNegotiation {
        kem_payload: Some(vec![1; 1183].into()),
        ..request()
    };
    assert_eq!(
        accept(post_quantum("node"), &short).unwrap_err(),
        HandshakeError::Classical
    );
    for payload in [None, Some(Bytes::from(vec![1; 1087]))] {
        let (dialer, _) = dial(&post_quantum("client"));
        let reply = reply(|reply| reply.kem_payload = payload);
        assert_eq!(
            dialer.handle_reply(&reply).unwrap_err(),
            HandshakeError::Classical
        );
    }
}

#[test]
fn enforcing_post_quantum_keys_implies_a_header_mac() {
    let own = || LocalNode {
        require_header_mac: false,
        ..post_quantum("node")
    };
    let (_, request) = dial(&own());
    let mut request = LinkNegotiation::decode(&request).unwrap().unwrap();
    request.public_key = Bytes::new();
    assert_eq!(accept(own(), &request).unwrap_err(), HandshakeError::KeyLength(0));
}

#[test]
fn a_kem_key_that_is_none_is_refused_or_leaves_the_link_without_mac() {
    let request = LinkNegotiation {
        kem_payload: Some(vec![0xFF; 1184].into()),
        ..request()
    };
    assert_eq!(
        accept(node("node"), &request).unwrap_err(),
        HandshakeError::Kem(KemError::Key)
    );
    let (negotiated, reply) = accept(lenient("node"), &request).unwrap();
    assert!(negotiated.mac_key.is_none());
    assert_eq!((reply.public_key, reply.kem_payload), (Bytes::new(), None));
}

#[test]
fn a_kem_payload_that_was_not_asked_for_or_has_another_length_is_ignored() {
    let (dialer, _) = dial(&node("client"));
    let reply = reply(|reply| reply.kem_payload = Some(vec![1; 1088].into()));
    assert!(dialer.handle_reply(&reply).unwrap().mac_key.is_some());
    let request = LinkNegotiation {
        kem_payload: Some(vec![1; 100].into()),
        ..request()
    };
    let (negotiated, reply) = accept(node("node"), &request).unwrap();
    assert!(negotiated.mac_key.is_some());
    assert_eq!(reply.kem_payload, None);
}
