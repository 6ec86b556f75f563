//! An application driven over standard input and output, one JSON object per line: for tests against other
//! implementations and for trying things by hand.
//!
//! Requests are `{"id": 1, "op": "invite", "session": 7, "name": "org/ns/bob"}`; each gets `{"id": 1, "ok": …}` or
//! `{"id": 1, "error": "…"}` when it is done, in any order. What happens by itself is `{"event": …}`. The
//! operations are the arms of [`Peer::perform`]. The end of the input ends the process. The log goes to standard
//! error (`RUST_LOG`).
#![allow(clippy::print_stdout, reason = "standard output is the interface")]

use std::collections::BTreeMap;
use std::io::BufRead as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use slim::identity::{IdentityProvider, IdentityVerifier, SpireConfig};
use slim::{
    App, AppOptions, ClientConfig, Direction, FullName, Identity, Item, MembershipChange, PayloadSignatures,
    PublishOptions, Reliability, Rng, ServerConfig, Service, Session, SessionConfig, SessionId, SessionKind,
    Verifier, os_seed,
};
use slim_auth::{JwtRules, JwtSigner, KeySet};
use slim_crypto::SigningKey;
use slim_crypto::jwa::{Algorithm, TokenSigningKey};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// One line of input.
#[derive(Deserialize)]
struct Request {
    id: u64,
    #[serde(flatten)]
    operation: Operation,
}

/// What can be asked for.
#[derive(Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
enum Operation {
    /// Create the application; must come first. `pqc` makes its groups post-quantum; `unsigned_payloads` lets peers
    /// take part that do not sign what their commands say (2.2.0).
    App {
        name: String,
        secret: Option<String>,
        jwt: Option<Box<Jwt>>,
        spire: Option<Spire>,
        #[serde(default)]
        pqc: bool,
        #[serde(default)]
        unsigned_payloads: bool,
    },
    /// Connect to a node; `settings` are the other keys of a client's configuration.
    Connect {
        endpoint: String,
        #[serde(default = "plain_text")]
        settings: Value,
    },
    /// Run a node here.
    Serve { endpoint: String },
    /// Open a session as its initiator.
    Open {
        kind: Kind,
        destination: String,
        mls: bool,
        reliable: bool,
        interval_ms: u64,
        retries: u32,
    },
    /// Add a member.
    Invite { session: u32, name: String },
    /// Remove a member.
    Remove { session: u32, name: String },
    /// Send to everybody, or to one member.
    Publish {
        session: u32,
        text: String,
        to: Option<String>,
        #[serde(default)]
        metadata: BTreeMap<String, String>,
    },
    /// Send `<text> <number>` so many times without waiting in between.
    Burst { session: u32, text: String, count: u32 },
    /// Who is in the session, and the state of its encryption.
    Members { session: u32 },
    /// Stay a member, but absent.
    GoOffline { session: u32 },
    /// Come back.
    GoOnline { session: u32 },
    /// End or leave the session.
    Close { session: u32 },
    /// What was refused and dropped so far.
    Counters,
}

/// An identity of the SPIFFE agent at a socket.
#[derive(Deserialize)]
struct Spire {
    socket_path: PathBuf,
    target_spiffe_id: Option<String>,
    audiences: Vec<String>,
    trust_domains: Vec<String>,
}

/// An identity that signs its own tokens; everything else than the subject is the same for all members.
#[derive(Deserialize)]
struct Jwt {
    algorithm: String,
    /// PEM.
    private_key: String,
    /// A JWKS with everybody's keys.
    keys: String,
    issuer: Option<String>,
    audiences: Vec<String>,
    subject: String,
}

fn plain_text() -> Value {
    json!({"tls": {"insecure": true}})
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Group,
    PointToPoint,
}

struct Peer {
    service: Service,
    app: OnceLock<App>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let peer = Arc::new(Peer {
        service: Service::new()?,
        app: OnceLock::new(),
    });
    let mut requests = read_requests();
    while let Some(request) = requests.recv().await {
        let peer = Arc::clone(&peer);
        tokio::spawn(async move {
            let answer = match peer.perform(request.operation).await {
                Ok(value) => json!({"id": request.id, "ok": value}),
                Err(error) => json!({"id": request.id, "error": error.to_string()}),
            };
            println!("{answer}");
        });
    }
    peer.service.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

/// Standard input has no asynchronous form, so a thread reads it; the process ends with its last line.
fn read_requests() -> mpsc::Receiver<Request> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            match serde_json::from_str(&line) {
                Ok(request) => {
                    if sender.blocking_send(request).is_err() {
                        return;
                    }
                }
                Err(error) => println!("{}", json!({"error": error.to_string(), "line": line})),
            }
        }
    });
    receiver
}

impl Peer {
    async fn perform(&self, operation: Operation) -> Result<Value, Failure> {
        Ok(match operation {
            Operation::App {
                name,
                secret,
                jwt,
                spire: Some(spire),
                pqc: false,
                unsigned_payloads: false,
            } if secret.is_none() && jwt.is_none() => {
                let settings = spire.settings();
                let (provider, verifier) = (
                    IdentityProvider::Spire(settings.clone()),
                    IdentityVerifier::Spire(settings),
                );
                let created =
                    self.service
                        .create_app_from(name.parse()?, provider, verifier, Direction::Bidirectional);
                self.run(created.await?)?
            }
            Operation::App {
                name,
                secret,
                jwt,
                spire: _,
                pqc,
                unsigned_payloads,
            } => {
                // The kind of the signature key decides how groups are encrypted.
                let key = if pqc {
                    SigningKey::generate_ed25519()
                } else {
                    SigningKey::generate_p256()
                };
                let (identity, verifier) = match (secret, jwt) {
                    (Some(secret), None) => {
                        let rng = &mut Rng::from_seed(os_seed());
                        let identity = Identity::shared_secret_with_key(&name, &secret, key, rng)?;
                        let verifier = identity.verifier();
                        (identity, verifier)
                    }
                    (None, Some(jwt)) => jwt.identity(key)?,
                    _ => return Err("give the application either a secret or a jwt".into()),
                };
                let mut options = AppOptions::default();
                if unsigned_payloads {
                    options.payload_signatures = PayloadSignatures::MayBeAbsent;
                }
                self.create_app(&name, identity, verifier, options).await?
            }
            Operation::Connect {
                endpoint,
                mut settings,
            } => {
                settings["endpoint"] = endpoint.into();
                let config = ClientConfig::from_json_text(&settings.to_string())?.config;
                self.service.connect(config).await?;
                Value::Null
            }
            Operation::Serve { endpoint } => {
                let config = ServerConfig::insecure(endpoint.parse()?);
                json!(self.service.run_server(config).await?.to_string())
            }
            Operation::Open {
                kind,
                destination,
                mls,
                reliable,
                interval_ms,
                retries,
            } => {
                let reliability = Reliability {
                    interval: Duration::from_millis(interval_ms),
                    max_retries: retries,
                };
                let config = SessionConfig {
                    kind: match kind {
                        Kind::Group => SessionKind::Group,
                        Kind::PointToPoint => SessionKind::PointToPoint,
                    },
                    destination: destination.parse()?,
                    reliability: reliable.then_some(reliability),
                    mls,
                    direction: Direction::Bidirectional,
                    metadata: BTreeMap::new(),
                };
                let session = self.app()?.open(config).await?;
                let id = session.id().0;
                tokio::spawn(read(session));
                json!(id)
            }
            Operation::Invite { session, name } => {
                let invited = self.session(session)?.invite(name.parse()?).await?;
                json!({"member": invited.member.to_string(), "unreachable": names(&invited.unreachable)})
            }
            Operation::Remove { session, name } => {
                let removed = self.session(session)?.remove(name.parse()?).await?;
                json!({"members": names(&removed.members), "unreachable": names(&removed.unreachable)})
            }
            Operation::Publish {
                session,
                text,
                to,
                metadata,
            } => {
                let options = PublishOptions {
                    payload_type: None,
                    metadata,
                    to: to.map(|name| name.parse()).transpose()?,
                };
                let outcome = self.session(session)?.publish(text.into(), options).await?;
                json!({"delivered": names(&outcome.delivered)})
            }
            Operation::Burst { session, text, count } => {
                let session = self.session(session)?;
                let mut publications = JoinSet::new();
                for number in 0..count {
                    let (session, text) = (session.clone(), format!("{text} {number}"));
                    publications
                        .spawn(async move { session.publish(text.into(), PublishOptions::default()).await });
                }
                for outcome in publications.join_all().await {
                    outcome?;
                }
                Value::Null
            }
            Operation::Members { session } => {
                let snapshot = self.session(session)?.snapshot().await?;
                let members: Vec<Value> = snapshot
                    .members
                    .iter()
                    .map(|member| json!({"name": member.name.to_string(), "online": member.online}))
                    .collect();
                json!({"members": members, "epoch": snapshot.epoch, "mls_members": snapshot.mls_members})
            }
            Operation::GoOffline { session } => {
                self.session(session)?.go_offline().await?;
                Value::Null
            }
            Operation::GoOnline { session } => {
                self.session(session)?.go_online().await?;
                Value::Null
            }
            Operation::Close { session } => {
                self.session(session)?.close().await?;
                Value::Null
            }
            Operation::Counters => self.app()?.counters().await?.entries().into_iter().collect(),
        })
    }

    async fn create_app(
        &self,
        name: &str,
        identity: Identity,
        verifier: Verifier,
        options: AppOptions,
    ) -> Result<Value, Failure> {
        let app = self
            .service
            .create_app(name.parse()?, identity, verifier, options)
            .await?;
        self.run(app)
    }

    fn run(&self, app: App) -> Result<Value, Failure> {
        let full_name = app.name().to_string();
        self.app
            .set(app.clone())
            .map_err(|_| "the application exists already")?;
        tokio::spawn(accept(app));
        Ok(json!(full_name))
    }

    fn app(&self) -> Result<&App, Failure> {
        Ok(self.app.get().ok_or("create the application first")?)
    }

    fn session(&self, id: u32) -> Result<Session, Failure> {
        let session = self.app()?.session(SessionId(id));
        Ok(session.ok_or_else(|| format!("session not found: {id}"))?)
    }
}

impl Spire {
    fn settings(self) -> SpireConfig {
        SpireConfig {
            socket_path: Some(self.socket_path),
            target_spiffe_id: self.target_spiffe_id,
            jwt_audiences: self.audiences,
            trust_domains: self.trust_domains,
        }
    }
}

impl Jwt {
    fn identity(self, key: SigningKey) -> Result<(Identity, Verifier), Failure> {
        let algorithm = Algorithm::from_name(&self.algorithm).ok_or("no such algorithm")?;
        let signer = JwtSigner {
            key: TokenSigningKey::from_text(algorithm, &self.private_key)?,
            key_id: None,
            issuer: self.issuer.clone(),
            audiences: self.audiences.clone(),
            subject: self.subject,
            custom_claims: String::new(),
            lifetime: Duration::from_secs(3600),
        };
        let rules = JwtRules {
            issuers: self.issuer.into_iter().collect(),
            audiences: self.audiences,
            ..JwtRules::default()
        };
        let keys = KeySet::from_jwks(&self.keys, None)?;
        Ok((Identity::jwt_with_key(signer, key)?, Verifier::jwt(keys, rules)))
    }
}

fn names(names: &[FullName]) -> Vec<String> {
    names.iter().map(FullName::to_string).collect()
}

/// Tells of every session that others open, and of what happens in it.
async fn accept(app: App) {
    while let Ok(session) = app.accept().await {
        let info = session.info();
        let kind = match info.kind {
            SessionKind::Group => "group",
            SessionKind::PointToPoint => "point_to_point",
        };
        let event = json!({
            "event": "session", "session": session.id().0, "kind": kind, "mls": info.mls,
            "reliable": info.reliability.is_some(), "destination": info.destination.to_string(),
        });
        println!("{event}");
        tokio::spawn(read(session));
    }
}

/// Tells what an application would receive.
async fn read(session: Session) {
    let id = session.id().0;
    loop {
        let event = match session.receive().await {
            Ok(Item::Message(message)) => json!({
                "event": "message", "session": id, "source": message.source.to_string(),
                "text": String::from_utf8_lossy(&message.payload), "type": message.payload_type,
                "metadata": message.metadata, "direct": message.direct, "subject": message.subject,
            }),
            Ok(Item::Lost { sender, first, last }) => json!({
                "event": "lost", "session": id, "sender": sender.to_string(), "first": first, "last": last,
            }),
            Ok(Item::Membership { member, change }) => json!({
                "event": "member", "session": id, "member": member.to_string(),
                "change": match change {
                    MembershipChange::Joined => "joined",
                    MembershipChange::Left => "left",
                    MembershipChange::Offline => "offline",
                    MembershipChange::Online => "online",
                },
            }),
            Err(error) => {
                println!(
                    "{}",
                    json!({"event": "closed", "session": id, "reason": error.to_string()})
                );
                return;
            }
        };
        println!("{event}");
    }
}
