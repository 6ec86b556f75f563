//! One sender, one or more receivers, as fast as a bounded window allows.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};
use slim_net::frames::{BATCH_BYTES, BATCH_FRAMES};
use slim_net::{FrameWriter, LinkEnd};
use slim_proto::Egress;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::Client;
use super::message::{self, Route};
use super::{PATIENCE, Phases, Server, within};
use crate::cpu;
use crate::measurement::Measurement;

/// Messages that were sent and not yet counted by every receiver. A quarter of a node's egress queue, so nothing is
/// ever dropped for lack of room; of the largest payload it is one connection window.
const WINDOW: u64 = 256;

/// Different messages that are sent in turn.
const MESSAGES: u32 = 64;

/// How far the receivers are.
struct Progress {
    counts: Vec<AtomicU64>,
    moved: Notify,
    stop: AtomicBool,
}

impl Progress {
    fn slowest(&self) -> u64 {
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        counts.min().unwrap_or_default()
    }

    fn total(&self) -> u64 {
        self.counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .sum()
    }
}

/// Connects, checks that one message arrives everywhere unharmed, loads, and checks that nothing was lost.
pub(crate) async fn run(
    server: Server,
    receivers: usize,
    payload_bytes: usize,
    phases: Phases,
) -> Result<Measurement> {
    let route = Route {
        source: message::name("sender")?,
        destination: message::name("receiver")?,
        to_all: receivers > 1,
    };
    let mut sender = Client::connect(server).await?;
    let mut clients = Vec::with_capacity(receivers);
    for _ in 0..receivers {
        let mut client = Client::connect(server).await?;
        client.subscribe(&route.destination).await?;
        clients.push(client);
    }
    let messages: Vec<Egress> = (0..MESSAGES)
        // From 128 up all numbers of this size have varints of two bytes, so all messages have one length.
        .map(|number| sender.sign(&route.message(128 + number, payload_bytes)))
        .collect::<Result<_>>()?;
    let first = messages.first().context("there are messages")?;
    sender.writer.send(first.clone()).await?;
    let mut frame_bytes = 0;
    for client in &mut clients {
        let reader = &mut client.reader;
        let frame = within("first message", async { Ok(reader.next().await?) }).await?;
        frame_bytes = frame.bytes().len();
        let arrived = client.open(&frame)?;
        ensure!(
            arrived == expected(&route, payload_bytes, arrived.ttl),
            "the first message arrived changed"
        );
    }

    let progress = Arc::new(Progress {
        counts: clients.iter().map(|_| AtomicU64::new(0)).collect(),
        moved: Notify::new(),
        stop: AtomicBool::new(false),
    });
    let mut receiving = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        let progress = Arc::clone(&progress);
        receiving.spawn(async move { receive(client, &progress, index, frame_bytes).await });
    }
    let measuring = measure(server, &progress, phases);
    tokio::select! {
        result = drive(&mut sender.writer, &messages, &progress, measuring) => result,
        // Receivers end only by an error.
        Some(ended) = receiving.join_next() => match ended? {
            Ok(never) => match never {},
            Err(error) => Err(error),
        },
    }
}

fn expected(route: &Route, payload_bytes: usize, ttl: u32) -> slim_proto::Message {
    let mut message = route.message(128, payload_bytes);
    message.ttl = ttl;
    message
}

/// Sends until the measurement is over, then waits for the rest.
async fn drive(
    writer: &mut FrameWriter,
    messages: &[Egress],
    progress: &Progress,
    measuring: impl Future<Output = Result<Measurement>>,
) -> Result<Measurement> {
    let (sent, measurement) = tokio::join!(send(writer, messages, progress), measuring);
    let sent = sent?;
    let rest = async {
        while progress.slowest() < sent {
            progress.moved.notified().await;
        }
    };
    if tokio::time::timeout(PATIENCE, rest).await.is_err() {
        bail!(
            "messages were lost: {sent} sent, {} at the slowest receiver",
            progress.slowest()
        );
    }
    measurement
}

async fn send(writer: &mut FrameWriter, messages: &[Egress], progress: &Progress) -> Result<u64> {
    let mut sent = 0;
    let mut next = messages.iter().cycle();
    while !progress.stop.load(Ordering::Relaxed) {
        // Half a window at a time: a sender that wakes for each message would write each on its own.
        if sent - progress.slowest() > WINDOW / 2 {
            progress.moved.notified().await;
            continue;
        }
        // A flush may wait for the peer, and the window then never fills: the end must be looked for here too.
        while sent - progress.slowest() < WINDOW && !progress.stop.load(Ordering::Relaxed) {
            let room = WINDOW - (sent - progress.slowest());
            for message in next.by_ref().take(BATCH_FRAMES.min(usize::try_from(room)?)) {
                writer.push(message.clone());
                sent += 1;
                if writer.pending_bytes() >= BATCH_BYTES {
                    break;
                }
            }
            writer.flush().await?;
        }
    }
    Ok(sent)
}

/// Nothing; receivers never end well by themselves.
enum Never {}

/// Counts. What is ready is counted at once and told once, so that the sender is not woken for each message.
async fn receive(mut client: Client, progress: &Progress, index: usize, frame_bytes: usize) -> Result<Never> {
    let count = progress
        .counts
        .get(index)
        .context("one count for each receiver")?;
    loop {
        let ready = poll_fn(|cx| {
            let mut ready = 0;
            loop {
                match client.reader.poll_next(cx) {
                    Poll::Ready(Ok(frame)) if frame.bytes().len() != frame_bytes => {
                        let got = frame.bytes().len();
                        return Poll::Ready(Err(Unexpected::Size { got, frame_bytes }));
                    }
                    Poll::Ready(Ok(_)) => ready += 1,
                    Poll::Ready(Err(end)) => return Poll::Ready(Err(Unexpected::End(end))),
                    Poll::Pending if ready == 0 => return Poll::Pending,
                    Poll::Pending => return Poll::Ready(Ok(ready)),
                }
                if ready == WINDOW / 4 {
                    return Poll::Ready(Ok(ready));
                }
            }
        })
        .await;
        match ready {
            Ok(ready) => {
                count.fetch_add(ready, Ordering::Relaxed);
                progress.moved.notify_one();
            }
            Err(Unexpected::Size { got, frame_bytes }) => {
                bail!("a message of {got} bytes arrived instead of {frame_bytes}")
            }
            Err(Unexpected::End(end)) => return Err(end).context("a receiver lost its stream"),
        }
    }
}

enum Unexpected {
    Size { got: usize, frame_bytes: usize },
    End(LinkEnd),
}

async fn measure(server: Server, progress: &Progress, phases: Phases) -> Result<Measurement> {
    let result = measure_loaded(server, progress, phases).await;
    // Also after an error, or the sender would go on for ever.
    progress.stop.store(true, Ordering::Relaxed);
    progress.moved.notify_one();
    result
}

async fn measure_loaded(server: Server, progress: &Progress, phases: Phases) -> Result<Measurement> {
    sleep(phases.warm_up).await;
    let start = Instant::now();
    let (count, cpu) = (progress.total(), cpu::of_process(server.process)?);
    sleep(phases.measured).await;
    let measurement = Measurement {
        deliveries: progress.total() - count,
        cpu: cpu::of_process(server.process)?.saturating_sub(cpu),
        time: start.elapsed(),
        latency: None,
    };
    ensure!(measurement.deliveries > 0, "nothing was delivered");
    Ok(measurement)
}
