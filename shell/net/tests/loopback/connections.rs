//! How long a connection lives: silence, age, keepalive and draining.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use slim_config::ClientConfig;
use slim_net::grpc::PATH;
use slim_net::{ConnectionEnd, LinkEnd, Status, dial};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::server::{Limit, Server, bare_client, egress, payload, within};

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
