//! A proxy between one application and its node that loses session messages, for tests: what endpoints do about loss
//! can only be seen where a link, which loses nothing, is made to.
//!
//! ```text
//! lossy_proxy --target http://127.0.0.1:46357 [--listen 127.0.0.1:0] [--percent 5] [--seed 1] [--types data|all]
//! ```
//!
//! Frames pass unchanged in both directions, negotiation included, so the two ends check each other's tags as if they
//! were alone. Lost are messages of the kinds MSG, MSG_ACK, RTX_REQUEST and RTX_REPLY (`data`) or of every kind
//! (`all`) of the wires of 1.x to 3.x; subscriptions and links never. A number on a line of standard input is the new
//! percentage; its end ends the proxy. Standard output has one JSON object per line: where it listens, and at the end
//! what came and what of it was dropped.
#![allow(clippy::print_stdout, reason = "standard output is the interface")]

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use slim_config::{ClientConfig, Endpoint, ServerConfig};
use slim_crypto::Rng;
use slim_net::listen::ConnectionLimits;
use slim_net::{
    Accepted, ConnectionSettings, Dialed, FrameReader, FrameWriter, Listener, Status, dial, serve_connection,
};
use slim_proto::wire::{Field, Fields};
use slim_proto::{Egress, Frame, FrameKind, MessageKind};
use tokio::sync::oneshot;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The session header in a publish (wire-routing A2.2).
const SESSION_HEADER_FIELD: u32 = 2;
/// `session_message_type` in the session header (wire-routing A2.3).
const KIND_FIELD: u32 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let settings = Settings::parse(std::env::args().skip(1))?;
    let listener = Listener::bind(&settings.listen, ConnectionLimits::default()).await?;
    let address = listener
        .local_address()
        .ok_or("--listen takes an address and a port")?;
    println!(
        "{}",
        json!({"event": "listening", "address": address.to_string()})
    );
    let loss = Arc::new(Loss {
        percent: AtomicU64::new(settings.percent),
        only_data: settings.only_data,
        counts: Mutex::default(),
    });
    let ended = read_percentages(Arc::clone(&loss));
    tokio::select! {
        () = accept(&listener, &settings, &loss) => {}
        _ = ended => {}
    }
    println!("{}", json!({"event": "end", "messages": loss.report()}));
    Ok(())
}

/// The command line.
struct Settings {
    listen: Endpoint,
    target: Endpoint,
    percent: u64,
    seed: u64,
    only_data: bool,
}

impl Settings {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let (mut listen, mut target) = ("127.0.0.1:0".to_owned(), None);
        let (mut percent, mut seed, mut only_data) = (5, 1, true);
        while let Some(option) = arguments.next() {
            let value = arguments
                .next()
                .ok_or_else(|| format!("{option} needs a value"))?;
            match option.as_str() {
                "--listen" => listen = value,
                "--target" => target = Some(value),
                "--percent" => percent = parse_percent(&value)?,
                "--seed" => seed = value.parse()?,
                "--types" => {
                    only_data = match value.as_str() {
                        "data" => true,
                        "all" => false,
                        other => return Err(format!("--types is data or all, not {other:?}").into()),
                    }
                }
                other => return Err(format!("no option {other:?}; see the head of the source").into()),
            }
        }
        Ok(Self {
            listen: listen.parse()?,
            target: target.ok_or("--target needs the address of a node")?.parse()?,
            percent,
            seed,
            only_data,
        })
    }
}

fn parse_percent(text: &str) -> Result<u64, Failure> {
    match text.trim().parse() {
        Ok(percent @ 0..=100) => Ok(percent),
        _ => Err(format!("{text:?} is no percentage: 0 to 100").into()),
    }
}

/// What all links of the proxy share.
struct Loss {
    percent: AtomicU64,
    only_data: bool,
    /// Messages that came and those of them that were dropped, by direction and kind.
    counts: Mutex<BTreeMap<(Direction, u32), (u64, u64)>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Direction {
    ToNode,
    ToApplication,
}

impl Loss {
    fn drops(&self, frame: &Frame, direction: Direction, rng: &mut Rng) -> bool {
        let Some(kind) = kind_of(frame) else {
            return false;
        };
        if self.only_data && kind > MessageKind::RtxReply as u32 {
            return false;
        }
        let is_dropped = rng.below(100) < self.percent.load(Ordering::Relaxed);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, dropped) = counts.entry((direction, kind)).or_default();
        *seen += 1;
        *dropped += u64::from(is_dropped);
        is_dropped
    }

    fn report(&self) -> Value {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts
            .iter()
            .map(|((direction, kind), (seen, dropped))| {
                let known = MessageKind::ALL.into_iter().find(|known| *known as u32 == *kind);
                json!({
                    "direction": match direction {
                        Direction::ToNode => "to node",
                        Direction::ToApplication => "to application",
                    },
                    "kind": known.map_or_else(|| kind.to_string(), |known| format!("{known:?}")),
                    "seen": seen,
                    "dropped": dropped,
                })
            })
            .collect()
    }
}

/// The kind of a session message; `None` for every other frame, and for what is no such message. Looks only at what
/// 1.x, 2.x and 3.x have in common: a publish, the session header in it, and the kind in that.
fn kind_of(frame: &Frame) -> Option<u32> {
    let publish = last(frame.bytes(), FrameKind::Publish.field())?;
    let session_header = last(publish.bytes().ok()?, SESSION_HEADER_FIELD)?;
    last(session_header.bytes().ok()?, KIND_FIELD)?.uint32().ok()
}

/// The field of this number; of several the last, as receivers read it.
fn last(message: &[u8], number: u32) -> Option<Field<'_>> {
    let fields: Result<Vec<_>, _> = Fields::of(message).collect();
    fields.ok()?.into_iter().rfind(|field| field.number == number)
}

/// Standard input has no asynchronous form, so a thread reads it; the receiver resolves with its end.
fn read_percentages(loss: Arc<Loss>) -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match parse_percent(&line) {
                Ok(percent) => {
                    loss.percent.store(percent, Ordering::Relaxed);
                    println!("{}", json!({"event": "percent", "percent": percent}));
                }
                Err(error) => println!("{}", json!({"event": "error", "error": error.to_string()})),
            }
        }
        // The receiver may be gone: the proxy ends then anyway.
        let _ = sender.send(());
    });
    receiver
}

async fn accept(listener: &Listener, settings: &Settings, loss: &Arc<Loss>) {
    let connection = Arc::new(ConnectionSettings::from(&ServerConfig::insecure(
        settings.listen.clone(),
    )));
    for number in 0u64.. {
        let accepted = listener.accept().await;
        let (connection, loss) = (Arc::clone(&connection), Arc::clone(loss));
        let (target, seed) = (settings.target.clone(), settings.seed);
        tokio::spawn(async move {
            let forever = std::future::pending();
            serve_connection(accepted.socket, accepted.peer, &connection, forever, |call| {
                relay(call, target.clone(), Arc::clone(&loss), [seed, number])
            })
            .await;
            drop(accepted.permit);
        });
    }
}

/// One link of the application and the one to the node that belongs to it; they end together.
async fn relay(call: Accepted, target: Endpoint, loss: Arc<Loss>, seed: [u64; 2]) {
    let Ok(node) = dial(&ClientConfig::insecure(target)).await else {
        call.writer.abort();
        return;
    };
    call.established.mark();
    let Dialed {
        reader: mut from_node,
        writer: mut to_node,
        connection: _connection,
        ..
    } = node;
    let (mut from_application, mut to_application) = (call.reader, call.writer);
    tokio::select! {
        () = forward(&mut from_application, &mut to_node, &loss, Direction::ToNode, seed) => {}
        () = forward(&mut from_node, &mut to_application, &loss, Direction::ToApplication, seed) => {}
    }
    to_node.finish(&Status::ok());
    to_application.finish(&Status::ok());
}

async fn forward(
    from: &mut FrameReader,
    to: &mut FrameWriter,
    loss: &Loss,
    direction: Direction,
    [seed, link]: [u64; 2],
) {
    let mut bytes = [0; 32];
    for (place, number) in bytes.chunks_exact_mut(8).zip([seed, link, direction as u64]) {
        place.copy_from_slice(&number.to_le_bytes());
    }
    let mut rng = Rng::from_seed(bytes);
    from.accept_large_frames();
    while let Ok(frame) = from.next().await {
        if !loss.drops(&frame, direction, &mut rng) && to.send(Egress::verbatim(frame)).await.is_err() {
            return;
        }
    }
}
