//! One test for each row of wire-session §9.1 (R) and §9.2 (W): what is a defect of upstream is none of ours.
//! R6, R9 and W13 also have unit tests beside the structures they concern; R15 is tested in `core/mls`.
//! W14, W15 and W16 concern parts that do not exist yet (RPC, persistence).
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Net, SECRET, Verdict, group_config, pair_config};
use slim_auth::{Identity, sign_message};
use slim_crypto::Rng;
use slim_proto::command::MlsContent;
use slim_proto::{
    Command as Payload, Content, FullName, GroupUpdate, GroupUpdateOp, JoinReply, JoinRequest, Message,
    MessageKind as K, NameId, Participant, SessionKind,
};
use slim_session::{
    CloseReason, Command, Event, InviteStep, MembershipChange, OperationError, Outcome, SessionId,
};

/// A command message signed by an identity that need not be the source.
fn forged(
    net: &Net,
    signer: &Identity,
    source: &FullName,
    to: &FullName,
    session: SessionId,
    payload: Payload,
) -> Message {
    let mut rng = Rng::from_seed([net.trace.len() as u8; 32]);
    let mut message = Message::new(
        source.clone(),
        to.clone(),
        SessionKind::Group,
        session.0,
        rng.next_u32() | 1,
        payload,
    );
    message.identity = signer.token(net.now.unix, &mut rng);
    sign_message(signer, &mut message);
    message
}

fn signed_by(net: &Net, signer: &str, to: &str, session: SessionId, payload: Payload) -> Message {
    forged(
        net,
        &net.app(signer).identity,
        &net.name(signer),
        &net.name(to),
        session,
        payload,
    )
}

fn alive(net: &mut Net, session: SessionId, members: &[&str]) {
    net.assert_agreement(session, members);
    for member in members {
        net.publish(member, session, "alive").unwrap();
    }
}

#[test]
fn r1_each_lost_answer_is_repaired() {
    for (from, kind) in [
        ("bob", K::DiscoveryReply),
        ("bob", K::JoinReply),
        ("bob", K::GroupAck),
        ("alice", K::DiscoveryRequest),
        ("alice", K::JoinRequest),
        ("alice", K::GroupWelcome),
    ] {
        for mls in [true, false] {
            let mut net = Net::with(&["alice", "bob", "carol"]);
            net.lose(from, kind, 1);
            let session = net.group("alice", mls, &["bob", "carol"]);
            alive(&mut net, session, &["alice", "bob", "carol"]);
            let pair = net.open("alice", pair_config("carol", mls));
            net.publish("alice", pair, "x").unwrap();
        }
    }
    for (from, kind) in [
        ("bob", K::GroupAck),
        ("alice", K::GroupUpdate),
        ("carol", K::LeaveReply),
        ("alice", K::LeaveRequest),
    ] {
        let mut net = Net::with(&["alice", "bob", "carol"]);
        let session = net.group("alice", true, &["bob", "carol"]);
        net.lose(from, kind, 1);
        let outcome = net.remove("alice", session, "carol").unwrap();
        assert!(
            matches!(outcome, Outcome::Removed { unreachable, .. } if unreachable.is_empty()),
            "{from} {kind:?}"
        );
        alive(&mut net, session, &["alice", "bob"]);
    }
}

#[test]
fn r2_a_rejoin_that_meets_a_busy_moderator_waits_its_turn() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.wait("bob", Command::GoOffline { session }).unwrap();
    net.remove("alice", session, "carol").unwrap();
    // Busy for four seconds with somebody who does not exist.
    let invite = net
        .command(
            "alice",
            Command::Invite {
                session,
                name: "org/ns/nobody".parse().unwrap(),
            },
        )
        .unwrap();
    net.wait("bob", Command::GoOnline { session }).unwrap();
    assert!(net.completed("alice", invite).is_err());
    net.advance(Duration::from_secs(2));
    alive(&mut net, session, &["alice", "bob"]);
}

#[test]
fn r3_a_second_discovery_reply_changes_nothing() {
    let mut net = Net::with(&["alice", "bob"]);
    net.add("bob2", "bob", SECRET);
    let session = net.open("alice", group_config(true));
    net.lose("bob", K::JoinReply, 1);
    net.lose("bob2", K::JoinReply, 1);
    let invite = net
        .command(
            "alice",
            Command::Invite {
                session,
                name: "org/ns/bob".parse().unwrap(),
            },
        )
        .unwrap();
    let request = net
        .trace
        .iter()
        .find(|(_, message)| message.kind == K::DiscoveryRequest)
        .unwrap()
        .1
        .message_id;
    for instance in ["bob", "bob2"] {
        let mut reply = signed_by(&net, instance, "alice", session, Payload::DiscoveryReply);
        reply.message_id = request;
        sign_message(&net.app(instance).identity, &mut reply);
        net.inject("alice", &reply);
    }
    net.completed("alice", invite).unwrap();
    let joined: std::collections::BTreeSet<_> = net
        .trace
        .iter()
        .filter(|(_, message)| message.kind == K::JoinRequest)
        .map(|(_, message)| message.destination.clone())
        .collect();
    assert_eq!(joined.len(), 1, "one instance was asked to join");
    assert_eq!(net.snapshot("alice", session).members.len(), 2);
}

#[test]
fn r4_stray_replies_are_ignored() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    let participant = Participant {
        name: net.name("bob"),
        sends_data: true,
        receives_data: true,
        online: true,
    };
    for payload in [
        Payload::DiscoveryReply,
        Payload::JoinReply(JoinReply {
            key_package: None,
            participant,
        }),
        Payload::LeaveReply,
        Payload::GroupAck,
        Payload::GroupNack,
        Payload::RejoinReply {
            commit_id: 9,
            mls_content: Bytes::from_static(b"no welcome"),
        },
    ] {
        let stray = signed_by(&net, "bob", "alice", session, payload);
        net.inject("alice", &stray);
    }
    alive(&mut net, session, &["alice", "bob"]);
}

#[test]
fn r5_an_invitation_that_fails_half_way_is_rolled_back() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob"]);
    net.filter(|_, message| {
        if message.kind == K::GroupWelcome {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
    let error = net.invite("alice", session, "carol").unwrap_err();
    assert!(
        matches!(
            error,
            OperationError::InviteFailed {
                step: InviteStep::Welcome,
                ..
            }
        ),
        "{error}"
    );
    net.lose_nothing();
    net.advance(Duration::from_secs(1));
    alive(&mut net, session, &["alice", "bob"]);
    net.invite("alice", session, "carol").unwrap();
    alive(&mut net, session, &["alice", "bob", "carol"]);
}

#[test]
fn r6_silent_members_are_reported_not_called_a_success() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    net.apps.get_mut("bob").unwrap().frozen = true;
    let publish = net.command("alice", Net::publish_command(session, "x")).unwrap();
    // The member goes by another path while the message is under way.
    let remove = net
        .command(
            "alice",
            Command::Remove {
                session,
                name: "org/ns/bob".parse().unwrap(),
            },
        )
        .unwrap();
    let published = net.completed("alice", publish).unwrap();
    assert!(
        matches!(published, Outcome::Published(outcome) if outcome.delivered.is_empty() && outcome.missed.len() == 1)
    );
    net.completed("alice", remove).unwrap();
}

#[test]
fn r7_an_outage_of_a_pair_delivers_nothing_twice() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.open("alice", pair_config("bob", true));
    for text in ["1", "2", "3"] {
        net.publish("bob", session, text).unwrap();
    }
    net.apps.get_mut("bob").unwrap().frozen = true;
    net.advance(Duration::from_secs(45));
    net.apps.get_mut("bob").unwrap().frozen = false;
    net.advance(Duration::from_secs(15));
    net.publish("bob", session, "4").unwrap();
    assert_eq!(net.texts("alice", session), ["1", "2", "3", "4"]);
}

#[test]
fn r8_a_member_that_returns_gets_no_old_messages_again() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    for number in 0..20 {
        net.publish("alice", session, &number.to_string()).unwrap();
    }
    net.apps.get_mut("bob").unwrap().frozen = true;
    net.advance(Duration::from_secs(45));
    net.apps.get_mut("bob").unwrap().frozen = false;
    net.trace.clear();
    net.advance(Duration::from_secs(15));
    assert_eq!(net.count("alice", K::Msg) + net.count("alice", K::RtxReply), 0);
    assert_eq!(net.texts("bob", session).len(), 20);
}

#[test]
fn r9_one_message_far_ahead_causes_bounded_work() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", false, &["bob"]);
    net.publish("alice", session, "1").unwrap();
    let (_, first) = net
        .trace
        .iter()
        .find(|(_, message)| message.kind == K::Msg)
        .cloned()
        .unwrap();
    net.trace.clear();
    net.inject(
        "bob",
        &Message {
            message_id: 2_000_000,
            ..first
        },
    );
    assert!(net.count("bob", K::RtxRequest) < slim_proto::limits::REORDER_MAX);
    assert!(
        net.app("bob")
            .events
            .iter()
            .any(|event| matches!(event, Event::Lost { first: 2, .. }))
    );
}

#[test]
fn r10_a_join_without_welcome_ends_by_itself_and_sends_no_heartbeats() {
    let mut net = Net::with(&["alice", "bob"]);
    net.filter(|_, message| {
        if message.kind == K::GroupWelcome {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
    let session = net.open("alice", group_config(true));
    assert!(net.invite("alice", session, "bob").is_err());
    net.advance(Duration::from_secs(70));
    assert!(net.app("bob").endpoint.session_ids().is_empty());
    assert_eq!(net.count("bob", K::Heartbeat), 0);
    assert!(
        !net.app("bob")
            .events
            .iter()
            .any(|event| matches!(event, Event::SessionOpened(_) | Event::Closed { .. }))
    );
}

#[test]
fn r11_a_removed_member_is_told_even_if_others_do_not_confirm() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.apps.get_mut("carol").unwrap().frozen = true;
    let outcome = net.remove("alice", session, "bob").unwrap();
    assert!(matches!(outcome, Outcome::Removed { unreachable, .. } if unreachable == [net.name("carol")]));
    assert!(net.app("bob").events.contains(&Event::Closed {
        session,
        reason: CloseReason::Removed
    }));
}

#[test]
fn r12_a_removed_member_causes_no_later_offline_event() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.remove("alice", session, "carol").unwrap();
    net.advance(Duration::from_secs(60));
    let spurious = |event: &Event| {
        matches!(
            event,
            Event::Membership {
                change: MembershipChange::Offline,
                ..
            }
        )
    };
    assert!(!net.app("bob").events.iter().any(spurious));
    let before = net.now;
    net.wait("bob", Command::GoOffline { session }).unwrap();
    assert_eq!(net.now, before, "nobody waits for the removed member");
}

#[test]
fn r13_the_acknowledgement_of_a_removed_member_is_harmless() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.remove("alice", session, "carol").unwrap();
    assert!(net.count("carol", K::GroupAck) >= 1);
    alive(&mut net, session, &["alice", "bob"]);
}

#[test]
fn r14_members_hear_each_other_after_their_first_tokens_expired() {
    let mut net = Net::with(&["alice", "bob"]);
    let session = net.group("alice", true, &["bob"]);
    net.advance(Duration::from_secs(3 * 3600 + 61));
    alive(&mut net, session, &["alice", "bob"]);
    assert_eq!(net.texts("bob", session), ["alive"]);
}

#[test]
fn r16_equal_session_numbers_of_two_initiators_do_not_mix() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let open = |channel: &str| Command::Open {
        config: slim_session::SessionConfig {
            destination: channel.parse().unwrap(),
            ..group_config(true)
        },
        id: Some(SessionId(5)),
    };
    net.wait("alice", open("org/ns/one")).unwrap();
    net.wait("carol", open("org/ns/two")).unwrap();
    net.invite("alice", SessionId(5), "bob").unwrap();
    let error = net.invite("carol", SessionId(5), "bob").unwrap_err();
    assert!(
        matches!(
            error,
            OperationError::InviteFailed {
                step: InviteStep::Join,
                ..
            }
        ),
        "{error}"
    );
    alive(&mut net, SessionId(5), &["alice", "bob"]);
}

#[test]
fn r17_an_invitee_sees_the_moderators_metadata_without_signatures() {
    let mut net = Net::with(&["alice", "bob"]);
    let mut config = group_config(true);
    config.metadata.insert("topic".into(), "demo".into());
    let session = net.open("alice", config);
    net.invite("alice", session, "bob").unwrap();
    let metadata = net.snapshot("bob", session).info.metadata;
    assert_eq!(metadata, [("topic".to_owned(), "demo".to_owned())].into());
}

#[test]
fn r18_two_instances_of_one_service_can_be_members() {
    let mut net = Net::with(&["alice", "bob"]);
    net.add("bob2", "bob", SECRET);
    let session = net.group("alice", true, &["bob", "bob"]);
    alive(&mut net, session, &["alice", "bob", "bob2"]);
    let outcome = net.remove("alice", session, "bob").unwrap();
    assert!(matches!(outcome, Outcome::Removed { members, .. } if members.len() == 2));
}

#[test]
fn r19_a_lost_acknowledgement_of_a_rejoin_does_not_block_the_moderator() {
    let mut net = Net::with(&["alice", "bob", "carol", "dave"]);
    let session = net.group("alice", true, &["bob", "carol"]);
    net.wait("bob", Command::GoOffline { session }).unwrap();
    net.remove("alice", session, "carol").unwrap();
    net.filter(|sender, message| {
        if sender == "bob" && message.kind == K::GroupAck {
            Verdict::Drop
        } else {
            Verdict::Pass
        }
    });
    net.wait("bob", Command::GoOnline { session }).unwrap();
    net.advance(Duration::from_secs(10));
    net.lose_nothing();
    net.invite("alice", session, "dave").unwrap();
    net.advance(Duration::from_secs(30));
    alive(&mut net, session, &["alice", "bob", "dave"]);
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
    leave.identity = format!("{body}:{}", base64_url(&tag));
    sign_message(&mallory, &mut leave);
    net.inject("alice", &leave);
    net.advance(Duration::from_secs(5));
    assert_eq!(net.app("alice").endpoint.counters().not_authorised, 1);
    alive(&mut net, session, &["alice", "bob", "carol"]);
}

/// RFC 4648 §5 without padding, for one forged token.
fn base64_url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            text.push(char::from(ALPHABET[(word >> (18 - 6 * index)) as usize & 63]));
        }
    }
    text
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
