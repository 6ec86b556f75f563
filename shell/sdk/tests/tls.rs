//! Applications whose links to a node are protected by TLS.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../net/tests/common/mod.rs"]
mod certificates;
mod common;

use std::net::SocketAddr;

use certificates::{Ca, Directory, Life, Pair};
use common::{app, group, message, within};
use slim::{
    App, AuthorizationConfig, ClientConfig, DefaultAccess, DialError, Error, PublishOptions, ServerConfig,
    Service, Session, TlsFailure, TlsSetupError,
};

fn server_config(address: &str, tls: &serde_json::Value) -> ServerConfig {
    let text = serde_json::json!({"endpoint": format!("https://{address}"), "tls": tls}).to_string();
    ServerConfig::from_json_text(&text).unwrap().config
}

fn client_config(address: SocketAddr, tls: &serde_json::Value) -> ClientConfig {
    let text = serde_json::json!({"endpoint": format!("https://{address}"), "tls": tls}).to_string();
    ClientConfig::from_json_text(&text).unwrap().config
}

fn source(pair: &Pair) -> serde_json::Value {
    serde_json::json!({"type": "pem", "cert": pair.cert, "key": pair.key})
}

fn trust(ca: &Ca) -> serde_json::Value {
    serde_json::json!({"type": "pem", "data": ca.pem})
}

async fn node(tls: &serde_json::Value) -> (Service, SocketAddr) {
    let service = Service::new().unwrap();
    let open = AuthorizationConfig {
        default: DefaultAccess::Allow,
        rules: Vec::new(),
    };
    let config = server_config("127.0.0.1:0", tls);
    let endpoint = within(service.run_server_with_rules(config, Some(open)))
        .await
        .unwrap();
    (service, endpoint.socket_address().unwrap())
}

async fn connected(config: ClientConfig, name: &str) -> (Service, App) {
    let service = Service::new().unwrap();
    let app = app(&service, name).await;
    within(service.connect(config)).await.unwrap();
    (service, app)
}

async fn join(moderator: &Session, app: &App) -> Session {
    within(moderator.invite(app.name().without_id())).await.unwrap();
    within(app.accept()).await.unwrap()
}

#[tokio::test]
async fn s_16_an_encrypted_group_meets_over_tls_with_and_without_client_certificates() {
    let ca = Ca::new("ca");
    let pair = ca.server(&["127.0.0.1"], Life::Valid);
    for demands_certificates in [false, true] {
        let mut tls = serde_json::json!({"source": source(&pair)});
        if demands_certificates {
            tls["client_ca"] = trust(&ca);
        }
        let (_node, address) = node(&tls).await;
        let config = |name: &str| {
            let mut tls = serde_json::json!({"ca_source": trust(&ca), "include_system_ca_certs_pool": false});
            if demands_certificates {
                tls["source"] = source(&ca.client(name, Life::Valid));
            }
            client_config(address, &tls)
        };
        let (_alice_service, alice) = connected(config("alice"), "org/ns/alice").await;
        let (_bob_service, bob) = connected(config("bob"), "org/ns/bob").await;
        let (_carol_service, carol) = connected(config("carol"), "org/ns/carol").await;
        let ours = within(alice.open(group())).await.unwrap();
        let sessions = [ours.clone(), join(&ours, &bob).await, join(&ours, &carol).await];
        for (speaker, session) in sessions.iter().enumerate() {
            let payload = vec![u8::try_from(speaker).unwrap(); 200_000];
            within(session.publish(payload.clone().into(), PublishOptions::default()))
                .await
                .unwrap();
            for (listener, session) in sessions.iter().enumerate() {
                if listener != speaker {
                    assert_eq!(message(session).await.payload, payload);
                }
            }
        }
    }
}

#[tokio::test]
async fn connect_fails_at_once_with_its_class_when_the_two_sides_do_not_trust_each_other() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let pair = ca.server(&["127.0.0.1"], Life::Valid);
    let (_node, address) = node(&serde_json::json!({"source": source(&pair)})).await;
    let service = Service::new().unwrap();
    let tls = serde_json::json!({"ca_source": trust(&other)});
    let plain = ClientConfig::insecure(address.into());
    let gone = serde_json::json!({"ca_source": {"type": "file", "path": "no-such.pem"}});
    type Check = fn(&DialError) -> bool;
    let cases: [(ClientConfig, Check, String); 3] = [
        (
            client_config(address, &tls),
            |error| {
                matches!(
                    error,
                    DialError::Tls {
                        failure: TlsFailure::UnknownCa,
                        ..
                    }
                )
            },
            format!(
                "no connection to {address} after 1 attempts: no TLS with {address}: its certificate is signed by \
                 no CA that is trusted here; set tls.ca_source to the CA that signed it"
            ),
        ),
        (
            plain,
            |error| {
                matches!(
                    error,
                    DialError::Tls {
                        failure: TlsFailure::TlsExpected,
                        ..
                    }
                )
            },
            format!(
                "no connection to {address} after 1 attempts: no TLS with {address}: the other side speaks TLS and \
                 this one plain text; remove tls.insecure and write https://"
            ),
        ),
        (
            client_config(address, &gone),
            |error| matches!(error, DialError::TlsSetup(TlsSetupError::Read { .. })),
            format!(
                "no connection to {address} after 1 attempts: tls.ca_source (no-such.pem) cannot be read: No such \
                 file or directory (os error 2); check the path and its permissions"
            ),
        ),
    ];
    for (config, is_expected, text) in cases {
        let error = within(service.connect(config)).await.unwrap_err();
        assert_eq!(error.to_string(), text);
        let Error::Connect {
            cause, attempts: 1, ..
        } = error
        else {
            panic!("{error:?}")
        };
        assert!(is_expected(cause.downcast_ref().unwrap()), "{cause:?}");
        assert_eq!(service.connection(&address.to_string()), None);
    }
}

#[tokio::test]
async fn a_server_whose_certificate_cannot_be_used_does_not_start() {
    let ca = Ca::new("ca");
    let mut pair = ca.server(&["127.0.0.1"], Life::Valid);
    pair.key = ca.server(&["127.0.0.1"], Life::Valid).key;
    let service = Service::new().unwrap();
    let config = server_config("127.0.0.1:0", &serde_json::json!({"source": source(&pair)}));
    let error = within(service.run_server(config)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot serve 127.0.0.1:0: service slim/0, 127.0.0.1:0: the private key of tls.source.key does not belong \
         to the first certificate of tls.source.cert; configure a pair that was made together"
    );
}

#[tokio::test]
async fn a_node_that_comes_back_with_another_certificate_is_believed_by_what_the_file_says_then() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let directory = Directory::new("sdk-renewed");
    let path = directory.write("ca.pem", &old.pem);
    let tls = |ca: &Ca| serde_json::json!({"source": source(&ca.server(&["127.0.0.1"], Life::Valid))});
    let (node_service, address) = node(&tls(&old)).await;
    let client = client_config(
        address,
        &serde_json::json!({"ca_source": {"type": "file", "path": path}, "include_system_ca_certs_pool": false}),
    );
    let (_alice_service, alice) = connected(client.clone(), "org/ns/alice").await;
    let (_bob_service, bob) = connected(client, "org/ns/bob").await;
    let ours = within(alice.open(group())).await.unwrap();
    let theirs = join(&ours, &bob).await;
    within(node_service.stop_server(&address.to_string()))
        .await
        .unwrap();
    directory.write("ca.pem", &new.pem);
    within(node_service.run_server(server_config(&address.to_string(), &tls(&new))))
        .await
        .unwrap();
    within(ours.publish("again".into(), PublishOptions::default()))
        .await
        .unwrap();
    assert_eq!(message(&theirs).await.payload, "again");
}
