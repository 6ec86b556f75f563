//! Calls with generated stubs: `orders serve NAME` serves, `orders call NAME SERVER [SERVER…]` makes a call of each kind
//! (to several servers: one to all of them) and prints what came back, one JSON object per line.
//!
//! `SLIM_ENDPOINT` is the node (default `127.0.0.1:46357`, plain text), `SLIM_SECRET` the secret that both share.
#![allow(clippy::print_stdout, reason = "standard output is the interface")]

mod shop;
#[path = "../../tests/golden/rust/mod.rs"]
mod stubs;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use shop::Shop;
use slim::rpc::{CallOptions, Channel, GroupChannel, Server, Status};
use slim::{App, ClientConfig, Direction, FullName, Identity, Rng, Service, os_seed};
use stubs::shop::common::Money;
use stubs::shop::v1::order::{Line, State};
use stubs::shop::v1::orders_rpc::{OrdersClient, OrdersGroupClient, add_orders_to_server};
use stubs::shop::v1::shop_rpc::ShopClient;
use stubs::shop::v1::{Order, Query};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: orders serve NAME | orders call NAME SERVER [SERVER...]";
    let (Some(mode), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err(usage.into());
    };
    let servers = arguments
        .map(|name| name.parse())
        .collect::<Result<Vec<FullName>, _>>()?;
    let service = Service::new()?;
    let app = connect(&service, &name).await?;
    match (mode.as_str(), &servers[..]) {
        ("serve", []) => serve(&app, name).await,
        ("call", [server]) => call(&app, server.clone()).await?,
        ("call", [_, ..]) => call_all(&app, servers).await?,
        _ => return Err(usage.into()),
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

async fn serve(app: &App, name: String) {
    let mut server = Server::new(app);
    let name = name.rsplit("/").next().unwrap_or(&name).to_owned();
    add_orders_to_server(&mut server, Shop { name });
    println!("{}", json!({"serving": app.name().to_string()}));
    server.serve(None).await;
}

fn options() -> CallOptions {
    CallOptions {
        timeout: Some(Duration::from_secs(10)),
        metadata: BTreeMap::from([("trace".into(), "42".into())]),
    }
}

fn order(article: &str, cents: i64) -> Order {
    let price = Some(Money {
        currency: "EUR".to_owned(),
        cents,
    });
    Order {
        lines: vec![Line {
            article: article.to_owned(),
            count: 2,
            price,
        }],
        ..Order::default()
    }
}

async fn call(app: &App, server: FullName) -> Result<(), Failure> {
    let channel = Channel::new(app, server);
    let orders = OrdersClient::new(channel.clone());
    let failure = |status: Status| json!([status.code.number(), status.message]);

    let kept = orders.place(&order("apples", 100), options()).await?;
    let (caller, _) = kept.labels["caller"].split_once('_').ok_or("no id")?;
    println!(
        "{}",
        json!({"unary": {"id": kept.id, "state": kept.state, "trace": kept.labels["trace"], "caller": caller,
            "shelf": kept.by_shelf[&7].article}})
    );

    let query = Query {
        state: State::Sent.into(),
        limit: 3,
    };
    let mut responses = orders.list(&query, options()).await?;
    let mut listed = Vec::new();
    while let Some(order) = responses.next().await {
        let order = order?;
        listed.push(json!([order.id, order.state]));
    }
    println!("{}", json!({"server_streaming": listed}));

    let (requests, total) = orders.add_up(options()).await?;
    for cents in [100, 200, 300] {
        requests.send(&order("apples", cents)).await?;
    }
    requests.finish();
    let total = total.await?;
    let cents = |sum: Option<Money>| sum.unwrap_or_default().cents;
    println!(
        "{}",
        json!({"client_streaming": [cents(total.sum), total.orders]})
    );

    let (requests, mut totals) = orders.price(options()).await?;
    let mut prices = Vec::new();
    for price in [100, 200] {
        requests.send(&order("pears", price)).await?;
        let total = totals.next().await.ok_or("the stream ended early")??;
        prices.push(cents(total.sum));
    }
    requests.finish();
    let more = totals.next().await.is_some();
    println!("{}", json!({"bidirectional": prices, "more": more}));

    let refused = orders.place(&Order::default(), options()).await;
    println!("{}", json!({"refused": refused.err().map(failure)}));
    let (requests, mut totals) = orders.price(options()).await?;
    requests.send(&order("holes", -1)).await?;
    let refused = totals.next().await.ok_or("the stream ended early")?;
    println!("{}", json!({"refused in a stream": refused.err().map(failure)}));
    let unknown = ShopClient::new(channel.clone()).new_(&(), options()).await;
    println!("{}", json!({"unknown": unknown.err().map(failure)}));
    channel.close().await;
    Ok(())
}

async fn call_all(app: &App, servers: Vec<FullName>) -> Result<(), Failure> {
    let channel = GroupChannel::new(app, servers)?;
    let orders = OrdersGroupClient::new(channel.clone());
    let mut responses = orders.place(&order("plums", 100), options()).await?;
    let mut answers = BTreeMap::new();
    while let Some(response) = responses.next().await {
        let response = response?;
        answers.insert(response.source.without_id().to_string(), response.result?.note);
    }
    println!("{}", json!({"group": answers}));

    let mut responses = orders.place(&Order::default(), options()).await?;
    let mut failures = Vec::new();
    while let Some(response) = responses.next().await {
        let status = response?.result.err().ok_or("an order without lines was kept")?;
        failures.push(json!([status.code.number(), status.message]));
    }
    println!("{}", json!({"group failures": failures}));

    let (requests, mut totals) = orders.price(options()).await?;
    requests.send(&order("plums", 50)).await?;
    requests.finish();
    let mut prices = BTreeMap::new();
    while let Some(response) = totals.next().await {
        let response = response?;
        let sum = response.result?.sum.unwrap_or_default();
        prices.insert(response.source.without_id().to_string(), sum.cents);
    }
    println!("{}", json!({"group stream": prices}));
    channel.close().await;
    Ok(())
}
