//! A network of endpoints in virtual time around the smallest node that can route for them. The simulator has
//! real routers and faults by seed; here a test says exactly which message is lost, held or forged.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by several test crates"
)]
#![allow(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    clippy::wildcard_enum_match_arm
)]

pub mod forgery;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use slim_auth::{Identity, Verifier};
use slim_crypto::Rng;
use slim_proto::control::{SubscriptionAck, SubscriptionAction, SubscriptionRequest};
use slim_proto::frame::Frame;
use slim_proto::{FullName, Instant, Message, MessageKind, NameId, Now, SessionKind, UnixTime};
use slim_session::{
    Command, CommandError, Direction, Endpoint, EndpointConfig, Event, OperationError, Outcome, Received,
    Reliability, SessionConfig, SessionId, SessionSnapshot, Ticket,
};

pub const SECRET: &str = "a-secret-of-more-than-thirty-two-bytes";
const START: u64 = 1_800_000_000;

/// What a test decides about a message on its way to the node.
pub enum Verdict {
    Pass,
    Drop,
}

type Filter = Box<dyn FnMut(&str, &Message) -> Verdict>;

pub struct App {
    pub endpoint: Endpoint,
    pub identity: Identity,
    pub events: Vec<Event>,
    pub frozen: bool,
    inbox: VecDeque<Frame>,
}

pub struct Net {
    pub now: Now,
    pub apps: BTreeMap<String, App>,
    /// Every message that reached the node, in order: sender and message.
    pub trace: Vec<(String, Message)>,
    pub frames: Vec<Bytes>,
    subscriptions: BTreeSet<(FullName, String, u64)>,
    filter: Option<Filter>,
    round_robin: usize,
    rng: Rng,
}

impl Net {
    pub fn new() -> Self {
        Self {
            now: Now {
                mono: Instant::ZERO,
                unix: UnixTime(START),
            },
            apps: BTreeMap::new(),
            trace: Vec::new(),
            frames: Vec::new(),
            subscriptions: BTreeSet::new(),
            filter: None,
            round_robin: 0,
            rng: Rng::from_seed([7; 32]),
        }
    }

    /// Applications `org/ns/<name>` that are connected and reachable.
    pub fn with(names: &[&str]) -> Self {
        let mut net = Self::new();
        for name in names {
            net.add(name, name, SECRET);
        }
        net
    }

    /// An application with a key of its own in this table and the name `org/ns/<name>`.
    pub fn add(&mut self, key: &str, name: &str, secret: &str) {
        let path = format!("org/ns/{name}");
        let identity = Identity::shared_secret(&path, secret, &mut self.rng).unwrap();
        let verifier = identity.verifier();
        self.add_identity(key, name, identity, verifier);
    }

    /// An application with an identity of any kind.
    pub fn add_identity(&mut self, key: &str, name: &str, identity: Identity, verifier: Verifier) {
        let path = format!("org/ns/{name}");
        let config = EndpointConfig {
            name: path.parse().unwrap(),
            direction: Direction::Bidirectional,
        };
        let endpoint = Endpoint::new(config, identity.clone(), verifier, self.rng.derive());
        let app = App {
            endpoint,
            identity,
            events: Vec::new(),
            frozen: false,
            inbox: VecDeque::new(),
        };
        self.apps.insert(key.to_owned(), app);
        let own = path.parse().unwrap();
        self.wait(key, Command::Subscribe { name: own }).unwrap();
    }

    pub fn app(&self, key: &str) -> &App {
        &self.apps[key]
    }

    pub fn name(&self, key: &str) -> FullName {
        self.apps[key].endpoint.name().clone()
    }

    /// Decides about every later message to the node.
    pub fn filter(&mut self, filter: impl FnMut(&str, &Message) -> Verdict + 'static) {
        self.filter = Some(Box::new(filter));
    }

    /// Loses the first `count` messages of a kind from an application.
    pub fn lose(&mut self, from: &str, kind: MessageKind, mut count: usize) {
        let from = from.to_owned();
        self.filter(move |sender, message| {
            if sender == from && message.kind == kind && count > 0 {
                count -= 1;
                return Verdict::Drop;
            }
            Verdict::Pass
        });
    }

    pub fn lose_nothing(&mut self) {
        self.filter = None;
    }

    /// Gives a message to an application as if the node had sent it.
    pub fn inject(&mut self, to: &str, message: &Message) {
        self.inject_frame(to, Frame::new(message.encode()).unwrap());
    }

    /// The same with a frame that need not hold a message.
    pub fn inject_frame(&mut self, to: &str, frame: Frame) {
        self.apps.get_mut(to).unwrap().inbox.push_back(frame);
        self.settle();
    }

    /// Keys were fetched or replaced.
    pub fn use_verifier(&mut self, key: &str, verifier: &Verifier) {
        let now = self.now;
        let app = self.apps.get_mut(key).unwrap();
        app.endpoint.use_verifier(now, verifier.clone());
        self.settle();
    }

    // ----- commands -----

    pub fn command(&mut self, key: &str, command: Command) -> Result<Ticket, CommandError> {
        let now = self.now;
        let result = self
            .apps
            .get_mut(key)
            .unwrap()
            .endpoint
            .handle_command(now, command);
        self.settle();
        result
    }

    /// A command and its result, at most ten virtual minutes later.
    pub fn wait(&mut self, key: &str, command: Command) -> Result<Outcome, OperationError> {
        let ticket = self.command(key, command).unwrap();
        self.completed(key, ticket)
    }

    pub fn completed(&mut self, key: &str, ticket: Ticket) -> Result<Outcome, OperationError> {
        let deadline = self.now.mono + Duration::from_secs(600);
        loop {
            if let Some(result) = self.result(key, ticket) {
                return result;
            }
            assert!(self.step_until(deadline), "{key}: {ticket:?} never completed");
        }
    }

    pub fn result(&self, key: &str, ticket: Ticket) -> Option<Result<Outcome, OperationError>> {
        self.apps[key].events.iter().find_map(|event| match event {
            Event::Completed { ticket: of, result } if *of == ticket => Some(result.clone()),
            _ => None,
        })
    }

    pub fn open(&mut self, key: &str, config: SessionConfig) -> SessionId {
        match self.wait(key, Command::Open { config, id: None }).unwrap() {
            Outcome::Opened(info) => info.id,
            other => panic!("{other:?}"),
        }
    }

    pub fn group(&mut self, moderator: &str, mls: bool, members: &[&str]) -> SessionId {
        let session = self.open(moderator, group_config(mls));
        for member in members {
            self.invite(moderator, session, member).unwrap();
        }
        session
    }

    pub fn invite(&mut self, key: &str, session: SessionId, name: &str) -> Result<Outcome, OperationError> {
        let name = format!("org/ns/{name}").parse().unwrap();
        self.wait(key, Command::Invite { session, name })
    }

    pub fn remove(&mut self, key: &str, session: SessionId, name: &str) -> Result<Outcome, OperationError> {
        let name = format!("org/ns/{name}").parse().unwrap();
        self.wait(key, Command::Remove { session, name })
    }

    pub fn publish_command(session: SessionId, text: &str) -> Command {
        Command::Publish {
            session,
            payload: Bytes::copy_from_slice(text.as_bytes()),
            payload_type: None,
            metadata: BTreeMap::new(),
            to: None,
        }
    }

    pub fn publish(&mut self, key: &str, session: SessionId, text: &str) -> Result<Outcome, OperationError> {
        self.wait(key, Self::publish_command(session, text))
    }

    // ----- observations -----

    pub fn texts(&self, key: &str, session: SessionId) -> Vec<String> {
        self.received(key, session)
            .into_iter()
            .map(|message| String::from_utf8(message.payload.to_vec()).unwrap())
            .collect()
    }

    pub fn received(&self, key: &str, session: SessionId) -> Vec<Received> {
        self.apps[key]
            .events
            .iter()
            .filter_map(|event| match event {
                Event::Received { session: of, message } if *of == session => Some(message.clone()),
                _ => None,
            })
            .collect()
    }

    pub fn snapshot(&self, key: &str, session: SessionId) -> SessionSnapshot {
        self.apps[key].endpoint.snapshot(session).unwrap()
    }

    /// Everybody has the same epoch, authenticator and roster.
    pub fn assert_agreement(&self, session: SessionId, keys: &[&str]) {
        let first = self.snapshot(keys[0], session);
        for key in keys {
            let other = self.snapshot(key, session);
            assert_eq!(other.epoch, first.epoch, "epoch of {key}");
            assert_eq!(
                other.epoch_authenticator, first.epoch_authenticator,
                "authenticator of {key}"
            );
            assert_eq!(other.mls_members, first.mls_members, "tree of {key}");
            let names = |snapshot: &SessionSnapshot| {
                snapshot
                    .members
                    .iter()
                    .map(|member| member.name.clone())
                    .collect::<Vec<_>>()
            };
            assert_eq!(names(&other), names(&first), "roster of {key}");
            assert_eq!(names(&other).len(), keys.len(), "roster size of {key}");
        }
    }

    pub fn kinds(&self) -> Vec<(String, MessageKind)> {
        self.trace
            .iter()
            .map(|(sender, message)| (sender.clone(), message.kind))
            .collect()
    }

    pub fn count(&self, from: &str, kind: MessageKind) -> usize {
        self.trace
            .iter()
            .filter(|(sender, message)| sender == from && message.kind == kind)
            .count()
    }

    /// Subscription records of an application at the node.
    pub fn subscriptions_of(&self, key: &str) -> usize {
        self.subscriptions.iter().filter(|(_, app, _)| app == key).count()
    }

    // ----- time -----

    /// Lets time pass.
    pub fn advance(&mut self, by: Duration) {
        let end = self.now.mono + by;
        while self.step_until(end) {}
        self.set_time(end);
    }

    /// The next timer at or before `end`; false if there is none.
    fn step_until(&mut self, end: Instant) -> bool {
        let next = self
            .apps
            .values()
            .filter(|app| !app.frozen)
            .filter_map(|app| app.endpoint.poll_timeout())
            .map(|(at, _)| at)
            .min();
        let Some(at) = next.filter(|at| *at <= end) else {
            return false;
        };
        self.set_time(at.max(self.now.mono));
        let now = self.now;
        for app in self.apps.values_mut().filter(|app| !app.frozen) {
            if app
                .endpoint
                .poll_timeout()
                .is_some_and(|(due, _)| due <= now.mono)
            {
                app.endpoint.handle_timeout(now);
                Self::drain_events(app);
            }
        }
        self.settle();
        true
    }

    fn set_time(&mut self, mono: Instant) {
        self.now = Now {
            mono,
            unix: UnixTime(START + mono.since_start().as_secs()),
        };
    }

    /// Delivers until nothing moves.
    pub fn settle(&mut self) {
        loop {
            let mut moved = false;
            for key in self.apps.keys().cloned().collect::<Vec<_>>() {
                while let Some(frame) = self.apps.get_mut(&key).unwrap().endpoint.poll_transmit() {
                    moved = true;
                    self.route(&key, &frame);
                }
                let now = self.now;
                let app = self.apps.get_mut(&key).unwrap();
                Self::drain_events(app);
                if app.frozen {
                    continue;
                }
                if let Some(frame) = app.inbox.pop_front() {
                    moved = true;
                    app.endpoint.handle_frame(now, frame);
                    Self::drain_events(app);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// The application reads at once.
    fn drain_events(app: &mut App) {
        while let Some(event) = app.endpoint.poll_event() {
            if let Event::Received { session, message } = &event {
                app.endpoint.consumed(*session, 1, message.payload.len());
            }
            app.events.push(event);
        }
    }

    // ----- the node -----

    fn route(&mut self, from: &str, frame: &Frame) {
        if let Some(request) = SubscriptionRequest::decode(frame).unwrap() {
            let entry = (request.destination, from.to_owned(), request.subscription_id);
            match request.action {
                SubscriptionAction::Subscribe => self.subscriptions.insert(entry),
                SubscriptionAction::Unsubscribe => self.subscriptions.remove(&entry),
            };
            let ack = SubscriptionAck {
                subscription_id: request.subscription_id,
                outcome: Ok(()),
            };
            self.apps.get_mut(from).unwrap().inbox.push_back(ack.encode());
            return;
        }
        let message = Message::decode(frame.bytes().clone()).unwrap().unwrap();
        if let Some(filter) = &mut self.filter
            && matches!(filter(from, &message), Verdict::Drop)
        {
            return;
        }
        self.frames.push(frame.bytes().clone());
        self.trace.push((from.to_owned(), message.clone()));
        let mut targets: Vec<String> = self
            .subscriptions
            .iter()
            .filter(|(name, app, _)| {
                app != from
                    && name.same_components(&message.destination)
                    && (message.destination.id() == NameId::ANY || name.id() == message.destination.id())
            })
            .map(|(_, app, _)| app.clone())
            .collect();
        targets.dedup();
        if message.fanout == 1 && targets.len() > 1 {
            self.round_robin += 1;
            targets = vec![targets[self.round_robin % targets.len()].clone()];
        }
        for target in targets {
            self.apps.get_mut(&target).unwrap().inbox.push_back(frame.clone());
        }
    }
}

pub fn reliability() -> Reliability {
    Reliability {
        interval: Duration::from_secs(1),
        max_retries: 3,
    }
}

pub fn group_config(mls: bool) -> SessionConfig {
    SessionConfig {
        kind: SessionKind::Group,
        destination: "org/ns/channel".parse().unwrap(),
        reliability: Some(reliability()),
        mls,
        direction: Direction::Bidirectional,
        metadata: BTreeMap::new(),
    }
}

pub fn pair_config(peer: &str, mls: bool) -> SessionConfig {
    SessionConfig {
        kind: SessionKind::PointToPoint,
        destination: format!("org/ns/{peer}").parse().unwrap(),
        ..group_config(mls)
    }
}
