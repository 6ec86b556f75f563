//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Parser;

/// Names the configuration when no argument does.
const CONFIG_VARIABLE: &str = "CONFIG";

/// A SLIM routing node.
#[derive(Debug, Parser)]
#[command(name = "slim", disable_version_flag = true)]
struct Args {
    /// Run a node with this configuration file [environment variable: CONFIG]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print version, build date, git revision and profile
    #[arg(short = 'v', long, conflicts_with = "config")]
    version: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Print what this is.
    Version,
    /// Run a node with this file.
    RunNode(PathBuf),
}

/// Nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "name a configuration file with --config FILE or the environment variable CONFIG, or ask for --version"
)]
pub(crate) struct UsageError;

/// Reads the command line of this process; clap ends it for `--help` and for arguments that do not exist.
pub(crate) fn parse() -> Result<Action, UsageError> {
    action(Args::parse(), std::env::var_os(CONFIG_VARIABLE))
}

fn action(args: Args, variable: Option<OsString>) -> Result<Action, UsageError> {
    if args.version {
        return Ok(Action::Version);
    }
    let from_variable = variable.filter(|path| !path.is_empty()).map(PathBuf::from);
    args.config
        .or(from_variable)
        .map(Action::RunNode)
        .ok_or(UsageError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_wins_over_the_variable_and_the_version_over_both() {
        let parsed = |arguments: &[&str], variable: Option<&str>| {
            let args = Args::try_parse_from(arguments).unwrap();
            action(args, variable.map(OsString::from))
        };
        let file = |path: &str| Ok(Action::RunNode(path.into()));
        assert_eq!(parsed(&["slim", "--config", "a"], None), file("a"));
        assert_eq!(parsed(&["slim", "-c", "a"], Some("b")), file("a"));
        assert_eq!(parsed(&["slim"], Some("b")), file("b"));
        assert_eq!(parsed(&["slim", "--version"], None), Ok(Action::Version));
        assert_eq!(parsed(&["slim", "-v"], Some("b")), Ok(Action::Version));
        assert_eq!(parsed(&["slim"], None), Err(UsageError));
        assert_eq!(parsed(&["slim"], Some("")), Err(UsageError));
    }

    #[test]
    fn config_and_version_together_are_refused() {
        assert!(Args::try_parse_from(["slim", "-v", "-c", "a"]).is_err());
        assert!(Args::try_parse_from(["slim", "--config"]).is_err());
        assert!(Args::try_parse_from(["slim", "a"]).is_err());
    }
}
