//! The whole file: tracing, runtime, services.

use std::fmt;

use crate::Loaded;
use crate::authorization::AuthorizationConfig;
use crate::client::ClientConfig;
use crate::error::{ConfigError, Problem, Warning};
use crate::later;
use crate::runtime::RuntimeConfig;
use crate::section::{Field, Section};
use crate::server::ServerConfig;
use crate::tracing::TracingConfig;
use crate::tree::{self, Value};

/// Configuration of a node process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Logging.
    pub tracing: TracingConfig,
    /// Threads and shutdown.
    pub runtime: RuntimeConfig,
    /// The services, in the order of the file; at least one.
    pub services: Vec<ServiceConfig>,
}

/// One service: a routing domain with its listeners and outgoing links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceConfig {
    /// Its key in the file.
    pub id: ServiceId,
    /// The id that it tells its links; absent means a random one.
    pub node_id: Option<String>,
    /// Who may use which name; absent means that nothing is written about it.
    pub authorization: Option<AuthorizationConfig>,
    /// `dataplane.enforce_pqc`; every listener and client of the service has it too.
    pub enforce_pqc: bool,
    /// Listeners.
    pub servers: Vec<ServerConfig>,
    /// Outgoing links.
    pub clients: Vec<ClientConfig>,
}

/// `slim/NAME`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceId {
    name: String,
}

impl ServiceId {
    const KIND: &str = "slim";

    /// The part after the slash.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn parse(key: &str, field: &Field<'_>) -> Result<Self, ConfigError> {
        let (kind, name) = key.split_once('/').unwrap_or((key, ""));
        if kind != Self::KIND {
            return Err(field.error(Problem::ServiceKind {
                kind: kind.to_owned(),
            }));
        }
        if name.is_empty() {
            return Err(field.error(Problem::ServiceName));
        }
        Ok(Self {
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Self::KIND, self.name)
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl NodeConfig {
    const KEYS: &[&str] = &["tracing", "runtime", "services"];

    /// Parses the text of a configuration file.
    pub fn from_yaml_text(text: &str) -> Result<Loaded<Self>, ConfigError> {
        let document = tree::from_yaml(text)?;
        let root = Field::root(&document);
        if document.value == Value::Null {
            return Err(root.error(Problem::NoServices));
        }
        let section = Section::open(&root, Self::KEYS)?;
        let mut warnings = Vec::new();
        let tracing = TracingConfig::parse(section.field("tracing"), &mut warnings)?;
        let runtime = RuntimeConfig::parse(section.field("runtime"))?;
        let Some(field) = section.field("services") else {
            return Err(section.error(Problem::NoServices));
        };
        let services = Section::open_any(field)?;
        if services.fields().is_empty() {
            return Err(field.error(Problem::NoServices));
        }
        let services = services
            .fields()
            .iter()
            .map(|(key, field)| ServiceConfig::parse(key, field, &mut warnings))
            .collect::<Result<_, _>>()?;
        Ok(Loaded {
            config: Self {
                tracing,
                runtime,
                services,
            },
            warnings,
        })
    }
}

impl ServiceConfig {
    const KEYS: &[&str] = &[
        "dataplane",
        "pubsub",
        "node_id",
        "domain_name",
        "group_name",
        "auth",
        "default_gateway",
        "controller",
        "peers",
    ];
    const DATAPLANE_KEYS: &[&str] = &["servers", "clients", "outbound_clients", "enforce_pqc"];

    /// A service with one listener and nothing else, for a node inside another program.
    pub fn embedded(server: ServerConfig) -> Self {
        Self {
            id: ServiceId { name: "0".into() },
            node_id: None,
            authorization: None,
            enforce_pqc: false,
            servers: vec![server],
            clients: Vec::new(),
        }
    }

    fn parse(key: &str, field: &Field<'_>, warnings: &mut Vec<Warning>) -> Result<Self, ConfigError> {
        let id = ServiceId::parse(key, field)?;
        if *field.value() == Value::Null {
            return Err(field.error(Problem::NothingToRun));
        }
        let section = Section::open(field, Self::KEYS)?;
        later::refuse_auth(&section)?;
        later::refuse(&section, &["controller", "peers", "domain_name", "group_name"])?;
        // Only applications inside the node would use a gateway, and this node hosts none.
        if let Some(gateway) = section.field("default_gateway")
            && gateway.text()? != "auto"
        {
            return Err(gateway.error(Problem::NotYet {
                neutral: Some("auto"),
            }));
        }
        let node_id = section.field("node_id").map(Field::text).transpose()?;
        let mut service = Self {
            id,
            node_id: node_id.map(str::to_owned),
            authorization: None,
            enforce_pqc: false,
            servers: Vec::new(),
            clients: Vec::new(),
        };
        if let Some(field) = dataplane(&section, warnings)? {
            let dataplane = Section::open(field, Self::DATAPLANE_KEYS)?;
            later::refuse(&dataplane, &["outbound_clients"])?;
            later::refuse_true(&dataplane, "enforce_pqc")?;
            service.servers = entries(&dataplane, "servers", |field| {
                ServerConfig::parse(field, warnings)
            })?;
            service.clients = entries(&dataplane, "clients", |field| {
                ClientConfig::parse(field, warnings)
            })?;
        }
        if service.servers.is_empty() && service.clients.is_empty() {
            return Err(section.error(Problem::NothingToRun));
        }
        Ok(service)
    }
}

/// The block under its name of today or of the tutorial's generation.
fn dataplane<'s, 'a>(
    section: &'s Section<'a>,
    warnings: &mut Vec<Warning>,
) -> Result<Option<&'s Field<'a>>, ConfigError> {
    let (old, new) = ("pubsub", "dataplane");
    match (section.written(old), section.written(new)) {
        (Some(field), Some(_)) => Err(field.error(Problem::OldAndNew { old, new })),
        (Some(field), None) => {
            warnings.push(Warning::OldKey {
                place: field.place(),
                old,
                new,
            });
            Ok(section.field(old))
        }
        (None, _) => Ok(section.field(new)),
    }
}

fn entries<T>(
    section: &Section<'_>,
    key: &str,
    parse: impl FnMut(&Field<'_>) -> Result<T, ConfigError>,
) -> Result<Vec<T>, ConfigError> {
    let Some(field) = section.field(key) else {
        return Ok(Vec::new());
    };
    field.list()?.iter().map(parse).collect()
}
