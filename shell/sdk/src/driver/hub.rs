//! The router and all applications of the process, and the frames between them.
//!
//! Synchronous: every input ends with [`settle`](Hub::settle), after which no machine has output left. Frames for
//! a node go straight into the egress queue of its link.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use slim_auth::{Identity, Verifier};
use slim_crypto::Rng;
use slim_proto::{Egress, Frame, FullName, Instant, Now};
use slim_router::{LinkId, LinkInfo, Output, RouteError, Router, RouterConfig};
use slim_session::{Command, Counters, Endpoint, EndpointConfig, Outcome, SessionId, SessionSnapshot};
use tokio::sync::oneshot;

use super::endpoints::{Effect, LocalApp, Pending, Unwanted};
use super::link::UplinkSender;
use crate::app::AppShared;
use crate::error::Error;
use crate::identity::KeyQuestions;
use crate::invitation::AppOptions;
use crate::request::{AppKey, AppLease, CommandRequest, NewApp, Reply, Wake};
use crate::session::SessionShared;

mod renewal;

pub(super) struct Hub {
    router: Router,
    rng: Rng,
    wake: Arc<Wake>,
    apps: BTreeMap<AppKey, LocalApp>,
    next_app: u64,
    ends: BTreeMap<LinkId, LinkEnd>,
    /// Between the machines. What is in here was caused by one input and is gone when it is settled.
    to_router: VecDeque<(LinkId, Frame)>,
    to_apps: VecDeque<(AppKey, Egress)>,
    unwanted: VecDeque<(AppKey, SessionId)>,
    /// Links that took over from others, for the book-keeping of connections.
    succeeded: VecDeque<LinkId>,
}

/// Even if the driver panics, nobody waits for ever.
impl Drop for Hub {
    fn drop(&mut self) {
        self.end();
    }
}

/// What is behind a link of the router.
enum LinkEnd {
    App(AppKey),
    Uplink(UplinkSender),
}

impl Hub {
    pub(super) fn new(mut rng: Rng, wake: Arc<Wake>) -> Self {
        Self {
            router: Router::new(RouterConfig::default(), rng.derive()),
            rng,
            wake,
            apps: BTreeMap::new(),
            next_app: 0,
            ends: BTreeMap::new(),
            to_router: VecDeque::new(),
            to_apps: VecDeque::new(),
            unwanted: VecDeque::new(),
            succeeded: VecDeque::new(),
        }
    }

    /// Creates an application and subscribes its name; the answer comes when that is confirmed.
    pub(super) fn create_app(
        &mut self,
        now: Now,
        name: FullName,
        identity: Identity,
        (verifier, keys): (Verifier, Option<KeyQuestions>),
        options: AppOptions,
        reply: Reply<NewApp>,
    ) {
        let key = AppKey(self.next_app);
        self.next_app += 1;
        let config = EndpointConfig {
            name: name.without_id(),
            direction: options.direction,
        };
        let mut endpoint = Endpoint::new(config, identity, verifier, self.rng.derive());
        endpoint.use_invitation_policy(options.invitations);
        endpoint.use_payload_signatures(options.payload_signatures);
        let shared = Arc::new(AppShared::new(key, endpoint.name().clone()));
        let link = self.router.handle_link_up(now, LinkInfo::local());
        self.ends.insert(link, LinkEnd::App(key));
        let mut app = LocalApp::new(endpoint, Arc::clone(&shared), link);
        app.keys = keys;
        let result = app.endpoint.handle_command(
            now,
            Command::Subscribe {
                name: name.without_id(),
            },
        );
        let lease = AppLease::new(key, Arc::clone(&self.wake));
        app.await_result(result, Pending::Created(reply, NewApp { shared, lease }));
        self.apps.insert(key, app);
        self.drain_app(now, key);
        self.settle(now);
    }

    pub(super) fn open(&mut self, now: Now, app: AppKey, command: Command, reply: Reply<Arc<SessionShared>>) {
        self.run(now, app, command, Pending::Opened(reply));
    }

    pub(super) fn command(&mut self, now: Now, request: CommandRequest) {
        let CommandRequest {
            app,
            command,
            permit,
            reply,
        } = request;
        let effect = match &command {
            Command::Subscribe { name } => Effect::AddName(name.clone()),
            Command::Unsubscribe { name } => Effect::RemoveName(name.clone()),
            Command::Open { .. }
            | Command::OpenAnycast { .. }
            | Command::Reconfigure { .. }
            | Command::SetDefaults { .. }
            | Command::AnswerInvitation { .. }
            | Command::Invite { .. }
            | Command::Remove { .. }
            | Command::Publish { .. }
            | Command::GoOffline { .. }
            | Command::GoOnline { .. }
            | Command::Close { .. } => Effect::None,
        };
        self.run(
            now,
            app,
            command,
            Pending::Outcome {
                reply,
                permit,
                effect,
            },
        );
    }

    /// Dropping the pending caller of an application that is gone tells it [`Error::Closed`].
    fn run(&mut self, now: Now, key: AppKey, command: Command, pending: Pending) {
        let Some(app) = self.apps.get_mut(&key).filter(|app| !app.is_closing()) else {
            return;
        };
        let result = app.endpoint.handle_command(now, command);
        app.await_result(result, pending);
        self.drain_app(now, key);
        self.settle(now);
    }

    pub(super) fn snapshot(&self, app: AppKey, session: SessionId) -> Result<Option<SessionSnapshot>, Error> {
        self.apps
            .get(&app)
            .map(|app| app.endpoint.snapshot(session))
            .ok_or(Error::Closed)
    }

    pub(super) fn counters(&self, app: AppKey) -> Result<Counters, Error> {
        self.apps
            .get(&app)
            .map(|app| app.endpoint.counters())
            .ok_or(Error::Closed)
    }

    /// The application took messages out of this session's inbox.
    pub(super) fn consumed(&mut self, now: Now, key: AppKey, session: SessionId) {
        let Some(app) = self.apps.get_mut(&key) else {
            return;
        };
        let Some(shared) = app.shared.session(session) else {
            return;
        };
        let (messages, bytes) = shared.inbox.consumed();
        app.endpoint.consumed(session, messages, bytes);
        self.drain_app(now, key);
        self.settle(now);
    }

    /// Ends or leaves every session of an application, then removes it. `reply` hears of the end.
    pub(super) fn close_app(&mut self, now: Now, key: AppKey, reply: Option<Reply<()>>) {
        let Some(app) = self.apps.get_mut(&key) else {
            if let Some(reply) = reply {
                let _ = reply.send(Ok(()));
            }
            return;
        };
        if app.begin_close(now.mono, reply) {
            for session in app.endpoint.session_ids() {
                self.leave(now, key, session);
            }
        }
        self.settle(now);
    }

    fn leave(&mut self, now: Now, key: AppKey, session: SessionId) {
        let Some(app) = self.apps.get_mut(&key) else {
            return;
        };
        let result = app.endpoint.handle_command(now, Command::Close { session });
        app.await_result(result, Pending::Nobody);
        self.drain_app(now, key);
    }

    /// A link to a node is negotiated.
    pub(super) fn uplink_up(&mut self, now: Now, info: LinkInfo, sender: UplinkSender) -> LinkId {
        let link = self.router.handle_link_up(now, info);
        self.ends.insert(link, LinkEnd::Uplink(sender));
        self.settle(now);
        link
    }

    /// A link to a node is negotiated that is to replace `predecessor`.
    pub(super) fn successor_up(
        &mut self,
        now: Now,
        info: LinkInfo,
        sender: UplinkSender,
        predecessor: LinkId,
    ) -> LinkId {
        let link = self.router.handle_successor_up(now, info, predecessor);
        self.ends.insert(link, LinkEnd::Uplink(sender));
        self.settle(now);
        link
    }

    /// The next link that took over from another.
    pub(super) fn next_succeeded(&mut self) -> Option<LinkId> {
        self.succeeded.pop_front()
    }

    /// Sends to this name over this link when there are several.
    pub(super) fn prefer_uplink(&mut self, link: LinkId, name: &FullName) -> Result<(), RouteError> {
        self.router.prefer_uplink(link, name)
    }

    /// Leaves it to the router again how a name is reached.
    pub(super) fn forget_preference(&mut self, name: &FullName) {
        self.router.forget_preference(name);
    }

    pub(super) fn uplink_down(&mut self, now: Now, link: LinkId) {
        self.ends.remove(&link);
        self.router.handle_link_down(now, link);
        self.settle(now);
    }

    /// Subscribes every name of every application once more; the answers say when the nodes know them.
    pub(super) fn announce_names(&mut self, now: Now) -> Vec<oneshot::Receiver<Result<Outcome, Error>>> {
        let apps = self.apps.iter().filter(|(_, app)| !app.is_closing());
        let names: Vec<(AppKey, FullName)> = apps
            .flat_map(|(key, app)| app.names.iter().map(|name| (*key, name.without_id())))
            .collect();
        let mut answers = Vec::with_capacity(names.len());
        for (key, name) in names {
            let (reply, answer) = oneshot::channel();
            let pending = Pending::Outcome {
                reply,
                permit: None,
                effect: Effect::None,
            };
            self.run(now, key, Command::Subscribe { name }, pending);
            answers.push(answer);
        }
        answers
    }

    /// A frame arrived from a node.
    pub(super) fn frame(&mut self, now: Now, link: LinkId, frame: &Frame) {
        self.router.handle_frame(now, link, frame);
        self.settle(now);
    }

    /// When [`timeout`](Self::timeout) is due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let apps = self.apps.values().flat_map(|app| {
            let endpoint = app.endpoint.poll_timeout().map(|(at, _)| at);
            endpoint.into_iter().chain(app.close_deadline())
        });
        self.router
            .poll_timeout()
            .map(|(at, _)| at)
            .into_iter()
            .chain(apps)
            .min()
    }

    pub(super) fn timeout(&mut self, now: Now) {
        let is_due = |timeout: Option<(Instant, _)>| timeout.is_some_and(|(at, _)| at <= now.mono);
        if is_due(self.router.poll_timeout()) {
            self.router.handle_timeout(now);
        }
        let due: Vec<AppKey> = self
            .apps
            .iter()
            .filter(|(_, app)| is_due(app.endpoint.poll_timeout()))
            .map(|(key, _)| *key)
            .collect();
        for key in due {
            if let Some(app) = self.apps.get_mut(&key) {
                app.endpoint.handle_timeout(now);
                self.drain_app(now, key);
            }
        }
        self.settle(now);
    }

    /// True if every link takes more data. Publishes wait while one does not.
    pub(super) fn has_room(&self) -> bool {
        self.uplinks().all(UplinkSender::has_room)
    }

    /// Links with frames that are not written yet.
    pub(super) fn uplinks(&self) -> impl Iterator<Item = &UplinkSender> {
        self.ends.values().filter_map(|end| match end {
            LinkEnd::Uplink(sender) => Some(sender),
            LinkEnd::App(_) => None,
        })
    }

    /// True if a call of a handle waits for a result, or an application closes.
    pub(super) fn is_busy(&self) -> bool {
        self.apps.values().any(|app| app.is_busy() || app.is_closing())
    }

    /// Ends every application: all that wait are answered.
    pub(super) fn end(&mut self) {
        for app in std::mem::take(&mut self.apps).into_values() {
            app.end();
        }
    }

    /// Takes everything out of the machines until none has output left, then removes closed applications.
    fn settle(&mut self, now: Now) {
        loop {
            self.exchange(now);
            let closed: Vec<AppKey> = self
                .apps
                .iter()
                .filter(|(_, app)| app.is_closed(now.mono))
                .map(|(key, _)| *key)
                .collect();
            if closed.is_empty() {
                return;
            }
            for key in closed {
                self.remove_app(now, key);
            }
        }
    }

    fn exchange(&mut self, now: Now) {
        loop {
            while let Some(output) = self.router.poll_output() {
                self.handle_output(output);
            }
            if let Some((link, frame)) = self.to_router.pop_front() {
                self.router.handle_frame(now, link, &frame);
            } else if let Some((key, egress)) = self.to_apps.pop_front() {
                self.handle_local_frame(now, key, egress);
            } else if let Some((key, session)) = self.unwanted.pop_front() {
                self.leave(now, key, session);
            } else {
                return;
            }
        }
    }

    fn handle_output(&mut self, output: Output) {
        match output {
            Output::Send { link, egress } => match self.ends.get(&link) {
                Some(LinkEnd::App(key)) => self.to_apps.push_back((*key, egress)),
                Some(LinkEnd::Uplink(sender)) => sender.send(egress),
                // The link went down while the frame was on its way.
                None => tracing::trace!(%link, "a frame for a link that is gone"),
            },
            Output::CloseLink { link, reason } => match self.ends.get(&link) {
                Some(LinkEnd::Uplink(sender)) => {
                    tracing::warn!(%link, %reason, "closing the link to the node; it is dialled again");
                    sender.abort();
                }
                Some(LinkEnd::App(_)) | None => {
                    tracing::debug!(%link, %reason, "close of a link without socket")
                }
            },
            Output::Succeeded {
                predecessor,
                successor,
            } => {
                if let Some(LinkEnd::Uplink(sender)) = self.ends.get(&predecessor) {
                    sender.retire();
                }
                self.succeeded.push_back(successor);
            }
            // The router forwards everything here itself.
            Output::PublishFib(_) => {}
        }
    }

    fn handle_local_frame(&mut self, now: Now, key: AppKey, egress: Egress) {
        let Some(app) = self.apps.get_mut(&key) else {
            return;
        };
        match egress.into_frame() {
            Ok(frame) => app.endpoint.handle_frame(now, frame),
            Err(error) => tracing::debug!(%error, "the router gave out a frame that is none"),
        }
        self.drain_app(now, key);
    }

    fn drain_app(&mut self, now: Now, key: AppKey) {
        let Some(app) = self.apps.get_mut(&key) else {
            return;
        };
        while let Some(frame) = app.endpoint.poll_transmit() {
            self.to_router.push_back((app.link, frame));
        }
        while let Some(slim_session::Request::Keys { issuer }) = app.endpoint.poll_request() {
            if let Some(keys) = &app.keys {
                keys.ask(issuer);
            }
        }
        while let Some(event) = app.endpoint.poll_event() {
            if let Some(Unwanted(session)) = app.handle_event(now.mono, event) {
                self.unwanted.push_back((key, session));
            }
        }
    }

    /// The router withdraws the application's names from the nodes.
    fn remove_app(&mut self, now: Now, key: AppKey) {
        let Some(app) = self.apps.remove(&key) else { return };
        self.ends.remove(&app.link);
        self.router.handle_link_down(now, app.link);
        app.end();
    }
}
