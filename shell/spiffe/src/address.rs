//! Where the Workload API is (SPIFFE Workload Endpoint §4): a socket of this machine.

use std::path::{Path, PathBuf};

use slim_auth::SpiffeId;
use slim_config::SpireConfig;

use crate::error::{AddressError, SpiffeError};

/// The variable that says where, unless the configuration does.
const VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";
/// Where SPIRE agents listen unless told otherwise.
const DEFAULT: &str = "/run/spire/sockets/agent.sock";

/// The socket of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadAddress(PathBuf);

impl WorkloadAddress {
    /// The configured socket, else that of `SPIFFE_ENDPOINT_SOCKET`, else SPIRE's own default. Reads the environment.
    pub fn of(config: &SpireConfig) -> Result<Self, AddressError> {
        if let Some(path) = &config.socket_path {
            return Self::parse(path, "socket_path");
        }
        match std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) {
            Some(text) => Self::parse(Path::new(&text), VARIABLE),
            None => Ok(Self(DEFAULT.into())),
        }
    }

    /// `unix:///run/agent.sock`, `unix:/run/agent.sock` or the path alone. `origin` names the place of the text for a
    /// reader of the error.
    pub fn parse(text: &Path, origin: &'static str) -> Result<Self, AddressError> {
        let path = match text.to_str() {
            None => text,
            Some(text) => match text.split_once(':') {
                Some(("unix", rest)) => Path::new(rest.strip_prefix("//").unwrap_or(rest)),
                Some(("tcp", _)) => return Err(AddressError::Tcp { origin }),
                Some(_) | None => Path::new(text),
            },
        };
        if !path.is_absolute() {
            return Err(AddressError::NotAbsolute {
                origin,
                text: text.display().to_string(),
            });
        }
        Ok(Self(path.to_owned()))
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// The identity that is to be used, if the configuration names one.
pub fn target(config: &SpireConfig) -> Result<Option<SpiffeId>, SpiffeError> {
    let Some(text) = &config.target_spiffe_id else {
        return Ok(None);
    };
    match text.parse() {
        Ok(id) => Ok(Some(id)),
        Err(error) => Err(SpiffeError::Configured {
            key: "target_spiffe_id",
            text: text.clone(),
            error,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<WorkloadAddress, AddressError> {
        WorkloadAddress::parse(Path::new(text), "socket_path")
    }

    #[test]
    fn a_socket_is_written_as_uri_or_as_path() {
        for text in [
            "/run/agent.sock",
            "unix:///run/agent.sock",
            "unix:/run/agent.sock",
        ] {
            assert_eq!(
                parse(text).unwrap().path(),
                Path::new("/run/agent.sock"),
                "{text}"
            );
        }
        let configured = SpireConfig {
            socket_path: Some("unix:///a/b".into()),
            ..SpireConfig::default()
        };
        assert_eq!(
            WorkloadAddress::of(&configured).unwrap().path(),
            Path::new("/a/b")
        );
    }

    #[test]
    fn relative_paths_and_network_addresses_are_refused() {
        assert!(matches!(
            parse("agent.sock"),
            Err(AddressError::NotAbsolute { .. })
        ));
        assert!(matches!(
            parse("unix://agent.sock"),
            Err(AddressError::NotAbsolute { .. })
        ));
        assert!(matches!(
            parse("tcp://127.0.0.1:8081"),
            Err(AddressError::Tcp { .. })
        ));
    }
}
