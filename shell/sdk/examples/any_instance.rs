//! Asks the instances of a name in turn and prints their answers, or with no name to ask is such an instance.
//!
//! `cargo run -p slim --example any_instance -- ENDPOINT SECRET NAME [NAME_TO_ASK COUNT]`
#![allow(clippy::print_stdout, reason = "this is what the example shows")]

use std::time::Duration;

use anyhow::Context as _;
use slim::{
    AnycastConfig, App, ClientConfig, Direction, Error, FullName, Identity, Item, PublishOptions,
    Reliability, Rng, Service, Session, os_seed,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments
        .next()
        .context("usage: any_instance ENDPOINT SECRET NAME [NAME_TO_ASK COUNT]")?;
    let secret = arguments.next().context("the shared secret is missing")?;
    let name: FullName = arguments.next().context("the own name is missing")?.parse()?;
    let to_ask = arguments.next();
    let count = arguments.next().unwrap_or_else(|| "1".to_owned()).parse()?;

    let service = Service::new()?;
    let identity = Identity::shared_secret(&name.path(), &secret, &mut Rng::from_seed(os_seed()))?;
    let verifier = identity.verifier();
    let app = service
        .create_app(name, identity, verifier, Direction::Bidirectional)
        .await?;
    service.connect(ClientConfig::insecure(endpoint.parse()?)).await?;
    match to_ask {
        Some(to_ask) => ask(&app, to_ask.parse()?, count).await?,
        None => serve(&app).await?,
    }
    app.close().await?;
    service.shutdown(Duration::from_secs(1)).await;
    Ok(())
}

/// One session for all instances; each message names its receiver.
async fn ask(app: &App, name: FullName, count: u32) -> anyhow::Result<()> {
    let session = app
        .open_anycast(AnycastConfig {
            reliability: Some(Reliability::default()),
            ..AnycastConfig::default()
        })
        .await?;
    for number in 0..count {
        let options = PublishOptions {
            to: Some(name.clone()),
            ..PublishOptions::default()
        };
        session
            .publish(format!("question {number}").into(), options)
            .await?;
        let answer = loop {
            if let Item::Message(message) = session.receive().await? {
                break message;
            }
        };
        println!("{}: {}", answer.source, String::from_utf8_lossy(&answer.payload));
    }
    Ok(())
}

/// Answers one asker after the other, until the process is ended.
async fn serve(app: &App) -> anyhow::Result<()> {
    println!("waiting for questions");
    loop {
        let session = app.accept().await?;
        tokio::spawn(async move {
            match answer(&session).await {
                Ok(()) | Err(Error::SessionClosed { .. }) => {}
                Err(error) => println!("{error}"),
            }
        });
    }
}

async fn answer(session: &Session) -> Result<(), Error> {
    loop {
        if let Item::Message(message) = session.receive().await? {
            let text = format!("answer to {}", String::from_utf8_lossy(&message.payload));
            session.publish(text.into(), PublishOptions::default()).await?;
        }
    }
}
