//! What one measurement says.

use std::time::Duration;

/// Counts of one server under one scenario.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measurement {
    /// Messages that arrived at a receiver; with eight receivers each message counts eight times.
    pub(crate) deliveries: u64,
    /// How long.
    pub(crate) time: Duration,
    /// Processor time of the server in that time.
    pub(crate) cpu: Duration,
    /// Of round trips.
    pub(crate) latency: Option<Latency>,
}

/// Times of round trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Latency {
    /// Half of them were faster.
    pub(crate) p50: Duration,
    /// One in a hundred was slower.
    pub(crate) p99: Duration,
}

/// A quantity that servers are compared in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Deliveries in a second.
    Throughput,
    /// Processor time of the server for one delivery.
    CpuPerDelivery,
    /// Median round trip.
    RoundTripP50,
    /// Round trip that one in a hundred exceeds.
    RoundTripP99,
}

impl Metric {
    /// Every quantity, in the order of the report.
    pub(crate) const ALL: [Self; 4] = [
        Self::Throughput,
        Self::CpuPerDelivery,
        Self::RoundTripP50,
        Self::RoundTripP99,
    ];

    /// Its value; `None` where the scenario has none or nothing was counted.
    pub(crate) fn of(self, measurement: &Measurement) -> Option<f64> {
        #[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let deliveries = measurement.deliveries as f64;
        let value = match self {
            // Of a load that sends one message at a time the rate says the same as the round trip.
            Self::Throughput if measurement.latency.is_some() => return None,
            Self::Throughput => deliveries / measurement.time.as_secs_f64(),
            Self::CpuPerDelivery => measurement.cpu.as_secs_f64() / deliveries,
            Self::RoundTripP50 => measurement.latency?.p50.as_secs_f64(),
            Self::RoundTripP99 => measurement.latency?.p99.as_secs_f64(),
        };
        (value.is_finite() && value > 0.0).then_some(value)
    }
}

impl Latency {
    /// The percentiles of these times; `None` if there are none.
    pub(crate) fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        // Nearest rank: the smallest time that at least this share does not exceed.
        let rank = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).copied()
        };
        Some(Self {
            p50: rank(50)?,
            p99: rank(99)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn percentiles_are_nearest_ranks() {
        let latency = Latency::of((1..=200).rev().map(micros).collect()).unwrap();
        assert_eq!((latency.p50, latency.p99), (micros(100), micros(198)));
        let one = Latency::of(vec![micros(7)]).unwrap();
        assert_eq!((one.p50, one.p99), (micros(7), micros(7)));
        assert_eq!(Latency::of(Vec::new()), None);
    }

    #[test]
    fn a_quantity_that_was_not_measured_has_no_value() {
        let stream = Measurement {
            deliveries: 4000,
            time: Duration::from_secs(2),
            cpu: Duration::from_secs(1),
            latency: None,
        };
        let of = |measurement| Metric::ALL.map(|metric| metric.of(measurement));
        assert_eq!(of(&stream), [Some(2000.0), Some(0.00025), None, None]);
        let nothing = Measurement {
            deliveries: 0,
            cpu: Duration::ZERO,
            ..stream
        };
        assert_eq!(of(&nothing), [None; 4]);
    }
}
