//! Calls between applications: `rpc serve NAME` serves, `rpc call NAME SERVER [SERVER…]` makes a call of each kind (to
//! several servers: one to all of them) and prints what came back, one JSON object per line.
//!
//! `SLIM_ENDPOINT` is the node (default `127.0.0.1:46357`, plain text), `SLIM_SECRET` the secret that both share.
#![allow(clippy::print_stdout, reason = "standard output is the interface")]

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use slim::rpc::{CallOptions, Channel, Code, GroupChannel, Server, Status};
use slim::{App, ClientConfig, Direction, FullName, Identity, Rng, Service, os_seed};

const SERVICE: &str = "demo.Calls";

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let mut arguments = std::env::args().skip(1);
    let (Some(mode), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: rpc serve NAME | rpc call NAME SERVER [SERVER...]".into());
    };
    let servers = arguments
        .map(|name| name.parse())
        .collect::<Result<Vec<FullName>, _>>()?;
    let service = Service::new()?;
    let app = connect(&service, &name).await?;
    match (mode.as_str(), &servers[..]) {
        ("serve", []) => serve(&app).await,
        ("call", [server]) => call(&app, server.clone()).await?,
        ("call", [_, ..]) => call_all(&app, servers).await?,
        _ => return Err("usage: rpc serve NAME | rpc call NAME SERVER [SERVER...]".into()),
    }
    app.close().await?;
    service.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

async fn connect(service: &Service, name: &str) -> Result<App, Failure> {
    let setting = |key: &str, default: &str| std::env::var(key).unwrap_or_else(|_| default.to_owned());
    let secret = setting(
        "SLIM_SECRET",
        "a secret that the two of them share, 32 bytes or more",
    );
    let identity = Identity::shared_secret(name, &secret, &mut Rng::from_seed(os_seed()))?;
    let verifier = identity.verifier();
    let app = service
        .create_app(name.parse()?, identity, verifier, Direction::Bidirectional)
        .await?;
    let endpoint = setting("SLIM_ENDPOINT", "127.0.0.1:46357");
    service.connect(ClientConfig::insecure(endpoint.parse()?)).await?;
    Ok(app)
}

async fn serve(app: &App) {
    let mut server = Server::new(app);
    server
        .unary(SERVICE, "Echo", |request, context| async move {
            if request.is_empty() {
                return Err(Status::new(Code::InvalidArgument, "nothing to echo"));
            }
            println!(
                "{}",
                json!({"caller": context.subject(), "metadata": context.metadata()})
            );
            Ok(request)
        })
        .server_streaming(SERVICE, "Count", |request, _, responses| async move {
            let to: u32 = String::from_utf8_lossy(&request).parse().unwrap_or(0);
            for number in 1..=to {
                responses.send(number.to_string().into()).await?;
            }
            Ok(())
        })
        .client_streaming(SERVICE, "Join", |mut requests, _| async move {
            let mut joined = Vec::new();
            while let Some(request) = requests.next().await {
                joined.extend_from_slice(&request);
            }
            Ok(joined.into())
        })
        .bidirectional(SERVICE, "Upper", |mut requests, _, responses| async move {
            while let Some(request) = requests.next().await {
                responses.send(request.to_ascii_uppercase().into()).await?;
            }
            Ok(())
        })
        .unary(SERVICE, "Sleep", |_, _| async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            Ok("too late".into())
        });
    println!("{}", json!({"serving": app.name().to_string()}));
    server.serve(None).await;
}

fn options() -> CallOptions {
    CallOptions {
        timeout: Some(Duration::from_secs(10)),
        metadata: BTreeMap::from([("trace".into(), "42".into())]),
    }
}

async fn call(app: &App, server: FullName) -> Result<(), Failure> {
    let channel = Channel::new(app, server);
    let text = |bytes: bytes::Bytes| String::from_utf8_lossy(&bytes).into_owned();
    let failure = |status: Status| json!([status.code.number(), status.message]);

    let reply = channel.unary(SERVICE, "Echo", "hello".into(), options()).await?;
    println!("{}", json!({"unary": text(reply)}));

    let mut responses = channel
        .server_streaming(SERVICE, "Count", "5".into(), options())
        .await?;
    let mut counted = Vec::new();
    while let Some(response) = responses.next().await {
        counted.push(text(response?));
    }
    println!("{}", json!({"server_streaming": counted}));

    let (requests, joined) = channel.client_streaming(SERVICE, "Join", options()).await?;
    for part in ["a", "b", "c"] {
        requests.send(part.into()).await?;
    }
    requests.finish();
    println!("{}", json!({"client_streaming": text(joined.await?)}));

    let (requests, mut responses) = channel.bidirectional(SERVICE, "Upper", options()).await?;
    let mut upper = Vec::new();
    for part in ["x", "y"] {
        requests.send(part.into()).await?;
        upper.push(text(responses.next().await.ok_or("the stream ended early")??));
    }
    requests.finish();
    let rest = responses.next().await.is_some();
    println!("{}", json!({"bidirectional": upper, "more": rest}));

    let refused = channel.unary(SERVICE, "Echo", "".into(), options()).await;
    println!("{}", json!({"refused": refused.err().map(failure)}));
    let unknown = channel.unary(SERVICE, "Nothing", "x".into(), options()).await;
    println!("{}", json!({"unknown": unknown.err().map(failure)}));
    let hurried = CallOptions {
        timeout: Some(Duration::from_secs(1)),
        ..options()
    };
    let late = channel.unary(SERVICE, "Sleep", "x".into(), hurried).await;
    println!(
        "{}",
        json!({"late": late.err().map(|status| status.code.number())})
    );
    channel.close().await;
    Ok(())
}

async fn call_all(app: &App, servers: Vec<FullName>) -> Result<(), Failure> {
    let channel = GroupChannel::new(app, servers)?;
    let mut responses = channel.call(SERVICE, "Echo", "hello".into(), options()).await?;
    let mut answers = BTreeMap::new();
    while let Some(response) = responses.next().await {
        let response = response?;
        let answer = response
            .result
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())?;
        answers.insert(response.source.without_id().to_string(), answer);
    }
    println!("{}", json!({"group": answers}));
    channel.close().await;
    Ok(())
}
