//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

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

    /// Calls between applications (SlimRPC)
    #[command(subcommand)]
    Rpc(RpcCommand),
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

#[derive(Debug, Subcommand)]
enum RpcCommand {
    /// Write clients and servers for the services of .proto files
    ///
    /// Needs no protoc. What the files import is generated with them; google/protobuf/*.proto is built in.
    ///
    /// rust: mod.rs and a file per package below the output folder, to be used as a module. The crate needs `slim`
    /// and `prost`.
    ///
    /// python: NAME_pb2.py, NAME_pb2.pyi and NAME_pb2_slimrpc.py per file; the output folder must be where Python looks
    /// for modules. They need `protobuf` and `slim-bindings`, this project's or the published one.
    Generate(GenerateStubs),
}

/// `slim rpc generate`.
#[derive(Debug, PartialEq, Eq, clap::Args)]
pub(crate) struct GenerateStubs {
    /// The language of the stubs
    #[arg(short, long, value_enum)]
    pub(crate) language: StubLanguage,

    /// The folder to write to; it is made if it is not there
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,

    /// A folder that imports, and names of files, start from; may be repeated [default: the current folder]
    #[arg(short = 'I', long, value_name = "FOLDER")]
    pub(crate) include: Vec<PathBuf>,

    /// Write nothing; fail if the files in the folder are not what would be written
    #[arg(long)]
    pub(crate) check: bool,

    /// .proto files, at least one of which declares a service
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// The languages of `slim rpc generate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StubLanguage {
    Rust,
    Python,
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
    /// Write stubs for services.
    GenerateStubs(GenerateStubs),
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
    match args.command {
        Some(Command::Config(ConfigCommand::Check { file })) => return Ok(Action::CheckConfig(file)),
        Some(Command::Config(ConfigCommand::Schema)) => return Ok(Action::ConfigSchema),
        Some(Command::Rpc(RpcCommand::Generate(stubs))) => return Ok(Action::GenerateStubs(stubs)),
        None => {}
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
    fn stubs_need_a_language_a_folder_and_a_file() {
        let whole = [
            "slim",
            "rpc",
            "generate",
            "-l",
            "rust",
            "-o",
            "out",
            "-I",
            "a",
            "--include",
            "b",
            "x.proto",
        ];
        let stubs = GenerateStubs {
            language: StubLanguage::Rust,
            out: "out".into(),
            include: vec!["a".into(), "b".into()],
            check: false,
            files: vec!["x.proto".into()],
        };
        assert_eq!(parsed(&whole, Some("c")), Ok(Action::GenerateStubs(stubs)));
        for arguments in [
            &["slim", "rpc"] as &[&str],
            &["slim", "rpc", "generate", "-l", "rust", "-o", "out"],
            &["slim", "rpc", "generate", "-l", "rust", "x.proto"],
            &["slim", "rpc", "generate", "-o", "out", "x.proto"],
            &["slim", "rpc", "generate", "-l", "cobol", "-o", "out", "x.proto"],
        ] {
            assert!(Args::try_parse_from(arguments).is_err(), "{arguments:?}");
        }
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
