//! The bytes below a link: a connection to the node, or a tunnel that a proxy opened to it.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use slim_config::{ClientConfig, Endpoint, ProxyConfig};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::client::TlsStream;

use crate::dial::DialError;
use crate::proxy::{choose, open_tunnel, shown};
use crate::socket::{PeerAddress, Socket};
use crate::tls::TlsConnector;

/// Limit of reaching the peer over TCP when the configuration has none; an operating system tries for minutes.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What a link's bytes go over.
pub(crate) enum Way {
    /// The node itself, or a plain-text connection with a proxy.
    Socket(Socket),
    /// A proxy that is spoken to under TLS.
    Secured(Box<TlsStream<Socket>>),
}

/// Reaches the node of a configuration within its limit. The address is that of the node, or of its proxy.
pub(crate) async fn reach(config: &ClientConfig) -> Result<(Way, PeerAddress), DialError> {
    let limit = config.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
    let proxy = choose(config).map_err(|error| DialError::Proxy {
        endpoint: config.endpoint.to_string(),
        proxy: "the environment".to_owned(),
        error,
    })?;
    match proxy {
        None => {
            let (socket, peer) = connect(config, &config.endpoint, limit).await?;
            Ok((Way::Socket(socket), peer))
        }
        // Boxed: rare, and the state of a handshake has kilobytes.
        Some(proxy) => Box::pin(through(config, &proxy, limit)).await,
    }
}

async fn through(
    config: &ClientConfig,
    proxy: &ProxyConfig,
    limit: Duration,
) -> Result<(Way, PeerAddress), DialError> {
    // One limit for the whole way.
    let end = Instant::now() + limit;
    let connected = connect(config, &proxy.endpoint, limit).await;
    let (socket, peer) = connected.map_err(|error| DialError::ProxyUnreachable {
        proxy: shown(proxy),
        error: Box::new(error),
    })?;
    let to_proxy = ClientConfig {
        tls: proxy.tls.clone(),
        ..ClientConfig::insecure(proxy.endpoint.clone())
    };
    let refused = |error| DialError::Proxy {
        endpoint: config.endpoint.to_string(),
        proxy: shown(proxy),
        error,
    };
    let open = async {
        let Some(connector) = TlsConnector::load(&to_proxy).await? else {
            let mut socket = socket;
            let opened = open_tunnel(&mut socket, proxy, &config.endpoint).await;
            return opened.map(|()| Way::Socket(socket)).map_err(refused);
        };
        let secured = connector.connect(socket, limit).await;
        let mut secured = secured.map_err(|failure| DialError::Tls {
            endpoint: format!("the proxy {}", proxy.endpoint),
            failure,
        })?;
        let opened = open_tunnel(&mut secured, proxy, &config.endpoint).await;
        opened.map(|()| Way::Secured(Box::new(secured))).map_err(refused)
    };
    match timeout_at(end, open).await {
        Ok(opened) => Ok((opened?, peer)),
        Err(_) => Err(DialError::ConnectTimeout {
            endpoint: format!("{} through the proxy {}", config.endpoint, shown(proxy)),
            limit,
        }),
    }
}

async fn connect(
    config: &ClientConfig,
    endpoint: &Endpoint,
    limit: Duration,
) -> Result<(Socket, PeerAddress), DialError> {
    let failed = |error| DialError::Connect {
        endpoint: endpoint.to_string(),
        error,
    };
    let connecting = async {
        if let Some(path) = endpoint.socket_path() {
            return connect_file(path).await;
        }
        let socket = TcpStream::connect((endpoint.host(), endpoint.port())).await?;
        prepare(&socket, config.keepalive.tcp_keepalive)?;
        let peer = socket.peer_addr()?;
        Ok((Socket::Tcp(socket), peer.into()))
    };
    match timeout(limit, connecting).await {
        Ok(connected) => connected.map_err(failed),
        Err(_) => Err(DialError::ConnectTimeout {
            endpoint: endpoint.to_string(),
            limit,
        }),
    }
}

#[cfg(unix)]
async fn connect_file(path: &Path) -> io::Result<(Socket, PeerAddress)> {
    let socket = UnixStream::connect(path).await?;
    Ok((Socket::Unix(socket), PeerAddress::ThisMachine))
}

#[cfg(not(unix))]
async fn connect_file(path: &Path) -> io::Result<(Socket, PeerAddress)> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("this system has no Unix sockets; {} needs one", path.display()),
    ))
}

fn prepare(socket: &TcpStream, tcp_keepalive: Duration) -> io::Result<()> {
    // A small frame must not wait for the acknowledgement of the one before.
    socket.set_nodelay(true)?;
    if !tcp_keepalive.is_zero() {
        SockRef::from(socket).set_tcp_keepalive(&TcpKeepalive::new().with_time(tcp_keepalive))?;
    }
    Ok(())
}

impl AsyncRead for Way {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(io) => Pin::new(io).poll_read(cx, buffer),
            Self::Secured(io) => Pin::new(io).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Way {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(io) => Pin::new(io).poll_write(cx, bytes),
            Self::Secured(io) => Pin::new(io).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Socket(io) => Pin::new(io).poll_write_vectored(cx, pieces),
            Self::Secured(io) => Pin::new(io).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Socket(io) => io.is_write_vectored(),
            Self::Secured(io) => io.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(io) => Pin::new(io).poll_flush(cx),
            Self::Secured(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Socket(io) => Pin::new(io).poll_shutdown(cx),
            Self::Secured(io) => Pin::new(io).poll_shutdown(cx),
        }
    }
}
