//! The table of ratios.

use std::fmt;

use crate::measurement::{Measurement, Metric};
use crate::scenario::Scenario;
use crate::server_process::Target;

/// One measurement with its place in the comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) repetition: u32,
    pub(crate) scenario: Scenario,
    pub(crate) target: Target,
    pub(crate) measurement: Measurement,
}

/// All measurements; prints as Markdown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    runs: Vec<Run>,
}

/// The first is divided by the second.
const QUOTIENTS: [(Target, Target); 5] = [
    (Target::Node, Target::H2),
    (Target::Node, Target::Hyper),
    (Target::Node, Target::Tonic),
    (Target::Hyper, Target::H2),
    (Target::Tonic, Target::H2),
];

/// The ratios of all repetitions in short.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    median: f64,
    least: f64,
    most: f64,
}

impl Report {
    pub(crate) fn add(&mut self, run: Run) {
        self.runs.push(run);
    }

    /// The ratio within each repetition, so that a slow minute of the machine is on both sides of the division.
    fn ratios(&self, scenario: Scenario, metric: Metric, (above, below): (Target, Target)) -> Option<Spread> {
        let of = |target| {
            self.runs
                .iter()
                .filter(move |run| run.scenario == scenario && run.target == target)
        };
        let ratios = of(above).filter_map(|run| {
            let other = of(below).find(|other| other.repetition == run.repetition)?;
            Some(metric.of(&run.measurement)? / metric.of(&other.measurement)?)
        });
        Spread::of(ratios.collect())
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        let upper = *values.get(middle)?;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(*values.get(middle - 1)?, upper)
        } else {
            upper
        };
        Some(Self {
            median,
            least: *values.first()?,
            most: *values.last()?,
        })
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "**{:.2}** ({:.2}–{:.2})", self.median, self.least, self.most)
    }
}

/// What is compared, and which direction is good.
fn title(metric: Metric) -> &'static str {
    match metric {
        Metric::Throughput => "deliveries in a second (more is better)",
        Metric::CpuPerDelivery => "server CPU for a delivery (less is better)",
        Metric::RoundTripP50 => "round trip, p50 (less is better)",
        Metric::RoundTripP99 => "round trip, p99 (less is better)",
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let heads = QUOTIENTS.map(|(above, below)| format!("{above} ÷ {below}"));
        for metric in Metric::ALL {
            writeln!(f, "| {} | {} |", title(metric), heads.join(" | "))?;
            writeln!(f, "|---|{}", "---|".repeat(QUOTIENTS.len()))?;
            for scenario in Scenario::ALL {
                let spreads = QUOTIENTS.map(|quotient| self.ratios(scenario, metric, quotient));
                if spreads.iter().all(Option::is_none) {
                    continue;
                }
                let cells = spreads.map(|spread| {
                    // Too little CPU time to be counted in ticks.
                    spread.map_or_else(|| "not measurable".to_owned(), |spread| spread.to_string())
                });
                writeln!(f, "| {scenario} | {} |", cells.join(" | "))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn run(repetition: u32, target: Target, deliveries: u64) -> Run {
        Run {
            repetition,
            scenario: Scenario::ALL[0],
            target,
            measurement: Measurement {
                deliveries,
                time: Duration::from_secs(1),
                cpu: Duration::from_secs(1),
                latency: None,
            },
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_of_each_repetition() {
        let mut report = Report::default();
        // The machine slows down from one repetition to the next; the ratios tell 0.5, 0.9 and 0.6.
        for (repetition, node, h2) in [(1, 500, 1000), (2, 90, 100), (3, 6, 10)] {
            report.add(run(repetition, Target::Node, node));
            report.add(run(repetition, Target::H2, h2));
        }
        let quotient = (Target::Node, Target::H2);
        let spread = report.ratios(Scenario::ALL[0], Metric::Throughput, quotient);
        let expected = Spread {
            median: 0.6,
            least: 0.5,
            most: 0.9,
        };
        assert_eq!(spread, Some(expected));
        let missing = (Target::Node, Target::Tonic);
        assert_eq!(report.ratios(Scenario::ALL[0], Metric::Throughput, missing), None);
    }

    #[test]
    fn of_an_even_number_the_median_is_between_the_two_in_the_middle() {
        let spread = Spread::of(vec![4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((spread.median, spread.least, spread.most), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn the_table_names_what_it_compares() {
        let mut report = Report::default();
        report.add(run(1, Target::Node, 50));
        report.add(run(1, Target::H2, 100));
        let text = report.to_string();
        assert!(text.contains("node ÷ h2"), "{text}");
        assert!(
            text.contains("| 1 to 1, 64 B | **0.50** (0.50–0.50) | not measurable |"),
            "{text}"
        );
        assert!(
            !text.contains("16 KiB"),
            "rows without a value are left out: {text}"
        );
    }
}
