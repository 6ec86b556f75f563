//! The whole file: tracing, runtime, services.

use std::fmt;

use crate::Loaded;
use crate::authorization::{AUTHORIZATION, AuthorizationConfig};
use crate::client::{CLIENT, ClientConfig};
use crate::error::{ConfigError, Problem};
use crate::field::Field;
use crate::load;
use crate::placeholders::Sources;
use crate::plain::Plain;
use crate::runtime::{RUNTIME, RuntimeConfig};
use crate::section::Section;
use crate::server::{SERVER, ServerConfig};
use crate::table::{Block, Key, Kind, Status};
use crate::tracing::{TRACING, TracingConfig};

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

static NODE: Block = Block {
    name: "file",
    doc: "The whole file.",
    keys: &[
        Key::new("tracing", Kind::Block(&TRACING), "what is logged").without("its defaults"),
        Key::new("runtime", Kind::Block(&RUNTIME), "threads, and the time to stop").without("its defaults"),
        Key::new(
            "services",
            Kind::Map(&Kind::Block(&SERVICE)),
            "one block for each service, by its id `slim/NAME`; at least one",
        )
        .required(),
    ],
};

static SERVICE: Block = Block {
    name: "services.slim/NAME",
    doc: "A service: a routing domain with its listeners and outgoing links.",
    keys: &[
        Key::new("node_id", Kind::Text, "the id that it tells its links")
            .without("`node-` and a random UUID"),
        Key::new(
            "dataplane",
            Kind::Block(&DATAPLANE),
            "listeners and links; at least one",
        )
        .required(),
        Key::new(
            "authorization",
            Kind::Block(&AUTHORIZATION),
            "who may use which name",
        )
        .without("everybody may use every name; only where no listener asks who somebody is"),
        Key::old("pubsub", "dataplane"),
        // Only applications inside the node would use a gateway, and this node hosts none.
        Key::other("default_gateway", Status::Later(Some("auto"))),
        Key::other("auth", Status::Later(Some("{type: none}"))),
        Key::other("controller", Status::Later(None)),
        Key::other("peers", Status::Later(None)),
        Key::other("domain_name", Status::Later(None)),
        Key::other("group_name", Status::Later(None)),
    ],
};

static DATAPLANE: Block = Block {
    name: "dataplane",
    doc: "What a service listens on and where it dials. The entries of both lists are also what the SDK and the \
          Python package take, as JSON or a dict.",
    keys: &[
        Key::new("servers", Kind::List(&Kind::Block(&SERVER)), "listeners").or("[]"),
        Key::new("clients", Kind::List(&Kind::Block(&CLIENT)), "outgoing links").or("[]"),
        Key::new(
            "enforce_pqc",
            Kind::Bool,
            "for every listener and client: only key exchanges that also resist quantum computers",
        )
        .or("false"),
        Key::other("outbound_clients", Status::Later(None)),
    ],
};

/// The table of the whole file, from which all others can be reached.
pub fn file_table() -> &'static Block {
    &NODE
}

impl NodeConfig {
    /// Parses the text of a configuration file that stands for itself: no environment, no other files.
    pub fn from_yaml_text(text: &str) -> Result<Loaded<Self>, ConfigError> {
        load::from_yaml(text, None, Self::parse)
    }

    /// Parses the text of a configuration file with what the environment puts over it (`SLIM_NODE__…`) and with what
    /// its placeholders stand for.
    pub fn load(text: &str, sources: &Sources<'_>) -> Result<Loaded<Self>, ConfigError> {
        load::from_yaml(text, Some(sources), Self::parse)
    }

    fn parse(root: &Field<'_>) -> Result<Self, ConfigError> {
        if load::is_empty(root) {
            return Err(root.error(Problem::NoServices));
        }
        let section = Section::open(root, &NODE)?;
        let tracing = TracingConfig::parse(section.section("tracing")?)?;
        let runtime = RuntimeConfig::parse(section.section("runtime")?)?;
        let Some(field) = section.field("services") else {
            return Err(section.error(Problem::NoServices));
        };
        let services = field.entries()?;
        if services.is_empty() {
            return Err(field.error(Problem::NoServices));
        }
        let services = services
            .iter()
            .map(|(key, field)| ServiceConfig::parse(key, field))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            tracing,
            runtime,
            services,
        })
    }

    /// What this configuration means, in today's spelling and with every default, as YAML. Secrets are replaced, so
    /// the text is for reading.
    pub fn to_normal_yaml(&self) -> String {
        let services = self
            .services
            .iter()
            .map(|service| (service.id.to_string(), service.normal()));
        Plain::map()
            .with("tracing", self.tracing.normal())
            .with("runtime", self.runtime.normal())
            .with("services", Plain::Map(services.collect()))
            .to_yaml()
    }
}

impl ServiceConfig {
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

    fn parse(key: &str, field: &Field<'_>) -> Result<Self, ConfigError> {
        let id = ServiceId::parse(key, field)?;
        if load::is_empty(field) {
            return Err(field.error(Problem::NothingToRun));
        }
        let section = Section::open(field, &SERVICE)?;
        let authorization = section.section("authorization")?;
        let mut service = Self {
            id,
            node_id: section.text_if("node_id")?,
            authorization: authorization
                .as_ref()
                .map(AuthorizationConfig::parse)
                .transpose()?,
            enforce_pqc: false,
            servers: Vec::new(),
            clients: Vec::new(),
        };
        if let Some(dataplane) = section.section("dataplane")? {
            service.enforce_pqc = dataplane.bool("enforce_pqc")?;
            let pqc = service.enforce_pqc;
            service.servers = entries(&dataplane, "servers", |field| ServerConfig::parse(field, pqc))?;
            service.clients = entries(&dataplane, "clients", |field| ClientConfig::parse(field, pqc))?;
        }
        if service.servers.is_empty() && service.clients.is_empty() {
            return Err(section.error(Problem::NothingToRun));
        }
        Ok(service)
    }

    fn normal(&self) -> Plain {
        let servers: Vec<Plain> = self.servers.iter().map(ServerConfig::normal).collect();
        let clients: Vec<Plain> = self.clients.iter().map(ClientConfig::normal).collect();
        let dataplane = Plain::map()
            .with("servers", servers)
            .with("clients", clients)
            .with("enforce_pqc", self.enforce_pqc);
        Plain::map()
            .with_some("node_id", self.node_id.as_ref())
            .with("dataplane", dataplane)
            .with_some(
                "authorization",
                self.authorization.as_ref().map(AuthorizationConfig::normal),
            )
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
