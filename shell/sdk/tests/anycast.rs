//! Sessions whose messages go to any instance of a name, between applications of one process.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{app, end, message, name, text, within};
use slim::{
    AnycastConfig, App, CloseReason, CommandError, Error, Item, OperationError, PublishOptions, Reliability,
    Service, Session, limits,
};

fn reliable(sticky: bool) -> AnycastConfig {
    AnycastConfig {
        reliability: Some(Reliability::default()),
        sticky,
        ..AnycastConfig::default()
    }
}

/// For any instance of `org/ns/worker`.
fn to_worker() -> PublishOptions {
    PublishOptions {
        to: Some(name("org/ns/worker")),
        ..PublishOptions::default()
    }
}

async fn workers(service: &Service, count: usize) -> Vec<App> {
    let mut workers = Vec::new();
    for _ in 0..count {
        workers.push(app(service, "org/ns/worker").await);
    }
    workers
}

/// The only session that others opened with an application.
async fn accepted(app: &App) -> Session {
    let session = within(app.accept()).await.unwrap();
    assert!(app.try_accept().is_none(), "one session for each instance");
    session
}

#[tokio::test]
async fn instances_get_messages_in_turn_and_their_answers_come_in_one_session() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let workers = workers(&service, 3).await;
    let session = within(alice.open_anycast(reliable(false))).await.unwrap();
    assert!(session.info().anycast && session.info().is_initiator);
    for number in 0..9 {
        within(session.publish(format!("{number}").into(), to_worker()))
            .await
            .unwrap();
    }
    let mut senders = Vec::new();
    for worker in &workers {
        let theirs = accepted(worker).await;
        for _ in 0..3 {
            message(&theirs).await;
        }
        within(theirs.publish("done".into(), PublishOptions::default()))
            .await
            .unwrap();
        senders.push(message(&session).await.source);
    }
    let names: Vec<_> = workers.iter().map(App::name).collect();
    assert_eq!(senders, names);
    assert_eq!(within(session.members()).await.unwrap().len(), 4);
    assert_eq!(alice.sessions().len(), 1);
}

#[tokio::test]
async fn a_sticky_session_ends_at_both_ends_when_it_is_closed() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let workers = workers(&service, 2).await;
    let config = AnycastConfig {
        mls: true,
        ..reliable(true)
    };
    let session = within(alice.open_anycast(config)).await.unwrap();
    for _ in 0..4 {
        within(session.publish("hello".into(), to_worker()))
            .await
            .unwrap();
    }
    let mut opened = workers.iter().filter_map(App::try_accept);
    let theirs = opened.next().unwrap().unwrap();
    assert!(opened.next().is_none());
    assert_eq!(theirs.id(), session.id());
    assert_eq!(text(&theirs).await, "hello");
    within(session.close()).await.unwrap();
    let reason_of = |error: Error| {
        let Error::SessionClosed { reason, .. } = error else {
            panic!("{error}");
        };
        reason
    };
    assert_eq!(reason_of(end(&theirs).await), CloseReason::ByModerator);
    assert_eq!(reason_of(end(&session).await), CloseReason::Local);
    assert!(alice.sessions().is_empty());
}

#[tokio::test]
async fn closing_the_application_closes_what_is_behind_its_sessions() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let workers = workers(&service, 2).await;
    let session = within(alice.open_anycast(reliable(false))).await.unwrap();
    for _ in 0..2 {
        within(session.publish("hello".into(), to_worker()))
            .await
            .unwrap();
    }
    within(alice.close()).await.unwrap();
    for worker in &workers {
        let theirs = accepted(worker).await;
        assert!(matches!(end(&theirs).await, Error::SessionClosed { .. }));
    }
}

#[tokio::test]
async fn a_message_needs_a_receiver_and_one_that_is_there() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let config = AnycastConfig {
        reliability: Some(Reliability {
            interval: Duration::from_millis(20),
            max_retries: 1,
        }),
        ..AnycastConfig::default()
    };
    let session = within(alice.open_anycast(config)).await.unwrap();
    let nobody = within(session.publish("hello".into(), PublishOptions::default())).await;
    assert!(matches!(nobody, Err(Error::Command(CommandError::NoReceiver(id))) if id == session.id()));
    let absent = within(session.publish("hello".into(), to_worker())).await;
    assert!(
        matches!(&absent, Err(Error::Operation(OperationError::InviteFailed { session: id, .. })) if *id == session.id()),
        "{absent:?}"
    );
}

#[tokio::test]
async fn answers_of_all_instances_together_are_bounded_when_nobody_reads() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let workers = workers(&service, 3).await;
    let session = within(alice.open_anycast(AnycastConfig::default()))
        .await
        .unwrap();
    for _ in 0..3 {
        within(session.publish("talk".into(), to_worker())).await.unwrap();
    }
    for worker in &workers {
        let theirs = accepted(worker).await;
        for _ in 0..limits::INBOX_MESSAGES_MAX {
            let payload = Bytes::from_static(b"unread");
            within(theirs.publish(payload, PublishOptions::default()))
                .await
                .unwrap();
        }
    }
    let waiting = |session: &Session| {
        let mut count = 0;
        while let Some(item) = session.try_receive() {
            if matches!(item.unwrap(), Item::Message(_)) {
                count += 1;
            }
        }
        count
    };
    // The last one is on its way to the driver when `publish` resolves.
    within(session.members()).await.unwrap();
    assert_eq!(waiting(&session), limits::INBOX_MESSAGES_MAX);
    assert_eq!(
        within(alice.counters()).await.unwrap().inbox_full,
        2 * limits::INBOX_MESSAGES_MAX as u64
    );
    // Once it is read there is room again.
    within(session.publish("talk".into(), to_worker())).await.unwrap();
    let theirs = workers[0].sessions();
    within(theirs[0].publish("heard".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(text(&session).await, "heard");
}
