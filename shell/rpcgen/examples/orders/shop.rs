//! A server of the generated service `shop.v1.Orders`: one method of each kind.

use slim::rpc::typed::{RequestStream, ResponseSink};
use slim::rpc::{Code, Context, Status};

use crate::stubs::shop::common::Money;
use crate::stubs::shop::v1::order::State;
use crate::stubs::shop::v1::orders_rpc::Orders;
use crate::stubs::shop::v1::{Order, Query, Total};

/// A shop that keeps nothing.
#[derive(Debug)]
pub(crate) struct Shop {
    /// Tells the servers of a group apart.
    pub(crate) name: String,
}

impl Orders for Shop {
    async fn place(&self, order: Order, context: Context) -> Result<Order, Status> {
        let Some(first) = order.lines.first() else {
            return Err(Status::new(Code::InvalidArgument, "an order without lines"));
        };
        let mut kept = order.clone();
        kept.id = format!("{}-{}", first.article, order.lines.len());
        kept.set_state(State::Open);
        kept.note = Some(self.name.clone());
        kept.by_shelf.insert(7, first.clone());
        let trace = context.metadata().get("trace").cloned();
        kept.labels.insert("trace".to_owned(), trace.unwrap_or_default());
        kept.labels
            .insert("caller".to_owned(), context.subject().to_owned());
        Ok(kept)
    }

    async fn list(&self, query: Query, _: Context, responses: ResponseSink<Order>) -> Result<(), Status> {
        for number in 1..=query.limit {
            let order = Order {
                id: number.to_string(),
                state: query.state,
                ..Order::default()
            };
            responses.send(&order).await?;
        }
        Ok(())
    }

    async fn add_up(&self, mut requests: RequestStream<Order>, _: Context) -> Result<Total, Status> {
        let (mut cents, mut orders) = (0, 0);
        while let Some(order) = requests.next().await {
            cents += price(&order?);
            orders += 1;
        }
        Ok(total(cents, orders))
    }

    async fn price(
        &self,
        mut requests: RequestStream<Order>,
        _: Context,
        responses: ResponseSink<Total>,
    ) -> Result<(), Status> {
        while let Some(order) = requests.next().await {
            let cents = price(&order?);
            if cents < 0 {
                return Err(Status::new(Code::OutOfRange, "a negative price"));
            }
            responses.send(&total(cents, 1)).await?;
        }
        Ok(())
    }
}

fn price(order: &Order) -> i64 {
    let prices = order.lines.iter().filter_map(|line| {
        let each = line.price.as_ref()?.cents;
        Some(each * i64::from(line.count))
    });
    prices.sum()
}

fn total(cents: i64, orders: u32) -> Total {
    let currency = "EUR".to_owned();
    let sum = Some(Money { currency, cents });
    Total { sum, orders }
}
