//! Whole applications in virtual time, one of which hears what nobody sent: any bytes, genuine frames changed or
//! repeated, and messages of every kind with parts of genuine ones. An encrypted session lives on as if nothing had
//! happened (Invariants 13, 15, 16, 18).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use slim_proto::control::SubscriptionAck;
use slim_proto::{Frame, Message, MessageKind};
use slim_session::{Event, Outcome, SessionId, Ticket};

use crate::network::{Net, pair_config};
use crate::script::{Script, edited};

/// The applications of the run: the first opens the session, the second is in it, the third is not.
const APPS: [&str; 3] = ["alice", "bob", "carol"];
/// Longer than any wait of a publish for its acknowledgements.
const PATIENCE: Duration = Duration::from_secs(100);

/// Plays a script against two members of a session.
pub fn endpoint(data: &[u8]) {
    let mut script = Script::new(data);
    let mut net = Net::with(&APPS);
    let kind = script.byte();
    let (is_pair, mls) = (kind & 1 != 0, kind & 2 == 0);
    let session = if is_pair {
        net.open("alice", pair_config("bob", mls))
    } else {
        net.group("alice", mls, &["bob"])
    };
    let mut tickets: Vec<(&str, Ticket)> = Vec::new();
    // The rest of a long input would only make each run slower.
    for _ in 0..24 {
        let Some(step) = script.step(8) else { break };
        let to = APPS[script.index(2)];
        match step {
            0 => {
                let bytes = script.chunk();
                hear(&mut net, to, bytes);
            }
            1 => {
                // A frame that was sent, changed.
                let genuine = script.choose(&net.frames).cloned().unwrap_or_default();
                let changed = edited(&genuine, &mut script);
                hear(&mut net, to, &changed);
            }
            2 => {
                let genuine = script.choose(&net.frames).cloned().unwrap_or_default();
                hear(&mut net, to, &genuine);
            }
            3..=5 => {
                let message = forged(&net, to, session, &mut script);
                net.inject(to, &message);
            }
            6 => net.advance(Duration::from_millis(50 * u64::from(script.byte()))),
            _ => {
                let command = Net::publish_command(session, "text");
                if let Ok(ticket) = net.command(to, command) {
                    tickets.push((to, ticket));
                }
            }
        }
    }
    net.advance(PATIENCE);
    for (app, ticket) in tickets {
        assert!(net.result(app, ticket).is_some(), "{app}: {ticket:?} never ends");
    }
    for app in APPS {
        bounded(&net, app);
    }
    if mls {
        // Nothing that is not signed or sealed by a member ends an encrypted session.
        net.assert_agreement(session, &["alice", "bob"]);
        for app in ["alice", "bob"] {
            let outcome = net.publish(app, session, "alive");
            assert!(matches!(outcome, Ok(Outcome::Published(_))), "{outcome:?}");
        }
        for (from, to) in [("alice", "bob"), ("bob", "alice")] {
            assert!(
                net.texts(to, session).contains(&"alive".to_owned()),
                "{from} is not heard by {to}"
            );
        }
    }
}

/// The session of a stranger's making does not grow, and nobody hears what was not sent.
fn bounded(net: &Net, app: &str) {
    let sessions = net.app(app).endpoint.session_ids();
    assert!(sessions.len() <= 1, "{app} is in {sessions:?}");
    for event in &net.app(app).events {
        if let Event::Received { message, .. } = event {
            assert!(message.metadata.keys().all(|key| !key.starts_with("slim-peer")));
        }
    }
}

fn hear(net: &mut Net, to: &str, bytes: &[u8]) {
    if let Ok(frame) = Frame::new(Bytes::copy_from_slice(bytes)) {
        // Answers of the node are believed: the link to it is authenticated.
        if SubscriptionAck::decode(&frame).is_ok_and(|ack| ack.is_none()) {
            net.inject_frame(to, frame);
        }
    }
}

/// A message of any kind that says it comes from the other member, with the newest identity seen of it.
fn forged(net: &Net, to: &str, session: SessionId, script: &mut Script<'_>) -> Message {
    let other = if to == "alice" { "bob" } else { "alice" };
    let seen = |wanted: &str| {
        let of_sender = net.trace.iter().rev().filter(|(sender, _)| sender == wanted);
        of_sender.map(|(_, message)| message).next().cloned()
    };
    let template = script
        .choose(&net.trace)
        .map(|(_, message)| message.clone())
        .or_else(|| seen(other));
    let mut message = template.expect("a session was made with messages");
    if let Some(seen) = seen(other) {
        message.source = seen.source;
        message.identity = seen.identity;
    }
    message.destination = net.name(to);
    message.session_id = session.0;
    let wish = script.byte();
    if wish & 1 != 0 {
        message.message_id = script.u32();
    }
    if wish & 2 != 0 && !message.kind.is_command() {
        let kinds = [
            MessageKind::Msg,
            MessageKind::MsgAck,
            MessageKind::RtxRequest,
            MessageKind::RtxReply,
        ];
        message.kind = kinds[script.index(kinds.len())];
    }
    if wish & 4 != 0 {
        message.error = Some(wish & 0x80 != 0);
    }
    if wish & 8 != 0 {
        message.header_signature = Some(Bytes::copy_from_slice(script.chunk()));
    }
    if wish & 16 != 0 {
        let key = script.choose(&slim_proto::message::metadata::RESERVED);
        let key = key.map_or_else(|| script.text(), |key| (*key).to_owned());
        message.metadata = BTreeMap::from([(key, script.text())]);
    }
    if wish & 32 != 0 {
        message.session_id = script.u32();
    }
    if wish & 64 != 0 {
        message.identity = script.text();
    }
    message
}
