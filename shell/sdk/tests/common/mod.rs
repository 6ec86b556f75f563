//! What every test of the SDK needs: names, applications, and waiting with a deadline.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "helpers of tests, of which each program uses a part"
)]

pub mod proxy;

use std::time::Duration;

use slim::{
    App, Direction, Error, FullName, Identity, Item, Received, Reliability, Rng, Service, Session,
    SessionConfig, SessionKind, os_seed,
};

/// Strong enough for no warning.
pub const SECRET: &str = "a secret of more than thirty-two bytes";

/// Nothing in these tests takes so long on a machine that works, however slow.
pub const DEADLINE: Duration = Duration::from_secs(60);

pub fn name(text: &str) -> FullName {
    text.parse().expect("test names are names")
}

/// Fails the test when the future takes too long.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("must not take a minute")
}

pub async fn app_with_secret(service: &Service, text: &str, secret: &str) -> App {
    let identity = Identity::shared_secret(text, secret, &mut Rng::from_seed(os_seed())).unwrap();
    let verifier = identity.verifier();
    within(service.create_app(name(text), identity, verifier, Direction::Bidirectional))
        .await
        .unwrap()
}

pub async fn app(service: &Service, text: &str) -> App {
    app_with_secret(service, text, SECRET).await
}

/// A reliable, encrypted session.
pub fn config(kind: SessionKind, destination: &str) -> SessionConfig {
    SessionConfig {
        kind,
        destination: name(destination),
        reliability: Some(Reliability::default()),
        mls: true,
        direction: Direction::Bidirectional,
        metadata: Default::default(),
    }
}

pub fn group() -> SessionConfig {
    config(SessionKind::Group, "org/ns/channel")
}

/// The next message, other items skipped.
pub async fn message(session: &Session) -> Received {
    within(async {
        loop {
            if let Item::Message(message) = session.receive().await.expect("the session is open") {
                return message;
            }
        }
    })
    .await
}

/// The next message as text.
pub async fn text(session: &Session) -> String {
    String::from_utf8(message(session).await.payload.to_vec()).unwrap()
}

/// The error at the end of a session, items skipped.
pub async fn end(session: &Session) -> Error {
    within(async {
        loop {
            if let Err(error) = session.receive().await {
                return error;
            }
        }
    })
    .await
}
