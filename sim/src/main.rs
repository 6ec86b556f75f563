//! The simulator's command line: `sim --seeds 0..300`, `sim --seed 7 --trace`, `sim --scenario FILE`.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that tells people what it found"
)]

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sim::{run_scenario, run_seed};

const USAGE: &str = "sim --seeds A..B | --seed N [--trace] | --scenario FILE";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["--seeds", range] => match parse_range(range) {
            Some(seeds) => run_many(seeds),
            None => usage(),
        },
        ["--seed", seed] | ["--seed", seed, "--trace"] => match seed.parse() {
            Ok(seed) => run_one(seed, words.len() == 3),
            Err(_) => usage(),
        },
        ["--scenario", file] => run_file(file),
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn parse_range(text: &str) -> Option<Range<u64>> {
    let (first, end) = text.split_once("..")?;
    Some(first.parse().ok()?..end.parse().ok()?)
}

/// Runs all seeds on all processors; failures are printed as they come, totals at the end.
fn run_many(seeds: Range<u64>) -> ExitCode {
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let totals = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| work(&next, seeds.end)))
            .collect();
        let mut totals = Totals::default();
        for worker in workers {
            totals.add(
                worker
                    .join()
                    .expect("a seed that panics is a bug, and was printed"),
            );
        }
        totals
    });
    for (what, count) in &totals.sights {
        println!("{count:>8} x {what}");
    }
    println!(
        "{} virtual hours, {} events, {} messages delivered",
        totals.time.as_secs() / 3600,
        totals.events,
        totals.delivered
    );
    println!("{} passed, {} failed", totals.passed, totals.failed);
    if totals.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[derive(Default)]
struct Totals {
    passed: u64,
    failed: u64,
    events: u64,
    delivered: u64,
    time: Duration,
    sights: BTreeMap<&'static str, u64>,
}

impl Totals {
    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.events += other.events;
        self.delivered += other.delivered;
        self.time += other.time;
        for (what, count) in other.sights {
            *self.sights.entry(what).or_default() += count;
        }
    }
}

fn work(next: &AtomicU64, end: u64) -> Totals {
    let mut totals = Totals::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return totals;
        }
        match run_seed(seed, false) {
            Ok(report) => totals.add(Totals {
                passed: 1,
                failed: 0,
                events: report.events,
                delivered: report.delivered,
                time: report.virtual_time,
                sights: report.sights,
            }),
            Err(failure) => {
                println!("{failure}\n");
                totals.failed += 1;
            }
        }
    }
}

fn run_one(seed: u64, trace: bool) -> ExitCode {
    match run_seed(seed, trace) {
        Ok(report) => {
            for line in report.trace {
                println!("{line}");
            }
            println!(
                "seed {seed}: {} events in {} virtual seconds, {} messages delivered\n1 passed, 0 failed",
                report.events,
                report.virtual_time.as_secs(),
                report.delivered
            );
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{failure}\n0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn run_file(file: &str) -> ExitCode {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("{file}: {error}");
            return ExitCode::FAILURE;
        }
    };
    match run_scenario(&text) {
        Ok(output) => {
            print!("{output}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{file}: {error}");
            ExitCode::FAILURE
        }
    }
}
