//! Applications of one process talk through its own router, without a node.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{SECRET, app, app_with_secret, config, end, group, message, name, text, within};
use slim::{
    AppOptions, CloseReason, CommandError, Error, Identity, InvitationPolicy, Inviters, Item,
    MembershipChange, OperationError, PublishOptions, Reliability, Rng, Service, SessionKind, limits,
};

#[tokio::test]
async fn an_application_that_wants_to_be_asked_decides_about_each_invitation() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let identity = Identity::shared_secret("org/ns/bob", SECRET, &mut Rng::from_seed([9; 32])).unwrap();
    let verifier = identity.verifier();
    let options = AppOptions {
        invitations: InvitationPolicy {
            from: Inviters::Asked,
            ..InvitationPolicy::default()
        },
        ..AppOptions::default()
    };
    let bob = within(service.create_app(name("org/ns/bob"), identity, verifier, options))
        .await
        .unwrap();
    let session = within(alice.open(config(SessionKind::Group, "org/ns/channel")))
        .await
        .unwrap();
    let inviting = tokio::spawn({
        let session = session.clone();
        async move { session.invite(name("org/ns/bob")).await }
    });
    let invitation = within(bob.next_invitation()).await.unwrap();
    assert_eq!(invitation.details().inviter, alice.name());
    let channel = invitation.details().channel.clone().unwrap();
    assert!(channel.same_components(&name("org/ns/channel")), "{channel}");
    assert!(invitation.details().subject.starts_with("org/ns/alice_"));
    assert!(bob.sessions().is_empty(), "nothing is joined before the answer");
    within(invitation.accept()).await.unwrap();
    assert_eq!(within(inviting).await.unwrap().unwrap().member, bob.name());
    assert_eq!(within(bob.accept()).await.unwrap().id(), session.id());

    let opening = tokio::spawn({
        let alice = alice.clone();
        async move { alice.open(config(SessionKind::PointToPoint, "org/ns/bob")).await }
    });
    within(within(bob.next_invitation()).await.unwrap().decline())
        .await
        .unwrap();
    let error = within(opening).await.unwrap().unwrap_err();
    assert!(
        matches!(error, Error::Operation(OperationError::InviteFailed { .. })),
        "{error}"
    );
    assert!(bob.try_accept().is_none());
}

#[tokio::test]
async fn every_kind_of_session_carries_messages_both_ways() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let bob = app(&service, "org/ns/bob").await;
    for kind in [SessionKind::PointToPoint, SessionKind::Group] {
        for mls in [false, true] {
            for reliability in [None, Some(Reliability::default())] {
                let case = format!("{kind:?} mls={mls} {reliability:?}");
                let destination = if kind == SessionKind::Group {
                    "org/ns/channel"
                } else {
                    "org/ns/bob"
                };
                let mut settings = config(kind, destination);
                settings.mls = mls;
                settings.reliability = reliability;
                settings.metadata.insert("topic".into(), "tests".into());
                let ours = within(alice.open(settings)).await.unwrap();
                if kind == SessionKind::Group {
                    let invited = within(ours.invite(name("org/ns/bob"))).await.unwrap();
                    assert_eq!(
                        (invited.member, invited.unreachable),
                        (bob.name(), vec![]),
                        "{case}"
                    );
                }
                let theirs = within(bob.accept()).await.unwrap();
                assert_eq!(theirs.id(), ours.id(), "{case}");
                assert_eq!(theirs.info().metadata["topic"], "tests", "{case}");
                assert_eq!(theirs.info().mls, mls, "{case}");

                let sent = within(ours.publish("hello".into(), PublishOptions::default()))
                    .await
                    .unwrap();
                if reliability.is_some() {
                    assert_eq!(sent.delivered, [bob.name()], "{case}");
                }
                let received = message(&theirs).await;
                assert_eq!(
                    (&received.payload[..], &*received.payload_type),
                    (&b"hello"[..], "msg"),
                    "{case}"
                );
                assert_eq!(received.source, alice.name(), "{case}");
                within(theirs.publish("hello back".into(), PublishOptions::default()))
                    .await
                    .unwrap();
                assert_eq!(text(&ours).await, "hello back", "{case}");

                within(ours.close()).await.unwrap();
                let ended = end(&theirs).await;
                assert!(
                    matches!(ended, Error::SessionClosed { session, .. } if session == ours.id()),
                    "{case}: {ended}"
                );
                assert!(
                    matches!(
                        end(&ours).await,
                        Error::SessionClosed {
                            reason: CloseReason::Local,
                            ..
                        }
                    ),
                    "{case}"
                );
                within(theirs.close()).await.unwrap();
            }
        }
    }
    assert!(alice.sessions().is_empty());
}

#[tokio::test]
async fn members_come_are_removed_and_leave_and_the_others_are_told() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let bob = app(&service, "org/ns/bob").await;
    let carol = app(&service, "org/ns/carol").await;
    let ours = within(alice.open(group())).await.unwrap();
    within(ours.invite(name("org/ns/bob"))).await.unwrap();
    let bobs = within(bob.accept()).await.unwrap();
    within(ours.invite(name("org/ns/carol"))).await.unwrap();
    let carols = within(carol.accept()).await.unwrap();

    // Everybody has the same epoch and the same members once the invitation resolved.
    let snapshots = [
        within(ours.snapshot()).await.unwrap(),
        within(bobs.snapshot()).await.unwrap(),
        within(carols.snapshot()).await.unwrap(),
    ];
    assert!(
        snapshots.iter().all(|snapshot| snapshot.members.len() == 3),
        "{snapshots:?}"
    );
    assert!(snapshots[0].epoch_authenticator.is_some());
    assert!(
        snapshots
            .iter()
            .all(|snapshot| snapshot.epoch_authenticator == snapshots[0].epoch_authenticator)
    );

    // Bob hears of carol, as notice between messages.
    let joined = within(async {
        loop {
            if let Item::Membership {
                member,
                change: MembershipChange::Joined,
            } = bobs.receive().await.unwrap()
                && member == carol.name()
            {
                return member;
            }
        }
    });
    assert_eq!(joined.await, carol.name());

    // To one member only.
    let to_carol = PublishOptions {
        to: Some(carol.name()),
        ..Default::default()
    };
    let sent = within(bobs.publish("psst".into(), to_carol)).await.unwrap();
    assert_eq!(sent.delivered, [carol.name()]);
    let direct = message(&carols).await;
    assert_eq!((&direct.payload[..], direct.direct), (&b"psst"[..], true));
    within(bobs.publish("all".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(text(&ours).await, "all");
    assert_eq!(text(&carols).await, "all");

    // Only the moderator changes members.
    let refused = within(bobs.remove(name("org/ns/carol"))).await.unwrap_err();
    assert!(
        matches!(refused, Error::Command(CommandError::NotModerator(_))),
        "{refused}"
    );

    let removed = within(ours.remove(name("org/ns/carol"))).await.unwrap();
    assert_eq!(removed.members, [carol.name()]);
    let ended = end(&carols).await;
    assert!(
        matches!(
            ended,
            Error::SessionClosed {
                reason: CloseReason::Removed,
                ..
            }
        ),
        "{ended}"
    );
    let late = within(carols.publish("late".into(), PublishOptions::default()))
        .await
        .unwrap_err();
    assert!(
        matches!(
            late,
            Error::SessionClosed {
                reason: CloseReason::Removed,
                ..
            }
        ),
        "{late}"
    );

    within(bobs.close()).await.unwrap();
    within(async {
        while within(ours.members()).await.unwrap().len() > 1 {
            let _ = ours.receive().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn payloads_of_every_allowed_size_arrive_and_larger_ones_are_refused() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let bob = app(&service, "org/ns/bob").await;
    let ours = within(alice.open(config(SessionKind::PointToPoint, "org/ns/bob")))
        .await
        .unwrap();
    let theirs = within(bob.accept()).await.unwrap();
    for size in [0, 1, 64 * 1024, limits::PAYLOAD_BYTES_MAX] {
        let payload = Bytes::from(vec![7; size]);
        within(ours.publish(payload.clone(), PublishOptions::default()))
            .await
            .unwrap();
        assert_eq!(message(&theirs).await.payload, payload, "{size}");
    }
    let large = Bytes::from(vec![7; limits::PAYLOAD_BYTES_MAX + 1]);
    let refused = within(ours.publish(large, PublishOptions::default()))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, Error::Command(CommandError::TooLarge { .. })),
        "{refused}"
    );
    within(ours.publish("still open".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(text(&theirs).await, "still open");
}

#[tokio::test]
async fn a_thousand_cancelled_receives_lose_no_message() {
    const MESSAGES: u32 = 1000;
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let bob = app(&service, "org/ns/bob").await;
    let ours = within(alice.open(config(SessionKind::PointToPoint, "org/ns/bob")))
        .await
        .unwrap();
    let theirs = within(bob.accept()).await.unwrap();
    let sender = tokio::spawn(async move {
        for number in 0..MESSAGES {
            ours.publish(number.to_string().into(), PublishOptions::default())
                .await
                .unwrap();
        }
    });
    let mut cancelled = 0;
    let mut expected = 0;
    within(async {
        while expected < MESSAGES {
            // Cancelled after a few polls, at another point each time.
            let receive = theirs.receive();
            let yields = async {
                for _ in 0..cancelled % 7 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                () = yields => cancelled += 1,
                item = receive => {
                    if let Item::Message(message) = item.unwrap() {
                        assert_eq!(message.payload, expected.to_string());
                        expected += 1;
                    }
                    cancelled += 1;
                }
            }
        }
    })
    .await;
    within(sender).await.unwrap();
    assert!(cancelled >= MESSAGES, "{cancelled}");
}

#[tokio::test]
async fn a_fast_publisher_waits_for_a_slow_reader_and_nothing_is_lost() {
    const MESSAGES: usize = 3 * limits::INBOX_MESSAGES_MAX;
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let bob = app(&service, "org/ns/bob").await;
    let mut settings = config(SessionKind::PointToPoint, "org/ns/bob");
    // The reader begins late, so its inbox is full for a while: repeat often enough.
    settings.reliability = Some(Reliability {
        interval: Duration::from_millis(100),
        max_retries: 300,
    });
    settings.mls = false;
    let ours = within(alice.open(settings)).await.unwrap();
    let theirs = within(bob.accept()).await.unwrap();
    let publishes: Vec<_> = (0..MESSAGES)
        .map(|number| {
            let session = ours.clone();
            tokio::spawn(async move {
                session
                    .publish(number.to_string().into(), PublishOptions::default())
                    .await
            })
        })
        .collect();
    // The core refuses before it acknowledges, so the counter moves only when the inbox is really full.
    within(async {
        while bob.counters().await.unwrap().inbox_full == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut numbers = Vec::new();
    for _ in 0..MESSAGES {
        numbers.push(text(&theirs).await.parse::<usize>().unwrap());
    }
    for publish in publishes {
        within(publish).await.unwrap().unwrap();
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..MESSAGES), "each exactly once");
}

#[tokio::test]
async fn a_peer_with_another_secret_is_refused_after_the_documented_time_and_the_group_goes_on() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let bob = app(&service, "org/ns/bob").await;
    let mallory = app_with_secret(
        &service,
        "org/ns/mallory",
        "another secret, also long enough to be strong",
    )
    .await;
    let mut settings = group();
    let reliability = Reliability {
        interval: Duration::from_millis(200),
        max_retries: 3,
    };
    settings.reliability = Some(reliability);
    let ours = within(alice.open(settings)).await.unwrap();
    within(ours.invite(name("org/ns/bob"))).await.unwrap();
    let bobs = within(bob.accept()).await.unwrap();

    let start = tokio::time::Instant::now();
    let error = within(ours.invite(name("org/ns/mallory"))).await.unwrap_err();
    let took = start.elapsed();
    let Error::Operation(OperationError::InviteFailed { invitee, .. }) = &error else {
        panic!("{error}")
    };
    assert_eq!(invitee.path(), "org/ns/mallory");
    assert!(error.to_string().contains("org/ns/mallory"), "{error}");
    assert!(
        took >= reliability.total() && took < reliability.total() * 3,
        "{took:?}"
    );
    let refused = within(mallory.counters()).await.unwrap().identity_refused;
    assert!(
        refused > u64::from(reliability.max_retries),
        "each attempt is refused and counted: {refused}"
    );
    assert!(mallory.try_accept().is_none());

    within(ours.publish("go on".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(text(&bobs).await, "go on");
}

#[tokio::test]
async fn shutdown_ends_every_open_call() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let bob = app(&service, "org/ns/bob").await;
    let ours = within(alice.open(group())).await.unwrap();
    within(ours.invite(name("org/ns/bob"))).await.unwrap();
    let theirs = within(bob.accept()).await.unwrap();
    let stranger = ours.clone();
    let invite = tokio::spawn(async move { stranger.invite(name("org/ns/nobody")).await });
    let waiting = theirs.clone();
    let receive = tokio::spawn(async move {
        loop {
            if let Err(error) = waiting.receive().await {
                return error;
            }
        }
    });
    let accepting = bob.clone();
    let accept = tokio::spawn(async move { accepting.accept().await });
    // Each of the calls is under way once the driver answered this one.
    within(alice.counters()).await.unwrap();

    let start = tokio::time::Instant::now();
    within(service.shutdown(Duration::from_millis(100))).await;
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(matches!(within(invite).await.unwrap(), Err(Error::Closed)));
    assert!(matches!(within(receive).await.unwrap(), Error::Closed));
    assert!(matches!(within(accept).await.unwrap(), Err(Error::Closed)));
    assert!(matches!(
        within(ours.publish("late".into(), PublishOptions::default())).await,
        Err(Error::Closed)
    ));
    assert!(matches!(
        within(ours.invite(name("org/ns/carol"))).await,
        Err(Error::Closed)
    ));
    assert!(matches!(within(alice.open(group())).await, Err(Error::Closed)));
    within(service.shutdown(Duration::ZERO)).await;
}

#[tokio::test]
async fn closing_an_application_ends_its_groups_and_leaves_those_of_others() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let bob = app(&service, "org/ns/bob").await;
    let ours = within(alice.open(group())).await.unwrap();
    within(ours.invite(name("org/ns/bob"))).await.unwrap();
    let theirs = within(bob.accept()).await.unwrap();
    let bobs_own = within(bob.open(group())).await.unwrap();
    within(bobs_own.invite(name("org/ns/alice"))).await.unwrap();
    let alices = within(alice.accept()).await.unwrap();

    within(bob.close()).await.unwrap();
    within(bob.close()).await.unwrap();
    assert!(matches!(
        end(&alices).await,
        Error::SessionClosed {
            reason: CloseReason::ByModerator,
            ..
        }
    ));
    assert!(matches!(
        end(&theirs).await,
        Error::SessionClosed { .. } | Error::Closed
    ));
    within(async {
        while ours.members().await.unwrap().len() > 1 {
            let _ = ours.receive().await.unwrap();
        }
    })
    .await;
    assert!(matches!(within(bob.open(group())).await, Err(Error::Closed)));
    // The name is free: an invitation finds nobody.
    let mut settings = group();
    settings.reliability = Some(Reliability {
        interval: Duration::from_millis(50),
        max_retries: 1,
    });
    let other = within(alice.open(settings)).await.unwrap();
    let error = within(other.invite(name("org/ns/bob"))).await.unwrap_err();
    assert!(
        matches!(error, Error::Operation(OperationError::InviteFailed { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn dropping_every_handle_leaves_the_sessions() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let bob = app(&service, "org/ns/bob").await;
    let ours = within(alice.open(group())).await.unwrap();
    within(ours.invite(name("org/ns/bob"))).await.unwrap();
    let theirs = within(bob.accept()).await.unwrap();
    drop(bob);
    // A session keeps its application.
    within(theirs.publish("still here".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(text(&ours).await, "still here");
    drop(theirs);
    within(async {
        while ours.members().await.unwrap().len() > 1 {
            let _ = ours.receive().await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn a_dropped_invite_and_publish_go_on_in_the_background() {
    let service = Service::new().unwrap();
    let alice = app(&service, "org/ns/alice").await;
    let bob = app(&service, "org/ns/bob").await;
    let ours = within(alice.open(group())).await.unwrap();
    let mut invite = Box::pin(ours.invite(name("org/ns/bob")));
    // One poll sends the request; the driver's own thread may even be done before it returns.
    let _ = poll_once(&mut invite).await;
    drop(invite);
    let theirs = within(bob.accept()).await.unwrap();
    within(async {
        while ours.members().await.unwrap().len() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut publish = Box::pin(ours.publish("background".into(), PublishOptions::default()));
    let _ = poll_once(&mut publish).await;
    drop(publish);
    assert_eq!(text(&theirs).await, "background");
    // The window is whole again: as many publishes as it has permits succeed at once.
    let publishes = (0..limits::SEND_WINDOW_MAX).map(|_| {
        let session = ours.clone();
        tokio::spawn(async move { session.publish(Bytes::new(), PublishOptions::default()).await })
    });
    for publish in publishes.collect::<Vec<_>>() {
        within(publish).await.unwrap().unwrap();
    }
}

#[test]
fn a_service_works_from_threads_without_runtime() {
    let service = Service::new().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let alice = runtime.block_on(app_with_secret(&service, "org/ns/alice", SECRET));
    let bob = runtime.block_on(app(&service, "org/ns/bob"));
    // The first runtime is gone; the service does not care.
    drop(runtime);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let ours = within(alice.open(config(SessionKind::PointToPoint, "org/ns/bob")))
            .await
            .unwrap();
        let theirs = within(bob.accept()).await.unwrap();
        within(ours.publish("hello".into(), PublishOptions::default()))
            .await
            .unwrap();
        assert_eq!(text(&theirs).await, "hello");
    });
}

/// Polls once; `None` if it is not ready.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
