//! Waits to be invited to a group, answers the moderator's first message, and reads until the group ends.
//!
//! `cargo run -p slim --example group_participant -- ENDPOINT SECRET NAME`
#![allow(clippy::print_stdout, reason = "this is what the example shows")]

use std::time::Duration;

use anyhow::Context as _;
use slim::{
    ClientConfig, Direction, Error, FullName, Identity, Item, MembershipChange, PublishOptions, Rng, Service,
    os_seed,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments
        .next()
        .context("usage: group_participant ENDPOINT SECRET NAME")?;
    let secret = arguments.next().context("the shared secret is missing")?;
    let name: FullName = arguments.next().context("the own name is missing")?.parse()?;

    let service = Service::new()?;
    let identity = Identity::shared_secret(&name.path(), &secret, &mut Rng::from_seed(os_seed()))?;
    let verifier = identity.verifier();
    let app = service
        .create_app(name, identity, verifier, Direction::Bidirectional)
        .await?;
    service.connect(ClientConfig::insecure(endpoint.parse()?)).await?;
    println!("waiting for an invitation");

    let session = app.accept().await?;
    let moderator = session
        .members()
        .await?
        .into_iter()
        .find(|member| member.is_moderator);
    let moderator = moderator.context("every group has a moderator")?.name;
    println!("joined {}", session.info().destination.path());
    loop {
        match session.receive().await {
            Ok(Item::Message(message)) => {
                println!(
                    "{}: {}",
                    message.source.path(),
                    String::from_utf8_lossy(&message.payload)
                );
                if message.source == moderator {
                    let text = format!("hello from {}", app.name().path());
                    match session.publish(text.into(), PublishOptions::default()).await {
                        // The moderator may close before everybody has acknowledged.
                        Ok(_) | Err(Error::SessionClosed { .. }) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            Ok(Item::Membership {
                member,
                change: MembershipChange::Joined,
            }) => {
                println!("{} joined", member.path());
            }
            Ok(Item::Membership { .. } | Item::Lost { .. }) => {}
            Err(Error::SessionClosed { reason, .. }) => {
                println!("{reason}");
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    service.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
