//! Certificates, their CA and the keys of tokens change every few seconds under a group of five that talks all the time.
//!
//! `SLIM_ROTATION_SECONDS` is how long: 120 is the whole test, and what is run without it is long enough for every file
//! to change twice.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "../../net/tests/common/mod.rs"]
mod certificates;
mod common;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use certificates::{Ca, Directory, Life, Pair};
use common::proxy::Proxy;
use common::{group, name, within};
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use slim::identity::{
    IdentityProvider, IdentityVerifier, JwtAlgorithm, JwtKey, JwtKeyFormat, JwtProvider, JwtRules, JwtSource,
    JwtVerification, JwtVerifierSettings,
};
use slim::{
    App, ClientConfig, Direction, Item, PublishOptions, Reliability, ServerConfig, Service, Session,
    SessionConfig,
};
use slim_config::{AuthorizationConfig, DefaultAccess};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

const PERIOD: Duration = Duration::from_secs(5);
/// From the new public keys to the new private ones: every member looks at its files each second.
const PUBLISHED_BEFORE_USED: Duration = Duration::from_millis(2500);
/// Token keys that stay published, 80 seconds of them: a member's leaf in the encrypted group follows its key
/// within a minute, and who comes back judges every leaf.
const PUBLISHED_KEYS: usize = 16;
/// How often the files of certificates are looked at.
const LOOK: &str = "500ms";
const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];
/// Of each member; 500 of all.
const MESSAGES_PER_SECOND: u64 = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s_16_s_64_s_74_rotating_certificates_and_keys_lose_no_message_of_a_group() {
    // RUST_LOG says what is to be seen of it.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_ansi(false)
        .try_init();
    let seconds = std::env::var("SLIM_ROTATION_SECONDS").map_or(12, |text| text.parse().unwrap());
    let mut files = Files::new();
    let node = Service::new().unwrap();
    let everybody = AuthorizationConfig {
        default: DefaultAccess::Allow,
        rules: Vec::new(),
    };
    let serving = node.run_server_with_rules(files.server(), Some(everybody));
    let address = within(serving).await.unwrap().socket_address().unwrap();
    // The last member's link is cut after each rotation: it comes back with the new certificates.
    let proxy = Proxy::start(address).await;
    let mut members = Vec::new();
    for member in NAMES {
        let via = if member == "erin" { proxy.address } else { address };
        members.push(Member::start(member, &files, via).await);
    }
    let ours = within(members[0].app.open(config())).await.unwrap();
    let mut sessions = vec![ours.clone()];
    for member in &members[1..] {
        within(ours.invite(member.app.name().without_id())).await.unwrap();
        sessions.push(within(member.app.accept()).await.unwrap());
    }

    let total = seconds * MESSAGES_PER_SECOND;
    let started = Instant::now();
    let mut talking = JoinSet::new();
    for (speaker, session) in sessions.iter().cloned().enumerate() {
        talking.spawn(speak(session.clone(), speaker, total));
        talking.spawn(listen(session, speaker, total));
    }
    let rotating = async {
        let mut rotations = 0;
        while started.elapsed() + PERIOD <= Duration::from_secs(seconds) {
            let next = tokio::time::Instant::now() + PERIOD;
            files.publish();
            // Whoever believes the new CA alone gets in once the node shows its new certificate.
            within(files.dial_with_the_new_ca_alone(address)).await;
            proxy.cut();
            sleep(PUBLISHED_BEFORE_USED).await;
            files.use_keys();
            rotations += 1;
            tokio::time::sleep_until(next).await;
        }
        rotations
    };
    let rotations = rotating.await;
    assert!(rotations >= 2 || seconds < 10, "{rotations}");
    // Everything arrives soon after it was said, or something is lost.
    tokio::time::timeout(Duration::from_secs(60), async {
        while let Some(done) = talking.join_next().await {
            done.unwrap();
        }
    })
    .await
    .expect("everybody said and heard everything");
    let took = started.elapsed();
    assert!(proxy.connections() > rotations, "cut and dialled again each time");
    for member in &members {
        assert_eq!(member.app.identity_refusals(), [], "{}", member.app.name());
        let counters = within(member.app.counters()).await.unwrap();
        assert_eq!(counters.identity_refused, 0, "{}", member.app.name());
    }
    // What the test was about: the rate was kept, if the machine is free to.
    println!("{rotations} rotations, {} messages in {took:?}", total * 5);
}

/// Says number after number at its rate; each is acknowledged by everybody.
async fn speak(session: Session, speaker: usize, total: u64) {
    let mut ticks = interval(Duration::from_micros(1_000_000 / MESSAGES_PER_SECOND));
    let mut publications = JoinSet::new();
    for number in 0..total {
        ticks.tick().await;
        let session = session.clone();
        let payload = format!("{speaker} {number}");
        // In the order of their numbers: the first poll hands the message over.
        let mut publishing =
            Box::pin(async move { session.publish(payload.into(), PublishOptions::default()).await });
        match futures_poll_once(&mut publishing).await {
            Some(done) => drop(done.unwrap()),
            None => drop(publications.spawn(publishing)),
        }
        while let Some(done) = publications.try_join_next() {
            done.unwrap().unwrap();
        }
    }
    while let Some(done) = publications.join_next().await {
        done.unwrap().unwrap();
    }
}

/// Hears every number of every other member once and in order.
async fn listen(session: Session, listener: usize, total: u64) {
    let mut expected: BTreeMap<usize, u64> = (0..NAMES.len())
        .filter(|speaker| *speaker != listener)
        .map(|speaker| (speaker, 0))
        .collect();
    while expected.values().any(|number| *number < total) {
        match session.receive().await.unwrap() {
            Item::Message(message) => {
                let text = String::from_utf8(message.payload.to_vec()).unwrap();
                let (speaker, number) = text.split_once(' ').unwrap();
                let next = expected.get_mut(&speaker.parse().unwrap()).unwrap();
                assert_eq!(
                    number.parse::<u64>().unwrap(),
                    *next,
                    "{listener} hears {speaker}"
                );
                *next += 1;
            }
            Item::Lost { sender, first, last } => panic!("{listener} lost {first} to {last} of {sender}"),
            Item::Membership { .. } => {}
        }
    }
}

async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|context| {
        let polled = std::pin::Pin::new(&mut *future).poll(context);
        std::task::Poll::Ready(match polled {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}

struct Member {
    app: App,
    _service: Service,
}

impl Member {
    async fn start(member: &str, files: &Files, address: SocketAddr) -> Self {
        let service = Service::new().unwrap();
        let provider = IdentityProvider::Jwt(JwtProvider {
            key: key(JwtKeyFormat::Pem, files.path("token.key")),
            key_id: None,
            issuer: None,
            audiences: Vec::new(),
            subject: format!("org/ns/{member}"),
            custom_claims: String::new(),
            lifetime: Duration::from_secs(3600),
        });
        let verifier = IdentityVerifier::Jwt(JwtVerifierSettings {
            keys: JwtVerification::Keys(key(JwtKeyFormat::Jwks, files.path("keys.json"))),
            rules: JwtRules::default(),
        });
        let name = name(&format!("org/ns/{member}"));
        let app = within(service.create_app_from(name, provider, verifier, Direction::Bidirectional))
            .await
            .unwrap();
        within(service.connect(files.client(member, address)))
            .await
            .unwrap();
        Self {
            app,
            _service: service,
        }
    }
}

/// Everything that is read from files, and what it becomes next.
struct Files {
    directory: Directory,
    /// CAs so far.
    cas: u32,
    ca: Ca,
    /// Token keys of the group: the next one, the one in use, and older ones that are still published.
    keys: VecDeque<KeyPair>,
}

impl Files {
    fn new() -> Self {
        let files = Self {
            directory: Directory::new("rotation"),
            cas: 0,
            ca: Ca::new("ca 0"),
            keys: VecDeque::from([KeyPair::generate().unwrap()]),
        };
        files.write_certificates("");
        files.write_keys();
        files.use_keys();
        files
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path(file)
    }

    /// A new CA that is believed beside the last one, new certificates of it for everybody, and the next token key
    /// beside the one in use.
    fn publish(&mut self) {
        self.cas += 1;
        let last = std::mem::replace(&mut self.ca, Ca::new(&format!("ca {}", self.cas)));
        self.write_certificates(&last.pem);
        self.keys.push_front(KeyPair::generate().unwrap());
        self.keys.truncate(PUBLISHED_KEYS);
        self.write_keys();
    }

    /// Everybody signs with the newest key from now on.
    fn use_keys(&self) {
        self.replace("token.key", &self.keys[0].serialize_pem());
    }

    fn write_certificates(&self, last_ca: &str) {
        self.replace("ca.pem", &format!("{last_ca}{}", self.ca.pem));
        self.write_pair("node", &self.ca.server(&["127.0.0.1"], Life::Valid));
        for member in NAMES {
            self.write_pair(member, &self.ca.client(member, Life::Valid));
        }
    }

    fn write_pair(&self, owner: &str, pair: &Pair) {
        self.replace(&format!("{owner}.key"), &pair.key);
        self.replace(&format!("{owner}.pem"), &pair.cert);
    }

    fn write_keys(&self) {
        let keys: Vec<Value> = self.keys.iter().map(jwk).collect();
        self.replace("keys.json", &json!({ "keys": keys }).to_string());
    }

    /// Nobody ever reads half a file.
    fn replace(&self, file: &str, text: &str) {
        let new = self.directory.write(&format!("{file}.new"), text);
        std::fs::rename(new, self.path(file)).unwrap();
    }

    fn server(&self) -> ServerConfig {
        let tls = json!({"source": self.source("node"), "client_ca": self.trust(), "reload_interval": LOOK});
        let text = json!({"endpoint": "https://127.0.0.1:0", "tls": tls}).to_string();
        ServerConfig::from_json_text(&text).unwrap().config
    }

    fn client(&self, member: &str, address: SocketAddr) -> ClientConfig {
        client(
            address,
            &json!({
                "source": self.source(member), "ca_source": self.trust(), "include_system_ca_certs_pool": false,
                "reload_interval": LOOK,
            }),
        )
    }

    async fn dial_with_the_new_ca_alone(&self, address: SocketAddr) {
        let tls = json!({
            "source": self.source("bob"), "ca_source": {"type": "pem", "data": self.ca.pem},
            "include_system_ca_certs_pool": false,
        });
        let service = Service::new().unwrap();
        while service.connect(client(address, &tls)).await.is_err() {
            sleep(Duration::from_millis(50)).await;
        }
    }

    fn source(&self, owner: &str) -> Value {
        json!({
            "type": "file", "cert": self.path(&format!("{owner}.pem")), "key": self.path(&format!("{owner}.key")),
        })
    }

    fn trust(&self) -> Value {
        json!({"type": "file", "path": self.path("ca.pem")})
    }
}

fn client(address: SocketAddr, tls: &Value) -> ClientConfig {
    let text = json!({
        "endpoint": format!("https://{address}"), "tls": tls,
        "backoff": {"type": "fixed_interval", "interval": "100ms"},
    });
    ClientConfig::from_json_text(&text.to_string()).unwrap().config
}

fn key(format: JwtKeyFormat, file: PathBuf) -> JwtKey {
    JwtKey {
        algorithm: JwtAlgorithm::from_name("ES256"),
        format,
        source: JwtSource::File(file),
    }
}

fn jwk(pair: &KeyPair) -> Value {
    use base64::Engine as _;
    let point = pair.der_bytes();
    let half = |part: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(part);
    json!({
        "kty": "EC", "crv": "P-256", "alg": "ES256",
        "x": half(&point[1..33]), "y": half(&point[33..65]),
    })
}

/// Reliable, encrypted, and patient enough for a link that is dialled again.
fn config() -> SessionConfig {
    SessionConfig {
        reliability: Some(Reliability {
            interval: Duration::from_secs(1),
            max_retries: 20,
        }),
        ..group()
    }
}
