//! A call's opening: what it says, what is answered, and what is refused.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use slim_config::{Backoff, ClientConfig};
use slim_net::grpc::{PATH, PATH_0_4};
use slim_net::{Clock, Code, DialError, OpenError, Service, dial, redial_policy};
use slim_router::dialer::{Failure, Pauses, RedialOutput, RedialPolicy, Redialer};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::server::{Server, bare_client, within};

#[tokio::test]
async fn response_headers_come_before_the_first_message() {
    let server = Server::start(&[]).await;
    // `dial` returns on the headers; the acceptor writes nothing at all.
    let dialed = within(dial(&server.client())).await.unwrap();
    assert_eq!(dialed.peer, server.address.into());
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
