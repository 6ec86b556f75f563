//! One message at a time: there, echoed by its receiver, and back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use slim_net::LinkEnd;
use slim_proto::Egress;

use super::client::Client;
use super::message::{self, Route};
use super::{Phases, Server, within};
use crate::cpu;
use crate::measurement::{Latency, Measurement};

/// Round trips that are remembered for the percentiles; later ones only count. More than any measurement has had.
const TIMES_MAX: usize = 4_000_000;

/// Connects two applications, checks one exchange, and times the others.
pub(crate) async fn run(server: Server, payload_bytes: usize, phases: Phases) -> Result<Measurement> {
    let there = Route {
        source: message::name("caller")?,
        destination: message::name("echo")?,
        to_all: false,
    };
    let back = Route {
        source: there.destination.clone(),
        destination: there.source.clone(),
        to_all: false,
    };
    let mut caller = Client::connect(server).await?;
    caller.subscribe(&there.source).await?;
    let mut echo = Client::connect(server).await?;
    echo.subscribe(&there.destination).await?;

    let request = caller.sign(&there.message(1, payload_bytes))?;
    let answer = echo.sign(&back.message(1, payload_bytes))?;
    within(
        "first round trip",
        check(&mut caller, &mut echo, &request, &answer),
    )
    .await?;
    tokio::select! {
        end = answer_all(&mut echo, &answer) => Err(end).context("the echo lost its stream"),
        measured = call(&mut caller, &request, server, phases) => measured,
    }
}

/// Both directions once, with the tags checked.
async fn check(caller: &mut Client, echo: &mut Client, request: &Egress, answer: &Egress) -> Result<()> {
    caller.writer.send(request.clone()).await?;
    let arrived = echo.reader.next().await?;
    let arrived = echo.open(&arrived)?;
    echo.writer.send(answer.clone()).await?;
    let returned = caller.reader.next().await?;
    let returned = caller.open(&returned)?;
    ensure!(
        (&arrived.source, &arrived.destination) == (&returned.destination, &returned.source)
            && arrived.content == returned.content,
        "the first round trip brought something else back"
    );
    Ok(())
}

async fn answer_all(echo: &mut Client, answer: &Egress) -> LinkEnd {
    loop {
        if let Err(end) = echo.reader.next().await {
            return end;
        }
        if let Err(end) = echo.writer.send(answer.clone()).await {
            return end;
        }
    }
}

async fn call(caller: &mut Client, request: &Egress, server: Server, phases: Phases) -> Result<Measurement> {
    calls(caller, request, phases.warm_up).await?;
    let start = Instant::now();
    let cpu_before = cpu::of_process(server.process)?;
    let times = calls(caller, request, phases.measured).await?;
    let time = start.elapsed();
    let cpu = cpu::of_process(server.process)?.saturating_sub(cpu_before);
    ensure!(
        times.len() < TIMES_MAX,
        "too many round trips for one measurement"
    );
    // There and back are two deliveries.
    let deliveries = 2 * u64::try_from(times.len())?;
    Ok(Measurement {
        deliveries,
        time,
        cpu,
        latency: Some(Latency::of(times).context("no round trip was completed")?),
    })
}

async fn calls(caller: &mut Client, request: &Egress, duration: Duration) -> Result<Vec<Duration>> {
    let start = Instant::now();
    let mut times = Vec::new();
    let mut sent_at = start;
    while sent_at.duration_since(start) < duration && times.len() < TIMES_MAX {
        caller.writer.send(request.clone()).await?;
        let reader = &mut caller.reader;
        reader.next().await?;
        let now = Instant::now();
        times.push(now.duration_since(sent_at));
        sent_at = now;
    }
    Ok(times)
}
