//! A listener's HTTP/2 connection over a pipe in memory, with any bytes behind the preface: it ends by itself, and no
//! call gets more out of it than was sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use slim_config::ServerConfig;
use slim_net::{Accepted, ConnectionSettings, Status, serve_connection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::time::timeout;

use crate::script::Script;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame: without one HTTP/2 ends at once.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Virtual time: longer than every limit that is on by itself.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Serves a connection on which these bytes arrive.
pub fn http2_connection(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without threads");
    runtime.block_on(connection(data));
}

async fn connection(data: &[u8]) {
    let mut script = Script::new(data);
    let flags = script.byte();
    let endpoint = "127.0.0.1:1".parse().expect("an endpoint");
    let settings = ConnectionSettings::from(&ServerConfig::insecure(endpoint));
    let (near, far) = duplex(64 * 1024);
    let frames = AtomicUsize::new(0);
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let serving = serve_connection(
        near,
        peer,
        &settings,
        std::future::pending(),
        |accepted: Accepted| {
            let Accepted {
                mut reader,
                writer,
                established,
                ..
            } = accepted;
            let frames = &frames;
            async move {
                if flags & 1 != 0 {
                    established.mark();
                    reader.accept_large_frames();
                }
                while reader.next().await.is_ok() {
                    frames.fetch_add(1, Ordering::Relaxed);
                }
                writer.finish(&Status::ok());
            }
        },
    );
    let peer = async {
        let (mut incoming, mut outgoing) = tokio::io::split(far);
        let reading = async {
            let mut sink = [0; 4096];
            while incoming.read(&mut sink).await.is_ok_and(|count| count > 0) {}
        };
        let writing = async {
            if flags & 2 == 0 {
                let _ = outgoing.write_all(PREFACE).await;
                let _ = outgoing.write_all(&SETTINGS).await;
            }
            // Errors say that the listener has gone; then nothing more is wanted.
            let _ = outgoing.write_all(script.rest()).await;
            if flags & 4 == 0 {
                let _ = outgoing.shutdown().await;
            }
        };
        tokio::join!(reading, writing);
    };
    let both = Box::pin(async { tokio::join!(serving, peer) });
    let ended = timeout(PATIENCE, both).await;
    assert!(
        ended.is_ok(),
        "a connection that says nothing more lives for ever"
    );
    // Each frame has a prefix of five bytes.
    assert!(frames.into_inner() * 5 <= data.len());
}
