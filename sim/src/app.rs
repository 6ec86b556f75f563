//! One application process: a real [`Endpoint`], and the [`Router`] of its process with one uplink, as in the SDK.

use std::collections::VecDeque;

use slim_auth::Identity;
use slim_crypto::Rng;
use slim_proto::{Egress, Frame, FullName, Instant, Now};
use slim_router::{LinkId, LinkInfo, Output, Router, RouterConfig};
use slim_session::{
    Command, CommandError, Direction, Endpoint, EndpointConfig, Event, SessionId, SessionSnapshot, Ticket,
};

/// An application.
pub(crate) struct App {
    pub(crate) label: String,
    /// With id.
    pub(crate) name: FullName,
    pub(crate) subject: String,
    endpoint: Endpoint,
    router: Router,
    /// The link between endpoint and router.
    local: LinkId,
    inbound: VecDeque<Frame>,
    pub(crate) is_alive: bool,
    pub(crate) is_frozen: bool,
    /// For when a wake-up is planned.
    pub(crate) wake: Option<Instant>,
}

/// What came out of an application after one input.
#[derive(Default)]
pub(crate) struct Drained {
    /// Frames for the uplink.
    pub(crate) frames: Vec<Egress>,
    pub(crate) events: Vec<Event>,
    /// The router wants the uplink closed.
    pub(crate) close_uplink: bool,
}

impl App {
    /// An application `name` that holds `secret`.
    pub(crate) fn new(name: &FullName, secret: &str, now: Now, rng: &mut Rng) -> Self {
        let identity = Identity::shared_secret(&name.path(), secret, rng)
            .expect("the simulator's names and secrets are well-formed");
        let verifier = identity.verifier();
        let subject = identity.subject().to_owned();
        let config = EndpointConfig {
            name: name.clone(),
            direction: Direction::Bidirectional,
        };
        let endpoint = Endpoint::new(config, identity, verifier, rng.derive());
        let mut router = Router::new(RouterConfig::default(), rng.derive());
        let local = router.handle_link_up(now, LinkInfo::local());
        Self {
            label: name.components()[2].to_owned(),
            name: endpoint.name().clone(),
            subject,
            endpoint,
            router,
            local,
            inbound: VecDeque::new(),
            is_alive: true,
            is_frozen: false,
            wake: None,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.is_alive && !self.is_frozen
    }

    // ----- inputs; each is followed by `drain` -----

    pub(crate) fn command(&mut self, now: Now, command: Command) -> Result<Ticket, CommandError> {
        self.endpoint.handle_command(now, command)
    }

    pub(crate) fn frame(&mut self, now: Now, uplink: LinkId, frame: &Frame) {
        self.router.handle_frame(now, uplink, frame);
    }

    pub(crate) fn link_up(&mut self, now: Now, info: LinkInfo) -> LinkId {
        self.router.handle_link_up(now, info)
    }

    pub(crate) fn link_down(&mut self, now: Now, link: LinkId) {
        self.router.handle_link_down(now, link);
    }

    pub(crate) fn timeout(&mut self, now: Now) {
        self.router.handle_timeout(now);
        if self.endpoint.poll_timeout().is_some_and(|(at, _)| at <= now.mono) {
            self.endpoint.handle_timeout(now);
        }
    }

    /// Everything that the input caused.
    pub(crate) fn drain(&mut self, now: Now) -> Drained {
        let mut drained = Drained::default();
        loop {
            while let Some(frame) = self.endpoint.poll_transmit() {
                self.router.handle_frame(now, self.local, &frame);
            }
            while let Some(event) = self.endpoint.poll_event() {
                if let Event::Received { session, message } = &event {
                    self.endpoint.consumed(*session, 1, message.payload.len());
                }
                drained.events.push(event);
            }
            while let Some(output) = self.router.poll_output() {
                match output {
                    Output::Send { link, egress } if link == self.local => {
                        self.inbound.extend(egress.into_frame());
                    }
                    Output::Send { egress, .. } => drained.frames.push(egress),
                    // The router forwards by itself here.
                    Output::PublishFib(_) => {}
                    Output::CloseLink { .. } => drained.close_uplink = true,
                    // No link here is given a successor.
                    Output::Succeeded { .. } => {}
                }
            }
            let Some(frame) = self.inbound.pop_front() else {
                return drained;
            };
            self.endpoint.handle_frame(now, frame);
        }
    }

    // ----- what the checkers look at -----

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let endpoint = self.endpoint.poll_timeout().map(|(at, _)| at);
        let router = self.router.poll_timeout().map(|(at, _)| at);
        endpoint.into_iter().chain(router).min()
    }

    pub(crate) fn session_ids(&self) -> Vec<SessionId> {
        self.endpoint.session_ids()
    }

    pub(crate) fn snapshot(&self, session: SessionId) -> Option<SessionSnapshot> {
        self.endpoint.snapshot(session)
    }

    pub(crate) fn timer_count(&self, session: Option<SessionId>) -> usize {
        self.endpoint.timer_count(session)
    }

    pub(crate) fn counters(&self) -> slim_session::Counters {
        self.endpoint.counters()
    }
}
