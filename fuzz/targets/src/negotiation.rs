//! Link negotiation, both sides: what strangers may say first (wire-routing A4).

use bytes::Bytes;
use slim_crypto::{EphemeralKey, KEM_CIPHERTEXT_BYTES, KEM_PUBLIC_KEY_BYTES};
use slim_proto::control::{ConnectionType, LinkNegotiation};
use slim_proto::limits::LINK_ID_BYTES_MAX;
use slim_proto::{Frame, Now};
use slim_router::{Acceptor, Dialer, LocalNode, Negotiated};

use crate::script::{Script, edited};

const LINK_ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

/// A request for an acceptor and a reply for a dialer: bytes as they come, a genuine message changed, or one made of
/// parts.
pub fn negotiation(data: &[u8]) {
    let mut script = Script::new(data);
    let policy = script.byte();
    let own = LocalNode {
        node_id: "node-1".into(),
        deployment_name: if policy & 4 == 0 {
            String::new()
        } else {
            "group".into()
        },
        require_header_mac: policy & 1 != 0,
        enforce_pqc: policy & 2 != 0,
    };
    let now = Now::default();
    let (dialer, request) = Dialer::start(now, &own, LINK_ID, ConnectionType::Edge, key(1));
    let what = script.byte() % 3;
    let mut message = |genuine: &Frame| match what {
        0 => script.rest().to_vec(),
        1 => edited(genuine.bytes(), &mut script),
        _ => of_parts(&mut script).encode().into_bytes().to_vec(),
    };

    if policy & 8 == 0 {
        let Ok(frame) = Frame::new(message(&request)) else {
            return;
        };
        let Ok((negotiated, reply)) = Acceptor::new(now, own.clone()).handle_request(&frame, key(2)) else {
            return;
        };
        let asked = LinkNegotiation::decode(&frame).ok().flatten();
        let asked = asked.expect("what was negotiated is a negotiation");
        let reply = LinkNegotiation::decode(&reply).ok().flatten();
        let reply = reply.expect("our own reply decodes");
        assert!(reply.is_reply && !asked.is_reply);
        assert_eq!(
            (&reply.link_id, reply.connection_type),
            (&asked.link_id, asked.connection_type)
        );
        let offered = asked
            .kem_payload
            .as_ref()
            .is_some_and(|offer| offer.len() == KEM_PUBLIC_KEY_BYTES);
        if let Some(ciphertext) = &reply.kem_payload {
            assert!(offered && ciphertext.len() == KEM_CIPHERTEXT_BYTES);
        }
        if own.enforce_pqc {
            assert!(reply.kem_payload.is_some());
        }
        assert_eq!(reply.public_key.is_empty(), negotiated.mac_key.is_none());
        fits(&own, &negotiated);
    } else {
        let (_, genuine) = Acceptor::new(now, own.clone())
            .handle_request(&request, key(2))
            .expect("two equal sides agree");
        let Ok(frame) = Frame::new(message(&genuine)) else {
            return;
        };
        if let Ok(negotiated) = dialer.handle_reply(&frame) {
            assert_eq!(negotiated.link_id, LINK_ID);
            fits(&own, &negotiated);
        }
    }
}

/// What the own policy demands is there.
fn fits(own: &LocalNode, negotiated: &Negotiated) {
    assert!((1..=LINK_ID_BYTES_MAX).contains(&negotiated.link_id.len()));
    assert_eq!(negotiated.strict, own.require_header_mac || own.enforce_pqc);
    assert!(
        !negotiated.strict || negotiated.mac_key.is_some(),
        "a strict link has a key"
    );
    if negotiated.connection_type == ConnectionType::Peer && negotiated.remote_node_id == own.node_id {
        assert!(negotiated.check_peer(own).is_err(), "a node is no peer of itself");
    }
}

fn of_parts(script: &mut Script<'_>) -> LinkNegotiation {
    let link_id = if script.byte().is_multiple_of(4) {
        script.text()
    } else {
        LINK_ID.to_owned()
    };
    let version = match script.byte() % 4 {
        0 => script.text(),
        1 => "1.4.0".to_owned(),
        _ => "3.3.8".to_owned(),
    };
    let public_key = match script.byte() % 6 {
        0 => Bytes::new(),
        1 => Bytes::copy_from_slice(script.chunk()),
        // Points of small order give no secret.
        2 => Bytes::from(vec![0; 32]),
        3 => Bytes::from([vec![1], vec![0; 31]].concat()),
        _ => Bytes::copy_from_slice(&key(3).public()),
    };
    let kem_payload = match script.byte() % 5 {
        0 => None,
        1 => Some(Bytes::copy_from_slice(script.chunk())),
        2 => Some(Bytes::from(vec![script.byte(); KEM_PUBLIC_KEY_BYTES])),
        3 => Some(Bytes::from(vec![script.byte(); KEM_CIPHERTEXT_BYTES])),
        _ => Some(Bytes::copy_from_slice(slim_crypto::KemKey::generate().public())),
    };
    let types = [ConnectionType::Edge, ConnectionType::Peer, ConnectionType::Remote];
    LinkNegotiation {
        link_id,
        version,
        is_reply: script.byte() % 2 == 1,
        public_key,
        connection_type: types[script.index(types.len())],
        node_id: if script.byte().is_multiple_of(2) {
            "node-1".into()
        } else {
            script.text()
        },
        deployment_name: script.text(),
        kem_payload,
    }
}

fn key(byte: u8) -> EphemeralKey {
    EphemeralKey::from_private(&[byte; 32])
}
