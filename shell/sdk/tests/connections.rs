//! What connections can be told: post-quantum keys, rates, and which of several leads to a name.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{SECRET, app, config, group, message, name, text, within};
use slim::identity::{IdentityProvider, IdentityVerifier};
use slim::{
    App, AppOptions, ClientConfig, Error, OperationError, PublishOptions, ServerConfig, Service, SessionKind,
};
use slim_config::SecretText;

async fn node(enforce_pqc: bool) -> (Service, SocketAddr) {
    let service = Service::new().unwrap();
    let config = ServerConfig {
        enforce_pqc,
        ..ServerConfig::insecure("127.0.0.1:0".parse().unwrap())
    };
    let endpoint = within(service.run_server(config)).await.unwrap();
    let address = endpoint.socket_address().unwrap();
    (service, address)
}

async fn post_quantum_app(service: &Service, text: &str) -> App {
    let secret = || SecretText::new(SECRET);
    let provider = IdentityProvider::SharedSecret {
        base: text.to_owned(),
        secret: secret(),
    };
    let verifier = IdentityVerifier::SharedSecret { secret: secret() };
    let options = AppOptions {
        pqc: true,
        ..AppOptions::default()
    };
    within(service.create_app_from(name(text), provider, verifier, options))
        .await
        .unwrap()
}

#[tokio::test]
async fn post_quantum_links_and_groups_work_and_meet_no_classical_ones() {
    let (_open, open) = node(false).await;
    let (_strict, strict) = node(true).await;
    let to = |address: SocketAddr, enforce_pqc| ClientConfig {
        enforce_pqc,
        ..ClientConfig::insecure(address.into())
    };
    let service = Service::new().unwrap();
    let alice = post_quantum_app(&service, "org/ns/alice").await;
    let bob = post_quantum_app(&service, "org/ns/bob").await;
    let classical = app(&service, "org/ns/classical").await;
    within(service.connect(to(open, true))).await.unwrap();

    let ours = within(alice.open(group())).await.unwrap();
    within(ours.invite(bob.name().without_id())).await.unwrap();
    let theirs = within(bob.accept()).await.unwrap();
    within(ours.publish("quantum".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(text(&theirs).await, "quantum");
    let refused = within(ours.invite(classical.name().without_id()))
        .await
        .unwrap_err();
    let Error::Operation(OperationError::InviteFailed { detail, .. }) = &refused else {
        panic!("{refused}");
    };
    assert!(
        detail.contains("MLS suite 2") && detail.contains("pqc"),
        "{detail}"
    );

    // A node that enforces ends the negotiation of a dialler that does not (it does not say why, A4.3).
    let other = Service::new().unwrap();
    within(other.connect(to(strict, true))).await.unwrap();
    let mut hopeless = to(strict, false);
    hopeless.backoff = Some(slim_config::Backoff::FixedInterval {
        interval: Duration::from_millis(1),
        max_attempts: Some(2),
    });
    let third = Service::new().unwrap();
    assert!(matches!(
        within(third.connect(hopeless)).await,
        Err(Error::Connect { .. })
    ));
}

#[tokio::test]
async fn pqc_with_a_classical_identity_is_refused() {
    let service = Service::new().unwrap();
    let mut rng = slim::Rng::from_seed(slim::os_seed());
    let identity = slim::Identity::shared_secret("org/ns/a", SECRET, &mut rng).unwrap();
    let verifier = identity.verifier();
    let options = AppOptions {
        pqc: true,
        ..AppOptions::default()
    };
    let created = within(service.create_app(name("org/ns/a"), identity, verifier, options)).await;
    assert!(created.unwrap_err().to_string().contains("Ed25519"));
}

#[tokio::test]
async fn a_process_with_two_nodes_reaches_applications_behind_both() {
    let (_one, one) = node(false).await;
    let (_two, two) = node(false).await;
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let to_one = within(service.connect(ClientConfig::insecure(one.into())))
        .await
        .unwrap();
    let to_two = within(service.connect(ClientConfig::insecure(two.into())))
        .await
        .unwrap();
    for (address, route, peer) in [(one, to_one, "org/ns/first"), (two, to_two, "org/ns/second")] {
        let remote = Service::new().unwrap();
        let bob = app(&remote, peer).await;
        within(remote.connect(ClientConfig::insecure(address.into())))
            .await
            .unwrap();
        within(alice.set_route(name(peer), route)).await.unwrap();
        let ours = within(alice.open(config(SessionKind::PointToPoint, peer)))
            .await
            .unwrap();
        let theirs = within(bob.accept()).await.unwrap();
        within(ours.publish("there".into(), PublishOptions::default()))
            .await
            .unwrap();
        assert_eq!(text(&theirs).await, "there");
        within(theirs.publish("and back".into(), PublishOptions::default()))
            .await
            .unwrap();
        assert_eq!(text(&ours).await, "and back");
        // Who speaks first is answered without a route.
        let back = within(bob.open(config(SessionKind::PointToPoint, "org/ns/alice")))
            .await
            .unwrap();
        within(alice.remove_route(name(peer))).await.unwrap();
        let accepted = within(alice.accept()).await.unwrap();
        within(back.publish("first".into(), PublishOptions::default()))
            .await
            .unwrap();
        assert_eq!(text(&accepted).await, "first");
    }
    within(service.disconnect(to_two)).await.unwrap();
    let gone = within(alice.set_route(name("org/ns/second"), to_two)).await;
    assert!(matches!(gone, Err(Error::ConnectionUnknown { .. })));
}

#[tokio::test]
async fn a_rate_limit_slows_the_sender_and_loses_nothing() {
    const MESSAGES: u32 = 30;
    let (_node, address) = node(false).await;
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let limited = ClientConfig {
        rate_limit: Some("20/1".parse().unwrap()),
        ..ClientConfig::insecure(address.into())
    };
    within(service.connect(limited)).await.unwrap();
    let remote = Service::new().unwrap();
    let bob = app(&remote, "org/ns/bob").await;
    within(remote.connect(ClientConfig::insecure(address.into())))
        .await
        .unwrap();
    let mut settings = config(SessionKind::PointToPoint, "org/ns/bob");
    settings.reliability = None;
    settings.mls = false;
    let ours = within(alice.open(settings)).await.unwrap();
    let theirs = within(bob.accept()).await.unwrap();
    let started = Instant::now();
    for number in 0..MESSAGES {
        within(ours.publish(number.to_string().into(), PublishOptions::default()))
            .await
            .unwrap();
    }
    for number in 0..MESSAGES {
        assert_eq!(message(&theirs).await.payload, number.to_string());
    }
    // A burst of at most 20 and then 20 a second: the last 10 take half a second.
    assert!(
        started.elapsed() >= Duration::from_millis(450),
        "{:?}",
        started.elapsed()
    );
}
