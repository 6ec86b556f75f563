//! Networks from seeds: every one of them safe under faults, and together again after them.

use std::sync::atomic::{AtomicU64, Ordering};

use sim::run_seed;

/// What every change runs; long runs are `cargo run -p sim --release -- --seeds 0..20000`.
const SEEDS: u64 = 300;

#[test]
fn three_hundred_networks_survive_their_faults() {
    let next = AtomicU64::new(0);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut failures = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= SEEDS {
                            return failures;
                        }
                        if let Err(failure) = run_seed(seed, false) {
                            failures.push(failure.to_string());
                        }
                    }
                })
            })
            .collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });
    assert!(
        failures.is_empty(),
        "{} of {SEEDS} seeds failed:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

/// Signatures and keys differ from run to run and vary in length; what happens, and when, does not.
#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in (0..SEEDS).step_by(50) {
        let (one, other) = (run_seed(seed, false).unwrap(), run_seed(seed, false).unwrap());
        assert_eq!(
            (one.fingerprint, one.events, one.virtual_time),
            (other.fingerprint, other.events, other.virtual_time),
            "seed {seed}"
        );
        assert!(one.events > 0);
    }
    let fingerprints: std::collections::BTreeSet<u64> = (0..10)
        .map(|seed| run_seed(seed, false).unwrap().fingerprint)
        .collect();
    assert_eq!(fingerprints.len(), 10, "different seeds tell different stories");
}

/// A run in which the faults never bite proves nothing.
#[test]
fn the_seeds_reach_the_rare_things() {
    let mut sights = std::collections::BTreeMap::new();
    for seed in 0..100 {
        for (what, count) in run_seed(seed, false).unwrap().sights {
            *sights.entry(what).or_insert(0) += count;
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
    ] {
        assert!(
            sights.get(what).is_some_and(|count| *count > 0),
            "{what} never happened: {sights:?}"
        );
    }
}
