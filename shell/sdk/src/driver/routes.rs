//! Which connection leads to a name, as applications chose; it outlives the links of the connection.

use std::collections::BTreeMap;

use slim_proto::limits::ROUTES_MAX;
use slim_proto::{FullName, Prefix};

use super::connection::ConnectionId;
use crate::error::Error;

/// By the three components of a name.
#[derive(Debug, Default)]
pub(super) struct Routes {
    chosen: BTreeMap<Prefix, (FullName, ConnectionId)>,
}

impl Routes {
    pub(super) fn set(&mut self, name: FullName, connection: ConnectionId) -> Result<(), Error> {
        let prefix = name.prefix();
        if self.chosen.len() >= ROUTES_MAX && !self.chosen.contains_key(&prefix) {
            return Err(Error::RouteLimit);
        }
        self.chosen.insert(prefix, (name, connection));
        Ok(())
    }

    pub(super) fn remove(&mut self, name: &FullName) {
        self.chosen.remove(&name.prefix());
    }

    /// The connection is gone, and so are its routes.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.chosen.retain(|_, (_, chosen)| *chosen != connection);
    }

    /// The names that lie behind a connection.
    pub(super) fn over(&self, connection: ConnectionId) -> impl Iterator<Item = &FullName> {
        self.chosen
            .values()
            .filter(move |(_, chosen)| *chosen == connection)
            .map(|(name, _)| name)
    }
}
