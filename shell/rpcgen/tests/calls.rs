//! The generated Rust, compiled and called: each kind of method, to one server and to a group, and how types can differ.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../examples/orders/shop.rs"]
mod shop;
#[path = "golden/rust/mod.rs"]
mod stubs;

use std::time::Duration;

use shop::Shop;
use slim::rpc::{CallOptions, Channel, Code, GroupChannel, Server, Status};
use slim::{App, Direction, FullName, Identity, Rng, Service, os_seed};
use stubs::shop::common::Money;
use stubs::shop::v1::order::{Line, State};
use stubs::shop::v1::orders_rpc::{self, OrdersClient, OrdersGroupClient, add_orders_to_server};
use stubs::shop::v1::shop_rpc::ShopClient;
use stubs::shop::v1::{Order, Query};
use tokio::task::JoinHandle;

const SECRET: &str = "a secret of more than thirty-two bytes";
/// Nothing in these tests takes so long on a machine that works, however slow.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn each_kind_of_method_takes_and_gives_messages() {
    let world = World::new(&["server"]).await;
    let orders = OrdersClient::new(world.channel("server"));

    let kept = within(orders.place(&order(100), options())).await.unwrap();
    assert_eq!((kept.id.as_str(), kept.state()), ("apples-1", State::Open));
    assert_eq!(kept.by_shelf[&7], kept.lines[0]);

    let query = Query {
        state: State::Sent.into(),
        limit: 3,
    };
    let mut listed = within(orders.list(&query, options())).await.unwrap();
    for id in ["1", "2", "3"] {
        let order = within(listed.next()).await.unwrap().unwrap();
        assert_eq!((order.id.as_str(), order.state()), (id, State::Sent));
    }
    assert_eq!(within(listed.next()).await, None);

    let (requests, total) = within(orders.add_up(options())).await.unwrap();
    for cents in [100, 200, 300] {
        within(requests.send(&order(cents))).await.unwrap();
    }
    requests.finish();
    let total = within(total).await.unwrap();
    assert_eq!((total.sum.unwrap().cents, total.orders), (1200, 3));

    let (requests, mut totals) = within(orders.price(options())).await.unwrap();
    for cents in [100, 200] {
        within(requests.send(&order(cents))).await.unwrap();
        let total = within(totals.next()).await.unwrap().unwrap();
        assert_eq!(total.sum.unwrap().cents, 2 * cents);
    }
    requests.finish();
    assert_eq!(within(totals.next()).await, None);
}

#[tokio::test]
async fn failures_keep_their_code_and_text() {
    let world = World::new(&["server"]).await;
    let orders = OrdersClient::new(world.channel("server"));
    let refused = within(orders.place(&Order::default(), options())).await;
    let expected = Status::new(Code::InvalidArgument, "an order without lines");
    assert_eq!(refused, Err(expected));

    let (requests, mut totals) = within(orders.price(options())).await.unwrap();
    within(requests.send(&order(-1))).await.unwrap();
    let refused = within(totals.next()).await.unwrap();
    assert_eq!(refused, Err(Status::new(Code::OutOfRange, "a negative price")));

    let shop = ShopClient::new(world.channel("server"));
    let unknown = within(shop.new_(&(), options())).await.unwrap_err();
    assert_eq!(unknown.code, Code::Unimplemented);
}

#[tokio::test]
async fn what_is_no_message_of_the_type_is_the_fault_of_whoever_sent_it() {
    let world = World::new(&["server"]).await;
    let channel = world.channel("server");
    // Field 1 is announced with five bytes and has one.
    let broken = || bytes(b"\x0a\x05x");
    let call = channel.unary(orders_rpc::SERVICE, "Place", broken(), options());
    let status = within(call).await.unwrap_err();
    assert_eq!(status.code, Code::InvalidArgument, "{status}");
    let call = channel.client_streaming(orders_rpc::SERVICE, "AddUp", options());
    let (requests, total) = within(call).await.unwrap();
    within(requests.send(broken())).await.unwrap();
    assert_eq!(within(total).await.unwrap_err().code, Code::InvalidArgument);

    let broken_server = world.app("broken").await;
    let mut server = Server::new(&broken_server);
    server.unary(
        orders_rpc::SERVICE,
        "Place",
        move |_, _| async move { Ok(broken()) },
    );
    let _serving = Aborted(tokio::spawn(server.serve(None)));
    let orders = OrdersClient::new(world.channel("broken"));
    let status = within(orders.place(&order(1), options())).await.unwrap_err();
    assert_eq!(status.code, Code::Internal, "{status}");
    assert!(
        status.message.starts_with("the response has another type: "),
        "{status}"
    );
}

#[tokio::test]
async fn each_server_of_a_group_answers_for_itself() {
    let world = World::new(&["one", "two"]).await;
    let servers = ["one", "two"].map(name);
    let orders = OrdersGroupClient::new(GroupChannel::new(&world.client, servers).unwrap());
    let mut responses = within(orders.place(&order(100), options())).await.unwrap();
    let mut notes = Vec::new();
    while let Some(response) = within(responses.next()).await {
        let response = response.unwrap();
        let last = response.source.components()[2].to_owned();
        notes.push((last, response.result.unwrap().note.unwrap()));
    }
    notes.sort();
    assert_eq!(
        notes,
        ["one", "two"].map(|name| (name.to_owned(), name.to_owned()))
    );

    let (requests, mut totals) = within(orders.add_up(options())).await.unwrap();
    within(requests.send(&order(50))).await.unwrap();
    requests.finish();
    let mut answers = 0;
    while let Some(response) = within(totals.next()).await {
        assert_eq!(response.unwrap().result.unwrap().sum.unwrap().cents, 100);
        answers += 1;
    }
    assert_eq!(answers, 2);
}

/// A client, and servers until the end of the test.
struct World {
    service: Service,
    client: App,
    _serving: Vec<Aborted>,
}

impl World {
    async fn new(servers: &[&str]) -> Self {
        let service = Service::new().unwrap();
        let client = app(&service, "client").await;
        let mut serving = Vec::new();
        for last in servers {
            let mut server = Server::new(&app(&service, last).await);
            let name = (*last).to_owned();
            add_orders_to_server(&mut server, Shop { name });
            serving.push(Aborted(tokio::spawn(server.serve(None))));
        }
        Self {
            service,
            client,
            _serving: serving,
        }
    }

    async fn app(&self, last: &str) -> App {
        app(&self.service, last).await
    }

    fn channel(&self, server: &str) -> Channel {
        Channel::new(&self.client, name(server))
    }
}

/// A task that ends with its handle.
struct Aborted(JoinHandle<()>);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn app(service: &Service, last: &str) -> App {
    let full = name(last);
    let identity =
        Identity::shared_secret(&full.to_string(), SECRET, &mut Rng::from_seed(os_seed())).unwrap();
    let verifier = identity.verifier();
    within(service.create_app(full, identity, verifier, Direction::Bidirectional))
        .await
        .unwrap()
}

fn name(last: &str) -> FullName {
    format!("org/ns/{last}").parse().unwrap()
}

fn order(cents: i64) -> Order {
    let currency = "EUR".to_owned();
    Order {
        lines: vec![Line {
            article: "apples".to_owned(),
            count: 2,
            price: Some(Money { currency, cents }),
        }],
        ..Order::default()
    }
}

fn bytes(bytes: &'static [u8]) -> prost::bytes::Bytes {
    prost::bytes::Bytes::from_static(bytes)
}

fn options() -> CallOptions {
    CallOptions::default()
}

async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(DEADLINE, future)
        .await
        .expect("must not take a minute")
}
