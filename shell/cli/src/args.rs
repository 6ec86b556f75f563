//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Names the configuration when no argument does.
const CONFIG_VARIABLE: &str = "CONFIG";

/// A SLIM routing node.
#[derive(Debug, Parser)]
#[command(
    name = "slim",
    disable_version_flag = true,
    disable_help_subcommand = true,
    args_conflicts_with_subcommands = true
)]
struct Args {
    /// Run a node with this configuration file [environment variable: CONFIG]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print version, build date, git revision and profile
    #[arg(short = 'v', long, conflicts_with = "config")]
    version: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look at configurations without running them
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print what a configuration file means, with every default and without secrets
    ///
    /// Old spellings are replaced by today's, each with a warning on standard error. Environment variables count as
    /// they would for a node: SLIM_NODE__… over the file, ${env:NAME} and ${file:PATH} in it. The exit code is 1 if
    /// a node would refuse the file.
    Check {
        /// The file
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the JSON schema of configuration files, for editors
    Schema,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Print what this is.
    Version,
    /// Run a node with this file.
    RunNode(PathBuf),
    /// Print what this file means.
    CheckConfig(PathBuf),
    /// Print the schema of such files.
    ConfigSchema,
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
    if let Some(Command::Config(command)) = args.command {
        return Ok(match command {
            ConfigCommand::Check { file } => Action::CheckConfig(file),
            ConfigCommand::Schema => Action::ConfigSchema,
        });
    }
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

    fn parsed(arguments: &[&str], variable: Option<&str>) -> Result<Action, UsageError> {
        let args = Args::try_parse_from(arguments);
        args.map_or(Err(UsageError), |args| action(args, variable.map(OsString::from)))
    }

    #[test]
    fn the_argument_wins_over_the_variable_and_the_version_over_both() {
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
    fn configurations_can_be_looked_at_whatever_the_variable_says() {
        let check = Ok(Action::CheckConfig("a".into()));
        assert_eq!(parsed(&["slim", "config", "check", "a"], Some("b")), check);
        let schema = parsed(&["slim", "config", "schema"], None);
        assert_eq!(schema, Ok(Action::ConfigSchema));
    }

    #[test]
    fn config_and_version_together_are_refused() {
        for arguments in [
            &["slim", "-v", "-c", "a"] as &[&str],
            &["slim", "--config"],
            &["slim", "a"],
            &["slim", "config"],
            &["slim", "config", "check"],
            &["slim", "-c", "a", "config", "schema"],
        ] {
            assert!(Args::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
    }
}
