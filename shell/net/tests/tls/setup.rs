//! Settings that cannot be used: neither side starts, and nothing is sent.

use slim_config::{CaSource, CertificateSource, ClientConfig, ClientTls, Endpoint, ServerConfig, ServerTls};
use slim_net::{DialError, TlsAcceptor, dial};

use crate::common::{Ca, Directory, Life};
use crate::{NAMES, client, client_tls, server_tls};

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
