//! The `tls` block: both spellings, and every contradiction.

use std::path::Path;

use slim_config::{
    CaSource, CertificateSource, ClientConfig, ClientTls, Loaded, SecretText, ServerConfig, ServerTls,
    SpireConfig, TlsVersion,
};

fn server(tls: &str) -> Loaded<ServerConfig> {
    server_at("127.0.0.1:1", tls).unwrap_or_else(|error| panic!("{tls}: {error}"))
}

fn server_at(endpoint: &str, tls: &str) -> Result<Loaded<ServerConfig>, String> {
    ServerConfig::from_json_text(&format!(r#"{{"endpoint": "{endpoint}", "tls": {tls}}}"#))
        .map_err(|error| error.to_string())
}

fn client(entry: &str) -> Result<Loaded<ClientConfig>, String> {
    ClientConfig::from_json_text(&format!("{{{entry}}}")).map_err(|error| error.to_string())
}

fn files() -> CertificateSource {
    CertificateSource::File {
        cert: "c.pem".into(),
        key: "k.pem".into(),
    }
}

fn texts() -> CertificateSource {
    CertificateSource::Pem {
        cert: "C".to_owned(),
        key: SecretText::new("K"),
    }
}

fn warnings<T>(loaded: &Loaded<T>) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn a_listener_reads_its_certificate_in_both_spellings_and_the_old_one_warns_once() {
    for (tls, source, warning) in [
        (
            r#"{"source": {"type": "file", "cert": "c.pem", "key": "k.pem"}}"#,
            files(),
            None,
        ),
        (
            r#"{"source": {"type": "pem", "cert": "C", "key": "K"}}"#,
            texts(),
            None,
        ),
        (
            r#"{"cert_file": "c.pem", "key_file": "k.pem"}"#,
            files(),
            Some("cert_file"),
        ),
        (
            r#"{"insecure": false, "cert_pem": "C", "key_pem": "K"}"#,
            texts(),
            Some("cert_pem"),
        ),
    ] {
        let loaded = server(tls);
        let expected = ServerTls::new(source);
        assert_eq!(loaded.config.tls, Some(expected), "{tls}");
        let expected: Vec<String> = warning
            .map(|old| format!("tls.{old}: {old:?} is the old name of this key; write \"source\""))
            .into_iter()
            .collect();
        assert_eq!(warnings(&loaded), expected);
    }
}

#[test]
fn a_listener_that_demands_certificates_reads_the_ca_in_both_spellings() {
    let source = r#""source": {"type": "file", "cert": "c.pem", "key": "k.pem"}"#;
    let file = || CaSource::File {
        path: "ca.pem".into(),
    };
    let text = || CaSource::Pem {
        data: "CA".to_owned(),
    };
    for (keys, ca, old) in [
        (
            r#""client_ca": {"type": "file", "path": "ca.pem"}"#,
            file(),
            false,
        ),
        (r#""client_ca": {"type": "pem", "data": "CA"}"#, text(), false),
        (r#""client_ca_file": "ca.pem""#, file(), true),
        (r#""client_ca_pem": "CA", "tls_version": "tls1.2""#, text(), true),
    ] {
        let loaded = server(&format!("{{{source}, {keys}}}"));
        let tls = loaded.config.tls.clone().unwrap();
        assert_eq!(tls.client_ca, Some(ca), "{keys}");
        assert_eq!(tls.version == TlsVersion::Tls12, keys.contains("tls1.2"));
        assert_eq!(loaded.warnings.len(), usize::from(old), "{keys}");
        assert!(
            warnings(&loaded)
                .iter()
                .all(|text| text.ends_with("write \"client_ca\""))
        );
    }
}

#[test]
fn s_24_the_shown_listener_names_its_files_and_no_texts() {
    let shown = server(r#"{"cert_file": "c.pem", "key_file": "k.pem", "client_ca_file": "ca.pem"}"#)
        .config
        .to_string();
    assert!(
        shown.contains(
            "cert_file: Some(\"c.pem\"), cert_pem: None, key_file: Some(\"k.pem\"), key_pem: None, \
             tls_version: \"tls1.3\", reload_interval: Some(10s) }, insecure: false, \
             client_ca_file: Some(\"ca.pem\"), client_ca_pem: None"
        ),
        "{shown}"
    );
    let config = server(r#"{"source": {"type": "pem", "cert": "CCC", "key": "geheim"}}"#).config;
    let shown = format!("{config} {config:?}");
    assert!(
        shown.contains("key_pem: Some(\"[redacted]\")") && !shown.contains("geheim"),
        "{shown}"
    );
}

#[test]
fn a_client_without_tls_block_speaks_tls_with_the_roots_of_the_system() {
    for endpoint in ["a:1", "https://a:1"] {
        let loaded = client(&format!(r#""endpoint": "{endpoint}""#)).unwrap();
        assert_eq!(loaded.config.tls, Some(ClientTls::default()));
        assert!(loaded.config.tls.unwrap().system_roots);
    }
}

#[test]
fn every_key_of_a_client_arrives() {
    let loaded = client(
        r#""endpoint": "https://10.0.0.1:1", "server_name": "node.example", "tls": {"insecure": false,
           "source": {"type": "pem", "cert": "C", "key": "K"}, "ca_source": {"type": "file", "path": "ca.pem"},
           "include_system_ca_certs_pool": false, "tls_version": "tls1.2"}"#,
    )
    .unwrap();
    assert!(loaded.warnings.is_empty());
    assert_eq!(
        loaded.config.tls,
        Some(ClientTls {
            source: Some(texts()),
            ca: Some(CaSource::File {
                path: Path::new("ca.pem").into()
            }),
            system_roots: false,
            server_name: Some("node.example".into()),
            skip_verify: false,
            version: TlsVersion::Tls12,
            ..ClientTls::default()
        })
    );
    let old = client(
        r#""endpoint": "a:1", "tls": {"ca_pem": "CA", "cert_file": "c.pem", "key_file": "k.pem",
           "include_system_ca_certs_pool": false}"#,
    )
    .unwrap();
    assert_eq!(
        warnings(&old),
        [
            "tls.cert_file: \"cert_file\" is the old name of this key; write \"source\"",
            "tls.ca_pem: \"ca_pem\" is the old name of this key; write \"ca_source\"",
        ]
    );
    let tls = old.config.tls.unwrap();
    assert_eq!(
        (tls.source, tls.ca),
        (Some(files()), Some(CaSource::Pem { data: "CA".into() }))
    );
}

#[test]
fn a_client_that_believes_everybody_is_told() {
    let loaded = client(
        r#""endpoint": "a:1", "tls": {"insecure_skip_verify": true, "include_system_ca_certs_pool": false}"#,
    )
    .unwrap();
    assert!(loaded.config.tls.as_ref().unwrap().skip_verify);
    assert_eq!(
        warnings(&loaded),
        [
            "tls.insecure_skip_verify: whoever answers is believed to be the node, and can read and change what \
          passes; for tests only"
        ]
    );
}

#[test]
fn plain_text_and_tls_never_mix() {
    let mixed = "tls.insecure: true asks for plain text, and this key for TLS; keep one of the two";
    for key in [
        r#""source": {"type": "file", "cert": "c", "key": "k"}"#,
        r#""ca_source": {"type": "file", "path": "c"}"#,
        r#""cert_file": "c""#,
        r#""ca_pem": "c""#,
    ] {
        let name = key.split('"').nth(1).unwrap();
        let tls = format!(r#"{{"insecure": true, {key}}}"#);
        let expected = Some(format!("tls.{name}: {mixed}"));
        // A listener does not use the keys about CAs anyway.
        if !name.starts_with("ca_") {
            assert_eq!(server_at("a:1", &tls).err(), expected);
        }
        assert_eq!(
            client(&format!(r#""endpoint": "a:1", "tls": {tls}"#)).err(),
            expected
        );
    }
    for (entry, message) in [
        (
            r#""endpoint": "a:1", "tls": {"insecure": true}, "server_name": "b""#.to_owned(),
            format!("server_name: {mixed}"),
        ),
        (
            r#""endpoint": "http://a:1""#.to_owned(),
            "endpoint: the endpoint says http:// and TLS is on (its default); write https://, or set \
             tls.insecure: true for plain text"
                .to_owned(),
        ),
        (
            r#""endpoint": "https://a:1", "tls": {"insecure": true}"#.to_owned(),
            "endpoint: the endpoint says https:// and tls.insecure: true asks for plain text; write http://, or \
             remove tls.insecure"
                .to_owned(),
        ),
    ] {
        assert_eq!(client(&entry).err(), Some(message));
    }
    let source = r#"{"source": {"type": "file", "cert": "c", "key": "k"}}"#;
    assert!(
        server_at("http://a:1", source)
            .unwrap_err()
            .starts_with("endpoint: the endpoint says http://")
    );
    assert!(server_at("https://a:1", source).is_ok());
    let plain = server_at("https://a:1", r#"{"insecure": true}"#);
    assert!(
        plain
            .unwrap_err()
            .starts_with("endpoint: the endpoint says https://")
    );
}

#[test]
fn what_is_missing_twice_or_of_no_use_is_named() {
    for (tls, message) in [
        (r#"{"cert_file": "c"}"#, "tls: the key \"key_file\" is missing"),
        (r#"{"key_pem": "c"}"#, "tls: the key \"cert_pem\" is missing"),
        (
            r#"{"cert_file": "c", "key_file": "k", "source": {"type": "none"}}"#,
            "tls.cert_file: \"cert_file\" is the old name of \"source\"; keep only \"source\"",
        ),
        (
            r#"{"cert_file": "c", "key_pem": "k"}"#,
            "tls.key_pem: \"cert_file\" and \"key_pem\" exclude each other; keep one of them",
        ),
        (
            r#"{"cert_file": "c", "key_file": "k", "client_ca_file": "a", "client_ca_pem": "b"}"#,
            "tls.client_ca_pem: \"client_ca_file\" and \"client_ca_pem\" exclude each other; keep one of them",
        ),
        (
            r#"{"cert_file": "c", "key_file": "k", "client_ca_file": "a", "client_ca": {"type": "none"}}"#,
            "tls.client_ca_file: \"client_ca_file\" is the old name of \"client_ca\"; keep only \"client_ca\"",
        ),
        (
            r#"{"cert_file": "c", "key_file": "k", "ca_file": "a"}"#,
            "tls.ca_file: a listener does not use this key; set tls.client_ca to demand certificates of clients",
        ),
        (
            r#"{"source": {"cert": "c", "key": "k"}}"#,
            "tls.source: the key \"type\" is missing",
        ),
        (
            r#"{"source": {"type": "vault"}}"#,
            "tls.source.type: \"vault\" is none of file, pem, spire, none",
        ),
        (
            r#"{"source": {"type": "file", "cert": "c"}}"#,
            "tls.source: the key \"key\" is missing",
        ),
        (
            r#"{"source": {"type": "file", "cert": "", "key": "k"}}"#,
            "tls.source.cert: must not be empty",
        ),
        (
            r#"{"source": {"type": "file", "crt": "c", "key": "k"}}"#,
            "tls.source.crt: unknown key; did you mean \"cert\"?",
        ),
        (
            r#"{"cert_file": "c", "key_file": "k", "tls_version": "tls1.1"}"#,
            "tls.tls_version: \"tls1.1\" is none of tls1.2, tls1.3",
        ),
        (
            r#"{"cert_file": "c", "key_file": "k", "insecure_skip_verify": true}"#,
            "tls.insecure_skip_verify: unknown key",
        ),
    ] {
        assert_eq!(server_at("a:1", tls).err().as_deref(), Some(message), "{tls}");
    }
    for (entry, message) in [
        (
            r#""endpoint": "a:1", "tls": {"include_system_ca_certs_pool": false}"#,
            "tls: no CA is trusted; set tls.ca_source, or tls.include_system_ca_certs_pool: true for those of the \
             system",
        ),
        (
            r#""endpoint": "a:1", "server_name": "a b""#,
            "server_name: \"a b\" is no host name or address",
        ),
        (
            r#""endpoint": "a:1", "tls": {"client_ca_file": "c"}"#,
            "tls.client_ca_file: unknown key",
        ),
    ] {
        assert_eq!(client(entry).err().as_deref(), Some(message), "{entry}");
    }
}

#[test]
fn a_spire_agent_gives_certificates_and_cas_on_both_sides() {
    let server = r#"{"endpoint": "127.0.0.1:1", "tls": {
        "source": {"type": "spire"},
        "client_ca": {"type": "spire", "socket_path": "/s", "trust_domains": ["example.org"]}
    }}"#;
    let tls = ServerConfig::from_json_text(server).unwrap().config.tls.unwrap();
    assert_eq!(tls.source, CertificateSource::Spire(SpireConfig::default()));
    let client_ca = SpireConfig {
        socket_path: Some("/s".into()),
        trust_domains: vec!["example.org".to_owned()],
        ..SpireConfig::default()
    };
    assert_eq!(tls.client_ca, Some(CaSource::Spire(client_ca)));
    let client = r#"{"endpoint": "127.0.0.1:1", "tls": {
        "source": {"type": "spire", "target_spiffe_id": "spiffe://example.org/alice"},
        "ca_source": {"type": "spire", "target_spiffe_id": "spiffe://example.org/node"}
    }}"#;
    let tls = ClientConfig::from_json_text(client).unwrap().config.tls.unwrap();
    let named = |id: &str| SpireConfig {
        target_spiffe_id: Some(id.to_owned()),
        ..SpireConfig::default()
    };
    assert_eq!(
        tls.source,
        Some(CertificateSource::Spire(named("spiffe://example.org/alice")))
    );
    assert_eq!(tls.ca, Some(CaSource::Spire(named("spiffe://example.org/node"))));
}
