//! Messages to any instance of a name: who gets them, what is said, and what is left behind.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use common::{Net, SECRET, group_config, pair_config, reliability};
use slim_proto::{FullName, MessageKind as K};
use slim_session::{
    AnycastConfig, CloseReason, Command, CommandError, Direction, Event, InviteStep, OperationError, Outcome,
    Reliability, SessionDefaults, SessionId,
};

fn reliable(sticky: bool) -> AnycastConfig {
    AnycastConfig {
        reliability: Some(reliability()),
        sticky,
        ..AnycastConfig::default()
    }
}

/// Senders with names of their own, and this many instances of `org/ns/worker` with keys `w0`, `w1`, …
fn net_with_workers(senders: &[&str], workers: usize) -> Net {
    let mut net = Net::with(senders);
    for worker in 0..workers {
        net.add(&format!("w{worker}"), "worker", SECRET);
    }
    net
}

fn open(net: &mut Net, key: &str, config: AnycastConfig) -> SessionId {
    match net.wait(key, Command::OpenAnycast { config, id: None }).unwrap() {
        Outcome::Opened(info) => info.id,
        other => panic!("{other:?}"),
    }
}

fn worker() -> FullName {
    "org/ns/worker".parse().unwrap()
}

fn publish(session: SessionId, to: &FullName, text: &str) -> Command {
    Command::Publish {
        session,
        payload: Bytes::copy_from_slice(text.as_bytes()),
        payload_type: None,
        metadata: BTreeMap::new(),
        to: Some(to.clone()),
    }
}

fn send(net: &mut Net, key: &str, session: SessionId, text: &str) -> Result<Outcome, OperationError> {
    net.wait(key, publish(session, &worker(), text))
}

/// How many messages an application has got, in sessions of any number.
fn received(net: &Net, key: &str) -> usize {
    let is_message = |event: &&Event| matches!(event, Event::Received { .. });
    net.app(key).events.iter().filter(is_message).count()
}

fn received_by_each(net: &Net, workers: usize) -> Vec<usize> {
    (0..workers)
        .map(|worker| received(net, &format!("w{worker}")))
        .collect()
}

/// The sessions that others opened with an application.
fn opened(net: &Net, key: &str) -> Vec<SessionId> {
    let number = |event: &Event| match event {
        Event::SessionOpened(info) => Some(info.id),
        _ => None,
    };
    net.app(key).events.iter().filter_map(number).collect()
}

#[test]
fn messages_go_to_the_instances_in_turn_and_each_keeps_its_session() {
    for config in [reliable(false), AnycastConfig::default()] {
        let mut net = net_with_workers(&["alice"], 3);
        let session = open(&mut net, "alice", config);
        for round in 0..12 {
            send(&mut net, "alice", session, &format!("{round}")).unwrap();
        }
        assert_eq!(received_by_each(&net, 3), [4, 4, 4]);
        for worker in ["w0", "w1", "w2"] {
            assert_eq!(opened(&net, worker).len(), 1, "{worker}");
        }
        assert_eq!(net.count("alice", K::JoinRequest), 3);
        assert_eq!(net.app("alice").endpoint.session_ids(), [session]);
    }
}

#[test]
fn the_turn_is_kept_when_others_ask_for_the_same_name_in_between() {
    let mut net = net_with_workers(&["alice", "carol"], 2);
    let (ours, theirs) = (
        open(&mut net, "alice", reliable(false)),
        open(&mut net, "carol", reliable(false)),
    );
    for round in 0..10 {
        send(&mut net, "alice", ours, &format!("alice {round}")).unwrap();
        send(&mut net, "carol", theirs, &format!("carol {round}")).unwrap();
    }
    // The node alone would give all messages of alice to one of the two.
    let from = |net: &Net, key: &str, sender: &str| {
        let name = net.name(sender);
        let is_from =
            |event: &&Event| matches!(event, Event::Received { message, .. } if message.source == name);
        net.app(key).events.iter().filter(is_from).count()
    };
    for worker in ["w0", "w1"] {
        assert_eq!(
            (from(&net, worker, "alice"), from(&net, worker, "carol")),
            (5, 5),
            "{worker}"
        );
    }
}

#[test]
fn sticky_messages_go_to_one_instance_of_ten() {
    let mut net = net_with_workers(&["alice"], 10);
    let session = open(&mut net, "alice", reliable(true));
    for round in 0..1000 {
        send(&mut net, "alice", session, &format!("{round}")).unwrap();
    }
    let mut counts = received_by_each(&net, 10);
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 0, 0, 0, 0, 0, 0, 0, 1000]);
    assert_eq!(net.count("alice", K::DiscoveryRequest), 1);
    // Both ends know the only session by one number.
    let receiver = (0..10).map(|worker| format!("w{worker}"));
    let numbers: Vec<SessionId> = receiver.flat_map(|worker| opened(&net, &worker)).collect();
    assert_eq!(numbers, [session]);
}

#[test]
fn what_is_published_before_the_first_contact_is_made_arrives_in_order() {
    let mut net = net_with_workers(&["alice"], 2);
    net.lose("alice", K::DiscoveryRequest, 1);
    let session = open(&mut net, "alice", reliable(true));
    let tickets: Vec<_> = (0..20)
        .map(|round| net.command("alice", publish(session, &worker(), &format!("{round}"))))
        .collect();
    for ticket in tickets {
        net.completed("alice", ticket.unwrap()).unwrap();
    }
    let texts = ["w0", "w1"].map(|worker| net.texts(worker, session)).concat();
    assert_eq!(texts, (0..20).map(|round| round.to_string()).collect::<Vec<_>>());
}

#[test]
fn encryption_makes_sticky() {
    let mut net = net_with_workers(&["alice"], 3);
    let config = AnycastConfig {
        mls: true,
        ..reliable(false)
    };
    let session = open(&mut net, "alice", config);
    for round in 0..6 {
        send(&mut net, "alice", session, &format!("plaintext {round}")).unwrap();
    }
    let mut counts = received_by_each(&net, 3);
    counts.sort_unstable();
    assert_eq!(counts, [0, 0, 6]);
    let contains = |frame: &Bytes| frame.windows(9).any(|window| window == b"plaintext");
    assert!(!net.frames.iter().any(contains));
    assert_eq!(net.snapshot("alice", session).epoch, Some(1));
}

#[test]
fn answers_come_back_in_the_session_and_can_be_answered_again() {
    let mut net = net_with_workers(&["alice"], 2);
    let session = open(&mut net, "alice", reliable(false));
    for round in 0..4 {
        send(&mut net, "alice", session, &format!("{round}")).unwrap();
    }
    for key in ["w0", "w1"] {
        let theirs = opened(&net, key)[0];
        net.publish(key, theirs, &format!("from {key}")).unwrap();
    }
    let answers = net.received("alice", session);
    let senders: Vec<FullName> = answers.iter().map(|answer| answer.source.clone()).collect();
    assert_eq!(senders, [net.name("w0"), net.name("w1")]);
    // To the sender of an answer, without a discovery.
    let (asked, before) = (net.count("alice", K::DiscoveryRequest), received(&net, "w1"));
    for _ in 0..3 {
        net.wait("alice", publish(session, &senders[1], "to you"))
            .unwrap();
    }
    assert_eq!(received(&net, "w1"), before + 3);
    assert_eq!(net.count("alice", K::DiscoveryRequest), asked);
    let snapshot = net.snapshot("alice", session);
    assert_eq!(snapshot.members.len(), 3);
}

#[test]
fn an_instance_that_is_gone_gets_nothing_more_and_the_others_do() {
    let mut net = net_with_workers(&["alice"], 3);
    let session = open(&mut net, "alice", reliable(false));
    for round in 0..3 {
        send(&mut net, "alice", session, &format!("{round}")).unwrap();
    }
    let theirs = opened(&net, "w1")[0];
    net.wait("w1", Command::Close { session: theirs }).unwrap();
    net.wait("w1", Command::Unsubscribe { name: worker() }).unwrap();
    for round in 0..4 {
        send(&mut net, "alice", session, &format!("{round}")).unwrap();
    }
    assert_eq!(received_by_each(&net, 3), [3, 1, 3]);
}

#[test]
fn a_sticky_session_binds_anew_when_its_instance_leaves() {
    let mut net = net_with_workers(&["alice"], 2);
    let session = open(&mut net, "alice", reliable(true));
    send(&mut net, "alice", session, "first").unwrap();
    let first = if received(&net, "w0") == 1 { "w0" } else { "w1" };
    net.wait(first, Command::Close { session }).unwrap();
    for round in 0..5 {
        send(&mut net, "alice", session, &format!("{round}")).unwrap();
    }
    let mut counts = received_by_each(&net, 2);
    counts.sort_unstable();
    assert!(counts == [1, 5] || counts == [0, 6], "{counts:?}");
    assert!(
        !net.app("alice")
            .events
            .iter()
            .any(|event| matches!(event, Event::Closed { .. }))
    );
}

#[test]
fn a_silent_instance_is_reported_with_the_number_of_the_message_and_is_then_replaced() {
    let mut net = net_with_workers(&["alice"], 2);
    let session = open(&mut net, "alice", reliable(true));
    send(&mut net, "alice", session, "first").unwrap();
    let (bound, other) = if received(&net, "w0") == 1 {
        ("w0", "w1")
    } else {
        ("w1", "w0")
    };
    net.apps.get_mut(bound).unwrap().frozen = true;
    let before = net.now.mono;
    let error = send(&mut net, "alice", session, "lost").unwrap_err();
    assert_eq!(net.now.mono.saturating_since(before), reliability().total());
    assert!(
        matches!(&error, OperationError::PublishIncomplete { session: of, message_id: 2, .. } if *of == session),
        "{error}"
    );
    net.apps.get_mut(bound).unwrap().events.clear();
    // Discovery may reach the frozen one first; its repetition reaches the other.
    for round in 0..3 {
        send(&mut net, "alice", session, &format!("{round}")).unwrap();
    }
    assert_eq!(received(&net, other), 3);
}

#[test]
fn nobody_there_fails_after_the_documented_time() {
    for sticky in [false, true] {
        let mut net = Net::with(&["alice"]);
        let session = open(&mut net, "alice", reliable(sticky));
        let before = net.now.mono;
        let error = send(&mut net, "alice", session, "hello").unwrap_err();
        assert_eq!(net.now.mono.saturating_since(before), reliability().total());
        assert!(
            matches!(&error, OperationError::InviteFailed { session: of, invitee, step: InviteStep::Discovery, .. }
                if *of == session && *invitee == worker()),
            "{error}"
        );
        assert_eq!(net.count("alice", K::DiscoveryRequest), 4);
        // Somebody comes, and the same session serves.
        net.add("w0", "worker", SECRET);
        send(&mut net, "alice", session, "hello").unwrap();
        assert_eq!(received(&net, "w0"), 1);
    }
}

#[test]
fn an_instance_that_answers_discovery_and_then_stops_fails_the_message_with_that_step() {
    for sticky in [false, true] {
        let mut net = net_with_workers(&["alice"], 1);
        net.filter(|_, message| {
            if message.kind == K::JoinReply {
                common::Verdict::Drop
            } else {
                common::Verdict::Pass
            }
        });
        let session = open(&mut net, "alice", reliable(sticky));
        let error = send(&mut net, "alice", session, "hello").unwrap_err();
        assert!(
            matches!(&error, OperationError::InviteFailed { session: of, step: InviteStep::Join, .. } if *of == session),
            "{error}"
        );
        net.lose_nothing();
        send(&mut net, "alice", session, "hello").unwrap();
    }
}

#[test]
fn another_secret_is_not_answered() {
    let mut net = Net::with(&["alice"]);
    net.add("w0", "worker", "another secret of more than thirty-two bytes");
    let session = open(&mut net, "alice", reliable(false));
    let error = send(&mut net, "alice", session, "hello").unwrap_err();
    assert!(matches!(error, OperationError::InviteFailed { .. }), "{error}");
    assert_eq!(received(&net, "w0"), 0);
    let refused = |event: &Event| matches!(event, Event::IdentityRefused { .. });
    assert!(net.app("w0").events.iter().any(refused));
}

#[test]
fn closing_ends_every_session_behind_it_and_leaves_nothing() {
    let mut net = net_with_workers(&["alice"], 3);
    let session = open(&mut net, "alice", reliable(false));
    for round in 0..3 {
        send(&mut net, "alice", session, &format!("{round}")).unwrap();
    }
    // One more is still being looked for.
    let absent: FullName = "org/ns/absent".parse().unwrap();
    let asking = net.command("alice", publish(session, &absent, "hello")).unwrap();
    net.wait("alice", Command::Close { session }).unwrap();
    assert_eq!(
        net.completed("alice", asking),
        Err(OperationError::SessionClosed(CloseReason::Local))
    );
    let closed = |event: &&Event| matches!(event, Event::Closed { .. });
    let events: Vec<&Event> = net.app("alice").events.iter().filter(closed).collect();
    let reason = CloseReason::Local;
    assert_eq!(events, [&Event::Closed { session, reason }]);
    assert!(net.app("alice").endpoint.session_ids().is_empty());
    assert_eq!(net.app("alice").endpoint.snapshot(session), None);
    for worker in ["w0", "w1", "w2"] {
        assert!(net.app(worker).endpoint.session_ids().is_empty(), "{worker}");
    }
    net.advance(Duration::from_secs(120));
    assert_eq!(net.app("alice").endpoint.timer_count(None), 0);
    assert_eq!(
        net.command("alice", publish(session, &worker(), "late")),
        Err(CommandError::SessionUnknown(session))
    );
}

#[test]
fn nobody_else_can_open_a_session_of_that_number() {
    let mut net = net_with_workers(&["alice", "mallory"], 1);
    let session = open(&mut net, "alice", reliable(false));
    let config = pair_config("alice", false);
    let error = net
        .wait(
            "mallory",
            Command::Open {
                config,
                id: Some(session),
            },
        )
        .unwrap_err();
    assert!(matches!(error, OperationError::InviteFailed { .. }), "{error}");
    assert!(opened(&net, "alice").is_empty());
    send(&mut net, "alice", session, "still mine").unwrap();
}

#[test]
fn mistakes_of_the_caller_are_refused_before_anything_is_sent() {
    let mut net = net_with_workers(&["alice"], 1);
    let session = open(&mut net, "alice", AnycastConfig::default());
    net.trace.clear();
    let nameless = Net::publish_command(session, "to whom?");
    assert_eq!(
        net.command("alice", nameless),
        Err(CommandError::NoReceiver(session))
    );
    let name = worker();
    assert_eq!(
        net.command("alice", Command::Invite { session, name }),
        Err(CommandError::NotGroup(session))
    );
    let reliability = reliability();
    assert_eq!(
        net.command("alice", Command::Reconfigure { session, reliability }),
        Err(CommandError::NotReliable(session))
    );
    let config = AnycastConfig::default();
    let id = Some(SessionId(u32::MAX));
    assert_eq!(
        net.command("alice", Command::OpenAnycast { config, id }),
        Err(CommandError::ReservedSessionId(SessionId(u32::MAX)))
    );
    assert!(net.trace.is_empty());
}

#[test]
fn one_to_one_a_message_for_somebody_else_is_refused() {
    let mut net = Net::with(&["alice", "bob", "carol"]);
    let session = net.open("alice", pair_config("bob", false));
    for (from, to, fits) in [
        ("alice", net.name("bob"), true),
        ("alice", "org/ns/bob".parse().unwrap(), true),
        ("bob", net.name("alice"), true),
        ("alice", net.name("carol"), false),
        ("bob", net.name("carol"), false),
    ] {
        let result = net.command(from, publish(session, &to, "hello"));
        assert_eq!(result.is_ok(), fits, "{from} to {to}: {result:?}");
    }
}

#[test]
fn new_timers_apply_to_what_is_sent_afterwards() {
    let longer = Reliability {
        interval: Duration::from_secs(2),
        max_retries: 1,
    };
    let mut net = net_with_workers(&["alice", "bob"], 1);
    let to_any = open(&mut net, "alice", reliable(true));
    let pair = net.open("alice", pair_config("bob", false));
    let group = net.group("alice", true, &["bob"]);
    send(&mut net, "alice", to_any, "hello").unwrap();
    for session in [to_any, pair, group] {
        let reliability = longer;
        net.wait("alice", Command::Reconfigure { session, reliability })
            .unwrap();
        assert_eq!(net.snapshot("alice", session).info.reliability, Some(longer));
    }
    for key in ["bob", "w0"] {
        net.apps.get_mut(key).unwrap().frozen = true;
    }
    for (session, to) in [(to_any, Some(worker())), (pair, None), (group, None)] {
        let mut command = Net::publish_command(session, "lost");
        if let Command::Publish { to: receiver, .. } = &mut command {
            *receiver = to;
        }
        let before = net.now.mono;
        let error = net.wait("alice", command).unwrap_err();
        assert!(
            matches!(error, OperationError::PublishIncomplete { .. }),
            "{error}"
        );
        assert_eq!(net.now.mono.saturating_since(before), longer.total());
    }
}

#[test]
fn own_defaults_apply_in_sessions_that_others_open_later() {
    let own = Reliability {
        interval: Duration::from_secs(3),
        max_retries: 1,
    };
    let mut net = Net::with(&["alice", "bob"]);
    let before = net.group("alice", false, &["bob"]);
    let defaults = SessionDefaults {
        direction: Direction::Receive,
        timing: Some(own),
    };
    let kind = slim_proto::SessionKind::Group;
    net.wait("bob", Command::SetDefaults { kind, defaults }).unwrap();
    let after = net.group("alice", false, &["bob"]);
    let pair = net.open("alice", pair_config("bob", false));
    let unreliable = net.open(
        "alice",
        slim_session::SessionConfig {
            reliability: None,
            destination: "org/ns/other-channel".parse().unwrap(),
            ..group_config(false)
        },
    );
    net.invite("alice", unreliable, "bob").unwrap();
    let timers = |session| net.snapshot("bob", session).info.reliability;
    assert_eq!(timers(before), Some(reliability()));
    assert_eq!(timers(after), Some(own));
    assert_eq!(timers(pair), Some(reliability()));
    // Whether messages are acknowledged is the moderator's choice.
    assert_eq!(timers(unreliable), None);
    assert!(net.publish("bob", before, "allowed").is_ok());
    assert_eq!(
        net.command("bob", Net::publish_command(after, "refused")),
        Err(CommandError::ReceiveOnly(after))
    );
}
