//! What links may do, as a dialogue with a node that has rules.

use slim_policy::{AuthMethod, LinkIdentity, RuleSource, Rules};
use slim_proto::control::{SubscriptionAck, SubscriptionAction, SubscriptionRequest};
use slim_proto::{Command, Content, Frame, FullName, Message, MessageKind, NameId, SessionKind};

use super::*;
use crate::forward::{Ingress, forward};
use crate::router::{Output, RouterConfig};
use crate::testing::{at, edge, name, request, subscribe, unsubscribe};

const ALICE: u128 = 0xA;
const BOB: u128 = 0xB;

/// A node with alice and bob: each has its own name, both have the chat; alice may invite, bob may write to carol
/// but not invite her.
struct Node {
    router: Router,
    alice: LinkId,
    bob: LinkId,
}

fn rules() -> Rules {
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let everybody = RuleSource {
        subscribe: texts(&["org/ns/{subject}", "org/ns/chat"]),
        publish: texts(&["org/ns/chat"]),
        ..RuleSource::default()
    };
    let moderator = RuleSource {
        subjects: texts(&["alice"]),
        invite: Some(texts(&["org/ns/*"])),
        ..RuleSource::default()
    };
    let writer = RuleSource {
        subjects: texts(&["bob"]),
        publish: texts(&["org/ns/carol"]),
        invite: Some(Vec::new()),
        ..RuleSource::default()
    };
    Rules::compile(false, &[everybody, moderator, writer]).unwrap()
}

fn permissions(subject: &str) -> Permissions {
    rules().permissions(&LinkIdentity {
        subject: Some(subject.into()),
        method: AuthMethod::Basic,
        ..LinkIdentity::default()
    })
}

impl Node {
    fn new() -> Self {
        let mut router = Router::new(RouterConfig::default(), [5; 32]);
        let [alice, bob] =
            ["alice", "bob"].map(|subject| router.handle_link_up_as(at(0), edge(), permissions(subject)));
        Self { router, alice, bob }
    }

    fn subscribes(&mut self, link: LinkId, name: &FullName, id: u64) -> Result<(), String> {
        self.router.handle_frame(at(0), link, &subscribe(name, id));
        self.answer(link, id)
    }

    /// The acknowledgement that the link gets for its request.
    fn answer(&mut self, link: LinkId, id: u64) -> Result<(), String> {
        let mut answers: Vec<_> = self.sent().iter().map(acknowledgement).collect();
        assert_eq!(answers.len(), 1);
        let (to, ack) = answers.remove(0);
        assert_eq!((to, ack.subscription_id), (link, id));
        ack.outcome
    }

    fn sent(&mut self) -> Vec<(LinkId, Frame)> {
        let mut sent = Vec::new();
        while let Some(output) = self.router.poll_output() {
            if let Output::Send { link, egress } = output {
                sent.push((link, egress.into_frame().unwrap()));
            }
        }
        sent
    }

    /// The links that get this frame.
    fn receivers(&mut self, from: LinkId, frame: &Frame) -> Vec<LinkId> {
        self.router.handle_frame(at(0), from, frame);
        self.sent().into_iter().map(|(link, _)| link).collect()
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.router.counters().drops(reason)
    }

    fn refusal(&mut self) -> Option<String> {
        let (_, denied) = self.router.poll_refusal()?;
        Some(denied.to_string())
    }
}

fn acknowledgement((link, frame): &(LinkId, Frame)) -> (LinkId, SubscriptionAck) {
    (*link, SubscriptionAck::decode(frame).unwrap().unwrap())
}

fn alice() -> FullName {
    name("org/ns/alice").with_id(NameId(ALICE))
}

fn bob() -> FullName {
    name("org/ns/bob").with_id(NameId(BOB))
}

fn carol() -> FullName {
    name("org/ns/carol")
}

fn chat() -> FullName {
    name("org/ns/chat").with_id(NameId(0xC))
}

fn data(source: &FullName, destination: &FullName, fanout: u32) -> Frame {
    let content = Content::Application {
        payload_type: "msg".into(),
        blob: "hello".into(),
    };
    let mut message = Message::new(
        source.clone(),
        destination.clone(),
        SessionKind::Group,
        1,
        2,
        content,
    );
    message.fanout = fanout;
    Frame::new(message.encode()).unwrap()
}

fn command(source: &FullName, destination: &FullName, command: Command) -> Frame {
    let message = Message::new(
        source.clone(),
        destination.clone(),
        SessionKind::Group,
        1,
        2,
        command,
    );
    Frame::new(message.encode()).unwrap()
}

/// The frame with one word of its texts replaced; hashes stay.
fn respelt(frame: &Frame, from: &str, to: &str) -> Frame {
    assert_eq!(from.len(), to.len());
    let mut bytes = frame.bytes().to_vec();
    let mut replaced = 0;
    for start in 0..=bytes.len() - from.len() {
        if bytes[start..].starts_with(from.as_bytes()) {
            bytes[start..start + to.len()].copy_from_slice(to.as_bytes());
            replaced += 1;
        }
    }
    assert!(replaced > 0, "{from} is nowhere");
    Frame::new(bytes).unwrap()
}

#[test]
fn s_16_a_link_that_wants_anothers_name_is_refused_with_the_reason_and_hears_nothing_of_it() {
    let mut node = Node::new();
    node.subscribes(node.alice, &alice(), 1).unwrap();
    node.subscribes(node.alice, &alice().without_id(), 2).unwrap();
    let moderator = node.router.handle_link_up_as(at(0), edge(), permissions("alice"));
    for (id, stolen) in [(3, alice()), (4, alice().without_id())] {
        assert_eq!(
            node.subscribes(node.bob, &stolen, id).unwrap_err(),
            r#""bob" may not subscribe to "org/ns/alice""#
        );
        assert_eq!(
            node.refusal().as_deref(),
            Some(r#""bob" may not subscribe to "org/ns/alice""#)
        );
    }
    assert_eq!(node.drops(DropReason::SubscribeDenied), 2);
    // Neither her messages nor the discovery of her name reach him, to one or to all, with her id or any.
    for destination in [alice(), alice().without_id()] {
        for fanout in [1, 256] {
            let message = data(&alice(), &destination, fanout);
            assert_eq!(node.receivers(moderator, &message), [node.alice]);
        }
        let discovery = command(&alice(), &destination, Command::DiscoveryRequest);
        assert_eq!(node.receivers(moderator, &discovery), [node.alice]);
    }
}

#[test]
fn a_restored_subscription_without_an_id_is_refused_in_silence_and_logged() {
    let mut node = Node::new();
    let stolen = subscribe(&alice(), 0);
    node.router.handle_frame(at(0), node.bob, &stolen);
    assert_eq!(node.receivers(node.bob, &stolen), []);
    assert_eq!(node.router.subscription_count(), 0);
    assert!(node.refusal().is_some());
}

#[test]
fn hashes_of_one_name_with_the_text_of_another_are_refused() {
    let mut node = Node::new();
    node.subscribes(node.alice, &alice(), 1).unwrap();
    // "bobby" may have its own name; the hashes are alice's.
    let bobby = node.router.handle_link_up_as(at(0), edge(), permissions("bobby"));
    let spoofed = respelt(&subscribe(&alice(), 2), "alice", "bobby");
    node.router.handle_frame(at(0), bobby, &spoofed);
    assert!(node.answer(bobby, 2).is_err());
    // And the other way round: the hashes are his own, the text alice's.
    let spoofed = respelt(&subscribe(&name("org/ns/bobby"), 3), "bobby", "alice");
    node.router.handle_frame(at(0), bobby, &spoofed);
    assert!(node.answer(bobby, 3).is_err());
    assert_eq!(node.router.subscription_count(), 1);
}

#[test]
fn nobody_speaks_under_a_name_that_it_may_not_receive_for() {
    let mut node = Node::new();
    node.subscribes(node.alice, &chat(), 1).unwrap();
    let honest = data(&bob(), &chat(), 256);
    assert_eq!(node.receivers(node.bob, &honest), [node.alice]);
    let forged = data(&alice(), &chat(), 256);
    assert_eq!(node.receivers(node.bob, &forged), []);
    assert_eq!(
        node.refusal().as_deref(),
        Some(r#""bob" may not speak as "org/ns/alice""#)
    );
    // Hashes of alice, readable as somebody that the link may be; and the reverse.
    let bobby = node.router.handle_link_up_as(at(0), edge(), permissions("bobby"));
    for forged in [
        respelt(&forged, "alice", "bobby"),
        respelt(&data(&name("org/ns/bobby"), &chat(), 256), "bobby", "alice"),
    ] {
        assert_eq!(node.receivers(bobby, &forged), []);
    }
    assert_eq!(node.drops(DropReason::SourceDenied), 3);
}

#[test]
fn a_publish_that_no_rule_allows_is_dropped_counted_and_told_to_the_log() {
    let mut node = Node::new();
    node.subscribes(node.alice, &alice(), 1).unwrap();
    for destination in [alice(), alice().without_id()] {
        for fanout in [1, 256] {
            assert_eq!(node.receivers(node.bob, &data(&bob(), &destination, fanout)), []);
        }
    }
    assert_eq!(node.drops(DropReason::PublishDenied), 4);
    assert_eq!(
        node.refusal().as_deref(),
        Some(r#""bob" may not publish to "org/ns/alice""#)
    );
}

#[test]
fn who_may_write_to_a_name_may_not_therefore_invite_it() {
    let mut node = Node::new();
    let link = node.router.handle_link_up_as(at(0), edge(), permissions("carol"));
    node.subscribes(link, &carol(), 1).unwrap();
    assert_eq!(node.receivers(node.bob, &data(&bob(), &carol(), 1)), [link]);
    let join = Command::JoinRequest(slim_proto::JoinRequest {
        timer_settings: None,
        channel: Some(chat()),
        control: Some(chat()),
        mls_header_check_percent: None,
    });
    for opening in [Command::DiscoveryRequest, join] {
        let frame = command(&bob(), &carol(), opening.clone());
        assert_eq!(node.receivers(node.bob, &frame), [], "{opening:?}");
        let frame = command(&alice(), &carol(), opening);
        assert_eq!(node.receivers(node.alice, &frame), [link]);
    }
    assert_eq!(node.drops(DropReason::InviteDenied), 2);
    assert_eq!(
        node.refusal().as_deref(),
        Some(r#""bob" may not invite "org/ns/carol""#)
    );
}

#[test]
fn who_was_written_to_may_answer_the_writer_and_nobody_else() {
    let mut node = Node::new();
    node.subscribes(node.alice, &alice(), 1).unwrap();
    node.subscribes(node.bob, &bob(), 1).unwrap();
    let answer = command(&bob(), &alice(), Command::DiscoveryReply);
    assert_eq!(node.receivers(node.bob, &answer), [], "nobody asked");
    let question = command(&alice(), &bob().without_id(), Command::DiscoveryRequest);
    assert_eq!(node.receivers(node.alice, &question), [node.bob]);
    assert_eq!(node.receivers(node.bob, &answer), [node.alice]);
    assert_eq!(node.receivers(node.bob, &data(&bob(), &alice(), 1)), [node.alice]);
    // Exactly the writer: not her other instances, not any of them, and no invitation in return.
    let instance = alice().with_id(NameId(ALICE + 1));
    node.subscribes(node.alice, &instance, 2).unwrap();
    for beyond in [
        data(&bob(), &instance, 1),
        data(&bob(), &alice().without_id(), 1),
        command(&bob(), &alice(), Command::DiscoveryRequest),
    ] {
        assert_eq!(node.receivers(node.bob, &beyond), []);
    }
    assert_eq!(node.drops(DropReason::PublishDenied), 3);
    assert_eq!(node.drops(DropReason::InviteDenied), 1);
}

#[test]
fn a_member_answers_those_who_write_to_its_channel() {
    let mut node = Node::new();
    for link in [node.alice, node.bob] {
        node.subscribes(link, &chat(), 9).unwrap();
    }
    node.subscribes(node.alice, &alice(), 1).unwrap();
    assert_eq!(
        node.receivers(node.alice, &data(&alice(), &chat(), 256)),
        [node.bob]
    );
    let mut acknowledgement = Message::decode(data(&bob(), &alice(), 1).into_bytes())
        .unwrap()
        .unwrap();
    acknowledgement.kind = MessageKind::MsgAck;
    let acknowledgement = Frame::new(acknowledgement.encode()).unwrap();
    assert_eq!(node.receivers(node.bob, &acknowledgement), [node.alice]);
}

/// `subscribe` with the source that applications write for channels: their own name.
fn joins(member: &FullName, channel: &FullName, id: u64) -> Frame {
    SubscriptionRequest {
        action: SubscriptionAction::Subscribe,
        source: member.clone(),
        destination: channel.clone(),
        identity: String::new(),
        subscription_id: id,
    }
    .encode()
}

/// A node where alice and bob are reachable under their names, and alice is in the chat.
fn node_with_a_chat() -> Node {
    let mut node = Node::new();
    node.subscribes(node.alice, &alice(), 1).unwrap();
    node.subscribes(node.bob, &bob(), 1).unwrap();
    node.router
        .handle_frame(at(0), node.alice, &joins(&alice(), &chat(), 2));
    node.sent();
    node
}

#[test]
fn members_of_a_channel_may_write_to_each_other_before_they_were_heard_of() {
    let mut node = node_with_a_chat();
    let direct = data(&bob(), &alice(), 1);
    assert_eq!(node.receivers(node.bob, &direct), [], "not a member yet");
    node.router
        .handle_frame(at(0), node.bob, &joins(&bob(), &chat(), 0));
    assert_eq!(
        node.receivers(node.bob, &direct),
        [node.alice],
        "restored ones count"
    );
    assert_eq!(
        node.receivers(node.bob, &data(&bob(), &alice().without_id(), 1)),
        []
    );
    node.router.handle_link_down(at(1), node.alice);
    node.router.handle_link_down(at(1), node.bob);
    assert_eq!(node.router.memberships.channel_count(), 0);
}

#[test]
fn a_second_link_of_somebody_may_answer_whom_the_first_one_could() {
    let mut node = Node::new();
    node.subscribes(node.alice, &alice(), 1).unwrap();
    node.subscribes(node.bob, &bob(), 1).unwrap();
    let written = data(&alice(), &bob(), 1);
    assert_eq!(node.receivers(node.alice, &written), [node.bob]);
    let answer = data(&bob(), &alice(), 1);
    let second = node.router.handle_link_up_as(at(1), edge(), permissions("bob"));
    assert_eq!(node.receivers(second, &answer), [node.alice]);
    // The older one may end meanwhile.
    node.router.handle_link_down(at(1), node.bob);
    assert_eq!(node.receivers(second, &answer), [node.alice]);
    // Somebody else of that name is not the same, nor are two who proved nothing.
    let namesake = rules().permissions(&LinkIdentity {
        subject: Some("bob".into()),
        method: AuthMethod::Jwt,
        issuer: Some("https://elsewhere.example".into()),
        ..LinkIdentity::default()
    });
    let other = node.router.handle_link_up_as(at(2), edge(), namesake);
    assert_eq!(node.receivers(other, &answer), []);
}

#[test]
fn links_without_identity_do_not_answer_for_each_other() {
    let mut node = Node::new();
    node.subscribes(node.alice, &alice(), 1).unwrap();
    let anonymous = Rules::compile(
        false,
        &[RuleSource {
            subscribe: vec!["org/ns/open".into()],
            ..RuleSource::default()
        }],
    )
    .unwrap()
    .permissions(&LinkIdentity::default());
    let one = node.router.handle_link_up_as(at(0), edge(), anonymous.clone());
    let other = node.router.handle_link_up_as(at(0), edge(), anonymous);
    let open = name("org/ns/open").with_id(NameId(1));
    node.subscribes(one, &open, 1).unwrap();
    assert_eq!(node.receivers(node.alice, &data(&alice(), &open, 1)), [one]);
    let answer = data(&open, &alice(), 1);
    assert_eq!(node.receivers(other, &answer), []);
    assert_eq!(node.receivers(one, &answer), [node.alice]);
}

#[test]
fn who_is_gone_is_forgotten() {
    let mut node = Node::new();
    for number in 0..200 {
        let subject = format!("guest-{number}");
        let link = node
            .router
            .handle_link_up_as(at(0), edge(), permissions(&subject));
        node.router.handle_link_down(at(0), link);
        node.sent();
    }
    assert!(
        node.router.principals.len() < 50,
        "{}",
        node.router.principals.len()
    );
}

#[test]
fn a_channel_that_one_may_only_listen_to_introduces_nobody() {
    let mut node = node_with_a_chat();
    let listener = RuleSource {
        subscribe: vec!["org/ns/{subject}".into(), "org/ns/chat".into()],
        ..RuleSource::default()
    };
    let permissions = Rules::compile(false, &[listener])
        .unwrap()
        .permissions(&LinkIdentity {
            subject: Some("bob".into()),
            ..LinkIdentity::default()
        });
    node.router.set_permissions(at(0), node.bob, permissions);
    node.router
        .handle_frame(at(0), node.bob, &joins(&bob(), &chat(), 0));
    assert_eq!(node.receivers(node.bob, &data(&bob(), &alice(), 1)), []);
}

#[test]
fn nobody_joins_a_channel_under_a_name_of_others_or_without_an_id() {
    for (source, channel) in [
        (alice(), chat()),
        (bob().without_id(), chat()),
        (bob(), chat().without_id()),
    ] {
        let mut node = Node::new();
        node.subscribes(node.bob, &bob(), 1).unwrap();
        node.router
            .handle_frame(at(0), node.bob, &joins(&source, &channel, 0));
        assert_eq!(
            node.router.memberships.channel_count(),
            0,
            "{source} in {channel}"
        );
    }
}

#[test]
fn who_left_a_channel_is_no_longer_introduced() {
    let mut node = node_with_a_chat();
    node.router
        .handle_frame(at(0), node.alice, &unsubscribe(&chat(), 2));
    node.sent();
    assert_eq!(node.router.memberships.channel_count(), 0);
    node.router
        .handle_frame(at(0), node.bob, &joins(&bob(), &chat(), 0));
    assert_eq!(node.receivers(node.bob, &data(&bob(), &alice(), 1)), []);
}

#[test]
fn new_permissions_withdraw_what_they_no_longer_allow() {
    let mut node = Node::new();
    node.subscribes(node.bob, &bob(), 1).unwrap();
    node.subscribes(node.bob, &chat(), 2).unwrap();
    node.subscribes(node.bob, &chat(), 3).unwrap();
    node.subscribes(node.alice, &alice(), 1).unwrap();
    assert_eq!(
        node.receivers(node.alice, &data(&alice(), &chat(), 256)),
        [node.bob]
    );
    let own_name_only = Rules::compile(
        false,
        &[RuleSource {
            subscribe: vec!["org/ns/bob".into()],
            ..RuleSource::default()
        }],
    )
    .unwrap()
    .permissions(&LinkIdentity::default());
    let withdrawn = node
        .router
        .set_permissions(at(1), node.bob, own_name_only.clone());
    assert_eq!((withdrawn, node.router.subscription_count()), (2, 2));
    assert_eq!(node.receivers(node.alice, &data(&alice(), &chat(), 256)), []);
    assert_eq!(
        node.receivers(node.bob, &data(&bob(), &alice(), 1)),
        [],
        "the right to answer went too"
    );
    assert_eq!(node.receivers(node.alice, &data(&alice(), &bob(), 1)), [node.bob]);
    // The same again changes nothing: the answer to that message is still allowed.
    assert_eq!(node.router.set_permissions(at(1), node.bob, own_name_only), 0);
    assert_eq!(node.receivers(node.bob, &data(&bob(), &alice(), 1)), [node.alice]);
    // What the application takes back later is gone already.
    node.router
        .handle_frame(at(2), node.bob, &unsubscribe(&chat(), 2));
    assert_eq!(node.answer(node.bob, 2), Ok(()));
}

#[test]
fn an_unsubscribe_of_anothers_name_changes_nothing_and_tells_nothing() {
    let mut node = Node::new();
    node.subscribes(node.alice, &alice(), 1).unwrap();
    for stranger in [alice(), name("org/ns/nobody")] {
        let frame = request(SubscriptionAction::Unsubscribe, &stranger, 1);
        node.router.handle_frame(at(0), node.bob, &frame);
        assert_eq!(
            node.answer(node.bob, 1),
            Ok(()),
            "the same for known and unknown names"
        );
    }
    assert_eq!(node.router.subscription_count(), 1);
}

#[test]
fn permission_for_everything_is_as_good_as_none() {
    let mut node = Node::new();
    assert_eq!(
        node.router
            .set_permissions(at(0), node.bob, Permissions::everything()),
        0
    );
    node.subscribes(node.bob, &alice(), 1).unwrap();
    assert!(node.router.fib().accesses().get(&node.bob).is_none());
    assert_eq!(
        node.router
            .set_permissions(at(0), node.bob, Permissions::nothing()),
        1
    );
    assert!(node.subscribes(node.bob, &bob(), 2).is_err());
}

#[test]
fn a_thread_that_forwards_by_itself_learns_the_permissions_from_the_table() {
    let mut node = Node::new();
    node.subscribes(node.alice, &alice(), 1).unwrap();
    let mut ingress = Ingress::new(node.bob, node.router.info(node.bob).unwrap());
    let frame = data(&bob(), &alice(), 1);
    let mut out = Vec::new();
    let before = node.router.fib();
    let denied = forward(&before, &mut ingress, &frame, &mut out);
    assert_eq!((denied, out.len()), (Err(DropReason::PublishDenied), 0));
    assert!(ingress.take_refusal().is_some() && ingress.take_refusal().is_none());
    assert_eq!(ingress.counters().drops(DropReason::PublishDenied), 1);
    node.router.set_permissions(at(1), node.bob, permissions("alice"));
    while node.router.poll_output().is_some() {}
    let after = node.router.fib();
    let spoken = forward(&after, &mut ingress, &data(&alice(), &alice(), 1), &mut out);
    assert_eq!((spoken, out.len()), (Ok(()), 1));
    // An old snapshot still means the old permissions.
    assert!(forward(&before, &mut ingress, &frame, &mut out).is_err());
}

#[test]
fn refusals_wait_for_the_log_up_to_a_limit() {
    let mut node = Node::new();
    for id in 1..=REFUSALS_MAX as u64 + 10 {
        node.router
            .handle_frame(at(0), node.bob, &subscribe(&alice(), id));
    }
    let told = std::iter::from_fn(|| node.refusal()).count();
    assert_eq!(told, REFUSALS_MAX);
    assert_eq!(node.drops(DropReason::SubscribeDenied), REFUSALS_MAX as u64 + 10);
}

#[test]
fn a_lost_link_leaves_no_permissions_behind() {
    let mut node = Node::new();
    node.subscribes(node.bob, &bob(), 1).unwrap();
    node.router.handle_link_down(at(1), node.bob);
    while node.router.poll_output().is_some() {}
    assert_eq!(node.router.fib().accesses().len(), 1, "alice's");
    assert_eq!(
        node.router
            .set_permissions(at(1), node.bob, Permissions::nothing()),
        0
    );
}
