//! Both roles of a call against each other, and each against a bare HTTP/2 stack, over real sockets.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use slim_config::{Backoff, ClientConfig, ServerConfig};
use slim_net::grpc::{PATH, PATH_0_4};
use slim_net::listen::ConnectionLimits;
use slim_net::{
    Accepted, Clock, Code, ConnectionEnd, ConnectionSettings, DialError, LinkEnd, Listener, OpenError,
    Service, Status, dial, redial_policy, serve_connection,
};
use slim_proto::limits::FRAME_BYTES_MAX;
use slim_proto::{Egress, Frame};
use slim_router::dialer::{Failure, Pauses, RedialOutput, RedialPolicy, Redialer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep_until, timeout};

const DEADLINE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_every_size_arrive_unchanged_in_both_directions() {
    let mut server = Server::start(&[]).await;
    let mut dialed = dial(&server.client()).await.unwrap();
    let (mut accepted, _open) = server.next_call().await;
    accepted.established.mark();
    accepted.reader.accept_large_frames();
    dialed.reader.accept_large_frames();
    let sizes = [
        0,
        1,
        5,
        255,
        256,
        16_379,
        16_384,
        65_536,
        70_000,
        1_048_576,
        FRAME_BYTES_MAX,
    ];
    let (up, down) = tokio::join!(
        async {
            for size in sizes {
                dialed.writer.send(egress(size)).await.unwrap();
            }
            for size in sizes {
                assert_eq!(
                    *within(dialed.reader.next()).await.unwrap().bytes(),
                    payload(size)
                );
            }
            dialed
        },
        async {
            for size in sizes {
                assert_eq!(
                    *within(accepted.reader.next()).await.unwrap().bytes(),
                    payload(size)
                );
            }
            for size in sizes {
                accepted.writer.send(egress(size)).await.unwrap();
            }
            accepted
        }
    );
    // Each side ends its half; the dialer learns the status.
    up.writer.finish(&Status::ok());
    let (mut dialer, mut acceptor) = (up.reader, down.reader);
    assert!(matches!(within(acceptor.next()).await, Err(LinkEnd::Ended(None))));
    down.writer
        .finish(&Status::new(Code::PERMISSION_DENIED, "deployment_name mismatch"));
    match within(dialer.next()).await {
        Err(LinkEnd::Ended(Some(status))) => {
            assert_eq!(
                status,
                Status::new(Code::PERMISSION_DENIED, "deployment_name mismatch")
            );
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_and_large_frames_of_one_batch_keep_their_order() {
    let mut server = Server::start(&[]).await;
    let mut dialed = dial(&server.client()).await.unwrap();
    let (mut accepted, _open) = server.next_call().await;
    accepted.established.mark();
    accepted.reader.accept_large_frames();
    // Around the size up to which frames are gathered (4 KiB), and more than one block of gathered ones (16 KiB).
    let sizes: Vec<usize> = [
        0, 7, 4095, 4096, 4097, 1, 9000, 300, 20_000, 2, 4096, 4096, 4096, 4096, 4096, 3,
    ]
    .into();
    for &size in &sizes {
        dialed.writer.push(egress(size));
    }
    let expected: usize = sizes.iter().map(|size| size + 5).sum();
    assert_eq!(dialed.writer.pending_bytes(), expected);
    dialed.writer.flush().await.unwrap();
    assert_eq!(dialed.writer.pending_bytes(), 0);
    for size in sizes {
        assert_eq!(
            *within(accepted.reader.next()).await.unwrap().bytes(),
            payload(size)
        );
    }
}

#[tokio::test]
async fn a_batch_of_small_frames_leaves_in_one_data_frame() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ClientConfig::insecure(listener.local_addr().unwrap().into());
    let (chunk, mut chunks) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        let response = http::Response::builder()
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let _stream: h2::SendStream<Bytes> = respond.send_response(response, false).unwrap();
        let mut body = request.into_body();
        let reading = async {
            while let Some(Ok(data)) = body.data().await {
                chunk.send(data).unwrap();
            }
        };
        tokio::select! {
            () = reading => {}
            _ = connection.accept() => {}
        }
    });
    let mut dialed = within(dial(&config)).await.unwrap();
    for number in 0..64u8 {
        dialed.writer.push(verbatim(vec![number]));
    }
    dialed.writer.flush().await.unwrap();
    let chunk = within(chunks.recv()).await.unwrap();
    let expected: Vec<u8> = (0..64).flat_map(|number| [0, 0, 0, 0, 1, number]).collect();
    assert_eq!(chunk, expected);
}

#[tokio::test]
async fn both_sides_take_data_frames_of_64_kib() {
    let server = Server::start(&[]).await;
    let mut raw = TcpStream::connect(server.address).await.unwrap();
    // The preface and empty SETTINGS.
    raw.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    assert_eq!(max_frame_size(&mut raw).await, Some(65_536));

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ClientConfig::insecure(listener.local_addr().unwrap().into());
    let dialing = tokio::spawn(async move { dial(&config).await.map(drop) });
    let (mut raw, _) = listener.accept().await.unwrap();
    let mut preface = [0; 24];
    raw.read_exact(&mut preface).await.unwrap();
    assert_eq!(max_frame_size(&mut raw).await, Some(65_536));
    dialing.abort();
}

#[tokio::test]
async fn response_headers_come_before_the_first_message() {
    let server = Server::start(&[]).await;
    // `dial` returns on the headers; the acceptor writes nothing at all.
    let dialed = within(dial(&server.client())).await.unwrap();
    assert_eq!(dialed.peer, server.address.into());
}

#[tokio::test]
async fn frames_are_small_until_the_link_is_negotiated() {
    let mut server = Server::start(&[]).await;
    let mut dialed = dial(&server.client()).await.unwrap();
    let (mut accepted, _open) = server.next_call().await;
    dialed.writer.send(egress(16 * 1024)).await.unwrap();
    assert!(within(accepted.reader.next()).await.is_ok());
    dialed.writer.send(egress(16 * 1024 + 1)).await.unwrap();
    assert!(matches!(
        within(accepted.reader.next()).await,
        Err(LinkEnd::Deframe(_))
    ));
}

#[tokio::test]
async fn a_frame_above_four_mebibytes_ends_the_stream() {
    let mut server = Server::start(&[]).await;
    let mut dialed = dial(&server.client()).await.unwrap();
    let (mut accepted, _open) = server.next_call().await;
    accepted.reader.accept_large_frames();
    let mut prefix = vec![0];
    prefix.extend_from_slice(&u32::try_from(FRAME_BYTES_MAX + 1).unwrap().to_be_bytes());
    let head = Bytes::from(prefix);
    dialed
        .writer
        .send(Egress {
            head,
            tail: Bytes::new(),
        })
        .await
        .unwrap();
    let end = within(accepted.reader.next()).await.unwrap_err();
    assert_eq!(
        end.to_string(),
        "gRPC message of 4194305 bytes; the limit is 4194304"
    );
}

#[tokio::test]
async fn a_reader_that_stops_holds_the_writer_back_and_loses_nothing() {
    let mut server = Server::start(&[]).await;
    let mut dialed = dial(&server.client()).await.unwrap();
    let (mut accepted, _open) = server.next_call().await;
    accepted.established.mark();
    accepted.reader.accept_large_frames();
    // 64 MiB do not fit into windows and buffers, so the writer must stop in between.
    let (sent, mut sent_so_far) = watch::channel(0);
    let writing = tokio::spawn(async move {
        for number in 1..=64 {
            dialed.writer.send(egress(1024 * 1024)).await.unwrap();
            sent.send_replace(number);
        }
        dialed
    });
    // The writer is held back when nothing moves any more although it is not done.
    let mut last = 0;
    while let Ok(changed) = timeout(Duration::from_millis(500), sent_so_far.changed()).await {
        changed.unwrap();
        last = *sent_so_far.borrow_and_update();
    }
    assert!(last < 16, "{last} MiB went out to nobody");
    for _ in 0..64 {
        assert_eq!(
            within(accepted.reader.next()).await.unwrap().bytes().len(),
            1024 * 1024
        );
    }
    within(writing).await.unwrap();
}

#[tokio::test]
async fn other_requests_get_the_answer_that_grpc_prescribes() {
    let server = Server::start(&[]).await;
    let grpc = Some("application/grpc");
    for (method, path, content_type, encoding, status, code) in [
        (Method::POST, "/other", grpc, None, 200, Some(Code::UNIMPLEMENTED)),
        (Method::POST, "/other", None, None, 404, None),
        (Method::GET, PATH, None, None, 405, None),
        (Method::POST, PATH, Some("text/plain"), None, 415, None),
        (
            Method::POST,
            PATH,
            grpc,
            Some("gzip"),
            200,
            Some(Code::UNIMPLEMENTED),
        ),
        (
            Method::POST,
            PATH,
            Some("application/grpc+proto"),
            Some("identity"),
            200,
            None,
        ),
    ] {
        let (mut send, _connection) = bare_client(server.address).await;
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://node{path}"));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        if let Some(encoding) = encoding {
            request = request.header("grpc-encoding", encoding);
        }
        let (response, _stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
        let response = within(response).await.unwrap();
        assert_eq!(response.status(), StatusCode::from_u16(status).unwrap(), "{path}");
        let got = response
            .headers()
            .get("grpc-status")
            .map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(got, code.map(|code| code.0.to_string()), "{path}");
    }
}

#[tokio::test]
async fn a_call_says_whose_it_is_and_is_answered_before_it_says_anything() {
    let mut server = Server::start(&[]).await;
    for (path, service) in [(PATH, Service::DataPlane), (PATH_0_4, Service::PubSub)] {
        let (mut send, _connection) = bare_client(server.address).await;
        let request = Request::post(format!("http://node{path}")).header("content-type", "application/grpc");
        let (response, _stream) = send.send_request(request.body(()).unwrap(), false).unwrap();
        let response = within(response).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert!(!response.headers().contains_key("grpc-status"), "{path}");
        let (accepted, _open) = server.next_call().await;
        assert_eq!(accepted.service, service);
    }
}

#[tokio::test]
async fn a_second_call_is_refused_until_the_first_is_negotiated() {
    let mut server = Server::start(&[]).await;
    let (mut send, _connection) = bare_client(server.address).await;
    let call = || {
        Request::builder()
            .method(Method::POST)
            .uri(format!("http://node{PATH}"))
            .header("content-type", "application/grpc")
            .body(())
            .unwrap()
    };
    let (first, _first_stream) = send.send_request(call(), false).unwrap();
    assert!(!within(first).await.unwrap().headers().contains_key("grpc-status"));
    let (accepted, _open) = server.next_call().await;
    let (second, _) = send.send_request(call(), false).unwrap();
    let refused = within(second).await.unwrap();
    assert_eq!(
        refused.headers()["grpc-status"],
        Code::RESOURCE_EXHAUSTED.0.to_string()
    );
    accepted.established.mark();
    let (third, _third_stream) = send.send_request(call(), false).unwrap();
    assert!(!within(third).await.unwrap().headers().contains_key("grpc-status"));
}

#[tokio::test]
async fn a_socket_that_says_nothing_is_closed_in_time() {
    let mut server = Server::start(&[(Limit::Opening, Duration::from_millis(100))]).await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    assert!(matches!(server.next_end().await, ConnectionEnd::Handshake(_)));
    let (_send, _connection) = bare_client(server.address).await;
    assert!(matches!(server.next_end().await, ConnectionEnd::NoCall(_)));
}

#[tokio::test]
async fn a_connection_without_calls_is_closed_when_idle() {
    let mut server = Server::start(&[(Limit::Idle, Duration::from_millis(100))]).await;
    let dialed = dial(&server.client()).await.unwrap();
    let (accepted, open) = server.next_call().await;
    accepted.writer.finish(&Status::ok());
    drop((accepted.reader, open));
    dialed.writer.finish(&Status::ok());
    // The reader is kept, so the dialer keeps the connection open until the server ends it.
    let end = server.next_end().await;
    assert!(matches!(end, ConnectionEnd::Idle(_)), "{end}");
    drop(dialed.reader);
}

#[tokio::test]
async fn an_old_connection_is_asked_to_leave_and_cut_after_its_grace() {
    let limits = [
        (Limit::Age, Duration::from_millis(100)),
        (Limit::Grace, Duration::from_millis(100)),
    ];
    let mut server = Server::start(&limits).await;
    let (mut send, connection) = bare_client(server.address).await;
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("http://node{PATH}"))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (response, _stream) = send.send_request(request, false).unwrap();
    let mut body = within(response).await.unwrap().into_body();
    let (accepted, open) = server.next_call().await;
    // After the GOAWAY there is no new call; the old one lives on until the grace is over.
    assert!(!matches!(within(body.data()).await, Some(Ok(_))));
    assert!(within(poll_fn(|cx| send.poll_ready(cx))).await.is_err());
    drop((accepted, open));
    assert!(matches!(server.next_end().await, ConnectionEnd::Age(_)));
    within(connection).await.unwrap();
}

#[tokio::test]
async fn a_dialer_hears_that_its_connection_is_to_be_replaced_while_it_still_works() {
    let limits = [(Limit::Age, Duration::from_millis(100))];
    let mut server = Server::start(&limits).await;
    let mut dialed = within(dial(&server.client())).await.unwrap();
    let (mut accepted, open) = server.next_call().await;
    within(dialed.connection.leaving()).await;
    // The grace is five minutes: until then the link is as good as before.
    let (sent, received) = tokio::join!(dialed.writer.send(egress(1000)), within(accepted.reader.next()));
    sent.unwrap();
    assert_eq!(received.unwrap().bytes(), &payload(1000)[..]);
    dialed.writer.finish(&Status::ok());
    dialed.connection.close_when_done();
    assert!(matches!(
        within(accepted.reader.next()).await,
        Err(LinkEnd::Ended(None))
    ));
    accepted.writer.finish(&Status::ok());
    assert!(matches!(
        within(dialed.reader.next()).await,
        Err(LinkEnd::Ended(Some(_)))
    ));
    drop((open, dialed.reader));
    assert!(matches!(server.next_end().await, ConnectionEnd::Age(_)));
}

#[tokio::test]
async fn a_connection_that_is_not_asked_to_leave_hears_nothing() {
    let mut server = Server::start(&[]).await;
    let dialed = within(dial(&server.client())).await.unwrap();
    let (accepted, open) = server.next_call().await;
    let leaving = dialed.connection.leaving();
    dialed.writer.finish(&Status::ok());
    accepted.writer.finish(&Status::ok());
    // Lets the connection end by itself, which the handle that listens for a GOAWAY must not prevent.
    dialed.connection.close_when_done();
    drop((dialed.reader, accepted.reader, open));
    assert!(matches!(server.next_end().await, ConnectionEnd::Closed));
    assert!(timeout(Duration::from_millis(50), leaving).await.is_err());
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_dead() {
    let limits = [
        (Limit::PingInterval, Duration::from_millis(50)),
        (Limit::PingTimeout, Duration::from_millis(100)),
    ];
    let mut server = Server::start(&limits).await;
    let socket = TcpStream::connect(server.address).await.unwrap();
    let (_send, connection) = h2::client::handshake(socket).await.unwrap();
    // Polled until the preface is out and never again: a process that hangs.
    let mut connection = Box::pin(connection);
    let mut polls = 0;
    let _ = timeout(
        Duration::from_millis(20),
        poll_fn(|cx| {
            polls += 1;
            connection.as_mut().poll(cx).map(drop)
        }),
    )
    .await;
    assert!(polls > 0);
    assert!(matches!(server.next_end().await, ConnectionEnd::Dead(_)));
}

#[tokio::test]
async fn a_dialer_notices_a_dead_acceptor() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = ClientConfig::insecure(listener.local_addr().unwrap().into());
    config.keepalive.http2_keepalive = Duration::from_millis(50);
    config.keepalive.timeout = Duration::from_millis(100);
    let (answered, headers_out) = oneshot::channel();
    let acceptor = tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let response = http::Response::builder()
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        let _stream: h2::SendStream<Bytes> = respond.send_response(response, false).unwrap();
        // Writes the headers, then hangs with the socket open.
        tokio::select! {
            _ = connection.accept() => panic!("no second call"),
            _ = headers_out => {}
        }
        std::future::pending::<()>().await;
    });
    let mut dialed = within(dial(&config)).await.unwrap();
    answered.send(()).unwrap();
    assert!(matches!(
        within(dialed.reader.next()).await,
        Err(LinkEnd::Connection(_))
    ));
    acceptor.abort();
}

#[tokio::test]
async fn draining_refuses_new_calls_and_ends_with_the_last_link() {
    let mut server = Server::start(&[]).await;
    let dialed = dial(&server.client()).await.unwrap();
    let (accepted, open) = server.next_call().await;
    server.drain.send_replace(true);
    accepted.writer.finish(&Status::ok());
    let mut reader = dialed.reader;
    assert!(matches!(
        within(reader.next()).await,
        Err(LinkEnd::Ended(Some(status))) if status == Status::ok()
    ));
    drop((accepted.reader, open));
    drop((reader, dialed.writer));
    dialed.connection.close_when_done();
    assert!(matches!(server.next_end().await, ConnectionEnd::Drained));
}

#[tokio::test]
async fn a_refusal_is_final_and_a_missing_node_is_worth_another_attempt() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let config = ClientConfig::insecure(free.into());
    let mut failures = Vec::new();
    let pauses = Backoff::FixedInterval {
        interval: Duration::from_millis(1),
        max_attempts: Some(3),
    };
    let error = dial_until_given_up(&config, &pauses, |attempt| failures.push(attempt)).await;
    assert_eq!(failures, [1, 2]);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!(
            "gave up after 3 attempts; the last one: cannot connect to {free}: "
        )),
        "{text}"
    );
    assert_eq!(error.failure(), Failure::Final);

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = ClientConfig::insecure(listener.local_addr().unwrap().into());
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        while let Some(Ok((_, mut respond))) = connection.accept().await {
            let mut response = http::Response::new(());
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            let _: h2::SendStream<Bytes> = respond.send_response(response, true).unwrap();
        }
    });
    let error = dial(&config).await.unwrap_err();
    assert!(
        matches!(&error, DialError::Unauthenticated { shown: false, .. }),
        "{error}"
    );
    assert!(!error.is_transient());
    assert_eq!(OpenError::from(error).failure(), Failure::Refused);
}

/// Dials in real time as a redialer says; tells of each failure that another attempt follows.
async fn dial_until_given_up(
    config: &ClientConfig,
    backoff: &Backoff,
    mut on_failure: impl FnMut(u32),
) -> OpenError {
    let clock = Clock::start();
    let default = RedialPolicy {
        eager: Pauses::Fixed(Duration::ZERO),
        patient: Pauses::Fixed(Duration::ZERO),
        attempts_max: Some(1),
    };
    let mut redialer = Redialer::new(redial_policy(Some(backoff), default), [0; 32]);
    assert_eq!(redialer.poll_output(), Some(RedialOutput::Dial));
    loop {
        let error = OpenError::from(dial(config).await.expect_err("nobody listens"));
        redialer.handle_dial_failed(clock.now(), error.failure());
        if let Some(RedialOutput::GiveUp { attempts }) = redialer.poll_output() {
            return error.after(attempts);
        }
        on_failure(redialer.attempts());
        sleep_until(clock.timer(redialer.poll_timeout().expect("a dial is planned"))).await;
        redialer.handle_timeout(clock.now());
        assert_eq!(redialer.poll_output(), Some(RedialOutput::Dial));
    }
}

#[tokio::test]
async fn configured_headers_and_origin_reach_the_node() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = ClientConfig::insecure(listener.local_addr().unwrap().into());
    config.origin = Some("front.example:80".into());
    config.headers.insert("x-tenant".into(), "a".into());
    let (seen, request) = oneshot::channel();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(socket).await.unwrap();
        let (request, _respond): (_, h2::server::SendResponse<Bytes>) =
            connection.accept().await.unwrap().unwrap();
        seen.send(request.into_parts().0).unwrap();
    });
    let _ = within(dial(&config)).await;
    let head = within(request).await.unwrap();
    assert_eq!(head.uri.authority().unwrap(), "front.example:80");
    assert_eq!(head.uri.path(), PATH);
    assert_eq!(head.headers["x-tenant"], "a");
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(head.headers["content-type"], "application/grpc");
}

#[derive(Clone, Copy)]
enum Limit {
    Opening,
    Idle,
    Age,
    Grace,
    PingInterval,
    PingTimeout,
}

/// An acceptor that hands every call to the test. A call counts as open until the test drops its second half.
struct Server {
    address: SocketAddr,
    calls: mpsc::UnboundedReceiver<(Accepted, oneshot::Sender<()>)>,
    ends: mpsc::UnboundedReceiver<ConnectionEnd>,
    drain: watch::Sender<bool>,
}

impl Server {
    async fn start(limits: &[(Limit, Duration)]) -> Self {
        let endpoint = "127.0.0.1:0".parse().expect("an endpoint");
        let mut settings = ConnectionSettings::from(&ServerConfig::insecure(endpoint));
        for (limit, time) in limits {
            let keepalive = &mut settings.keepalive;
            *match limit {
                Limit::Opening => &mut settings.opening_timeout,
                Limit::Idle => &mut keepalive.max_connection_idle,
                Limit::Age => &mut keepalive.max_connection_age,
                Limit::Grace => &mut keepalive.max_connection_age_grace,
                Limit::PingInterval => &mut keepalive.time,
                Limit::PingTimeout => &mut keepalive.timeout,
            } = *time;
        }
        let endpoint = "127.0.0.1:0".parse().expect("an endpoint");
        let listener = Listener::bind(&endpoint, ConnectionLimits::default())
            .await
            .expect("a port");
        let address = listener.local_address().expect("a socket of IP");
        let (call, calls) = mpsc::unbounded_channel();
        let (ended, ends) = mpsc::unbounded_channel();
        let (drain, draining) = watch::channel(false);
        tokio::spawn(async move {
            loop {
                let socket = listener.accept().await;
                let (call, ended, settings) = (call.clone(), ended.clone(), settings.clone());
                let mut draining = draining.clone();
                tokio::spawn(async move {
                    let drain = async move { drop(draining.wait_for(|draining| *draining).await) };
                    let end = serve_connection(socket.socket, socket.peer, &settings, drain, |accepted| {
                        let (open, closed) = oneshot::channel();
                        let _ = call.send((accepted, open));
                        async move { drop(closed.await) }
                    })
                    .await;
                    let _ = ended.send(end);
                });
            }
        });
        Self {
            address,
            calls,
            ends,
            drain,
        }
    }

    fn client(&self) -> ClientConfig {
        ClientConfig::insecure(self.address.into())
    }

    async fn next_call(&mut self) -> (Accepted, oneshot::Sender<()>) {
        within(self.calls.recv()).await.expect("the acceptor runs")
    }

    async fn next_end(&mut self) -> ConnectionEnd {
        within(self.ends.recv()).await.expect("the acceptor runs")
    }
}

async fn bare_client(address: SocketAddr) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<()>) {
    let socket = TcpStream::connect(address).await.expect("the server listens");
    let (send, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    let connection = tokio::spawn(async move { drop(connection.await) });
    (send.ready().await.expect("HTTP/2"), connection)
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}

fn payload(size: usize) -> Bytes {
    (0..size)
        .map(|index| u8::try_from(index % 251).expect("below 251"))
        .collect()
}

fn egress(size: usize) -> Egress {
    verbatim(payload(size))
}

fn verbatim(bytes: impl Into<Bytes>) -> Egress {
    Egress::verbatim(Frame::new(bytes).expect("a frame of legal size"))
}

/// SETTINGS_MAX_FRAME_SIZE in the SETTINGS frame that comes next (RFC 9113, section 6.5).
async fn max_frame_size(raw: &mut TcpStream) -> Option<u32> {
    let mut header = [0; 9];
    raw.read_exact(&mut header).await.expect("a frame header");
    assert_eq!(header[3], 4, "a SETTINGS frame comes first");
    let mut payload = vec![0; u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize];
    raw.read_exact(&mut payload).await.expect("its payload");
    let setting = payload.chunks(6).find(|setting| setting[..2] == [0, 5])?;
    Some(u32::from_be_bytes(
        setting[2..].try_into().expect("six bytes each"),
    ))
}
