//! Applications at a node that checks who dials, and lets each use its own names only.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{app, config, group, message, name, within};
use serde_json::{Value, json};
use slim::{
    App, AuthorizationConfig, ClientConfig, DefaultAccess, DialError, Error, PublishOptions, ServerConfig,
    Service, SessionKind,
};
use slim_config::RuleSource;

const SECRET: &str = "the secret of all who may dial here";

/// Everybody is its own name and speaks in the channel; only alice and bob invite.
fn rules() -> AuthorizationConfig {
    let rule = |subjects: &[&str], subscribe: &[&str], publish: &[&str], invite: Option<&[&str]>| {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        RuleSource {
            subjects: texts(subjects),
            subscribe: texts(subscribe),
            publish: texts(publish),
            invite: invite.map(texts),
            ..RuleSource::default()
        }
    };
    AuthorizationConfig {
        default: DefaultAccess::Deny,
        rules: vec![
            rule(
                &[],
                &["org/ns/{subject}", "org/ns/channel"],
                &["org/ns/channel"],
                Some(&[]),
            ),
            rule(&["alice", "bob"], &[], &["org/ns/*"], None),
        ],
    }
}

fn key(kind: &str) -> Value {
    json!({"type": kind, "algorithm": "HS256", "format": "pem", "key": {"data": SECRET}})
}

async fn node() -> (Service, SocketAddr) {
    let service = Service::new().unwrap();
    let text = json!({
        "endpoint": "127.0.0.1:0",
        "tls": {"insecure": true},
        "auth": {"type": "jwt", "key": key("decoding"), "claims": {"audience": "slim"},
                 "policy": {"cel": "sub != 'eve'"}},
    });
    let config = ServerConfig::from_json_text(&text.to_string()).unwrap().config;
    let endpoint = within(service.run_server_with_rules(config, Some(rules())))
        .await
        .unwrap();
    (service, endpoint.socket_address().unwrap())
}

fn dialing(address: SocketAddr, auth: &Value) -> ClientConfig {
    let text = json!({"endpoint": address.to_string(), "tls": {"insecure": true}, "auth": auth});
    ClientConfig::from_json_text(&text.to_string()).unwrap().config
}

fn token_of(subject: &str) -> Value {
    json!({"type": "jwt", "key": key("encoding"), "claims": {"audience": ["slim"], "subject": subject}})
}

async fn connected(address: SocketAddr, subject: &str) -> (Service, App) {
    let service = Service::new().unwrap();
    let app = app(&service, &format!("org/ns/{subject}")).await;
    within(service.connect(dialing(address, &token_of(subject))))
        .await
        .unwrap();
    (service, app)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_meets_at_a_node_that_knows_its_members() {
    let (_node, address) = node().await;
    let (_alice_service, alice) = connected(address, "alice").await;
    let (_carol_service, carol) = connected(address, "carol").await;
    let chat = within(alice.open(group())).await.unwrap();
    within(chat.invite(carol.name().without_id())).await.unwrap();
    let joined = within(carol.accept()).await.unwrap();
    within(chat.publish("hello".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(message(&joined).await.payload, "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_gets_the_name_of_another_and_is_told_why() {
    let (_node, address) = node().await;
    let (_alice_service, alice) = connected(address, "alice").await;
    let (_bob_service, bob) = connected(address, "bob").await;

    // As the name of the application: connecting fails with the node's words.
    let service = Service::new().unwrap();
    let _thief = app(&service, "org/ns/alice").await;
    let error = within(service.connect(dialing(address, &token_of("mallory"))))
        .await
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("\"mallory\" may not subscribe to \"org/ns/alice\""),
        "{text}"
    );

    // As a further name: so does the subscription.
    let (_mallory_service, mallory) = connected(address, "mallory").await;
    let error = within(mallory.subscribe(name("org/ns/alice"))).await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("\"mallory\" may not subscribe to \"org/ns/alice\""),
        "{text}"
    );

    // The discovery and every message go to alice.
    for round in 0..5 {
        let session = within(bob.open(config(SessionKind::PointToPoint, "org/ns/alice")))
            .await
            .unwrap();
        let accepted = within(alice.accept()).await.unwrap();
        let text = format!("for alice {round}");
        within(session.publish(text.clone().into(), PublishOptions::default()))
            .await
            .unwrap();
        assert_eq!(message(&accepted).await.payload, text);
        within(session.close()).await.unwrap();
    }
    let invited = tokio::time::timeout(Duration::from_millis(200), mallory.accept()).await;
    assert!(invited.is_err(), "mallory hears of nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_says_who_refuses_and_whether_by_credential_or_by_policy() {
    let (_node, address) = node().await;
    let wrong = json!({"type": "basic", "username": "alice", "password": "guess"});
    let service = Service::new().unwrap();
    let _app = app(&service, "org/ns/alice").await;
    let started = std::time::Instant::now();
    for (auth, is_policy) in [
        (wrong, false),
        (json!({"type": "none"}), false),
        (token_of("eve"), true),
    ] {
        let error = within(service.connect(dialing(address, &auth)))
            .await
            .unwrap_err();
        let Error::Connect {
            endpoint,
            attempts,
            cause,
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!(
            (endpoint.as_str(), *attempts),
            (address.to_string().as_str(), 1),
            "not tried again"
        );
        match cause.downcast_ref::<DialError>() {
            Some(DialError::Unauthenticated { .. }) => assert!(!is_policy, "{error}"),
            Some(DialError::PermissionDenied { .. }) => assert!(is_policy, "{error}"),
            other => panic!("{other:?}"),
        }
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        assert!(
            !error.to_string().contains("check that a node listens"),
            "{error}"
        );
    }
    assert!(started.elapsed() < Duration::from_secs(5), "at once");
}

#[tokio::test]
async fn a_server_that_checks_who_dials_does_not_start_without_rules() {
    let service = Service::new().unwrap();
    let text = json!({"endpoint": "127.0.0.1:0", "tls": {"insecure": true},
                      "auth": {"type": "basic", "username": "a", "password": "b"}});
    let config = ServerConfig::from_json_text(&text.to_string()).unwrap().config;
    let error = within(service.run_server(config)).await.unwrap_err().to_string();
    assert!(
        error.contains("nothing says who may use which name; add rules such as"),
        "{error}"
    );
    assert!(error.contains("`authorization: {default: allow}`"), "{error}");
}
