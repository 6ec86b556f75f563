//! The whole network in one value: a virtual clock, a heap of what happens next, and the parts it happens to.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use slim_crypto::Rng;
use slim_policy::Rules;
use slim_proto::control::SubscriptionRequest;
use slim_proto::{Egress, Frame, FrameKind, FullName, Instant, Message, Now, UnixTime};
use slim_router::egress::EgressBudget;
use slim_router::{Direction, LinkClass, LinkId, LinkInfo, MacKey};
use slim_session::{Command, CommandError, SessionId, Ticket};

use crate::adversary::Adversary;
use crate::app::App;
use crate::check::{Check, Intent};
use crate::faults::Fault;
use crate::intruder::{self, Intruder};
use crate::net::{Handed, Link, Speed, Way};
use crate::node::{Node, Sends};
use crate::trace::Trace;

/// The shared secret of every application; it must never be seen on a link (I7).
pub(crate) const SECRET: &str = "sim-secret-that-no-node-may-ever-see";
/// An application connects again after this: what upstream waits, and within what ours does.
pub(crate) const RECONNECT_AFTER: Duration = Duration::from_secs(2);
/// Mean time between two attempts of an intruder.
const INTRUSION_PACE: Duration = Duration::from_millis(500);
/// HTTP/2 pings end a silent connection after this.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Wall clock at the start of virtual time.
const EPOCH: u64 = 1_800_000_000;
/// More happenings than this in one instant mean that time does not advance any more.
const SAME_INSTANT_MAX: u32 = 200_000;

/// What the heap holds.
#[derive(Debug)]
pub(crate) enum Happening {
    /// Frames may have arrived.
    Arrive { app: usize, way: Way },
    /// An application's timer.
    WakeApp(usize),
    /// The node's timer.
    WakeNode,
    /// An intruder tries something.
    Intrude,
    /// An application dials.
    Connect(usize),
    /// A silent connection is given up, if it is still the same and still silent.
    SilenceEnds { app: usize, generation: u64 },
    /// A full queue is looked at again.
    StallCheck { app: usize, way: Way, generation: u64 },
    /// The node notices that a connection is dead.
    GhostGone { link: LinkId, node_run: u64 },
    /// Something goes wrong, or right again.
    Fault(Fault),
}

struct Planned {
    at: Instant,
    order: u64,
    what: Happening,
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Planned {}
impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Planned {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// One network.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) apps: Vec<App>,
    /// The way of each application to the node.
    pub(crate) links: Vec<Link>,
    pub(crate) node: Node,
    /// Counts the node's processes: link ids of an earlier one mean nothing.
    pub(crate) node_run: u64,
    pub(crate) trace: Trace,
    pub(crate) check: Check,
    pub(crate) rng: Rng,
    /// New applications connect through a node that does what a scenario orders.
    pub(crate) behind_hostile_nodes: bool,
    /// What links may do at the node; everything if there are none.
    rules: Option<Rules>,
    intruder: Option<Intruder>,
    heap: BinaryHeap<Reverse<Planned>>,
    planned: u64,
    budget: EgressBudget,
}

impl World {
    pub(crate) fn new(mut rng: Rng, budget: EgressBudget, trace: Trace) -> Self {
        Self {
            now: Instant::ZERO,
            apps: Vec::new(),
            links: Vec::new(),
            node: Node::new(rng.derive()),
            node_run: 0,
            trace,
            check: Check::default(),
            rng,
            behind_hostile_nodes: false,
            rules: None,
            intruder: None,
            heap: BinaryHeap::new(),
            planned: 0,
            budget,
        }
    }

    /// Starts an application: it connects and subscribes its own name at once.
    pub(crate) fn start_app(&mut self, label: &str, speed: Speed) -> usize {
        let name = FullName::new("org", "sim", label).expect("labels are short words");
        let now = self.clock();
        let app = App::new(&name, SECRET, now, &mut self.rng);
        self.trace.name(app.name.id(), label);
        self.check.app_started(app.name.id(), label, &app.subject);
        let index = self.apps.len();
        self.apps.push(app);
        let mut link = Link::new(speed, self.budget);
        link.adversary = self.behind_hostile_nodes.then(Adversary::default);
        self.links.push(link);
        self.connect(index);
        let subscribed = self.issue(index, Intent::subscribe(), Command::Subscribe { name });
        debug_assert!(subscribed.is_ok(), "a name of one's own can always be subscribed");
        index
    }

    /// New links may do what these rules say.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.rules = Some(rules);
    }

    /// From now on an intruder tries to do more than the rules say.
    pub(crate) fn intrude_with(&mut self, rng: Rng) {
        self.intruder = Some(Intruder::new(rng));
        self.plan(self.now + INTRUSION_PACE, Happening::Intrude);
    }

    /// The intruder goes, and what it was allowed to subscribe goes with it.
    pub(crate) fn dismiss_intruder(&mut self) {
        if let Some(Intruder {
            link: Some((run, link)),
            ..
        }) = self.intruder.take()
            && run == self.node_run
        {
            let now = self.clock();
            let sends = self.node.link_down(now, link);
            self.route(sends);
        }
    }

    pub(crate) fn clock(&self) -> Now {
        Now {
            mono: self.now,
            unix: UnixTime(EPOCH + self.now.since_start().as_secs()),
        }
    }

    pub(crate) fn plan(&mut self, at: Instant, what: Happening) {
        self.planned += 1;
        let order = self.planned;
        self.heap.push(Reverse(Planned {
            at: at.max(self.now),
            order,
            what,
        }));
    }

    /// Lets everything happen up to a time, or to the first violation.
    pub(crate) fn run_until(&mut self, end: Instant) {
        let mut in_this_instant = 0;
        while self.check.violation().is_none()
            && let Some(Reverse(next)) = self.heap.peek()
            && next.at <= end
        {
            let Some(Reverse(next)) = self.heap.pop() else {
                break;
            };
            in_this_instant = if next.at > self.now {
                0
            } else {
                in_this_instant + 1
            };
            if in_this_instant > SAME_INSTANT_MAX {
                self.check.fail(format!("time stands still at {:?}", next.what));
            }
            self.now = next.at;
            self.check.time(self.now);
            self.happen(next.at, next.what);
        }
        self.now = end.max(self.now);
        self.check.time(self.now);
    }

    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(self.now + time);
    }

    // ----- what applications do -----

    /// Gives a command to an application and watches its ticket.
    pub(crate) fn issue(
        &mut self,
        app: usize,
        intent: Intent,
        command: Command,
    ) -> Result<Ticket, CommandError> {
        let now = self.clock();
        let text = format!("{}: {}", self.apps[app].label, intent.text);
        let result = self.apps[app].command(now, command);
        match &result {
            Ok(ticket) => {
                self.trace.note(self.now, "command", text);
                self.check.issued(self.now, app, *ticket, intent);
            }
            Err(error) => {
                self.trace
                    .note(self.now, "refused", format!("{text} refused: {error}"));
            }
        }
        self.after_app(app);
        result
    }

    /// Publishes a numbered message, to the session or to one member of it.
    pub(crate) fn publish(
        &mut self,
        app: usize,
        session: SessionId,
        to: Option<usize>,
    ) -> Result<Ticket, CommandError> {
        let snapshot = self.apps[app].snapshot(session);
        let number = self.check.next_number();
        let payload = self.check.payload(session, number);
        let to_name = to.map(|to| self.apps[to].name.clone());
        let intent = Intent::publish(session, number, to.map(|to| self.apps[to].label.as_str()));
        if let Some(snapshot) = &snapshot {
            self.check.publishing(number, session, app, to, snapshot);
        }
        let command = Command::Publish {
            session,
            payload,
            payload_type: None,
            metadata: std::collections::BTreeMap::new(),
            to: to_name,
        };
        let data_sent = self.check.data_sent;
        let result = self.issue(app, intent, command);
        if result.is_err() {
            self.check.not_published(number);
        } else if self.check.data_sent == data_sent && snapshot.is_some_and(|old| old.info.is_initiator) {
            self.check.held_back(number);
        }
        result
    }

    // ----- happenings -----

    fn happen(&mut self, at: Instant, what: Happening) {
        match what {
            Happening::Arrive { app, way } => self.arrive(app, way),
            Happening::WakeApp(app) => self.wake_app(at, app),
            Happening::WakeNode => {
                self.node.wake = None;
                let now = self.clock();
                let sends = self.node.timeout(now);
                self.route(sends);
            }
            Happening::Intrude => self.intrude(),
            Happening::Connect(app) => self.connect(app),
            Happening::SilenceEnds { app, generation } => self.end_silence(app, generation),
            Happening::StallCheck { app, way, generation } => {
                let link = &self.links[app];
                if link.generation == generation && link.is_stalled(self.now, way) {
                    self.trace.note(
                        self.now,
                        "stalled",
                        format!("{}: link stalled and cut", self.apps[app].label),
                    );
                    self.cut(app, Duration::ZERO);
                }
            }
            Happening::GhostGone { link, node_run } => {
                if node_run == self.node_run && self.node.is_up {
                    let now = self.clock();
                    let sends = self.node.link_down(now, link);
                    self.route(sends);
                }
            }
            Happening::Fault(fault) => self.inflict(fault),
        }
    }

    fn arrive(&mut self, app: usize, way: Way) {
        loop {
            let ready = match way {
                Way::Up => self.node.is_up,
                Way::Down => self.apps[app].is_running(),
            };
            if !ready || self.check.violation().is_some() {
                return;
            }
            let Some(frame) = self.links[app].arrived(self.now, way) else {
                break;
            };
            let now = self.clock();
            match (way, self.links[app].app_end, self.links[app].node_end) {
                (Way::Up, _, Some(link)) => match self.node.frame(now, link, &frame) {
                    Ok(sends) => self.route(sends),
                    Err(violation) => self.check.fail(violation),
                },
                (Way::Down, Some(link), _) => {
                    self.apps[app].frame(now, link, &frame);
                    self.after_app(app);
                }
                (Way::Up, _, None) | (Way::Down, None, _) => {}
            }
        }
        self.launch(app, way);
        // What cannot be read yet is looked at when its time comes.
        if let Some(at) = self.links[app].next_arrival(way)
            && at > self.now
        {
            self.plan(at, Happening::Arrive { app, way });
        }
    }

    fn wake_app(&mut self, at: Instant, app: usize) {
        if self.apps[app].wake == Some(at) {
            self.apps[app].wake = None;
        }
        if self.apps[app].is_running() && self.apps[app].next_timeout().is_some_and(|due| due <= self.now) {
            let now = self.clock();
            self.apps[app].timeout(now);
            self.after_app(app);
        } else {
            self.plan_wake(app);
        }
    }

    fn end_silence(&mut self, app: usize, generation: u64) {
        let silent = self.apps[app].is_frozen || !self.links[app].is_reachable();
        if self.links[app].generation == generation && self.links[app].is_whole() && silent {
            self.trace.note(
                self.now,
                "silence",
                format!(
                    "{}: link given up after {} s of silence",
                    self.apps[app].label,
                    SILENCE_MAX.as_secs()
                ),
            );
            self.cut(app, Duration::ZERO);
        }
    }

    fn intrude(&mut self) {
        let Some(mut intruder) = self.intruder.take() else {
            return;
        };
        self.plan(self.now + INTRUSION_PACE, Happening::Intrude);
        if self.node.is_up && self.apps.len() > 1 {
            self.attempt(&mut intruder);
        }
        self.intruder = Some(intruder);
    }

    fn attempt(&mut self, intruder: &mut Intruder) {
        let now = self.clock();
        let link = match intruder.link {
            Some((run, link)) if run == self.node_run => link,
            Some(_) | None => {
                let permissions = self
                    .rules
                    .as_ref()
                    .map(|rules| intruder::permissions(rules, intruder::LABEL));
                let info = LinkInfo {
                    class: LinkClass::Edge,
                    direction: Direction::Accepted,
                    link_id: "intruder".to_owned(),
                    mac_key: None,
                    strict: false,
                };
                let (link, sends) = self.node.link_up(now, info, permissions);
                self.route(sends);
                intruder.link = Some((self.node_run, link));
                link
            }
        };
        let attempt = intruder.attempt(&self.victims());
        let sends = match self.node.frame(now, link, &attempt) {
            Ok(sends) => sends,
            Err(violation) => return self.check.fail(violation),
        };
        let answers: Vec<(LinkId, Frame)> = sends
            .into_iter()
            .filter_map(|(link, egress)| Some((link, egress.into_frame().ok()?)))
            .collect();
        match intruder.judge(&attempt, &answers) {
            Ok(()) => self.check.saw("intrusion refused"),
            Err(violation) => self.check.fail(violation),
        }
    }

    /// Every name that is worth having: applications, and the channels of their groups.
    fn victims(&self) -> Vec<FullName> {
        let apps = self.apps.iter().map(|app| app.name.clone());
        let channels = self.check.sessions().flat_map(|(_, facts)| {
            let channel = FullName::new("org", "sim", &facts.label).expect("labels are short words");
            let (data, control) =
                slim_proto::name::channel_names(&channel, &self.apps[facts.moderator].subject);
            [data, control]
        });
        apps.chain(channels).collect()
    }

    // ----- links -----

    /// Dials, or tries again later.
    pub(crate) fn connect(&mut self, app: usize) {
        if !self.apps[app].is_running() || self.links[app].app_end.is_some() {
            return;
        }
        if !self.node.is_up || !self.links[app].is_reachable() {
            self.plan(self.now + RECONNECT_AFTER, Happening::Connect(app));
            return;
        }
        // A hostile node holds the keys of its links, so their MACs protect nothing.
        let mut key = [0; 32];
        self.rng.fill(&mut key);
        let keyed = self.links[app].adversary.is_none();
        let info = |direction| LinkInfo {
            class: LinkClass::Edge,
            direction,
            link_id: format!("link-{app}"),
            mac_key: keyed.then(|| MacKey::new(&key)),
            strict: keyed,
        };
        let now = self.clock();
        let permissions = self
            .rules
            .as_ref()
            .map(|rules| intruder::permissions(rules, &self.apps[app].label));
        let (node_end, sends) = self.node.link_up(now, info(Direction::Accepted), permissions);
        self.links[app].node_end = Some(node_end);
        let app_end = self.apps[app].link_up(now, info(Direction::Dialed));
        self.links[app].app_end = Some(app_end);
        self.route(sends);
        self.after_app(app);
    }

    /// The connection is gone with everything in flight. The node may notice later than the application.
    pub(crate) fn cut(&mut self, app: usize, node_notices_after: Duration) {
        self.links[app].lose_all();
        if let Some(link) = self.links[app].node_end.take() {
            let node_run = self.node_run;
            self.plan(
                self.now + node_notices_after,
                Happening::GhostGone { link, node_run },
            );
        }
        if self.apps[app].is_running() {
            self.lose_app_end(app);
        }
    }

    pub(crate) fn lose_app_end(&mut self, app: usize) {
        if let Some(link) = self.links[app].app_end.take() {
            let now = self.clock();
            self.apps[app].link_down(now, link);
            self.plan(self.now + RECONNECT_AFTER, Happening::Connect(app));
            self.after_app(app);
        }
    }

    fn hand_over(&mut self, app: usize, way: Way, egress: Egress) {
        let generation = self.links[app].generation;
        match self.links[app].hand_over(self.now, way, egress) {
            Handed::Taken => self.launch(app, way),
            Handed::Refused(Some(at)) => {
                self.plan(at, Happening::StallCheck { app, way, generation });
                self.check.saw("egress queue full");
            }
            Handed::Refused(None) | Handed::Nowhere => {}
        }
    }

    pub(crate) fn launch(&mut self, app: usize, way: Way) {
        let (arrivals, notes) = self.links[app].launch(self.now, way, &mut self.rng);
        for at in arrivals {
            self.plan(at, Happening::Arrive { app, way });
        }
        for note in notes {
            let label = &self.apps[app].label;
            let text = match way {
                Way::Up => format!("{label}=> {note}"),
                Way::Down => format!("=>{label} {note}"),
            };
            self.trace.note(self.now, "hostile", text);
        }
    }

    /// Sends the node's frames on their links.
    pub(crate) fn route(&mut self, sends: Sends) {
        let intruder = self.intruder.as_ref().and_then(|intruder| intruder.link);
        for (link, egress) in sends {
            if intruder == Some((self.node_run, link))
                && egress
                    .clone()
                    .into_frame()
                    .is_ok_and(|frame| frame.kind() == Ok(FrameKind::Publish))
            {
                self.check
                    .fail("an intruder got a message of somebody else".to_owned());
            }
            let app = self.links.iter().position(|way| way.node_end == Some(link));
            // Otherwise the node does not know yet that the connection is dead.
            if let Some(app) = app {
                self.hand_over(app, Way::Down, egress);
            }
        }
        if let Some(at) = self.node.next_timeout()
            && self.node.wake.is_none_or(|planned| at < planned)
        {
            self.node.wake = Some(at);
            self.plan(at, Happening::WakeNode);
        }
    }

    // ----- after each input of an application -----

    /// Takes out and checks everything that an input caused.
    pub(crate) fn after_app(&mut self, app: usize) {
        let now = self.clock();
        let drained = self.apps[app].drain(now);
        for egress in drained.frames {
            let Ok(frame) = egress.clone().into_frame() else {
                self.check
                    .fail("an application sent a frame above the limit".to_owned());
                continue;
            };
            self.check.frame_seen(&self.apps[app].label, frame.bytes());
            if let Ok(Some(request)) = SubscriptionRequest::decode(&frame) {
                self.trace.request(self.now, &self.apps[app].label, &request);
            } else if let Ok(Some(message)) = Message::decode(frame.into_bytes()) {
                self.check.message_sent(self.now, app, &message);
                self.trace.message(self.now, &self.apps[app].label, &message);
            }
            self.hand_over(app, Way::Up, egress);
        }
        for event in drained.events {
            let label = self.apps[app].label.clone();
            self.check.event(self.now, app, &label, event, &mut self.trace);
        }
        self.check.step(self.now, app, &self.apps[app]);
        if drained.close_uplink {
            self.cut(app, Duration::ZERO);
        }
        self.plan_wake(app);
    }

    fn plan_wake(&mut self, app: usize) {
        if let Some(at) = self.apps[app].next_timeout()
            && self.apps[app].is_running()
            && self.apps[app].wake.is_none_or(|planned| at < planned)
        {
            let at = at.max(self.now);
            self.apps[app].wake = Some(at);
            self.plan(at, Happening::WakeApp(app));
        }
    }
}
