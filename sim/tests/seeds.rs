//! Networks from seeds: every one of them safe under faults, and together again after them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use sim::{Failure, Report, run_seed};

/// What every change runs; long runs are `cargo run -p sim --release -- --seeds 0..20000`.
const SEEDS: u64 = 300;

#[test]
fn three_hundred_networks_survive_their_faults() {
    let next = AtomicU64::new(0);
    let results: Vec<Result<Report, Box<Failure>>> = std::thread::scope(|scope| {
        let work = || {
            let mut results = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= SEEDS {
                    return results;
                }
                results.push(run_seed(seed, false));
            }
        };
        let workers = [scope.spawn(work), scope.spawn(work)];
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    let failures: Vec<String> = results
        .iter()
        .filter_map(|result| result.as_ref().err().map(ToString::to_string))
        .collect();
    assert!(
        failures.is_empty(),
        "{} of {SEEDS} seeds failed:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
    faults_bite(&results);
}

/// A run in which the faults never bite proves nothing.
fn faults_bite(results: &[Result<Report, Box<Failure>>]) {
    let mut sights = BTreeMap::new();
    for report in results.iter().flatten() {
        for (what, count) in &report.sights {
            *sights.entry(*what).or_insert(0) += count;
        }
    }
    for what in [
        "rejoin",
        "retransmitted",
        "replayed",
        "duplicate",
        "parked",
        "undecryptable",
        "header_altered",
        "signature_refused",
        "identity_refused",
        "gap reported",
        "egress queue full",
        "intrusion refused",
    ] {
        assert!(
            sights.get(what).is_some_and(|count| *count > 0),
            "{what} never happened: {sights:?}"
        );
    }
}

/// Signatures and keys differ from run to run and vary in length; what happens, and when, does not.
#[test]
fn a_seed_tells_the_same_story_twice() {
    let mut stories = BTreeSet::new();
    for seed in (0..SEEDS).step_by(50) {
        let (one, other) = (run_seed(seed, false).unwrap(), run_seed(seed, false).unwrap());
        assert_eq!(
            (one.fingerprint, one.events, one.virtual_time),
            (other.fingerprint, other.events, other.virtual_time),
            "seed {seed}"
        );
        assert!(
            stories.insert(one.fingerprint),
            "another seed told the story of seed {seed}"
        );
    }
}
