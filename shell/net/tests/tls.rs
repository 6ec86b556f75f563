//! Links over TLS between both roles, against bare TLS stacks, and every way to be refused.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use common::{Ca, Directory, Life, Pair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use slim_config::{
    CaSource, CertificateSource, ClientConfig, ClientTls, Endpoint, ServerConfig, ServerTls, TlsVersion,
};
use slim_net::grpc::server::Peer;
use slim_net::listen::ConnectionLimits;
use slim_net::tls::AcceptTlsError;
use slim_net::{
    Accepted, ConnectionSettings, Credentials, DialError, Listener, TlsAcceptor, TlsFailure, TlsSetupError,
    dial, dial_as, serve_connection,
};
use slim_proto::{Egress, Frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

const DEADLINE: Duration = Duration::from_secs(20);
const NAMES: &[&str] = &["localhost", "127.0.0.1"];

fn server_tls(pair: &Pair) -> ServerTls {
    ServerTls::new(pair.source())
}

/// A client that trusts this CA and nobody else.
fn client_tls(ca: &Ca) -> ClientTls {
    ClientTls {
        ca: Some(ca.source()),
        system_roots: false,
        ..ClientTls::default()
    }
}

fn client(address: SocketAddr, tls: ClientTls) -> ClientConfig {
    ClientConfig {
        tls: Some(tls),
        ..ClientConfig::insecure(address.into())
    }
}

#[tokio::test]
async fn s_16_frames_pass_in_both_directions_under_each_version() {
    let ca = Ca::new("ca");
    let pair = ca.server(NAMES, Life::Valid);
    let directory = Directory::new("tls-files");
    let files = CertificateSource::File {
        cert: directory.write("cert.pem", &pair.cert),
        key: directory.write("key.pem", &pair.key),
    };
    let path = directory.write("ca.pem", &ca.pem);
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let mut server = Server::start(Some(ServerTls {
            version,
            ..ServerTls::new(files.clone())
        }))
        .await;
        // The roots of the system may be there as well, whatever they are on this machine.
        let tls = ClientTls {
            ca: Some(CaSource::File { path: path.clone() }),
            version,
            ..ClientTls::default()
        };
        let mut dialed = within(dial(&client(server.address, tls))).await.unwrap();
        let mut accepted = server.next_call().await;
        assert_eq!(accepted.certificate, None);
        accepted.reader.accept_large_frames();
        dialed.reader.accept_large_frames();
        for size in [0, 1, 16 * 1024, 300_000] {
            let frame = || Frame::new(vec![7; size]).unwrap();
            let (sent, received) = tokio::join!(
                dialed.writer.send(Egress::verbatim(frame())),
                within(accepted.reader.next())
            );
            sent.unwrap();
            assert_eq!(received.unwrap().bytes(), frame().bytes());
            let (sent, received) = tokio::join!(
                accepted.writer.send(Egress::verbatim(frame())),
                within(dialed.reader.next())
            );
            sent.unwrap();
            assert_eq!(received.unwrap().bytes(), frame().bytes());
        }
    }
}

#[tokio::test]
async fn a_listener_selects_h2_and_prefers_the_post_quantum_exchange() {
    let ca = Ca::new("ca");
    let server = Server::start(Some(server_tls(&ca.server(NAMES, Life::Valid)))).await;
    for (offered, selected) in [(vec![b"h2".to_vec()], Some(&b"h2"[..])), (Vec::new(), None)] {
        let mut settings = bare_client_settings(&ca);
        settings.alpn_protocols = offered;
        let stream = bare_connect(server.address, settings).await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.alpn_protocol(), selected);
        let group = connection.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    }
    let mut settings = bare_client_settings(&ca);
    settings.alpn_protocols = vec![b"http/1.1".to_vec()];
    let error = bare_connect(server.address, settings).await.unwrap_err();
    assert!(error.to_string().contains("NoApplicationProtocol"), "{error}");
}

#[tokio::test]
async fn who_enforces_post_quantum_exchange_meets_only_peers_that_have_it() {
    let ca = Ca::new("ca");
    let tls = server_tls(&ca.server(NAMES, Life::Valid));
    let enforcing = |address| ClientConfig {
        enforce_pqc: true,
        ..client(address, client_tls(&ca))
    };
    for enforce_pqc in [false, true] {
        let mut server = Server::start_with(ServerConfig {
            tls: Some(tls.clone()),
            enforce_pqc,
            ..ServerConfig::insecure("127.0.0.1:0".parse().unwrap())
        })
        .await;
        for config in [enforcing(server.address), client(server.address, client_tls(&ca))] {
            within(dial(&config)).await.unwrap();
            server.next_call().await;
        }
        let stream = bare_connect(server.address, classical_client_settings(&ca)).await;
        assert_eq!(stream.is_err(), enforce_pqc, "{stream:?}");
    }
    // And a node without it, seen by a dialer that enforces it.
    let pair = ca.server(NAMES, Life::Valid);
    let settings = rustls::ServerConfig::builder_with_provider(classical_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(settings));
        let (socket, _) = listener.accept().await.unwrap();
        drop(acceptor.accept(socket).await);
    });
    let error = within(dial(&enforcing(address))).await.unwrap_err();
    assert!(
        matches!(
            error,
            DialError::Tls {
                failure: TlsFailure::Classical,
                ..
            }
        ),
        "{error}"
    );
    // Version 1.2 has no such exchange at all.
    let old = ClientConfig {
        enforce_pqc: true,
        ..client(
            address,
            ClientTls {
                version: TlsVersion::Tls12,
                ..client_tls(&ca)
            },
        )
    };
    let error = within(dial(&old)).await.unwrap_err();
    assert!(
        matches!(error, DialError::TlsSetup(TlsSetupError::PqcNeedsTls13)),
        "{error}"
    );
}

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

#[tokio::test]
async fn a_dialer_accepts_a_listener_that_negotiates_no_protocol() {
    let ca = Ca::new("ca");
    let pair = ca.server(NAMES, Life::Valid);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let settings = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
        )
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(settings));
        let stream = acceptor.accept(socket).await.unwrap();
        let protocol = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (request, _respond): (_, h2::server::SendResponse<bytes::Bytes>) =
            connection.accept().await.unwrap().unwrap();
        (protocol, request.into_parts().0.uri)
    });
    let _ = within(dial(&client(address, client_tls(&ca)))).await;
    let (protocol, uri) = within(serving).await.unwrap();
    assert_eq!(protocol, None);
    assert_eq!(uri.scheme_str(), Some("https"));
}

#[tokio::test]
async fn s_16_every_refusal_of_a_node_has_its_own_class_and_sentence() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let good = ca.server(NAMES, Life::Valid);
    let with_client_ca = ServerTls {
        client_ca: Some(ca.source()),
        ..server_tls(&good)
    };
    let trusting = || client_tls(&ca);
    let showing = |pair: Pair| ClientTls {
        source: Some(pair.source()),
        ..client_tls(&ca)
    };
    let cases: [Case; 12] = [
        (
            "expired",
            Some(server_tls(&ca.server(NAMES, Life::Expired))),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::Expired { .. }),
            "its certificate expired ",
        ),
        (
            "not yet valid",
            Some(server_tls(&ca.server(NAMES, Life::NotYet))),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::NotYetValid { .. }),
            "its certificate will be valid in ",
        ),
        (
            "unknown CA",
            Some(server_tls(&other.server(NAMES, Life::Valid))),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::UnknownCa),
            "its certificate is signed by no CA that is trusted here; set tls.ca_source to the CA that signed it",
        ),
        (
            "wrong host",
            Some(server_tls(&ca.server(&["node.example"], Life::Valid))),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::WrongName { .. }),
            "its certificate is for node.example, not for 127.0.0.1; use a name it has, or set server_name",
        ),
        (
            "wrong server_name",
            Some(server_tls(&good)),
            Some(ClientTls {
                server_name: Some("node.example".into()),
                ..trusting()
            }),
            |failure| matches!(failure, TlsFailure::WrongName { .. }),
            "its certificate is for localhost, ",
        ),
        (
            "a CA instead of a node",
            Some(server_tls(&ca.own())),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::CaCertificate),
            "its certificate is that of a CA; the node needs one of its own, signed by the CA",
        ),
        (
            "TLS 1.2 only",
            Some(ServerTls {
                version: TlsVersion::Tls12,
                ..server_tls(&good)
            }),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::Version { .. }),
            "it does not speak tls1.3, the one version that is allowed here; change tls.tls_version here or there",
        ),
        (
            "no client certificate",
            Some(with_client_ca.clone()),
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::ClientCertificateMissing),
            "it demands a client certificate and none was shown; set tls.source",
        ),
        (
            "client certificate of another CA",
            Some(with_client_ca.clone()),
            Some(showing(other.client("alice", Life::Valid))),
            |failure| matches!(failure, TlsFailure::ClientCertificateRefused { .. }),
            "it refused the client certificate of tls.source (unknown CA); show one of a CA that it trusts",
        ),
        (
            "expired client certificate",
            Some(with_client_ca),
            Some(showing(ca.client("alice", Life::Expired))),
            |failure| matches!(failure, TlsFailure::ClientCertificateRefused { .. }),
            "it refused the client certificate of tls.source (expired); show one of a CA that it trusts",
        ),
        (
            "plain client at a TLS port",
            Some(server_tls(&good)),
            None,
            |failure| matches!(failure, TlsFailure::TlsExpected),
            "the other side speaks TLS and this one plain text; remove tls.insecure and write https://",
        ),
        (
            "TLS client at a plain port",
            None,
            Some(trusting()),
            |failure| matches!(failure, TlsFailure::PlainText),
            "the other side speaks plain text; use its TLS port, or set tls.insecure: true if plain text is meant",
        ),
    ];
    for (case, server, tls, is_expected, text) in cases {
        let mut server = Server::start(server).await;
        let config = ClientConfig {
            tls,
            ..ClientConfig::insecure(server.address.into())
        };
        let error = within(dial(&config)).await.unwrap_err();
        let said = error.to_string();
        assert!(error.is_about_trust() && error.is_transient(), "{case}: {said}");
        let prefix = format!("no TLS with {}: {text}", server.address);
        assert!(said.starts_with(&prefix), "{case}: {said}");
        let DialError::Tls { failure, .. } = error else {
            panic!("{case}: {error:?}")
        };
        assert!(is_expected(&failure), "{case}: {failure:?}");
        assert!(server.calls.try_recv().is_err(), "{case}: no call got through");
    }
}

#[tokio::test]
async fn a_listener_knows_why_it_refused() {
    let (ca, other) = (Ca::new("ca"), Ca::new("other"));
    let tls = ServerTls {
        client_ca: Some(ca.source()),
        ..server_tls(&ca.server(NAMES, Life::Valid))
    };
    let mut server = Server::start(Some(tls)).await;
    let plain = ClientConfig::insecure(server.address.into());
    within(dial(&plain)).await.unwrap_err();
    assert!(matches!(server.next_refusal().await, AcceptTlsError::PlainText));
    within(dial(&client(server.address, client_tls(&ca))))
        .await
        .unwrap_err();
    let refusal = server.next_refusal().await;
    assert!(
        matches!(
            refusal,
            AcceptTlsError::Tls(rustls::Error::NoCertificatesPresented)
        ),
        "{refusal:?}"
    );
    within(dial(&client(server.address, client_tls(&other))))
        .await
        .unwrap_err();
    assert!(matches!(server.next_refusal().await, AcceptTlsError::Tls(_)));
    drop(TcpStream::connect(server.address).await.unwrap());
    assert!(matches!(server.next_refusal().await, AcceptTlsError::Broken(_)));
}

#[tokio::test]
async fn s_16_the_names_of_a_verified_client_come_with_its_call() {
    let ca = Ca::new("ca");
    for version in [TlsVersion::Tls12, TlsVersion::Tls13] {
        let mut server = Server::start(Some(ServerTls {
            client_ca: Some(ca.source()),
            version,
            ..server_tls(&ca.server(NAMES, Life::Valid))
        }))
        .await;
        let tls = ClientTls {
            source: Some(ca.client("alice", Life::Valid).source()),
            version,
            ..client_tls(&ca)
        };
        let _dialed = within(dial(&client(server.address, tls))).await.unwrap();
        let certificate = server.next_call().await.certificate.unwrap();
        assert_eq!(certificate.subject, "O=Example\\, Inc,CN=alice");
        assert_eq!(certificate.dns_names, ["alice.example"]);
        assert_eq!(certificate.uris, ["spiffe://example/alice"]);
    }
}

#[tokio::test]
async fn every_ca_of_a_bundle_counts_and_server_name_replaces_the_host() {
    let cas = [Ca::new("a"), Ca::new("b"), Ca::new("c")];
    let bundle: String = cas.iter().map(|ca| ca.pem.as_str()).collect();
    for ca in &cas {
        let server = Server::start(Some(server_tls(&ca.server(&["node.example"], Life::Valid)))).await;
        let tls = ClientTls {
            ca: Some(CaSource::Pem { data: bundle.clone() }),
            server_name: Some("node.example".into()),
            ..client_tls(ca)
        };
        within(dial(&client(server.address, tls))).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_asks_for_it_believes_everybody() {
    let server = Server::start(Some(server_tls(&Ca::new("ca").server(&["x"], Life::Expired)))).await;
    let tls = ClientTls {
        skip_verify: true,
        system_roots: false,
        ..ClientTls::default()
    };
    within(dial(&client(server.address, tls))).await.unwrap();
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
async fn certificates_that_cannot_be_used_are_named_with_key_and_file() {
    let ca = Ca::new("ca");
    let (pair, stranger) = (ca.server(NAMES, Life::Valid), ca.server(NAMES, Life::Valid));
    let directory = Directory::new("tls-broken");
    let cert = directory.write("cert.pem", &pair.cert);
    let missing = directory.path("missing.pem");
    let empty = directory.write("empty.pem", "no PEM\n");
    let torn = directory.write("torn.pem", &pair.cert[..100]);
    let large = directory.write("large.pem", &"x".repeat(1024 * 1024 + 1));
    let other_key = directory.write("other-key.pem", &stranger.key);
    let key = directory.write("key.pem", &pair.key);
    let shown = |path: &std::path::Path| path.display().to_string();
    for (cert, key, text) in [
        (
            &missing,
            &key,
            format!(
                "tls.source.cert ({}) cannot be read: No such file or directory",
                shown(&missing)
            ),
        ),
        (
            &cert,
            &missing,
            format!(
                "tls.source.key ({}) cannot be read: No such file or directory",
                shown(&missing)
            ),
        ),
        (
            &cert,
            &other_key,
            format!(
                "the private key of tls.source.key ({}) does not belong to the first certificate of \
                 tls.source.cert ({}); configure a pair that was made together",
                shown(&other_key),
                shown(&cert)
            ),
        ),
        (
            &empty,
            &key,
            format!("tls.source.cert ({}) holds no certificate; ", shown(&empty)),
        ),
        (
            &cert,
            &cert,
            format!("tls.source.key ({}) holds no private key; ", shown(&cert)),
        ),
        (
            &torn,
            &key,
            format!("tls.source.cert ({}) is no PEM text: ", shown(&torn)),
        ),
        (
            &large,
            &key,
            format!(
                "tls.source.cert ({}) has more than 1048576 bytes and ",
                shown(&large)
            ),
        ),
    ] {
        let source = CertificateSource::File {
            cert: cert.clone(),
            key: key.clone(),
        };
        let endpoint: Endpoint = "127.0.0.1:0".parse().unwrap();
        let server = ServerConfig {
            tls: Some(ServerTls {
                source: source.clone(),
                ..server_tls(&pair)
            }),
            ..ServerConfig::insecure(endpoint)
        };
        let error = TlsAcceptor::load(&server).await.unwrap_err().to_string();
        assert!(error.starts_with(&text), "{error}");
        // A client says the same, and reaches nobody: nothing listens there.
        let tls = ClientTls {
            source: Some(source),
            ..client_tls(&ca)
        };
        let error = dial(&client(([127, 0, 0, 1], 9).into(), tls)).await.unwrap_err();
        assert!(matches!(error, DialError::TlsSetup(_)) && error.is_about_trust());
        assert!(error.to_string().starts_with(&text), "{error}");
    }
    let bundle = format!(
        "{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ca.pem
    );
    let tls = ClientTls {
        ca: Some(CaSource::Pem { data: bundle }),
        ..client_tls(&ca)
    };
    let error = dial(&client(([127, 0, 0, 1], 9).into(), tls))
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("certificate 2 of tls.ca_source cannot be used: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_scheme_that_says_the_opposite_of_the_settings_is_refused_before_anything_is_sent() {
    let ca = Ca::new("ca");
    for (text, tls) in [
        ("https://127.0.0.1:9", None),
        ("http://127.0.0.1:9", Some(client_tls(&ca))),
    ] {
        let config = ClientConfig {
            tls,
            ..ClientConfig::insecure(text.parse().unwrap())
        };
        let error = dial(&config).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("the endpoint {text} ")), "{error}");
    }
    for (text, tls) in [
        ("https://127.0.0.1:0", None),
        (
            "http://127.0.0.1:0",
            Some(server_tls(&ca.server(NAMES, Life::Valid))),
        ),
    ] {
        let config = ServerConfig {
            tls,
            ..ServerConfig::insecure(text.parse().unwrap())
        };
        let error = TlsAcceptor::load(&config).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("the endpoint {text} ")), "{error}");
    }
}

#[tokio::test]
async fn a_handshake_that_stands_still_ends_in_time_on_both_sides() {
    let ca = Ca::new("ca");
    let mut server = Server::start(Some(server_tls(&ca.server(NAMES, Life::Valid)))).await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let before = Instant::now();
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    // The beginning of a handshake that never goes on.
    idle.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01])
        .await
        .unwrap();
    let dialing = client(silent.local_addr().unwrap(), client_tls(&ca));
    let (dialed, refusal) = tokio::join!(within(dial(&dialing)), server.next_refusal());
    let error = dialed.unwrap_err();
    let stalled = TlsFailure::Timeout {
        limit: Duration::from_secs(5),
    };
    assert!(error.to_string().ends_with(&stalled.to_string()), "{error:?}");
    assert!(!error.is_about_trust() && error.is_transient());
    assert!(matches!(refusal, AcceptTlsError::Timeout(_)), "{refusal}");
    assert!(before.elapsed() >= Duration::from_secs(5));
    let mut rest = Vec::new();
    // Closed, in whatever way: nothing more comes.
    let _ = within(idle.read_to_end(&mut rest)).await;
    assert!(rest.is_empty());
}

/// Name, listener, client, class and text of a refusal.
type Case = (
    &'static str,
    Option<ServerTls>,
    Option<ClientTls>,
    fn(&TlsFailure) -> bool,
    &'static str,
);

/// A listener that hands out calls and refusals; calls stay open.
struct Server {
    address: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    calls: mpsc::UnboundedReceiver<Accepted>,
    refusals: mpsc::UnboundedReceiver<AcceptTlsError>,
}

impl Server {
    async fn start(tls: Option<ServerTls>) -> Self {
        Self::start_with(ServerConfig {
            tls,
            ..ServerConfig::insecure("127.0.0.1:0".parse().unwrap())
        })
        .await
    }

    async fn start_with(config: ServerConfig) -> Self {
        let acceptor = TlsAcceptor::load(&config).await.unwrap();
        let kept = acceptor.clone();
        let settings = ConnectionSettings::from(&config);
        let listener = Listener::bind(&config.endpoint, ConnectionLimits::default())
            .await
            .unwrap();
        let address = listener.local_address();
        let (call, calls) = mpsc::unbounded_channel();
        let (refused, refusals) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let accepted = listener.accept().await;
                let (acceptor, settings) = (acceptor.clone(), settings.clone());
                let (call, refused) = (call.clone(), refused.clone());
                tokio::spawn(async move {
                    let open = |accepted| {
                        let _ = call.send(accepted);
                        std::future::pending()
                    };
                    let forever = std::future::pending();
                    let Some(acceptor) = acceptor else {
                        serve_connection(accepted.socket, accepted.peer, &settings, forever, open).await;
                        return;
                    };
                    match acceptor.accept(accepted.socket, settings.opening_timeout).await {
                        Ok(secured) => {
                            let peer = Peer {
                                address: accepted.peer,
                                certificate: secured.certificate,
                            };
                            serve_connection(secured.io, peer, &settings, forever, open).await;
                        }
                        Err(error) => drop(refused.send(error)),
                    }
                });
            }
        });
        Self {
            address,
            acceptor: kept,
            calls,
            refusals,
        }
    }

    async fn next_call(&mut self) -> Accepted {
        within(self.calls.recv()).await.unwrap()
    }

    async fn next_refusal(&mut self) -> AcceptTlsError {
        within(self.refusals.recv()).await.unwrap()
    }
}

fn classical_provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::CryptoProvider {
        kx_groups: vec![rustls::crypto::aws_lc_rs::kx_group::X25519],
        ..rustls::crypto::aws_lc_rs::default_provider()
    })
}

fn classical_client_settings(ca: &Ca) -> rustls::ClientConfig {
    rustls::ClientConfig::builder_with_provider(classical_provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots_of(ca))
        .with_no_client_auth()
}

fn roots_of(ca: &Ca) -> rustls::RootCertStore {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap())
        .unwrap();
    roots
}

fn bare_client_settings(ca: &Ca) -> rustls::ClientConfig {
    let roots = roots_of(ca);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn bare_connect(
    address: SocketAddr,
    settings: rustls::ClientConfig,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let socket = TcpStream::connect(address).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(settings));
    within(connector.connect(ServerName::try_from("localhost").unwrap(), socket)).await
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}
