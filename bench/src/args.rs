//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::forwarder::Stack;

/// Measures a SLIM node against bare gRPC forwarders.
#[derive(Debug, Parser)]
#[command(name = "slim-bench")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure a node and the three forwarders; print the ratios as Markdown
    Compare(CompareOptions),
    /// Run a node; prints its address and ends with standard input
    Node {
        /// Worker threads; 0 means one for each CPU
        #[arg(long, default_value_t = 1)]
        cores: u32,
    },
    /// Run a bare forwarder; prints its address and ends with standard input
    Forwarder {
        /// What the forwarder is built on
        #[arg(long, value_enum)]
        stack: Stack,
        /// Worker threads; 0 means one for each CPU
        #[arg(long, default_value_t = 1)]
        cores: u32,
    },
}

/// How to compare.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct CompareOptions {
    /// Length of one measurement
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// Load before each measurement
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub(crate) warm_up: Duration,
    /// Measurements of each pair of scenario and server
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    pub(crate) repetitions: u32,
    /// Worker threads of each server; 0 means one for each CPU
    #[arg(long, default_value_t = 1)]
    pub(crate) cores: u32,
    /// Measure only scenarios whose name contains this, for example "16 KiB"
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) only: String,
    /// A node to start as `PROGRAM --config FILE`, for example target/release/slim; without it, the node of the
    /// library that this program was built with
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) node: Option<PathBuf>,
}

/// Reads the command line of this process; clap ends it for `--help` and for arguments that do not exist.
pub(crate) fn parse() -> Command {
    Args::parse().command
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("{text:?} is no number"))?;
    if !(0.01..=3600.0).contains(&number) {
        return Err(format!("{text} is not between 0.01 and 3600 seconds"));
    }
    Ok(Duration::from_secs_f64(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_may_be_fractions_and_have_bounds() {
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["0", "-1", "NaN", "inf", "1e9", "x", ""] {
            assert!(seconds(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_documented_measurement() {
        let args = Args::try_parse_from(["slim-bench", "compare"]).unwrap();
        let Command::Compare(options) = args.command else {
            panic!("another command: {:?}", args.command);
        };
        assert_eq!(options.seconds, Duration::from_secs(5));
        assert_eq!(options.warm_up, Duration::from_secs(1));
        assert_eq!((options.repetitions, options.cores, options.node), (3, 1, None));
    }
}
