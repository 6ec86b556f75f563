//! An application with an identity of its own that wants what is not its own: others' names, others' voices, and
//! sessions with everybody. The node has rules; nothing the intruder sends may get through, and nothing of others
//! may come to it.

use slim_crypto::Rng;
use slim_policy::{AuthMethod, LinkIdentity, Permissions, RuleSource, Rules};
use slim_proto::control::{SubscriptionAck, SubscriptionAction, SubscriptionRequest};
use slim_proto::{Command, Content, Frame, FrameKind, FullName, Message, MessageKind, SessionKind};
use slim_router::LinkId;

/// As long as the names of applications here, so that it can stand in their place in a frame.
pub(crate) const LABEL: &str = "zz";

/// The intruder, while the node it is linked to runs.
pub(crate) struct Intruder {
    /// Its link, and the node's process that this belongs to.
    pub(crate) link: Option<(u64, LinkId)>,
    own: FullName,
    rng: Rng,
}

/// The rules of a node: everybody is itself and in all groups; those who open sessions may invite.
pub(crate) fn rules(moderators: &[String], groups: &[String]) -> Rules {
    let groups: Vec<String> = groups.iter().map(|group| format!("org/sim/{group}")).collect();
    let all = |rest: Vec<String>| rest.into_iter().chain(groups.clone()).collect();
    let members = RuleSource {
        cel: Some(format!("sub != '{LABEL}'")),
        subscribe: all(vec!["org/sim/{subject}".into()]),
        publish: groups.clone(),
        invite: Some(Vec::new()),
        ..RuleSource::default()
    };
    let moderator = RuleSource {
        subjects: moderators.to_vec(),
        invite: Some(vec!["org/sim/*".into()]),
        ..RuleSource::default()
    };
    let intruder = RuleSource {
        subjects: vec![LABEL.into()],
        subscribe: vec!["org/sim/{subject}".into()],
        ..RuleSource::default()
    };
    Rules::compile(false, &[members, moderator, intruder]).expect("the simulator's patterns are well-formed")
}

/// What the rules allow the application with this label.
pub(crate) fn permissions(rules: &Rules, label: &str) -> Permissions {
    rules.permissions(&LinkIdentity {
        subject: Some(label.to_owned()),
        method: AuthMethod::Basic,
        ..LinkIdentity::default()
    })
}

impl Intruder {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            link: None,
            own: FullName::new("org", "sim", LABEL).expect("a short word"),
            rng,
        }
    }

    /// One attempt on somebody's name: an application or a channel, with the id it really has.
    pub(crate) fn attempt(&mut self, victims: &[FullName]) -> Frame {
        let victim = self.pick(victims).clone();
        let target = match self.rng.below(3) {
            0 => victim.without_id(),
            _ => victim,
        };
        let frame = match self.rng.below(4) {
            0 => self.request(SubscriptionAction::Subscribe, &target),
            1 => self.request(SubscriptionAction::Unsubscribe, &target),
            _ => self.message(&target, victims),
        };
        // Sometimes the text says what is allowed, and the hashes say what is wanted.
        match self.rng.below(3) {
            0 => respell(&frame, target.components()[2]),
            _ => frame,
        }
    }

    /// Whether what a node answered to an attempt is what rules allow: refusals, and nothing else.
    pub(crate) fn judge(&self, attempt: &Frame, answers: &[(LinkId, Frame)]) -> Result<(), String> {
        let own = self.link.map(|(_, link)| link);
        for (link, frame) in answers {
            let ack = SubscriptionAck::decode(frame).ok().flatten();
            let refused = ack.as_ref().is_some_and(|ack| ack.outcome.is_err());
            let expected = match attempt.kind() {
                Ok(FrameKind::Subscribe) => refused,
                // There is nothing to take back, which is a success.
                Ok(FrameKind::Unsubscribe) => ack.is_some(),
                Ok(FrameKind::Publish | FrameKind::Link | FrameKind::SubscriptionAck) | Err(_) => false,
            };
            if Some(*link) != own || !expected {
                return Err(format!("an intruder got through with a {:?}", attempt.kind()));
            }
        }
        Ok(())
    }

    fn request(&mut self, action: SubscriptionAction, target: &FullName) -> Frame {
        SubscriptionRequest {
            action,
            source: self.own.clone(),
            destination: target.clone(),
            identity: String::new(),
            subscription_id: self.rng.below(4),
        }
        .encode()
    }

    /// A message of any kind, in its own name or another's.
    fn message(&mut self, target: &FullName, victims: &[FullName]) -> Frame {
        let source = match self.rng.below(2) {
            0 => self.own.clone(),
            _ => self.pick(victims).clone(),
        };
        let kind = *self.pick(&MessageKind::ALL);
        let content = if kind == MessageKind::DiscoveryRequest {
            Content::Command(Command::DiscoveryRequest)
        } else {
            Content::Application {
                payload_type: "msg".to_owned(),
                blob: "let me in".into(),
            }
        };
        let session_id = u32::try_from(1 + self.rng.below(3)).unwrap_or(1);
        let mut message = Message::new(source, target.clone(), SessionKind::Group, session_id, 1, content);
        message.kind = kind;
        message.fanout = [1, 256][usize::from(self.rng.below(2) == 0)];
        Frame::new(message.encode()).expect("a short message")
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let index = usize::try_from(self.rng.below(from.len() as u64)).unwrap_or(0);
        &from[index]
    }
}

/// The frame with the intruder's label in every place of this text; hashes stay.
fn respell(frame: &Frame, text: &str) -> Frame {
    let mut bytes = frame.bytes().to_vec();
    if text.len() == LABEL.len() {
        for start in 0..bytes.len().saturating_sub(text.len() - 1) {
            if bytes[start..].starts_with(text.as_bytes()) {
                bytes[start..start + LABEL.len()].copy_from_slice(LABEL.as_bytes());
            }
        }
    }
    Frame::new(bytes).expect("as long as before")
}
