//! Applications whose identities come from a SPIFFE agent: encrypted groups, renewals under way, rotations, and those
//! who do not get in.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::PathBuf;
use std::time::Duration;

use common::{config, group, name, text, within};
use slim::identity::{IdentityProvider, IdentityVerifier, SpireConfig};
use slim::{App, Direction, Error, PublishOptions, Service, Session, SessionKind};
use slim_spiffe_agent::Agent;

fn id(app: &str) -> String {
    format!("spiffe://example.org/{app}")
}

#[tokio::test]
async fn applications_with_identities_of_an_agent_form_an_encrypted_group() {
    let folder = Folder::new("sdk-group");
    let agent = folder.agent("example.org", &[&id("alice"), &id("bob"), &id("carol")]);
    let service = Service::new().unwrap();
    let mut apps = Vec::new();
    for app in ["alice", "bob", "carol"] {
        apps.push(app_of(&service, &agent, app).await.unwrap());
    }
    let session = within(apps[0].open(group())).await.unwrap();
    let mut others = Vec::new();
    for (app, app_name) in apps[1..].iter().zip(["org/ns/bob", "org/ns/carol"]) {
        within(session.invite(name(app_name))).await.unwrap();
        others.push(within(app.accept()).await.unwrap());
    }
    say(&session, "hello").await;
    for theirs in &others {
        assert_eq!(text(theirs).await, "hello");
    }
    say(&others[1], "hello from carol").await;
    assert_eq!(text(&session).await, "hello from carol");
    // Each asked for the real audience and for one that holds its key.
    for asked in agent.asked().iter().filter(|asked| asked.audiences.len() > 1) {
        assert_eq!(asked.audiences[0], "slim");
        assert!(asked.audiences[1].starts_with("slim-claims:"), "{asked:?}");
    }
    within(service.shutdown(Duration::from_secs(1))).await;
}

#[tokio::test]
async fn messages_go_on_through_renewals_rotations_and_a_restart_of_the_agent() {
    let folder = Folder::new("sdk-renew");
    let mut agent = folder.agent("example.org", &[&id("alice"), &id("bob")]);
    agent.set_jwt_life(Duration::from_secs(3));
    let service = Service::new().unwrap();
    let alice = app_of(&service, &agent, "alice").await.unwrap();
    let bob = app_of(&service, &agent, "bob").await.unwrap();
    // Without encryption every message shows a token, so that each renewal is seen at once.
    let mut plain = config(SessionKind::PointToPoint, "org/ns/bob");
    plain.mls = false;
    let session = within(alice.open(plain)).await.unwrap();
    say(&session, "first").await;
    let theirs = within(bob.accept()).await.unwrap();
    assert_eq!(text(&theirs).await, "first");
    let tokens = |agent: &Agent| {
        let asked = agent.asked();
        asked
            .iter()
            .filter(|asked| asked.method == "FetchJWTSVID")
            .count()
    };
    let before = tokens(&agent);
    let mut number = 0;
    while tokens(&agent) < before + 4 {
        number += 1;
        match number {
            10 => agent.rotate_jwt_key(),
            30 => agent.stop(),
            32 => agent.resume().unwrap(),
            _ => {}
        }
        say(&session, &number.to_string()).await;
        assert_eq!(text(&theirs).await, number.to_string());
        say(&theirs, &number.to_string()).await;
        assert_eq!(text(&session).await, number.to_string());
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(number < 300, "tokens are not renewed");
    }
    for app in [&alice, &bob] {
        assert_eq!(within(app.counters()).await.unwrap().identity_refused, 0);
    }
    within(service.shutdown(Duration::from_secs(1))).await;
}

#[tokio::test]
async fn an_application_of_another_trust_domain_gets_in_when_both_sides_name_it() {
    let (ours, theirs) = (Folder::new("sdk-ours"), Folder::new("sdk-theirs"));
    let alices = ours.agent("example.org", &[&id("alice")]);
    let carols = theirs.agent("partner.net", &["spiffe://partner.net/carol"]);
    alices.federate(&carols);
    carols.federate(&alices);
    let both = ["example.org", "partner.net"];
    for (trusted, gets_in) in [(&both[..1], false), (&both[..], true)] {
        let service = Service::new().unwrap();
        let alice = create(&service, "alice", spire(&alices, "alice", trusted))
            .await
            .unwrap();
        let mut settings = spire(&carols, "carol", &both);
        settings.target_spiffe_id = None;
        let carol = create(&service, "carol", settings).await.unwrap();
        let opened = within(alice.open(config(SessionKind::PointToPoint, "org/ns/carol"))).await;
        assert_eq!(opened.is_ok(), gets_in, "{:?}", opened.err());
        if let Ok(session) = opened {
            say(&session, "hello").await;
            let theirs = within(carol.accept()).await.unwrap();
            assert_eq!(text(&theirs).await, "hello");
        } else {
            assert!(within(alice.counters()).await.unwrap().identity_refused > 0);
        }
        within(service.shutdown(Duration::from_secs(1))).await;
    }
}

#[tokio::test]
async fn without_agent_or_entry_no_application_starts_and_the_error_says_why() {
    let folder = Folder::new("sdk-none");
    let service = Service::new().unwrap();
    let missing = SpireConfig {
        socket_path: Some(folder.0.join("missing.sock")),
        ..SpireConfig::default()
    };
    let error = create(&service, "alice", missing).await.unwrap_err().to_string();
    assert!(
        error.contains("no SPIFFE agent at") && error.contains("missing.sock"),
        "{error}"
    );
    let agent = folder.agent("example.org", &[]);
    let error = app_of(&service, &agent, "alice").await.unwrap_err().to_string();
    assert!(error.contains("register an entry"), "{error}");
    within(service.shutdown(Duration::from_secs(1))).await;
}

#[tokio::test]
async fn the_agent_is_left_alone_when_the_application_has_gone() {
    let folder = Folder::new("sdk-gone");
    let agent = folder.agent("example.org", &[&id("alice")]);
    agent.set_jwt_life(Duration::from_secs(2));
    let service = Service::new().unwrap();
    let alice = app_of(&service, &agent, "alice").await.unwrap();
    drop(alice);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let asked = agent.asked().len();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(agent.asked().len(), asked);
    within(service.shutdown(Duration::from_secs(1))).await;
}

fn spire(agent: &Agent, app: &str, trust_domains: &[&str]) -> SpireConfig {
    SpireConfig {
        socket_path: Some(agent.socket().to_owned()),
        target_spiffe_id: Some(id(app)),
        trust_domains: trust_domains.iter().map(|name| (*name).to_owned()).collect(),
        ..SpireConfig::default()
    }
}

async fn app_of(service: &Service, agent: &Agent, app: &str) -> Result<App, Error> {
    create(service, app, spire(agent, app, &[])).await
}

async fn create(service: &Service, app: &str, settings: SpireConfig) -> Result<App, Error> {
    within(service.create_app_from(
        name(&format!("org/ns/{app}")),
        IdentityProvider::Spire(settings.clone()),
        IdentityVerifier::Spire(settings),
        Direction::Bidirectional,
    ))
    .await
}

async fn say(session: &Session, text: &str) {
    let bytes = text.as_bytes().to_vec();
    within(session.publish(bytes.into(), PublishOptions::default()))
        .await
        .unwrap();
}

/// A folder that goes with its test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn agent(&self, trust_domain: &str, ids: &[&str]) -> Agent {
        Agent::start(&self.0.join("agent.sock"), trust_domain, ids).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
