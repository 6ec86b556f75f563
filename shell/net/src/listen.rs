//! Accepting sockets, with limits on how many.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slim_config::Endpoint;
use slim_proto::limits::{CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX};
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::socket::{PeerAddress, Socket};
#[cfg(unix)]
use crate::socket_file::SocketFile;

/// Pause after a failed accept. The usual cause is a lack of file descriptors, which an eager loop makes worse.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why an endpoint cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {endpoint}: {error}")]
pub struct ListenError {
    /// Where.
    pub endpoint: String,
    /// What the system says, for example that the port is in use.
    pub error: std::io::Error,
}

/// A bound socket. Dropping it stops accepting.
#[derive(Debug)]
pub struct Listener {
    bound: Bound,
    local: Endpoint,
    limits: ConnectionLimits,
}

#[derive(Debug)]
enum Bound {
    Tcp(TcpListener, SocketAddr),
    #[cfg(unix)]
    File(SocketFile),
}

/// A socket that was accepted; the permit counts it until it is dropped.
#[derive(Debug)]
pub struct AcceptedSocket {
    /// The socket, without delay.
    pub socket: Socket,
    /// Who.
    pub peer: PeerAddress,
    /// Keep it as long as the socket.
    pub permit: ConnectionPermit,
}

impl Listener {
    /// Binds. From here on the system queues connections, so bind when everything else is ready.
    pub async fn bind(endpoint: &Endpoint, limits: ConnectionLimits) -> Result<Self, ListenError> {
        match Bound::new(endpoint).await {
            Ok(bound) => Ok(Self {
                local: match &bound {
                    Bound::Tcp(_, address) => endpoint.clone().bound_to(*address),
                    #[cfg(unix)]
                    Bound::File(_) => endpoint.clone(),
                },
                bound,
                limits,
            }),
            Err(error) => Err(ListenError {
                endpoint: endpoint.to_string(),
                error,
            }),
        }
    }

    /// The bound endpoint, with the address and the port that the system chose.
    pub fn local_endpoint(&self) -> &Endpoint {
        &self.local
    }

    /// The bound address of the network; none for a socket file.
    pub fn local_address(&self) -> Option<SocketAddr> {
        match &self.bound {
            Bound::Tcp(_, address) => Some(*address),
            #[cfg(unix)]
            Bound::File(_) => None,
        }
    }

    /// The next socket within the limits; others are closed at once. Cancel safe.
    pub async fn accept(&self) -> AcceptedSocket {
        loop {
            let (socket, peer) = match self.bound.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Some(permit) = self.limits.admit(peer.ip()) else {
                tracing::debug!(%peer, "connection refused: too many");
                continue;
            };
            if let Socket::Tcp(socket) = &socket
                && let Err(error) = socket.set_nodelay(true)
            {
                tracing::debug!(%peer, %error, "connection lost before it began");
                continue;
            }
            return AcceptedSocket { socket, peer, permit };
        }
    }
}

impl Bound {
    async fn new(endpoint: &Endpoint) -> std::io::Result<Self> {
        let Some(path) = endpoint.socket_path() else {
            let socket = TcpListener::bind((endpoint.host(), endpoint.port())).await?;
            let local = socket.local_addr()?;
            return Ok(Self::Tcp(socket, local));
        };
        #[cfg(unix)]
        return Self::file(path).await;
        #[cfg(not(unix))]
        return Err(std::io::Error::new(
            std::io::ErrorKind::Unsupported,
            format!("this system has no Unix sockets; {} needs one", path.display()),
        ));
    }

    /// On a thread that may wait for a disk.
    #[cfg(unix)]
    async fn file(path: &Path) -> std::io::Result<Self> {
        let path = path.to_owned();
        let runtime = tokio::runtime::Handle::current();
        let bind = move || {
            let _guard = runtime.enter();
            SocketFile::bind(&path)
        };
        match tokio::task::spawn_blocking(bind).await {
            Ok(bound) => Ok(Self::File(bound?)),
            Err(stopping) => Err(std::io::Error::other(stopping)),
        }
    }

    async fn accept(&self) -> std::io::Result<(Socket, PeerAddress)> {
        match self {
            Self::Tcp(socket, _) => {
                let (socket, peer) = socket.accept().await?;
                Ok((Socket::Tcp(socket), peer.into()))
            }
            #[cfg(unix)]
            Self::File(file) => {
                let (socket, _) = file.socket.accept().await?;
                Ok((Socket::Unix(socket), PeerAddress::ThisMachine))
            }
        }
    }
}

/// Open connections of a node, in total and per remote address (T-O1). Clones share the counts.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    total_max: usize,
    per_address_max: usize,
    open: Arc<Mutex<Open>>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    per_address: HashMap<IpAddr, usize>,
    refused: u64,
}

/// One counted connection.
#[derive(Debug)]
pub struct ConnectionPermit {
    address: IpAddr,
    open: Arc<Mutex<Open>>,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self::new(CONNECTIONS_MAX, CONNECTIONS_PER_ADDRESS_MAX)
    }
}

impl ConnectionLimits {
    /// Other limits than the default ones.
    pub fn new(total_max: usize, per_address_max: usize) -> Self {
        Self {
            total_max,
            per_address_max,
            open: Arc::default(),
        }
    }

    /// Counts a connection, unless that is one too many. The limit per address spares this machine: whoever is
    /// on it can take every port anyway, and a test bench opens thousands.
    pub fn admit(&self, address: IpAddr) -> Option<ConnectionPermit> {
        let address = address.to_canonical();
        let mut open = lock(&self.open);
        let of_address = open.per_address.get(&address).copied().unwrap_or(0);
        if open.total >= self.total_max || (of_address >= self.per_address_max && !address.is_loopback()) {
            open.refused += 1;
            return None;
        }
        open.total += 1;
        open.per_address.insert(address, of_address + 1);
        Some(ConnectionPermit {
            address,
            open: Arc::clone(&self.open),
        })
    }

    /// Connections refused so far.
    pub fn refused(&self) -> u64 {
        lock(&self.open).refused
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        open.total -= 1;
        if let Some(count) = open.per_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.per_address.remove(&self.address);
            }
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_hold_per_address_and_in_total_until_permits_are_dropped() {
        let limits = ConnectionLimits::new(3, 2);
        let (a, b): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = limits.admit(a).unwrap();
        let _second = limits.admit(a).unwrap();
        assert!(limits.admit(a).is_none(), "third of one address");
        let _third = limits.admit(b).unwrap();
        assert!(limits.admit(b).is_none(), "fourth in total");
        drop(first);
        assert!(limits.admit(a).is_some());
        assert_eq!(limits.refused(), 2);
    }

    #[test]
    fn an_address_in_either_form_is_one_and_forgotten_with_its_last_connection() {
        let limits = ConnectionLimits::new(10, 1);
        let permit = limits.admit("::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert!(limits.admit("10.0.0.1".parse().unwrap()).is_none());
        drop(permit);
        assert!(lock(&limits.open).per_address.is_empty());
    }

    #[test]
    fn this_machine_is_spared_the_limit_per_address() {
        let limits = ConnectionLimits::new(3, 1);
        let permits: Vec<_> = (0..3)
            .map(|_| limits.admit("127.0.0.1".parse().unwrap()).unwrap())
            .collect();
        assert_eq!(permits.len(), 3);
        assert!(
            limits.admit("127.0.0.1".parse().unwrap()).is_none(),
            "the total holds"
        );
    }
}
