//! Unit tests over the recorded conversations of `vectors/` (see the README there).
//!
//! They hold the generated types, the typed messages, names and authenticated data against what the other
//! implementation really sends. Signatures and MLS contents are checked by the crates that know keys.

use bytes::Bytes;
use prost::Message as _;
use serde_json::Value;

use crate::aad::header_aad;
use crate::command::Command;
use crate::r#gen as wire;
use crate::r#gen::message::MessageType;
use crate::message::{Message, MessageKind};
use crate::name::{FullName, NameId, channel_names};

const RECORDINGS: [(&str, &str); 3] = [
    (
        "group-3.3.8-mls",
        include_str!("../vectors/group-3.3.8-mls.jsonl"),
    ),
    (
        "group-3.3.8-plain",
        include_str!("../vectors/group-3.3.8-plain.jsonl"),
    ),
    ("p2p-3.3.8-mls", include_str!("../vectors/p2p-3.3.8-mls.jsonl")),
];

#[test]
fn every_recorded_frame_re_encodes_to_the_same_bytes() {
    let mut kinds = [0usize; 5];
    for frame in all_frames() {
        let message = frame.decode();
        assert_eq!(
            top_level_fields(&message.encode_to_vec()),
            top_level_fields(&frame.bytes),
            "{frame:?}"
        );
        let kind = match message.message_type.expect("a message type") {
            MessageType::Subscribe(_) => 0,
            MessageType::Unsubscribe(_) => 1,
            MessageType::Publish(_) => 2,
            MessageType::Link(_) => 3,
            MessageType::SubscriptionAck(_) => 4,
        };
        kinds[kind] += 1;
    }
    // Subscribe, Unsubscribe, Publish, Link, SubscriptionAck: counted with the recordings at hand.
    assert_eq!(kinds, [24, 16, 221, 16, 40]);
}

#[test]
fn every_recorded_publish_survives_the_typed_message() {
    for frame in all_frames() {
        let typed = Message::decode(frame.bytes.clone()).unwrap_or_else(|error| panic!("{frame:?}: {error}"));
        let mut raw = frame.decode();
        let Some(MessageType::Publish(publish)) = &mut raw.message_type else {
            assert_eq!(typed, None, "{frame:?}");
            continue;
        };
        // Hop-local: what an endpoint never sends and never believes.
        let header = publish.header.as_mut().expect("a header");
        (header.recv_from, header.forward_to, header.incoming_conn) = (None, None, None);
        header.header_mac = None;
        let typed = typed.expect("a publish");
        assert_eq!(typed.encode(), raw.encode_to_vec(), "{frame:?}");
    }
}

#[test]
fn senders_use_the_id_of_their_token_subject() {
    for (file, _) in RECORDINGS {
        for (_, message) in publishes(file) {
            let subject = subject(&message);
            assert_eq!(message.source.id(), NameId::of_subject(&subject), "{subject}");
        }
    }
}

#[test]
fn the_join_request_names_the_channels_of_the_moderator() {
    for file in ["group-3.3.8-mls", "group-3.3.8-plain"] {
        let mut seen = 0;
        for (_, message) in publishes(file) {
            let Some(Command::JoinRequest(join)) = message.command() else {
                continue;
            };
            let channel: FullName = "org/ns/chan".parse().unwrap();
            let (data, control) = channel_names(&channel, &subject(&message));
            assert_eq!(join.channel.as_ref(), Some(&data));
            assert_eq!(join.control.as_ref(), Some(&control));
            let timers = join.timer_settings.expect("a reliable session");
            assert_eq!((timers.timeout_ms, timers.max_retries), (1000, 3));
            assert_eq!(join.mls_header_check_percent.is_some(), file.ends_with("mls"));
            seen += 1;
        }
        // bob, carol, carol again; each recorded twice, to the node and to the invitee.
        assert_eq!(seen, 6, "{file}");
    }
}

#[test]
fn sealed_messages_carry_their_header_as_authenticated_data() {
    let mut sealed = 0;
    for file in ["group-3.3.8-mls", "p2p-3.3.8-mls"] {
        for (_, message) in publishes(file) {
            if !matches!(message.kind, MessageKind::Msg) {
                continue;
            }
            let (aad, blob) = (header_aad(&message), message.blob());
            assert!(blob.windows(aad.len()).any(|window| window == aad), "{message:?}");
            sealed += 1;
        }
    }
    // Sent and received copies; counted with the recordings at hand.
    assert_eq!(sealed, 21);
}

#[test]
fn a_moderator_discovers_subscribes_invites_and_welcomes_in_this_order() {
    for file in ["group-3.3.8-mls", "group-3.3.8-plain"] {
        let alice = sent_by(file, "alice");
        let expected = [
            "Link",
            "Subscribe",
            "DiscoveryRequest(0) any bob fan 1",
            "Subscribe",
            "Subscribe",
            "JoinRequest(1) bob fan 1",
            "GroupWelcome(2) bob fan 1",
            "DiscoveryRequest(3) any carol fan 1",
            "JoinRequest(4) carol fan 1",
            "GroupUpdate(5) CONTROL fan 256",
            "GroupWelcome(6) carol fan 1",
            "Msg(7) DATA fan 256",
        ];
        assert_eq!(alice[..expected.len()], expected, "{file}");
    }
}

#[test]
fn an_invitee_answers_with_the_numbers_of_the_requests() {
    for file in ["group-3.3.8-mls", "group-3.3.8-plain"] {
        let bob = sent_by(file, "bob");
        let expected = [
            "Link",
            "Subscribe",
            "DiscoveryReply(0) alice fan 1",
            "JoinReply(1) alice fan 1",
            "Subscribe",
            "Subscribe",
            "GroupAck(2) alice fan 1",
            "GroupAck(5) alice fan 1",
            "MsgAck(7) alice fan 1",
        ];
        assert_eq!(bob[..expected.len()], expected, "{file}");
    }
}

#[test]
fn a_removed_member_acknowledges_leaves_and_can_come_back() {
    for file in ["group-3.3.8-mls", "group-3.3.8-plain"] {
        let carol = sent_by(file, "carol");
        let removal = carol
            .iter()
            .position(|line| line.starts_with("LeaveReply"))
            .expect("carol leaves");
        let expected = [
            "GroupAck(9) alice fan 1",
            "LeaveReply(10) alice fan 1",
            "Unsubscribe",
            "Unsubscribe",
            "DiscoveryReply(12) alice fan 1",
            "JoinReply(13) alice fan 1",
            "Subscribe",
            "Subscribe",
            "GroupAck(15) alice fan 1",
            "MsgAck(16) alice fan 1",
            "GroupAck(17) alice fan 1",
            "Unsubscribe",
            "Unsubscribe",
        ];
        assert_eq!(carol[removal - 1..], expected, "{file}");
    }
}

#[test]
fn a_point_to_point_session_uses_no_channel() {
    let expected = [
        "Link",
        "Subscribe",
        "DiscoveryRequest(0) any bob fan 1",
        "JoinRequest(1) bob fan 1",
        "GroupWelcome(2) bob fan 1",
        "Msg(3) bob fan 1",
        "MsgAck(3) bob fan 1",
        // The close goes to the name without id, as the other implementation sends it.
        "GroupClose(4) any bob fan 256",
    ];
    assert_eq!(sent_by("p2p-3.3.8-mls", "alice"), expected);
}

#[test]
fn commits_are_numbered_from_one_without_gaps() {
    let mut commits = Vec::new();
    for (_, message) in publishes_to_node("group-3.3.8-mls") {
        let (mls, members) = match message.command() {
            Some(Command::GroupUpdate(update)) => (&update.mls, update.participants.len()),
            Some(Command::GroupWelcome { participants, mls }) => (mls, participants.len()),
            Some(_) | None => continue,
        };
        commits.push((mls.as_ref().expect("MLS is on").commit_id, members));
    }
    // Invite bob; invite carol (update and welcome); remove carol (roster still with her); carol again.
    assert_eq!(commits, [(1, 2), (2, 3), (2, 3), (3, 3), (4, 3), (4, 3)]);
}

/// What one application sends, in order: frame kind, then for a publish its number (a reply has the number of its
/// request), destination and fanout.
fn sent_by(file: &str, app: &str) -> Vec<String> {
    let moderator = publishes(file)
        .into_iter()
        .find(|(frame, _)| frame.app == "alice" && frame.to == "node")
        .map(|(_, message)| subject(&message))
        .expect("alice speaks");
    let (data, control) = channel_names(&"org/ns/chan".parse().unwrap(), &moderator);
    let mut numbers: Vec<u32> = Vec::new();
    let mut lines = Vec::new();
    for frame in frames(file).into_iter().filter(|frame| frame.to == "node") {
        let line = match Message::decode(frame.bytes.clone()).expect("decodes") {
            Some(message) => {
                let known = numbers.iter().position(|known| *known == message.message_id);
                let number = known.unwrap_or(numbers.len());
                if known.is_none() {
                    numbers.push(message.message_id);
                }
                let destination = match &message.destination {
                    name if *name == data => "DATA".to_owned(),
                    name if *name == control => "CONTROL".to_owned(),
                    name if name.id().is_concrete() => name.components()[2].to_owned(),
                    name => format!("any {}", name.components()[2]),
                };
                format!(
                    "{:?}({number}) {destination} fan {}",
                    message.kind, message.fanout
                )
            }
            None => match frame.decode().message_type.expect("a message type") {
                MessageType::Subscribe(_) => "Subscribe".to_owned(),
                MessageType::Unsubscribe(_) => "Unsubscribe".to_owned(),
                MessageType::Link(_) => "Link".to_owned(),
                other @ (MessageType::Publish(_) | MessageType::SubscriptionAck(_)) => {
                    panic!("applications do not send {other:?}")
                }
            },
        };
        if frame.app == app {
            lines.push(line);
        }
    }
    lines
}

/// One line of a recording.
#[derive(Debug)]
struct Recorded {
    app: String,
    to: String,
    bytes: Bytes,
}

impl Recorded {
    fn decode(&self) -> wire::Message {
        wire::Message::decode(self.bytes.clone()).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

fn frames(file: &str) -> Vec<Recorded> {
    let (_, text) = RECORDINGS
        .into_iter()
        .find(|(name, _)| *name == file)
        .expect("a recording of this name");
    text.lines()
        .map(|line| {
            let value: Value = serde_json::from_str(line).expect("a JSON object a line");
            let text = |key: &str| value[key].as_str().expect(key).to_owned();
            Recorded {
                app: text("app"),
                to: text("to"),
                bytes: unhex(&text("hex")),
            }
        })
        .collect()
}

fn all_frames() -> impl Iterator<Item = Recorded> {
    RECORDINGS.into_iter().flat_map(|(file, _)| frames(file))
}

/// The bytes of every recorded frame, for the tests of the other modules.
pub(crate) fn frame_bytes() -> impl Iterator<Item = Bytes> {
    all_frames().map(|frame| frame.bytes)
}

fn publishes(file: &str) -> Vec<(Recorded, Message)> {
    frames(file)
        .into_iter()
        .filter_map(|frame| {
            let message = Message::decode(frame.bytes.clone()).expect("decodes")?;
            Some((frame, message))
        })
        .collect()
}

fn publishes_to_node(file: &str) -> impl Iterator<Item = (Recorded, Message)> {
    publishes(file)
        .into_iter()
        .filter(|(frame, _)| frame.to == "node")
}

/// The subject of a shared-secret token: what stands before its first colon.
fn subject(message: &Message) -> String {
    message.identity.split(':').next().expect("a subject").to_owned()
}

fn unhex(text: &str) -> Bytes {
    assert_eq!(text.len() % 2, 0);
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// The top-level fields of a frame, sorted: map entries may come in any order, and nothing else repeats.
fn top_level_fields(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let start = bytes;
        let tag = prost::encoding::decode_varint(&mut bytes).expect("a tag");
        assert_eq!(tag & 7, 2, "every top-level field of a frame is length-delimited");
        let length = prost::encoding::decode_varint(&mut bytes).expect("a length");
        bytes = &bytes[usize::try_from(length).expect("fits")..];
        fields.push(start[..start.len() - bytes.len()].to_vec());
    }
    fields.sort();
    fields
}
