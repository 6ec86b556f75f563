//! One test for each row of wire-session §9.2 (W): what is a weakness of upstream is none of ours, or is named `gap_`.
//! W13 also has a unit test beside the structure it concerns; W14 and W15 are tested in `core/rpc`. W16 concerns
//! persistence, which does not exist yet.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use common::forgery::{alive, forged, signed_by};
use common::{Net, SECRET, Verdict, pair_config};
use slim_auth::{Identity, sign_message};
use slim_crypto::Rng;
use slim_proto::command::MlsContent;
use slim_proto::{
    Command as Payload, Content, GroupUpdate, GroupUpdateOp, JoinRequest, Message, MessageKind as K, NameId,
    Participant, SessionKind,
};
use slim_session::{Command, SessionId};

/// One message from alice that the node kept, changed.
fn hold_one(net: &mut Net, session: SessionId, change: impl FnOnce(&mut Message)) -> Message {
    let held = std::rc::Rc::new(std::cell::RefCell::new(None));
    let slot = held.clone();
    net.filter(move |_, message| {
        if message.kind != K::Msg {
            return Verdict::Pass;
        }
        *slot.borrow_mut() = Some(message.clone());
        Verdict::Drop
    });
    net.command("alice", Net::publish_command(session, "held"))
        .unwrap();
    let mut message = held.borrow_mut().take().unwrap();
    change(&mut message);
    message
}

#[test]
fn w1_a_holder_of_the_secret_cannot_speak_for_a_member_of_an_encrypted_session() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    // Mallory has the secret and so can make a token for bob's very subject, but not with bob's key.
    let bob = net.app("bob").identity.clone();
    let mut rng = Rng::from_seed([9; 32]);
    let mallory = Identity::shared_secret("org/ns/mallory", SECRET, &mut rng).unwrap();
    let own = mallory.token(net.now.unix, &mut rng);
    let (_, rest) = own.split_once(':').unwrap();
    let (claims, _) = rest.rsplit_once(':').unwrap();
    let body = format!("{}:{claims}", bob.subject());
    let tag = slim_crypto::HmacKey::new(SECRET.as_bytes()).sign(body.as_bytes());
    let mut leave = signed_by(&net, "bob", "alice", session, Payload::LeaveRequest);
    leave.metadata.insert("LEAVING_SESSION".into(), "TRUE".into());
    leave.identity = format!("{body}:{}", BASE64_URL_SAFE_NO_PAD.encode(tag));
    sign_message(&mallory, &mut leave);
    net.inject("alice", &leave);
    net.advance(Duration::from_secs(5));
    assert_eq!(net.app("alice").endpoint.counters().not_authorised, 1);
    alive(&mut net, session, &["alice", "bob", "carol"]);
}

#[test]
fn w2_a_member_cannot_do_what_only_the_moderator_may() {
    for mls in [true, false] {
        let mut net = Net::with(&["alice", "bob", "carol"]);
        let session = net.group("alice", mls, &["bob", "carol"]);
        let alice = Participant {
            name: net.name("alice"),
            sends_data: true,
            receives_data: true,
            online: true,
        };
        let junk = || {
            Some(MlsContent {
                commit_id: 3,
                content: Bytes::from_static(b"junk"),
            })
        };
        let (data, control) = (net.snapshot("bob", session).info.destination, net.name("carol"));
        let attacks = [
            Payload::GroupClose { participants: vec![] },
            Payload::LeaveRequest,
            Payload::GroupUpdate(GroupUpdate {
                op: GroupUpdateOp::Remove,
                participant: alice.clone(),
                participants: vec![],
                mls: junk(),
            }),
            Payload::GroupWelcome {
                participants: vec![alice],
                mls: junk(),
            },
            Payload::JoinRequest(JoinRequest {
                timer_settings: None,
                channel: Some(data),
                control: Some(control),
                mls_header_check_percent: Some(0),
            }),
            Payload::RejoinReply {
                commit_id: 9,
                mls_content: Bytes::new(),
            },
            Payload::UpdateParticipantState {
                participant: net.name("alice"),
                online: false,
                epoch: 2,
            },
            Payload::Heartbeat { epoch: u64::MAX - 1 },
        ];
        let before = net.snapshot("bob", session);
        for attack in attacks {
            let message = signed_by(&net, "carol", "bob", session, attack);
            net.inject("bob", &message);
        }
        assert_eq!(net.snapshot("bob", session), before);
        assert!(net.app("bob").endpoint.counters().not_authorised >= 6);
        // A member that claims a high epoch makes others ask the moderator, at most three times a minute.
        net.advance(Duration::from_secs(30));
        assert!(net.count("bob", K::RejoinRequest) <= 3);
        alive(&mut net, session, &["alice", "bob", "carol"]);
    }
}

#[test]
fn w3_data_without_encryption_still_needs_a_token_that_fits_its_source() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    net.add("eve", "eve", "another-secret-of-more-than-32-bytes!");
    let session = net.group("alice", false, &["bob"]);
    let (alice, bob) = (net.name("alice"), net.name("bob"));
    let content = || Content::Application {
        payload_type: "msg".into(),
        blob: Bytes::from_static(b"forged"),
    };
    let mut rng = Rng::from_seed([3; 32]);
    for token_of in ["eve", "carol"] {
        let mut message = Message::new(
            alice.clone(),
            bob.clone(),
            SessionKind::Group,
            session.0,
            1,
            content(),
        );
        message.identity = net.app(token_of).identity.token(net.now.unix, &mut rng);
        net.inject("bob", &message);
    }
    // A stranger with a good token is no member.
    let mut message = Message::new(
        net.name("carol"),
        bob,
        SessionKind::Group,
        session.0,
        1,
        content(),
    );
    message.identity = net.app("carol").identity.token(net.now.unix, &mut rng);
    net.inject("bob", &message);
    assert!(net.texts("bob", session).is_empty());
    let counters = net.app("bob").endpoint.counters();
    assert_eq!(
        (
            counters.identity_refused,
            counters.binding_refused,
            counters.not_authorised
        ),
        (1, 1, 1)
    );
}

#[test]
fn w4_receipts_of_strangers_count_for_nothing() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob"]);
    net.apps.get_mut("bob").unwrap().frozen = true;
    let publish = net.command("alice", Net::publish_command(session, "x")).unwrap();
    net.trace.clear();
    let mut rng = Rng::from_seed([4; 32]);
    let token = net.app("carol").identity.token(net.now.unix, &mut rng);
    for (source, kind) in [("bob", K::MsgAck), ("carol", K::MsgAck), ("carol", K::RtxRequest)] {
        let content = Content::Application {
            payload_type: String::new(),
            blob: Bytes::new(),
        };
        let mut receipt = Message::new(
            net.name(source),
            net.name("alice"),
            SessionKind::Group,
            session.0,
            1,
            content,
        );
        receipt.kind = kind;
        receipt.identity = token.clone();
        net.inject("alice", &receipt);
    }
    assert!(net.trace.is_empty() && net.result("alice", publish).is_none());
}

#[test]
fn gap_w4_a_node_that_replays_a_members_token_can_acknowledge_for_it() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    net.publish("bob", session, "my token travels with this").unwrap();
    let (_, seen) = net
        .trace
        .iter()
        .rev()
        .find(|(sender, message)| sender == "bob" && message.kind == K::Msg)
        .cloned()
        .unwrap();
    net.apps.get_mut("bob").unwrap().frozen = true;
    let publish = net.command("alice", Net::publish_command(session, "x")).unwrap();
    let content = Content::Application {
        payload_type: String::new(),
        blob: Bytes::new(),
    };
    let mut ack = Message::new(
        net.name("bob"),
        net.name("alice"),
        SessionKind::Group,
        session.0,
        1,
        content,
    );
    ack.kind = K::MsgAck;
    ack.identity = seen.identity;
    net.inject("alice", &ack);
    assert!(
        net.result("alice", publish).unwrap().is_ok(),
        "the wire has no authentication for acknowledgements"
    );
}

#[test]
fn w5_an_altered_payload_type_is_noticed() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    let altered = hold_one(&mut net, session, |message| {
        if let Content::Application { payload_type, .. } = &mut message.content {
            *payload_type = "other".into();
        }
    });
    net.inject("bob", &altered);
    assert_eq!(net.app("bob").endpoint.counters().header_altered, 1);
    assert!(net.texts("bob", session).is_empty());
}

#[test]
fn gap_w5_altered_metadata_is_not_noticed() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    let altered = hold_one(&mut net, session, |message| {
        message.metadata.insert("added".into(), "on the way".into());
    });
    net.inject("bob", &altered);
    assert_eq!(
        net.received("bob", session)[0].metadata.len(),
        1,
        "the wire authenticates no metadata of data"
    );
}

#[test]
fn w6_every_header_field_is_checked_for_every_message() {
    let changes: [fn(&mut Message); 5] = [
        |message| message.message_id += 1,
        |message| message.destination = message.destination.with_id(NameId(7)),
        |message| message.kind = K::RtxReply,
        |message| message.identity.push('x'),
        |message| message.source = message.source.with_id(NameId(7)),
    ];
    for change in changes {
        let mut net = Net::with(&["alice", "bob"]);
        let session = net.group("alice", true, &["bob"]);
        let altered = hold_one(&mut net, session, change);
        net.inject("bob", &altered);
        assert!(net.texts("bob", session).is_empty());
        assert_eq!(net.app("bob").endpoint.counters().header_altered, 1);
    }
}

#[test]
fn w7_messages_without_their_payload_hurt_nobody() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    let bob = Participant {
        name: net.name("bob"),
        sends_data: true,
        receives_data: true,
        online: true,
    };
    for payload in [
        Payload::GroupWelcome {
            participants: vec![],
            mls: None,
        },
        Payload::GroupUpdate(GroupUpdate {
            op: GroupUpdateOp::Add,
            participant: bob,
            participants: vec![],
            mls: None,
        }),
        Payload::RejoinReply {
            commit_id: 0,
            mls_content: Bytes::new(),
        },
    ] {
        let message = signed_by(&net, "alice", "bob", session, payload);
        net.inject("bob", &message);
    }
    // A Publish whose content field is absent: cut the last field off a frame without metadata.
    let mut message = signed_by(&net, "alice", "bob", session, Payload::GroupAck);
    message.metadata.clear();
    let whole = message.encode();
    let content = message.content_bytes().len() + 2;
    let body = &whole[3..whole.len() - content];
    let mut cut = vec![0x1a, (body.len() & 0x7f) as u8 | 0x80, (body.len() >> 7) as u8];
    cut.extend_from_slice(body);
    assert!(Message::decode(cut.into()).is_err());
    alive(&mut net, session, &["alice", "bob"]);
}

#[test]
fn w8_an_invitation_that_does_not_verify_leaves_no_state() {
    let mut net = Net::with(&["alice", "bob"]);
    net.add("eve", "eve", "another-secret-of-more-than-32-bytes!");
    let name = net.name("bob");
    let join = || {
        Payload::JoinRequest(JoinRequest {
            timer_settings: None,
            channel: Some(name.clone()),
            control: Some(name.clone()),
            mls_header_check_percent: Some(100),
        })
    };
    // Another secret; then the right secret but channel names that are not alice's.
    for inviter in ["eve", "alice"] {
        let message = signed_by(&net, inviter, "bob", SessionId(1), join());
        net.inject("bob", &message);
        assert!(net.app("bob").endpoint.session_ids().is_empty());
        assert_eq!(net.app("bob").endpoint.timer_count(Some(SessionId(1))), 0);
    }
    assert_eq!(net.count("bob", K::JoinReply), 0);
}

#[test]
fn w8_open_invitations_of_one_peer_are_limited() {
    let mut net = Net::with(&["alice", "bob"]);
    net.filter(|_, message| {
        if message.kind == K::GroupWelcome {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
    for number in 0..30 {
        let mut config = pair_config("bob", false);
        config.destination = "org/ns/bob".parse().unwrap();
        net.command(
            "alice",
            Command::Open {
                config,
                id: Some(SessionId(number)),
            },
        )
        .unwrap();
    }
    assert_eq!(net.app("bob").endpoint.session_ids().len(), 10);
    assert!(net.app("bob").endpoint.counters().invitations_refused >= 20);
}

#[test]
fn w9_network_messages_cannot_drive_a_moderator() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob"]);
    net.trace.clear();
    for payload in [Payload::LeaveRequest, Payload::DiscoveryRequest] {
        let message = forged(
            &net,
            &net.app("bob").identity,
            &net.name("bob"),
            &net.name("carol"),
            session,
            payload,
        );
        net.inject("alice", &message);
    }
    net.advance(Duration::from_secs(3));
    assert_eq!(
        net.count("alice", K::DiscoveryRequest) + net.count("alice", K::GroupUpdate),
        0
    );
    net.assert_agreement(session, &["alice", "bob"]);
}

#[test]
fn w10_a_stolen_token_signs_nothing() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob"]);
    let stolen = net
        .trace
        .iter()
        .find(|(sender, _)| sender == "alice")
        .unwrap()
        .1
        .identity
        .clone();
    let mut close = signed_by(
        &net,
        "alice",
        "bob",
        session,
        Payload::GroupClose { participants: vec![] },
    );
    close.identity = stolen;
    sign_message(&net.app("carol").identity, &mut close);
    net.inject("bob", &close);
    assert_eq!(net.app("bob").endpoint.counters().signature_refused, 1);
    alive(&mut net, session, &["alice", "bob"]);
}

#[test]
fn w11_every_leaf_is_replaced_within_the_hour() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    let before = net.snapshot("alice", session).epoch.unwrap();
    net.advance(Duration::from_secs(3600));
    assert_eq!(net.snapshot("alice", session).epoch.unwrap(), before + 3);
    assert_eq!(
        net.count("bob", K::RejoinRequest) + net.count("carol", K::RejoinRequest),
        2
    );
    net.assert_agreement(session, &["alice", "bob", "carol"]);
}

#[test]
fn w11_both_leaves_of_a_pair_are_replaced_within_the_hour_too() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.open("alice", pair_config("bob", true));
    let before = net.snapshot("alice", session).epoch.unwrap();
    for hour in 1..=3 {
        net.advance(Duration::from_secs(3600));
        net.publish("alice", session, "ping").unwrap();
        net.publish("bob", session, "pong").unwrap();
        assert!(net.snapshot("alice", session).epoch.unwrap() >= before + 2 * hour);
        net.assert_agreement(session, &["alice", "bob"]);
    }
    assert_eq!(
        net.texts("alice", session).len() + net.texts("bob", session).len(),
        6
    );
    assert_eq!(net.count("alice", K::GroupWelcome), 1);
}

#[test]
fn w12_closing_a_pair_tells_the_peer_alone() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.open("alice", pair_config("bob", true));
    net.wait("alice", Command::Close { session }).unwrap();
    let (_, close) = net
        .trace
        .iter()
        .find(|(_, message)| message.kind == K::GroupClose)
        .unwrap();
    assert_eq!((close.destination.clone(), close.fanout), (net.name("bob"), 1));
}
