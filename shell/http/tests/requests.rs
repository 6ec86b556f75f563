//! Requests against servers that say exactly what a test wants, in plain text and over TLS.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use slim_http::{Form, HttpClient, HttpError, HttpOptions, HttpUrl, basic_authorization};
use slim_proto::limits::HTTP_BODY_BYTES_MAX;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

#[tokio::test]
async fn a_body_is_fetched_with_its_cache_time() {
    let mut server = Server::plain(|_| {
        "HTTP/1.1 200 OK\r\ncache-control: public, max-age=600\r\ncontent-length: 4\r\n\r\nkeys".into()
    })
    .await;
    let answer = plain_client().fetch(&server.url("/jwks?v=1")).await.unwrap();
    assert_eq!(&answer.body[..], b"keys");
    assert_eq!(answer.max_age_secs, Some(600));
    let request = server.request().await;
    assert!(request.starts_with("GET /jwks?v=1 HTTP/1.1\r\n"), "{request}");
    let host = format!("host: {}\r\n", server.address);
    assert!(request.to_ascii_lowercase().contains(&host), "{request}");
}

#[tokio::test]
async fn a_form_arrives_encoded_and_with_the_client_in_the_header() {
    let mut server = Server::plain(|_| ok("{}")).await;
    let form = Form::new()
        .field("grant_type", "client_credentials")
        .field("scope", "a b");
    let authorization = basic_authorization("me", "secret");
    plain_client()
        .post_form(&server.url("/token"), form, Some(&authorization))
        .await
        .unwrap();
    let request = server.request().await;
    assert!(request.starts_with("POST /token HTTP/1.1\r\n"), "{request}");
    assert!(
        request.contains("authorization: Basic bWU6c2VjcmV0\r\n"),
        "{request}"
    );
    assert!(
        request.ends_with("\r\n\r\ngrant_type=client_credentials&scope=a+b"),
        "{request}"
    );
}

#[tokio::test]
async fn a_failure_keeps_status_and_body_and_shows_no_body() {
    let server = Server::plain(|_| {
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: 26\r\n\r\n{\"error\":\"invalid_client\"}".into()
    })
    .await;
    let error = plain_client().fetch(&server.url("/")).await.unwrap_err();
    assert!(
        !error.to_string().contains("invalid_client") && !error.is_transient(),
        "{error}"
    );
    let HttpError::Status { status, body, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((status, &body[..]), (401, &b"{\"error\":\"invalid_client\"}"[..]));
    let server = Server::plain(|_| "HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n".into()).await;
    assert!(
        plain_client()
            .fetch(&server.url("/"))
            .await
            .unwrap_err()
            .is_transient()
    );
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken_and_one_byte_more_is_not() {
    for (bytes, taken) in [(HTTP_BODY_BYTES_MAX, true), (HTTP_BODY_BYTES_MAX + 1, false)] {
        // Without a length: until the connection ends.
        let server = Server::plain(move |_| format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(bytes))).await;
        match plain_client().fetch(&server.url("/")).await {
            Ok(answer) => assert!(taken && answer.body.len() == bytes),
            Err(HttpError::TooLarge { .. }) => assert!(!taken),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_redirect_within_the_origin_is_followed_and_a_loop_ends() {
    let server = Server::plain(|request| {
        if request.starts_with("GET /old") {
            "HTTP/1.1 302 Found\r\nlocation: /new\r\ncontent-length: 0\r\n\r\n".into()
        } else if request.starts_with("GET /loop") {
            "HTTP/1.1 302 Found\r\nlocation: /loop\r\ncontent-length: 0\r\n\r\n".into()
        } else {
            ok("new")
        }
    })
    .await;
    let answer = plain_client().fetch(&server.url("/old")).await.unwrap();
    assert_eq!(&answer.body[..], b"new");
    let error = plain_client().fetch(&server.url("/loop")).await.unwrap_err();
    assert!(matches!(error, HttpError::Redirect { .. }), "{error}");
}

#[tokio::test]
async fn a_redirect_to_another_origin_is_refused_and_nobody_there_is_asked() {
    let other = Server::plain(|_| ok("stolen")).await;
    let location = format!("http://{}/keys", other.address);
    let head = format!("HTTP/1.1 307 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
    let mut server = Server::plain(move |_| head.clone()).await;
    for error in [
        plain_client().fetch(&server.url("/")).await.unwrap_err(),
        plain_client()
            .post_form(&server.url("/"), Form::new(), None)
            .await
            .unwrap_err(),
    ] {
        let HttpError::Redirect { to, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(to, location);
    }
    server.request().await;
    assert!(other.requests.is_empty());
}

#[tokio::test]
async fn plain_text_to_other_machines_is_refused_before_a_connection() {
    let client = HttpClient::new(&HttpOptions::default()).or_else(|_| HttpClient::new(&plain()));
    let url = HttpUrl::parse("http://192.0.2.1/keys").unwrap();
    let error = client.unwrap().fetch(&url).await.unwrap_err();
    assert!(matches!(error, HttpError::PlainText { .. }), "{error}");
}

#[tokio::test]
async fn nobody_there_silence_and_half_an_answer_are_three_errors() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = HttpUrl::parse(&format!("http://{address}/")).unwrap();
    let error = plain_client().fetch(&url).await.unwrap_err();
    assert!(
        matches!(error, HttpError::Unreachable { .. }) && error.is_transient(),
        "{error}"
    );

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = HttpUrl::parse(&format!("http://{}/", silent.local_addr().unwrap())).unwrap();
    let impatient = HttpOptions {
        timeout: Duration::from_millis(100),
        ..plain()
    };
    let error = HttpClient::new(&impatient)
        .unwrap()
        .fetch(&url)
        .await
        .unwrap_err();
    assert!(matches!(error, HttpError::Timeout { .. }), "{error}");

    let server = Server::plain(|_| "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf".into()).await;
    let error = plain_client().fetch(&server.url("/")).await.unwrap_err();
    assert!(matches!(error, HttpError::Broken { .. }), "{error}");
}

#[tokio::test]
async fn over_tls_the_ca_and_the_name_are_checked() {
    let (server, ca) = Server::tls(|_| ok("keys")).await;
    let trusting = |ca: String| {
        HttpClient::new(&HttpOptions {
            ca: Some(ca),
            system_roots: false,
            ..HttpOptions::default()
        })
        .unwrap()
    };
    let port = server.address.rsplit(':').next().unwrap().to_owned();
    let right = HttpUrl::parse(&format!("https://localhost:{port}/")).unwrap();
    let answer = trusting(ca.clone()).fetch(&right).await.unwrap();
    assert_eq!(&answer.body[..], b"keys");

    // The certificate is for localhost alone.
    let wrong_name = HttpUrl::parse(&format!("https://127.0.0.1:{port}/")).unwrap();
    let error = trusting(ca).fetch(&wrong_name).await.unwrap_err();
    assert!(
        matches!(error, HttpError::Tls { .. }) && error.to_string().contains("not valid for name"),
        "{error}"
    );
    let (_, other_ca) = Server::tls(|_| ok("")).await;
    let error = trusting(other_ca).fetch(&right).await.unwrap_err();
    assert!(
        matches!(error, HttpError::Tls { .. })
            && error.to_string().contains("invalid peer certificate")
            && !error.is_transient(),
        "{error}"
    );
}

#[test]
fn cas_that_are_none_are_refused_at_the_start() {
    let make = |ca: &str| {
        let options = HttpOptions {
            ca: Some(ca.to_owned()),
            system_roots: false,
            ..HttpOptions::default()
        };
        HttpClient::new(&options).unwrap_err().to_string()
    };
    assert!(make("").contains("no certificate"));
    assert!(make("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----").contains("no PEM"));
    let nobody = HttpOptions {
        system_roots: false,
        ..HttpOptions::default()
    };
    assert!(HttpClient::new(&nobody).is_err());
}

fn plain() -> HttpOptions {
    HttpOptions {
        system_roots: false,
        plain_text_only: true,
        ..HttpOptions::default()
    }
}

fn plain_client() -> HttpClient {
    HttpClient::new(&plain()).unwrap()
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

/// Answers each connection once and reports what it was asked.
struct Server {
    address: String,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Server {
    async fn plain(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        Self::serve(None, answer).await
    }

    async fn tls(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> (Self, String) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()])
            .unwrap()
            .signed_by(&key, &ca)
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let settings = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![leaf.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(settings));
        (Self::serve(Some(acceptor), answer).await, ca.pem())
    }

    async fn serve(
        tls: Option<tokio_rustls::TlsAcceptor>,
        answer: impl Fn(&str) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (seen, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let request = match &tls {
                    None => respond(socket, &answer).await,
                    // A client that refuses the certificate ends the handshake.
                    Some(tls) => match tls.accept(socket).await {
                        Ok(secured) => respond(secured, &answer).await,
                        Err(_) => continue,
                    },
                };
                _ = seen.send(request);
            }
        });
        Self { address, requests }
    }

    fn url(&self, path: &str) -> HttpUrl {
        HttpUrl::parse(&format!("http://{}{path}", self.address)).unwrap()
    }

    async fn request(&mut self) -> String {
        let waited = tokio::time::timeout(Duration::from_secs(10), self.requests.recv()).await;
        waited.unwrap().unwrap()
    }
}

async fn respond(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    answer: &(impl Fn(&str) -> String + Sync),
) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, length)| length.parse().unwrap());
            if body.len() >= length {
                _ = io.write_all(answer(&text).as_bytes()).await;
                _ = io.shutdown().await;
                return text;
            }
        }
        if io.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return text;
        }
    }
}
