//! Applications whose identities are tokens: keys fetched from an issuer, keys and tokens in files that change.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{config, name, text, within};
use rcgen::{KeyPair, PublicKeyData as _};
use slim::identity::{
    IdentityError, IdentityProvider, IdentitySetupError, IdentityVerifier, JwtAlgorithm, JwtKey,
    JwtKeyFormat, JwtProvider, JwtRules, JwtSource, JwtVerification, JwtVerifierSettings, SecretText,
};
use slim::{App, Direction, Error, PublishOptions, Service, Session, SessionKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[tokio::test]
async fn keys_come_from_the_issuer_and_rotations_are_followed() {
    let (one, two) = (Key::new("one"), Key::new("two"));
    let issuer = Issuer::start(&[&one]).await;
    let service = Service::new().unwrap();
    let files = Folder::new("rotation");
    let mut apps = Vec::new();
    for app in ["alice", "bob"] {
        let file = files.write(app, &one.pem);
        apps.push(issuer.app(&service, app, JwtSource::File(file)).await);
    }
    let (alice, bob) = (&apps[0], &apps[1]);
    let session = open(alice, "org/ns/bob").await;
    let theirs = within(bob.accept()).await.unwrap();
    say(&session, "one").await;
    assert_eq!(text(&theirs).await, "one");

    // The new key is published beside the old one, then used, then alone.
    issuer.publish(&[&one, &two]);
    files.write("alice", &two.pem);
    let mut number = 0;
    while !issuer.was_asked_again() {
        number += 1;
        say(&session, &number.to_string()).await;
        assert_eq!(text(&theirs).await, number.to_string());
        // Alice acknowledges with a token of the new key.
        say(&theirs, &number.to_string()).await;
        assert_eq!(text(&session).await, number.to_string());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(number < 200, "nobody asked for the new key");
    }
    files.write("bob", &two.pem);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    issuer.publish(&[&two]);
    say(&theirs, "by two").await;
    assert_eq!(text(&session).await, "by two");
    assert_eq!(within(alice.counters()).await.unwrap().identity_refused, 0);
    assert_eq!(within(bob.counters()).await.unwrap().identity_refused, 0);
    within(service.shutdown(Duration::from_secs(1))).await;
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_is_named_as_the_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let service = Service::new().unwrap();
    let key = Key::new("one");
    let provider = provider("alice", &address, data(&key.pem));
    let app = within(service.create_app_from(
        name("org/ns/alice"),
        provider,
        autoresolve(&address),
        Direction::Bidirectional,
    ));
    // The application exists: its issuer may come back.
    let app = app.await.unwrap();
    let config = config(SessionKind::PointToPoint, "org/ns/bob");
    let error = within(app.open(config)).await.unwrap_err().to_string();
    assert!(
        error.contains(&address) && error.contains("cannot connect"),
        "{error}"
    );
    within(service.shutdown(Duration::from_secs(1))).await;
}

#[tokio::test]
async fn an_issuer_that_comes_late_lets_those_in_who_wait() {
    let key = Key::new("one");
    let issuer = Issuer::start(&[&key]).await;
    issuer.fall_silent(true);
    let service = Service::new().unwrap();
    let (alice, bob) = (
        issuer.app_with_keys(&service, "alice", &key).await,
        issuer.app(&service, "bob", data(&key.pem)).await,
    );
    let opening = tokio::spawn({
        let alice = alice.clone();
        async move { alice.open(config(SessionKind::PointToPoint, "org/ns/bob")).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    issuer.fall_silent(false);
    let session = within(opening).await.unwrap().unwrap();
    let theirs = within(bob.accept()).await.unwrap();
    say(&session, "hello").await;
    assert_eq!(text(&theirs).await, "hello");
    within(service.shutdown(Duration::from_secs(1))).await;
}

#[tokio::test]
async fn a_key_file_that_breaks_keeps_the_key_that_was_read() {
    let key = Key::new("one");
    let issuer = Issuer::start(&[&key]).await;
    let files = Folder::new("broken");
    let file = files.write("alice", &key.pem);
    let service = Service::new().unwrap();
    let alice = issuer.app(&service, "alice", JwtSource::File(file)).await;
    let bob = issuer.app(&service, "bob", data(&key.pem)).await;
    files.write("alice", "no key");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let session = open(&alice, "org/ns/bob").await;
    let theirs = within(bob.accept()).await.unwrap();
    say(&session, "still here").await;
    assert_eq!(text(&theirs).await, "still here");
    within(service.shutdown(Duration::from_secs(1))).await;
}

#[tokio::test]
async fn settings_that_make_no_identity_are_refused_with_one_sentence() {
    let service = Service::new().unwrap();
    let create = async |provider, verifier| {
        let name = name("org/ns/alice");
        let created = service.create_app_from(name, provider, verifier, Direction::Bidirectional);
        match within(created).await {
            Err(Error::Identity(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    let key = Key::new("one");
    let good = || provider("alice", "https://issuer.example", data(&key.pem));
    let error = create(
        provider(
            "alice",
            "https://issuer.example",
            JwtSource::File("no/such.pem".into()),
        ),
        autoresolve("https://issuer.example"),
    )
    .await;
    assert!(matches!(&*error, IdentitySetupError::Read { .. }), "{error}");
    let error = create(
        provider("alice", "https://issuer.example", data("nonsense")),
        autoresolve("https://issuer.example"),
    )
    .await;
    assert!(
        matches!(&*error, IdentitySetupError::PrivateKey { .. }),
        "{error}"
    );
    let error = create(good(), autoresolve("http://issuer.example")).await;
    assert!(
        matches!(
            &*error,
            IdentitySetupError::Identity(IdentityError::IssuerAddress { .. })
        ),
        "{error}"
    );
    let no_issuer = IdentityVerifier::Jwt(JwtVerifierSettings {
        keys: JwtVerification::Autoresolve,
        rules: JwtRules::default(),
    });
    let error = create(good(), no_issuer).await;
    assert!(
        matches!(&*error, IdentitySetupError::Identity(IdentityError::NoIssuer)),
        "{error}"
    );
    within(service.shutdown(Duration::from_secs(1))).await;
}

/// A P-256 key as its owner and as its issuer have it.
struct Key {
    pem: String,
    jwk: String,
    public_pem: String,
}

impl Key {
    fn new(id: &str) -> Self {
        use base64::Engine as _;
        let pair = KeyPair::generate().unwrap();
        let point = pair.der_bytes();
        let part = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (part(&point[1..33]), part(&point[33..65]));
        Self {
            pem: pair.serialize_pem(),
            jwk: format!(r#"{{"kid":"{id}","kty":"EC","crv":"P-256","alg":"ES256","x":"{x}","y":"{y}"}}"#),
            public_pem: pair.public_key_pem(),
        }
    }
}

/// A web server that publishes keys.
struct Issuer {
    address: String,
    state: Arc<Mutex<Published>>,
}

#[derive(Default)]
struct Published {
    keys: String,
    asked: usize,
    silent: bool,
}

impl Issuer {
    async fn start(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::default(),
        };
        issuer.publish(keys);
        let state = Arc::clone(&issuer.state);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut request = [0; 2048];
                let length = socket.read(&mut request).await.unwrap_or(0);
                let is_keys = request[..length].starts_with(b"GET /.well-known/jwks.json ");
                let (keys, silent) = {
                    let mut state = state.lock().unwrap();
                    state.asked += usize::from(is_keys);
                    (state.keys.clone(), state.silent)
                };
                let answer = match (is_keys, silent) {
                    (_, true) => "HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n".to_owned(),
                    (true, false) => {
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{keys}", keys.len())
                    }
                    (false, false) => "HTTP/1.1 404 None\r\ncontent-length: 0\r\n\r\n".to_owned(),
                };
                _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        issuer
    }

    fn publish(&self, keys: &[&Key]) {
        let keys: Vec<&str> = keys.iter().map(|key| &*key.jwk).collect();
        let mut state = self.state.lock().unwrap();
        state.keys = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
        state.asked = 0;
    }

    fn fall_silent(&self, silent: bool) {
        self.state.lock().unwrap().silent = silent;
    }

    fn was_asked_again(&self) -> bool {
        self.state.lock().unwrap().asked > 0
    }

    async fn app(&self, service: &Service, app: &str, key: JwtSource) -> App {
        let provider = provider(app, &self.address, key);
        create(service, app, provider, autoresolve(&self.address)).await
    }

    async fn app_with_keys(&self, service: &Service, app: &str, key: &Key) -> App {
        let verifier = IdentityVerifier::Jwt(JwtVerifierSettings {
            keys: JwtVerification::Keys(es256(data(&key.public_pem))),
            rules: JwtRules::default(),
        });
        create(
            service,
            app,
            provider(app, &self.address, data(&key.pem)),
            verifier,
        )
        .await
    }
}

async fn create(service: &Service, app: &str, provider: IdentityProvider, verifier: IdentityVerifier) -> App {
    let name = name(&format!("org/ns/{app}"));
    within(service.create_app_from(name, provider, verifier, Direction::Bidirectional))
        .await
        .unwrap()
}

fn provider(subject: &str, issuer: &str, key: JwtSource) -> IdentityProvider {
    IdentityProvider::Jwt(JwtProvider {
        key: es256(key),
        key_id: None,
        issuer: Some(issuer.to_owned()),
        audiences: Vec::new(),
        subject: subject.to_owned(),
        custom_claims: String::new(),
        lifetime: Duration::from_secs(3600),
    })
}

fn autoresolve(issuer: &str) -> IdentityVerifier {
    IdentityVerifier::Jwt(JwtVerifierSettings {
        keys: JwtVerification::Autoresolve,
        rules: JwtRules {
            issuers: vec![issuer.to_owned()],
            ..JwtRules::default()
        },
    })
}

fn es256(source: JwtSource) -> JwtKey {
    JwtKey {
        algorithm: JwtAlgorithm::from_name("ES256"),
        format: JwtKeyFormat::Pem,
        source,
    }
}

fn data(text: &str) -> JwtSource {
    JwtSource::Data(SecretText::new(text))
}

/// Files of one test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("slim-identities-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Replaces a file as a whole, as tools that rotate keys do.
    fn write(&self, file: &str, text: &str) -> PathBuf {
        let (path, fresh) = (self.0.join(file), self.0.join(format!("{file}.new")));
        fs::write(&fresh, text).unwrap();
        fs::rename(&fresh, &path).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        _ = fs::remove_dir_all(&self.0);
    }
}

async fn open(app: &App, peer: &str) -> Session {
    within(app.open(config(SessionKind::PointToPoint, peer)))
        .await
        .unwrap()
}

async fn say(session: &Session, text: &str) {
    within(session.publish(text.to_owned().into(), PublishOptions::default()))
        .await
        .unwrap();
}
