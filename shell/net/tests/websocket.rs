//! Links over WebSocket: both roles against each other, and each against bytes that a test writes itself.

use std::time::Duration;

use slim_config::{ClientConfig, ClientTls, ServerConfig, ServerTls};
use slim_net::websocket::deframer::Violation;
use slim_net::{Code, DialError, LinkEnd, Status, TlsFailure, UpgradeError, dial};
use slim_proto::limits::FRAME_BYTES_MAX;
use slim_proto::{Egress, Frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

mod common;
#[path = "common/server.rs"]
mod server;

use common::{Ca, Life, within};
use server::Server;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

fn config(entry: &str) -> ServerConfig {
    let text = format!(r#"{{"endpoint": "ws://127.0.0.1:0/slim", "tls": {{"insecure": true}}{entry}}}"#);
    ServerConfig::from_json_text(&text).expect("a listener").config
}

async fn start(entry: &str) -> Server {
    Server::start_with(config(entry)).await
}

fn client(server: &Server) -> ClientConfig {
    ClientConfig::insecure(server.endpoint.clone())
}

/// A frame of the data plane with a payload of this size: an unknown field.
fn frame(size: usize) -> Frame {
    let mut bytes = vec![0x7A];
    let mut rest = size;
    while rest >= 0x80 {
        bytes.push(u8::try_from(rest & 0x7F).expect("seven bits") | 0x80);
        rest >>= 7;
    }
    bytes.push(u8::try_from(rest).expect("seven bits"));
    bytes.resize(bytes.len() + size, 0x33);
    Frame::new(bytes).expect("a frame of legal size")
}

fn egress(size: usize) -> Egress {
    Egress::verbatim(frame(size))
}

fn request(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}

/// Sends bytes and reads the head of the answer.
async fn ask(server: &Server, bytes: &[u8]) -> (TcpStream, String) {
    let mut socket = TcpStream::connect(server.address).await.expect("a listener");
    socket.write_all(bytes).await.expect("written");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(within(socket.read_u8()).await.expect("an answer"));
    }
    (socket, String::from_utf8(answer).expect("text"))
}

async fn raw(server: &Server) -> TcpStream {
    let (socket, answer) = ask(server, request("/slim", "").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    socket
}

/// What the listener sends until it closes.
async fn rest(socket: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    within(socket.read_to_end(&mut bytes))
        .await
        .expect("an orderly end");
    bytes
}

/// A frame of a client; the mask is zero.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short frame");
    let mut bytes = vec![first, 0x80 | length, 0, 0, 0, 0];
    bytes.extend(payload);
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_every_size_arrive_unchanged_in_both_directions() {
    let mut server = start("").await;
    let mut dialed = within(dial(&client(&server))).await.unwrap();
    let mut accepted = server.next_call().await;
    accepted.reader.accept_large_frames();
    dialed.reader.accept_large_frames();
    let largest = FRAME_BYTES_MAX - 5;
    let sizes = [0, 1, 121, 122, 124, 65_530, 65_532, 70_000, 1_048_576, largest];
    let (up, down) = tokio::join!(
        async {
            for size in sizes {
                dialed.writer.send(egress(size)).await.unwrap();
            }
            for size in sizes {
                assert_eq!(within(dialed.reader.next()).await.unwrap(), frame(size));
            }
            dialed
        },
        async {
            for size in sizes {
                assert_eq!(within(accepted.reader.next()).await.unwrap(), frame(size));
            }
            for size in sizes {
                accepted.writer.send(egress(size)).await.unwrap();
            }
            accepted
        }
    );
    // The dialer ends its side first; what the acceptor still has arrives.
    let (mut dialed, mut accepted) = (up, down);
    dialed.writer.finish(&Status::ok());
    let end = within(accepted.reader.next()).await.unwrap_err();
    assert!(
        matches!(end, LinkEnd::Ended(Some(ref status)) if *status == Status::ok()),
        "{end}"
    );
    accepted.writer.send(egress(70_000)).await.unwrap();
    accepted.writer.finish(&Status::ok());
    assert_eq!(within(dialed.reader.next()).await.unwrap(), frame(70_000));
    let end = within(dialed.reader.next()).await.unwrap_err();
    assert!(
        matches!(end, LinkEnd::Ended(Some(ref status)) if *status == Status::ok()),
        "{end}"
    );
}

#[tokio::test]
async fn an_acceptor_says_that_a_dialer_is_not_wanted() {
    let mut server = start("").await;
    let mut dialed = within(dial(&client(&server))).await.unwrap();
    let accepted = server.next_call().await;
    accepted
        .writer
        .finish(&Status::new(Code::PERMISSION_DENIED, "same node"));
    let end = within(dialed.reader.next()).await.unwrap_err();
    let LinkEnd::Ended(Some(status)) = end else {
        panic!("{end}")
    };
    assert_eq!(status, Status::new(Code::PERMISSION_DENIED, "same node"));
}

#[tokio::test]
async fn a_link_that_is_dropped_is_broken_off() {
    let mut server = start("").await;
    let mut dialed = within(dial(&client(&server))).await.unwrap();
    let accepted = server.next_call().await;
    drop(accepted);
    within(dialed.reader.next()).await.unwrap_err();
    let dialed = within(dial(&client(&server))).await.unwrap();
    let mut accepted = server.next_call().await;
    drop(dialed);
    within(accepted.reader.next()).await.unwrap_err();
}

#[tokio::test]
async fn what_opens_no_link_is_answered_in_http() {
    let server = start(r#", "max_header_list_size": 2048"#).await;
    let long = request("/slim", &format!("x: {}\r\n", "y".repeat(3000)));
    for (bytes, status) in [
        (request("/slim?a=b", ""), "101"),
        (request("/", ""), "404"),
        (request("/slim/", ""), "404"),
        ("GET /slim HTTP/1.1\r\nHost: node\r\n\r\n".to_owned(), "400"),
        ("POST /slim HTTP/1.1\r\nHost: node\r\n\r\n".to_owned(), "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), "400"),
        (request("/slim", "").replace("13", "12"), "426"),
        (long, "431"),
        (request("/slim", "Origin: https://evil.example\r\n"), "403"),
        (request("/slim", "Origin: http://node\r\n"), "101"),
    ] {
        let (_, answer) = ask(&server, bytes.as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{bytes}: {answer}"
        );
    }
}

#[tokio::test]
async fn passwords_stand_in_the_header_alone() {
    let auth = r#", "auth": {"type": "basic", "username": "me", "password": "secret"}"#;
    let mut server = start(auth).await;
    for (target, headers, status) in [
        ("/slim", "", "401"),
        ("/slim", "Authorization: Basic bWU6d3Jvbmc=\r\n", "401"),
        ("/slim?token=bWU6c2VjcmV0", "", "401"),
        ("/slim", "Authorization: Basic bWU6c2VjcmV0\r\n", "101"),
        // Whoever proves who it is may be a page.
        (
            "/slim",
            "Authorization: Basic bWU6c2VjcmV0\r\nOrigin: https://page.example\r\n",
            "101",
        ),
    ] {
        let (_, answer) = ask(&server, request(target, headers).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert_eq!(answer.contains("www-authenticate: Basic"), status == "401");
    }
    for _ in 0..2 {
        server.next_call().await;
    }
    let error = within(dial(&client(&server))).await.unwrap_err();
    assert!(
        matches!(error, DialError::Unauthenticated { shown: false, .. }),
        "{error}"
    );
    let text = format!(
        r#"{{"endpoint": "{}", "tls": {{"insecure": true}}{auth}}}"#,
        server.endpoint
    );
    let believed = ClientConfig::from_json_text(&text).unwrap().config;
    within(dial(&believed)).await.unwrap();
    assert!(server.next_call().await.admission.is_some());
}

#[tokio::test]
async fn whoever_breaks_the_rules_is_told_and_cut_off() {
    let mut server = start("").await;
    let large = [&[0x82, 0xFF][..], &(17 * 1024_u64).to_be_bytes(), &[0; 4]].concat();
    for (bytes, code, violation) in [
        (masked(0x81, b"text"), 1003_u16, Violation::Text),
        (vec![0x82, 0], 1002, Violation::Unmasked),
        (masked(0xC2, b""), 1002, Violation::Extension),
        (masked(0x80, b""), 1002, Violation::Continuation),
        (masked(0x82, &[0xFF; 3]), 1007, Violation::Undecodable),
        (
            large,
            1009,
            Violation::TooLarge {
                length: 17 * 1024,
                limit: 16 * 1024,
            },
        ),
    ] {
        let mut socket = raw(&server).await;
        let mut accepted = server.next_call().await;
        socket.write_all(&bytes).await.unwrap();
        let end = within(accepted.reader.next()).await.unwrap_err();
        let LinkEnd::WebSocket(found) = end else {
            panic!("{end}")
        };
        assert_eq!(found, violation);
        drop(accepted.reader);
        let [high, low] = code.to_be_bytes();
        let mut close = [0; 4];
        within(socket.read_exact(&mut close)).await.unwrap();
        assert_eq!(close, [0x88, 2, high, low], "{violation}");
        socket.shutdown().await.unwrap();
        assert!(rest(&mut socket).await.is_empty());
    }
}

#[tokio::test]
async fn pings_are_answered_and_a_close_is_echoed() {
    let mut server = start("").await;
    let mut socket = raw(&server).await;
    let mut accepted = server.next_call().await;
    let next = tokio::spawn(async move {
        let end = accepted.reader.next().await;
        accepted.writer.finish(&Status::ok());
        end
    });
    socket.write_all(&masked(0x89, b"12345678")).await.unwrap();
    let mut pong = [0; 10];
    within(socket.read_exact(&mut pong)).await.unwrap();
    assert_eq!(&pong, b"\x8A\x0812345678");
    // Going away, with a reason.
    socket.write_all(&masked(0x88, b"\x03\xE9bye")).await.unwrap();
    assert_eq!(rest(&mut socket).await, [0x88, 2, 3, 0xE9]);
    assert!(matches!(
        within(next).await.unwrap().unwrap_err(),
        LinkEnd::Ended(Some(_))
    ));
}

#[tokio::test]
async fn who_opens_slowly_or_answers_no_ping_is_cut_off() {
    let mut config = config("");
    config.negotiation_timeout = Duration::from_millis(200);
    config.keepalive.time = Duration::from_millis(50);
    config.keepalive.timeout = Duration::from_millis(50);
    let mut server = Server::start_with(config).await;
    let mut socket = TcpStream::connect(server.address).await.unwrap();
    socket.write_all(b"GET /slim HTTP/1.1\r\nHost: no").await.unwrap();
    assert!(rest(&mut socket).await.is_empty());
    // A dialer that lives answers, so its link outlives several PINGs; one that sleeps does not.
    let mut alive = within(dial(&client(&server))).await.unwrap();
    let mut accepted = server.next_call().await;
    alive.reader.accept_large_frames();
    accepted.reader.accept_large_frames();
    let mut asleep = raw(&server).await;
    let mut lost = server.next_call().await;
    within(lost.reader.next()).await.unwrap_err();
    let seen = rest(&mut asleep).await;
    assert_eq!(&seen[..6], b"\x89\x04slim");
    accepted.writer.send(egress(3)).await.unwrap();
    assert_eq!(within(alive.reader.next()).await.unwrap(), frame(3));
}

#[tokio::test]
async fn an_old_connection_is_asked_to_leave_and_then_closed() {
    let mut config = config("");
    config.keepalive.max_connection_age = Duration::from_millis(100);
    config.keepalive.max_connection_age_grace = Duration::from_millis(100);
    let mut server = Server::start_with(config).await;
    let mut dialed = within(dial(&client(&server))).await.unwrap();
    let _accepted = server.next_call().await;
    // The future ends early only when it is asked.
    let leaving = dialed.connection.leaving();
    let end = tokio::spawn(async move { dialed.reader.next().await });
    within(leaving).await;
    let end = within(end).await.unwrap().unwrap_err();
    assert!(
        matches!(end, LinkEnd::Ended(Some(ref status)) if *status == Status::ok()),
        "{end}"
    );
}

#[tokio::test]
async fn a_listener_has_as_many_places_as_it_is_told() {
    let mut server = start(r#", "max_concurrent_streams": 1"#).await;
    let dialed = within(dial(&client(&server))).await.unwrap();
    let accepted = server.next_call().await;
    let error = within(dial(&client(&server))).await.unwrap_err();
    assert!(
        matches!(error, DialError::Refused(ref status) if status.code == Code::UNAVAILABLE),
        "{error}"
    );
    assert!(error.is_transient());
    drop((dialed, accepted));
    within(async {
        while dial(&client(&server)).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_dialer_says_why_the_other_side_opens_nothing() {
    let server = start("").await;
    let grpc = Server::start(None).await;
    let at = |text: String| ClientConfig::insecure(text.parse().expect("an endpoint"));
    let error = within(dial(&at(format!("ws://{}/other", server.address))))
        .await
        .unwrap_err();
    assert!(
        matches!(error, DialError::WebSocket(UpgradeError::Path)) && !error.is_transient(),
        "{error}"
    );
    let error = within(dial(&at(format!("ws://{}/slim", grpc.address))))
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::WebSocket(_)), "{error}");
    let error = within(dial(&at(server.address.to_string()))).await.unwrap_err();
    assert!(
        matches!(error, DialError::Handshake(_) | DialError::Call(_)),
        "{error}"
    );
}

/// Answers one request with this.
async fn answering(answer: String) -> ClientConfig {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a dialer");
        let mut request = [0; 4096];
        let _ = socket.read(&mut request).await;
        let _ = socket.write_all(answer.as_bytes()).await;
        let _ = socket.shutdown().await;
        let _ = socket.read(&mut request).await;
    });
    ClientConfig::insecure(format!("ws://{address}").parse().expect("an endpoint"))
}

#[tokio::test]
async fn an_answer_must_fit_the_key_and_agree_on_nothing_more() {
    let upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
    for (answer, message) in [
        (
            format!("{upgrade}Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"),
            "no WebSocket: the other side does not upgrade as RFC 6455 says (the key does not fit)",
        ),
        (
            "HTTP/1.1 101 Switching Protocols\r\n\r\n".to_owned(),
            "no WebSocket: the other side does not upgrade as RFC 6455 says (no upgrade)",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n".to_owned(),
            "no WebSocket: the other side answers with HTTP status 302 Found",
        ),
        (
            "HTTP/1.1 503 Service Unavailable\r\n\r\n".to_owned(),
            "the peer refused the call: UNAVAILABLE: HTTP status 503 Service Unavailable",
        ),
        (
            "SSH-2.0-x\r\n\r\n".to_owned(),
            "no WebSocket: the other side does not answer in HTTP/1.1; if it speaks gRPC, write http:// or https://",
        ),
    ] {
        let error = within(dial(&answering(answer).await)).await.unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[tokio::test]
async fn a_link_under_tls_shows_certificates_in_both_directions() {
    let ca = Ca::new("ca");
    let mut server = Server::start_with(ServerConfig {
        tls: Some(ServerTls {
            client_ca: Some(ca.source()),
            ..ServerTls::new(ca.server(&["localhost", "127.0.0.1"], Life::Valid).source())
        }),
        ..ServerConfig::insecure("wss://127.0.0.1:0".parse().unwrap())
    })
    .await;
    let trusting = ClientTls {
        ca: Some(ca.source()),
        source: Some(ca.client("alice", Life::Valid).source()),
        ..ClientTls::default()
    };
    let dialing = |tls: ClientTls| ClientConfig {
        tls: Some(tls),
        ..client(&server)
    };
    let (known, unknown) = (
        dialing(trusting.clone()),
        dialing(ClientTls {
            source: None,
            ..trusting
        }),
    );
    let mut dialed = within(dial(&known)).await.unwrap();
    let mut accepted = server.next_call().await;
    assert!(accepted.certificate.is_some());
    dialed.writer.send(egress(5000)).await.unwrap();
    assert_eq!(within(accepted.reader.next()).await.unwrap(), frame(5000));
    let error = within(dial(&unknown)).await.unwrap_err();
    assert!(
        matches!(
            error,
            DialError::Tls {
                failure: TlsFailure::ClientCertificateMissing,
                ..
            }
        ) || error.to_string().contains("certificate"),
        "{error}"
    );
    let plain = ClientConfig::insecure(format!("ws://{}", server.address).parse().expect("an endpoint"));
    let error = within(dial(&plain)).await.unwrap_err();
    assert!(
        matches!(
            error,
            DialError::Tls {
                failure: TlsFailure::TlsExpected,
                ..
            }
        ),
        "{error}"
    );
}
