//! `slim-bench compare`: every server under every scenario, several times, and the report.

use std::io::{self, Write as _};

use anyhow::{Context as _, Result, ensure};

use crate::args::CompareOptions;
use crate::load::{self, Phases};
use crate::measurement::{Measurement, Metric};
use crate::report::{Report, Run};
use crate::scenario::Scenario;
use crate::server_process::{ServerProcess, StartOptions, Target};

/// Measures and prints.
pub(crate) fn run(options: &CompareOptions) -> Result<()> {
    let phases = Phases {
        warm_up: options.warm_up,
        measured: options.seconds,
    };
    let start = StartOptions {
        cores: options.cores,
        node: options.node.as_deref(),
    };
    let scenarios: Vec<Scenario> = Scenario::ALL
        .into_iter()
        .filter(|scenario| scenario.to_string().contains(&options.only))
        .collect();
    ensure!(!scenarios.is_empty(), "no scenario is called {:?}", options.only);
    let mut report = Report::default();
    for repetition in 1..=options.repetitions {
        for &scenario in &scenarios {
            // The servers take turns within a repetition: what else the machine does changes slowly, so it meets
            // all of them alike and falls out of the ratios.
            for target in Target::ALL {
                let measurement = measure(target, start, scenario, phases)
                    .with_context(|| format!("{target}, {scenario}, repetition {repetition}"))?;
                progress(repetition, scenario, target, &measurement);
                report.add(Run {
                    repetition,
                    scenario,
                    target,
                    measurement,
                });
            }
        }
    }
    write!(io::stdout(), "{report}").context("cannot print the report")
}

/// A fresh process for each measurement, so that none inherits streams, memory or luck.
fn measure(
    target: Target,
    start: StartOptions<'_>,
    scenario: Scenario,
    phases: Phases,
) -> Result<Measurement> {
    let process = ServerProcess::start(target, start)?;
    load::run(process.server(), scenario, phases)
}

/// Absolute numbers, for whoever watches; the report has ratios only.
fn progress(repetition: u32, scenario: Scenario, target: Target, measurement: &Measurement) {
    let busy = measurement.cpu.as_secs_f64() / measurement.time.as_secs_f64() * 100.0;
    let values: Vec<String> = Metric::ALL
        .into_iter()
        .filter_map(|metric| {
            let value = metric.of(measurement)?;
            Some(match metric {
                Metric::Throughput => format!("{value:.0} deliveries/s"),
                Metric::CpuPerDelivery => format!("{:.2} us CPU/delivery", value * 1e6),
                Metric::RoundTripP50 => format!("p50 {:.1} us", value * 1e6),
                Metric::RoundTripP99 => format!("p99 {:.1} us", value * 1e6),
            })
        })
        .collect();
    let values = values.join(", ");
    // Progress that nobody can read is no reason to stop.
    let _ = writeln!(
        io::stderr(),
        "{repetition}: {scenario}: {target}: {values}, {busy:.0} % of a core"
    );
}
