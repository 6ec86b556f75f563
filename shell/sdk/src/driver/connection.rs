//! Which nodes this process is connected to, who asked for it, and who waits for it.
//!
//! The sockets are in `uplink`; this is the book-keeping: one link per endpoint however many ask, and an answer
//! to each that asked.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use slim_config::{Backoff, ClientConfig, Endpoint};
use slim_router::LinkId;
use slim_router::dialer::Pace;

use super::uplink::{LinkNumber, Uplink};
use crate::error::{Cause, Error};
use crate::request::Reply;

/// Dials of a `connect` before it fails, unless the configuration says otherwise.
const DIALS_MAX: u32 = 10;

/// A connection of a service, the same for everybody who connects to one endpoint. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What handles may look up without asking the driver.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    by_endpoint: Mutex<BTreeMap<String, ConnectionId>>,
}

impl Connections {
    /// The connection to this endpoint, in any spelling.
    pub(crate) fn find(&self, endpoint: &str) -> Option<ConnectionId> {
        let endpoint = endpoint.parse::<Endpoint>().ok()?;
        self.by_endpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&endpoint.to_string())
            .copied()
    }

    fn insert(&self, endpoint: &Endpoint, id: ConnectionId) {
        self.by_endpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(endpoint.to_string(), id);
    }

    fn remove(&self, endpoint: &Endpoint) {
        self.by_endpoint
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&endpoint.to_string());
    }
}

/// One connection.
pub(super) struct Connection {
    config: ClientConfig,
    uplink: Uplink,
    /// Calls of `connect` that were not taken back; those that wait are among them.
    users: usize,
    waiting: Vec<Waiting>,
    state: State,
    /// Every link that is up: the one in use, its successor, and those that end what is under way.
    links: BTreeMap<LinkNumber, LinkId>,
    /// Who wait for the end of the last link.
    disconnecting: Vec<Reply<()>>,
}

struct Waiting {
    reply: Reply<ConnectionId>,
    failures: u32,
}

/// How far the link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No link.
    Dialing,
    /// Negotiated, and names are being confirmed for those who wait. The number tells attempts apart.
    Confirming { link: LinkId, attempt: u64 },
    /// In use.
    Ready { link: LinkId },
}

impl State {
    fn link(self) -> Option<LinkId> {
        match self {
            Self::Dialing => None,
            Self::Confirming { link, .. } | Self::Ready { link } => Some(link),
        }
    }
}

/// Every connection of a service.
pub(super) struct ConnectionTable {
    shared: Arc<Connections>,
    table: BTreeMap<ConnectionId, Connection>,
    next_id: u64,
    next_attempt: u64,
}

impl ConnectionTable {
    pub(super) fn new(shared: Arc<Connections>) -> Self {
        Self {
            shared,
            table: BTreeMap::new(),
            next_id: 1,
            next_attempt: 0,
        }
    }

    /// Adds a user; `start` dials if there is no connection yet.
    pub(super) fn connect(
        &mut self,
        config: ClientConfig,
        reply: Reply<ConnectionId>,
        start: impl FnOnce(ConnectionId, ClientConfig) -> Uplink,
    ) {
        let known = self.shared.find(&config.endpoint.to_string());
        let Some(connection) = known.and_then(|id| self.table.get_mut(&id)) else {
            let id = ConnectionId(self.next_id);
            self.next_id += 1;
            self.shared.insert(&config.endpoint, id);
            let uplink = start(id, config.clone());
            let waiting = vec![Waiting { reply, failures: 0 }];
            let state = State::Dialing;
            let connection = Connection {
                config,
                uplink,
                users: 1,
                waiting,
                state,
                links: BTreeMap::new(),
                disconnecting: Vec::new(),
            };
            self.table.insert(id, connection);
            return;
        };
        if connection.config != config {
            let endpoint = config.endpoint.to_string();
            let _ = reply.send(Err(Error::ConnectionDiffers { endpoint }));
            return;
        }
        connection.users += 1;
        connection.waiting.push(Waiting { reply, failures: 0 });
        match connection.state {
            // Applications that came after the link was made waited for their own names.
            State::Ready { .. } => known.into_iter().for_each(|id| self.resolve(id, &Ok(()))),
            State::Dialing | State::Confirming { .. } => connection.uplink.set_pace(Pace::Eager),
        }
    }

    /// Takes one user away. The last one ends the link; `reply` hears when that is done.
    pub(super) fn disconnect(&mut self, id: ConnectionId, reply: Reply<()>) {
        let Some(connection) = self.table.get_mut(&id) else {
            // Already gone is what the caller wants.
            let _ = reply.send(Ok(()));
            return;
        };
        connection.users = connection.users.saturating_sub(1);
        if connection.users > 0 {
            let _ = reply.send(Ok(()));
            return;
        }
        connection.disconnecting.push(reply);
        let endpoint = connection.config.endpoint.to_string();
        let waiting = std::mem::take(&mut connection.waiting);
        self.stop(id);
        for waiting in waiting {
            let endpoint = endpoint.clone();
            let _ = waiting.reply.send(Err(Error::Disconnected { endpoint }));
        }
    }

    /// The only link is negotiated. `Some` asks the caller to have the names confirmed under this number.
    pub(super) fn up(&mut self, id: ConnectionId, number: LinkNumber, link: LinkId) -> Option<u64> {
        self.table.get_mut(&id)?.links.insert(number, link);
        self.use_link(id, link)
    }

    /// A link that is to replace the one in use is negotiated.
    pub(super) fn prepared(&mut self, id: ConnectionId, number: LinkNumber, link: LinkId) {
        if let Some(connection) = self.table.get_mut(&id) {
            connection.links.insert(number, link);
        }
    }

    /// The router sends over this link from now on. The result is that of [`up`](Self::up), if its link was lost
    /// before this one could replace it.
    pub(super) fn succeeded(&mut self, link: LinkId) -> Option<(ConnectionId, u64)> {
        let has_link = |connection: &Connection| connection.links.values().any(|known| *known == link);
        let mut table = self.table.iter_mut();
        let (id, connection) = table.find(|(_, connection)| has_link(connection))?;
        match &mut connection.state {
            State::Confirming { link: current, .. } | State::Ready { link: current } => {
                *current = link;
                None
            }
            State::Dialing => {
                let id = *id;
                self.use_link(id, link).map(|attempt| (id, attempt))
            }
        }
    }

    fn use_link(&mut self, id: ConnectionId, link: LinkId) -> Option<u64> {
        let connection = self.table.get_mut(&id)?;
        if connection.waiting.is_empty() {
            connection.state = State::Ready { link };
            return None;
        }
        self.next_attempt += 1;
        let attempt = self.next_attempt;
        connection.state = State::Confirming { link, attempt };
        Some(attempt)
    }

    /// The router's link in use.
    pub(super) fn link(&self, id: ConnectionId) -> Option<LinkId> {
        self.table.get(&id)?.state.link()
    }

    /// The router's link of this number.
    pub(super) fn numbered(&self, id: ConnectionId, number: LinkNumber) -> Option<LinkId> {
        self.table.get(&id)?.links.get(&number).copied()
    }

    /// A link ended; returns which.
    pub(super) fn ended(&mut self, id: ConnectionId, number: LinkNumber) -> Option<LinkId> {
        let connection = self.table.get_mut(&id)?;
        let link = connection.links.remove(&number)?;
        if connection.state.link() == Some(link) {
            connection.state = State::Dialing;
        }
        Some(link)
    }

    pub(super) fn contains(&self, id: ConnectionId) -> bool {
        self.table.contains_key(&id)
    }

    /// Every name is confirmed, or one is not. Late news of an earlier link mean nothing.
    pub(super) fn confirmed(&mut self, id: ConnectionId, attempt: u64, result: &Result<(), Error>) {
        let Some(connection) = self.table.get_mut(&id) else {
            return;
        };
        if let State::Confirming {
            link,
            attempt: current,
        } = connection.state
            && current == attempt
        {
            connection.state = State::Ready { link };
            self.resolve(id, result);
        }
    }

    /// A dial failed, or the only link was lost. Who waited too often is told; everybody is, if the node will not
    /// change its mind.
    pub(super) fn failed(&mut self, id: ConnectionId, cause: &Cause, is_final: bool) {
        let Some(connection) = self.table.get_mut(&id) else {
            return;
        };
        let limit = dials_max(&connection.config);
        let endpoint = connection.config.endpoint.to_string();
        for waiting in &mut connection.waiting {
            waiting.failures += 1;
        }
        let is_over =
            |waiting: &mut Waiting| is_final || limit.is_some_and(|limit| waiting.failures >= limit);
        let given_up: Vec<Waiting> = connection.waiting.extract_if(.., is_over).collect();
        connection.users -= given_up.len();
        if connection.waiting.is_empty() {
            connection.uplink.set_pace(Pace::Patient);
        }
        // Before the answers: who hears of a failed `connect` finds no connection.
        self.stop_if_unused(id);
        for Waiting { reply, failures } in given_up {
            let (endpoint, cause) = (endpoint.clone(), Arc::clone(cause));
            let _ = reply.send(Err(Error::Connect {
                endpoint,
                attempts: failures,
                cause,
            }));
        }
    }

    /// The task of a connection ended; returns the links that it still had.
    pub(super) fn stopped(&mut self, id: ConnectionId) -> Vec<LinkId> {
        let Some(connection) = self.table.remove(&id) else {
            return Vec::new();
        };
        if self.shared.find(&connection.config.endpoint.to_string()) == Some(id) {
            self.shared.remove(&connection.config.endpoint);
        }
        for reply in connection.disconnecting {
            let _ = reply.send(Ok(()));
        }
        connection.links.into_values().collect()
    }

    /// Asks every link to end.
    pub(super) fn stop_all(&self) {
        let ids: Vec<ConnectionId> = self.table.keys().copied().collect();
        for id in ids {
            self.stop(id);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Answers everybody who waits for a link.
    fn resolve(&mut self, id: ConnectionId, result: &Result<(), Error>) {
        let Some(connection) = self.table.get_mut(&id) else {
            return;
        };
        connection.uplink.set_pace(Pace::Patient);
        let waiting = std::mem::take(&mut connection.waiting);
        match result {
            // Somebody who does not wait any more does not use the connection either.
            Ok(()) => {
                let gone = waiting
                    .into_iter()
                    .filter_map(|waiting| waiting.reply.send(Ok(id)).err())
                    .count();
                connection.users -= gone;
                self.stop_if_unused(id);
            }
            Err(error) => {
                connection.users -= waiting.len();
                self.stop_if_unused(id);
                for waiting in waiting {
                    let _ = waiting.reply.send(Err(error.clone()));
                }
            }
        }
    }

    fn stop_if_unused(&self, id: ConnectionId) {
        if self
            .table
            .get(&id)
            .is_some_and(|connection| connection.users == 0)
        {
            self.stop(id);
        }
    }

    /// A new `connect` gets a new connection from here on.
    fn stop(&self, id: ConnectionId) {
        if let Some(connection) = self.table.get(&id) {
            connection.uplink.stop();
            if self.shared.find(&connection.config.endpoint.to_string()) == Some(id) {
                self.shared.remove(&connection.config.endpoint);
            }
        }
    }
}

fn dials_max(config: &ClientConfig) -> Option<u32> {
    match &config.backoff {
        None => Some(DIALS_MAX),
        Some(Backoff::FixedInterval { max_attempts, .. } | Backoff::Exponential { max_attempts, .. }) => {
            *max_attempts
        }
    }
}
