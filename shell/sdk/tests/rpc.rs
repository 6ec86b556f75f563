//! Calls between applications: the four kinds, to one server and to a group, and how they end.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{app, name, within};
use slim::rpc::{CallOptions, Channel, Code, GroupChannel, Server, Shutdown, Status, StopReason};
use slim::{App, Service};

/// A server with one method of each kind, running until the guard is dropped.
fn serve(app: &App) -> (Shutdown, tokio::task::JoinHandle<()>) {
    let mut server = Server::new(app);
    let label = app.name().components()[2].to_owned();
    server
        .unary("pkg.Svc", "Echo", move |request, context| {
            let label = label.clone();
            async move {
                if &request[..] == b"fail" {
                    return Err(Status::new(Code::NotFound, "nope"));
                }
                if &request[..] == b"who" {
                    let text = format!("{} {}", context.subject(), context.metadata()["trace"]);
                    return Ok(text.into());
                }
                if &request[..] == b"sleep" {
                    tokio::time::sleep(Duration::from_secs(600)).await;
                }
                Ok(format!("{label}: {}", String::from_utf8_lossy(&request)).into())
            }
        })
        .server_streaming("pkg.Svc", "Count", |request, _, responses| async move {
            let to: u32 = String::from_utf8_lossy(&request).parse().unwrap_or(0);
            for number in 1..=to {
                responses.send(number.to_string().into()).await?;
            }
            Ok(())
        })
        .client_streaming("pkg.Svc", "Sum", |mut requests, _| async move {
            let mut sum = 0;
            while let Some(request) = requests.next().await {
                let number: u64 = String::from_utf8_lossy(&request)
                    .parse()
                    .map_err(|_| Status::new(Code::InvalidArgument, "not a number"))?;
                sum += number;
            }
            Ok(sum.to_string().into())
        })
        .bidirectional("pkg.Svc", "Upper", |mut requests, _, responses| async move {
            while let Some(request) = requests.next().await {
                responses.send(request.to_ascii_uppercase().into()).await?;
            }
            Ok(())
        });
    let shutdown = Shutdown::new();
    let serving = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { server.serve(Some(&shutdown)).await }
    });
    (shutdown, serving)
}

async fn pair() -> (Service, App, App) {
    let service = Service::new().unwrap();
    let client = app(&service, "org/ns/client").await;
    let server = app(&service, "org/ns/server").await;
    (service, client, server)
}

fn options() -> CallOptions {
    CallOptions::default()
}

#[tokio::test]
async fn the_four_kinds_of_calls_share_one_session() {
    let (_service, client, server) = pair().await;
    let (_shutdown, _serving) = serve(&server);
    let channel = Channel::new(&client, name("org/ns/server"));

    let reply = within(channel.unary("pkg.Svc", "Echo", "hello".into(), options())).await;
    assert_eq!(reply.unwrap(), "server: hello");
    let mut with_metadata = options();
    with_metadata.metadata.insert("trace".into(), "42".into());
    let reply = within(channel.unary("pkg.Svc", "Echo", "who".into(), with_metadata)).await;
    let reply = String::from_utf8(reply.unwrap().to_vec()).unwrap();
    assert!(
        reply.starts_with("org/ns/client_") && reply.ends_with(" 42"),
        "{reply}"
    );

    let mut counted = within(channel.server_streaming("pkg.Svc", "Count", "1000".into(), options()))
        .await
        .unwrap();
    for number in 1..=1000 {
        let response = within(counted.next()).await.unwrap().unwrap();
        assert_eq!(response, number.to_string());
    }
    assert_eq!(within(counted.next()).await, None);
    assert_eq!(within(counted.next()).await, None);

    let (requests, sum) = within(channel.client_streaming("pkg.Svc", "Sum", options()))
        .await
        .unwrap();
    for number in 1..=300 {
        within(requests.send(number.to_string().into())).await.unwrap();
    }
    requests.finish();
    assert_eq!(within(sum).await.unwrap(), "45150");

    let (requests, mut responses) = within(channel.bidirectional("pkg.Svc", "Upper", options()))
        .await
        .unwrap();
    for text in ["one", "", "three"] {
        within(requests.send(Bytes::from_static(text.as_bytes())))
            .await
            .unwrap();
        let response = within(responses.next()).await.unwrap().unwrap();
        assert_eq!(response, text.to_uppercase());
    }
    drop(requests);
    assert_eq!(within(responses.next()).await, None);
    assert_eq!(client.sessions().len(), 1, "all calls share one session");
}

#[tokio::test]
async fn failures_have_a_code_and_a_text() {
    let (_service, client, server) = pair().await;
    let (_shutdown, _serving) = serve(&server);
    let channel = Channel::new(&client, name("org/ns/server"));
    let call = |method: &'static str, request: &'static str, options| {
        channel.unary("pkg.Svc", method, request.into(), options)
    };
    assert_eq!(
        within(call("Echo", "fail", options())).await,
        Err(Status::new(Code::NotFound, "nope"))
    );
    assert_eq!(
        within(call("None", "x", options())).await,
        Err(Status::new(Code::Unimplemented, "Method not found: pkg.Svc/None"))
    );
    let soon = CallOptions {
        timeout: Some(Duration::from_millis(200)),
        ..options()
    };
    let late = within(call("Echo", "sleep", soon)).await.unwrap_err();
    assert_eq!(late.code, Code::DeadlineExceeded, "{late}");
    let mut reserved = options();
    reserved.metadata.insert("rpc-id".into(), "mine".into());
    let refused = within(call("Echo", "x", reserved)).await.unwrap_err();
    assert_eq!(refused.code, Code::InvalidArgument, "{refused}");
    // The channel goes on.
    assert_eq!(within(call("Echo", "x", options())).await.unwrap(), "server: x");

    let (requests, sum) = within(channel.client_streaming("pkg.Svc", "Sum", options()))
        .await
        .unwrap();
    within(requests.send("one".into())).await.unwrap();
    assert_eq!(within(sum).await.unwrap_err().code, Code::InvalidArgument);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let service = Service::new().unwrap();
    let client = app(&service, "org/ns/client").await;
    let channel = Channel::new(&client, name("org/ns/nobody"));
    let soon = CallOptions {
        timeout: Some(Duration::from_millis(300)),
        ..options()
    };
    let status = within(channel.unary("pkg.Svc", "Echo", "x".into(), soon))
        .await
        .unwrap_err();
    assert_eq!(status.code, Code::DeadlineExceeded, "{status}");
}

#[tokio::test]
async fn dropped_responses_stop_the_handler() {
    let (_service, client, server) = pair().await;
    let (told, mut stopped) = tokio::sync::mpsc::channel(1);
    let mut methods = Server::new(&server);
    methods.server_streaming("pkg.Svc", "Ticks", move |_, context, responses| {
        let told = told.clone();
        async move {
            let watched = context.clone();
            tokio::spawn(async move { told.send(watched.stopped().await).await });
            loop {
                responses.send("tick".into()).await?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    });
    let _serving = tokio::spawn(async move { methods.serve(None).await });
    let channel = Channel::new(&client, name("org/ns/server"));
    let mut ticks = within(channel.server_streaming("pkg.Svc", "Ticks", "x".into(), options()))
        .await
        .unwrap();
    assert_eq!(within(ticks.next()).await.unwrap().unwrap(), "tick");
    drop(ticks);
    assert_eq!(within(stopped.recv()).await, Some(StopReason::Cancelled));
}

#[tokio::test]
async fn a_server_that_stops_ends_its_calls_and_the_channel_opens_anew() {
    let (_service, client, server) = pair().await;
    let (shutdown, serving) = serve(&server);
    let channel = Channel::new(&client, name("org/ns/server"));
    let (requests, mut responses) = within(channel.bidirectional("pkg.Svc", "Upper", options()))
        .await
        .unwrap();
    within(requests.send("one".into())).await.unwrap();
    assert_eq!(within(responses.next()).await.unwrap().unwrap(), "ONE");
    shutdown.shut_down();
    within(serving).await.unwrap();
    let status = within(responses.next()).await.unwrap().unwrap_err();
    assert_eq!(status, Status::new(Code::Cancelled, "Server shutting down"));

    within(channel.close()).await;
    let (_shutdown, _serving) = serve(&server);
    let reply = within(channel.unary("pkg.Svc", "Echo", "again".into(), options())).await;
    assert_eq!(reply.unwrap(), "server: again");
}

#[tokio::test]
async fn every_server_of_a_group_answers() {
    let service = Service::new().unwrap();
    let client = app(&service, "org/ns/client").await;
    let mut guards = Vec::new();
    for server in ["org/ns/a", "org/ns/b", "org/ns/c"] {
        let server = app(&service, server).await;
        guards.push((serve(&server), server));
    }
    let channel = GroupChannel::new(&client, ["org/ns/a", "org/ns/b", "org/ns/c"].map(name)).unwrap();
    let mut responses = within(channel.call("pkg.Svc", "Echo", "hi".into(), options()))
        .await
        .unwrap();
    let mut texts = Vec::new();
    while let Some(response) = within(responses.next()).await {
        texts.push(String::from_utf8(response.unwrap().result.unwrap().to_vec()).unwrap());
    }
    texts.sort();
    assert_eq!(texts, ["a: hi", "b: hi", "c: hi"]);

    // Streams keep their order for each server.
    let mut counted = within(channel.call("pkg.Svc", "Count", "20".into(), options()))
        .await
        .unwrap();
    let mut numbers = std::collections::BTreeMap::<String, Vec<String>>::new();
    while let Some(response) = within(counted.next()).await {
        let response = response.unwrap();
        let text = String::from_utf8(response.result.unwrap().to_vec()).unwrap();
        numbers.entry(response.source.to_string()).or_default().push(text);
    }
    let expected: Vec<String> = (1..=20).map(|number: u32| number.to_string()).collect();
    assert_eq!(numbers.len(), 3);
    assert!(numbers.values().all(|of_one| *of_one == expected), "{numbers:?}");

    assert_eq!(
        GroupChannel::new(&client, []).unwrap_err().code,
        Code::InvalidArgument
    );
}

#[tokio::test]
async fn a_handler_that_is_slow_holds_its_caller_and_loses_nothing() {
    let (_service, client, server) = pair().await;
    let mut methods = Server::new(&server);
    methods.client_streaming("pkg.Svc", "Slow", |mut requests, _| async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut count = 0;
        while let Some(request) = requests.next().await {
            if request != count.to_string() {
                return Err(Status::new(Code::DataLoss, format!("{count} was {request:?}")));
            }
            count += 1;
        }
        Ok(count.to_string().into())
    });
    let _serving = tokio::spawn(async move { methods.serve(None).await });
    let channel = Channel::new(&client, name("org/ns/server"));
    let (requests, count) = within(channel.client_streaming("pkg.Svc", "Slow", options()))
        .await
        .unwrap();
    for number in 0..2000 {
        within(requests.send(number.to_string().into())).await.unwrap();
    }
    requests.finish();
    assert_eq!(within(count).await.unwrap(), "2000");
}
