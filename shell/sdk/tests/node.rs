//! Applications in different services meet at a real node.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{app, app_with_secret, config, end, group, message, name, text, within};
use slim::{
    App, ClientConfig, CloseReason, Error, MembershipChange, OperationError, PublishOptions, Reliability,
    ServerConfig, Service, Session, SessionKind,
};

fn server_config(address: &str) -> ServerConfig {
    let text = format!(r#"{{"endpoint": "{address}", "tls": {{"insecure": true}}}}"#);
    ServerConfig::from_json_text(&text).unwrap().config
}

fn client_config(address: SocketAddr) -> ClientConfig {
    let text = format!(r#"{{"endpoint": "http://{address}", "tls": {{"insecure": true}}}}"#);
    ClientConfig::from_json_text(&text).unwrap().config
}

/// A node of its own, in its own service.
async fn node() -> (Service, SocketAddr) {
    let service = Service::new().unwrap();
    let endpoint = within(service.run_server(server_config("127.0.0.1:0")))
        .await
        .unwrap();
    (service, endpoint.socket_address().unwrap())
}

/// An application in its own service, connected.
async fn remote_app(address: SocketAddr, text: &str) -> (Service, App) {
    let service = Service::new().unwrap();
    let app = app(&service, text).await;
    within(service.connect(client_config(address))).await.unwrap();
    (service, app)
}

async fn join(moderator: &Session, app: &App) -> Session {
    within(moderator.invite(app.name().without_id())).await.unwrap();
    within(app.accept()).await.unwrap()
}

#[tokio::test]
async fn a_group_over_a_node_hears_everybody_once_and_in_order() {
    let (_node, address) = node().await;
    let (_alice_service, alice) = remote_app(address, "org/ns/alice").await;
    let (_bob_service, bob) = remote_app(address, "org/ns/bob").await;
    let (_carol_service, carol) = remote_app(address, "org/ns/carol").await;
    for mls in [true, false] {
        let mut settings = group();
        settings.mls = mls;
        let ours = within(alice.open(settings)).await.unwrap();
        let sessions = [ours.clone(), join(&ours, &bob).await, join(&ours, &carol).await];
        let speakers: Vec<_> = sessions
            .iter()
            .cloned()
            .map(|session| {
                tokio::spawn(async move {
                    for number in 0..20 {
                        session
                            .publish(number.to_string().into(), PublishOptions::default())
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        for session in &sessions {
            let mut heard = std::collections::BTreeMap::<_, Vec<String>>::new();
            for _ in 0..40 {
                let message = message(session).await;
                let text = String::from_utf8(message.payload.to_vec()).unwrap();
                heard.entry(message.source).or_default().push(text);
            }
            let expected: Vec<String> = (0..20).map(|number| number.to_string()).collect();
            assert_eq!(heard.len(), 2);
            assert!(heard.values().all(|numbers| *numbers == expected), "{heard:?}");
        }
        for speaker in speakers {
            within(speaker).await.unwrap();
        }
        within(ours.close()).await.unwrap();
        assert!(matches!(
            end(&sessions[1]).await,
            Error::SessionClosed {
                reason: CloseReason::ByModerator,
                ..
            }
        ));
        assert!(matches!(
            end(&sessions[2]).await,
            Error::SessionClosed {
                reason: CloseReason::ByModerator,
                ..
            }
        ));
    }
}

#[tokio::test]
async fn one_to_one_works_over_a_node_in_every_mode() {
    let (_node, address) = node().await;
    let (_alice_service, alice) = remote_app(address, "org/ns/alice").await;
    let (_bob_service, bob) = remote_app(address, "org/ns/bob").await;
    for mls in [true, false] {
        for reliability in [Some(Reliability::default()), None] {
            let mut settings = config(SessionKind::PointToPoint, "org/ns/bob");
            settings.mls = mls;
            settings.reliability = reliability;
            let ours = within(alice.open(settings)).await.unwrap();
            let theirs = within(bob.accept()).await.unwrap();
            assert_eq!(ours.info().destination, bob.name());
            within(ours.publish("ping".into(), PublishOptions::default()))
                .await
                .unwrap();
            assert_eq!(text(&theirs).await, "ping");
            within(theirs.publish("pong".into(), PublishOptions::default()))
                .await
                .unwrap();
            assert_eq!(text(&ours).await, "pong");
            within(theirs.close()).await.unwrap();
            assert!(matches!(end(&ours).await, Error::SessionClosed { .. }));
        }
    }
}

#[tokio::test]
async fn fifty_applications_share_one_link() {
    const APPS: usize = 50;
    let (_node, address) = node().await;
    let service = Service::new().unwrap();
    let mut apps = Vec::new();
    let mut connections = Vec::new();
    for number in 0..APPS {
        apps.push(app(&service, &format!("org/ns/app-{number}")).await);
        connections.push(within(service.connect(client_config(address))).await.unwrap());
    }
    assert!(connections.iter().all(|connection| *connection == connections[0]));
    assert_eq!(service.connection(&address.to_string()), Some(connections[0]));

    // All are reachable from elsewhere, by their own names.
    let (_other_service, other) = remote_app(address, "org/ns/other").await;
    let mut settings = group();
    settings.mls = false;
    let ours = within(other.open(settings)).await.unwrap();
    for app in &apps {
        join(&ours, app).await;
    }
    let sent = within(ours.publish("all".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(sent.delivered.len(), APPS);

    // The link lives as long as one of the fifty wants it.
    for connection in &connections[1..] {
        within(service.disconnect(*connection)).await.unwrap();
    }
    assert_eq!(
        service.connection(&format!("http://{address}")),
        Some(connections[0])
    );
    within(service.disconnect(connections[0])).await.unwrap();
    assert_eq!(service.connection(&address.to_string()), None);
}

#[tokio::test]
async fn a_name_is_reachable_as_soon_as_it_is_created_or_subscribed() {
    let (_node, address) = node().await;
    let (_alice_service, alice) = remote_app(address, "org/ns/alice").await;
    let service = Service::new().unwrap();
    // Connected first, created later.
    within(service.connect(client_config(address))).await.unwrap();
    for number in 0..20 {
        let late = app(&service, &format!("org/ns/late-{number}")).await;
        late.subscribe(name(&format!("org/ns/service-{number}")))
            .await
            .unwrap();
        let mut settings = config(SessionKind::PointToPoint, &format!("org/ns/late-{number}"));
        // One try: the first discovery must find it.
        settings.reliability = Some(Reliability {
            interval: Duration::from_secs(20),
            max_retries: 0,
        });
        within(alice.open(settings.clone())).await.unwrap();
        within(late.accept()).await.unwrap();
        settings.destination = name(&format!("org/ns/service-{number}"));
        within(alice.open(settings)).await.unwrap();
        within(late.accept()).await.unwrap();
        within(late.unsubscribe(name(&format!("org/ns/service-{number}"))))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_restarted_node_gets_its_links_back_and_reliable_messages_get_through() {
    let (node, address) = node().await;
    let (_alice_service, alice) = remote_app(address, "org/ns/alice").await;
    let (_bob_service, bob) = remote_app(address, "org/ns/bob").await;
    let mut settings = group();
    settings.reliability = Some(Reliability {
        interval: Duration::from_millis(500),
        max_retries: 60,
    });
    let ours = within(alice.open(settings)).await.unwrap();
    let theirs = join(&ours, &bob).await;
    for round in 0..3 {
        within(node.stop_server(&address.to_string())).await.unwrap();
        // Published while there is no node.
        let session = ours.clone();
        let publish = tokio::spawn(async move {
            session
                .publish(round.to_string().into(), PublishOptions::default())
                .await
        });
        assert_eq!(
            within(node.run_server(server_config(&address.to_string())))
                .await
                .unwrap(),
            address.into()
        );
        assert_eq!(text(&theirs).await, round.to_string());
        assert_eq!(within(publish).await.unwrap().unwrap().delivered, [bob.name()]);
    }
    // Names are known again, so that new members can be invited by and from both.
    let (_carol_service, carol) = remote_app(address, "org/ns/carol").await;
    let carols = join(&ours, &carol).await;
    within(theirs.publish("welcome".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(text(&carols).await, "welcome");
}

#[tokio::test]
async fn connect_fails_with_endpoint_and_cause_when_no_node_listens() {
    let (node, address) = node().await;
    within(node.stop_server(&address.to_string())).await.unwrap();
    let service = Service::new().unwrap();
    let text = format!(
        r#"{{"endpoint": "{address}", "tls": {{"insecure": true}},
            "backoff": {{"type": "fixed_interval", "interval": "20ms", "max_attempts": 3}}}}"#
    );
    let config = ClientConfig::from_json_text(&text).unwrap().config;
    let error = within(service.connect(config)).await.unwrap_err();
    let Error::Connect {
        endpoint,
        attempts: 3,
        ..
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(*endpoint, address.to_string());
    assert!(error.to_string().contains("refused"), "{error}");
    assert_eq!(service.connection(&address.to_string()), None);

    // A node that comes while somebody dials is found.
    let dialing = service.clone();
    let connect = tokio::spawn(async move { dialing.connect(client_config(address)).await });
    within(node.run_server(server_config(&address.to_string())))
        .await
        .unwrap();
    within(connect).await.unwrap().unwrap();
}

#[tokio::test]
async fn disconnecting_ends_a_connect_that_nobody_else_shares() {
    let service = Service::new().unwrap();
    let (node, address) = node().await;
    within(node.stop_server(&address.to_string())).await.unwrap();
    let dialing = service.clone();
    let connect = tokio::spawn(async move { dialing.connect(client_config(address)).await });
    let connection = within(async {
        loop {
            match service.connection(&address.to_string()) {
                Some(connection) => return connection,
                None => tokio::task::yield_now().await,
            }
        }
    });
    let connection = connection.await;
    within(service.disconnect(connection)).await.unwrap();
    assert!(matches!(
        within(connect).await.unwrap(),
        Err(Error::Disconnected { .. })
    ));
    within(service.disconnect(connection)).await.unwrap();
    assert_eq!(service.connection(&address.to_string()), None);
}

#[tokio::test]
async fn a_connection_has_one_set_of_settings() {
    let (_node, address) = node().await;
    let service = Service::new().unwrap();
    let connection = within(service.connect(client_config(address))).await.unwrap();
    let mut other = client_config(address);
    other.headers.insert("x-tenant".into(), "other".into());
    let error = within(service.connect(other.clone())).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionDiffers { .. }), "{error}");
    within(service.disconnect(connection)).await.unwrap();
    let next = within(service.connect(other)).await.unwrap();
    assert_ne!(next, connection);
}

#[tokio::test]
async fn another_secret_is_refused_over_a_node_too() {
    let (_node, address) = node().await;
    let (_alice_service, alice) = remote_app(address, "org/ns/alice").await;
    let (_bob_service, bob) = remote_app(address, "org/ns/bob").await;
    let mallory_service = Service::new().unwrap();
    let mallory = app_with_secret(&mallory_service, "org/ns/mallory", "short").await;
    within(mallory_service.connect(client_config(address)))
        .await
        .unwrap();
    let mut settings = group();
    let reliability = Reliability {
        interval: Duration::from_millis(200),
        max_retries: 3,
    };
    settings.reliability = Some(reliability);
    let ours = within(alice.open(settings)).await.unwrap();
    let bobs = join(&ours, &bob).await;
    let start = tokio::time::Instant::now();
    let error = within(ours.invite(mallory.name().without_id()))
        .await
        .unwrap_err();
    assert!(start.elapsed() >= reliability.total());
    assert!(
        matches!(&error, Error::Operation(OperationError::InviteFailed { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("org/ns/mallory"), "{error}");
    assert!(within(mallory.counters()).await.unwrap().identity_refused > 0);
    within(ours.publish("go on".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(text(&bobs).await, "go on");
}

#[tokio::test]
async fn offline_members_stay_members_and_come_back() {
    let (_node, address) = node().await;
    let (_alice_service, alice) = remote_app(address, "org/ns/alice").await;
    let (_bob_service, bob) = remote_app(address, "org/ns/bob").await;
    let (_carol_service, carol) = remote_app(address, "org/ns/carol").await;
    let ours = within(alice.open(group())).await.unwrap();
    let bobs = join(&ours, &bob).await;
    let carols = join(&ours, &carol).await;
    within(bobs.go_offline()).await.unwrap();
    let offline = |members: Vec<slim::Member>| {
        members
            .iter()
            .any(|member| member.name == bob.name() && !member.online)
            && members.len() == 3
    };
    within(async {
        while !offline(ours.members().await.unwrap()) {
            ours.receive().await.unwrap();
        }
    })
    .await;
    let sent = within(ours.publish("without bob".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(sent.delivered, [carol.name()]);
    within(bobs.go_online()).await.unwrap();
    within(async {
        loop {
            let item = ours.receive().await.unwrap();
            if matches!(
                item,
                slim::Item::Membership {
                    change: MembershipChange::Online,
                    ..
                }
            ) {
                return;
            }
        }
    })
    .await;
    let sent = within(ours.publish("with bob".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(sent.delivered.len(), 2);
    assert_eq!(text(&bobs).await, "with bob");
    assert_eq!(text(&carols).await, "without bob");
}

#[tokio::test]
async fn shutdown_ends_calls_that_wait_for_a_node() {
    let (node, address) = node().await;
    let (service, alice) = remote_app(address, "org/ns/alice").await;
    within(node.stop_server(&address.to_string())).await.unwrap();
    let other: SocketAddr = "127.0.0.1:9".parse().unwrap();
    let dialing = service.clone();
    let connect = tokio::spawn(async move { dialing.connect(client_config(other)).await });
    let opening = alice.clone();
    let open = tokio::spawn(async move {
        opening
            .open(config(SessionKind::PointToPoint, "org/ns/nobody"))
            .await
    });
    within(alice.counters()).await.unwrap();
    within(service.shutdown(Duration::from_millis(50))).await;
    assert!(matches!(
        within(connect).await.unwrap(),
        Err(Error::Closed | Error::Connect { .. })
    ));
    assert!(matches!(within(open).await.unwrap(), Err(Error::Closed)));
    assert!(matches!(
        within(service.connect(client_config(address))).await,
        Err(Error::Closed)
    ));
    assert!(matches!(
        within(service.run_server(server_config("127.0.0.1:0"))).await,
        Err(Error::Closed)
    ));
}

#[tokio::test]
async fn servers_stop_by_either_endpoint_and_unknown_ones_are_an_error() {
    let service = Service::new().unwrap();
    let address = within(service.run_server(server_config("127.0.0.1:0")))
        .await
        .unwrap();
    let taken = within(service.run_server(server_config(&address.to_string())))
        .await
        .unwrap_err();
    assert!(
        matches!(&taken, Error::Server { endpoint, .. } if *endpoint == address.to_string()),
        "{taken}"
    );
    let unknown = within(service.stop_server("127.0.0.1:1")).await.unwrap_err();
    assert!(matches!(unknown, Error::ServerUnknown { .. }), "{unknown}");
    within(service.stop_server(&address.to_string())).await.unwrap();
    within(service.run_server(server_config(&address.to_string())))
        .await
        .unwrap();
    within(service.stop_server(&format!("http://{address}")))
        .await
        .unwrap();
    within(service.run_server(server_config("127.0.0.1:0")))
        .await
        .unwrap();
    within(service.stop_server("127.0.0.1:0")).await.unwrap();
    assert!(matches!(
        within(service.stop_server("127.0.0.1:0")).await,
        Err(Error::ServerUnknown { .. })
    ));
}

#[tokio::test]
async fn a_name_is_gone_after_unsubscribe_whenever_the_connection_was_made() {
    let (_node, address) = node().await;
    let (_alice_service, alice) = remote_app(address, "org/ns/alice").await;
    let service = Service::new().unwrap();
    let bob = app(&service, "org/ns/bob").await;
    within(bob.subscribe(name("org/ns/service"))).await.unwrap();
    within(bob.subscribe(name("org/ns/service"))).await.unwrap();
    // Connecting announces every name once more.
    within(service.connect(client_config(address))).await.unwrap();
    let mut settings = config(SessionKind::PointToPoint, "org/ns/service");
    settings.reliability = Some(Reliability {
        interval: Duration::from_millis(200),
        max_retries: 2,
    });
    let ours = within(alice.open(settings.clone())).await.unwrap();
    within(ours.close()).await.unwrap();
    within(bob.unsubscribe(name("org/ns/service"))).await.unwrap();
    let error = within(alice.open(settings)).await.unwrap_err();
    assert!(
        matches!(error, Error::Operation(OperationError::InviteFailed { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_burst_larger_than_every_queue_arrives_completely() {
    const MESSAGES: u32 = 400;
    let (_node, address) = node().await;
    let (_alice_service, alice) = remote_app(address, "org/ns/alice").await;
    let (_bob_service, bob) = remote_app(address, "org/ns/bob").await;
    let mut settings = config(SessionKind::PointToPoint, "org/ns/bob");
    settings.reliability = Some(Reliability {
        interval: Duration::from_secs(1),
        max_retries: 30,
    });
    let ours = within(alice.open(settings)).await.unwrap();
    let theirs = within(bob.accept()).await.unwrap();
    // 100 MiB: six times the egress budget of a link and the inbox.
    let payload = bytes::Bytes::from(vec![1; 256 * 1024]);
    let publishes: Vec<_> = (0..MESSAGES)
        .map(|number| {
            let (session, payload) = (ours.clone(), payload.clone());
            let payload_type = Some(number.to_string());
            let options = PublishOptions {
                payload_type,
                ..Default::default()
            };
            tokio::spawn(async move { session.publish(payload, options).await })
        })
        .collect();
    let mut numbers = Vec::new();
    for _ in 0..MESSAGES {
        let received = message(&theirs).await;
        assert_eq!(received.payload.len(), payload.len());
        numbers.push(received.payload_type.parse::<u32>().unwrap());
    }
    for publish in publishes {
        within(publish).await.unwrap().unwrap();
    }
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..MESSAGES), "each exactly once");
}
