//! Links over TLS: frames both ways, the client's certificate, and whom a dialer believes.

use slim_config::{CaSource, CertificateSource, ClientTls, ServerTls, TlsVersion};
use slim_net::dial;
use slim_proto::{Egress, Frame};

use crate::common::{Ca, Directory, Life, within};
use crate::server::Server;
use crate::{NAMES, client, client_tls, server_tls};

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
