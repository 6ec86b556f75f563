//! The one task that owns everything: takes requests, frames and time, and gives them to the machines.
//!
//! It never waits for a handle or a link, so nobody can hold it; links and handles wait for it.

pub(crate) mod connection;
mod endpoints;
mod hub;
mod link;
mod routes;
mod uplink;

use std::sync::Arc;
use std::time::Duration;

use slim_crypto::{Rng, os_seed};
use slim_net::Clock;
use slim_proto::{FullName, Instant, Now};
use slim_router::LinkInfo;
use tokio::sync::{Notify, mpsc};
use tokio::time::{sleep_until, timeout};

use connection::{ConnectionId, ConnectionTable, Connections};
use hub::Hub;
use link::UplinkSender;
use routes::Routes;
use uplink::{Event, Events, LinkNumber, Surroundings, Uplink};

use crate::error::Error;
use crate::request::{Request, RequestQueues};
use crate::servers::Servers;

/// Events of links that wait for the driver; a link that cannot add one stops reading.
const EVENTS_MAX: usize = 64;
/// A service without deadline of its own looks around this often; nothing depends on it.
const IDLE: Duration = Duration::from_secs(3600);
/// What links get to end in good order, beyond the flush.
const GOODBYE: Duration = Duration::from_millis(250);

/// The owner of a service's state.
pub(crate) struct Driver {
    rng: Rng,
    hub: Hub,
    connections: ConnectionTable,
    routes: Routes,
    servers: Arc<Servers>,
    queues: RequestQueues,
    events: mpsc::Receiver<(ConnectionId, Event)>,
    /// Cloned for each link.
    event_sender: mpsc::Sender<(ConnectionId, Event)>,
    surroundings: Surroundings,
    stop_at: Option<Instant>,
}

impl Driver {
    pub(crate) fn new(queues: RequestQueues, connections: Arc<Connections>, servers: Arc<Servers>) -> Self {
        let (event_sender, events) = mpsc::channel(EVENTS_MAX);
        let mut rng = Rng::from_seed(os_seed());
        let surroundings = Surroundings {
            clock: Clock::start(),
            node_id: format!("node-{}", rng.uuid()).into(),
            room: Arc::new(Notify::new()),
        };
        Self {
            hub: Hub::new(Rng::from_seed(rng.derive()), Arc::clone(&queues.wake)),
            rng,
            connections: ConnectionTable::new(connections),
            routes: Routes::default(),
            servers,
            queues,
            events,
            event_sender,
            surroundings,
            stop_at: None,
        }
    }

    /// Runs until the service is shut down or abandoned.
    pub(crate) async fn run(mut self) {
        while !self.is_done() {
            let deadline = self.next_deadline();
            let has_room = self.hub.has_room();
            tokio::select! {
                Some((connection, event)) = self.events.recv() => self.handle_event(connection, event),
                Some(request) = self.queues.control.recv() => self.handle_request(request),
                // Lesson 1: a full link delays whoever publishes; nothing is dropped behind their back.
                Some(publish) = self.queues.publishes.recv(), if has_room => {
                    self.hub.command(self.now(), publish);
                }
                // Also wakes a service that waits for its queues to be written out.
                () = self.surroundings.room.notified(), if !has_room || self.stop_at.is_some() => {}
                () = self.queues.wake.left() => self.handle_wake(),
                () = sleep_until(self.surroundings.clock.timer(deadline)) => self.hub.timeout(self.now()),
            }
            self.note_successions();
        }
        self.stop().await;
    }

    fn now(&self) -> Now {
        self.surroundings.clock.now()
    }

    fn next_deadline(&self) -> Instant {
        let idle = self.now().mono + IDLE;
        [self.hub.next_timeout(), self.stop_at, Some(idle)]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(idle)
    }

    fn handle_request(&mut self, request: Request) {
        let now = self.now();
        match request {
            Request::CreateApp {
                name,
                identity,
                verifier,
                keys,
                options,
                reply,
            } => {
                self.hub
                    .create_app(now, name, identity, (verifier, keys), options, reply);
            }
            Request::UseVerifier {
                app,
                verifier,
                keys,
                reply,
            } => {
                let _ = reply.send(self.hub.use_verifier(now, app, verifier, keys));
            }
            Request::KeysFetched {
                app,
                fetcher,
                verifier,
            } => self.hub.keys_fetched(now, app, fetcher, verifier),
            Request::UseIdentity { app, identity, reply } => {
                let _ = reply.send(self.hub.use_identity(now, app, identity));
            }
            Request::Open { app, command, reply } => self.hub.open(now, app, *command, reply),
            Request::Command(request) => self.hub.command(now, request),
            Request::Snapshot { app, session, reply } => {
                let _ = reply.send(self.hub.snapshot(app, session));
            }
            Request::Counters { app, reply } => {
                let _ = reply.send(self.hub.counters(app));
            }
            Request::CloseApp { app, reply } => self.hub.close_app(now, app, Some(reply)),
            Request::Connect { config, reply } => {
                let rng = Rng::from_seed(self.rng.derive());
                let (surroundings, queue) = (self.surroundings.clone(), self.event_sender.clone());
                self.connections.connect(*config, reply, |connection, config| {
                    Uplink::start(config, surroundings, rng, Events { connection, queue })
                });
            }
            Request::SetRoute {
                name,
                connection,
                reply,
            } => {
                let _ = reply.send(self.set_route(name, connection));
            }
            Request::RemoveRoute { name, reply } => {
                self.hub.forget_preference(&name);
                self.routes.remove(&name);
                let _ = reply.send(Ok(()));
            }
            Request::Disconnect { connection, reply } => self.connections.disconnect(connection, reply),
            Request::Shutdown { flush } => self.begin_stop(flush),
        }
    }

    fn handle_wake(&mut self) {
        let now = self.now();
        let left = self.queues.wake.collect();
        for (app, session) in left.consumed {
            self.hub.consumed(now, app, session);
        }
        for app in left.abandoned {
            self.hub.close_app(now, app, None);
        }
        if let Some(flush) = left.abandoned_service {
            self.begin_stop(flush);
        }
    }

    fn handle_event(&mut self, connection: ConnectionId, event: Event) {
        let now = self.now();
        match event {
            Event::Up { number, info, sender } => self.link_up(connection, number, *info, sender),
            Event::Frame { number, frame } => {
                if let Some(link) = self.connections.numbered(connection, number) {
                    self.hub.frame(now, link, &frame);
                }
            }
            Event::Ended { number } => {
                if let Some(link) = self.connections.ended(connection, number) {
                    self.hub.uplink_down(now, link);
                }
            }
            Event::Failed { cause, is_final } => self.connections.failed(connection, &cause, is_final),
            Event::Confirmed { attempt, result } => self.connections.confirmed(connection, attempt, &result),
            Event::Stopped => {
                self.routes.forget(connection);
                for link in self.connections.stopped(connection) {
                    self.hub.uplink_down(now, link);
                }
            }
        }
    }

    fn link_up(
        &mut self,
        connection: ConnectionId,
        number: LinkNumber,
        info: LinkInfo,
        sender: UplinkSender,
    ) {
        let now = self.now();
        if let Some(predecessor) = self.connections.link(connection) {
            let link = self.hub.successor_up(now, info, sender, predecessor);
            self.connections.prepared(connection, number, link);
            return;
        }
        let link = self.hub.uplink_up(now, info, sender);
        for name in self.routes.over(connection) {
            // The limit was checked when the route was set.
            let _ = self.hub.prefer_uplink(link, name);
        }
        if let Some(attempt) = self.connections.up(connection, number, link) {
            self.confirm_names(connection, attempt);
        }
    }

    /// Connections use the links that the router uses.
    fn note_successions(&mut self) {
        while let Some(link) = self.hub.next_succeeded() {
            if let Some((connection, attempt)) = self.connections.succeeded(link) {
                self.confirm_names(connection, attempt);
            }
        }
    }

    fn set_route(&mut self, name: FullName, connection: ConnectionId) -> Result<(), Error> {
        if !self.connections.contains(connection) {
            return Err(Error::ConnectionUnknown { connection });
        }
        if let Some(link) = self.connections.link(connection) {
            let preferred = self.hub.prefer_uplink(link, &name);
            preferred.map_err(|_| Error::RouteLimit)?;
        }
        self.routes.set(name, connection)
    }

    /// Has every name confirmed by the nodes; the result comes as an event. Bounded by the core's deadlines.
    fn confirm_names(&mut self, connection: ConnectionId, attempt: u64) {
        let answers = self.hub.announce_names(self.now());
        let events = Events {
            connection,
            queue: self.event_sender.clone(),
        };
        tokio::spawn(async move {
            let mut result = Ok(());
            for answer in answers {
                match answer.await {
                    Ok(Err(error)) if !matches!(error, Error::Closed) => result = Err(error),
                    // An application that closed meanwhile needs no name.
                    Ok(_) | Err(_) => {}
                }
            }
            events.tell(Event::Confirmed { attempt, result }).await;
        });
    }

    fn begin_stop(&mut self, flush: Duration) {
        let deadline = self.now().mono + flush;
        self.stop_at = Some(self.stop_at.map_or(deadline, |earlier| earlier.min(deadline)));
        // What was sent before is still done; what comes now fails at its sender.
        self.queues.control.close();
        self.queues.publishes.close();
    }

    fn is_done(&self) -> bool {
        let Some(deadline) = self.stop_at else {
            return false;
        };
        let is_idle = !self.hub.is_busy()
            && self.queues.control.is_empty()
            && self.queues.publishes.is_empty()
            && self.hub.uplinks().all(UplinkSender::is_drained);
        is_idle || deadline <= self.now().mono
    }

    /// Answers everybody, ends links and nodes.
    async fn stop(mut self) {
        self.hub.end();
        self.connections.stop_all();
        let remaining = self
            .stop_at
            .map_or(Duration::ZERO, |at| at.saturating_since(self.now().mono));
        let goodbye = async {
            while !self.connections.is_empty() {
                let Some((connection, event)) = self.events.recv().await else {
                    break;
                };
                if matches!(event, Event::Stopped) {
                    self.connections.stopped(connection);
                }
            }
        };
        // A link that does not end in time is cut when the runtime goes.
        let _ = timeout(remaining + GOODBYE, goodbye).await;
        self.servers.stop_all(remaining + GOODBYE).await;
    }
}
