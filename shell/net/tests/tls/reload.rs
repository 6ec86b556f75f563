//! Certificates that are replaced while links are up, and those that should be.

use std::time::Duration;

use slim_config::{CaSource, CertificateSource, ClientTls, ServerConfig, ServerTls};
use slim_net::{Credentials, DialError, TlsAcceptor, TlsFailure, dial, dial_as};
use slim_proto::{Egress, Frame};

use crate::common::{Ca, Directory, Life, Pair, within};
use crate::server::Server;
use crate::{NAMES, client, client_tls, server_tls};

#[tokio::test]
async fn certificates_are_replaced_while_links_stay_and_broken_files_change_nothing() {
    let (old_ca, new_ca) = (Ca::new("old"), Ca::new("new"));
    let directory = Directory::new("tls-reload");
    let install = |pair: &Pair| {
        (
            directory.write("cert.pem", &pair.cert),
            directory.write("key.pem", &pair.key),
        )
    };
    let (cert, key) = install(&old_ca.server(NAMES, Life::Valid));
    let clients = directory.write("clients.pem", &old_ca.pem);
    let config = ServerConfig {
        tls: Some(ServerTls {
            client_ca: Some(CaSource::File { path: clients }),
            reload_interval: Duration::from_millis(50),
            ..ServerTls::new(CertificateSource::File { cert, key })
        }),
        ..ServerConfig::insecure("127.0.0.1:0".parse().unwrap())
    };
    let mut server = Server::start_with(config).await;
    let of = |ca: &Ca, name: &str| ClientTls {
        source: Some(ca.client(name, Life::Valid).source()),
        ..client_tls(ca)
    };
    let mut first = within(dial(&client(server.address, of(&old_ca, "alice"))))
        .await
        .unwrap();
    let mut accepted = server.next_call().await;

    // Explicitly, and a broken file is an error that changes nothing.
    let acceptor = server.acceptor.clone().unwrap();
    directory.write("cert.pem", "no certificate");
    let error = acceptor.reload().await.unwrap_err();
    assert!(error.to_string().contains("cert.pem"), "{error}");
    within(dial(&client(server.address, of(&old_ca, "alice"))))
        .await
        .unwrap();
    server.next_call().await;

    // By itself, when the files change: the own certificate and the CAs of clients.
    let watching = tokio::spawn(async move { acceptor.keep_fresh().await });
    install(&new_ca.server(NAMES, Life::Valid));
    directory.write("clients.pem", &new_ca.pem);
    let renewed = client(server.address, of(&new_ca, "bob"));
    within(async {
        while dial(&renewed).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let certificate = server.next_call().await.certificate.unwrap();
    assert_eq!(certificate.subject, "O=Example\\, Inc,CN=bob");
    let stranger = within(dial(&client(server.address, of(&old_ca, "alice"))))
        .await
        .unwrap_err();
    assert!(
        matches!(
            stranger,
            DialError::Tls {
                failure: TlsFailure::UnknownCa,
                ..
            }
        ),
        "{stranger}"
    );

    // The link of before is as good as ever, and whoever it is stays the same.
    let frame = Frame::new(vec![7; 100]).unwrap();
    let (sent, received) = tokio::join!(
        first.writer.send(Egress::verbatim(frame.clone())),
        within(accepted.reader.next())
    );
    sent.unwrap();
    assert_eq!(received.unwrap().bytes(), frame.bytes());
    assert_eq!(accepted.certificate.unwrap().subject, "O=Example\\, Inc,CN=alice");
    watching.abort();
}

#[tokio::test]
async fn a_dialer_reads_its_files_at_each_dial_and_keeps_the_last_that_could_be_used() {
    let (old_ca, new_ca) = (Ca::new("old"), Ca::new("new"));
    let directory = Directory::new("tls-dial");
    let path = directory.write("ca.pem", &old_ca.pem);
    let mut server = Server::start(Some(server_tls(&old_ca.server(NAMES, Life::Valid)))).await;
    let mut other = Server::start(Some(server_tls(&new_ca.server(NAMES, Life::Valid)))).await;
    let tls = ClientTls {
        ca: Some(CaSource::File { path }),
        system_roots: false,
        reload_interval: Duration::from_millis(20),
        ..ClientTls::default()
    };
    let config = client(server.address, tls.clone());
    let credentials = Credentials::of(&config);
    within(dial_as(&config, &credentials)).await.unwrap();
    server.next_call().await;
    let renewed = {
        let (config, credentials) = (config.clone(), credentials.clone());
        tokio::spawn(async move { credentials.renewed(&config).await })
    };
    directory.write("ca.pem", "broken");
    within(dial_as(&config, &credentials)).await.unwrap();
    server.next_call().await;
    assert!(!renewed.is_finished());
    directory.write("ca.pem", &new_ca.pem);
    within(renewed).await.unwrap();
    within(dial_as(&client(other.address, tls), &credentials))
        .await
        .unwrap();
    other.next_call().await;
}

#[tokio::test]
async fn a_client_reads_its_certificates_again_at_each_dial() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let directory = Directory::new("tls-again");
    let path = directory.write("ca.pem", &old.pem);
    let server = Server::start(Some(server_tls(&new.server(NAMES, Life::Valid)))).await;
    let tls = ClientTls {
        ca: Some(CaSource::File { path }),
        ..client_tls(&old)
    };
    let config = client(server.address, tls);
    within(dial(&config)).await.unwrap_err();
    directory.write("ca.pem", &new.pem);
    within(dial(&config)).await.unwrap();
}

#[tokio::test]
async fn certificates_that_expire_are_noticed() {
    let ca = Ca::new("ca");
    for (life, is_noted) in [(Life::Valid, false), (Life::Expired, true)] {
        let config = ServerConfig {
            tls: Some(server_tls(&ca.server(NAMES, life))),
            ..ServerConfig::insecure("127.0.0.1:0".parse().unwrap())
        };
        let acceptor = TlsAcceptor::load(&config).await.unwrap().unwrap();
        assert_eq!(acceptor.expiry_note().await.is_some(), is_noted, "{life:?}");
    }
}
