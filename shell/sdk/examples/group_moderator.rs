//! Opens an encrypted group, invites everybody named, speaks, hears everybody once, and closes the group.
//!
//! `cargo run -p slim --example group_moderator -- ENDPOINT SECRET INVITEE...`
#![allow(clippy::print_stdout, reason = "this is what the example shows")]

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use slim::{
    ClientConfig, Direction, FullName, Identity, Item, PublishOptions, Reliability, Rng, Service,
    SessionConfig, SessionKind, os_seed,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments
        .next()
        .context("usage: group_moderator ENDPOINT SECRET INVITEE...")?;
    let secret = arguments.next().context("the shared secret is missing")?;
    let invitees: Vec<FullName> = arguments.map(|name| name.parse()).collect::<Result<_, _>>()?;

    let service = Service::new()?;
    let identity = Identity::shared_secret("org/example/moderator", &secret, &mut Rng::from_seed(os_seed()))?;
    let verifier = identity.verifier();
    let name = "org/example/moderator".parse()?;
    let app = service
        .create_app(name, identity, verifier, Direction::Bidirectional)
        .await?;
    service.connect(ClientConfig::insecure(endpoint.parse()?)).await?;

    let session = app
        .open(SessionConfig {
            kind: SessionKind::Group,
            destination: "org/example/channel".parse()?,
            reliability: Some(Reliability::default()),
            mls: true,
            direction: Direction::Bidirectional,
            metadata: Default::default(),
        })
        .await?;
    for invitee in invitees {
        // Resolves when the new member can decrypt: nothing sent from here on is lost to it.
        let invited = session.invite(invitee).await?;
        println!("{} joined", invited.member.path());
    }
    let sent = session
        .publish("hello, group".into(), PublishOptions::default())
        .await?;
    println!("heard by {}", sent.delivered.len());

    let mut silent: BTreeSet<FullName> = sent.delivered.into_iter().collect();
    while !silent.is_empty() {
        if let Item::Message(message) = session.receive().await? {
            println!(
                "{}: {}",
                message.source.path(),
                String::from_utf8_lossy(&message.payload)
            );
            silent.remove(&message.source);
        }
    }
    session.close().await?;
    service.shutdown(Duration::from_secs(1)).await;
    println!("done");
    Ok(())
}
